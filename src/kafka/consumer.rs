//! The group consumer.

use super::Cause;

/// Tells the worker what to do when the input could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answered in time: ask again.
    #[error("could not {doing} of partition {partition} in time")]
    Retry {
        doing: &'static str,
        partition: i32,
        #[source]
        source: Cause,
    },

    /// The client is of no more use: drop all memory and rebuild the worker.
    #[error("could not {doing}")]
    Rebuild {
        doing: &'static str,
        #[source]
        source: Cause,
    },

    /// A password, certificate, permission or topic is wrong: stop, a person has to repair it (exit 78).
    #[error("broker refuses this client: {reason}")]
    Refused { reason: String },

    /// The committed offset is not in the log any more: stop, and write nothing more (exit 70).
    #[error("cannot read partition {partition} from where the group is: its log was truncated or the offset reset")]
    Stop {
        partition: i32,
        #[source]
        source: Cause,
    },
}
