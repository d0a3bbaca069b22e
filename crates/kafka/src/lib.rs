//! The Kafka protocol of the worker: group consumer, transactions, restore. rdkafka goes no further than this crate.
//!
//! It speaks bytes, partitions and offsets. It knows no notification, session or changelog record, and reads no
//! configuration file: the worker brings those together.
//!
//! [`Broker`] is all that the worker's loop sees of Kafka. [`Client`] implements it with librdkafka. The simulation
//! implements it with a model in memory, because no mock of Kafka fences, hides aborted records or times a transaction
//! out.
//!
//! | where | what |
//! | --- | --- |
//! | `broker`, `values`, `error` | the seam: the trait, what passes over it, what can go wrong |
//! | `client`, [`consumer`], [`transaction`], [`restore`] | the worker's clients |
//! | [`scan`], [`tail`], [`log_ends`], [`admin`], [`replay`] | clients of the indexer and of an operator's commands, in no group |
//! | `librdkafka` | settings, callbacks, error codes, and the calls that rdkafka lacks |
//! | [`fault`] | faults that only the build of the tests can inject |
//!
//! # The model
//!
//! One thread, one group consumer, one transactional producer. A partition goes through
//!
//! ```text
//!   Input::Assigned ─▶ restoring ──step_restore──▶ restored ──start──▶ running ─▶ Input::Revoked, next poll ─▶ gone
//!   (paused)           begin_restore                                  │    ▲
//!                                                                     └────┘ start, again after an abort: seeks back
//!   at any time ─▶ Input::Lost ─▶ gone
//! ```
//!
//! and a transaction through `begin`, `send`…, then `commit` or `abort`.
//!
//! # Invariants
//!
//! * A revoked partition is given away by the `poll` *after* the one that returned [`Input::Revoked`]. Until then it is
//!   still ours, and a transaction over it can be committed. A worker cannot forget to answer, since it polls.
//! * A record of a partition is returned only while the partition is running, in order, from the offset given to `start`.
//! * No transaction commits without offsets, nor with a membership of the group that it did not begin with.
//! * Every method returns within its timeout and a bounded number of broker round trips. None retries for ever.
//! * Only this crate knows error codes. The worker knows what to do: [`TransactionError`], [`ConsumerError`] and
//!   [`RestoreError`] have one variant for each thing that it can do.

pub mod admin;
mod broker;
mod client;
pub mod consumer;
mod error;
pub mod fault;
mod librdkafka;
mod read;
pub mod replay;
pub mod restore;
pub mod transaction;
mod values;

pub use broker::{Broker, Input};
pub use client::Client;
pub use error::{ConsumerError, ReadError, RestoreError, TransactionError, TransactionStep};
pub use librdkafka::record::Record;
pub use librdkafka::{context, in_process, properties, settings, version};
pub use read::{log_ends, scan, tail};
pub use values::{Apply, Cause, ErrorCounts, Header, KnownEnds, LogEnds, Outgoing, RestoreProgress, Restored};
