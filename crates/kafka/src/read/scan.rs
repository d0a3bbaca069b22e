//! One-time reads of a range of offsets, for an operator's commands.
//!
//! Joins no group and commits nothing, so the same read can be repeated. Reads committed records, up to an end that the
//! caller takes before the first record is read: a read ends although the topic is being written to. The caller decides
//! which range to read, and what its records mean.

use std::cell::RefCell;
use std::collections::btree_map::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::ReadError;
use crate::librdkafka::codes::is_refusal;
use crate::librdkafka::context::{PlainContext, Reports};
use crate::librdkafka::record::Record;
use crate::librdkafka::settings::Settings;
use crate::read::failure::{not_created, sort};
use crate::values::LogEnds;

/// The maximum duration of one poll for the next record.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// The offset that a group has committed for a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// `None` if it has committed none.
    pub offset: Option<i64>,
    /// The metadata of the offset, empty if there is none.
    pub metadata: String,
}

/// A reader of stretches.
pub struct Scan {
    base: BaseConsumer<PlainContext>,
    reports: Arc<Reports>,
    timeout: Duration,
    range: RefCell<Option<OffsetRange>>,
}

/// The rest of the range under way.
struct OffsetRange {
    topic: String,
    partition: i32,
    next: i64,
    /// Exclusive.
    end: i64,
    /// When `next` last moved.
    moved: Instant,
}

impl Scan {
    /// Creates the reader. Each request and each record may take up to `timeout`.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Scan, ReadError> {
        let reports = Arc::new(Reports::default());
        let context = PlainContext { reports: Arc::clone(&reports) };
        let base = settings.reader().create_with_context(context);
        let base = base.map_err(|error| not_created("could not create the reader of a topic", error))?;
        Ok(Scan { base, reports, timeout, range: RefCell::new(None) })
    }

    /// Returns the first offset of a partition and its last stable offset, which ends what is committed.
    pub fn ends(&self, topic: &str, partition: i32) -> Result<LogEnds, ReadError> {
        let (start, end) = self.request(format!("could not get the log ends of {topic}/{partition}"), |timeout| {
            self.base.fetch_watermarks(topic, partition, timeout)
        })?;
        Ok(LogEnds { start, end })
    }

    /// Returns the offset of the first record with a Kafka timestamp, in ms, of at least `timestamp`, or `None` if there is
    /// none.
    pub fn offset_at(&self, topic: &str, partition: i32, timestamp: i64) -> Result<Option<i64>, ReadError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(topic, partition);
        let problem = || format!("could not look up the offset of {topic}/{partition} at {timestamp} ms");
        list.set_all_offsets(Offset::Offset(timestamp)).map_err(|error| self.sort(problem(), error))?;
        let answer = self.request(problem(), |timeout| self.base.offsets_for_times(list.clone(), timeout))?;
        let element = answer.find_partition(topic, partition);
        Ok(element.and_then(|found| match found.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// Returns the committed offsets of the group that the settings name. Waits until offsets in open transactions are
    /// decided.
    pub fn committed(&self, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, Committed>, ReadError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(topic, *partition);
        }
        let problem = || format!("could not get the committed offsets of the group in {topic}");
        let answer = self.request(problem(), |timeout| self.base.committed_offsets(list.clone(), timeout))?;
        let mut committed = BTreeMap::new();
        for element in answer.elements() {
            element.error().map_err(|error| self.sort(problem(), error))?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            committed.insert(element.partition(), Committed { offset, metadata: element.metadata().to_owned() });
        }
        Ok(committed)
    }

    /// Begins to read a partition from `from`, inclusive, to `end`, exclusive. Abandons the range under way.
    pub fn begin(&self, topic: &str, partition: i32, from: i64, end: i64) -> Result<(), ReadError> {
        let problem = || format!("could not start reading {topic}/{partition} at offset {from}");
        let mut list = TopicPartitionList::with_capacity(1);
        let assigned =
            list.add_partition_offset(topic, partition, Offset::Offset(from)).and_then(|()| self.base.assign(&list));
        assigned.map_err(|error| self.sort(problem(), error))?;
        let range = OffsetRange { topic: topic.to_owned(), partition, next: from, end, moved: Instant::now() };
        *self.range.borrow_mut() = Some(range);
        Ok(())
    }

    /// Returns the next record of the range, or `None` at its end.
    pub fn next(&self) -> Result<Option<Record<'_>>, ReadError> {
        loop {
            let mut place = self.range.borrow_mut();
            let Some(range) = place.as_mut() else { return Ok(None) };
            if range.next >= range.end {
                *place = None;
                return Ok(None);
            }
            match self.base.poll(POLL_TIMEOUT) {
                Some(Ok(message)) if message.partition() != range.partition => {}
                Some(Ok(message)) => {
                    range.next = message.offset() + 1;
                    range.moved = Instant::now();
                    if message.offset() < range.end {
                        return Ok(Some(Record::from_message(message)));
                    }
                }
                // The end was committed when the caller got it, so everything below it has been read. The log may end in
                // markers, which are no records.
                Some(Err(KafkaError::PartitionEOF(partition))) if partition == range.partition => {
                    range.next = range.end;
                }
                Some(Err(error)) => self.handle(range, error)?,
                None => {}
            }
            if range.next < range.end && Instant::now().saturating_duration_since(range.moved) > self.timeout {
                let OffsetRange { topic, partition, next, .. } = &*range;
                return Err(ReadError::Unavailable {
                    problem: format!("no record of {topic}/{partition} at offset {next} for {:?}", self.timeout),
                    source: self.reports.last().into(),
                });
            }
        }
    }

    /// Returns metadata that names the group; the coordinator accepts it as long as the group has no members.
    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.base.group_metadata()
    }

    /// Attempts a request until the timeout. Attempts are short, since the reason for a refusal comes only by polling.
    fn request<T>(&self, problem: String, attempt: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, ReadError> {
        const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
        let deadline = Instant::now() + self.timeout;
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            match attempt(remaining.min(ATTEMPT_TIMEOUT)) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let sorted = self.sort(problem.clone(), error);
                    let is_over = Instant::now() >= deadline || !matches!(sorted, ReadError::Unavailable { .. });
                    if is_over {
                        return Err(sorted);
                    }
                }
            }
        }
    }

    /// Handles an error of a poll. What librdkafka repairs by itself is no error: the range does not move.
    fn handle(&self, range: &OffsetRange, error: KafkaError) -> Result<(), ReadError> {
        use RDKafkaErrorCode as Code;
        if let Some(reason) = self.reports.refusal() {
            return Err(ReadError::Refused { reason });
        }
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset) => Err(ReadError::OffsetOutOfRange {
                topic: range.topic.clone(),
                reason: format!("partition {}, offset {}", range.partition, range.next),
            }),
            Some(code) if is_refusal(code) => Err(ReadError::Refused { reason: error.to_string() }),
            _ => Ok(()),
        }
    }

    fn sort(&self, problem: String, error: KafkaError) -> ReadError {
        if self.range.borrow().is_none() {
            // Nothing is assigned, so this takes no record.
            self.base.poll(Duration::ZERO);
        }
        sort(&self.reports, problem, error)
    }
}
