//! The settings of a worker, in the types that it works with.

use std::time::Duration;

use crate::partition::Start;
use livesession_formats::notification::Rules;
use livesession_grouping::Policy;

/// The topics of a deployment.
#[derive(Clone, Debug)]
pub struct Topics {
    pub input: String,
    pub output: String,
    pub dead_letter: String,
    /// Compacted, with as many partitions as the input.
    pub changelog: String,
    /// A compacted copy of the output by session id, if wanted.
    pub latest: Option<String>,
}

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The consumer group, and the source named in CloudEvents headers.
    pub application_id: String,
    pub topics: Topics,
    pub policy: Policy,
    pub rules: Rules,
    pub start: Start,
    pub commit_interval: Duration,
    /// A transaction that has read as many is committed at once.
    pub commit_max_records: usize,
    /// How long a commit may take before its outcome counts as unknown.
    pub commit_timeout: Duration,
    /// How long nothing has to move a partition's watermark before the wall clock does.
    pub idle_after: Duration,
    pub cloudevents: bool,
    /// Sent as header `__value_schema_id`, if not empty.
    pub schema_guid: String,
    /// Partitions of the dead-letter topic.
    pub dead_letter_partitions: i32,
    /// A dead letter whose key and value are longer goes without its value.
    pub max_dead_letter_bytes: usize,
    /// How many sessions one transaction publishes at most: [`SLICE`], but for a simulation.
    pub slice: usize,
    /// How many records are read, if there are so many, between two slices of restoring: [`BETWEEN_SLICES`], but for a
    /// simulation.
    pub between_slices: usize,
}

/// About as long as a slice of restoring takes: partitions that run keep half of the time.
pub const BETWEEN_SLICES: usize = 5_000;

/// So that a mass close stays far below the transaction timeout.
pub const SLICE: usize = 5_000;
