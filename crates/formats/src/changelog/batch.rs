//! Batches: the segments that one transaction accepted, as arrays over a table of streams.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize as DeriveDeserialize;
use serde::de::{Deserialize, Deserializer, Visitor};

use super::value::{read, time, write_json};
use super::{Error, Record, VERSION, batch_key};
use livesession_grouping::{Anomaly, NewSegment, Offset, Segment};

/// A batch that would be longer is cut in two.
pub const MAX_BATCH_BYTES: usize = 256 * 1_024;

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

/// Reads a batch, and adds its segments with their streams.
pub(super) fn decode_batch(key: &str, value: &[u8], segments: &mut Vec<(Arc<str>, Segment)>) -> Result<(), Error> {
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
