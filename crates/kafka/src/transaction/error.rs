//! What an error of a transaction asks for.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

#[cfg(debug_assertions)]
use crate::fault::failpoint;
use crate::librdkafka::context::is_refusal;
use crate::values::Cause;

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
    #[error("could not {doing}, and cannot go on with this producer")]
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

#[cfg(debug_assertions)]
impl From<failpoint::Injected> for Error {
    fn from(injected: failpoint::Injected) -> Error {
        const DOING: &str = "pass a failpoint";
        if injected.is_abort {
            Error::Abort { doing: DOING, source: injected.into() }
        } else {
            Error::Rebuild { doing: DOING, source: injected.into() }
        }
    }
}

/// What an error of librdkafka asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Abort,
    Retry,
    Rebuild,
    Fenced,
    Refused,
}

/// Asks an error, in the only order that is right: a fatal one may also say that it can be retried.
pub(super) fn verdict(error: &KafkaError) -> Verdict {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    if code.is_some_and(is_refusal) {
        return Verdict::Refused;
    }
    // A flush that failed leaves the outcome open, as anything does that is not an answer of the transaction.
    let KafkaError::Transaction(answer) = error else { return Verdict::Rebuild };
    if answer.is_fatal() {
        return match answer.code() {
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Verdict::Fenced,
            _ => Verdict::Rebuild,
        };
    }
    if answer.txn_requires_abort() {
        Verdict::Abort
    } else if answer.is_retriable() {
        Verdict::Retry
    } else {
        Verdict::Rebuild
    }
}
