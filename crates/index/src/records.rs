//! Session records as rows: which column holds which field, in both directions.
//!
//! Columns that follow from others are not stored and are computed again: renditions from the segments, durations from
//! the times, the source topic from the file's origin.
//!
//! # Invariants
//!
//! * A record that went through the index is the record that was published, field for field. Only a word for a status or a
//!   cause that this version does not know comes back as `other`, as it does without an index.

use std::borrow::Cow;
use std::fmt::Display;

use livesession_formats::named::Named;
use livesession_formats::session::record::{Gap, Rendition, Segment, SourceRange, Stream, VERSION};
use livesession_formats::session::{Recording, SessionRecord, StreamListed, Summary};
use livesession_grouping::session::{RecordedFile, renditions};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{Interval, SessionId};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{OptionalExtension, Row, Statement, params};

use super::error::Unreadable;

/// A session of the index, without its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub session_no: i64,
    /// The number of the change that wrote the row.
    pub change: i64,
    pub summary: Summary,
}

/// The columns of an [`Entry`], of `session s JOIN stream t`.
pub(super) const ENTRY: &str =
    "s.session_no, s.session_id, s.revision, s.status, s.merged_into, s.continues, s.close_cause,
  t.key, t.app, t.appname, t.stream_id, s.start_ms, s.end_ms, s.recorded_ms, s.source_partition, s.first_offset,
  s.last_offset, s.watermark_ms, s.change";

/// The number of columns in [`ENTRY`].
pub(super) const ENTRY_COLUMNS: usize = 19;

/// The columns of a segment, of `segment g`.
pub(super) const SEGMENT: &str =
    "g.file_id, g.url, g.format, g.task_id, g.template_id, g.bitrate_kbps, g.start_ms, g.end_ms,
  g.media_ms, g.size_bytes, g.anomalies, g.input_offset";

pub(super) const INSERT_SESSION: &str =
    "INSERT INTO session (session_id, revision, status, merged_into, continues, close_cause, stream_key,
       start_ms, end_ms, recorded_ms, source_partition, first_offset, last_offset, watermark_ms, change)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
     ON CONFLICT (session_id) DO NOTHING RETURNING session_no";

pub(super) const UPDATE_SESSION: &str =
    "UPDATE session SET revision = ?2, status = ?3, merged_into = ?4, continues = ?5, close_cause = ?6,
       stream_key = ?7, start_ms = ?8, end_ms = ?9, recorded_ms = ?10, source_partition = ?11,
       first_offset = ?12, last_offset = ?13, watermark_ms = ?14, change = ?15
     WHERE session_id = ?1 AND revision < ?2 RETURNING session_no";

pub(super) const INSERT_SEGMENT: &str =
    "INSERT INTO segment (session_no, seq, file_id, url, format, task_id, template_id, bitrate_kbps, start_ms,
       end_ms, media_ms, size_bytes, anomalies, input_offset)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Inserts or updates a session row; returns its number, `None` if there was nothing to insert or to update.
pub(super) fn write_session(
    statement: &mut Statement<'_>,
    record: &SessionRecord,
    change: i64,
) -> rusqlite::Result<Option<i64>> {
    let text = |id: SessionId| id.to_string();
    statement
        .query_row(
            params![
                text(record.session_id),
                record.revision,
                record.status.as_str(),
                record.merged_into.map(text),
                record.continues.map(text),
                record.close_cause.map(Named::as_str),
                record.stream.key,
                record.start.as_ms(),
                record.end.as_ms(),
                record.recorded_ms,
                record.source.partition,
                record.source.first_offset,
                record.source.last_offset,
                record.watermark.as_ms(),
                change
            ],
            |row| row.get(0),
        )
        .optional()
}

/// Inserts a segment; template and bitrate are those of its rendition.
pub(super) fn write_segment(
    statement: &mut Statement<'_>,
    (session_no, seq): (i64, i64),
    segment: &Segment,
    rendition: Option<&Rendition>,
) -> rusqlite::Result<()> {
    statement.execute(params![
        session_no,
        seq,
        segment.file_id,
        segment.url,
        segment.format,
        segment.task_id,
        rendition.and_then(|rendition| rendition.template_id.as_deref()),
        rendition.and_then(|rendition| rendition.bitrate_kbps),
        segment.start.as_ms(),
        segment.end.as_ms(),
        segment.media_ms,
        segment.size_bytes,
        json_array(&segment.anomalies)?,
        segment.offset
    ])?;
    Ok(())
}

/// Writes texts as a JSON array.
fn json_array(texts: &[String]) -> rusqlite::Result<Cow<'static, str>> {
    // Nearly all segments have none.
    if texts.is_empty() {
        return Ok("[]".into());
    }
    let json = serde_json::to_string(texts).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    Ok(json.into())
}

/// Reads [`ENTRY`].
pub(super) fn read_entry(row: &Row<'_>, source_topic: &str) -> rusqlite::Result<Entry> {
    let session_id: String = row.get(1)?;
    let columns = Columns { row, of: &session_id };
    let (start, end) = (columns.time(11)?, columns.time(12)?);
    let summary = Summary {
        version: VERSION,
        session_id: columns.id(1)?,
        revision: row.get(2)?,
        status: columns.read(3, |name| Some(Named::parse(name)))?,
        merged_into: columns.optional(4, SessionId::parse)?,
        continues: columns.optional(5, SessionId::parse)?,
        close_cause: columns.optional(6, |name| Some(Named::parse(name)))?,
        stream: Stream { key: row.get(7)?, app: row.get(8)?, appname: row.get(9)?, stream_id: row.get(10)? },
        start,
        end,
        duration_ms: end.since(start).as_ms(),
        recorded_ms: row.get(13)?,
        source: SourceRange {
            topic: source_topic.to_owned(),
            partition: row.get(14)?,
            first_offset: row.get(15)?,
            last_offset: row.get(16)?,
        },
        watermark: columns.time(17)?,
    };
    Ok(Entry { session_no: row.get(0)?, change: row.get(18)?, summary })
}

/// A segment whose rendition is known by its attributes, and not yet by its number.
pub(super) struct File {
    segment: Segment,
    template_id: Option<String>,
    bitrate_kbps: Option<i64>,
}

impl RecordedFile for File {
    fn kind(&self) -> (Option<&str>, Option<&str>, Option<i64>) {
        (self.segment.format.as_deref(), self.template_id.as_deref(), self.bitrate_kbps)
    }

    fn interval(&self) -> Interval {
        Interval { start: self.segment.start, end: self.segment.end }
    }

    fn size_bytes(&self) -> Option<i64> {
        self.segment.size_bytes
    }
}

impl File {
    /// Returns the file with its session, and the withdrawn sessions that led to that.
    pub(super) fn into_recording(self, session: Summary, via: Vec<String>) -> Recording {
        Recording::new(self.segment, self.template_id, self.bitrate_kbps, session, via)
    }
}

/// Reads [`SEGMENT`], of which the first column is `first`; an error names the session `of`.
pub(super) fn read_file(row: &Row<'_>, first: usize, of: &dyn Display) -> rusqlite::Result<File> {
    let columns = Columns { row, of };
    let (start, end) = (columns.time(first + 6)?, columns.time(first + 7)?);
    Ok(File {
        segment: Segment {
            file_id: row.get(first)?,
            url: row.get(first + 1)?,
            format: row.get(first + 2)?,
            task_id: row.get(first + 3)?,
            // Given when all files of the session are known.
            rendition: 0,
            start,
            end,
            duration_ms: end.since(start).as_ms(),
            media_ms: row.get(first + 8)?,
            size_bytes: row.get(first + 9)?,
            anomalies: columns.read(first + 10, |json| serde_json::from_str(json).ok())?,
            offset: row.get(first + 11)?,
        },
        template_id: row.get(first + 4)?,
        bitrate_kbps: row.get(first + 5)?,
    })
}

/// Returns the renditions of a session's files, and the files as segments of these.
pub(super) fn lists(files: Vec<File>) -> (Vec<Rendition>, Vec<Segment>) {
    let (kinds, rendition_of) = renditions(&files);
    let kinds = kinds.iter().map(Rendition::from).collect();
    let segment = |(file, rendition): (File, usize)| Segment { rendition, ..file.segment };
    (kinds, files.into_iter().zip(rendition_of).map(segment).collect())
}

/// Reads start and end of a gap; an error names the session `of`.
pub(super) fn read_gap(row: &Row<'_>, of: &dyn Display) -> rusqlite::Result<Gap> {
    let columns = Columns { row, of };
    Ok(Gap::new(columns.time(0)?, columns.time(1)?))
}

/// Reads a stream and the start of its last session.
pub(super) fn read_stream(row: &Row<'_>) -> rusqlite::Result<StreamListed> {
    let stream = Stream { key: row.get(0)?, app: row.get(1)?, appname: row.get(2)?, stream_id: row.get(3)? };
    let columns = Columns { row, of: &stream.key };
    let last_start = if row.get_ref(4)? == ValueRef::Null { None } else { Some(columns.time(4)?) };
    Ok(StreamListed { stream, last_start })
}

/// Columns that hold more than SQLite knows of them.
struct Columns<'a> {
    row: &'a Row<'a>,
    /// The session or stream that an unreadable column is reported with.
    of: &'a dyn Display,
}

impl Columns<'_> {
    fn time(&self, column: usize) -> rusqlite::Result<Timestamp> {
        let ms: i64 = self.row.get(column)?;
        Timestamp::from_ms(ms).ok_or_else(|| self.unreadable(column, &ms))
    }

    fn id(&self, column: usize) -> rusqlite::Result<SessionId> {
        self.read(column, SessionId::parse)
    }

    fn read<T>(&self, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
        let text = self.row.get_ref(column)?.as_str()?;
        parse(text).ok_or_else(|| self.unreadable(column, &text))
    }

    fn optional<T>(&self, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
        if self.row.get_ref(column)? == ValueRef::Null { Ok(None) } else { self.read(column, parse).map(Some) }
    }

    fn unreadable(&self, column: usize, found: &dyn Display) -> rusqlite::Error {
        let name = self.row.as_ref().column_name(column).unwrap_or_default().to_owned();
        let unreadable = Unreadable { column: name, of: self.of.to_string(), found: found.to_string() };
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(unreadable))
    }
}
