//! Failures of an indexer, sorted by what is done then.

use super::place::Misfit;
use crate::exit::{self, Exit};
use livesession_formats::session;
use livesession_index as index;
use livesession_kafka::ReadError;

/// Why an indexer ends.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Kafka is away, or does not answer: exit, and let the supervisor try again (exit 69).
    #[error("could not read the sessions topic")]
    Away {
        #[source]
        source: ReadError,
    },

    /// A person has to change a password or a permission (exit 78).
    #[error("{reason}")]
    Refused { reason: String },

    /// The topic does not exist, or is not the one that the index was filled from (exit 78).
    #[error("cannot continue with the index")]
    Topic {
        #[source]
        source: Misfit,
    },

    /// Another indexer writes to the same file (exit 78).
    #[error("another process indexes into the same file: give each its own index.path, or stop one")]
    Twin {
        #[source]
        source: index::Error,
    },

    /// The file is of another topic or program, or the path is wrong (exit 78).
    #[error("cannot use the index: set index.path to another file")]
    Config {
        #[source]
        source: index::Error,
    },

    /// The disk does not take what it should, and did not for as long as patience allows (exit 74).
    #[error("could not write the index")]
    Disk {
        #[source]
        source: index::Error,
    },

    /// A record that was not written by this program, or by a newer one: stop rather than leave it out (exit 70).
    #[error("cannot index record at offset {offset} of partition {partition} of topic {topic:?}")]
    Record {
        topic: String,
        partition: i32,
        offset: i64,
        #[source]
        source: Unreadable,
    },

    /// Our defect (exit 70).
    #[error("defect: the index was asked for what cannot be")]
    Defect {
        #[source]
        source: index::Error,
    },
}

/// Why a record is no session.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it has no value")]
    Null,
    #[error(transparent)]
    Session(#[from] session::Error),
}

impl From<index::Error> for Failure {
    /// Sorts what the index said, once trying again is over.
    fn from(source: index::Error) -> Failure {
        use index::Error;
        match source {
            Error::Twin { .. } => Failure::Twin { source },
            Error::NotAnIndex { .. }
            | Error::NotSqlite { .. }
            | Error::Newer { .. }
            | Error::Older { .. }
            | Error::OtherTopic { .. }
            | Error::Missing { .. }
            | Error::Exists { .. } => Failure::Config { source },
            Error::Busy { .. }
            | Error::Interrupted { .. }
            | Error::Full { .. }
            | Error::ReadOnly { .. }
            | Error::Unopenable { .. }
            | Error::Io { .. }
            | Error::File { .. }
            | Error::Corrupt { .. }
            | Error::Unreadable { .. } => Failure::Disk { source },
            Error::OtherGeneration { .. } | Error::Backwards { .. } | Error::Sql { .. } => Failure::Defect { source },
        }
    }
}

/// Returns whether the same call may succeed later, with nobody doing anything about *us*.
pub(super) fn may_pass(error: &index::Error) -> bool {
    use index::Error;
    matches!(error, Error::Busy { .. } | Error::Full { .. } | Error::Io { .. })
}

impl Failure {
    /// Returns how a process ends because of it.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Away { .. } => Exit::Unavailable,
            Failure::Refused { .. } | Failure::Topic { .. } | Failure::Twin { .. } | Failure::Config { .. } => {
                Exit::Config
            }
            Failure::Disk { .. } => Exit::IoErr,
            Failure::Record { .. } | Failure::Defect { .. } => Exit::Software,
        }
    }
}

impl From<Failure> for exit::Failure {
    /// Says how the process ends when an indexer gives up.
    fn from(failure: Failure) -> exit::Failure {
        exit::Failure::caused_by(failure.exit(), "indexer stopped", failure)
    }
}
