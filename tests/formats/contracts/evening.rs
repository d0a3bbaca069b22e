//! The evening of the notification examples, by hand, and what became of it later that day.
//!
//! Offsets 0 to 12 are `show_01` to `show_13`. Then hints of another stream move the watermark (offsets 13 to 16), until
//! all has closed, and a file that was announced hours late joins the two sessions (offset 17). What is drawn here by hand
//! is compared with what decoder and core make of the notifications.

use livesession_formats::notification::{Decoder, Notification, Rules};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{
    Anomaly, Arrival, CloseCause, Grouper, Hint, NewSegment, Outcome, Policy, Publication, Settings, Status,
};
use serde_json::json;

use crate::contracts::{at, closed, json, read, withdrawn};

pub const ROOM_7: &str = "push.example.com/live/room-7";

fn file<'a>(file_id: &'a str, start: &str, end: &str, url: &'a str, media_ms: i64) -> NewSegment<'a> {
    NewSegment {
        url: Some(url),
        format: Some(url.rsplit('.').next().map_or("", |suffix| if suffix == "m3u8" { "hls" } else { suffix })),
        media_ms: Some(media_ms),
        ..NewSegment::new(file_id, at(start), at(end))
    }
}

fn a() -> (i64, NewSegment<'static>) {
    let url = "http://vod.example.com/f-0001.mp4";
    (3, file("f-0001", "2025-08-01T10:00:02Z", "2025-08-01T10:30:02Z", url, 1_800_000))
}

fn b() -> (i64, NewSegment<'static>) {
    let url = "http://vod.example.com/f-0002.mp4";
    (1, file("f-0002", "2025-08-01T10:30:02Z", "2025-08-01T10:41:10Z", url, 668_000))
}

fn c() -> (i64, NewSegment<'static>) {
    let url = "http://vod.example.com/f-0003.mp4";
    (7, file("f-0003", "2025-08-01T10:44:10Z", "2025-08-01T10:52:00Z", url, 470_000))
}

fn hls() -> (i64, NewSegment<'static>) {
    let url = "http://vod.example.com/f-0004.m3u8";
    (9, file("f-0004", "2025-08-01T10:00:02Z", "2025-08-01T10:52:00Z", url, 3_118_000))
}

fn d() -> (i64, NewSegment<'static>) {
    let url = "http://vod.example.com/f-0005.mp4";
    (11, file("f-0005", "2025-08-01T10:55:01Z", "2025-08-01T11:10:00Z", url, 899_000))
}

fn bridge() -> (i64, NewSegment<'static>) {
    let url = "http://vod.example.com/f-0007.mp4";
    let new = NewSegment {
        task_id: Some("1807000000000000007"),
        bitrate_kbps: Some(0),
        size_bytes: Some(40_100_200),
        anomalies: [Anomaly::StartRebuilt].into_iter().collect(),
        ..file("f-0007", "2025-08-01T10:53:00.500Z", "2025-08-01T10:54:00.500Z", url, 60_000)
    };
    (17, new)
}

/// {a, b, c, HLS}, which closes once the watermark is greater than 11:10.
pub fn first() -> Publication {
    let mut publication = closed(ROOM_7, &[a(), b(), c(), hls()]);
    publication.summary.close_cause = Some(CloseCause::PushEnded);
    publication.summary.watermark = at("2025-08-01T11:10:05Z");
    publication
}

/// {d} when the evening's notifications have been read.
pub fn second_open() -> Publication {
    let mut publication = closed(ROOM_7, &[d()]);
    publication.status = Status::Open;
    publication.summary.revision = 0;
    publication.summary.close_cause = None;
    publication.summary.watermark = at("2025-08-01T11:10:00Z");
    publication
}

/// {d}, closed 2 h 18 min after its end.
pub fn second() -> Publication {
    let mut publication = closed(ROOM_7, &[d()]);
    publication.summary.watermark = at("2025-08-01T13:28:00.001Z");
    publication
}

/// {g} of the other stream.
pub fn other_stream() -> Publication {
    let url = "http://vod.example.com/g-0001.mp4";
    let g = file("g-0001", "2025-08-01T10:05:00Z", "2025-08-01T10:35:00Z", url, 1_800_000);
    let mut publication = closed("push.example.com/live/room-8", &[(2, g)]);
    publication.summary.watermark = at("2025-08-01T13:00:00Z");
    publication
}

/// The first session when the bridge has joined the second to it. The silences around the bridge are below 3 min.
pub fn joined() -> Publication {
    let mut publication = closed(ROOM_7, &[a(), b(), c(), hls(), d(), bridge()]);
    publication.summary.revision = 2;
    publication.summary.watermark = at("2025-08-01T13:30:00Z");
    publication
}

/// The second session's withdrawal, in the same transaction.
pub fn second_withdrawn() -> Publication {
    withdrawn(&second(), first().summary.session_id, at("2025-08-01T13:30:00Z"))
}

pub fn all() -> Vec<Publication> {
    vec![first(), second_open(), second(), other_stream(), joined(), second_withdrawn()]
}

/// What became of the notifications read so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    accepted: u32,
    duplicates: u32,
    conflicts: u32,
    late: u32,
    hints: u32,
}

/// A partition: decoder and core, with nothing in between but a counter of offsets.
struct Partition {
    decoder: Decoder,
    grouper: Grouper,
    offset: i64,
    counts: Counts,
}

impl Partition {
    /// Reads one record and returns what is published because of it.
    fn read(&mut self, value: &str, timestamp: Timestamp) -> Vec<Publication> {
        let (offset, timestamp, now) = (self.offset, Some(timestamp), timestamp);
        self.offset += 1;
        match self.decoder.decode(Some(value.as_bytes()), timestamp) {
            Notification::Segment { stream, segment } => {
                let count = match self.grouper.accept(Arrival { stream, offset, timestamp, now }, &segment) {
                    Outcome::Accepted => &mut self.counts.accepted,
                    Outcome::Duplicate => &mut self.counts.duplicates,
                    Outcome::Conflict => &mut self.counts.conflicts,
                    Outcome::Late => &mut self.counts.late,
                    other => panic!("offset {offset}: a segment became {other:?}"),
                };
                *count += 1;
            }
            Notification::Hint { stream, kind, push_id, at, .. } => {
                self.grouper.hint(Arrival { stream, offset, timestamp, now }, &Hint { kind, push_id, at });
                self.counts.hints += 1;
            }
            other => panic!("offset {offset}: {other:?}"),
        }
        self.grouper.publish_due(usize::MAX)
    }

    /// Reads a hint of a stream that nobody records.
    fn read_hint(&mut self, time: &str) -> Vec<Publication> {
        let event_time = at(time).as_ms();
        let hint =
            json!({ "event_type": 332, "record_event": "record_ended", "stream_id": "x", "event_time": event_time });
        self.read(&hint.to_string(), at(time))
    }
}

/// `allowed_at` is for measuring and not published.
#[track_caller]
fn assert_published(found: Vec<Publication>, expected: Vec<Publication>) {
    let without = |all: Vec<Publication>| -> Vec<Publication> {
        all.into_iter().map(|publication| Publication { allowed_at: Timestamp::MIN, ..publication }).collect()
    };
    assert_eq!(without(found), without(expected));
}

#[test]
fn core_publishes_the_evening_as_it_is_drawn() {
    let grouper = Grouper::new(Policy::new(Settings::default()).unwrap());
    let counts = Counts::default();
    let mut partition = Partition { decoder: Decoder::new(Rules::default()), grouper, offset: 0, counts };
    let examples = read("examples/notifications.ndjson");
    let shows = examples.lines().map(json).filter(|line| line["name"].as_str().unwrap().starts_with("show_"));
    for show in shows {
        let timestamp = Timestamp::from_ms(show["kafka_timestamp_ms"].as_i64().unwrap()).unwrap();
        assert_published(partition.read(show["input"].as_str().unwrap(), timestamp), vec![]);
    }
    assert_eq!(partition.counts, Counts { accepted: 6, duplicates: 1, conflicts: 1, late: 1, hints: 4 });
    let open: Vec<_> = partition.grouper.open_sessions().collect();
    assert_eq!(open.len(), 3);
    assert_published(vec![open[1].clone()], vec![second_open()]);

    assert_published(partition.read_hint("2025-08-01T11:10:05Z"), vec![first()]);
    assert_published(partition.read_hint("2025-08-01T13:00:00Z"), vec![other_stream()]);
    assert_published(partition.read_hint("2025-08-01T13:28:00.001Z"), vec![second()]);
    assert_published(partition.read_hint("2025-08-01T13:30:00Z"), vec![]);
    let bridge = json!({
        "event_type": 100,
        "app": "push.example.com",
        "appname": "live",
        "stream_id": "room-7",
        "file_id": "f-0007",
        "end_time": 1_754_045_640,
        "end_time_usec": 500_000,
        "start_time_usec": 500_000,
        "duration": 60,
        "file_format": "mp4",
        "file_size": 40_100_200,
        "record_bps": 0,
        "task_id": "1807000000000000007",
        "video_url": "http://vod.example.com/f-0007.mp4",
    });
    let published = partition.read(&bridge.to_string(), at("2025-08-01T13:30:02Z"));
    assert_published(published, vec![joined(), second_withdrawn()]);
}
