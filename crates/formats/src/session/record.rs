//! A session record as its readers get it: owned, typed, and tolerant of what they do not know.
//!
//! Read by the indexer, `sessions`, the HTTP side and tests. The rules for every reader of the topic hold here too:
//! unknown fields are ignored and unknown names become [`Named::Other`], because version 1 only gains. What a reader would
//! fall over is refused instead: another version, an end before its start, a rendition that is not in the list.
//!
//! [`SessionRecord`] also serializes, in the order of the schema: a record read from the topic is given to users in the
//! same form, and text equality with [`super::encode`], which shares no code with it, is a test.

use serde::{Deserialize, Serialize};

use crate::named::Named;
use crate::notification::split_stream_key;
use livesession_grouping::session::{self, renditions};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{CloseCause, Publication, SessionId, Status};

/// The version that this program writes and reads.
pub const VERSION: u32 = 1;

/// Why a value cannot be read as a session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Written by a newer program: stop, rather than show half of it.
    #[error("cannot read session record of version {found}, only of version {VERSION}")]
    Version { found: u64 },

    #[error("cannot read session record of {bytes} bytes")]
    Unreadable {
        bytes: usize,
        #[source]
        source: serde_json::Error,
    },

    /// It can be read, but what it says cannot be.
    #[error("cannot use session record {session_id} revision {revision}: {problem}")]
    Inconsistent { session_id: SessionId, revision: u32, problem: &'static str },
}

/// A record of the output topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    pub version: u32,
    #[serde(with = "id")]
    pub session_id: SessionId,
    pub revision: u32,
    pub status: Named<Status>,
    /// The survivor, if withdrawn.
    #[serde(with = "optional_id")]
    pub merged_into: Option<SessionId>,
    /// The frozen session before it, which a limit cut off.
    #[serde(with = "optional_id")]
    pub continues: Option<SessionId>,
    pub close_cause: Option<Named<CloseCause>>,
    pub stream: Stream,
    #[serde(with = "time")]
    pub start: Timestamp,
    /// Exclusive.
    #[serde(with = "time")]
    pub end: Timestamp,
    pub duration_ms: i64,
    /// The union of the segments, not their sum.
    pub recorded_ms: i64,
    pub gaps: Vec<Gap>,
    pub renditions: Vec<Rendition>,
    /// By start, end, file id.
    pub segments: Vec<Segment>,
    pub source: SourceRange,
    #[serde(with = "time")]
    pub watermark: Timestamp,
}

/// What was recorded; absent parts are empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    pub key: String,
    pub app: String,
    pub appname: String,
    pub stream_id: String,
}

/// A silence inside a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    #[serde(with = "time")]
    pub start: Timestamp,
    /// Exclusive.
    #[serde(with = "time")]
    pub end: Timestamp,
    pub duration_ms: i64,
}

/// One kind of file of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendition {
    pub format: Option<String>,
    pub template_id: Option<String>,
    /// 0 is the original.
    pub bitrate_kbps: Option<i64>,
    pub segments: u32,
    /// The union of its segments.
    pub recorded_ms: i64,
    /// `None` if the size of any is unknown.
    pub size_bytes: Option<i64>,
}

/// One recorded file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub file_id: String,
    pub url: Option<String>,
    pub format: Option<String>,
    pub task_id: Option<String>,
    /// Index into [`SessionRecord::renditions`]; [`decode`] has checked it.
    pub rendition: usize,
    #[serde(with = "time")]
    pub start: Timestamp,
    /// Exclusive.
    #[serde(with = "time")]
    pub end: Timestamp,
    pub duration_ms: i64,
    /// The notification's `duration`; never used for gaps.
    pub media_ms: Option<i64>,
    pub size_bytes: Option<i64>,
    /// Codes as they are written: a reader passes on also those that it does not know.
    pub anomalies: Vec<String>,
    /// In the input partition.
    pub offset: i64,
}

/// The input partition that a session's segments came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    pub topic: &'a str,
    pub partition: i32,
}

/// The input records that a session's segments came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRange {
    pub topic: String,
    pub partition: i32,
    pub first_offset: i64,
    /// Inclusive: the offset of the member that was read last.
    pub last_offset: i64,
}

/// A session without its lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub version: u32,
    #[serde(with = "id")]
    pub session_id: SessionId,
    pub revision: u32,
    pub status: Named<Status>,
    #[serde(with = "optional_id")]
    pub merged_into: Option<SessionId>,
    #[serde(with = "optional_id")]
    pub continues: Option<SessionId>,
    pub close_cause: Option<Named<CloseCause>>,
    pub stream: Stream,
    #[serde(with = "time")]
    pub start: Timestamp,
    /// Exclusive.
    #[serde(with = "time")]
    pub end: Timestamp,
    pub duration_ms: i64,
    pub recorded_ms: i64,
    pub source: SourceRange,
    #[serde(with = "time")]
    pub watermark: Timestamp,
}

/// A file and the session that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recording {
    pub file_id: String,
    pub url: Option<String>,
    pub format: Option<String>,
    pub task_id: Option<String>,
    pub template_id: Option<String>,
    /// 0 is the original.
    pub bitrate_kbps: Option<i64>,
    #[serde(with = "time")]
    pub start: Timestamp,
    /// Exclusive.
    #[serde(with = "time")]
    pub end: Timestamp,
    pub duration_ms: i64,
    pub media_ms: Option<i64>,
    pub size_bytes: Option<i64>,
    pub anomalies: Vec<String>,
    pub offset: i64,
    /// Withdrawn only if its survivor is not known yet.
    pub session: Summary,
    /// The withdrawn sessions that led to it.
    pub via: Vec<String>,
}

/// A stream that has sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamListed {
    #[serde(flatten)]
    pub stream: Stream,
    /// The start of its last session.
    #[serde(serialize_with = "time::serialize_optional")]
    pub last_start: Option<Timestamp>,
}

/// Reads the value of a session record.
///
/// # Errors
///
/// [`Error`]; the record was not written by this program, or by a newer one.
pub fn decode(value: &[u8]) -> Result<SessionRecord, Error> {
    #[derive(Deserialize)]
    struct OnlyVersion {
        version: u64,
    }

    let record: SessionRecord = match serde_json::from_slice(value) {
        Ok(record) => record,
        // A newer version may look quite different: then that is the reason worth telling.
        Err(source) => match serde_json::from_slice(value) {
            Ok(OnlyVersion { version: found }) if found != u64::from(VERSION) => return Err(Error::Version { found }),
            _ => return Err(Error::Unreadable { bytes: value.len(), source }),
        },
    };
    if record.version != VERSION {
        return Err(Error::Version { found: u64::from(record.version) });
    }
    match record.problem() {
        Some(problem) => Err(Error::Inconsistent { session_id: record.session_id, revision: record.revision, problem }),
        None => Ok(record),
    }
}

impl SessionRecord {
    /// Returns the record that publishing `publication` writes, as a reader of the topic gets it.
    pub fn from_publication(publication: &Publication, source: Source<'_>) -> SessionRecord {
        let Publication { stream, summary, status, merged_into, gaps, segments, .. } = publication;
        let (renditions, rendition_of) = renditions(segments);
        SessionRecord {
            version: VERSION,
            session_id: summary.session_id,
            revision: summary.revision,
            status: Named::Known(*status),
            merged_into: *merged_into,
            continues: summary.continues,
            close_cause: summary.close_cause.map(Named::Known),
            stream: Stream::from_key(stream),
            start: summary.start,
            end: summary.end,
            duration_ms: summary.end.since(summary.start).as_ms(),
            recorded_ms: summary.recorded.as_ms(),
            gaps: gaps.iter().map(|gap| Gap::new(gap.start, gap.end)).collect(),
            renditions: renditions.iter().map(Rendition::from).collect(),
            segments: segments
                .iter()
                .zip(rendition_of)
                .map(|(segment, rendition)| Segment::new(segment, rendition))
                .collect(),
            source: SourceRange {
                topic: source.topic.to_owned(),
                partition: source.partition,
                first_offset: summary.first_offset,
                last_offset: summary.last_offset,
            },
            watermark: summary.watermark,
        }
    }

    /// Returns what a reader would fall over, if anything.
    fn problem(&self) -> Option<&'static str> {
        if self.end < self.start {
            return Some("it ends before it starts");
        }
        if self.gaps.iter().any(|gap| gap.end < gap.start) {
            return Some("a gap ends before it starts");
        }
        if self.segments.iter().any(|segment| segment.end < segment.start) {
            return Some("a segment ends before it starts");
        }
        if self.segments.iter().any(|segment| segment.rendition >= self.renditions.len()) {
            return Some("a segment has a rendition that is not listed");
        }
        None
    }
}

impl Summary {
    /// Returns the whole session.
    pub fn with_lists(self, gaps: Vec<Gap>, renditions: Vec<Rendition>, segments: Vec<Segment>) -> SessionRecord {
        SessionRecord {
            version: self.version,
            session_id: self.session_id,
            revision: self.revision,
            status: self.status,
            merged_into: self.merged_into,
            continues: self.continues,
            close_cause: self.close_cause,
            stream: self.stream,
            start: self.start,
            end: self.end,
            duration_ms: self.duration_ms,
            recorded_ms: self.recorded_ms,
            gaps,
            renditions,
            segments,
            source: self.source,
            watermark: self.watermark,
        }
    }
}

impl Recording {
    /// Returns a segment of `session`, with the attributes of its rendition in the place of the rendition's number.
    pub fn new(
        segment: Segment,
        template_id: Option<String>,
        bitrate_kbps: Option<i64>,
        session: Summary,
        via: Vec<String>,
    ) -> Recording {
        Recording {
            file_id: segment.file_id,
            url: segment.url,
            format: segment.format,
            task_id: segment.task_id,
            template_id,
            bitrate_kbps,
            start: segment.start,
            end: segment.end,
            duration_ms: segment.duration_ms,
            media_ms: segment.media_ms,
            size_bytes: segment.size_bytes,
            anomalies: segment.anomalies,
            offset: segment.offset,
            session,
            via,
        }
    }
}

impl Stream {
    /// Splits a stream key into its parts.
    pub fn from_key(key: &str) -> Stream {
        let (app, appname, stream_id) = split_stream_key(key);
        Stream {
            key: key.to_owned(),
            app: app.into_owned(),
            appname: appname.into_owned(),
            stream_id: stream_id.into_owned(),
        }
    }
}

impl Gap {
    pub fn new(start: Timestamp, end: Timestamp) -> Gap {
        Gap { start, end, duration_ms: end.since(start).as_ms() }
    }
}

impl From<&session::Rendition<'_>> for Rendition {
    fn from(rendition: &session::Rendition<'_>) -> Rendition {
        Rendition {
            format: rendition.format.map(str::to_owned),
            template_id: rendition.template_id.map(str::to_owned),
            bitrate_kbps: rendition.bitrate_kbps,
            segments: rendition.segments,
            recorded_ms: rendition.recorded.as_ms(),
            size_bytes: rendition.size_bytes,
        }
    }
}

impl Segment {
    fn new(segment: &livesession_grouping::Segment, rendition: usize) -> Segment {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Segment {
            file_id: segment.file_id().to_owned(),
            url: owned(segment.url()),
            format: owned(segment.format()),
            task_id: owned(segment.task_id()),
            rendition,
            start: segment.start(),
            end: segment.end(),
            duration_ms: segment.end().since(segment.start()).as_ms(),
            media_ms: segment.media_ms(),
            size_bytes: segment.size_bytes(),
            anomalies: segment.anomalies().iter().map(|anomaly| anomaly.as_str().to_owned()).collect(),
            offset: segment.offset(),
        }
    }
}

/// Timestamps as text.
mod time {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use livesession_grouping::time::Timestamp;

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub fn serialize_optional<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::time::parse_timestamp(&text)
            .ok_or_else(|| D::Error::custom("not an RFC 3339 time in the years 1970 to 9999"))
    }
}

/// Session ids as text.
mod id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use livesession_grouping::SessionId;

    pub fn serialize<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
        let text = String::deserialize(deserializer)?;
        SessionId::parse(&text).ok_or_else(|| D::Error::custom("not a session id"))
    }
}

/// Session ids that may be null.
mod optional_id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use livesession_grouping::SessionId;

    pub fn serialize<S: Serializer>(id: &Option<SessionId>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.collect_str(id),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SessionId>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        SessionId::parse(&text).map(Some).ok_or_else(|| D::Error::custom("not a session id"))
    }
}
