//! Reading a cluster on which nothing moves any more: every committed record, and how far the group is.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::time::{Duration, Instant};
use std::{ptr, slice};

use rdkafka::bindings as native;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::record::{Header, Record};

/// One answer of a broker.
const ANSWER: Duration = Duration::from_secs(20);

/// Why there can be no audit.
#[derive(Debug)]
pub enum Failure {
    /// It may go well later.
    NotNow(String),
    /// What is needed is gone.
    Never(String),
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Failure {
        Failure::NotNow(error.to_string())
    }
}

pub struct Cluster {
    /// Reads committed records.
    reader: BaseConsumer,
    /// Sees the ends of logs, open transactions counted.
    probe: BaseConsumer,
    group: String,
    /// How long to wait for something that does not move.
    patience: Duration,
}

impl Cluster {
    pub fn connect(properties: &[(String, String)], group: &str, patience: Duration) -> Result<Cluster, Failure> {
        let client = |isolation: &str| -> KafkaResult<BaseConsumer> {
            let mut config = ClientConfig::new();
            for (name, value) in properties {
                config.set(name, value);
            }
            config
                .set("group.id", group)
                .set("isolation.level", isolation)
                .set("enable.auto.commit", "false")
                .set("enable.auto.offset.store", "false")
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "error")
                .set("check.crcs", "true")
                .create()
        };
        let (reader, probe) = (client("read_committed")?, client("read_uncommitted")?);
        Ok(Cluster { reader, probe, group: group.to_owned(), patience })
    }

    /// Waits until the group has no members.
    pub fn wait_alone(&self) -> Result<(), Failure> {
        let deadline = now() + self.patience;
        loop {
            // A broker that has just started does not know yet whom it has to ask.
            let problem = match self.probe.fetch_group_list(Some(&self.group), ANSWER.min(self.patience)) {
                Ok(list) => match list.groups().iter().map(|group| group.members().len()).sum::<usize>() {
                    0 => return Ok(()),
                    members => format!("group {} has {members} members: stop the workers first", self.group),
                },
                Err(error) => error.to_string(),
            };
            if now() >= deadline {
                return Err(Failure::NotNow(problem));
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    /// Returns begin and end of each partition's log, open transactions counted.
    pub fn bounds(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, Failure> {
        let metadata = self.probe.fetch_metadata(Some(topic), ANSWER)?;
        let partitions: Vec<i32> =
            metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
        if partitions.is_empty() {
            return Err(Failure::Never(format!("topic {topic} is not there")));
        }
        let mut bounds = BTreeMap::new();
        for partition in partitions {
            bounds.insert(partition, self.probe.fetch_watermarks(topic, partition, ANSWER)?);
        }
        Ok(bounds)
    }

    /// Returns the group's offsets, once none is undecided.
    pub fn committed(&self, topic: &str, partitions: impl Iterator<Item = i32>) -> Result<BTreeMap<i32, i64>, Failure> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(topic, partition);
        }
        let answer = self.reader.committed_offsets(list, self.patience)?;
        let mut committed = BTreeMap::new();
        for element in answer.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                committed.insert(element.partition(), offset);
            }
        }
        Ok(committed)
    }

    /// Gives every committed record of a topic to `take`, partition by partition in the order of the log.
    ///
    /// Waits for transactions that are still open: what is behind one cannot be seen before it ends.
    pub fn read(
        &self,
        topic: &str,
        bounds: &BTreeMap<i32, (i64, i64)>,
        mut take: impl FnMut(Record),
    ) -> Result<(), Failure> {
        for (partition, (begin, end)) in bounds {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, *partition, Offset::Offset(*begin))?;
            self.reader.assign(&list)?;
            let (mut next, mut moved) = (*begin, now());
            while next < *end {
                match self.reader.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => {
                        // A compacted log and its markers leave holes, so this is not yet the end.
                        (next, moved) = (message.offset() + 1, now());
                        take(own(&message));
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) | None => {
                        let position = self.reader.position()?.elements()[0].offset().to_raw().unwrap_or(0);
                        if position > next {
                            (next, moved) = (position, now());
                        } else if moved.elapsed() > self.patience {
                            let what = format!("{topic}/{partition}: a transaction is open at {next}, before {end}");
                            return Err(Failure::NotNow(what));
                        }
                    }
                    Some(Err(error)) => return Err(Failure::NotNow(format!("{topic}/{partition}: {error}"))),
                }
            }
        }
        self.reader.unassign()?;
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "waits for brokers, and has no time in what it finds")]
fn now() -> Instant {
    Instant::now()
}

fn own(message: &BorrowedMessage<'_>) -> Record {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers(message),
    }
}

/// Returns the headers of a message with their names as bytes: rdkafka panics where a name is not UTF-8.
fn headers(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let ok = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    let mut list = ptr::null_mut();
    let mut headers = Vec::new();
    // SAFETY: the message outlives the call; on success the list is the message's own.
    if unsafe { native::rd_kafka_message_headers(message.ptr(), &mut list) } != ok {
        return headers;
    }
    loop {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list lives as long as the message; the out pointers are valid, and set on success.
        if unsafe { native::rd_kafka_header_get_all(list, headers.len(), &mut name, &mut value, &mut size) } != ok {
            return headers;
        }
        // SAFETY: a name ends in NUL and lives in the list.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes().to_vec();
        // SAFETY: a value that is not null has `size` bytes in the list.
        let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }.to_vec());
        headers.push((name, value));
    }
}
