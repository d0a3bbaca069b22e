//! The fields of a notification: from bytes to literals, and from literals to what they mean.
//!
//! Holds the rules: value, json, field-names, integers, id-text, attributes.
//!
//! serde_json checks the grammar and lends each known field's literal, unread; the others are skipped. Literals are
//! read afterwards, because what a field may be depends on the event, and because only so a number never passes through
//! a float.
//!
//! # Invariants
//!
//! * What is secret, personal or ignored (`stream_param`, `sign`, `user_ip`, `callback_ext`, …) has no [`Field`]: it
//!   cannot be read by mistake.
//! * A string without escapes is lent from the record; one with escapes is unescaped once, into the decoder's buffer,
//!   and only if its event needs it. An escape that is half of a surrogate pair is found then, hence only in what is
//!   read. Names are read, all of them: half a pair in one is an error.
//! * To trim is to take off ASCII white space: space, tab, line feed, form feed, carriage return.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number;
use super::reason::Reason;
use livesession_grouping::{Anomalies, Anomaly, NewSegment};

/// The longest value that is read at all. Real ones have about 1 KB; the bound keeps one record from stalling a
/// partition.
pub const MAX_VALUE_BYTES: usize = 262_144;
/// The deepest nesting, the object itself being 1.
pub(super) const MAX_DEPTH: usize = 32;
/// The longest identity, after trimming.
pub(super) const MAX_ID_BYTES: usize = 2_048;

/// A field that some event needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    EventType,
    App,
    Appname,
    StreamId,
    FileId,
    VideoUrl,
    StartTime,
    EndTime,
    StartTimeUsec,
    EndTimeUsec,
    Duration,
    FileFormat,
    FileSize,
    TaskId,
    RecordTempId,
    RecordBps,
    EventTime,
    Sequence,
    Domain,
    RecordEvent,
}

/// The fields of event 100, apart from the stream key.
pub(super) const SEGMENT_FIELDS: &[Field] = &[
    Field::FileId,
    Field::VideoUrl,
    Field::StartTime,
    Field::EndTime,
    Field::StartTimeUsec,
    Field::EndTimeUsec,
    Field::Duration,
    Field::FileFormat,
    Field::FileSize,
    Field::TaskId,
    Field::RecordTempId,
    Field::RecordBps,
];
/// The fields of events 0 and 1, apart from the stream key.
pub(super) const PUSH_FIELDS: &[Field] = &[Field::EventTime, Field::Sequence];
/// The fields of event 332, apart from the stream key.
pub(super) const RECORD_ENDED_FIELDS: &[Field] = &[Field::EventTime];

const FIELDS: usize = Field::RecordEvent as usize + 1;

impl Field {
    fn named(name: &str) -> Option<Field> {
        Some(match name {
            "event_type" => Field::EventType,
            "app" => Field::App,
            "appname" => Field::Appname,
            "stream_id" => Field::StreamId,
            "file_id" => Field::FileId,
            "video_url" => Field::VideoUrl,
            "start_time" => Field::StartTime,
            "end_time" => Field::EndTime,
            "start_time_usec" => Field::StartTimeUsec,
            "end_time_usec" => Field::EndTimeUsec,
            "duration" => Field::Duration,
            "file_format" => Field::FileFormat,
            "file_size" => Field::FileSize,
            "task_id" => Field::TaskId,
            "record_temp_id" => Field::RecordTempId,
            "record_bps" => Field::RecordBps,
            "event_time" => Field::EventTime,
            "sequence" => Field::Sequence,
            "domain" => Field::Domain,
            "record_event" => Field::RecordEvent,
            _ => return None,
        })
    }
}

/// What a field's literal is, by its first character.
#[derive(Clone, Copy, Debug)]
pub(super) enum Literal<'a> {
    /// Missing or null.
    Nothing,
    /// A string's content, not trimmed.
    Text(&'a str),
    /// A string with its quotes, because it has escapes that are still to be undone.
    Escaped(&'a str),
    Number(&'a str),
    /// An object, an array, true or false.
    Other,
}

impl<'a> Literal<'a> {
    fn new(raw: &'a str) -> Literal<'a> {
        match raw.as_bytes() {
            [b'"', inner @ .., b'"'] if memchr::memchr(b'\\', inner).is_some() => Literal::Escaped(raw),
            [b'"', .., b'"'] => Literal::Text(&raw[1..raw.len() - 1]),
            [b'-' | b'0'..=b'9', ..] => Literal::Number(raw),
            [b'n', ..] => Literal::Nothing,
            _ => Literal::Other,
        }
    }

    /// Returns whether there is no value: missing, null, or empty after trimming.
    pub(super) fn is_absent(self) -> bool {
        match self {
            Literal::Nothing => true,
            Literal::Text(text) => text.trim_ascii().is_empty(),
            _ => false,
        }
    }

    /// Reads an integer (rule: integers).
    pub(super) fn integer(self) -> Result<Option<i64>, Unreadable> {
        match self {
            Literal::Number(literal) => number::integer(literal).map(Some).ok_or(Unreadable),
            Literal::Text(text) => match text.trim_ascii() {
                "" => Ok(None),
                trimmed => number::integer_in_text(trimmed).map(Some).ok_or(Unreadable),
            },
            Literal::Nothing => Ok(None),
            _ => Err(Unreadable),
        }
    }

    /// Reads a trimmed string, or an unsigned integer as its digits (rule: attributes).
    pub(super) fn text(self) -> Result<Option<&'a str>, Unreadable> {
        match self {
            Literal::Text(text) => Ok(Some(text.trim_ascii()).filter(|trimmed| !trimmed.is_empty())),
            Literal::Number(literal) if number::is_unsigned(literal) => Ok(Some(literal)),
            Literal::Nothing => Ok(None),
            _ => Err(Unreadable),
        }
    }

    /// Reads an identity: a text that is fit to be a key (rule: id-text).
    pub(super) fn identity(self) -> Result<Option<&'a str>, Reason> {
        match self.text() {
            Ok(Some(text)) if text.len() > MAX_ID_BYTES || has_control_character(text) => Err(Reason::BadId),
            Ok(text) => Ok(text),
            Err(Unreadable) => Err(Reason::BadId),
        }
    }
}

/// A field is present, but is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Returns whether any character is of the Unicode category Cc.
fn has_control_character(text: &str) -> bool {
    // Without a branch per byte. 0xC2 leads U+0080 to U+00BF, of which the first half are control characters.
    let suspect = text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == 0x7f) | (byte == 0xc2));
    suspect && text.chars().any(char::is_control)
}

/// The literals of a notification's known fields.
pub(super) struct Fields<'a> {
    literals: [Literal<'a>; FIELDS],
}

impl<'a> Fields<'a> {
    /// Reads a record's value as far as one JSON object (rules: value, json, field-names).
    pub(super) fn parse(value: &'a [u8]) -> Result<Fields<'a>, Reason> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Reason::TooLarge);
        }
        let text = std::str::from_utf8(value).map_err(|_| Reason::NotJson)?;
        let json = text.strip_prefix('\u{feff}').unwrap_or(text);
        if is_too_deep(json.as_bytes()) {
            return Err(Reason::TooDeep);
        }
        if json.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            let mut fields = Fields { literals: [Literal::Nothing; FIELDS] };
            let mut deserializer = serde_json::Deserializer::from_str(json);
            deserializer.deserialize_map(FieldsVisitor(&mut fields)).map_err(|_| Reason::NotJson)?;
            deserializer.end().map_err(|_| Reason::NotJson)?;
            Ok(fields)
        } else {
            // Something else, or nothing at all; which of them is worth knowing to whoever has to repair it.
            let other: Result<IgnoredAny, _> = serde_json::from_str(json);
            Err(if other.is_ok() { Reason::NotAnObject } else { Reason::NotJson })
        }
    }

    pub(super) fn get(&self, field: Field) -> Literal<'a> {
        self.literals[field as usize]
    }

    /// Puts the value of `from` in the place of `to`.
    pub(super) fn substitute(&mut self, to: Field, from: Field) {
        self.literals[to as usize] = self.get(from);
    }

    /// Reads a field at once, undoing its escapes for as long as `read` takes.
    ///
    /// For the few that decide which others are needed.
    ///
    /// # Errors
    ///
    /// `not_json` for half a surrogate pair.
    pub(super) fn read<T>(&self, field: Field, read: impl FnOnce(Literal<'_>) -> T) -> Result<T, Reason> {
        match self.get(field) {
            Literal::Escaped(raw) => unescape(raw).map(|text| read(Literal::Text(&text))),
            literal => Ok(read(literal)),
        }
    }

    /// Undoes the escapes of the `needed` fields, into `buffer`.
    ///
    /// # Errors
    ///
    /// `not_json` for half a surrogate pair.
    pub(super) fn unescape(
        &mut self,
        needed: impl Iterator<Item = Field> + Clone,
        buffer: &'a mut String,
    ) -> Result<(), Reason> {
        buffer.clear();
        let mut ends = [0; FIELDS];
        for field in needed.clone() {
            if let Literal::Escaped(raw) = self.get(field) {
                buffer.push_str(&unescape(raw)?);
                ends[field as usize] = buffer.len();
            }
        }
        // Lent only now that the buffer does not grow any more.
        let texts: &'a str = buffer;
        let mut start = 0;
        for field in needed {
            if let Literal::Escaped(_) = self.get(field) {
                let end = ends[field as usize];
                self.literals[field as usize] = Literal::Text(&texts[start..end]);
                start = end;
            }
        }
        Ok(())
    }
}

impl<'a> Fields<'a> {
    /// Adds the attributes of a segment (rules: attributes, media-length).
    ///
    /// `format` is used for a format that is not in lower case.
    pub(super) fn attributes(&self, bare: NewSegment<'a>, format: &'a mut String) -> NewSegment<'a> {
        let mut anomalies = bare.anomalies;
        let text = |field, anomalies: &mut _| attribute(self.get(field).text(), anomalies);
        let number = |field, anomalies: &mut _| attribute(not_negative(self.get(field).integer()), anomalies);
        NewSegment {
            url: text(Field::VideoUrl, &mut anomalies),
            format: text(Field::FileFormat, &mut anomalies).map(|name| lower_case(name, format)),
            task_id: text(Field::TaskId, &mut anomalies),
            template_id: text(Field::RecordTempId, &mut anomalies),
            bitrate_kbps: number(Field::RecordBps, &mut anomalies),
            media_ms: attribute(milliseconds(self.get(Field::Duration).integer()), &mut anomalies),
            size_bytes: number(Field::FileSize, &mut anomalies),
            // Last, because reading the others adds to it.
            anomalies,
            ..bare
        }
    }
}

/// Keeps an attribute if it could be read (rule: attributes).
pub(super) fn attribute<T>(read: Result<Option<T>, Unreadable>, anomalies: &mut Anomalies) -> Option<T> {
    read.unwrap_or_else(|Unreadable| {
        anomalies.insert(Anomaly::FieldUnreadable);
        None
    })
}

fn not_negative(read: Result<Option<i64>, Unreadable>) -> Result<Option<i64>, Unreadable> {
    match read {
        Ok(Some(..0)) => Err(Unreadable),
        other => other,
    }
}

fn milliseconds(read: Result<Option<i64>, Unreadable>) -> Result<Option<i64>, Unreadable> {
    match not_negative(read)? {
        Some(seconds) => seconds.checked_mul(1_000).map(Some).ok_or(Unreadable),
        None => Ok(None),
    }
}

/// Returns `text` in lower case; `buffer` is used only if it is not that already.
fn lower_case<'a>(text: &'a str, buffer: &'a mut String) -> &'a str {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return text;
    }
    buffer.clear();
    if text.is_ascii() {
        buffer.push_str(text);
        buffer.make_ascii_lowercase();
    } else {
        buffer.push_str(&text.to_lowercase());
    }
    buffer
}

/// Returns the content of a string literal that is known to be well-formed but for its surrogates.
fn unescape(raw: &str) -> Result<String, Reason> {
    serde_json::from_str(raw).map_err(|_| Reason::NotJson)
}

/// Returns whether objects and arrays are nested deeper than [`MAX_DEPTH`].
///
/// serde_json skips values without a bound on their depth and without recursion: this bound is for those who read our
/// dead letters and outputs with less careful tools.
fn is_too_deep(json: &[u8]) -> bool {
    // What opens 32 times at most is not deeper than that; real notifications open once or twice.
    if memchr::memchr2_iter(b'{', b'[', json).take(MAX_DEPTH + 1).count() <= MAX_DEPTH {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = json.iter();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            // Only in a string, if this is JSON. What is escaped does not end it; the digits of `\u` do not matter.
            b'\\' => {
                bytes.next();
            }
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

struct FieldsVisitor<'f, 'a>(&'f mut Fields<'a>);

impl<'a> Visitor<'a> for FieldsVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            match name {
                Some(field) => self.0.literals[field as usize] = Literal::new(map.next_value::<&RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a field's name as a [`Field`], without keeping it.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Option<Field>;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Option<Field>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<Field>, E> {
        Ok(Field::named(name))
    }
}
