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
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use crate::grouping::policy::Override;
use crate::grouping::{
    Anomaly, Cause, Clock, Head, NewSegment, Offset, Push, Pushes, Saved, SavedHead, Segment, SessionId, Settings,
};
use crate::time::{Millis, Timestamp};

/// The version of the values written here.
pub const VERSION: u32 = 1;

/// A batch that would be longer is cut in two.
pub const MAX_BATCH_BYTES: usize = 256 * 1_024;

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

/// Writes accepted segments as batches, and returns for each its record, first offset and number of segments.
pub fn encode_batches<'a>(
    accepted: impl IntoIterator<Item = &'a (Arc<str>, Arc<Segment>)>,
) -> Vec<(Record, Offset, u32)> {
    let mut batches = Vec::new();
    let mut batch = Batch::default();
    for (stream, segment) in accepted {
        if batch.count > 0 && batch.bytes() + segment.text_bytes() as usize + stream.len() > MAX_BATCH_BYTES {
            batches.extend(std::mem::take(&mut batch).finish());
        }
        batch.add(stream, segment);
    }
    batches.extend(batch.finish());
    batches
}

/// A batch in the making.
#[derive(Default)]
struct Batch {
    first: Offset,
    count: u32,
    streams: BTreeMap<Arc<str>, usize>,
    stream_table: Vec<u8>,
    rows: Vec<u8>,
}

impl Batch {
    fn bytes(&self) -> usize {
        self.stream_table.len() + self.rows.len() + 128
    }

    fn add(&mut self, stream: &Arc<str>, segment: &Segment) {
        let next = self.streams.len();
        let index = *self.streams.entry(Arc::clone(stream)).or_insert_with(|| {
            if next > 0 {
                self.stream_table.push(b',');
            }
            write_json(&mut self.stream_table, &**stream);
            next
        });
        if self.count == 0 {
            self.first = segment.offset();
        } else {
            self.rows.push(b',');
        }
        self.count += 1;
        let view = segment.view();
        let anomalies: Vec<&str> = view.anomalies.iter().map(Anomaly::as_str).collect();
        let row = (
            (index, segment.offset(), view.start.as_ms(), view.end.as_ms()),
            (view.file_id, view.url, view.format, view.task_id, view.template_id),
            (view.bitrate_kbps, view.media_ms, view.size_bytes, anomalies),
        );
        write_json(&mut self.rows, &row);
    }

    fn finish(self) -> Option<(Record, Offset, u32)> {
        if self.count == 0 {
            return None;
        }
        let mut value = format!("{{\"version\":{VERSION},\"streams\":[").into_bytes();
        value.extend_from_slice(&self.stream_table);
        value.extend_from_slice(b"],\"segments\":[");
        value.extend_from_slice(&self.rows);
        value.extend_from_slice(b"]}");
        Some(((batch_key(self.first), Some(value)), self.first, self.count))
    }
}

/// Appends a value as JSON. Writing numbers and texts to memory cannot fail.
fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "numbers, texts and lists of them can be written");
}

/// Returns the key of the batch whose first segment has that input offset.
pub fn batch_key(first: Offset) -> String {
    format!("b/{first}")
}

/// Returns the key of what was published of a session.
pub fn head_key(session_id: SessionId) -> String {
    format!("p/{session_id}")
}

/// Returns the key of the hint state of a stream.
pub fn hints_key(stream: &str) -> String {
    format!("h/{stream}")
}

/// The key of the marker.
pub const MARKER_KEY: &str = "m";

#[derive(Serialize, DeriveDeserialize)]
struct HeadValue<'a> {
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
pub fn encode_head(saved: &SavedHead) -> Record {
    let head = &saved.head;
    let value = HeadValue {
        version: VERSION,
        stream: Cow::Borrowed(&saved.stream),
        revision: head.revision,
        continues: head.continues.map(|id| id.to_string()),
        close_cause: head.close_cause.map(|cause| Cow::Borrowed(cause.as_str())),
        start: head.start.as_ms(),
        end: head.end.as_ms(),
        recorded_ms: head.recorded.as_ms(),
        first_offset: head.first_offset,
        last_offset: head.last_offset,
        watermark: head.watermark.as_ms(),
        seed_offset: head.seed_offset,
        segments: head.segments,
        frozen_at: saved.frozen_at,
    };
    (head_key(head.session_id), Some(to_bytes(&value)))
}

#[derive(Serialize, DeriveDeserialize)]
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

#[derive(Serialize, DeriveDeserialize)]
struct MarkerValue {
    version: u32,
    next_offset: Offset,
    watermark: Option<i64>,
    at: Option<i64>,
    forgotten: Option<i64>,
    policy: PolicyValue,
}

/// Spans in milliseconds.
#[derive(Serialize, DeriveDeserialize)]
struct PolicyValue {
    stream_key: String,
    gap: i64,
    recording_interval: i64,
    max_segment: i64,
    grace: i64,
    amend_window: i64,
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
            grace: settings.grace.as_ms(),
            amend_window: settings.amend_window.as_ms(),
            max_hold: settings.max_hold.as_ms(),
            max_session_duration: settings.max_session_duration.as_ms(),
            max_session_segments: settings.max_session_segments,
            max_session_bytes: settings.max_session_bytes,
            overrides: settings.overrides.iter().map(|entry| (entry.streams.clone(), entry.gap.as_ms())).collect(),
        },
    };
    (MARKER_KEY.to_owned(), Some(to_bytes(&value)))
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    write_json(&mut bytes, value);
    bytes
}

/// Reduces changelog records by key, in log order, to what a restore needs.
///
/// Batches are kept as they are until the end: most of those in an uncompacted log have been deleted by then.
#[derive(Debug, Default)]
pub struct Reducer {
    batches: BTreeMap<Offset, Vec<u8>>,
    heads: BTreeMap<SessionId, SavedHead>,
    hints: BTreeMap<String, Pushes>,
    marker: Option<Marker>,
}

/// The reduced changelog of a partition.
#[derive(Debug)]
pub struct Reduced {
    pub saved: Saved,
    /// `None` if the changelog is empty.
    pub marker: Option<Marker>,
    /// First offset of each batch.
    pub batches: Vec<Offset>,
}

impl Reducer {
    /// Applies the next record of the log.
    ///
    /// # Errors
    ///
    /// A record that this program did not write, or a newer one did: the caller stops.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let unknown = Error::UnknownKey { length: key.len() };
        let Ok(name) = std::str::from_utf8(key) else { return Err(unknown) };
        if name == MARKER_KEY {
            // A deleted marker says that there is no state.
            self.marker = value.map(|value| decode_marker(name, value)).transpose()?;
            return Ok(());
        }
        let Some((kind, rest)) = name.split_once('/') else { return Err(unknown) };
        match kind {
            "b" => {
                let first: Offset = rest.parse().map_err(|_| unknown)?;
                match value {
                    Some(value) => self.batches.insert(first, value.to_vec()),
                    None => self.batches.remove(&first),
                };
            }
            "p" => {
                let session_id = SessionId::parse(rest).ok_or(unknown)?;
                match value {
                    Some(value) => self.heads.insert(session_id, decode_head(name, session_id, value)?),
                    None => self.heads.remove(&session_id),
                };
            }
            "h" => {
                match value {
                    Some(value) => self.hints.insert(rest.to_owned(), decode_hints(name, value)?),
                    None => self.hints.remove(rest),
                };
            }
            _ => return Err(unknown),
        }
        Ok(())
    }

    /// Returns what is left.
    ///
    /// # Errors
    ///
    /// As [`Reducer::apply`].
    pub fn finish(self) -> Result<Reduced, Error> {
        let mut segments = Vec::new();
        let mut batches = Vec::with_capacity(self.batches.len());
        for (first, value) in self.batches {
            batches.push(first);
            decode_batch(&batch_key(first), &value, &mut segments)?;
        }
        let saved = Saved {
            clock: self.marker.as_ref().and_then(|marker| marker.clock),
            forgotten: self.marker.as_ref().and_then(|marker| marker.forgotten),
            segments,
            heads: self.heads.into_values().collect(),
            hints: self.hints.into_iter().map(|(stream, hints)| (Arc::from(stream), hints)).collect(),
        };
        Ok(Reduced { saved, marker: self.marker, batches })
    }
}

#[derive(DeriveDeserialize)]
struct Versioned {
    version: u32,
}

/// Reads a value of this version.
fn read<'a, T: Deserialize<'a>>(key: &str, value: &'a [u8]) -> Result<T, Error> {
    let unreadable = |source| Error::Unreadable { key: key.to_owned(), source };
    let read = serde_json::from_slice(value);
    // A newer value may lack fields: its version explains more than they do.
    let Versioned { version } = match &read {
        Ok(_) if value.starts_with(br#"{"version":1,"#) => return read.map_err(unreadable),
        _ => serde_json::from_slice(value).map_err(unreadable)?,
    };
    if version > VERSION {
        return Err(Error::Newer { key: key.to_owned(), version });
    }
    read.map_err(unreadable)
}

fn time(key: &str, ms: i64) -> Result<Timestamp, Error> {
    Timestamp::from_ms(ms).ok_or_else(|| Error::OutOfRange { key: key.to_owned(), what: "a time" })
}

fn optional_time(key: &str, ms: Option<i64>) -> Result<Option<Timestamp>, Error> {
    ms.map(|ms| time(key, ms)).transpose()
}

fn span(key: &str, ms: i64) -> Result<Millis, Error> {
    Millis::from_ms(ms).ok_or_else(|| Error::OutOfRange { key: key.to_owned(), what: "a span of time" })
}

/// A text that borrows from the value where it has no escapes.
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

type Place = (usize, Offset, i64, i64);
type Numbers<'a> = (Option<i64>, Option<i64>, Option<i64>, Vec<Text<'a>>);

#[derive(DeriveDeserialize)]
struct Row<'a>(Place, #[serde(borrow)] Texts<'a>, #[serde(borrow)] Numbers<'a>);

type Texts<'a> = (Text<'a>, Option<Text<'a>>, Option<Text<'a>>, Option<Text<'a>>, Option<Text<'a>>);

#[derive(DeriveDeserialize)]
struct BatchValue<'a> {
    #[serde(borrow)]
    streams: Vec<Text<'a>>,
    #[serde(borrow)]
    segments: Vec<Row<'a>>,
}

fn decode_batch(key: &str, value: &[u8], segments: &mut Vec<(Arc<str>, Segment)>) -> Result<(), Error> {
    let batch: BatchValue<'_> = read(key, value)?;
    let streams: Vec<Arc<str>> = batch.streams.iter().map(|stream| Arc::from(&*stream.0)).collect();
    for Row((stream, offset, start, end), texts, (bitrate_kbps, media_ms, size_bytes, anomalies)) in batch.segments {
        let out_of_range = |what| Error::OutOfRange { key: key.to_owned(), what };
        let stream = streams.get(stream).ok_or_else(|| out_of_range("a stream"))?;
        let anomalies = anomalies.iter().map(|name| Anomaly::parse(&name.0).ok_or_else(|| out_of_range("an anomaly")));
        let new = NewSegment {
            file_id: &texts.0.0,
            start: time(key, start)?,
            end: time(key, end)?,
            url: texts.1.as_ref().map(|text| &*text.0),
            format: texts.2.as_ref().map(|text| &*text.0),
            task_id: texts.3.as_ref().map(|text| &*text.0),
            template_id: texts.4.as_ref().map(|text| &*text.0),
            bitrate_kbps,
            media_ms,
            size_bytes,
            anomalies: anomalies.collect::<Result<_, _>>()?,
        };
        if new.end < new.start {
            return Err(out_of_range("an interval"));
        }
        segments.push((Arc::clone(stream), Segment::new(offset, &new)));
    }
    Ok(())
}

fn decode_head(key: &str, session_id: SessionId, value: &[u8]) -> Result<SavedHead, Error> {
    let head: HeadValue<'_> = read(key, value)?;
    let out_of_range = |what| Error::OutOfRange { key: key.to_owned(), what };
    let continues = head.continues.map(|id| SessionId::parse(&id).ok_or_else(|| out_of_range("a session id")));
    let close_cause = head.close_cause.map(|cause| Cause::parse(&cause).ok_or_else(|| out_of_range("a cause")));
    Ok(SavedHead {
        stream: Arc::from(&*head.stream),
        frozen_at: head.frozen_at,
        head: Head {
            session_id,
            revision: head.revision,
            continues: continues.transpose()?,
            close_cause: close_cause.transpose()?,
            start: time(key, head.start)?,
            end: time(key, head.end)?,
            recorded: span(key, head.recorded_ms)?,
            first_offset: head.first_offset,
            last_offset: head.last_offset,
            watermark: time(key, head.watermark)?,
            seed_offset: head.seed_offset,
            segments: head.segments,
        },
    })
}

fn decode_hints(key: &str, value: &[u8]) -> Result<Pushes, Error> {
    let hints: HintsValue = read(key, value)?;
    let push = |(id, start, end): (Option<String>, _, _)| {
        let (start, end) = (optional_time(key, start)?, optional_time(key, end)?);
        Ok(Push { id: id.map(String::into_boxed_str), start, end })
    };
    Ok(Pushes {
        pushes: hints.pushes.into_iter().map(push).collect::<Result<_, Error>>()?,
        start_seen: hints.start_seen,
        ended: optional_time(key, hints.ended)?,
        last_hint: time(key, hints.last_hint)?,
    })
}

fn decode_marker(key: &str, value: &[u8]) -> Result<Marker, Error> {
    let marker: MarkerValue = read(key, value)?;
    let (watermark, at) = (optional_time(key, marker.watermark)?, optional_time(key, marker.at)?);
    let policy = marker.policy;
    let entry = |(streams, gap)| Ok(Override { streams, gap: span(key, gap)? });
    Ok(Marker {
        next_offset: marker.next_offset,
        clock: watermark.zip(at).map(|(watermark, at)| Clock { watermark, at }),
        forgotten: optional_time(key, marker.forgotten)?,
        stream_key: policy.stream_key,
        settings: Settings {
            gap: span(key, policy.gap)?,
            recording_interval: span(key, policy.recording_interval)?,
            max_segment: span(key, policy.max_segment)?,
            grace: span(key, policy.grace)?,
            amend_window: span(key, policy.amend_window)?,
            max_hold: span(key, policy.max_hold)?,
            max_session_duration: span(key, policy.max_session_duration)?,
            max_session_segments: policy.max_session_segments,
            max_session_bytes: policy.max_session_bytes,
            overrides: policy.overrides.into_iter().map(entry).collect::<Result<_, Error>>()?,
        },
    })
}
