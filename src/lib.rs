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
//! | crate or module | what it is | knows |
//! | --- | --- | --- |
//! | [`livesession_grouping`] | **the rules**, as pure values: segments in, publications out | nothing |
//! | [`livesession_formats`] | bytes to values and back: notifications, sessions, dead letters, changelog | the rules |
//! | [`livesession_kafka`] | **the protocol**: consumer, transactions, restore; rdkafka stops there | bytes and offsets only |
//! | [`livesession_index`] | the SQLite file | the session record |
//! | [`partition`] | one partition: bytes in, publications and changelog records out | rules, formats |
//! | [`worker`] | the loop: the only place where `partition` and Kafka meet | both |
//! | [`indexer`] | the loop that fills the index from the output topic | Kafka, index |
//! | [`batch`] | the file engine: notifications in files to sessions | rules, formats, `partition::apply` |
//! | [`dlq`] | the dead-letter topic, and its replay | formats, Kafka |
//! | [`splice`] | which files to join, in which order, cut where | the session record |
//! | [`http`] | metrics, health, query API, page | index |
//! | [`service`] | threads, signals, systemd, restarts of a loop, log lines | `http`, `health` |
//! | [`deployment`] | a checked configuration, made once, for all that runs; whether a cluster fits it | all of the above |
//! | [`cli`] | one file per command: it parses, calls one function and prints | everything but Kafka |
//! | [`config`], [`metrics`], [`health`], [`exit`], [`text`], [`clock`] | what the others read | nearly nothing |
//!
//! To see why a session has its bounds read `docs/rules.md`; to see why nothing is lost or doubled read
//! `crates/kafka/src/lib.rs`, `crates/kafka/src/transaction.rs` and `src/worker/mod.rs`.
//!
//! # What is always true
//!
//! * **One transaction** holds all that a record causes: sessions, dead letters, changelog and offset. There is no way to
//!   write outside of one.
//! * **Every record is counted once**: accepted, duplicate, conflict, late, rejected, hint or other. What is refused is a
//!   dead letter with its original bytes. No code path logs a record and moves on.
//! * **Time is an argument.** No decision reads a clock: `clock.rs` alone reads the wall clock, and nothing published depends on it: a replay
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
pub mod service;
pub mod splice;
pub mod text;
pub mod worker;
