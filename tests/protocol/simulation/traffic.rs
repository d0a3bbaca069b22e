//! The input of a simulated world: shows, recorded in files, announced late, twice, wrongly, or not at all.

use super::chance::Chance;

/// 2025-08-01 00:00 UTC: the wall time at which a world begins.
pub const EPOCH: i64 = 1_754_006_400_000;

/// The spans of the rules, in ms: those of an evening, a hundred times as fast.
pub const GAP: i64 = 2_000;
pub const RECORDING_INTERVAL: i64 = 8_000;
pub const MAX_SEGMENT: i64 = 12_000;
pub const NOTIFICATION_DELAY: i64 = 1_000;
pub const ALLOWED_LATENESS: i64 = 15_000;
pub const MAX_HOLD: i64 = 20_000;
pub const MAX_CLOCK_SKEW: i64 = 5_000;

/// What a record is, as the checker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Segment {
        stream: String,
        file: String,
        start: i64,
        end: i64,
    },
    Hint {
        at: i64,
    },
    Other,
    /// Refused whatever the state is, for this reason.
    Bad(&'static str),
}

/// A record of the input, and when it gets there.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub at: u64,
    pub partition: usize,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    /// The same under another file id, for a world in which duplicates are not recognized.
    pub renamed: Option<Vec<u8>>,
    pub timestamp: Option<i64>,
    pub kind: Kind,
    /// Written in a transaction of the producer upstream.
    pub is_open: bool,
}

/// Draws the records of a world, in the order in which they arrive.
pub fn draw(chance: &Chance, partitions: usize) -> Vec<Incoming> {
    let mut all = Vec::new();
    // Some partitions may have none.
    let streams = 1 + chance.below(partitions as u64 + 2);
    let span = chance.between(15_000, 60_000);
    for number in 0..streams {
        let stream = Stream { name: format!("cam{number}"), partition: number as usize % partitions };
        stream.draw(chance, span, &mut all);
    }
    for _ in 0..chance.below(4) {
        let partition = chance.below(partitions as u64) as usize;
        all.push(odd(chance, chance.below(span as u64), partition));
    }
    all.sort_by_key(|incoming| incoming.at);
    let mut open = vec![false; partitions];
    for incoming in &mut all {
        let is_open = &mut open[incoming.partition];
        *is_open = if *is_open { !chance.happens(300) } else { chance.happens(50) };
        incoming.is_open = *is_open;
    }
    all
}

struct Stream {
    name: String,
    partition: usize,
}

impl Stream {
    fn key(&self) -> String {
        format!("//{}", self.name)
    }

    /// Draws shows until the span is over.
    fn draw(&self, chance: &Chance, span: i64, all: &mut Vec<Incoming>) {
        let (has_hints, is_parallel) = (chance.happens(400), chance.happens(300));
        let mut start = chance.between(-5_000, 5_000);
        let mut files = 0;
        while start < span {
            let push = files;
            if has_hints && !chance.happens(100) {
                all.push(self.hint(chance, 1, push, start));
            }
            let mut end = start;
            for _ in 0..=chance.below(4) {
                end = start + chance.between(0, 7_000);
                self.file(chance, &format!("f{files}"), start, end, all);
                files += 1;
                if is_parallel {
                    let (start, end) = (start - chance.between(0, 500), end + chance.between(0, 500));
                    self.file(chance, &format!("f{files}"), start, end, all);
                    files += 1;
                }
                start = end + *chance.pick(&[0, 0, 1, GAP - 1, GAP, GAP, GAP + 1, -300]);
            }
            if has_hints && !chance.happens(100) {
                all.push(self.hint(chance, 0, push, end));
            }
            start += *chance.pick(&[0, 1_000, GAP, 4_000, 9_000, 15_000, 25_000]);
        }
    }

    /// Announces a file: once, mostly.
    fn file(&self, chance: &Chance, file: &str, start: i64, end: i64, all: &mut Vec<Incoming>) {
        let times = 1 + u64::from(chance.happens(150)) + u64::from(chance.happens(50));
        let ends_differ = chance.happens(50);
        for copy in 0..times {
            let delay = match chance.below(10) {
                0 => chance.between(0, 30_000),
                1 | 2 => chance.between(0, 10_000),
                _ => chance.between(0, 1_500),
            };
            let end = if ends_differ && copy > 0 { end + 1_000 } else { end };
            let body = |file: &str| {
                format!(
                    r#"{{"event_type":100,"stream_id":"{}","file_id":"{file}","start_time":{},"end_time":{},"file_format":"mp4"}}"#,
                    self.name,
                    EPOCH + start,
                    EPOCH + end
                )
            };
            let renamed = if copy > 0 { format!("{file}-again") } else { file.to_owned() };
            all.push(Incoming {
                at: (end + delay).max(0).unsigned_abs(),
                partition: self.partition,
                key: self.name.clone().into_bytes(),
                value: Some(body(file).into_bytes()),
                renamed: Some(body(&renamed).into_bytes()),
                timestamp: stamp(chance, end + delay),
                kind: Kind::Segment {
                    stream: self.key(),
                    file: file.to_owned(),
                    start: EPOCH + start,
                    end: EPOCH + end,
                },
                is_open: false,
            });
        }
    }

    fn hint(&self, chance: &Chance, event: u32, push: u32, at: i64) -> Incoming {
        let delay = if chance.happens(100) { chance.between(0, 20_000) } else { chance.between(0, 800) };
        let value = format!(
            r#"{{"event_type":{event},"stream_id":"{}","event_time":{},"sequence":"{push}"}}"#,
            self.name,
            EPOCH + at
        );
        plain((at + delay).max(0).unsigned_abs(), self.partition, value, Kind::Hint { at: EPOCH + at })
    }
}

/// A record's Kafka timestamp: its time of arrival, roughly, if it has one.
fn stamp(chance: &Chance, at: i64) -> Option<i64> {
    match chance.below(10) {
        0 => None,
        1 => Some(EPOCH + at + 3_000),
        _ => Some(EPOCH + at),
    }
}

fn plain(at: u64, partition: usize, value: String, kind: Kind) -> Incoming {
    let value = Some(value.into_bytes());
    let renamed = value.clone();
    Incoming { at, partition, key: Vec::new(), value, renamed, timestamp: None, kind, is_open: false }
}

/// A record that is no segment and no hint, or none that can be accepted.
fn odd(chance: &Chance, at: u64, partition: usize) -> Incoming {
    let time = EPOCH + at as i64;
    let segment = |start: i64, end: i64| {
        format!(r#"{{"event_type":100,"stream_id":"odd","file_id":"x","start_time":{start},"end_time":{end}}}"#)
    };
    match chance.below(7) {
        0 => plain(at, partition, "stream=cam1&end=now".to_owned(), Kind::Bad("not_json")),
        1 => plain(at, partition, r#"{"event_type":100,"file_id":"x"}"#.to_owned(), Kind::Bad("no_stream")),
        2 => plain(at, partition, segment(time, time - 1), Kind::Bad("inverted_interval")),
        3 => plain(at, partition, segment(time - MAX_SEGMENT - 1, time), Kind::Bad("interval_too_long")),
        4 => Incoming {
            timestamp: Some(time),
            ..plain(at, partition, segment(time, time + MAX_CLOCK_SKEW + 1), Kind::Bad("ahead_of_clock"))
        },
        5 => Incoming { value: None, renamed: None, ..plain(at, partition, String::new(), Kind::Other) },
        _ => plain(at, partition, r#"{"event_type":200,"stream_id":"cam0"}"#.to_owned(), Kind::Other),
    }
}

/// A hint that is so far ahead that everything closes and is forgotten.
pub fn far(at: u64, partition: usize) -> Incoming {
    let time = EPOCH + at as i64 + 86_400_000;
    let value = format!(r#"{{"event_type":332,"record_event":"record_ended","stream_id":"end","event_time":{time}}}"#);
    plain(at, partition, value, Kind::Hint { at: time })
}
