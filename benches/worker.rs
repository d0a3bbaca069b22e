//! The speed of the worker on a real broker, against the least that a Kafka client has to do.
//!
//! ```sh
//! LIVESESSION_BENCH_BROKERS=127.0.0.1:9092 RECORDS=1000000 cargo bench --bench worker
//! LIVESESSION_BENCH_BROKERS=127.0.0.1:9092 RECORDS=20000000 WORKER_ONLY=1 cargo bench --bench worker # does memory stay flat?
//! ```
//!
//! One partition, one thread, the same topic for everybody, in alternating rounds; figures are medians of records per second
//! and of client CPU per million records, and ratios to the worker. Baselines:
//!
//! * (a) a bare poll loop;
//! * (b) the same, each record decoded by serde_json into a borrowed struct;
//! * (c) as (b), and a record of 150 bytes produced per record read, in transactions of 200 ms;
//! * (d) as (c), but as many bytes per record read as the worker writes: sessions and changelog.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livesession::clock;
use livesession::metrics::Metrics;
use livesession::worker::{Now, Worker};
use livesession_kafka::Client;
use livesession_kafka::settings::Settings as KafkaSettings;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

mod broker;

use broker::{LABELS, PATIENCE, create, settings};

const ROUNDS: usize = 3;
const INTERVAL: Duration = Duration::from_millis(200);
const ZERO: i64 = 1_754_000_000;

#[derive(Deserialize)]
struct Bare<'a> {
    event_type: i64,
    #[serde(borrow)]
    app: Option<&'a str>,
    appname: Option<&'a str>,
    stream_id: &'a str,
    file_id: &'a str,
    start_time: i64,
    end_time: i64,
    video_url: Option<&'a str>,
}

/// What a round measured.
#[derive(Clone, Copy)]
struct Round {
    wall: Duration,
    cpu: Duration,
}

struct Bench {
    brokers: String,
    input: String,
    records: usize,
}

/// Files of half an hour, back to back, of 5,000 streams, with an hour of silence after every fourth.
fn body(index: usize) -> (String, String, i64) {
    let (turn, stream) = ((index / 5_000) as i64, index % 5_000);
    let start = ZERO + turn * 1_800 + turn / 4 * 3_600 + (stream % 1_800) as i64;
    let end = start + 1_799;
    let key = format!("push.example.com/live/room-{stream:05}");
    let body = format!(
        r#"{{"event_type":100,"appid":1250000005,"app":"push.example.com","appname":"live","stream_id":"room-{stream:05}","channel_id":"room-{stream:05}","file_id":"5285000000{index:09}","record_file_id":"5285000000{index:09}","file_format":"mp4","task_id":"1818000000000000404","start_time":{start},"end_time":{end},"start_time_usec":120999,"end_time_usec":730049,"duration":1799,"file_size":60110022,"stream_param":"","video_url":"http://1250000004.vod.example.com/cc33/5285000000{index:09}/f0.mp4","media_start_time":12,"record_bps":0,"t":{end},"sign":"989c5e9c574245cfa388961db64a6282"}}"#
    );
    (key, body, (end + 5) * 1_000)
}

impl Bench {
    fn fill(&self) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("linger.ms", "20")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "500000")
            .create()
            .unwrap();
        for index in 0..self.records {
            let (key, body, timestamp) = body(index);
            let mut record = BaseRecord::to(&self.input).key(&key).payload(&body).timestamp(timestamp);
            while let Err((_, refused)) = producer.send(record) {
                record = refused;
                producer.poll(Duration::from_millis(5));
            }
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Reads the topic with a plain consumer and does `work` with each record.
    fn read(&self, mut work: impl FnMut(&[u8])) -> Round {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "bare")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.queue.backoff.ms", "5")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.input, 0, Offset::Offset(0)).unwrap();
        consumer.assign(&list).unwrap();
        let (mut read, mut begun) = (0, None);
        while read < self.records {
            if let Some(Ok(record)) = consumer.poll(PATIENCE) {
                begun.get_or_insert_with(Mark::now);
                work(record.payload().unwrap_or_default());
                read += 1;
            }
        }
        begun.map(Mark::round).unwrap()
    }

    #[allow(clippy::disallowed_methods, reason = "the baseline is the bare client")]
    fn read_and_produce(&self, bytes: usize) -> Round {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("transactional.id", "bare")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "500000")
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let mut since = clock::instant();
        let mut produced = Vec::with_capacity(bytes);
        let round = self.read(|value| {
            decode(value);
            produced.clear();
            while produced.len() < bytes {
                let missing = bytes - produced.len();
                produced.extend_from_slice(&value[..missing.min(value.len())]);
            }
            let mut record = BaseRecord::<(), [u8]>::to("bench-bare").payload(&produced[..]);
            while let Err((_, refused)) = producer.send(record) {
                record = refused;
                producer.poll(Duration::from_millis(1));
            }
            if since.elapsed() >= INTERVAL {
                while producer.in_flight_count() > 0 {
                    producer.poll(Duration::from_millis(1));
                }
                producer.commit_transaction(PATIENCE).unwrap();
                producer.begin_transaction().unwrap();
                since = clock::instant();
            }
        });
        producer.commit_transaction(PATIENCE).unwrap();
        round
    }

    /// Returns how many bytes of keys and values the worker wrote per record that it read.
    fn bytes_written(&self, name: &str) -> usize {
        let mut bytes = 0;
        for topic in [format!("{name}-out"), format!("{name}-changelog")] {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &self.brokers)
                .set("group.id", "bare")
                .set("enable.auto.commit", "false")
                .set("enable.partition.eof", "true")
                .create()
                .unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, 0, Offset::Offset(0)).unwrap();
            consumer.assign(&list).unwrap();
            // Anything but a record is the end.
            while let Some(Ok(record)) = consumer.poll(PATIENCE) {
                bytes += record.payload_len() + record.key_len();
            }
        }
        bytes / self.records
    }

    /// Runs the worker over the topic, from the start to the commit of the last record.
    fn work(&self, name: &str, commit_interval: Duration) -> Round {
        let settings = settings(name, &self.input, commit_interval);
        create(&self.brokers, &settings.topics.output, false);
        create(&self.brokers, &settings.topics.changelog, true);
        let mut kafka = KafkaSettings::new(&self.brokers, name, name);
        kafka.max_record_bytes = 2 << 20;
        let client = Client::connect(&kafka, &self.input, &settings.topics.changelog, PATIENCE).unwrap();
        let metrics = Arc::new(Metrics::new(LABELS));
        let mut worker = Worker::new(&client, Arc::new(settings), Arc::clone(&metrics));
        let origin = clock::instant();
        let now = || Now { wall: clock::now(), elapsed: origin.elapsed() };
        while !worker.is_member() || worker.restoring() > 0 {
            worker.turn(now()).unwrap();
        }
        let (begun, mut looked, mut half) = (Mark::now(), clock::instant(), None);
        loop {
            worker.turn(now()).unwrap();
            if looked.elapsed() >= Duration::from_millis(50) {
                looked = clock::instant();
                let committed = committed(&metrics);
                if committed >= self.records / 2 {
                    half.get_or_insert_with(resident_mb);
                }
                if committed >= self.records {
                    let round = begun.round();
                    show_phases(name, &metrics);
                    eprintln!("{name}: {} MB resident after half, {} at the end", half.unwrap_or(0), resident_mb());
                    return round;
                }
            }
        }
    }
}

/// A moment of both clocks.
struct Mark {
    wall: Instant,
    cpu: Duration,
}

impl Mark {
    fn now() -> Mark {
        Mark { wall: clock::instant(), cpu: cpu() }
    }

    fn round(self) -> Round {
        Round { wall: self.wall.elapsed(), cpu: cpu().saturating_sub(self.cpu) }
    }
}

/// Returns the CPU time of this process, all threads, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Returns how much memory this process has.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kb.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_000
}

fn committed(metrics: &Metrics) -> usize {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix("livesession_input_records_read_total "));
    line.and_then(|count| count.parse::<f64>().ok()).unwrap_or(0.0) as usize
}

/// Prints where the worker's thread spent its time.
fn show_phases(name: &str, metrics: &Metrics) {
    let text = metrics.render();
    let phases = text.lines().filter_map(|line| line.strip_prefix("livesession_loop_seconds_total{phase="));
    let phases: Vec<String> = phases.map(|phase| phase.replace(['"', '}'], "")).collect();
    eprintln!("{name}: {}", phases.join("  "));
}

fn decode(value: &[u8]) {
    let text = std::str::from_utf8(value).unwrap();
    let bare: Bare<'_> = serde_json::from_str(text).unwrap();
    black_box((bare.event_type, bare.app, bare.appname, bare.stream_id, bare.file_id));
    black_box((bare.start_time, bare.end_time, bare.video_url));
}

fn median(rounds: &[Round]) -> Round {
    let middle = |of: fn(&Round) -> Duration| {
        let mut values: Vec<Duration> = rounds.iter().map(of).collect();
        values.sort();
        values[values.len() / 2]
    };
    Round { wall: middle(|round| round.wall), cpu: middle(|round| round.cpu) }
}

fn main() {
    let Ok(brokers) = std::env::var("LIVESESSION_BENCH_BROKERS") else {
        println!("set LIVESESSION_BENCH_BROKERS to a broker that may be filled; see benches/worker.rs");
        return;
    };
    let records = std::env::var("RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let run = clock::now().as_ms();
    let bench = Bench { brokers, input: format!("bench-in-{run}"), records };
    for topic in [bench.input.as_str(), "bench-dlq", "bench-bare"] {
        create(&bench.brokers, topic, false);
    }
    bench.fill();
    let first = format!("bench-{run}-warm-up");
    let alone = bench.work(&first, INTERVAL);
    if std::env::var_os("WORKER_ONLY").is_some() {
        println!("{records} records in {:.1} s", alone.wall.as_secs_f64());
        return;
    }
    let bytes = bench.bytes_written(&first);
    let names = [
        "(a) poll",
        "(b) poll and decode",
        "(c) and 150 bytes",
        "(d) and as the worker",
        "worker, 200 ms",
        "worker, 1 s",
    ];
    let mut rounds: [Vec<Round>; 6] = Default::default();
    for round in 0..ROUNDS {
        rounds[0].push(bench.read(|value| {
            black_box(value);
        }));
        rounds[1].push(bench.read(decode));
        rounds[2].push(bench.read_and_produce(150));
        rounds[3].push(bench.read_and_produce(bytes));
        rounds[4].push(bench.work(&format!("bench-{run}-{round}"), INTERVAL));
        rounds[5].push(bench.work(&format!("bench-{run}-{round}-rare"), Duration::from_secs(1)));
    }
    let length = body(0).1.len();
    println!(
        "{records} records of {length} bytes, one partition, {ROUNDS} rounds, medians; the worker writes {bytes} a record"
    );
    let worker = median(&rounds[4]);
    for (name, rounds) in names.iter().zip(&rounds) {
        let round = median(rounds);
        let rate = records as f64 / round.wall.as_secs_f64() / 1e6;
        let cpu = round.cpu.as_secs_f64() / records as f64 * 1e6;
        let ratio = round.wall.as_secs_f64() / worker.wall.as_secs_f64();
        println!("{name:<22} {rate:>6.3} M records/s  {cpu:>5.2} CPU s per M  worker is {ratio:.2} x as fast");
    }
}
