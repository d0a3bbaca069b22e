//! Restoring a partition's state from the changelog.

use std::time::Duration;

use super::Cause;

/// How far the restores under way are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The partitions that this step completed.
    pub restored: Vec<Restored>,
    /// Offsets still to be read, over all partitions under way: an upper bound of the records.
    pub remaining: u64,
}

/// A partition whose changelog was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub partition: i32,
    /// The group's committed offset, `None` if it has none. The worker compares it with what the changelog says.
    pub committed: Option<i64>,
    /// How many changelog records were applied.
    pub records: u64,
}

/// Tells the worker what to do when a partition could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answered for longer than patience allows: exit, and let the supervisor try again (exit 69).
    #[error("could not restore partition {partition}: no answer for {waited:?} while asking for {asking}")]
    Away {
        partition: i32,
        asking: &'static str,
        waited: Duration,
        #[source]
        source: Option<Cause>,
    },

    /// A transaction in the changelog, or over the group's offset, was not decided in time (exit 69).
    ///
    /// Longer than the transaction timeout and the broker's sweep: it is hanging, and an operator has to abort it.
    #[error(
        "could not restore partition {partition}: a transaction has been open for {waited:?} \
         (next offset {next}, log end {end})"
    )]
    Stuck { partition: i32, next: i64, end: i64, waited: Duration },

    /// The client is of no more use: drop all memory and rebuild the worker.
    #[error("could not read the changelog")]
    Rebuild {
        #[source]
        source: Cause,
    },

    /// A password, certificate or permission is wrong: stop, a person has to repair it (exit 78).
    #[error("broker refuses this client: {reason}")]
    Refused { reason: String },

    /// The changelog holds what we never write: stop, and write nothing more (exit 70).
    #[error("cannot restore partition {partition}: changelog record at offset {offset} {problem}")]
    Stop { partition: i32, offset: i64, problem: &'static str },
}
