//! The topics of one deployment, and what is in them, read by a client that shares no code with the worker.

use std::collections::BTreeMap;
use std::time::Duration;

use livesession::clock;
use livesession_kafka::admin::{Admin, Creation, NewTopicSettings};
use livesession_kafka::settings as client;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::unique;
use crate::kafka::support::process::{PATIENCE, Settings, Worker};

/// Topics, group and transactional ids that no other test uses.
pub struct Deployment {
    pub bootstrap: String,
    /// The application id, and so the group.
    pub name: String,
    pub partitions: i32,
    pub input: String,
    pub output: String,
    pub dead_letter: String,
    pub changelog: String,
    pub settings: Settings,
    producer: BaseProducer,
    /// Asks for the group's offsets and for log ends, open transactions counted.
    asker: BaseConsumer,
}

/// A record to be written to the input.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub key: Option<String>,
    pub value: Option<Vec<u8>>,
    /// `None`: now.
    pub timestamp: Option<i64>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Given {
    pub fn new(value: impl Into<Vec<u8>>, timestamp: i64) -> Given {
        Given { value: Some(value.into()), timestamp: Some(timestamp), ..Given::default() }
    }
}

/// A record that was read.
#[derive(Clone, Debug)]
pub struct Found {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<String>)>,
}

impl Found {
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.value.as_deref().expect("the record has a value")).unwrap()
    }

    /// Returns the value of a header, which must be there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.0 == name);
        let value = values.next()?.1.as_deref();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }
}

impl Deployment {
    /// Makes the topics.
    pub fn new(broker: &Broker, partitions: i32) -> Deployment {
        let deployment = Deployment::without_topics(broker, partitions);
        deployment.create(&deployment.input, partitions, &[]);
        deployment.create(&deployment.output, partitions, &[]);
        deployment.create(&deployment.dead_letter, partitions, &[]);
        deployment.create_changelog();
        deployment
    }

    /// Makes no topics.
    pub fn without_topics(broker: &Broker, partitions: i32) -> Deployment {
        let name = unique();
        let bootstrap = broker.bootstrap().to_owned();
        let topic = |suffix: &str| format!("{name}-{suffix}");
        let (input, output) = (topic("input"), topic("output"));
        let settings = Settings::default().with(&format!(
            r#"
            application_id = "{name}"
            transactional_id = "{name}-a"
            log_format = "text"
            log_filter = "info,livesession=debug"
            topics.input = "{input}"
            topics.output = "{output}"
            kafka.brokers = ["{bootstrap}"]
            kafka.commit_interval = "50ms"
            kafka.consumer.properties."heartbeat.interval.ms" = "300"
            grouping.idle_after = "1h"
            index.enabled = false
            "#
        ));
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "8000000")
            // So that a topic takes records far larger than its limit.
            .set("compression.type", "lz4")
            .create()
            .unwrap();
        let asker = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("group.id", &name)
            .set("isolation.level", "read_uncommitted")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        Deployment {
            bootstrap,
            dead_letter: format!("{input}-dlq"),
            changelog: topic("changelog"),
            input,
            output,
            partitions,
            settings,
            producer,
            asker,
            name,
        }
    }

    /// Makes a topic. Nothing in it gets old: what the tests write is dated long ago.
    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin = Admin::new(&client::Settings::new(&self.bootstrap, "admin", "admin"), PATIENCE).unwrap();
        // What is written must take what the input takes, and a session at its limits.
        let size = if topic == self.input { "1048588" } else { "2097152" };
        let mut settings = [&[("retention.ms", "-1")], settings].concat();
        if !settings.iter().any(|(name, _)| *name == "max.message.bytes") {
            settings.push(("max.message.bytes", size));
        }
        let topic = NewTopicSettings {
            name: topic.to_owned(),
            partitions: u32::try_from(partitions).unwrap(),
            replicas: Some(1),
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        assert_eq!(admin.create(&topic).unwrap(), Creation::Created);
    }

    pub fn create_changelog(&self) {
        self.create(&self.changelog, self.partitions, &[("cleanup.policy", "compact")]);
    }

    /// Starts a worker with a transactional id of its own; it is not waited for.
    pub fn start(&self, worker: &str) -> Worker {
        Worker::start(worker, &self.settings_of(worker))
    }

    /// Returns the settings of a worker, with a transactional id of its own.
    pub fn settings_of(&self, worker: &str) -> Settings {
        let own = format!("transactional_id = \"{}-{worker}\"", self.name);
        self.settings.clone().with(&own)
    }

    /// Starts a worker and waits until it works.
    pub fn start_ready(&self, worker: &str) -> Worker {
        let mut worker = self.start(worker);
        worker.wait_ready();
        worker
    }

    /// Writes records to a partition of the input. Returns when the broker has them.
    pub fn produce(&self, partition: i32, records: &[Given]) {
        for given in records {
            let headers = given
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let mut record = BaseRecord::<String, Vec<u8>>::to(&self.input).partition(partition).headers(headers);
            record.key = given.key.as_ref();
            record.payload = given.value.as_ref();
            record.timestamp = given.timestamp;
            self.producer.send(record).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Returns the group's committed offsets, by partition.
    pub fn committed(&self) -> Vec<Option<i64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.input, 0, self.partitions - 1);
        let answer = ask("the group's offsets", || self.asker.committed_offsets(list.clone(), PATIENCE));
        answer.elements().iter().map(|element| element.offset().to_raw().filter(|offset| *offset >= 0)).collect()
    }

    /// Sets the group's offset of a partition, as an operator's tool would while nobody is in the group.
    pub fn reset_offset(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.input, partition, Offset::Offset(offset)).unwrap();
        self.asker.commit(&list, CommitMode::Sync).unwrap();
    }

    /// Returns the next offset of a log, open transactions counted.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        ask("the end of a log", || self.asker.fetch_watermarks(topic, partition, PATIENCE)).1
    }

    /// Returns the next offsets of a topic, by partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        (0..self.partitions).map(|partition| self.end(topic, partition)).collect()
    }

    /// Returns whether the group has committed the end of every partition. Logs that end in markers never are.
    pub fn is_read(&self) -> bool {
        self.committed().into_iter().zip(self.ends(&self.input)).all(|(offset, end)| offset.unwrap_or(0) == end)
    }

    /// Waits until everything in the input is committed.
    pub fn wait_read(&self, worker: &mut Worker) {
        worker.wait_for("everything read", PATIENCE, |_| self.is_read());
    }

    /// Writes records and waits until they are committed, before anything that comes later.
    pub fn feed(&self, worker: &mut Worker, partition: i32, records: &[Given]) {
        self.produce(partition, records);
        self.wait_read(worker);
    }

    /// Returns all committed records of a topic, partition by partition in log order.
    ///
    /// Waits until no transaction is open, so that nothing is missing behind it.
    pub fn read(&self, topic: &str) -> Vec<Found> {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "nobody")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let metadata = ask("the partitions of a topic", || reader.fetch_metadata(Some(topic), PATIENCE));
        let partitions = i32::try_from(metadata.topics()[0].partitions().len()).unwrap();
        let mut list = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in 0..partitions {
            let (start, end) = ask("the ends of a log", || self.asker.fetch_watermarks(topic, partition, PATIENCE));
            if start < end {
                list.add_partition_offset(topic, partition, Offset::Offset(start)).unwrap();
                ends.insert(partition, end);
            }
        }
        reader.assign(&list).unwrap();
        let mut found = Vec::new();
        let deadline = clock::instant() + PATIENCE;
        while !ends.is_empty() {
            assert!(clock::instant() < deadline, "{topic}: no end of {ends:?} after {} records", found.len());
            match reader.poll(Duration::from_millis(20)) {
                Some(Ok(record)) => found.push(own(&record)),
                Some(Err(KafkaError::PartitionEOF(_))) | None => {
                    let positions = reader.position().unwrap();
                    ends.retain(|partition, end| {
                        let position = positions.find_partition(topic, *partition).unwrap().offset();
                        position.to_raw().unwrap_or(-1) < *end
                    });
                }
                Some(Err(error)) => panic!("{topic}: {error}"),
            }
        }
        found.sort_by_key(|record| (record.partition, record.offset));
        found
    }

    /// Returns what the changelog says of a partition: the last value of each key that was not deleted.
    pub fn state(&self, partition: i32) -> BTreeMap<String, Value> {
        let mut state = BTreeMap::new();
        for record in self.read(&self.changelog).into_iter().filter(|record| record.partition == partition) {
            let key = record.key.clone().expect("the changelog is keyed");
            match record.value {
                Some(_) => state.insert(key, record.json()),
                None => state.remove(&key),
            };
        }
        state
    }

    /// Checks that the group and the changelog agree on what was read, which is everything.
    pub fn assert_settled(&self) {
        let ends = self.ends(&self.input);
        for (partition, committed) in self.committed().into_iter().enumerate() {
            let marker = self.state(i32::try_from(partition).unwrap())["m"]["next_offset"].as_i64();
            assert_eq!(marker, committed, "partition {partition}: marker and group");
            assert_eq!(committed, Some(ends[partition]), "partition {partition}: group and input");
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "names of headers that are not UTF-8 panic, as they should in a test")]
fn own(record: &rdkafka::message::BorrowedMessage<'_>) -> Found {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = record.headers().map_or(Vec::new(), |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(text))).collect()
    });
    Found {
        partition: record.partition(),
        offset: record.offset(),
        key: record.key().map(text),
        value: record.payload().map(<[u8]>::to_vec),
        headers,
    }
}

/// Asks until there is an answer: a broker that has just started does not know yet for which groups it is responsible.
fn ask<T>(what: &str, mut question: impl FnMut() -> KafkaResult<T>) -> T {
    let mut answer = None;
    let mut last = None;
    wait_until(PATIENCE, || match question() {
        Ok(value) => {
            answer = Some(value);
            true
        }
        Err(error) => {
            last = Some(error);
            false
        }
    });
    answer.unwrap_or_else(|| panic!("no answer in {PATIENCE:?} to what is {what}: {last:?}"))
}

/// Waits until `condition` holds, for what no worker can be blamed for alone.
pub fn wait(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait_until(PATIENCE, condition), "not after {PATIENCE:?}: {what}");
}
