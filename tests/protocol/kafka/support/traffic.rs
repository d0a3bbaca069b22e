//! Generated notifications, and what a batch job makes of them: the answer that every run has to give, whatever happens.
//!
//! The batch job knows nothing of watermarks, transactions or revisions: it sorts the segments of a stream and cuts where
//! there is silence for longer than the gap. It shares no code with the program. Segments arrive up to three hours late
//! and out of order, so sessions are amended, bridged and withdrawn on the way; none is refused for being late.

use livesession_formats::time::parse_timestamp;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use crate::kafka::support::deployment::{Deployment, Given};
use crate::kafka::support::process::Worker;

const NAMESPACE: Uuid = uuid!("5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64");
/// 2026-03-01T00:00:00Z.
const BEGIN: i64 = 1_772_323_200_000;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const GAP: i64 = 3 * MINUTE;

/// The rules under which [`Traffic::generate`] makes nothing late.
pub const RULES: &str = r#"
    grouping.gap = "3m"
    grouping.recording_interval = "30m"
    grouping.notification_delay = "1m"
    grouping.max_segment = "6h"
    grouping.allowed_lateness = "6h"
    grouping.max_hold = "6h"
"#;

/// Numbers that depend on a seed and on nothing else.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// Returns a number from `from` to `to - 1`.
    pub fn ms(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(to - from).unwrap())).unwrap()
    }
}

/// A session as everybody should see it in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub stream: String,
    pub start: i64,
    pub end: i64,
    /// By start, end and file id.
    pub files: Vec<String>,
}

#[derive(Clone, Debug)]
struct Segment {
    stream: String,
    file_id: String,
    start: i64,
    end: i64,
    /// Its place in the input; the session's id comes from the first one.
    offset: usize,
}

/// Notifications by partition, and what should become of them.
pub struct Traffic {
    pub partitions: Vec<Vec<Given>>,
    pub sessions: BTreeMap<String, Session>,
    /// How many records should have which outcome.
    pub outcomes: BTreeMap<&'static str, usize>,
}

impl Traffic {
    /// Makes notifications of three streams a partition, each with `files` segments.
    ///
    /// The last record of every partition moves the watermark past the end of every session.
    pub fn generate(seed: u64, partitions: usize, files: usize) -> Traffic {
        let mut random = Random::new(seed);
        let mut traffic = Traffic { partitions: Vec::new(), sessions: BTreeMap::new(), outcomes: BTreeMap::new() };
        for partition in 0..partitions {
            let mut arriving: Vec<(i64, Value)> = Vec::new();
            for stream in 0..3 {
                arriving.extend(stream_of(&mut random, &format!("p{partition}-s{stream}"), files));
            }
            arriving.sort_by_key(|(arrival, _)| *arrival);
            let last = arriving.last().map_or(BEGIN, |(arrival, _)| *arrival);
            let records = traffic.write(&mut random, arriving);
            traffic.partitions.push(records);
            traffic.close(partition, last + 4 * HOUR);
        }
        traffic
    }

    /// Turns notifications into records, some of them twice, with others in between; notes what becomes of them.
    fn write(&mut self, random: &mut Random, arriving: Vec<(i64, Value)>) -> Vec<Given> {
        let mut records = Vec::new();
        let mut segments = Vec::new();
        for (arrival, notification) in arriving {
            if let Some(file_id) = notification["file_id"].as_str() {
                let ms = |name: &str| notification[name].as_i64().unwrap() * SECOND;
                segments.push(Segment {
                    stream: notification["stream_id"].as_str().unwrap().to_owned(),
                    file_id: file_id.to_owned(),
                    start: ms("start_time"),
                    end: ms("end_time"),
                    offset: records.len(),
                });
                self.count("accepted");
            } else {
                self.count("hint");
            }
            records.push(Given::new(notification.to_string(), arrival));
            match random.below(20) {
                0 if notification["file_id"].is_string() => {
                    records.push(Given::new(notification.to_string(), arrival));
                    self.count("duplicate");
                }
                1 => {
                    records.push(garbage());
                    self.count("rejected");
                }
                2 => {
                    records.push(Given::new("{\"event_type\":9999,\"stream_id\":\"x\"}", arrival));
                    self.count("other");
                }
                _ => {}
            }
        }
        self.sessions.extend(batch(segments));
        records
    }

    /// Adds a hint of a stream that nobody records, which moves the watermark of a partition.
    fn close(&mut self, partition: usize, at: i64) {
        self.partitions[partition].push(hint(at));
        self.count("hint");
    }

    /// Notes that one record more should have this outcome.
    pub fn count(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    pub fn records(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }

    /// Writes everything to the input.
    pub fn produce(&self, deployment: &Deployment) {
        for (partition, records) in self.partitions.iter().enumerate() {
            deployment.produce(i32::try_from(partition).unwrap(), records);
        }
    }

    /// Writes the share `part` of `parts` of every partition to the input.
    pub fn produce_part(&self, deployment: &Deployment, part: usize, parts: usize) {
        for (partition, records) in self.partitions.iter().enumerate() {
            let bound = |part: usize| records.len() * part / parts;
            deployment.produce(i32::try_from(partition).unwrap(), &records[bound(part)..bound(part + 1)]);
        }
    }

    /// Checks everything that is in the topics once all has been read.
    pub fn assert_result(&self, deployment: &Deployment) {
        let newest = newest(deployment);
        let current: BTreeMap<String, Session> = newest
            .iter()
            .filter(|(_, session)| session["status"] == "closed")
            .map(|(id, session)| (id.clone(), session_of(session)))
            .collect();
        assert_eq!(current.len(), self.sessions.len(), "sessions");
        for (id, expected) in &self.sessions {
            assert_eq!(current.get(id), Some(expected), "session {id}");
        }
        for (id, session) in &newest {
            if session["status"] == "withdrawn" {
                let mut survivor = session;
                while let Some(next) = survivor["merged_into"].as_str() {
                    survivor =
                        newest.get(next).unwrap_or_else(|| panic!("{id} was merged into {next}, which is not there"));
                }
                assert_eq!(survivor["status"], "closed", "{id}");
            }
        }
        let refused = self.outcomes.get("rejected").copied().unwrap_or(0);
        assert_refused_once(deployment, refused);
        deployment.assert_settled();
    }

    /// Checks what a worker that has read all of it has counted.
    pub fn assert_counted(&self, worker: &Worker) {
        for outcome in ["accepted", "duplicate", "conflict", "late", "rejected", "hint", "other"] {
            let counted = worker.metric(&format!("livesession_input_records_total{{outcome=\"{outcome}\"}}"));
            let expected = self.outcomes.get(outcome).copied().unwrap_or(0);
            assert_eq!(counted, Some(expected as f64), "{outcome}");
        }
        assert_conserved(worker);
    }
}

/// Checks that what was read equals the sum of what became of it (rule: conservation): both are counted.
pub fn assert_conserved(worker: &Worker) {
    let read = worker.metric("livesession_input_records_read_total").expect("the worker answers");
    assert_eq!(read, worker.sum("livesession_input_records_total"), "read, and what became of it");
}

/// Returns a hint of a stream that nobody records.
pub fn hint(at: i64) -> Given {
    let hint = json!({ "event_type": 332, "record_event": "record_ended", "stream_id": "clock", "event_time": at });
    Given::new(hint.to_string(), at)
}

/// Returns a record that is refused.
pub fn garbage() -> Given {
    Given::new("garbage", BEGIN)
}

/// Returns a notification of a stream without names of an application.
pub fn segment(stream: &str, file_id: &str, start: i64, end: i64) -> Given {
    Given::new(notification(stream, file_id, start, end).to_string(), end)
}

fn notification(stream: &str, file_id: &str, start: i64, end: i64) -> Value {
    json!({
        "event_type": 100,
        "stream_id": stream,
        "file_id": file_id,
        "file_format": "mp4",
        "start_time": start / SECOND,
        "end_time": end / SECOND,
        "video_url": format!("http://vod.example.com/{file_id}.mp4"),
    })
}

/// Returns the notifications of one stream with the time at which each arrives.
fn stream_of(random: &mut Random, stream: &str, files: usize) -> Vec<(i64, Value)> {
    let mut arriving = Vec::new();
    let mut start = BEGIN + random.ms(0, HOUR) / SECOND * SECOND;
    for file in 0..files {
        let end = start + random.ms(1, 1_800) * SECOND;
        let delay = if random.below(4) == 0 { random.ms(0, 3 * HOUR) } else { random.ms(0, 20 * SECOND) };
        arriving.push((end + delay, notification(stream, &format!("{stream}-{file}"), start, end)));
        if random.below(5) == 0 {
            let mut other = notification(stream, &format!("{stream}-{file}-hls"), start, end);
            other["file_format"] = json!("hls");
            arriving.push((end + random.ms(0, HOUR), other));
        }
        if random.below(6) == 0 {
            for (event, at) in [(1, start), (0, end)] {
                let push = file.to_string();
                let hint =
                    json!({ "event_type": event, "stream_id": stream, "event_time": at / SECOND, "sequence": push });
                arriving.push((at, hint));
            }
        }
        let silence = match random.below(8) {
            0 => -random.ms(1, 30) * SECOND,
            1 => 0,
            2 => GAP,
            3 => GAP + SECOND,
            4 => random.ms(20, 90) * MINUTE,
            5 => random.ms(3, 9) * HOUR,
            _ => random.ms(1, 170) * SECOND,
        };
        // An overlap never reaches back before the file it overlaps.
        start = (end + silence).max(start);
    }
    arriving
}

/// Groups the segments of a partition: what the program should come to in the end.
fn batch(mut segments: Vec<Segment>) -> BTreeMap<String, Session> {
    segments.sort_by(|a, b| (&a.stream, a.start, a.end, &a.file_id).cmp(&(&b.stream, b.start, b.end, &b.file_id)));
    let mut groups: Vec<(i64, Vec<Segment>)> = Vec::new();
    for segment in segments {
        match groups.last_mut() {
            Some((end, group)) if group[0].stream == segment.stream && segment.start - *end <= GAP => {
                *end = segment.end.max(*end);
                group.push(segment);
            }
            _ => groups.push((segment.end, vec![segment])),
        }
    }
    let session = |(end, group): (i64, Vec<Segment>)| {
        let seed = group.iter().min_by_key(|segment| segment.offset).expect("no group is empty");
        let key = format!("//{}", seed.stream);
        let id = Uuid::new_v5(&NAMESPACE, format!("{key}\0{}\0{}", seed.file_id, seed.end).as_bytes());
        let files = group.iter().map(|segment| segment.file_id.clone()).collect();
        (id.to_string(), Session { stream: key, start: group[0].start, end, files })
    };
    groups.into_iter().map(session).collect()
}

/// Returns the newest revision of each session, and checks that each has the revisions 1 to n, once and in order.
pub fn newest(deployment: &Deployment) -> BTreeMap<String, Value> {
    let mut newest: BTreeMap<String, Value> = BTreeMap::new();
    for record in deployment.read(&deployment.output) {
        let session = record.json();
        let id = session["session_id"].as_str().unwrap().to_owned();
        let before = newest.get(&id).map_or(0, |before| before["revision"].as_i64().unwrap());
        assert_eq!(session["revision"].as_i64(), Some(before + 1), "session {id}: revision after {before}");
        assert_eq!(record.header("ce_id"), Some(format!("{id}:{}", before + 1).as_str()));
        newest.insert(id, session);
    }
    newest
}

fn session_of(session: &Value) -> Session {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files: Vec<String> =
        session["segments"].as_array().unwrap().iter().map(|segment| text(&segment["file_id"])).collect();
    Session { stream: text(&session["stream"]["key"]), start: ms(&session["start"]), end: ms(&session["end"]), files }
}

fn ms(time: &Value) -> i64 {
    parse_timestamp(time.as_str().unwrap()).unwrap().as_ms()
}

/// Checks that every refused record is in one dead letter, named by where it was.
pub fn assert_refused_once(deployment: &Deployment, count: usize) {
    let dead_letters = deployment.read(&deployment.dead_letter);
    let mut places: Vec<(String, String)> = dead_letters
        .iter()
        .map(|letter| {
            let header = |name: &str| letter.header(name).unwrap().to_owned();
            (header("__dlq.errors.partition"), header("__dlq.errors.offset"))
        })
        .collect();
    places.sort();
    let doubled: Vec<_> = places.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(doubled.is_empty(), "refused twice (partition, offset): {doubled:?}");
    assert_eq!(places.len(), count, "dead letters");
}
