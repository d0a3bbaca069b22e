//! Errors by what a caller can do about them; librdkafka's codes stay in the `source`, for people.
//!
//! | variant | what to do |
//! | --- | --- |
//! | `Retry` | ask again |
//! | `Unavailable`, `Stuck` | exit, and let the supervisor try again |
//! | `OffsetOutOfRange` | ask for the log ends, or start over |
//! | `Abort` | abort the transaction, roll memory back, seek back |
//! | `Rebuild` | drop the client and all memory that depends on it, and create another client |
//! | `Fenced` | as `Rebuild`; twice within a minute, stop: a second instance uses the same transactional id |
//! | `Refused`, `Rejected`, `NoPartition`, `UnknownTopic` | stop: a person has to repair something |
//! | `Stop` | stop, and write nothing more |

use std::fmt;
use std::time::Duration;

use crate::fault::failpoint::Injected;
use crate::values::Cause;

/// An error of reading the input.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// No answer in time: ask again.
    #[error("no answer in time to the request for the log ends of partition {partition}")]
    Retry {
        partition: i32,
        #[source]
        source: Cause,
    },

    /// The client is unusable: drop all memory and rebuild the worker.
    #[error("{problem}")]
    Rebuild {
        problem: String,
        #[source]
        source: Cause,
    },

    /// A password, certificate, permission or topic is wrong: stop, a person has to repair it (exit 78).
    #[error("broker refuses this client: {reason}")]
    Refused { reason: String },

    /// The log no longer holds the offset to read from: stop, and write nothing more (exit 70).
    ///
    /// The log was truncated, or retention overtook the group: the missing records cannot be recovered.
    #[error(
        "the input has no record at the next offset to read: the log was truncated, or retention overtook the group"
    )]
    Stop {
        #[source]
        source: Cause,
    },
}

/// An error of restoring a partition from the changelog.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// No answer for longer than patience allows: exit, and let the supervisor try again (exit 69).
    #[error("could not restore partition {partition}: no answer for {waited:?} to requests for {requested}")]
    Unavailable {
        partition: i32,
        requested: &'static str,
        waited: Duration,
        #[source]
        source: Option<Cause>,
    },

    /// The changelog has fewer partitions than the input: stop, a person has to add some (exit 78).
    #[error(
        "changelog {topic} has no partition {partition}, but the input has one: add partitions as \
         `livesession config check --online` says"
    )]
    NoPartition { topic: String, partition: i32 },

    /// A transaction in the changelog was not decided in time (exit 69).
    ///
    /// It has been open for longer than the transaction timeout and the broker's sweep: it is hanging, and an operator
    /// has to abort it.
    #[error(
        "could not restore partition {partition}: a transaction in the changelog has been open for {waited:?} \
         (next offset {next}, log end {end})"
    )]
    Stuck { partition: i32, next: i64, end: i64, waited: Duration },

    /// The client is unusable: drop all memory and rebuild the worker.
    #[error("could not read the changelog")]
    Rebuild {
        #[source]
        source: Cause,
    },

    /// A password, certificate or permission is wrong: stop, a person has to repair it (exit 78).
    #[error("broker refuses this client: {reason}")]
    Refused { reason: String },

    /// The changelog holds a record that this program never writes: stop, and write nothing more (exit 70).
    #[error("cannot restore partition {partition}: the changelog record at offset {offset} has no key")]
    Stop { partition: i32, offset: i64 },
}

/// An error of a step of a transaction.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Nothing was committed: abort, roll memory back, seek every owned partition back, continue.
    #[error("could not {step}; nothing was committed")]
    Abort {
        step: TransactionStep,
        #[source]
        source: Cause,
    },

    /// The outcome is unknown, or the producer is unusable: drop all memory and rebuild the worker.
    #[error("could not {step}; the producer is unusable")]
    Rebuild {
        step: TransactionStep,
        #[source]
        source: Cause,
    },

    /// Another producer took over the transactional id, and no outage explains it: rebuild as above. Twice in 60 s means
    /// a duplicate instance: stop instead of fencing each other for ever (exit 78).
    #[error("could not {step}: another producer uses transactional id {transactional_id:?}")]
    Fenced {
        step: TransactionStep,
        transactional_id: String,
        #[source]
        source: Cause,
    },

    /// A password, certificate or permission is wrong: stop, a person has to repair it (exit 78).
    #[error("broker refuses this client: {reason}")]
    Refused { reason: String },

    /// A defect of this program: stop, and write nothing more (exit 70).
    #[error("cannot {step}: {problem}")]
    Stop { step: TransactionStep, problem: String },
}

/// A step of a transaction, as error messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStep {
    /// Creating the clients that surround the producer.
    Create,
    Init,
    Begin,
    Send,
    SendOffsets,
    Deliver,
    Commit,
    Abort,
    /// A place at which a test injects a fault.
    Failpoint,
}

impl fmt::Display for TransactionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransactionStep::Create => "create the clients of the worker",
            TransactionStep::Init => "take over the transactional id",
            TransactionStep::Begin => "begin a transaction",
            TransactionStep::Send => "produce a record",
            TransactionStep::SendOffsets => "send offsets to the transaction",
            TransactionStep::Deliver => "deliver all records of the transaction",
            TransactionStep::Commit => "commit the transaction",
            TransactionStep::Abort => "abort the transaction",
            TransactionStep::Failpoint => "pass a failpoint",
        })
    }
}

/// An error of reading, describing or creating a topic outside of any group.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer in time, or a hanging transaction: try again later (exit 69).
    #[error("{problem}")]
    Unavailable {
        problem: String,
        #[source]
        source: Cause,
    },

    /// The log no longer holds the offset to read: ask for its ends, or start over (exit 75).
    #[error("topic {topic:?} has no record at the next offset to read: {reason}")]
    OffsetOutOfRange { topic: String, reason: String },

    /// The cluster has no topic of that name (exit 78).
    #[error("topic {topic:?} does not exist")]
    UnknownTopic { topic: String },

    /// librdkafka does not accept the settings of the client, or the cluster does not accept the name, partitions, replicas
    /// or settings of a new topic: a person has to change them (exit 78).
    #[error("{problem}")]
    Rejected {
        problem: String,
        #[source]
        source: Cause,
    },

    /// A password, certificate or permission is wrong: stop, a person has to repair it (exit 78).
    #[error("broker refuses this client: {reason}")]
    Refused { reason: String },

    /// The client is unusable: create another one.
    #[error("{problem}")]
    Rebuild {
        problem: String,
        #[source]
        source: Cause,
    },
}

impl From<Injected> for ConsumerError {
    fn from(injected: Injected) -> ConsumerError {
        ConsumerError::Rebuild { problem: "could not pass a failpoint".to_owned(), source: injected.into() }
    }
}

impl From<Injected> for RestoreError {
    fn from(injected: Injected) -> RestoreError {
        RestoreError::Rebuild { source: injected.into() }
    }
}

impl From<Injected> for TransactionError {
    fn from(injected: Injected) -> TransactionError {
        let (step, is_abort) = (TransactionStep::Failpoint, injected.is_abort);
        let source = injected.into();
        if is_abort { TransactionError::Abort { step, source } } else { TransactionError::Rebuild { step, source } }
    }
}
