//! Fixtures of the broker tests: topics, settings, and readers that use none of the code under test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use livesession::clock;
use livesession_kafka::admin::{Admin, Creation, NewTopicSettings};
use livesession_kafka::settings::Settings;
use livesession_kafka::{Broker as _, Client, Input, Outgoing};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::support::broker::Broker;

/// Long enough for every step that ends at all.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The topics and ids of one test.
pub struct World {
    pub bootstrap: String,
    pub input: String,
    pub output: String,
    pub changelog: String,
    pub group: String,
}

impl World {
    /// Creates the topics, each with `partitions`.
    pub fn new(broker: &Broker, partitions: u32) -> World {
        World::with_changelog(broker, partitions, &[("cleanup.policy", "compact")])
    }

    pub fn with_changelog(broker: &Broker, partitions: u32, changelog: &[(&str, &str)]) -> World {
        let name = unique();
        let topic = |suffix: &str| format!("{name}-{suffix}");
        let world = World {
            bootstrap: broker.bootstrap().to_owned(),
            input: topic("input"),
            output: topic("output"),
            changelog: topic("changelog"),
            group: name.clone(),
        };
        let admin = Admin::new(&world.settings("admin"), PATIENCE).unwrap();
        let settings = |of: &[(&str, &str)]| {
            of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        // Records of a test may be old: the broker would delete them at its next look.
        let kept = settings(&[("retention.ms", "-1")]);
        for (name, settings) in
            [(&world.input, kept.clone()), (&world.output, kept), (&world.changelog, settings(changelog))]
        {
            let topic = NewTopicSettings { name: name.clone(), partitions, replicas: Some(1), settings };
            assert_eq!(admin.create(&topic).unwrap(), Creation::Created);
        }
        world
    }

    /// Returns the settings of a worker of that name.
    pub fn settings(&self, worker: &str) -> Settings {
        let mut settings = Settings::new(&self.bootstrap, &self.group, &format!("{}-{worker}", self.group));
        settings.session_timeout = Duration::from_secs(10);
        // Members learn of a rebalance by heartbeat: tests should not wait for it.
        settings.consumer_properties.push(("heartbeat.interval.ms".to_owned(), "300".to_owned()));
        settings
    }

    /// Connects a worker.
    pub fn connect(&self, worker: &str) -> Client {
        Client::connect(&self.settings(worker), &self.input, &self.changelog, PATIENCE).unwrap()
    }

    /// Connects a worker and waits for its first partitions.
    pub fn join(&self, worker: &str) -> (Client, Vec<i32>) {
        let client = self.connect(worker);
        let assigned = wait_for_assignment(&client);
        (client, assigned)
    }

    /// Produces to the input, outside of any transaction.
    pub fn fill(&self, partition: i32, count: usize) {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        for index in 0..count {
            let (key, value) = (format!("k{index}"), format!("v{index}"));
            producer.send(BaseRecord::to(&self.input).partition(partition).key(&key).payload(&value)).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Returns a record for the output.
    pub fn out<'a>(&'a self, partition: i32, key: &'a str, value: &'a str) -> Outgoing<'a> {
        outgoing(&self.output, partition, key, Some(value))
    }

    /// Reads all committed records of a partition, as `key=value`.
    ///
    /// Waits until nothing is undecided: a commit is answered before its markers are in the logs.
    pub fn committed_records(&self, topic: &str, partition: i32) -> Vec<String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "test-reader")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(0)).unwrap();
        consumer.assign(&list).unwrap();
        let deadline = clock::instant() + PATIENCE;
        let end = self.log_end(topic, partition);
        let mut records = Vec::new();
        loop {
            assert!(clock::instant() < deadline, "no end of {topic}/{partition} after {} records", records.len());
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => {
                    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"null")).into_owned();
                    records.push(format!("{}={}", text(record.key()), text(record.payload())));
                }
                // The end of what is decided, which need not be the end.
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
            let position = match consumer.position().unwrap().elements()[0].offset() {
                Offset::Offset(position) => position,
                _ => 0,
            };
            if position >= end {
                return records;
            }
        }
    }

    /// Returns the next offset of a log, open transactions included.
    fn log_end(&self, topic: &str, partition: i32) -> i64 {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("isolation.level", "read_uncommitted");
        let probe: BaseConsumer = config.create().unwrap();
        probe.fetch_watermarks(topic, partition, PATIENCE).unwrap().1
    }

    /// Returns the group's committed offset.
    pub fn committed_offset(&self, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", &self.group)
            .set("isolation.level", "read_committed")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.input, partition);
        let answer = consumer.committed_offsets(list, PATIENCE).unwrap();
        match answer.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

pub fn outgoing<'a>(topic: &'a str, partition: i32, key: &'a str, value: Option<&'a str>) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: Some(partition),
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        headers: &[],
        timestamp: None,
    }
}

/// Polls until partitions come.
pub fn wait_for_assignment(client: &Client) -> Vec<i32> {
    until(client, |input| match input {
        Input::Assigned(partitions) if !partitions.is_empty() => Some(partitions.clone()),
        _ => None,
    })
}

/// Polls until `pick` takes an input.
pub fn until<T>(client: &Client, mut pick: impl FnMut(&Input<'_>) -> Option<T>) -> T {
    let deadline = clock::instant() + PATIENCE;
    loop {
        let input = client.poll(Duration::from_millis(20)).unwrap();
        if let Some(picked) = pick(&input) {
            return picked;
        }
        assert!(clock::instant() < deadline, "nothing but {input:?} in {PATIENCE:?}");
    }
}

/// Returns what a piece of work took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start: Instant = clock::instant();
    let result = work();
    (result, start.elapsed())
}

/// Returns a name that no other test uses, nor an earlier run against a broker that was given.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{}-{count}", clock::now().as_ms(), std::process::id())
}
