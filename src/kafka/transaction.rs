//! The transactional producer.

use super::Cause;

/// Tells the worker what to do when a step of a transaction did not succeed.
///
/// One variant for each thing that it can do; librdkafka's codes stay in `source`, for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was committed: abort, drop the overlay, seek every owned partition back, go on.
    #[error("could not {doing}; nothing was committed")]
    Abort {
        doing: &'static str,
        #[source]
        source: Cause,
    },

    /// Nobody can say whether it was committed, or the producer is of no more use: drop all memory, rebuild the worker.
    #[error("could not {doing}; the outcome is unknown")]
    Rebuild {
        doing: &'static str,
        #[source]
        source: Cause,
    },

    /// Another producer took our transactional id, and no outage explains it: rebuild as above, but twice in 60 s is a
    /// twin: stop (exit 78), no fencing war.
    #[error("could not {doing}: another producer uses transactional id {transactional_id:?}")]
    Fenced {
        doing: &'static str,
        transactional_id: String,
        #[source]
        source: Cause,
    },

    /// A password, certificate or permission is wrong: stop, a person has to repair it (exit 78).
    #[error("broker refuses this client: {reason}")]
    Refused { reason: String },

    /// Our defect: stop, and write nothing more (exit 70).
    #[error("cannot {doing}: {problem}")]
    Stop { doing: &'static str, problem: String },
}
