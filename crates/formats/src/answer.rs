//! What the index answers, as JSON: for `sessions`, `recordings` and the HTTP side alike.
//!
//! A whole session is given as it was published ([`SessionRecord`](super::session::SessionRecord)); here is what is
//! shorter than that, or is about more than one. Field names and forms are those of the output topic, so that a reader of
//! one can read the other.

use serde::{Serialize, Serializer};

use super::named::Named;
use super::session::record::{Origin, Stream};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{CloseCause, SessionId, Status};

/// A session without its lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub version: u32,
    #[serde(serialize_with = "text")]
    pub session_id: SessionId,
    pub revision: u32,
    pub status: Named<Status>,
    #[serde(serialize_with = "optional_text")]
    pub merged_into: Option<SessionId>,
    #[serde(serialize_with = "optional_text")]
    pub continues: Option<SessionId>,
    pub close_cause: Option<Named<CloseCause>>,
    pub stream: Stream,
    #[serde(serialize_with = "text")]
    pub start: Timestamp,
    /// Exclusive.
    #[serde(serialize_with = "text")]
    pub end: Timestamp,
    pub duration_ms: i64,
    pub recorded_ms: i64,
    pub source: Origin,
    #[serde(serialize_with = "text")]
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
    #[serde(serialize_with = "text")]
    pub start: Timestamp,
    /// Exclusive.
    #[serde(serialize_with = "text")]
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
    #[serde(serialize_with = "optional_text")]
    pub last_start: Option<Timestamp>,
}

fn text<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn optional_text<T: std::fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
