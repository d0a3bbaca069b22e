//! Records through the file, and edited rows.

use std::sync::Arc;

use livesession_formats::named::Named;
use livesession_formats::session::{Source, decode, encode};
use livesession_grouping::time::Millis;
use livesession_grouping::{Anomaly, NewSegment, Publication, Segment as Member, Summary, session};

use super::*;
use crate::Error;

fn publication(status: Status) -> Publication {
    let plain = NewSegment::new("f", ms(1_000), ms(5_000));
    let full = NewSegment {
        file_id: "<\"f\\2\">",
        start: ms(2_000),
        end: ms(9_000),
        url: Some("https://vod.example.com/a b.mp4"),
        format: Some("mp4"),
        task_id: Some("task"),
        template_id: Some("tpl"),
        bitrate_kbps: Some(0),
        media_ms: Some(6_990),
        size_bytes: Some(i64::MAX),
        anomalies: Anomaly::ALL.into_iter().collect(),
    };
    let later = NewSegment { file_id: "f3", start: ms(20_000), end: ms(20_000), bitrate_kbps: Some(900), ..full };
    let segments: Vec<Arc<Member>> =
        [plain, full, later].iter().zip(7..).map(|(new, offset)| Arc::new(Member::new(offset, new))).collect();
    let (recorded, gaps) = session::silences(segments.iter().map(Arc::as_ref));
    let id = |name: &str| SessionId::new("a/b/c", name, ms(5_000));
    let withdrawn = status == Status::Withdrawn;
    Publication {
        stream: "push.example.com/a%2Fb/100%25".into(),
        summary: Summary {
            session_id: id("f"),
            revision: if withdrawn { 2 } else { 1 },
            continues: Some(id("g")),
            close_cause: (!withdrawn).then_some(CloseCause::PushEnded),
            start: ms(1_000),
            end: ms(20_000),
            recorded,
            first_offset: 7,
            last_offset: 9,
            watermark: ms(99_000),
            seed_offset: 7,
            segments: 3,
        },
        status,
        merged_into: withdrawn.then(|| id("h")),
        gaps: if withdrawn { vec![] } else { gaps },
        segments: if withdrawn { vec![] } else { segments },
        allowed_at: ms(0) + Millis::ZERO,
    }
}

fn published(status: Status) -> (SessionRecord, String) {
    let mut bytes = Vec::new();
    encode(&publication(status), Source { topic: &origin().source_topic, partition: 5 }, &mut bytes);
    (decode(&bytes).unwrap(), String::from_utf8(bytes).unwrap())
}

#[test]
fn record_that_went_through_the_index_is_the_record_that_was_published() {
    let scratch = Scratch::new("records");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    for status in [Status::Closed, Status::Withdrawn] {
        let (published, json) = published(status);
        assert_eq!(writer.apply(std::slice::from_ref(&published), &[]).unwrap().stored, 1);
        let mut reader = reader(&path);
        let view = reader.view().unwrap();
        let entry = view.session(&published.session_id.to_string()).unwrap().unwrap();
        let back = view.with_lists(entry).unwrap();
        assert_eq!(back, published);
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
    }
}

#[test]
fn row_that_somebody_edited_is_named() {
    let (good, _) = published(Status::Closed);
    for (edit, column, found) in [
        ("UPDATE session SET session_id = 'x'", "session_id", "x"),
        ("UPDATE session SET watermark_ms = -1", "watermark_ms", "-1"),
        ("UPDATE session SET merged_into = ''", "merged_into", ""),
        ("UPDATE segment SET end_ms = 9223372036854775807 WHERE seq = 0", "end_ms", "9223372036854775807"),
        ("UPDATE segment SET anomalies = '{}' WHERE seq = 0", "anomalies", "{}"),
        ("UPDATE gap SET start_ms = -5", "start_ms", "-5"),
    ] {
        let scratch = Scratch::new("records");
        let path = scratch.path("index.db");
        let mut writer = writer(&path);
        writer.apply(std::slice::from_ref(&good), &[]).unwrap();
        writer.connection.execute(edit, []).unwrap();
        let mut reader = reader(&path);
        let view = reader.view().unwrap();
        let whole = view.last_session(None).and_then(|entry| view.with_lists(entry.unwrap()));
        match whole {
            Err(Error::Unreadable { source, .. }) => {
                let of = if column == "session_id" { "x".to_owned() } else { good.session_id.to_string() };
                assert_eq!(source.to_string(), format!("cannot read {column} of {of}: {found:?}"), "{edit}");
            }
            other => panic!("{edit}: {other:?}"),
        }
    }
}

#[test]
fn word_that_this_version_does_not_know_is_other() {
    let scratch = Scratch::new("records");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    writer.apply(&[published(Status::Closed).0], &[]).unwrap();
    writer.connection.execute("UPDATE session SET status = 'parked', close_cause = 'boredom'", []).unwrap();
    let mut reader = reader(&path);
    let read = reader.view().unwrap().last_session(None).unwrap().unwrap().summary;
    assert_eq!((read.status, read.close_cause), (Named::Other, Some(Named::Other)));
}
