//! A topic of ours as a whole, sessions or changelog, for commands that read all of it.
//!
//! Reads what is committed, partition by partition, up to an end that was taken before: such a command ends although records
//! are written meanwhile.

use std::collections::btree_map::BTreeMap;
use std::time::Duration;

use super::clients::{self, read_failure};
use super::settings::Deployment;
use crate::exit::Failure;
use crate::indexer::Read;
use livesession_kafka::LogEnds;
use livesession_kafka::scan::Scan;
use livesession_kafka::tail::Tail;

/// How long an answer, and the next record, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A topic, its id, and how far its partitions go.
pub struct Topic {
    pub name: String,
    pub id: String,
    pub ends: BTreeMap<i32, LogEnds>,
    scan: Scan,
}

impl Topic {
    /// Asks the cluster for a topic of a deployment.
    ///
    /// # Errors
    ///
    /// As those of [`clients::read_failure`].
    pub fn open(deployment: &Deployment, name: &str) -> Result<Topic, Failure> {
        let kafka = clients::settings(deployment, 0)?;
        let description = Tail::new(&kafka, name).and_then(|tail| tail.describe(PATIENCE)).map_err(read_failure)?;
        let scan = Scan::new(&kafka, PATIENCE).map_err(read_failure)?;
        let mut ends = BTreeMap::new();
        for partition in 0..description.partitions {
            ends.insert(partition, scan.ends(name, partition).map_err(read_failure)?);
        }
        Ok(Topic { name: name.to_owned(), id: description.id, ends, scan })
    }

    /// Returns whether the topic no longer has its first records.
    pub fn is_cut(&self) -> bool {
        self.ends.values().any(|ends| ends.start > 0)
    }

    /// Begins to read a partition from `from` to before `end`.
    pub fn begin(&self, partition: i32, from: i64, end: i64) -> Result<(), Failure> {
        self.scan.begin(&self.name, partition, from, end).map_err(read_failure)
    }

    /// Hands the next record to `each`; returns `None` at the end.
    pub fn next<T>(&self, each: impl FnOnce(Read<'_>, Option<&[u8]>) -> T) -> Result<Option<T>, Failure> {
        let Some(record) = self.scan.next().map_err(read_failure)? else { return Ok(None) };
        let read = Read { partition: record.partition(), offset: record.offset(), value: record.value() };
        Ok(Some(each(read, record.key())))
    }
}
