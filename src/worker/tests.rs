//! The loop against a broker that does what it is told: when it asks, commits and counts.
//!
//! What crashes, rebalances and lost answers do is for the simulation.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::*;
use crate::grouping;
use crate::kafka::{Apply, ErrorCounts, KnownEnds, LogEnds, Outgoing, Record, consumer, restore, transaction};
use crate::metrics::Labels;
use crate::partition::Partition as State;
use crate::time::Millis;
use crate::wire::notification::Rules;
use crate::wire::{changelog, dead_letter, notification};

/// A broker of one input partition. Notes what it is asked to do.
#[derive(Default)]
struct Scripted {
    inputs: RefCell<VecDeque<Input<'static>>>,
    said: RefCell<Vec<String>>,
    restoring: RefCell<Vec<i32>>,
    /// What the changelog holds of every partition, with the group's offset.
    changelog: (Vec<changelog::Record>, Option<i64>),
    errors: Cell<ErrorCounts>,
    known_ends: Option<KnownEnds>,
    /// How many slices of restoring there were.
    slices: Cell<usize>,
    sent: RefCell<Vec<Sent>>,
}

/// A record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    topic: String,
    partition: Option<i32>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

impl Scripted {
    fn say(&self, text: String) {
        self.said.borrow_mut().push(text);
    }

    /// Returns what it was asked to do since the last time.
    fn said(&self) -> Vec<String> {
        self.said.take()
    }

    /// Returns what was sent to a topic since the last time.
    fn sent(&self, topic: &str) -> Vec<Sent> {
        self.sent.borrow_mut().extract_if(.., |sent| sent.topic == topic).collect()
    }

    fn give(&self, input: Input<'static>) {
        self.inputs.borrow_mut().push_back(input);
    }
}

impl Broker for Scripted {
    fn poll(&self, _timeout: Duration) -> Result<Input<'_>, consumer::Error> {
        Ok(self.inputs.borrow_mut().pop_front().unwrap_or(Input::Idle))
    }

    fn start(&self, partition: i32, offset: i64) -> Result<(), consumer::Error> {
        self.say(format!("start {partition} at {offset}"));
        Ok(())
    }

    fn log_ends(&self, partition: i32, _timeout: Duration) -> Result<LogEnds, consumer::Error> {
        self.say(format!("log ends of {partition}"));
        Ok(LogEnds { start: 0, end: 0 })
    }

    fn position(&self, _partition: i32) -> Option<i64> {
        None
    }

    fn begin_restore(&self, partition: i32) -> Result<(), restore::Error> {
        self.restoring.borrow_mut().push(partition);
        Ok(())
    }

    fn step_restore(&self, _budget: Duration, apply: &mut Apply<'_>) -> Result<restore::Progress, restore::Error> {
        self.slices.update(|slices| slices + 1);
        let (log, committed) = &self.changelog;
        let restore = |partition| {
            log.iter().for_each(|(key, value)| apply(partition, key.as_bytes(), value.as_deref()));
            restore::Restored { partition, committed: *committed, records: log.len() as u64 }
        };
        Ok(restore::Progress { restored: self.restoring.take().into_iter().map(restore).collect(), remaining: 0 })
    }

    fn begin(&self) -> Result<(), transaction::Error> {
        self.say("begin".to_owned());
        Ok(())
    }

    fn send(&self, record: &Outgoing<'_>) -> Result<(), transaction::Error> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.sent.borrow_mut().push(Sent {
            topic: record.topic.to_owned(),
            partition: record.partition,
            key: record.key.map(text),
            value: record.value.map(text),
            headers: record.headers.iter().map(|(name, value)| (text(name), text(value.unwrap_or_default()))).collect(),
        });
        Ok(())
    }

    fn commit(&self, offsets: &[(i32, i64)], _timeout: Duration) -> Result<(), transaction::Error> {
        self.say(format!("commit {offsets:?}"));
        Ok(())
    }

    fn abort(&self) -> Result<(), transaction::Error> {
        self.say("abort".to_owned());
        Ok(())
    }

    fn known_ends(&self, _partition: i32) -> Option<KnownEnds> {
        self.known_ends
    }

    fn errors(&self) -> ErrorCounts {
        self.errors.get()
    }
}

/// When the streams of these tests run, in seconds.
const ZERO: i64 = 1_754_000_000;

fn settings() -> Settings {
    let topic = |name: &str| name.to_owned();
    let policy = grouping::Settings {
        gap: Millis::from_secs(10),
        recording_interval: Millis::from_secs(60),
        max_segment: Millis::from_secs(100),
        grace: Millis::from_secs(5),
        amend_window: Millis::from_secs(200),
        max_hold: Millis::from_secs(290),
        ..grouping::Settings::default()
    };
    Settings {
        application_id: topic("livesession"),
        topics: Topics {
            input: topic("input"),
            output: topic("output"),
            dead_letter: topic("dead"),
            changelog: topic("changelog"),
            latest: None,
        },
        policy: grouping::Policy::new(policy).unwrap(),
        rules: Rules::default(),
        start: Start::Earliest,
        commit_interval: Duration::from_secs(1),
        commit_max_records: 2,
        commit_timeout: Duration::from_secs(5),
        idle_after: Duration::from_secs(30),
        cloudevents: false,
        schema_guid: String::new(),
        dead_letter_partitions: 1,
        max_dead_letter_bytes: 1 << 20,
        slice: SLICE,
        between_slices: BETWEEN_SLICES,
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(Labels { reasons: &["not_json"], anomalies: &["time_scaled"], causes: &["watermark"] }))
}

/// The clocks so many ms after the start. The wall's runs a hundred times as fast, so that something is due at any time.
fn at(ms: u64) -> Now {
    let wall = Timestamp::from_ms(ZERO * 1_000 + 100 * ms as i64).unwrap();
    Now { wall, elapsed: Duration::from_millis(ms) }
}

/// Returns the value of a series.
fn shown(metrics: &Metrics, series: &str) -> Option<f64> {
    let (text, start) = (metrics.render(), format!("livesession_{series} "));
    text.lines().find_map(|line| line.strip_prefix(&start)).map(|value| value.parse().unwrap())
}

/// A record of partition 0.
fn record(offset: i64, value: String) -> Input<'static> {
    let value: &'static [u8] = Vec::leak(value.into_bytes());
    Input::Record(Record::from_parts((0, offset), None, (Some(b"key"), Some(value)), vec![(b"name", Some(b"text"))]))
}

/// A file of a stream, in seconds.
fn file(offset: i64, stream: &str, start: i64, end: i64) -> Input<'static> {
    let value = format!(
        r#"{{"event_type":100,"stream_id":"{stream}","file_id":"f{offset}","start_time":{},"end_time":{}}}"#,
        ZERO + start,
        ZERO + end
    );
    record(offset, value)
}

/// Gives a worker its partition, and starts it there.
fn begin_partition(worker: &mut Worker<'_, Scripted>, partition: i32) {
    worker.broker.give(Input::Assigned(vec![partition]));
    worker.turn(at(0)).unwrap();
    worker.turn(at(0)).unwrap();
    assert_eq!(worker.restoring(), 0);
}

#[test]
fn partition_whose_clock_has_just_moved_is_not_idle() {
    let broker = Scripted::default();
    let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
    begin_partition(&mut worker, 0);
    worker.turn(at(20_000)).unwrap();
    broker.give(file(0, "cam", 0, 10));
    worker.turn(at(20_001)).unwrap();
    broker.said();
    worker.turn(at(50_000)).unwrap();
    assert!(!broker.said().contains(&"log ends of 0".to_owned()), "its watermark moved less than 30 s ago");
    worker.turn(at(51_001)).unwrap();
    assert!(broker.said().contains(&"log ends of 0".to_owned()));
}

#[test]
fn transaction_is_committed_when_it_is_old_or_full() {
    let broker = Scripted::default();
    let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
    begin_partition(&mut worker, 0);
    worker.turn(at(5_000)).unwrap();
    broker.said();
    broker.give(file(0, "cam", 0, 10));
    broker.give(file(1, "cam", 10, 20));
    broker.give(file(2, "cam", 20, 30));
    worker.turn(at(5_000)).unwrap();
    worker.turn(at(5_000)).unwrap();
    assert_eq!(broker.said(), ["begin"]);
    worker.turn(at(5_000)).unwrap();
    assert_eq!(broker.said(), ["commit [(0, 2)]", "begin"], "two records are enough");
    // Counted from the first turn after it began.
    worker.turn(at(5_500)).unwrap();
    worker.turn(at(6_499)).unwrap();
    assert_eq!(broker.said(), Vec::<String>::new());
    worker.turn(at(6_500)).unwrap();
    assert_eq!(broker.said(), ["commit [(0, 3)]"]);
}

/// Building a large state takes seconds, and an open transaction must not wait for it.
#[test]
fn open_transaction_is_committed_before_a_state_is_built() {
    let broker = Scripted { changelog: (changelog(), Some(7)), ..Scripted::default() };
    let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
    begin_partition(&mut worker, 0);
    broker.give(file(7, "cam", 0, 10));
    broker.give(Input::Assigned(vec![1]));
    worker.turn(at(1)).unwrap();
    worker.turn(at(1)).unwrap();
    broker.said();
    worker.turn(at(1)).unwrap();
    assert_eq!(broker.said(), ["commit [(0, 8)]", "start 1 at 7"]);
}

#[test]
fn errors_are_counted_once() {
    let broker = Scripted::default();
    let metrics = metrics();
    let mut worker = Worker::new(&broker, Arc::new(settings()), Arc::clone(&metrics));
    broker.errors.set(ErrorCounts { transport: 1, auth: 2, timeout: 3, other: 4 });
    worker.turn(at(1_000)).unwrap();
    broker.errors.set(ErrorCounts { transport: 2, auth: 2, timeout: 3, other: 4 });
    worker.turn(at(2_000)).unwrap();
    for (kind, count) in [("transport", 2.0), ("auth", 2.0), ("timeout", 3.0), ("other", 4.0)] {
        assert_eq!(shown(&metrics, &format!("kafka_errors_total{{kind=\"{kind}\"}}")), Some(count));
    }
}

#[test]
fn worker_that_ends_leaves_no_partition_in_the_metrics() {
    let broker = Scripted::default();
    let metrics = metrics();
    let mut worker = Worker::new(&broker, Arc::new(settings()), Arc::clone(&metrics));
    begin_partition(&mut worker, 0);
    broker.give(Input::Assigned(vec![1]));
    worker.turn(at(1)).unwrap();
    assert!(metrics.render().contains("partition=\"0\"") && metrics.render().contains("partition=\"1\""));
    worker.forget_all();
    assert!(!metrics.render().contains("partition="), "{}", metrics.render());
}

/// Else `latest` would be another place after a restart.
#[test]
fn where_a_partition_begins_is_committed_before_anything_is_read() {
    let broker = Scripted::default();
    let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
    begin_partition(&mut worker, 0);
    worker.turn(at(2_000)).unwrap();
    assert_eq!(broker.said(), ["log ends of 0", "begin", "start 0 at 0", "commit [(0, 0)]"]);
    worker.turn(at(4_000)).unwrap();
    assert_eq!(broker.said(), Vec::<String>::new(), "once is enough");
}

/// A changelog with a marker at 7.
fn changelog() -> Vec<changelog::Record> {
    let mut state = State::new(settings().policy, notification::KeyParts::AppAppnameStreamId, 7);
    state.begin();
    state.prepare()
}

#[test]
fn state_that_makes_no_sense_is_looked_at_twice() {
    for committed in [None, Some(6), Some(8)] {
        let broker = Scripted { changelog: (changelog(), committed), ..Scripted::default() };
        let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
        broker.give(Input::Assigned(vec![0]));
        worker.turn(at(0)).unwrap();
        worker.turn(at(0)).unwrap();
        assert_eq!((worker.restoring(), broker.restoring.borrow().clone()), (1, vec![0]), "a second look");
        let failure = worker.turn(at(0)).unwrap_err();
        assert!(matches!(failure, Failure::State { partition: 0, .. }), "{failure:?}");
        assert_eq!(broker.said(), Vec::<String>::new(), "nothing is begun");
    }
}

#[test]
fn state_that_makes_sense_at_the_second_look_is_started() {
    let mut broker = Scripted { changelog: (changelog(), Some(8)), ..Scripted::default() };
    broker.give(Input::Assigned(vec![0]));
    let settings = Arc::new(settings());
    let mut worker = Worker::new(&broker, Arc::clone(&settings), metrics());
    worker.turn(at(0)).unwrap();
    worker.turn(at(0)).unwrap();
    let owned = std::mem::take(&mut worker.owned);
    broker.changelog.1 = Some(7);
    let mut worker = Worker { owned, ..Worker::new(&broker, settings, metrics()) };
    worker.turn(at(0)).unwrap();
    assert_eq!((worker.restoring(), broker.said()), (0, vec!["start 0 at 7".to_owned()]));
}

/// What no look will make readable ends it at the first one; a batch is read when all is there.
#[test]
fn changelog_that_cannot_be_read_ends_the_worker() {
    for (key, turns) in [("nobody's", 1), ("b/0", 2)] {
        let mut log = changelog();
        log.push((key.to_owned(), Some(b"{".to_vec())));
        let broker = Scripted { changelog: (log, Some(7)), ..Scripted::default() };
        let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
        broker.give(Input::Assigned(vec![0]));
        for _ in 0..turns {
            worker.turn(at(0)).unwrap();
        }
        let failure = worker.turn(at(0)).unwrap_err();
        assert!(matches!(failure, Failure::Restore { partition: 0, .. }), "{key}: {failure:?}");
    }
}

#[test]
fn newest_revision_is_copied_to_the_latest_topic_and_deleted_when_withdrawn() {
    let broker = Scripted::default();
    let mut settings = Settings { schema_guid: "guid".to_owned(), commit_max_records: 9, ..settings() };
    settings.topics.latest = Some("latest".to_owned());
    let metrics = metrics();
    let mut worker = Worker::new(&broker, Arc::new(settings), Arc::clone(&metrics));
    begin_partition(&mut worker, 0);
    // Two sessions, and another stream that moves the clock past both.
    for input in [file(0, "cam", 0, 10), file(1, "cam", 40, 50), file(2, "other", 120, 130)] {
        broker.give(input);
    }
    let commit = |worker: &mut Worker<'_, Scripted>, ms| {
        (0..4).for_each(|_| assert_eq!(worker.turn(at(ms)).unwrap(), Duration::ZERO));
        worker.turn(at(ms + 1_000)).unwrap();
    };
    commit(&mut worker, 1);
    let field = |sent: &Sent, name: &str| {
        let value: serde_json::Value = serde_json::from_str(sent.value.as_ref().unwrap()).unwrap();
        value[name].as_str().unwrap().to_owned()
    };
    let (published, copied) = (broker.sent("output"), broker.sent("latest"));
    assert_eq!(published.iter().map(|sent| field(sent, "status")).collect::<Vec<_>>(), ["closed", "closed"]);
    for (published, copied) in published.iter().zip(&copied) {
        assert_eq!(published.headers.last(), Some(&("__value_schema_id".to_owned(), "guid".to_owned())));
        let copy = Sent {
            topic: "latest".to_owned(),
            partition: Some(0),
            key: Some(field(published, "session_id")),
            ..published.clone()
        };
        assert_eq!(*copied, copy);
    }
    assert_eq!(shown(&metrics, "sessions_closed_total{cause=\"watermark\"}"), Some(2.0));
    // What was missing between them.
    broker.give(file(3, "cam", 10, 40));
    commit(&mut worker, 3_000);
    let (published, copied) = (broker.sent("output"), broker.sent("latest"));
    assert_eq!(published.iter().map(|sent| field(sent, "status")).collect::<Vec<_>>(), ["closed", "withdrawn"]);
    assert_eq!(copied[0].value, published[0].value);
    assert_eq!((&copied[1].key, &copied[1].value), (&Some(field(&published[1], "session_id")), &None));
    assert_eq!(copied.len(), 2);
}

#[test]
fn dead_letter_that_is_too_large_goes_without_its_value_and_says_so() {
    let broker = Scripted::default();
    let mut worker = Worker::new(&broker, Arc::new(Settings { max_dead_letter_bytes: 60, ..settings() }), metrics());
    begin_partition(&mut worker, 0);
    broker.give(record(0, "small".to_owned()));
    broker.give(record(1, "x".repeat(100)));
    worker.turn(at(1)).unwrap();
    worker.turn(at(1)).unwrap();
    let sent = broker.sent("dead");
    let cut =
        |sent: &Sent| sent.headers.iter().find(|(name, _)| name == dead_letter::CUT).map(|(_, text)| text.clone());
    assert_eq!((sent[0].value.as_deref(), cut(&sent[0])), (Some("small"), None));
    assert_eq!((sent[1].value.as_deref(), cut(&sent[1])), (None, Some("100".to_owned())));
    for sent in sent {
        assert_eq!((sent.partition, sent.key.as_deref()), (Some(0), Some("key")));
        assert_eq!(sent.headers[0], ("name".to_owned(), "text".to_owned()));
    }
}

#[test]
fn records_are_read_between_two_slices_of_restoring() {
    let broker = Scripted::default();
    let settings = Settings { between_slices: 3, commit_max_records: 99, ..settings() };
    let mut worker = Worker::new(&broker, Arc::new(settings), metrics());
    begin_partition(&mut worker, 0);
    (0..7).for_each(|offset| broker.give(file(offset, "cam", 10 * offset, 10 * offset + 10)));
    broker.slices.set(0);
    (0..7).for_each(|_| assert_eq!(worker.turn(at(1)).unwrap(), Duration::ZERO));
    assert_eq!(broker.slices.get(), 3);
    worker.turn(at(1)).unwrap();
    worker.turn(at(1)).unwrap();
    assert_eq!(broker.slices.get(), 4, "nothing to read: then there is time");
}

#[test]
fn lag_and_sizes_are_shown() {
    let broker = Scripted { known_ends: Some(KnownEnds { stable: 9, end: 9 }), ..Scripted::default() };
    let metrics = metrics();
    let mut worker = Worker::new(&broker, Arc::new(settings()), Arc::clone(&metrics));
    begin_partition(&mut worker, 0);
    broker.give(file(0, "cam", 0, 10));
    worker.turn(at(1)).unwrap();
    worker.turn(at(10_000)).unwrap();
    assert_eq!(shown(&metrics, "partition_lag_records{partition=\"0\"}"), Some(8.0));
    assert_eq!(shown(&metrics, "sessions_in_memory{state=\"open\"}"), Some(1.0));
}
