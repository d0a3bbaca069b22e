//! Awkward inputs: null values, transactions that were aborted or never end, records that are too large for the
//! dead-letter topic.

use std::time::Duration;

use livesession::clock;
use livesession_kafka::Outgoing;
use livesession_kafka::settings as client;
use livesession_kafka::transaction::Transactions;

use crate::kafka::refusals::delete_input;
use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::deployment::{Deployment, Given, wait};
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic::{self, Random};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("null_values_are_passed_by", tombstones),
    test("aborted_transactions_are_never_seen", aborted),
    test("log_that_ends_in_markers_is_read_and_idle", markers),
    test("hanging_transaction_holds_up_its_partition_only", hanging),
    test("partition_runs_while_another_cannot_be_restored", unrestored),
    test("record_too_large_for_a_dead_letter_goes_without_its_value", too_large),
    test("headers_too_large_for_a_dead_letter_are_left_out", large_headers),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

const READ: &str = "livesession_input_records_read_total";
const CLOSED: &str = "livesession_sessions_closed_total{cause=\"watermark\"}";

/// A session closes eight seconds after its end.
const QUICK: &str = r#"
    grouping.gap = "1s"
    grouping.recording_interval = "6s"
    grouping.notification_delay = "1s"
    grouping.idle_after = "1s"
"#;

/// Somebody else's producer, which writes in transactions.
pub struct Upstream {
    transactions: Transactions,
    topic: String,
}

impl Upstream {
    fn new(deployment: &Deployment) -> Upstream {
        Upstream::to(deployment, &deployment.input)
    }

    pub fn to(deployment: &Deployment, topic: &str) -> Upstream {
        let id = format!("{}-upstream", deployment.name);
        let mut settings = client::Settings::new(&deployment.bootstrap, &id, &id);
        // The test ends it, not the coordinator.
        settings.transaction_timeout = Duration::from_secs(120);
        let transactions = Transactions::init(&settings, topic, Default::default(), PATIENCE).unwrap();
        Upstream { transactions, topic: topic.to_owned() }
    }

    /// Begins a transaction with these records on a partition. Returns when the log has them.
    pub fn open(&self, deployment: &Deployment, partition: i32, records: &[Given]) {
        let expected = deployment.end(&self.topic, partition) + i64::try_from(records.len()).unwrap();
        self.transactions.begin().unwrap();
        for record in records {
            let outgoing = Outgoing {
                topic: &self.topic,
                partition: Some(partition),
                key: record.key.as_deref().map(str::as_bytes),
                value: record.value.as_deref(),
                headers: &[],
                timestamp: record.timestamp,
            };
            self.transactions.send(&outgoing).unwrap();
        }
        wait("the records of an open transaction", || {
            self.transactions.serve();
            deployment.end(&self.topic, partition) == expected
        });
    }

    pub fn abort(&self) {
        self.transactions.abort().unwrap();
    }
}

/// Returns the start of the present second.
fn now() -> i64 {
    clock::now().as_ms() / 1_000 * 1_000
}

fn lag(partition: i32) -> String {
    format!("livesession_partition_lag_records{{partition=\"{partition}\"}}")
}

fn tombstones(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    let mut worker = deployment.start_ready("a");
    let null = |key: Option<&str>| Given { key: key.map(str::to_owned), ..Given::default() };
    let records = [null(Some("a")), traffic::segment("s", "f", now() - 60_000, now()), null(None), null(Some(""))];
    deployment.feed(&mut worker, 0, &records);
    assert_eq!(worker.metric("livesession_input_records_total{outcome=\"other\"}"), Some(3.0));
    assert_eq!(worker.metric("livesession_input_records_total{outcome=\"accepted\"}"), Some(1.0));
    traffic::assert_conserved(&worker);
    worker.stop();
    assert!(deployment.read(&deployment.dead_letter).is_empty());
    deployment.assert_settled();
}

fn aborted(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    let upstream = Upstream::new(&deployment);
    let end = now() - 600_000;
    let mut worker = deployment.start_ready("a");
    for file in 0..3_i64 {
        // Would be accepted, and would be refused: neither is there.
        let gone = [traffic::segment("s", &format!("gone-{file}"), end - 60_000, end), traffic::garbage()];
        upstream.open(&deployment, 0, &gone);
        let kept = traffic::segment("s", &format!("kept-{file}"), end + file * 1_000, end + file * 1_000 + 1_000);
        deployment.produce(0, &[kept]);
        upstream.abort();
        worker.wait_metric(READ, |read| read == (file + 1) as f64);
    }
    deployment.produce(0, &[traffic::hint(now() + 1_800_000), traffic::hint(now() + 1_800_000)]);
    worker.wait_metric(READ, |read| read == 5.0);
    worker.stop();
    assert!(deployment.read(&deployment.dead_letter).is_empty());
    let state = serde_json::to_string(&deployment.state(0)).unwrap();
    assert!(state.contains("kept-0") && state.contains("kept-2") && !state.contains("gone-"), "{state}");
}

/// No record's offset reaches the end of such a log.
fn markers(broker: &Broker) {
    let mut deployment = Deployment::new(broker, 1);
    deployment.settings = deployment.settings.with(QUICK);
    let upstream = Upstream::new(&deployment);
    let mut worker = deployment.start_ready("a");
    deployment.produce(0, &[traffic::segment("lone", "f", now() - 60_000, now())]);
    upstream.open(&deployment, 0, &[traffic::garbage()]);
    upstream.abort();
    worker.wait_metric(CLOSED, |closed| closed == 1.0);
    worker.wait_metric(&lag(0), |lag| lag == 0.0);
    assert_eq!(worker.metric(READ), Some(1.0));
    let end = deployment.end(&deployment.input, 0);
    assert_eq!(end, 3, "a record, an aborted one, and a marker");
    worker.wait_for("an offset behind the marker", PATIENCE, |_| deployment.committed()[0] == Some(end));
    worker.stop();
    deployment.assert_settled();
    // Nor does a start miss what retention has deleted, which is no record, or wait for a record there.
    delete_input(&deployment, end);
    let mut worker = deployment.start_ready("a");
    worker.wait_metric(&lag(0), |lag| lag == 0.0);
    deployment.feed(&mut worker, 0, &[traffic::garbage()]);
    worker.stop();
    deployment.assert_settled();
}

/// Behind it there may be records that would be late if the clock were moved.
fn hanging(broker: &Broker) {
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(QUICK);
    let upstream = Upstream::new(&deployment);
    let mut worker = deployment.start_ready("a");
    let end = now();
    for partition in 0..2 {
        let stream = format!("p{partition}");
        deployment.produce(partition, &[traffic::segment(&stream, &format!("{stream}-1"), end - 60_000, end)]);
    }
    upstream.open(&deployment, 0, &[traffic::garbage()]);
    worker.wait_metric(READ, |read| read == 2.0);
    assert_eq!(worker.metric(CLOSED), Some(0.0), "nothing is due before eight seconds after {end}");
    // Begins where the first one ended.
    deployment.produce(0, &[traffic::segment("p0", "p0-2", end, end + 3_000)]);

    // The other partition is idle, and closes its session; this one looks idle and is not.
    worker.wait_metric(CLOSED, |closed| closed == 1.0);
    worker.wait_metric(&lag(0), |lag| lag > 0.0);
    let turn = worker.metric("livesession_last_turn_timestamp_seconds").unwrap();
    worker.wait_metric("livesession_last_turn_timestamp_seconds", |later| later > turn + 3.0);
    assert_eq!((worker.metric(CLOSED), worker.metric(READ)), (Some(1.0), Some(2.0)));
    assert_eq!(deployment.committed(), [Some(1), Some(1)]);

    upstream.abort();
    worker.wait_metric(CLOSED, |closed| closed == 2.0);
    worker.wait_metric(&lag(0), |lag| lag == 0.0);
    worker.stop();
    let newest = traffic::newest(&deployment);
    let files = |stream: &str| {
        let session = newest.values().find(|session| session["stream"]["stream_id"] == stream).unwrap();
        let files = session["segments"].as_array().unwrap().iter().map(|segment| segment["file_id"].to_string());
        (session["revision"].as_i64(), files.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(files("p0"), (Some(1), "\"p0-1\" \"p0-2\"".to_owned()));
    assert_eq!(files("p1"), (Some(1), "\"p1-1\"".to_owned()));
}

/// A changelog is read to its end, open transactions counted. At one record for each look at it, this would take for ever.
fn unrestored(broker: &Broker) {
    const RECORDS: usize = 20_000;
    let deployment = Deployment::new(broker, 2);
    let segment = traffic::segment("p", "p-1", 1_754_000_000_000, 1_754_000_060_000);
    let mut worker = deployment.start_ready("a");
    for partition in 0..2 {
        deployment.feed(&mut worker, partition, std::slice::from_ref(&segment));
    }
    worker.stop();
    let writer = Upstream::to(&deployment, &deployment.changelog);
    // A compacted topic takes no record without a key.
    writer.open(&deployment, 0, &[Given { key: Some("b/0".to_owned()), ..traffic::garbage() }]);
    deployment.produce(1, &vec![segment; RECORDS]);
    let mut worker = deployment.start("a");
    worker.wait_metric(READ, |read| read == RECORDS as f64);
    assert_eq!(worker.metric("livesession_restoring_partitions"), Some(1.0));
    writer.abort();
    worker.wait_ready();
    worker.stop();
}

/// Returns bytes that compress to no less.
fn noise(bytes: usize) -> Vec<u8> {
    let mut random = Random::new(1);
    (0..bytes).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

/// Kafka's default for a topic, which is what a dead letter can be here.
const LIMIT: usize = 1_048_588;

/// What a dead letter adds.
const ADDED: usize = 2_048;

/// Returns a deployment whose input takes compressed records far larger than a dead letter can be.
///
/// A topic's limit counts compressed bytes, so sizes that fit together are no promise about what comes.
fn with_small_dead_letters(broker: &Broker) -> Deployment {
    let deployment = Deployment::without_topics(broker, 1);
    let input = (LIMIT - ADDED).to_string();
    deployment.create(&deployment.input, 1, &[("max.message.bytes", &input)]);
    deployment.create(&deployment.dead_letter, 1, &[("max.message.bytes", &LIMIT.to_string())]);
    deployment.create(&deployment.output, 1, &[]);
    deployment.create_changelog();
    deployment
}

fn assert_read_on(deployment: &Deployment, worker: &mut Worker, records: &[Given]) {
    deployment.feed(worker, 0, records);
    deployment.feed(worker, 0, &[traffic::segment("s", "f", now() - 60_000, now())]);
    assert_eq!(worker.metric("livesession_transactions_total{outcome=\"aborted\"}"), Some(0.0), "aborted transactions");
    assert_eq!(worker.metric("livesession_input_records_total{outcome=\"accepted\"}"), Some(1.0));
    traffic::assert_conserved(worker);
    worker.stop();
    deployment.assert_settled();
}

fn too_large(broker: &Broker) {
    let deployment = with_small_dead_letters(broker);
    let mut worker = deployment.start_ready("a");
    let key = "k".repeat(20);
    let most = LIMIT - ADDED - key.len();
    let large = |value: Vec<u8>| Given { key: Some(key.clone()), ..Given::new(value, now()) };
    let records = [
        large(noise(300_000)),
        large(vec![b'x'; most]),
        large(vec![b'x'; most + 1]),
        large(vec![b'x'; 3_000_000]),
        Given { key: Some("k".repeat(2_000_000)), ..Given::new("garbage", now()) },
    ];
    assert_read_on(&deployment, &mut worker, &records);
    let letters = deployment.read(&deployment.dead_letter);
    assert_eq!(letters.len(), records.len());
    for (letter, (record, is_cut)) in letters.iter().zip(records.iter().zip([false, false, true, true, true])) {
        let value = record.value.as_ref().unwrap();
        let reason = if value.len() > 1_000 { "too_large" } else { "not_json" };
        assert_eq!(letter.header("livesession-dlq-reason"), Some(reason));
        let length = value.len().to_string();
        assert_eq!(letter.header("livesession-dlq-cut"), is_cut.then_some(length.as_str()));
        assert_eq!(letter.value.is_none(), is_cut, "{length} bytes");
        if !is_cut {
            assert_eq!(letter.value.as_ref(), Some(value));
        }
    }
    let keys: Vec<Option<&str>> = letters.iter().map(|letter| letter.key.as_deref()).collect();
    assert_eq!(keys[..4], [Some(key.as_str()); 4], "a key that fits says which record it was");
    assert_eq!(keys[4], None);
}

fn large_headers(broker: &Broker) {
    let deployment = with_small_dead_letters(broker);
    let mut worker = deployment.start_ready("a");
    let header = |bytes: usize| vec![("trace".to_owned(), vec![b'x'; bytes])];
    let record = |bytes: usize| Given { key: Some("key".to_owned()), headers: header(bytes), ..traffic::garbage() };
    let records = [record(10), record(LIMIT - ADDED - 1_000), record(LIMIT), record(3_000_000)];
    assert_read_on(&deployment, &mut worker, &records);
    let letters = deployment.read(&deployment.dead_letter);
    let found: Vec<(bool, bool)> =
        letters.iter().map(|letter| (letter.value.is_some(), letter.header("trace").is_some())).collect();
    assert_eq!(found, [(true, true), (true, true), (false, false), (false, false)]);
    for letter in &letters {
        assert_eq!(letter.header("livesession-dlq-reason"), Some("not_json"));
        assert_eq!(letter.header("__dlq.errors.topic"), Some(deployment.input.as_str()));
        assert_eq!(letter.key.as_deref(), Some("key"));
    }
    assert!(!wait_until(Duration::ZERO, || deployment.read(&deployment.dead_letter).len() > records.len()));
}
