//! The delay from when the rules allow a session to when it can be read.
//!
//! ```sh
//! LIVESESSION_BENCH_BROKERS=127.0.0.1:9092 cargo bench --bench delay
//! ```
//!
//! Live traffic: 10,000 files a second, each sent when it ends, four to a session, one partition. A session may close when
//! the watermark passes its end and the spans of the policy; the watermark follows the wall clock here, so that the moment
//! is known. The delay is from then until a reader of committed records has the session. In it: the producer's and the
//! worker's batching, half a commit interval of 200 ms on average, the commit, the reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livesession::clock;
use livesession::metrics::Metrics;
use livesession::worker::{Now, Worker};
use livesession_formats::session::record;
use livesession_grouping as grouping;
use livesession_grouping::Policy;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_kafka::Client;
use livesession_kafka::settings::Settings as KafkaSettings;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

mod broker;

use broker::{LABELS, PATIENCE, create, settings};

const RATE: u64 = 10_000;
const SECONDS: u64 = 30;
/// Left out at the beginning: clients connect, code gets warm.
const WARM_UP: Duration = Duration::from_secs(5);
/// Streams on air at a time; each sends a file every half second, and four in all.
const STREAMS: u64 = RATE / 2;
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

fn policy() -> Policy {
    let second = Millis::from_secs(1);
    let spans = grouping::Settings {
        gap: second,
        recording_interval: second,
        notification_delay: second,
        ..grouping::Settings::default()
    };
    Policy::new(spans).unwrap()
}

/// Sends files as they end, at an even rate.
fn produce(brokers: &str, input: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .create()
        .unwrap();
    let begun = clock::instant();
    let mut sent = 0;
    while sent < RATE * SECONDS {
        let due = (begun.elapsed().as_micros() as u64 * RATE / 1_000_000).min(RATE * SECONDS);
        while sent < due {
            let (round, stream) = (sent / STREAMS, sent % STREAMS);
            let end = clock::now().as_ms();
            let body = body(&format!("room-{}-{stream}", round / 4), sent, end - 500, end);
            let mut record = BaseRecord::<[u8], String>::to(input).payload(&body);
            while let Err((_, refused)) = producer.send(record) {
                record = refused;
                producer.poll(Duration::from_millis(1));
            }
            sent += 1;
        }
        producer.poll(Duration::from_millis(1));
    }
    producer.flush(PATIENCE).unwrap();
}

fn body(stream: &str, file: u64, start: i64, end: i64) -> String {
    let (start_us, end_us) = (start % 1_000 * 1_000, end % 1_000 * 1_000);
    let (start, end) = (start / 1_000, end / 1_000);
    format!(
        r#"{{"event_type":100,"appid":1250000005,"app":"push.example.com","appname":"live","stream_id":"{stream}","channel_id":"{stream}","file_id":"5285{file:015}","file_format":"mp4","task_id":"1818000000000000404","start_time":{start},"end_time":{end},"start_time_usec":{start_us},"end_time_usec":{end_us},"file_size":60110022,"stream_param":"","video_url":"http://1250000004.vod.example.com/cc33/5285{file:015}/f0.mp4"}}"#
    )
}

/// Works until told to stop.
fn work(brokers: &str, name: &str, input: &str, stop: &AtomicBool) {
    let mut settings = settings(name, input, COMMIT_INTERVAL);
    settings.policy = policy();
    let mut kafka = KafkaSettings::new(brokers, name, name);
    kafka.max_record_bytes = 2 << 20;
    let client = Client::connect(&kafka, input, &settings.topics.changelog, PATIENCE).unwrap();
    let mut worker = Worker::new(&client, Arc::new(settings), Arc::new(Metrics::new(LABELS)));
    let origin = clock::instant();
    let now = || Now { wall: clock::now(), elapsed: origin.elapsed() };
    while !stop.load(Ordering::Relaxed) {
        worker.turn(now()).unwrap();
    }
    worker.stop().unwrap();
}

/// Reads sessions until nothing more comes, and returns their delays in milliseconds, sorted.
fn read(brokers: &str, output: &str) -> Vec<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(output, 0, Offset::Offset(0)).unwrap();
    consumer.assign(&list).unwrap();
    let spans = policy();
    let spans = spans.settings();
    let wait = spans.gap + spans.recording_interval + spans.notification_delay;
    let (mut delays, mut begun) = (Vec::new(), None);
    while let Some(record) = consumer.poll(if begun.is_none() { PATIENCE } else { Duration::from_secs(5) }) {
        let record = record.unwrap();
        let now: Timestamp = clock::now();
        let begun = *begun.get_or_insert_with(clock::instant);
        let session = record::decode(record.payload().unwrap()).unwrap();
        assert_eq!((session.revision, session.segments.len()), (1, 4), "the machine did not keep up");
        if begun.elapsed() >= WARM_UP {
            delays.push(now.since(session.end + wait).as_ms());
        }
    }
    delays.sort_unstable();
    delays
}

fn main() {
    let Ok(brokers) = std::env::var("LIVESESSION_BENCH_BROKERS") else {
        println!("set LIVESESSION_BENCH_BROKERS to a broker that may be filled; see benches/delay.rs");
        return;
    };
    let name = format!("bench-delay-{}", clock::now().as_ms());
    let input = format!("{name}-in");
    let topics = settings(&name, &input, COMMIT_INTERVAL).topics;
    for topic in [&input, &topics.output, &topics.dead_letter] {
        create(&brokers, topic, false);
    }
    create(&brokers, &topics.changelog, true);
    let stop = AtomicBool::new(false);
    let delays = std::thread::scope(|scope| {
        scope.spawn(|| work(&brokers, &name, &input, &stop));
        scope.spawn(|| produce(&brokers, &input));
        let delays = read(&brokers, &topics.output);
        stop.store(true, Ordering::Relaxed);
        delays
    });
    let quantile = |of: usize| delays[(delays.len() - 1) * of / 1_000];
    println!(
        "{} sessions at {RATE} files/s, committed every {} ms: readable after p50 {} ms, p90 {} ms, p99 {} ms, p99.9 {} ms, at most {} ms",
        delays.len(),
        COMMIT_INTERVAL.as_millis(),
        quantile(500),
        quantile(900),
        quantile(990),
        quantile(999),
        quantile(1_000),
    );
}
