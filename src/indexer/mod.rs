//! The indexer: a loop from the sessions topic to the index, on a thread of its own.
//!
//! The only place where `kafka` and `index` meet. Never fed by the worker: two stores cannot commit as one, so the index is
//! a projection of what was *published*, whoever published it, and every index is whole.
//!
//! ```text
//!   open file ─▶ check the topic ─▶ assign all partitions ─▶ poll ─▶ batch ─▶ rows and offsets in one SQLite transaction
//!        ▲            ▲                                       ▲                  │
//!        │            └──── every LOOK: same topic, same file, log ends ◀────────┤
//!        └── the file was filled anew, or the client is of no more use ◀─────────┘
//! ```
//!
//! # Where it goes on
//!
//! Where the file says, by topic *id*, partition by partition; a partition that the file does not know begins with what
//! the log still has. What does not fit is never guessed at:
//!
//! | found | means | then |
//! | --- | --- | --- |
//! | another topic id | the topic was deleted and made again | stop, exit 78 |
//! | `next < log start` | retention cut records that the index never saw | stop, exit 78 |
//! | `next > log end` | the log lost its end | stop, exit 78 |
//!
//! The message names `livesession index rebuild`. It is not run by itself: a rebuilt index holds what the topic still has,
//! which may be less than the file does, and to throw sessions away is a person's decision. To go on over a hole instead
//! would answer with revisions that were replaced long ago, and nobody would know.
//!
//! # Invariants
//!
//! * Rows and offsets are of one SQLite transaction. A crash repeats a batch whole, and that changes nothing.
//! * No record is passed by: one that cannot be read stops the loop, since an answer that leaves a session out is wrong.
//! * Nothing is retried for ever in silence: a file that cannot be written stops it after [`DISK_PATIENCE`].
//! * Kafka being away never stops an index that is open: it answers on, and says how old it is.

mod batch;
mod failure;
mod life;
mod place;
mod run;
mod thread;

pub use batch::{Batch, MAX_RECORDS, Read};
pub use failure::Failure;
pub use place::{Misfit, Place, places};
pub use thread::{DISK_PATIENCE, Settings, Thread};
