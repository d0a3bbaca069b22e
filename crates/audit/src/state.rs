//! The state of a partition as its changelog holds it, and what was last published of a session.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

use crate::record::{integer, list, optional_integer, text};
use crate::report::Place;

/// The settings under which a partition's state was made; spans in ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub only_stream_id: bool,
    pub gap: i64,
    pub recording_interval: i64,
    pub max_segment: i64,
    pub notification_delay: i64,
    pub allowed_lateness: i64,
    pub max_hold: i64,
    pub max_session_duration: i64,
    pub max_session_segments: usize,
    pub max_session_bytes: usize,
    /// Patterns of streams with a gap of their own; the first match counts.
    pub overrides: Vec<(String, i64)>,
}

impl Policy {
    pub fn read(value: &Value) -> Result<Policy, String> {
        let span = |name| integer(value, name);
        let size =
            |name| integer(value, name).and_then(|size| usize::try_from(size).map_err(|error| error.to_string()));
        let entry = |entry: &Value| {
            let pattern = entry[0].as_str().ok_or("an override without a pattern")?;
            Ok((pattern.to_owned(), entry[1].as_i64().ok_or("an override without a gap")?))
        };
        Ok(Policy {
            only_stream_id: text(value, "stream_key")? == "stream_id",
            gap: span("gap")?,
            recording_interval: span("recording_interval")?,
            max_segment: span("max_segment")?,
            notification_delay: span("grace")?,
            allowed_lateness: span("amend_window")?,
            max_hold: span("max_hold")?,
            max_session_duration: span("max_session_duration")?,
            max_session_segments: size("max_session_segments")?,
            max_session_bytes: size("max_session_bytes")?,
            overrides: list(value, "overrides")?.iter().map(entry).collect::<Result<_, String>>()?,
        })
    }

    pub fn gap_of(&self, stream: &str) -> i64 {
        let own = self.overrides.iter().find(|(pattern, _)| matches(pattern, stream));
        own.map_or(self.gap, |(_, gap)| *gap)
    }

    /// How long after end and gap a session is remembered.
    pub fn forget_after(&self) -> i64 {
        self.max_segment + self.allowed_lateness
    }

    /// How long after end and gap a session closes, if no hint says otherwise.
    pub fn close_after(&self) -> i64 {
        self.recording_interval + self.notification_delay
    }
}

/// Whether a pattern matches a text; `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let ends = (0..=rest.len()).filter(|at| rest.is_char_boundary(*at));
            ends.into_iter().any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[derive(Debug)]
pub struct Marker {
    pub next_offset: i64,
    pub watermark: Option<i64>,
    /// The watermark up to which everything that can be was forgotten.
    pub forgotten: Option<i64>,
    pub policy: Policy,
}

impl Marker {
    pub fn read(value: &Value) -> Result<Marker, String> {
        Ok(Marker {
            next_offset: integer(value, "next_offset")?,
            watermark: optional_integer(value, "watermark")?,
            forgotten: optional_integer(value, "forgotten")?,
            policy: Policy::read(&value["policy"])?,
        })
    }
}

/// The newest values of a partition, by key.
#[derive(Debug, Default)]
pub struct State {
    pub marker: Option<Marker>,
    /// Everything but the marker.
    pub values: BTreeMap<String, Vec<u8>>,
}

/// Segments that the state forgets together, not before the watermark is far enough beyond `end`.
pub struct Remembered {
    pub partition: i32,
    pub stream: u32,
    pub offsets: Vec<i64>,
    pub end: i64,
    /// For the sake of what ends here they may be kept for longer.
    pub last: i64,
}

/// What the newest revision of a session says.
#[derive(Debug)]
pub struct Session {
    pub stream: String,
    pub source_partition: i32,
    pub withdrawn: bool,
    pub merged_into: Option<String>,
    pub head: Head,
    /// Input offsets of the segments of the newest revision that had any, in the order of the record.
    pub members: Vec<i64>,
    /// Where the newest revision is.
    pub place: Place,
}

impl Session {
    /// Whether a limit cut it off, or off another.
    pub fn is_cut(&self) -> bool {
        self.head.continues.is_some() || self.head.close_cause.as_deref() == Some("limit")
    }
}

/// The numbers of a revision; times in ms.
#[derive(Clone, Debug)]
pub struct Head {
    pub revision: i64,
    pub start: i64,
    pub end: i64,
    pub recorded_ms: i64,
    pub first_offset: i64,
    pub last_offset: i64,
    pub watermark: i64,
    pub continues: Option<String>,
    pub close_cause: Option<String>,
}

/// A revision as it is in the record.
pub struct Revision {
    pub id: String,
    pub session: Session,
    /// Times in ms.
    pub gaps: Vec<(i64, i64)>,
}

/// Reads a time of the published form.
pub fn time(value: &Value, name: &str) -> Result<i64, String> {
    let text = text(value, name)?;
    DateTime::parse_from_rfc3339(&text).map(|time| time.timestamp_millis()).map_err(|error| format!("{name}: {error}"))
}
