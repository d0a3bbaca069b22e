//! Failures of a worker, sorted by what is done then.

use crate::exit::{self, Exit};
use crate::partition;
use livesession_kafka::{ConsumerError, RestoreError, TransactionError};

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Drop all memory and build the worker again: the state is in Kafka.
    #[error("could not go on; building the worker again")]
    Rebuild {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// As above, but twice in a minute it is a twin: stop.
    #[error("another producer took over")]
    Fenced {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Kafka is away, or does not answer: exit, and let the supervisor try again.
    #[error("could not reach Kafka")]
    Away {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A person has to change the configuration, a password or a permission.
    #[error("{problem}")]
    Refused { problem: String },

    /// The input is not what it must be: records that were not read are gone. Stop at once, and write nothing more.
    #[error(
        "input records were deleted before they were read: retention or DeleteRecords passed the group's offset; use a new application_id"
    )]
    Input {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The state is not what it must be: stop at once, and write nothing more.
    #[error("cannot continue with partition {partition}: {problem}")]
    State { partition: i32, problem: String },

    /// The state cannot be restored: stop at once, and write nothing more.
    #[error("cannot restore partition {partition}")]
    Restore {
        partition: i32,
        #[source]
        source: Box<partition::RestoreError>,
    },

    /// Our defect: stop at once, and write nothing more.
    #[error("defect: {what}")]
    Defect { what: String },
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Failure {
        match error {
            TransactionError::Refused { reason } => Failure::Refused { problem: reason },
            TransactionError::Stop { .. } => Failure::Defect { what: error.to_string() },
            TransactionError::Fenced { .. } => Failure::Fenced { source: error.into() },
            // An abort that could not be dealt with where it arose is a rebuild.
            TransactionError::Abort { .. } | TransactionError::Rebuild { .. } => {
                Failure::Rebuild { source: error.into() }
            }
        }
    }
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Failure {
        match error {
            ConsumerError::Refused { reason } => Failure::Refused { problem: reason },
            ConsumerError::Retry { .. } => Failure::Away { source: error.into() },
            ConsumerError::Rebuild { .. } => Failure::Rebuild { source: error.into() },
            ConsumerError::Stop { .. } => Failure::Input { source: error.into() },
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Failure {
        match error {
            RestoreError::Refused { reason } => Failure::Refused { problem: reason },
            RestoreError::NoPartition { .. } => Failure::Refused { problem: error.to_string() },
            RestoreError::Unavailable { .. } | RestoreError::Stuck { .. } => Failure::Away { source: error.into() },
            RestoreError::Rebuild { .. } => Failure::Rebuild { source: error.into() },
            RestoreError::Stop { partition, .. } => Failure::State { partition, problem: error.to_string() },
        }
    }
}

impl From<Failure> for exit::Failure {
    /// Says how the process ends when a worker gives up.
    fn from(failure: Failure) -> exit::Failure {
        let exit = match &failure {
            Failure::Away { .. } | Failure::Rebuild { .. } => Exit::Unavailable,
            Failure::Fenced { .. } | Failure::Refused { .. } => Exit::Config,
            Failure::Restore { source, .. } if matches!(**source, partition::RestoreError::UnsafeChange(_)) => {
                Exit::Config
            }
            Failure::Input { .. } | Failure::State { .. } | Failure::Restore { .. } | Failure::Defect { .. } => {
                Exit::Software
            }
        };
        exit::Failure::caused_by(exit, "worker stopped", failure)
    }
}
