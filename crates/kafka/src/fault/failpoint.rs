//! Failpoints: places of the protocol at which a test lets the program die, fail or wait.
//!
//! ```sh
//! LIVESESSION_FAILPOINTS='commit.before=kill@3,seek.after=delay:200' livesession run
//! ```
//!
//! A rule is `place=action`, or `place=action@n`: it applies once, when the place is reached for the n-th time, by default
//! the first. Several rules may name one place.
//!
//! | action | effect |
//! | --- | --- |
//! | `kill` | the process ends as by `kill -9`: nothing is flushed or closed, and no group is left |
//! | `abort` | an error that says: nothing was committed. A lie after a commit |
//! | `rebuild` | an error that says: the outcome is unknown, or the client is unusable |
//! | `delay:<ms>` | a pause of so many milliseconds |

/// Every place, in the order in which a transaction meets them.
pub const PLACES: &[&str] = &[
    // A producer takes over the transactional id.
    "init.before",
    "init.after",
    // A partition is restored: its offset is known, then its log end; a record is read; all are.
    "restore.before",
    "restore.offset",
    "restore.end",
    "restore.record",
    "restore.after",
    // Records of a partition flow from an offset on.
    "seek.before",
    "seek.after",
    "begin.before",
    "begin.after",
    "send.before",
    "send.after",
    "offsets.before",
    // The offsets are in the transaction, and the queue drains.
    "offsets.after",
    // The queue is empty.
    "commit.before",
    "commit.after",
    "abort.before",
    "abort.after",
    // The group revokes partitions; the worker has committed and dropped them; they are given away.
    "revoke.before",
    "revoke.after",
    "leave.after",
];

/// An error that a rule asked for.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("failpoint {place}")]
pub struct Injected {
    pub place: &'static str,
    /// Whether it says that nothing was committed.
    pub is_abort: bool,
}
