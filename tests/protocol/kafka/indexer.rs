//! The indexer on a broker: what the index holds is what the topic says, whatever happens in between.
//!
//! The topic is read by a client that shares no code with the program; every session that it has is compared whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use livesession_index::{Reader, Select, StatusFilter};
use livesession_kafka::admin::{Admin, Creation, NewTopicSettings};
use livesession_kafka::settings as client;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use crate::kafka::support::broker::{self, Broker, wait_until};
use crate::kafka::support::deployment::Deployment;
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic::{self, RULES, Random, Traffic};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("run_keeps_an_index_that_agrees_with_the_topic", agrees),
    test("index_alone_fills_the_index_and_answers", alone),
    test("second_indexer_of_a_file_stops", twin),
    test("killed_indexer_ends_in_the_index_of_a_rebuild", killed),
    test("record_that_cannot_be_read_stops_the_indexer", unreadable),
    test("index_that_cannot_be_written_is_told_at_the_start", unwritable),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

/// A deployment with an index of its own.
pub struct Indexed {
    pub deployment: Deployment,
    pub path: PathBuf,
}

impl Indexed {
    pub fn new(broker: &Broker, partitions: i32) -> Indexed {
        let mut deployment = Deployment::without_topics(broker, partitions);
        let path = broker::temporary().join(format!("{}.db", deployment.name));
        let own = format!("grouping.max_hold = \"12h\"\nindex.path = {path:?}");
        deployment.settings = deployment.settings.with(RULES).with(&own);
        let indexed = Indexed { deployment, path };
        let Deployment { input, output, dead_letter, changelog, .. } = &indexed.deployment;
        let topics = [(input, "delete"), (output, "delete"), (dead_letter, "delete"), (changelog, "compact")];
        for (topic, policy) in topics {
            indexed.create(topic, policy);
        }
        indexed
    }

    /// Makes a topic in which nothing gets old: what the tests write is dated long ago.
    pub fn create(&self, topic: &str, policy: &str) {
        // The input's records are smaller than what a dead letter may be.
        let bytes = if *topic == self.deployment.input { "1000000" } else { "2097152" };
        let settings = [("cleanup.policy", policy), ("retention.ms", "-1"), ("max.message.bytes", bytes)];
        let new = NewTopicSettings {
            name: topic.to_owned(),
            partitions: u32::try_from(self.deployment.partitions).unwrap(),
            replicas: Some(1),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        };
        let admin = Admin::new(&client::Settings::new(&self.deployment.bootstrap, "admin", "admin"), PATIENCE).unwrap();
        assert_eq!(admin.create(&new).unwrap(), Creation::Created);
    }

    /// Has a worker publish what comes of the share `part` of `parts` of all notifications.
    pub fn publish(&self, traffic: &Traffic, part: usize, parts: usize) {
        let before: Vec<i64> = self.deployment.ends(&self.deployment.output);
        traffic.produce_part(&self.deployment, part, parts);
        let mut worker = self.deployment.start_ready("publisher");
        self.deployment.wait_read(&mut worker);
        worker.stop();
        assert_ne!(self.deployment.ends(&self.deployment.output), before, "a share without any session tests nothing");
    }

    /// Starts `livesession index`; it is not waited for.
    pub fn start(&self, name: &str) -> Worker {
        Worker::start_as(name, "index", &self.deployment.settings, &[])
    }

    /// Publishes the first half of the traffic, and starts an indexer that has read it.
    pub fn start_with_half(&self, traffic: &Traffic, name: &str) -> Worker {
        self.publish(traffic, 0, 2);
        let mut indexer = self.start(name);
        indexer.wait_ready();
        self.wait_indexed(&mut indexer);
        indexer
    }

    /// Returns the path of a second index.
    pub fn other(&self) -> PathBuf {
        self.path.with_extension("other.db")
    }

    /// Runs a command with the settings of the deployment.
    pub fn command(&self, arguments: &[&str]) -> Run {
        let file = broker::temporary().join(format!("{}.toml", self.deployment.name));
        fs::write(&file, self.deployment.settings.toml()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
        let output = command.args(arguments).arg("--config").arg(&file).env_clear().output().unwrap();
        fs::remove_file(&file).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().expect("ended by itself");
        Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs a command that has to succeed; returns what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let run = self.command(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {run:?}");
        run.stdout
    }

    /// Writes a record to partition 0 of a topic, as another program would.
    pub fn write(&self, topic: &str, value: &str) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.deployment.bootstrap).create().unwrap();
        producer.send(BaseRecord::<str, str>::to(topic).partition(0).payload(value)).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    /// Waits until everything that was published is in the index.
    pub fn wait_indexed(&self, worker: &mut Worker) {
        let expected = traffic::newest(&self.deployment);
        worker.wait_for("everything indexed", PATIENCE, |_| {
            revisions(&self.path) == expected.iter().map(|(id, session)| (id.clone(), revision(session))).collect()
        });
    }

    /// Checks every session of the topic against the index, field for field.
    pub fn assert_agrees(&self) {
        assert_eq!(all(&self.path), traffic::newest(&self.deployment));
    }
}

impl Drop for Indexed {
    fn drop(&mut self) {
        for path in [&self.path, &self.other()] {
            for suffix in ["", "-wal", "-shm"] {
                // A file that stays behind only takes space.
                let _ = fs::remove_file(format!("{}{suffix}", path.display()));
            }
        }
    }
}

/// What a command left behind.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

fn revision(session: &Value) -> i64 {
    session["revision"].as_i64().unwrap()
}

const EVERYTHING: Select<'_> =
    Select { stream: None, from_ms: None, to_ms: None, status: StatusFilter::Any, after: None, limit: 100_000 };

/// Returns the revision of every session of an index; empty if there is none yet.
fn revisions(path: &Path) -> BTreeMap<String, i64> {
    let Ok(mut reader) = Reader::open(path) else { return BTreeMap::new() };
    let sessions = reader.view().unwrap().sessions(&EVERYTHING).unwrap();
    sessions
        .into_iter()
        .map(|found| (found.summary.session_id.to_string(), i64::from(found.summary.revision)))
        .collect()
}

/// Returns every session of an index as it was published.
pub fn all(path: &Path) -> BTreeMap<String, Value> {
    let mut reader = Reader::open(path).unwrap();
    let view = reader.view().unwrap();
    let record = |found| view.with_lists(found).unwrap();
    let sessions = view.sessions(&EVERYTHING).unwrap().into_iter().map(record);
    sessions.map(|session| (session.session_id.to_string(), serde_json::to_value(session).unwrap())).collect()
}

fn agrees(broker: &Broker) {
    let mut indexed = Indexed::new(broker, 2);
    let traffic = Traffic::generate(21, 2, 40);
    indexed.deployment.settings = indexed.deployment.settings.clone().with("index.enabled = true");
    traffic.produce(&indexed.deployment);
    let mut worker = indexed.deployment.start_ready("a");
    indexed.deployment.wait_read(&mut worker);
    indexed.wait_indexed(&mut worker);
    worker.wait_metric("livesession_index_lag_records{partition=\"0\"}", |lag| lag == 0.0);
    worker.wait_metric("livesession_index_lag_records{partition=\"1\"}", |lag| lag == 0.0);
    worker.wait_metric("livesession_index_size_bytes{file=\"db\"}", |bytes| bytes > 0.0);
    assert!(worker.metric("livesession_index_transactions_total{outcome=\"committed\"}").unwrap() > 0.0);
    assert_eq!(worker.metric("livesession_index_transactions_total{outcome=\"failed\"}"), Some(0.0));
    assert!(worker.metric("livesession_index_last_commit_timestamp_seconds").unwrap() > 1e9);
    let (code, body) = worker.get("/api/v1/sessions?limit=1").unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &answer["indexed"]["lag_records"]), (200, &Value::from(0)), "{body}");
    worker.stop();
    assert_eq!(livesession_index::sizes(&indexed.path).1, 0, "a clean stop leaves nothing in the log");
    traffic.assert_result(&indexed.deployment);
    indexed.assert_agrees();
}

fn alone(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 2), Traffic::generate(22, 2, 30));
    let mut worker = indexed.start_with_half(&traffic, "index");
    let (code, _) = worker.get("/api/v1/sessions").unwrap();
    assert_eq!(code, 200);
    indexed.publish(&traffic, 1, 2);
    indexed.wait_indexed(&mut worker);
    worker.stop();
    indexed.assert_agrees();
}

/// Both stand at the same offsets; the first record that comes is written by one of them, and stops the other.
fn twin(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(24, 1, 30));
    let mut first = indexed.start_with_half(&traffic, "first");
    let mut second = indexed.start("second");
    second.wait_ready();
    second.wait_metric("livesession_index_lag_records{partition=\"0\"}", |lag| lag == 0.0);
    indexed.publish(&traffic, 1, 2);
    crate::kafka::support::deployment::wait("one of them stops", || first.has_ended() || second.has_ended());
    let (mut stopped, mut other) = if first.has_ended() { (first, second) } else { (second, first) };
    assert_eq!(stopped.wait_exit(PATIENCE), 78);
    let log = stopped.log();
    assert!(log.contains("another process indexes into the same file"), "{log}");
    assert!(log.contains(indexed.path.to_str().unwrap()), "{log}");
    indexed.wait_indexed(&mut other);
    other.stop();
    indexed.assert_agrees();
}

/// Killed twenty times while sessions are published: in turns at any moment after its start, the first time at once, and a
/// while after its first transaction.
fn killed(broker: &Broker) {
    const KILLS: usize = 20;
    let (indexed, traffic) = (Indexed::new(broker, 2), Traffic::generate(26, 2, 120));
    let mut random = Random::new(26);
    let mut publisher = indexed.deployment.start_ready("publisher");
    let mut moved = 0;
    for kill in 0..KILLS {
        traffic.produce_part(&indexed.deployment, kill, KILLS);
        let before = revisions(&indexed.path);
        let mut indexer = indexed.start("victim");
        if kill % 2 == 1 {
            // There may be nothing new.
            wait_until(Duration::from_secs(3), || revisions(&indexed.path) != before);
        }
        wait_until(Duration::from_millis(random.below(600) * u64::from(kill > 0)), || false);
        assert!(!indexer.has_ended(), "kill {kill}: {}", indexer.log());
        indexer.kill9();
        moved += usize::from(revisions(&indexed.path) != before);
    }
    indexed.deployment.wait_read(&mut publisher);
    publisher.stop();
    assert!((1..KILLS).contains(&moved), "{moved} of {KILLS} kills came after a transaction: some should, not all");
    let mut indexer = indexed.start("survivor");
    indexer.wait_ready();
    indexed.wait_indexed(&mut indexer);
    indexer.stop();
    indexed.assert_agrees();
    indexed.ok(&["index", "rebuild", "--index.path", indexed.other().to_str().unwrap()]);
    assert_eq!(all(&indexed.path), all(&indexed.other()));
    assert_eq!(offsets(&indexed.path), offsets(&indexed.other()));
}

/// Returns the next offset of each partition that has sessions.
fn offsets(path: &Path) -> Vec<(String, i32, i64)> {
    let mut reader = Reader::open(path).unwrap();
    let offsets = reader.view().unwrap().offsets().unwrap();
    assert!(!offsets.is_empty());
    offsets
}

fn unreadable(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(27, 1, 10));
    indexed.publish(&traffic, 0, 1);
    let end = indexed.deployment.end(&indexed.deployment.output, 0);
    indexed.write(&indexed.deployment.output, "{\"version\":2}");
    let mut worker = indexed.start("index");
    assert_eq!(worker.wait_exit(PATIENCE), 70);
    let log = worker.log();
    assert!(log.contains(&format!("cannot index record at offset {end} of partition 0")), "{log}");
    assert!(log.contains("cannot read session record of version 2, only of version 1"), "{log}");
}

fn unwritable(broker: &Broker) {
    let mut indexed = Indexed::new(broker, 1);
    let missing = indexed.path.with_extension("missing").join("index.db");
    let own = format!("index.enabled = true\nindex.path = {missing:?}");
    indexed.deployment.settings = indexed.deployment.settings.clone().with(&own);
    for subcommand in ["run", "index"] {
        let run = indexed.command(&[subcommand]);
        assert_eq!(run.code, 74, "{run:?}");
        assert!(run.stderr.contains("correct index.path, or set index.enabled to false"), "{run:?}");
        assert!(run.stderr.contains(missing.to_str().unwrap()), "{run:?}");
    }
}
