//! Continuous reads of a whole topic from offsets that the caller knows, for the index and for checks of the state.
//!
//! Joins no group and commits nothing: the caller remembers how far it has read. The caller also decides what to do about a
//! topic that was deleted and created again, or that has lost records.
//!
//! ```text
//!   new ─▶ describe, log_ends ─▶ start (all partitions at numeric offsets) ─▶ poll, poll, … ─▶ positions
//! ```
//!
//! # Invariants
//!
//! * Records of a partition come in order, from the offset given to [`Tail::start`], committed ones only, none left out.
//! * Partitions are assigned at *numeric* offsets and never sought. For an assignment at a logical offset ("beginning")
//!   librdkafka asks the broker, and the answer overrides a seek that came before it: records would be lost or repeated.
//! * Unlike offsets of records, a position passes transaction markers and aborted records. With the log end, which counts
//!   open transactions, it tells whether everything was read.

use std::cell::RefCell;
use std::collections::btree_map::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::ReadError;
use crate::librdkafka::codes::code;
use crate::librdkafka::context::{PlainContext, Reports};
use crate::librdkafka::native::{self, TopicDescription};
use crate::librdkafka::record::Record;
use crate::librdkafka::settings::Settings;
use crate::read::failure::{not_created, rebuild, sort};
use crate::read::log_ends::Probe;
use crate::values::{ErrorCounts, LogEnds};

/// The identity and size of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Changes when the topic is deleted and created again.
    pub id: String,
    pub partitions: i32,
}

/// A reader of all partitions of a topic.
pub struct Tail {
    reader: BaseConsumer<PlainContext>,
    probe: Probe,
    reports: Arc<Reports>,
    topic: String,
    /// The next offset of every partition that was started.
    next: RefCell<BTreeMap<i32, i64>>,
}

impl Tail {
    /// Creates the clients. Nothing connects.
    pub fn new(settings: &Settings, topic: &str) -> Result<Tail, ReadError> {
        let reports = Arc::new(Reports::default());
        let create = || -> KafkaResult<Tail> {
            Ok(Tail {
                reader: settings.reader().create_with_context(PlainContext { reports: Arc::clone(&reports) })?,
                probe: Probe::new(settings, Arc::clone(&reports))?,
                reports: Arc::clone(&reports),
                topic: topic.to_owned(),
                next: RefCell::default(),
            })
        };
        create().map_err(|error| not_created("could not create the reader of a topic", error))
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the topic's id and its number of partitions. Costs a round trip.
    pub fn describe(&self, timeout: Duration) -> Result<Description, ReadError> {
        match native::describe_topic(&self.reader, &self.topic, timeout) {
            Ok(TopicDescription { id, partitions }) => {
                Ok(Description { id, partitions: i32::try_from(partitions).unwrap_or(i32::MAX) })
            }
            Err(error) => Err(self.unanswered(format!("could not describe topic {:?}", self.topic), error)),
        }
    }

    /// Returns the first and the next offset of a partition's log, open transactions included. Costs a round trip.
    pub fn log_ends(&self, partition: i32, timeout: Duration) -> Result<LogEnds, ReadError> {
        self.probe.log_ends(&self.topic, partition, timeout).map_err(|error| {
            self.unanswered(format!("could not get the log ends of {}/{partition}", self.topic), error)
        })
    }

    /// Begins to read each partition at its offset. Replaces all earlier assignments.
    pub fn start(&self, offsets: &[(i32, i64)]) -> Result<(), ReadError> {
        let assign = || -> KafkaResult<()> {
            let mut list = TopicPartitionList::with_capacity(offsets.len());
            for (partition, offset) in offsets {
                list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))?;
            }
            self.reader.assign(&list)
        };
        assign().map_err(|error| rebuild("could not assign the partitions of a topic", error))?;
        self.next.replace(offsets.iter().copied().collect());
        Ok(())
    }

    /// Returns the next record of any partition, or `None` if there was none for `timeout`.
    ///
    /// # Errors
    ///
    /// [`ReadError`]. What librdkafka repairs by itself (a broken connection, a moved leader) is not an error: the topic looks
    /// idle.
    pub fn poll(&self, timeout: Duration) -> Result<Option<Record<'_>>, ReadError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(reason) = self.reports.refusal() {
                return Err(ReadError::Refused { reason });
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            match self.reader.poll(remaining) {
                Some(Ok(message)) => {
                    let mut next = self.next.borrow_mut();
                    let record = Record::from_message(message);
                    if let Some(next) = next.get_mut(&record.partition())
                        && record.offset() >= *next
                    {
                        *next = record.offset() + 1;
                        return Ok(Some(record));
                    }
                }
                Some(Err(error)) => self.handle(error)?,
                None => {}
            }
            if Instant::now() >= deadline {
                self.probe.serve();
                return Ok(None);
            }
        }
    }

    /// Returns the next offset of every partition, beyond everything that [`Tail::poll`] has returned or skipped.
    pub fn positions(&self) -> Result<BTreeMap<i32, i64>, ReadError> {
        let positions = self
            .reader
            .position()
            .map_err(|error| rebuild("could not get the positions of the reader of a topic", error))?;
        let mut next = self.next.borrow_mut();
        for element in positions.elements() {
            // `Invalid` until the first record or marker: then the partition is still at its start.
            if let (Offset::Offset(position), Some(next)) = (element.offset(), next.get_mut(&element.partition())) {
                *next = position.max(*next);
            }
        }
        Ok(next.clone())
    }

    /// Returns how many errors of each kind librdkafka has reported so far.
    pub fn errors(&self) -> ErrorCounts {
        self.reports.counts()
    }

    /// Returns the error of a request.
    fn unanswered(&self, problem: String, error: KafkaError) -> ReadError {
        use RDKafkaErrorCode as Code;
        // The reason for a refusal comes only by polling. A reader that was started is polled anyway, and a record taken here
        // would be lost.
        self.probe.serve();
        if self.next.borrow().is_empty() {
            drop(self.reader.poll(Duration::ZERO));
        }
        match (sort(&self.reports, problem, error.clone()), code(&error)) {
            (ReadError::Unavailable { .. }, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic)) => {
                ReadError::UnknownTopic { topic: self.topic.clone() }
            }
            (sorted, _) => sorted,
        }
    }

    /// Handles an error of a poll. The context has counted what librdkafka repairs by itself; here that is no error.
    fn handle(&self, error: KafkaError) -> Result<(), ReadError> {
        use RDKafkaErrorCode as Code;
        match (error.rdkafka_error_code(), &error) {
            (Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset | Code::LogTruncation), _) => {
                Err(ReadError::OffsetOutOfRange { topic: self.topic.clone(), reason: self.reports.last() })
            }
            (Some(Code::Fatal), _) | (_, KafkaError::MessageConsumptionFatal(_)) => {
                Err(rebuild("the reader of a topic is unusable", error))
            }
            _ => Ok(()),
        }
    }
}
