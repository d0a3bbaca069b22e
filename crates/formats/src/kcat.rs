//! Lines as `kcat -J` prints them: a Kafka record as one JSON object.
//!
//! kcat writes the bytes of a payload into a JSON string as they are, so a payload that is not UTF-8 makes a line that is
//! not UTF-8, and those are the records that an operator wants to see. Strings are read as bytes: serde_json then checks
//! escapes, and no UTF-8. Half of a surrogate pair, which kcat does not write, becomes three bytes that are not UTF-8.
//!
//! `headers` is a flat array, `[name, value, name, value]`; `payload` and `key` are strings or null; `ts` is in
//! milliseconds, and means nothing when `tstype` is `unknown`. Members that are not listed here are passed over. What
//! kcat writes with `-s` (numbers and objects as payload) is refused: it is no longer what was in Kafka.
//!
//! A line is bad data if it cannot be read, and not a refused record: its file is not what it is said to be.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use livesession_grouping::time::Timestamp;

/// What is wrong with a line, and at which byte of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at} of the line")]
pub struct Error {
    pub problem: String,
    /// How many bytes of the line had been read; all of them if something is missing.
    pub at: usize,
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        let text = error.to_string();
        let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
        Error { problem: problem.to_owned(), at: error.column() }
    }
}

/// A record; borrows from its line what had no escapes.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    pub topic: Cow<'a, str>,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<Timestamp>,
    pub key: Option<Cow<'a, [u8]>>,
    /// `None` is a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
    pub headers: Headers<'a>,
}

/// The headers of a record, in their order; names may repeat.
pub type Headers<'a> = Vec<(Cow<'a, [u8]>, Option<Cow<'a, [u8]>>)>;

/// The members that are read.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Topic,
    Partition,
    Offset,
    TsType,
    Ts,
    Key,
    Payload,
    Headers,
    #[serde(other)]
    Other,
}

/// What the members of a line say; the last of repeated ones counts.
#[derive(Default)]
struct Members<'a> {
    topic: Option<Text<'a>>,
    partition: Option<i32>,
    offset: Option<i64>,
    ts: Option<i64>,
    is_ts_unknown: bool,
    key: Option<Bytes<'a>>,
    /// Present, and perhaps null.
    payload: Option<Option<Bytes<'a>>>,
    headers: Vec<Option<Bytes<'a>>>,
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string that need not be UTF-8.
struct Bytes<'a>(Cow<'a, [u8]>);

impl<'a> Line<'a> {
    /// Reads a line. White space around the object is allowed.
    ///
    /// # Errors
    ///
    /// The line is not what `kcat -J` prints.
    pub fn parse(line: &'a [u8]) -> Result<Line<'a>, Error> {
        let members: Members<'a> = serde_json::from_slice(line)?;
        let error = |problem: &str| Error { problem: problem.to_owned(), at: line.len() };
        let mut headers = Vec::with_capacity(members.headers.len() / 2);
        let mut parts = members.headers.into_iter();
        while let Some(name) = parts.next() {
            let name = name.ok_or_else(|| error("a header has no name"))?;
            let value = parts.next().ok_or_else(|| error("a header has no value"))?;
            headers.push((name.0, value.map(|value| value.0)));
        }
        Ok(Line {
            topic: members.topic.ok_or_else(|| error("no `topic`"))?.0,
            partition: members.partition.ok_or_else(|| error("no `partition`"))?,
            offset: members.offset.ok_or_else(|| error("no `offset`"))?,
            timestamp: members.ts.filter(|_| !members.is_ts_unknown).and_then(Timestamp::from_ms),
            key: members.key.map(|key| key.0),
            value: members.payload.ok_or_else(|| error("no `payload`"))?.map(|payload| payload.0),
            headers,
        })
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        deserializer.deserialize_map(Members::default())
    }
}

impl<'de> Visitor<'de> for Members<'de> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Members<'de>, A::Error> {
        while let Some(member) = map.next_key()? {
            match member {
                Member::Topic => self.topic = Some(map.next_value()?),
                Member::Partition => self.partition = Some(not_negative(map.next_value()?, "partition")?),
                Member::Offset => self.offset = Some(not_negative(map.next_value()?, "offset")?),
                Member::TsType => {
                    let kind: Option<Text<'_>> = map.next_value()?;
                    self.is_ts_unknown = kind.is_none_or(|kind| kind.0 == "unknown");
                }
                Member::Ts => self.ts = map.next_value()?,
                Member::Key => self.key = map.next_value()?,
                Member::Payload => self.payload = Some(map.next_value()?),
                Member::Headers => self.headers = map.next_value::<Option<_>>()?.unwrap_or_default(),
                Member::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(self)
    }
}

fn not_negative<N: Default + PartialOrd, E: de::Error>(number: N, name: &str) -> Result<N, E> {
    if number < N::default() { Err(E::custom(format_args!("`{name}` is negative"))) } else { Ok(number) }
}

impl<'de> Deserialize<'de> for Bytes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes<'de>, D::Error> {
        struct Lent;
        impl<'de> Visitor<'de> for Lent {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(Cow::Owned(bytes.to_owned())))
            }
        }
        deserializer.deserialize_bytes(Lent)
    }
}

/// Returns whether `start`, the beginning of a file, is the beginning of a line of `kcat -J`.
///
/// It need not hold the whole line: the members before the payload and the payload's name are enough.
pub fn looks_like(start: &[u8]) -> bool {
    let mut names = Names::default();
    // How it ends does not matter: the line may be cut, and is left once its names are known.
    let _ = serde_json::Deserializer::from_slice(start).deserialize_map(&mut names);
    names.are_all()
}

/// Which of the names that tell a line have been seen.
#[derive(Default)]
struct Names {
    topic: bool,
    partition: bool,
    payload: bool,
}

impl Names {
    fn are_all(&self) -> bool {
        self.topic && self.partition && self.payload
    }
}

impl<'de> Visitor<'de> for &mut Names {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key()? {
            match member {
                Member::Topic => self.topic = true,
                Member::Partition => self.partition = true,
                Member::Payload => self.payload = true,
                _ => {}
            }
            if self.are_all() {
                break;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Appends the line, with its line feed, that [`Line::parse`] reads back to the same record.
pub fn write<'h>(
    out: &mut Vec<u8>,
    (topic, partition, offset): (&str, i32, i64),
    timestamp: Option<Timestamp>,
    headers: impl IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
) {
    out.extend_from_slice(b"{\"topic\":");
    write_string(out, topic.as_bytes());
    out.extend_from_slice(format!(",\"partition\":{partition},\"offset\":{offset}").as_bytes());
    let (kind, ms) = timestamp.map_or(("unknown", -1), |timestamp| ("create", timestamp.as_ms()));
    out.extend_from_slice(format!(",\"tstype\":\"{kind}\",\"ts\":{ms},\"headers\":[").as_bytes());
    for (index, (name, text)) in headers.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b',');
        write_nullable(out, text);
    }
    out.extend_from_slice(b"],\"key\":");
    write_nullable(out, key);
    out.extend_from_slice(b",\"payload\":");
    write_nullable(out, value);
    out.extend_from_slice(b"}\n");
}

fn write_nullable(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a JSON string; bytes that are not UTF-8 stay as they are.
fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut written = 0;
    for (index, byte) in text.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text[written..index]);
        if escaped.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escaped);
        }
        written = index + 1;
    }
    out.extend_from_slice(&text[written..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
