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
use livesession_grouping::time::Timestamp;
use livesession_grouping::{CloseCause, SessionId, Status};

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
    pub source: Origin,
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

/// Where a session's segments came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
    pub first_offset: i64,
    /// Inclusive: the offset of the member that was read last.
    pub last_offset: i64,
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

/// Timestamps as text.
mod time {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use livesession_grouping::time::Timestamp;

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
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
