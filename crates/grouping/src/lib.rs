//! The grouping core: part 1 of `docs/rules.md`, as pure values.
//!
//! | file | what it answers |
//! | --- | --- |
//! | `segment` | what is one recorded interval? |
//! | `policy` | when may a session close, when can it be forgotten? |
//! | `hint` | is the stream on air? |
//! | `timeline` | which sessions of the stream does a segment touch? |
//! | `grouper` | the state of a partition: what a segment, a hint and the wall clock do to it |
//! | `settle` | what is published now, what is forgotten? |
//! | `session` | what is published of a session, and under which name? |
//! | `overlay` | what has this transaction changed, and how is it taken back? |
//! | `restore` | how does the state come back from the changelog? |
//! | `outlook` | why is this session still open? |
//! | `invariants` | what is always true? |
//!
//! Nothing here does I/O, reads a clock, logs, knows a format or draws a random number; time is an argument. That is why
//! the worker, `group` and a restore share it, and why a test can afford thousands of worlds.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod grouper;
mod hint;
pub mod invariants;
mod outlook;
mod overlay;
pub mod policy;
mod restore;
pub mod segment;
pub mod session;
mod settle;
#[cfg(test)]
mod tests;
pub mod time;
mod timeline;

pub use grouper::{Arrival, Clock, Grouper, Placement};
pub use hint::{Hint, HintKind, MAX_PUSHES, Push, Pushes};
pub use outlook::{Fate, Outlook, Waiting};
pub use overlay::{Changes, HeadChange};
pub use policy::{Policy, Settings};
pub use restore::{Error as RestoreError, Saved, SavedHead};
pub use segment::{Anomalies, Anomaly, NewSegment, Offset, Segment};
pub use session::{CloseCause, Head, Interval, Publication, SessionId, Status};
