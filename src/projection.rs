//! Session records as rows of the index, and back.
//!
//! The only place where `wire` and `index` meet as far as values are concerned; `indexer` and `group --index` write
//! through it, `sessions`, `recordings` and the HTTP side read through it. What the index does not store is computed
//! again: renditions from the segments, durations from the times, the parts of `source` that are the same for all rows
//! from the file's own note.
//!
//! # Invariants
//!
//! * A record that went through the index is the record that was published, field for field. Only a word for a status or a
//!   cause that this version does not know comes back as `other`, as it does without an index.

use std::sync::Arc;

use livesession_formats::named::Named;
use livesession_formats::session as answer;
use livesession_formats::session::SessionRecord;
use livesession_formats::session::record::{self, Gap, Origin, Rendition, Segment, Stream};
use livesession_grouping::session::renditions;
use livesession_grouping::time::Timestamp;
use livesession_grouping::{Anomaly, NewSegment, Segment as Member, SessionId};
use livesession_index::rows;
use livesession_index::{Recording as Found, StreamListed as Listed};

/// A row that no indexer of ours has written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {what} of session {session_id} from the index: {found:?}")]
    Unreadable { session_id: String, what: &'static str, found: String },
}

/// Returns the rows of a published record.
pub fn to_rows(published: &SessionRecord) -> rows::Record {
    let segment = |segment: &Segment| {
        let rendition = published.renditions.get(segment.rendition);
        rows::Segment {
            file_id: segment.file_id.clone(),
            url: segment.url.clone(),
            format: segment.format.clone(),
            task_id: segment.task_id.clone(),
            template_id: rendition.and_then(|rendition| rendition.template_id.clone()),
            bitrate_kbps: rendition.and_then(|rendition| rendition.bitrate_kbps),
            start_ms: segment.start.as_ms(),
            end_ms: segment.end.as_ms(),
            media_ms: segment.media_ms,
            size_bytes: segment.size_bytes,
            anomalies: segment.anomalies.clone(),
            input_offset: segment.offset,
        }
    };
    rows::Record {
        session: rows::Session {
            session_id: published.session_id.to_string(),
            revision: published.revision,
            status: published.status.as_str().to_owned(),
            merged_into: published.merged_into.map(|id| id.to_string()),
            continues: published.continues.map(|id| id.to_string()),
            close_cause: published.close_cause.map(|cause| cause.as_str().to_owned()),
            stream: rows::Stream {
                key: published.stream.key.clone(),
                app: published.stream.app.clone(),
                appname: published.stream.appname.clone(),
                stream_id: published.stream.stream_id.clone(),
            },
            start_ms: published.start.as_ms(),
            end_ms: published.end.as_ms(),
            recorded_ms: published.recorded_ms,
            source_partition: published.source.partition,
            first_offset: published.source.first_offset,
            last_offset: published.source.last_offset,
            watermark_ms: published.watermark.as_ms(),
        },
        segments: published.segments.iter().map(segment).collect(),
        gaps: published
            .gaps
            .iter()
            .map(|gap| rows::Gap { start_ms: gap.start.as_ms(), end_ms: gap.end.as_ms() })
            .collect(),
    }
}

/// Returns a session as it was published, from its rows and the topic that the index says they came from.
///
/// # Errors
///
/// [`Error`] if somebody else wrote to the file.
pub fn to_record(rows: &rows::Record, source_topic: &str) -> Result<SessionRecord, Error> {
    let answer::Summary {
        version,
        session_id,
        revision,
        status,
        merged_into,
        continues,
        close_cause,
        stream,
        start,
        end,
        duration_ms,
        recorded_ms,
        source,
        watermark,
    } = to_summary(&rows.session, source_topic)?;
    let id = &rows.session.session_id;
    let members: Vec<Arc<Member>> =
        rows.segments.iter().map(|segment| to_member(id, segment).map(Arc::new)).collect::<Result<_, _>>()?;
    let (kinds, rendition_of) = renditions(&members);
    let mut segments = Vec::with_capacity(members.len());
    for ((row, member), rendition) in rows.segments.iter().zip(&members).zip(rendition_of) {
        segments.push(Segment {
            file_id: row.file_id.clone(),
            url: row.url.clone(),
            format: row.format.clone(),
            task_id: row.task_id.clone(),
            rendition,
            start: member.start(),
            end: member.end(),
            duration_ms: member.end().since(member.start()).as_ms(),
            media_ms: row.media_ms,
            size_bytes: row.size_bytes,
            anomalies: row.anomalies.clone(),
            offset: row.input_offset,
        });
    }
    let mut gaps = Vec::with_capacity(rows.gaps.len());
    for gap in &rows.gaps {
        let (start, end) = (time(id, "gap start", gap.start_ms)?, time(id, "gap end", gap.end_ms)?);
        gaps.push(Gap { start, end, duration_ms: end.since(start).as_ms() });
    }
    let renditions = kinds
        .into_iter()
        .map(|kind| Rendition {
            format: kind.format.map(str::to_owned),
            template_id: kind.template_id.map(str::to_owned),
            bitrate_kbps: kind.bitrate_kbps,
            segments: kind.segments,
            recorded_ms: kind.recorded.as_ms(),
            size_bytes: kind.size_bytes,
        })
        .collect();
    Ok(SessionRecord {
        version,
        session_id,
        revision,
        status,
        merged_into,
        continues,
        close_cause,
        stream,
        start,
        end,
        duration_ms,
        recorded_ms,
        gaps,
        renditions,
        segments,
        source,
        watermark,
    })
}

/// Returns a session without its lists.
///
/// # Errors
///
/// [`Error`] if somebody else wrote to the file.
pub fn to_summary(row: &rows::Session, source_topic: &str) -> Result<answer::Summary, Error> {
    let id = &row.session_id;
    let optional_id = |what, text: &Option<String>| text.as_deref().map(|text| session_id(id, what, text)).transpose();
    let (start, end) = (time(id, "start", row.start_ms)?, time(id, "end", row.end_ms)?);
    Ok(answer::Summary {
        version: record::VERSION,
        session_id: session_id(id, "id", id)?,
        revision: row.revision,
        status: Named::parse(&row.status),
        merged_into: optional_id("merged_into", &row.merged_into)?,
        continues: optional_id("continues", &row.continues)?,
        close_cause: row.close_cause.as_deref().map(Named::parse),
        stream: stream(&row.stream),
        start,
        end,
        duration_ms: end.since(start).as_ms(),
        recorded_ms: row.recorded_ms,
        source: Origin {
            topic: source_topic.to_owned(),
            partition: row.source_partition,
            first_offset: row.first_offset,
            last_offset: row.last_offset,
        },
        watermark: time(id, "watermark", row.watermark_ms)?,
    })
}

/// Returns a file and its session.
///
/// # Errors
///
/// [`Error`] if somebody else wrote to the file.
pub fn to_recording(found: &Found, source_topic: &str) -> Result<answer::Recording, Error> {
    let (id, segment) = (&found.session.session.session_id, &found.segment);
    let (start, end) = (time(id, "segment start", segment.start_ms)?, time(id, "segment end", segment.end_ms)?);
    Ok(answer::Recording {
        file_id: segment.file_id.clone(),
        url: segment.url.clone(),
        format: segment.format.clone(),
        task_id: segment.task_id.clone(),
        template_id: segment.template_id.clone(),
        bitrate_kbps: segment.bitrate_kbps,
        start,
        end,
        duration_ms: end.since(start).as_ms(),
        media_ms: segment.media_ms,
        size_bytes: segment.size_bytes,
        anomalies: segment.anomalies.clone(),
        offset: segment.input_offset,
        session: to_summary(&found.session.session, source_topic)?,
        via: found.via.clone(),
    })
}

/// Returns a stream that has sessions.
///
/// # Errors
///
/// [`Error`] if somebody else wrote to the file.
pub fn to_stream(listed: &Listed) -> Result<answer::StreamListed, Error> {
    let last_start = listed.last_start_ms.map(|ms| time("of the stream's last", "start", ms)).transpose()?;
    Ok(answer::StreamListed { stream: stream(&listed.stream), last_start })
}

/// Makes a member of the core's kind, for what the core computes of members.
fn to_member(id: &str, segment: &rows::Segment) -> Result<Member, Error> {
    let new = NewSegment {
        file_id: &segment.file_id,
        start: time(id, "segment start", segment.start_ms)?,
        end: time(id, "segment end", segment.end_ms)?,
        url: segment.url.as_deref(),
        format: segment.format.as_deref(),
        task_id: segment.task_id.as_deref(),
        template_id: segment.template_id.as_deref(),
        bitrate_kbps: segment.bitrate_kbps,
        media_ms: segment.media_ms,
        size_bytes: segment.size_bytes,
        anomalies: segment.anomalies.iter().filter_map(|name| Anomaly::parse(name)).collect(),
    };
    Ok(Member::new(segment.input_offset, &new))
}

fn stream(row: &rows::Stream) -> Stream {
    let rows::Stream { key, app, appname, stream_id } = row.clone();
    Stream { key, app, appname, stream_id }
}

fn time(session_id: &str, what: &'static str, ms: i64) -> Result<Timestamp, Error> {
    Timestamp::from_ms(ms).ok_or_else(|| Error::Unreadable {
        session_id: session_id.to_owned(),
        what,
        found: ms.to_string(),
    })
}

fn session_id(of: &str, what: &'static str, text: &str) -> Result<SessionId, Error> {
    SessionId::parse(text).ok_or_else(|| Error::Unreadable { session_id: of.to_owned(), what, found: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use livesession_formats::session::{Source, decode, encode};
    use livesession_grouping::time::Millis;
    use livesession_grouping::{CloseCause, Head, Publication, session};
    use livesession_index as index;
    use livesession_index::{Reader, Writer};

    const TOPIC: &str = "recording-notifications";

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn publication(status: livesession_grouping::Status) -> Publication {
        let plain = NewSegment {
            file_id: "f",
            start: ms(1_000),
            end: ms(5_000),
            url: None,
            format: None,
            task_id: None,
            template_id: None,
            bitrate_kbps: None,
            media_ms: None,
            size_bytes: None,
            anomalies: Default::default(),
        };
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
        let withdrawn = status == livesession_grouping::Status::Withdrawn;
        Publication {
            stream: "push.example.com/a%2Fb/100%25".into(),
            head: Head {
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

    #[test]
    fn record_that_went_through_the_index_is_the_record_that_was_published() {
        let directory = std::env::temp_dir().join(format!("livesession-projection-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("index.db");
        let origin = index::Origin { topic: "live-sessions".to_owned(), source_topic: TOPIC.to_owned() };
        let mut writer = Writer::open(&path, &origin).unwrap();
        for status in [livesession_grouping::Status::Closed, livesession_grouping::Status::Withdrawn] {
            let mut bytes = Vec::new();
            encode(&publication(status), Source { topic: TOPIC, partition: 5 }, &mut bytes);
            let published = decode(&bytes).unwrap();
            assert_eq!(writer.apply(&[to_rows(&published)], &[]).unwrap().stored, 1);
            let mut reader = Reader::open(&path).unwrap();
            let view = reader.view().unwrap();
            let topic = view.source_topic().unwrap().unwrap();
            let summary = view.session(&published.session_id.to_string()).unwrap().unwrap();
            let back = to_record(&view.with_lists(summary).unwrap(), &topic).unwrap();
            assert_eq!(back, published);
            assert_eq!(serde_json::to_string(&back).unwrap(), String::from_utf8(bytes).unwrap());
        }
        drop(writer);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn row_that_somebody_edited_is_named() {
        let mut bytes = Vec::new();
        encode(&publication(livesession_grouping::Status::Closed), Source { topic: TOPIC, partition: 5 }, &mut bytes);
        let good = to_rows(&decode(&bytes).unwrap());
        let edits: [fn(&mut rows::Record); 4] = [
            |rows| rows.session.session_id = "x".to_owned(),
            |rows| rows.session.watermark_ms = -1,
            |rows| rows.segments[0].end_ms = i64::MAX,
            |rows| rows.session.merged_into = Some(String::new()),
        ];
        for edit in edits {
            let mut rows = good.clone();
            edit(&mut rows);
            assert!(to_record(&rows, TOPIC).is_err());
        }
        let mut odd = good;
        odd.session.status = "parked".to_owned();
        odd.session.close_cause = Some("boredom".to_owned());
        let read = to_record(&odd, TOPIC).unwrap();
        assert_eq!((read.status, read.close_cause), (Named::Other, Some(Named::Other)));
    }
}
