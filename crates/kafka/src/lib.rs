//! What the worker asks of Kafka, and the client that does it; rdkafka stops here.
//!
//! Speaks bytes, partitions and offsets. Knows no notification, no session and no changelog record, and reads no
//! configuration file: those are `wire`, `grouping` and `config`, which meet this module in `worker`.
//!
//! [`Broker`] is the whole of it as the worker's loop sees it. [`Client`] implements it with librdkafka; the simulation
//! implements it with a model in memory, because no mock fences, hides aborted records or times a transaction out.
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
//! * A revoked partition is given away by the `poll` *after* the one that returned [`Input::Revoked`]: until then it is
//!   still ours, and what was begun on it can be committed. A worker cannot forget to answer, since it polls.
//! * A record of a partition is returned only while it is running, in order, from the offset given to `start`.
//! * No transaction commits without offsets, nor with the membership of another time than the one it began in.
//! * Every method returns within its timeout and a bounded number of broker round trips; none of them retries for ever.
//! * Only this module knows an error code; the worker knows what to do ([`TransactionError`], [`ConsumerError`],
//!   [`RestoreError`]: one variant per thing that it can do).

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
