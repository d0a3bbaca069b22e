//! Records of the changelog: the state of a partition, as keys and JSON values that an operator can read with `kcat`.
//!
//! | key | value |
//! | --- | --- |
//! | `b/<offset>` | a *batch*: the segments that one transaction accepted, named by the input offset of the first |
//! | `p/<session id>` | what was last published of a session, without its lists |
//! | `h/<stream key>` | the hint state of a stream |
//! | `m` | the marker: next offset, watermark, policy; one per transaction |
//!
//! A null value deletes. Times are UTC milliseconds. Every value has a `version`; a newer one than [`VERSION`] stops the
//! worker: to write on what it does not understand would lose state.
//!
//! Batches are arrays over a table of streams, because they are most of the changelog: a segment costs its texts and
//! about 60 bytes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use livesession_grouping::time::Timestamp;
use livesession_grouping::{Clock, Offset, Push, Pushes, SavedSession, SessionId, Settings};

mod batch;
mod reduce;
mod value;

pub use batch::{MAX_BATCH_BYTES, encode_batches};
pub use reduce::{Reduced, Reducer};
use value::to_bytes;

/// The version of the values written here.
pub const VERSION: u32 = 1;

/// A record of the changelog: a key, and a value or a deletion.
pub type Record = (String, Option<Vec<u8>>);

/// The marker: how far the state goes, and under which rules it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The next input offset; equals the group's committed offset.
    pub next_offset: Offset,
    pub clock: Option<Clock>,
    /// The watermark under which forgetting was last completed.
    pub forgotten: Option<Timestamp>,
    pub settings: Settings,
    /// Which parts of a notification name its stream.
    pub stream_key: String,
}

/// Why a changelog record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("changelog record `{key}` has version {version}, this program knows up to {VERSION}: run a newer one")]
    Newer { key: String, version: u32 },
    #[error("cannot read changelog record `{key}`")]
    Unreadable { key: String, source: serde_json::Error },
    #[error("changelog record `{key}` is out of range: {what}")]
    OutOfRange { key: String, what: &'static str },
    #[error("changelog record has an unknown key of {length} bytes")]
    UnknownKey { length: usize },
}

/// Returns the key of the batch whose first segment has that input offset.
pub fn batch_key(first: Offset) -> String {
    format!("b/{first}")
}

/// Returns the key of what was published of a session.
pub fn published_key(session_id: SessionId) -> String {
    format!("p/{session_id}")
}

/// Returns the key of the hint state of a stream.
pub fn hints_key(stream: &str) -> String {
    format!("h/{stream}")
}

/// The key of the marker.
pub const MARKER_KEY: &str = "m";

#[derive(Serialize, Deserialize)]
struct PublishedValue<'a> {
    version: u32,
    stream: Cow<'a, str>,
    revision: u32,
    continues: Option<String>,
    close_cause: Option<Cow<'a, str>>,
    start: i64,
    end: i64,
    recorded_ms: i64,
    first_offset: Offset,
    last_offset: Offset,
    watermark: i64,
    seed_offset: Offset,
    segments: u32,
    frozen_at: Option<Offset>,
}

/// Writes what was published of a session.
pub fn encode_published(saved: &SavedSession) -> Record {
    let summary = &saved.last_published;
    let value = PublishedValue {
        version: VERSION,
        stream: Cow::Borrowed(&saved.stream),
        revision: summary.revision,
        continues: summary.continues.map(|id| id.to_string()),
        close_cause: summary.close_cause.map(|cause| Cow::Borrowed(cause.as_str())),
        start: summary.start.as_ms(),
        end: summary.end.as_ms(),
        recorded_ms: summary.recorded.as_ms(),
        first_offset: summary.first_offset,
        last_offset: summary.last_offset,
        watermark: summary.watermark.as_ms(),
        seed_offset: summary.seed_offset,
        segments: summary.segments,
        frozen_at: saved.frozen_at,
    };
    (published_key(summary.session_id), Some(to_bytes(&value)))
}

#[derive(Serialize, Deserialize)]
struct HintsValue {
    version: u32,
    /// Push id, start, end.
    pushes: Vec<(Option<String>, Option<i64>, Option<i64>)>,
    start_seen: bool,
    ended: Option<i64>,
    last_hint: i64,
}

/// Writes the hint state of a stream.
pub fn encode_hints(stream: &str, hints: &Pushes) -> Record {
    let ms = |time: Option<Timestamp>| time.map(Timestamp::as_ms);
    let row = |push: &Push| (push.id.as_deref().map(str::to_owned), ms(push.start), ms(push.end));
    let value = HintsValue {
        version: VERSION,
        pushes: hints.pushes.iter().map(row).collect(),
        start_seen: hints.start_seen,
        ended: ms(hints.ended),
        last_hint: hints.last_hint.as_ms(),
    };
    (hints_key(stream), Some(to_bytes(&value)))
}

#[derive(Serialize, Deserialize)]
struct MarkerValue {
    version: u32,
    next_offset: Offset,
    watermark: Option<i64>,
    at: Option<i64>,
    forgotten: Option<i64>,
    policy: PolicyValue,
}

/// Spans in milliseconds. Version 1 of the changelog keeps the names that these settings had when it was defined.
#[derive(Serialize, Deserialize)]
struct PolicyValue {
    stream_key: String,
    gap: i64,
    recording_interval: i64,
    max_segment: i64,
    #[serde(rename = "grace")]
    notification_delay: i64,
    #[serde(rename = "amend_window")]
    allowed_lateness: i64,
    max_hold: i64,
    max_session_duration: i64,
    max_session_segments: u32,
    max_session_bytes: u64,
    overrides: Vec<(String, i64)>,
}

/// Writes the marker.
pub fn encode_marker(marker: &Marker) -> Record {
    let settings = &marker.settings;
    let value = MarkerValue {
        version: VERSION,
        next_offset: marker.next_offset,
        watermark: marker.clock.map(|clock| clock.watermark.as_ms()),
        at: marker.clock.map(|clock| clock.at.as_ms()),
        forgotten: marker.forgotten.map(Timestamp::as_ms),
        policy: PolicyValue {
            stream_key: marker.stream_key.clone(),
            gap: settings.gap.as_ms(),
            recording_interval: settings.recording_interval.as_ms(),
            max_segment: settings.max_segment.as_ms(),
            notification_delay: settings.notification_delay.as_ms(),
            allowed_lateness: settings.allowed_lateness.as_ms(),
            max_hold: settings.max_hold.as_ms(),
            max_session_duration: settings.max_session_duration.as_ms(),
            max_session_segments: settings.max_session_segments,
            max_session_bytes: settings.max_session_bytes,
            overrides: settings.overrides.iter().map(|entry| (entry.streams.clone(), entry.gap.as_ms())).collect(),
        },
    };
    (MARKER_KEY.to_owned(), Some(to_bytes(&value)))
}
