//! Rows as plain values.
//!
//! Times are UTC milliseconds as they stand in the columns. Status, cause and anomalies are texts and not enums: the
//! contract of the output topic lets values be added, and an index must not refuse a record for a word that it only
//! hands on.

/// The stream of a session: its key and the parts that the key was joined from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stream {
    pub key: String,
    pub app: String,
    pub appname: String,
    pub stream_id: String,
}

/// A session without its lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    pub session_id: String,
    pub revision: u32,
    pub status: String,
    /// The survivor of a withdrawn session; it may be withdrawn in turn.
    pub merged_into: Option<String>,
    pub continues: Option<String>,
    pub close_cause: Option<String>,
    pub stream: Stream,
    pub start_ms: i64,
    /// Exclusive; not before `start_ms`.
    pub end_ms: i64,
    /// A union, not a sum.
    pub recorded_ms: i64,
    pub source_partition: i32,
    pub first_offset: i64,
    pub last_offset: i64,
    pub watermark_ms: i64,
}

impl Session {
    pub fn is_withdrawn(&self) -> bool {
        self.status == super::WITHDRAWN
    }

    pub fn duration_ms(&self) -> i64 {
        self.end_ms.saturating_sub(self.start_ms)
    }
}

/// A recorded file of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub file_id: String,
    pub url: Option<String>,
    pub format: Option<String>,
    pub task_id: Option<String>,
    pub template_id: Option<String>,
    /// 0 is the original.
    pub bitrate_kbps: Option<i64>,
    pub start_ms: i64,
    pub end_ms: i64,
    pub media_ms: Option<i64>,
    pub size_bytes: Option<i64>,
    pub anomalies: Vec<String>,
    pub input_offset: i64,
}

/// A silence inside a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    pub start_ms: i64,
    pub end_ms: i64,
}

/// A session with its lists; both are empty if it is withdrawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub session: Session,
    /// By start, end, file id.
    pub segments: Vec<Segment>,
    /// In time order.
    pub gaps: Vec<Gap>,
}
