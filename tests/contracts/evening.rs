//! The evening of the notification examples, by hand, and what became of it later that day.
//!
//! Offsets 0 to 12 are `show_01` to `show_13`. Then a hint lets the first session close (offset 13), time passes until
//! the second has closed too, and a file that was announced hours late joins the two (offset 14).

use livesession::grouping::{Anomalies, Anomaly, Cause, NewSegment, Publication, Status};

use crate::{at, closed, withdrawn};

pub const ROOM_7: &str = "push.example.com/live/room-7";

fn file<'a>(file_id: &'a str, start: &str, end: &str, url: &'a str, media_ms: i64) -> NewSegment<'a> {
    NewSegment {
        file_id,
        start: at(start),
        end: at(end),
        url: Some(url),
        format: Some(url.rsplit('.').next().map_or("", |suffix| if suffix == "m3u8" { "hls" } else { suffix })),
        task_id: None,
        template_id: None,
        bitrate_kbps: None,
        media_ms: Some(media_ms),
        size_bytes: None,
        anomalies: Anomalies::NONE,
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
    (14, new)
}

/// {a, b, c, HLS}, which closes once the watermark is greater than 11:10.
pub fn first() -> Publication {
    let mut publication = closed(ROOM_7, &[a(), b(), c(), hls()]);
    publication.head.close_cause = Some(Cause::PushEnded);
    publication.head.watermark = at("2025-08-01T11:10:05Z");
    publication
}

/// {d} when the evening's notifications have been read.
pub fn second_open() -> Publication {
    let mut publication = closed(ROOM_7, &[d()]);
    publication.status = Status::Open;
    publication.head.revision = 0;
    publication.head.close_cause = None;
    publication.head.watermark = at("2025-08-01T11:10:00Z");
    publication
}

/// {d}, closed 2 h 18 min after its end.
pub fn second() -> Publication {
    let mut publication = closed(ROOM_7, &[d()]);
    publication.head.watermark = at("2025-08-01T13:28:00.001Z");
    publication
}

/// {g} of the other stream.
pub fn other_stream() -> Publication {
    let url = "http://vod.example.com/g-0001.mp4";
    let g = file("g-0001", "2025-08-01T10:05:00Z", "2025-08-01T10:35:00Z", url, 1_800_000);
    let mut publication = closed("push.example.com/live/room-8", &[(2, g)]);
    publication.head.watermark = at("2025-08-01T13:00:00Z");
    publication
}

/// The first session when the bridge has joined the second to it. The silences around the bridge are below 3 min.
pub fn joined() -> Publication {
    let mut publication = closed(ROOM_7, &[a(), b(), c(), hls(), d(), bridge()]);
    publication.head.revision = 2;
    publication.head.watermark = at("2025-08-01T13:30:00Z");
    publication
}

/// The second session's withdrawal, in the same transaction.
pub fn second_withdrawn() -> Publication {
    withdrawn(&second(), first().head.session_id, at("2025-08-01T13:30:00Z"))
}

pub fn all() -> Vec<Publication> {
    vec![first(), second_open(), second(), other_stream(), joined(), second_withdrawn()]
}
