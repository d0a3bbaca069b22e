//! The loop against a broker that does what it is told: when it asks, commits and counts.
//!
//! What crashes, rebalances and lost answers do is for the simulation.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::*;
use crate::grouping;
use crate::kafka::{Apply, ErrorCounts, LogEnds, Outgoing, Record, consumer, restore, transaction};
use crate::metrics::Labels;
use crate::partition::Partition as State;
use crate::time::Millis;
use crate::wire::notification::Rules;
use crate::wire::{changelog, notification};

/// A broker of one input partition. Notes what it is asked to do.
#[derive(Default)]
struct Scripted {
    inputs: RefCell<VecDeque<Input<'static>>>,
    said: RefCell<Vec<String>>,
    restoring: RefCell<Vec<i32>>,
    /// What the changelog holds of every partition, with the group's offset.
    changelog: (Vec<changelog::Record>, Option<i64>),
    errors: Cell<ErrorCounts>,
}

impl Scripted {
    fn say(&self, text: String) {
        self.said.borrow_mut().push(text);
    }

    /// Returns what it was asked to do since the last time.
    fn said(&self) -> Vec<String> {
        self.said.take()
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

    fn send(&self, _record: &Outgoing<'_>) -> Result<(), transaction::Error> {
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
    Arc::new(Metrics::new(Labels { reasons: &[], anomalies: &["time_scaled"], causes: &["watermark"] }))
}

/// The clocks so many ms after the start. The wall's runs a hundred times as fast, so that something is due at any time.
fn at(ms: u64) -> Now {
    let wall = Timestamp::from_ms(ZERO * 1_000 + 100 * ms as i64).unwrap();
    Now { wall, elapsed: Duration::from_millis(ms) }
}

/// A file of ten seconds, of the stream's second `start`.
fn file(offset: i64, start: i64) -> Input<'static> {
    let value = format!(
        r#"{{"event_type":100,"stream_id":"cam","file_id":"f{offset}","start_time":{},"end_time":{}}}"#,
        ZERO + start,
        ZERO + start + 10
    );
    let value: &'static [u8] = Vec::leak(value.into_bytes());
    Input::Record(Record::from_parts((0, offset), None, (None, Some(value)), Vec::new()))
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
    broker.give(file(0, 0));
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
    broker.give(file(0, 0));
    broker.give(file(1, 10));
    broker.give(file(2, 20));
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
    let mut state = State::new(settings().policy, notification::KeyParts::AppAppnameStreamId, 7);
    state.begin();
    let broker = Scripted { changelog: (state.prepare(), Some(7)), ..Scripted::default() };
    let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
    begin_partition(&mut worker, 0);
    broker.give(file(7, 0));
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
    let shown = |kind: &str| {
        let (text, series) = (metrics.render(), format!("livesession_kafka_errors_total{{kind=\"{kind}\"}} "));
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().to_owned()
    };
    broker.errors.set(ErrorCounts { transport: 1, auth: 2, timeout: 3, other: 4 });
    worker.turn(at(1_000)).unwrap();
    broker.errors.set(ErrorCounts { transport: 2, auth: 2, timeout: 3, other: 4 });
    worker.turn(at(2_000)).unwrap();
    assert_eq!(["transport", "auth", "timeout", "other"].map(shown), ["2", "2", "3", "4"]);
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
