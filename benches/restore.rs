//! The time from a changelog to the first record of a partition, and the memory of its state.
//!
//! ```sh
//! LIVESESSION_BENCH_BROKERS=127.0.0.1:9092 cargo bench --bench restore             # 1,000,000 open segments, 250,000 streams
//! LIVESESSION_BENCH_BROKERS=127.0.0.1:9092 SEGMENTS=4000000 cargo bench --bench restore
//! ```
//!
//! One partition. Its changelog is what a worker writes that commits every 2,000 files, uncompacted; nothing in it is
//! deleted yet. Each round is a process of its own, from the assignment to the seek on the input, so that what it weighs is
//! the state and what a worker needs beside it.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use livesession::clock;
use livesession::metrics::Metrics;
use livesession::partition::{Partition, Record};
use livesession::worker::{Now, Worker};
use livesession_formats::notification::{Decoder, KeyParts, Rules};
use livesession_grouping::Policy;
use livesession_grouping::time::Timestamp;
use livesession_kafka::Client;
use livesession_kafka::settings::Settings as KafkaSettings;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

mod broker;

use broker::{LABELS, PATIENCE, create, settings};

const ROUNDS: usize = 3;
/// Files of a stream: all of them in one open session.
const FILES: i64 = 4;
const TRANSACTION: i64 = 2_000;
const ZERO: i64 = 1_754_000_000;
/// What tells a process that it is a round, and of which deployment.
const ROUND: &str = "LIVESESSION_BENCH_ROUND";

/// A file of half an hour, as in the other benchmarks.
fn body(index: i64, streams: i64) -> String {
    let (turn, stream) = (index / streams, index % streams);
    let start = ZERO + turn * 1_800;
    let end = start + 1_799;
    format!(
        r#"{{"event_type":100,"app":"push.example.com","appname":"live","stream_id":"room-{stream:06}","file_id":"5285000000{index:09}","file_format":"mp4","task_id":"1818000000000000404","start_time":{start},"end_time":{end},"duration":1799,"file_size":60110022,"video_url":"http://1250000004.vod.example.com/cc33/5285000000{index:09}/f0.mp4"}}"#
    )
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) {
    while let Err((_, refused)) = producer.send(record) {
        record = refused;
        producer.poll(Duration::from_millis(5));
    }
}

/// Writes the changelog that a worker would have after `segments` files, and moves its group there.
///
/// Returns its records and bytes, and the time that the core and the formats took.
fn fill(brokers: &str, name: &str, input: &str, segments: i64) -> (usize, usize, Duration) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("compression.type", "lz4")
        .set("message.max.bytes", "2097152")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .unwrap();
    let topic = settings(name, input, PATIENCE).topics.changelog;
    create(brokers, &topic, true);
    let mut decoder = Decoder::new(Rules::default());
    let mut partition = Partition::new(Policy::default(), KeyParts::AppAppnameStreamId, 0);
    let (mut records, mut bytes, mut worked) = (0, 0, Duration::ZERO);
    for first in (0..segments).step_by(TRANSACTION as usize) {
        let since = clock::instant();
        partition.begin();
        for offset in first..segments.min(first + TRANSACTION) {
            let value = body(offset, segments / FILES);
            let record = Record { offset, timestamp: None, value: Some(value.as_bytes()) };
            partition.read(&mut decoder, record, Timestamp::MIN).unwrap();
        }
        assert_eq!(partition.publish_due(usize::MAX), [], "all is open");
        let written = partition.prepare();
        partition.committed();
        worked += since.elapsed();
        for (key, value) in &written {
            records += 1;
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            let record = BaseRecord::to(&topic).key(key.as_bytes());
            send(&producer, BaseRecord { payload: value.as_deref(), ..record });
        }
    }
    // The input only has to be as long as the offset says.
    for _ in 0..segments {
        send(&producer, BaseRecord::to(input).payload(b"0"));
    }
    producer.flush(PATIENCE).unwrap();
    let group: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", name).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(input, 0, Offset::Offset(segments)).unwrap();
    group.commit(&list, CommitMode::Sync).unwrap();
    (records, bytes, worked)
}

/// Returns the resident memory of this process, in bytes, with what it was at most.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (kib("VmRSS:") * 1_024, kib("VmHWM:") * 1_024)
}

/// Returns the CPU time of this process, all threads, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// Restores once, in this process, and prints: seconds, CPU seconds, resident bytes, peak bytes, and what `/metrics` takes
/// the state for.
fn round(brokers: &str, name: &str, input: &str) {
    let settings = settings(name, input, PATIENCE);
    let kafka = KafkaSettings::new(brokers, name, name);
    let client = Client::connect(&kafka, input, &settings.topics.changelog, PATIENCE).unwrap();
    let metrics = Arc::new(Metrics::new(LABELS));
    let mut worker = Worker::new(&client, Arc::new(settings), Arc::clone(&metrics));
    let origin = clock::instant();
    let now = || Now { wall: clock::now(), elapsed: origin.elapsed() };
    while !worker.is_member() {
        worker.turn(now()).unwrap();
    }
    let (begun, spent, before) = (clock::instant(), cpu(), memory().0);
    while worker.restoring() > 0 {
        worker.turn(now()).unwrap();
    }
    let (seconds, spent) = (begun.elapsed().as_secs_f64(), cpu() - spent);
    let (after, peak) = memory();
    // What is in memory is counted now and then.
    let state = loop {
        worker.turn(now()).unwrap();
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix("livesession_state_bytes "));
        if let Some(bytes) = line.and_then(|bytes| bytes.parse::<f64>().ok()).filter(|bytes| *bytes > 0.0) {
            break bytes;
        }
    };
    println!("{seconds} {spent} {} {} {state}", after - before, peak - before);
}

fn main() {
    let Ok(brokers) = std::env::var("LIVESESSION_BENCH_BROKERS") else {
        println!("set LIVESESSION_BENCH_BROKERS to a broker that may be filled; see benches/restore.rs");
        return;
    };
    if let Ok(name) = std::env::var(ROUND) {
        return round(&brokers, &name, &format!("{name}-in"));
    }
    let segments = std::env::var("SEGMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let name = format!("restore-{}", clock::now().as_ms());
    let input = format!("{name}-in");
    for topic in [&input, &settings(&name, &input, PATIENCE).topics.output, "bench-dlq"] {
        create(&brokers, topic, false);
    }
    let (records, bytes, worked) = fill(&brokers, &name, &input, segments);
    let million = |value: f64| value / segments as f64 * 1e6;
    println!("{segments} open segments of {} streams, {} bytes each in the input", segments / FILES, body(0, 1).len());
    println!(
        "changelog: {records} records, {:.0} MB a million segments before compression; made in {:.2} s a million",
        million(bytes as f64) / 1e6,
        million(worked.as_secs_f64())
    );
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for _ in 0..ROUNDS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.env(ROUND, &name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let line = text.lines().last().unwrap();
        rounds.push(line.split(' ').map(|figure| figure.parse().unwrap()).collect());
    }
    let median = |column: usize| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "restore: {:.2} s a million, {:.2} s of CPU; {:.0} MB resident, {:.0} MB at most, {:.0} MB by state_bytes",
        million(median(0)),
        million(median(1)),
        million(median(2)) / 1e6,
        million(median(3)) / 1e6,
        million(median(4)) / 1e6
    );
}
