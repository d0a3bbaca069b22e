//! A scripted broker for tests of the loop, which give each input and see each call. For random histories of a whole cluster
//! there is the model in `tests/protocol/simulation`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::super::*;
use crate::metrics::Labels;
use crate::partition::Start;
use livesession_formats::changelog;
use livesession_formats::notification::Rules;
use livesession_grouping as grouping;
use livesession_grouping::time::Millis;
use livesession_kafka::{
    Apply, ConsumerError, ErrorCounts, KnownEnds, LogEnds, Outgoing, Record, RestoreError, RestoreProgress, Restored,
    TransactionError, TransactionStep,
};

/// A broker of one input partition. Notes what it is asked to do.
#[derive(Default)]
pub struct Scripted {
    pub inputs: RefCell<VecDeque<Input<'static>>>,
    pub said: RefCell<Vec<String>>,
    pub restoring: RefCell<Vec<i32>>,
    /// What the changelog holds of every partition, with the group's offset.
    pub changelog: (Vec<changelog::Record>, Cell<Option<i64>>),
    pub errors: Cell<ErrorCounts>,
    pub known_ends: Option<KnownEnds>,
    /// How many slices of restoring there were.
    pub slices: Cell<usize>,
    /// Where the client is in every partition.
    pub position: Cell<Option<i64>>,
    /// Whether questions for log ends get no answer.
    pub is_silent: Cell<bool>,
    /// Whether the next commit is refused.
    pub refuses: Cell<bool>,
    pub sent: RefCell<Vec<Sent>>,
}

/// A record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub topic: String,
    pub partition: Option<i32>,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, String)>,
}

impl Scripted {
    fn say(&self, text: String) {
        self.said.borrow_mut().push(text);
    }

    /// Returns what it was asked to do since the last time.
    pub fn said(&self) -> Vec<String> {
        self.said.take()
    }

    /// Returns what was sent to a topic since the last time.
    pub fn sent(&self, topic: &str) -> Vec<Sent> {
        self.sent.borrow_mut().extract_if(.., |sent| sent.topic == topic).collect()
    }

    pub fn give(&self, input: Input<'static>) {
        self.inputs.borrow_mut().push_back(input);
    }
}

impl Broker for Scripted {
    fn poll(&self, _timeout: Duration) -> Result<Input<'_>, ConsumerError> {
        Ok(self.inputs.borrow_mut().pop_front().unwrap_or(Input::Idle))
    }

    fn start(&self, partition: i32, offset: i64) -> Result<(), ConsumerError> {
        self.say(format!("start {partition} at {offset}"));
        Ok(())
    }

    fn log_ends(&self, partition: i32, _timeout: Duration) -> Result<LogEnds, ConsumerError> {
        self.say(format!("log ends of {partition}"));
        if self.is_silent.get() {
            return Err(ConsumerError::Retry { partition, source: "no answer".into() });
        }
        Ok(LogEnds { start: 0, end: 0 })
    }

    fn position(&self, _partition: i32) -> Option<i64> {
        self.position.get()
    }

    fn begin_restore(&self, partition: i32) -> Result<(), RestoreError> {
        self.restoring.borrow_mut().push(partition);
        Ok(())
    }

    fn step_restore(&self, _budget: Duration, apply: &mut Apply<'_>) -> Result<RestoreProgress, RestoreError> {
        self.slices.update(|slices| slices + 1);
        let (log, committed) = &self.changelog;
        let restore = |partition| {
            log.iter().for_each(|(key, value)| apply(partition, key.as_bytes(), value.as_deref()));
            Restored { partition, committed: committed.get(), records: log.len() as u64 }
        };
        Ok(RestoreProgress { restored: self.restoring.take().into_iter().map(restore).collect(), remaining: 0 })
    }

    fn begin(&self) -> Result<(), TransactionError> {
        self.say("begin".to_owned());
        Ok(())
    }

    fn send(&self, record: &Outgoing<'_>) -> Result<(), TransactionError> {
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

    fn commit(&self, offsets: &[(i32, i64)], _timeout: Duration) -> Result<(), TransactionError> {
        self.say(format!("commit {offsets:?}"));
        if self.refuses.take() {
            return Err(TransactionError::Abort { step: TransactionStep::Commit, source: "refused".into() });
        }
        Ok(())
    }

    fn abort(&self) -> Result<(), TransactionError> {
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
pub const ZERO: i64 = 1_754_000_000;

pub fn settings() -> Settings {
    let topic = |name: &str| name.to_owned();
    let policy = grouping::Settings {
        gap: Millis::from_secs(10),
        recording_interval: Millis::from_secs(60),
        max_segment: Millis::from_secs(100),
        notification_delay: Millis::from_secs(5),
        allowed_lateness: Millis::from_secs(200),
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

pub fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(Labels { reasons: &["not_json"], anomalies: &["time_scaled"], causes: &["watermark"] }))
}

/// The clocks so many ms after the start. The wall's runs a hundred times as fast, so that something is due at any time.
pub fn at(ms: u64) -> Now {
    let wall = Timestamp::from_ms(ZERO * 1_000 + 100 * ms as i64).unwrap();
    Now { wall, elapsed: Duration::from_millis(ms) }
}

/// Returns the value of a series.
pub fn shown(metrics: &Metrics, series: &str) -> Option<f64> {
    let (text, start) = (metrics.render(), format!("livesession_{series} "));
    text.lines().find_map(|line| line.strip_prefix(&start)).map(|value| value.parse().unwrap())
}

/// A record at a partition and offset.
pub fn record(place: (i32, i64), value: String) -> Input<'static> {
    let value: &'static [u8] = Vec::leak(value.into_bytes());
    Input::Record(Record::from_parts(place, None, (Some(b"key"), Some(value)), vec![(b"name", Some(b"text"))]))
}

/// A file of a stream in partition 0, in seconds.
pub fn file(offset: i64, stream: &str, start: i64, end: i64) -> Input<'static> {
    file_of((0, offset), stream, start, end)
}

/// The same at any partition and offset.
pub fn file_of((partition, offset): (i32, i64), stream: &str, start: i64, end: i64) -> Input<'static> {
    let value = format!(
        r#"{{"event_type":100,"stream_id":"{stream}","file_id":"f{offset}","start_time":{},"end_time":{}}}"#,
        ZERO + start,
        ZERO + end
    );
    record((partition, offset), value)
}

/// Returns a worker that runs partition 0.
pub fn running<'b>(broker: &'b Scripted, settings: Settings, metrics: &Arc<Metrics>) -> Worker<'b, Scripted> {
    let mut worker = Worker::new(broker, Arc::new(settings), Arc::clone(metrics));
    broker.give(Input::Assigned(vec![0]));
    turns(&mut worker, 2, 0);
    assert_eq!(worker.restoring(), 0);
    worker
}

/// Takes so many turns in which nothing fails.
pub fn turns(worker: &mut Worker<'_, Scripted>, count: usize, ms: u64) {
    (0..count).for_each(|_| assert_eq!(worker.turn(at(ms)).unwrap(), Duration::ZERO));
}
