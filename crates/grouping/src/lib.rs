//! The grouping core: part 1 of `docs/rules.md`, as pure values.
//!
//! | file | what it answers |
//! | --- | --- |
//! | `segment` | what is one recorded interval? |
//! | `policy` | when may a session close, when can it be forgotten? |
//! | `hint` | is the stream on air? |
//! | `timeline` | which sessions of the stream does a segment touch? |
//! | `grouper` | the state of a partition: what the wall clock does to it |
//! | `grouper::accept` | what do a segment and a hint do to it? |
//! | `grouper::close` | what is published now, what is forgotten? |
//! | `grouper::pending` | why is this session still open? |
//! | `grouper::restore` | how does the state come back from the changelog? |
//! | `session` | what is published of a session, and under which name? |
//! | `store` | what has this transaction changed, and how is it taken back? |
//! | `invariants` | what is always true? |
//!
//! Nothing here does I/O, reads a clock, logs, knows a format or draws a random number; time is an argument. That is why
//! the worker, `group` and a restore share it, and why a test can afford thousands of worlds.

#![no_std]
#![forbid(unsafe_code)]

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
pub use grouper::restore::{Error as RestoreError, Saved, SavedSession};
pub use grouper::{Clock, Grouper};
pub use hint::{Hint, HintKind, MAX_PUSHES, Push, Pushes};
pub use outcome::Outcome;
pub use policy::{Policy, Settings};
pub use segment::{Anomalies, Anomaly, NewSegment, Offset, Segment};
pub use session::{CloseCause, Interval, Publication, SessionId, Status, Summary};
