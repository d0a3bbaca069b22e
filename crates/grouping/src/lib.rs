//! The grouping core: part 1 of `docs/rules.md`, as pure values.
//!
//! What lives here: the state of one input partition, and every decision about it: which segments are accepted, which of them make
//! one session, when a session is published, amended and forgotten, and how all of that comes back from the changelog. The
//! worker, `livesession group` and a restore share it.
//!
//! What must not: clocks, files, sockets, threads, logs, formats, randomness, floating point. Times are arguments.
//! The compiler keeps that: the crate is `no_std`, and none of its dependencies can do any of it. So a decision is the same
//! in every run, and a test can afford thousands of worlds: `cargo test -p livesession-grouping` takes seconds and compiles
//! no C.
//!
//! # The model
//!
//! ```text
//!                  segment, hint, wall clock                        Policy: durations to bounds on the watermark
//!                              │                                       │
//!   ┌──────────────────────────▼───────────────────────── Grouper ─────▼──────────────────────────────────┐
//!   │  accept, hint, punctuate ──▶ watermark          publish_due ──▶ Publication: a revision of a session│
//!   │                                                                                                     │
//!   │  Store: the tables, and the undo log            Schedule: what waits for the watermark              │
//!   │    stream ── Timeline ──┬ live ──┐                timers by bound ──▶ due ──▶ forgettable           │
//!   │                         └ frozen ┤                                                                  │
//!   │                                Session ── members: Segment, the seed first                          │
//!   │                                  └ past: Summary of its last publication, and of those it took in   │
//!   │    file ─────────────────────────────────▶ Segment                                                  │
//!   └─────────▲────────────────────────────────────┬──────────────────────────────────────────────────────┘
//!             │ restore                            │ take_changes
//!           Saved ◀────────── changelog ◀─────── Changes
//! ```
//!
//! A transaction begins with [`Grouper::begin`] and ends with [`Grouper::commit`] or [`Grouper::rollback`], after which
//! everything is as it was at the beginning. Sessions and timelines are changed by methods of the store alone, which keep
//! the old copy first.
//!
//! # Invariants
//!
//! Functions of `invariants.rs`, called for what a transaction has touched when it commits in a debug build, and for the
//! whole state by [`Grouper::check_invariants`]:
//!
//! * `live_sessions_are_apart`, `listed_sessions_are_those_of_the_stream`, `every_session_is_on_one_list`;
//! * `bounds_are_those_of_the_members`, `bytes_are_those_of_the_members`, `first_member_is_the_seed`;
//! * `every_member_is_known_by_its_file`, `every_session_is_scheduled`.
//!
//! # Files
//!
//! | file | contents |
//! | --- | --- |
//! | `time` | points and spans of time |
//! | `segment` | segments, and the oddities of their notifications |
//! | `hint` | the pushes of a stream, and whether it is on air |
//! | `policy` | settings, and the bounds that follow from them |
//! | `session` | publications: bounds, gaps, renditions, the id |
//! | `outcome` | outcomes of input records |
//! | `timeline` | the sessions of a stream, and a session in memory |
//! | `schedule` | timers and queues |
//! | `files` | remembered segments by file |
//! | `changes` | what a transaction changes in the changelog |
//! | `store`, `store::undo` | the tables of a partition, and the undo log |
//! | `invariants` | promises about the state, as functions |
//! | `grouper` | the state of a partition: transactions, the clock, bounds of sessions |
//! | `grouper::accept` | acceptance of segments and hints, merging, freezing |
//! | `grouper::close` | publication of what is due, forgetting |
//! | `grouper::pending` | what an open session waits for |
//! | `grouper::restore` | the way back from the changelog |

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod changes;
mod files;
mod grouper;
mod hint;
mod invariants;
mod outcome;
pub mod policy;
mod schedule;
pub mod segment;
pub mod session;
mod store;
#[cfg(test)]
mod tests;
pub mod time;
mod timeline;

pub use changes::{Changes, SessionChange};
pub use grouper::accept::Arrival;
pub use grouper::pending::{PendingSession, PublishedState, Waiting};
pub use grouper::restore::{RestoreError, Saved, SavedSession};
pub use grouper::{Clock, Grouper};
pub use hint::{Hint, HintKind, MAX_PUSHES, Push, Pushes};
pub use outcome::Outcome;
pub use policy::{Policy, Settings};
pub use segment::{Anomalies, Anomaly, NewSegment, Offset, Segment};
pub use session::{CloseCause, Interval, Publication, SessionId, Status, Summary};
