//! `livesession` turns recording notifications into live sessions.
//!
//! A live-streaming platform records every stream as many files and sends one notification per finished file: stream,
//! file, start, end, URL. Which files make up one show, nobody says. This program says it, once: it reads the
//! notifications from a Kafka topic, merges segments by stream and by the gaps between them, and publishes each completed
//! session exactly once, to a topic and to a SQLite index.
//!
//! # From above
//!
//! ```text
//!   input topic ──▶ worker ─────────────────────────────────────────▶ session topic ──▶ indexer ──▶ index.db ──▶ HTTP, CLI
//!                   │  decode ▶ group ▶ encode, in one transaction ──▶ dead letters
//!                   └─◀── restore ──── changelog ◀────────────────────┘
//! ```
//!
//! The specification is one sentence: *for any order of arrival, any number of duplicates, any crash and any rebalance, the
//! newest revisions of the published sessions are exactly those that a batch job would find over the set of accepted
//! segments.* So the state of a partition is a set of accepted segments, with what has been published of it, and grouping is
//! a pure function of that set. Most of the program follows from there: acceptance looks at a segment alone, restoring is
//! reading the set again, and a test can compare any history with a batch job.
//!
//! # Where things are
//!
//! Read in this order; each module opens with what lives there and what must not.
//!
//! | module | what it is | knows |
//! | --- | --- | --- |
//! | [`time`] | points and spans of time; no `now()` | nothing |
//! | [`grouping`] | **the rules**, as pure values: segments in, publications out | `time` |
//! | [`wire`] | bytes to values and back: notifications, sessions, dead letters, changelog | `grouping` |
//! | [`partition`] | one partition: bytes in, publications and changelog records out | `wire` |
//! | [`kafka`] | **the protocol**: consumer, transactions, restore; rdkafka stops here | bytes and offsets only |
//! | [`worker`] | the loop: the only place where `partition` and `kafka` meet | both |
//! | [`index`], [`projection`], [`indexer`] | the SQLite file, its rows, and the loop that fills it | the session record |
//! | [`splice`] | which files to join, in which order, cut where | the session record |
//! | [`http`] | metrics, health, query API, page | `index` |
//! | [`cli`] | one file per command | everything |
//! | [`config`], [`metrics`], [`health`], [`clock`], [`failpoint`] | leaves that the others read | `time` |
//!
//! To see why a session has its bounds read `grouping/policy.rs`, `timeline.rs`, `grouper.rs` and `settle.rs`; to see why
//! nothing is lost or doubled read `kafka/mod.rs`, `kafka/transaction.rs` and `worker/mod.rs`.
//!
//! # What is always true
//!
//! * **One transaction** holds all that a record causes: sessions, dead letters, changelog and offset. There is no way to
//!   write outside of one.
//! * **Every record is counted once**: accepted, duplicate, conflict, late, rejected, hint or other. What is refused is a
//!   dead letter with its original bytes. No code path logs a record and moves on.
//! * **Time is an argument.** `clock.rs` is the only file that reads a clock, and nothing published depends on it: a replay
//!   publishes the same ids and revisions.
//! * **Everything is bounded**: sessions, batches, retries, hint state, dead letters. Each bound has a name and a reason.
//! * **Kafka is the only truth.** The index can be deleted and filled again; a worker has no disk.
//!
//! # What this deliberately lacks
//!
//! * A store beside Kafka: state fits in memory, and a store would have to commit together with a transaction.
//! * Async code on the data path: rebalances and commits are synchronous in librdkafka, so one thread is simpler and as
//!   fast. Tokio serves HTTP and waits for signals.
//! * Timers on the wall clock: the watermark is the only "now" of the rules, else a back-fill would close everything.
//! * Splicing: it says which files to join, and leaves the joining to those who have them.

pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deployment;
pub mod dlq;
pub mod exit;
pub mod health;
pub mod http;
pub mod indexer;
pub mod metrics;
pub mod partition;
pub mod projection;
pub mod service;
pub mod splice;
pub mod text;
pub mod worker;
