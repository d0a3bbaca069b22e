//! Sessions to plan for.

mod forms;
mod notes;
mod plans;

use super::form::{Error, Form, Gaps};
use super::notes::{notes, notes_for};
use super::text::json;
use super::*;
use livesession_formats::session::record::{SourceRange, Stream};
use livesession_grouping::{CloseCause, SessionId, Status};

const EPOCH: i64 = 1_754_042_400_000; // 2025-08-01T10:00:00Z

fn at(second: i64) -> Timestamp {
    Timestamp::from_ms(EPOCH + second * 1_000).unwrap()
}

fn file(file_id: &str, start: i64, end: i64) -> Segment {
    Segment {
        file_id: file_id.to_owned(),
        url: Some(format!("https://vod.example.com/{file_id}.mp4")),
        format: Some("mp4".to_owned()),
        task_id: None,
        rendition: 0,
        start: at(start),
        end: at(end),
        duration_ms: (end - start) * 1_000,
        media_ms: None,
        size_bytes: None,
        anomalies: vec![],
        offset: 0,
    }
}

fn session(segments: Vec<Segment>) -> SessionRecord {
    let (start, end) = (segments.iter().map(|s| s.start).min().unwrap(), segments.iter().map(|s| s.end).max().unwrap());
    let renditions = segments.iter().map(|segment| segment.rendition).max().unwrap() + 1;
    let rendition = |index: usize| Rendition {
        format: Some("mp4".to_owned()),
        template_id: Some("t-1".to_owned()),
        bitrate_kbps: Some(900 * i64::try_from(index).unwrap()),
        segments: 1,
        recorded_ms: 0,
        size_bytes: None,
    };
    SessionRecord {
        version: 1,
        session_id: SessionId::parse("5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64").unwrap(),
        revision: 3,
        status: Status::Closed.into(),
        merged_into: None,
        continues: None,
        close_cause: Some(CloseCause::Watermark.into()),
        stream: Stream {
            key: "//room-7".to_owned(),
            app: String::new(),
            appname: String::new(),
            stream_id: "room-7".to_owned(),
        },
        start,
        end,
        duration_ms: end.since(start).as_ms(),
        recorded_ms: 0,
        gaps: vec![],
        renditions: (0..renditions).map(rendition).collect(),
        segments,
        source: SourceRange { topic: "t".to_owned(), partition: 0, first_offset: 0, last_offset: 0 },
        watermark: end,
    }
}

/// a, a seam, b with an overlap, c after a gap.
fn evening() -> SessionRecord {
    let mut cut = file("1002", 10, 25);
    cut.media_ms = Some(14_500);
    session(vec![file("1000", 0, 10), file("1001", 10, 12), cut, file("1003", 30, 41)])
}

fn written(session: &SessionRecord, form: Form, gaps: Gaps) -> Result<String, Error> {
    form.write(&Plan::new(session, 0).unwrap(), gaps)
}
