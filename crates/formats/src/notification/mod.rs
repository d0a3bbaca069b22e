//! Notifications: from the bytes of an input record to what they say.
//!
//! The decoder judges a record alone: part 2 of `docs/rules.md`. Whether a segment is late, a duplicate or a conflict
//! is decided against the state, in `grouping`. It logs nothing and counts nothing; the worker does.
//!
//! ```text
//! bytes ─ fields ─▶ literals of known fields ─ number, interval, stream_key ─▶ Segment │ Hint │ Other │ Refused
//! ```
//!
//! The first check that fails is the reason (rule: order-of-acceptance), so that the same bytes are refused for the
//! same reason for ever, and a count by reason means something.
//!
//! # Invariants
//!
//! * Every value ends as one of four outcomes; nothing panics, whatever the bytes.
//! * A segment's start is not after its end, it is not longer than `max_segment`, and its ids are trimmed, not empty,
//!   at most 2,048 bytes long and free of control characters.
//! * No secret is read: `fields` has no name for one.
//! * What comes out is lent from the record or from the decoder's buffers: a duplicate or late segment costs no
//!   allocation.
//!
//! Why not derive `Deserialize`: a derived struct refuses the whole record for one attribute of another type, for an
//! integer written `1800.0`, and for a repeated name.

mod fields;
mod interval;
mod number;
mod reason;
mod stream_key;

use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Anomalies, Anomaly, HintKind, NewSegment, Settings};

use fields::{Field, Fields, PUSH_FIELDS, RECORD_ENDED_FIELDS, SEGMENT_FIELDS, attribute};

pub use fields::MAX_VALUE_BYTES;
pub use reason::Reason;
pub use stream_key::{KeyParts, split_stream_key, write_stream_key};

/// What the decoder has to know of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub key_parts: KeyParts,
    /// The longest segment that is accepted, inclusive.
    pub max_segment: Millis,
    /// How far a time may be ahead of its record's Kafka timestamp, inclusive.
    pub max_clock_skew: Millis,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            key_parts: KeyParts::default(),
            max_segment: Settings::default().max_segment,
            // One bad clock must not close every session of its partition.
            max_clock_skew: Millis::from_secs(3_600),
        }
    }
}

/// What a record of the input topic says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    /// A recording file is finished.
    Segment { stream: &'a str, segment: NewSegment<'a> },
    /// A push started or ended, or a recording task ended.
    Hint { stream: &'a str, kind: HintKind, push_id: Option<&'a str>, at: Timestamp, anomalies: Anomalies },
    /// A tombstone or an event that is none of ours: counted and passed by.
    Other,
    /// To become a dead letter.
    Refused(Reason),
}

/// Reads notifications; keeps its buffers from one to the next.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    /// The stream key.
    stream: String,
    /// Texts that had escapes.
    texts: String,
    /// The format, if it was not in lower case.
    format: String,
}

impl Decoder {
    pub fn new(rules: Rules) -> Decoder {
        Decoder { rules, stream: String::new(), texts: String::new(), format: String::new() }
    }

    /// Reads a record's value (rule: value); `timestamp` is the record's Kafka timestamp, if it has one.
    pub fn decode<'a>(&'a mut self, value: Option<&'a [u8]>, timestamp: Option<Timestamp>) -> Notification<'a> {
        let Some(bytes) = value else { return Notification::Other };
        self.read(bytes, timestamp).unwrap_or_else(Notification::Refused)
    }

    /// Tells events apart (rule: event-type).
    fn read<'a>(&'a mut self, value: &'a [u8], timestamp: Option<Timestamp>) -> Result<Notification<'a>, Reason> {
        let fields = Fields::parse(value)?;
        let event_type = fields.read(Field::EventType, |literal| literal.integer())?;
        match event_type.ok().flatten().ok_or(Reason::NoEventType)? {
            100 => self.segment(fields, timestamp),
            0 => self.hint(HintKind::PushEnded, fields, timestamp),
            1 => self.hint(HintKind::PushStarted, fields, timestamp),
            332 if fields.read(Field::RecordEvent, |literal| literal.text() == Ok(Some("record_ended")))? => {
                self.hint(HintKind::RecordEnded, fields, timestamp)
            }
            _ => Ok(Notification::Other),
        }
    }

    /// Reads event 100 (rules: file-id, media-length, order-of-acceptance).
    fn segment<'a>(
        &'a mut self,
        mut fields: Fields<'a>,
        timestamp: Option<Timestamp>,
    ) -> Result<Notification<'a>, Reason> {
        let Decoder { rules, stream, texts, format } = self;
        fields.unescape(rules.needed(SEGMENT_FIELDS), texts)?;
        rules.read_stream(&fields, stream)?;

        let mut anomalies = Anomalies::NONE;
        let file_id = match fields.get(Field::FileId).identity()? {
            Some(file_id) if file_id != "0" => file_id,
            _ => {
                anomalies.insert(Anomaly::UrlAsId);
                fields.get(Field::VideoUrl).identity()?.ok_or(Reason::NoFile)?
            }
        };
        let interval = interval::interval(&fields, rules.max_segment, &mut anomalies)?;
        rules.check_clock(interval.end, timestamp)?;

        let segment = NewSegment { anomalies, ..NewSegment::new(file_id, interval.start, interval.end) };
        Ok(Notification::Segment { stream, segment: fields.attributes(segment, format) })
    }

    /// Reads events 0, 1 and 332 (rule: hint-fields).
    fn hint<'a>(
        &'a mut self,
        kind: HintKind,
        mut fields: Fields<'a>,
        timestamp: Option<Timestamp>,
    ) -> Result<Notification<'a>, Reason> {
        let Decoder { rules, stream, texts, .. } = self;
        let record_ended = kind == HintKind::RecordEnded;
        // Event 332 says `domain` where the others say `app`.
        if record_ended
            && rules.key_parts == KeyParts::AppAppnameStreamId
            && fields.read(Field::App, |literal| literal.is_absent())?
        {
            fields.substitute(Field::App, Field::Domain);
        }
        fields.unescape(rules.needed(if record_ended { RECORD_ENDED_FIELDS } else { PUSH_FIELDS }), texts)?;
        rules.read_stream(&fields, stream)?;

        let time = interval::time(fields.get(Field::EventTime)).ok_or(Reason::NoEventTime)?;
        rules.check_clock(time.at, timestamp)?;
        let mut anomalies = Anomalies::NONE;
        if time.scaled {
            anomalies.insert(Anomaly::TimeScaled);
        }
        // A recording task has no push: it may span many.
        let push_id = if record_ended { None } else { attribute(fields.get(Field::Sequence).text(), &mut anomalies) };
        Ok(Notification::Hint { stream, kind, push_id, at: time.at, anomalies })
    }
}

impl Rules {
    /// Returns the fields of the stream key and of the event.
    fn needed(&self, event: &'static [Field]) -> impl Iterator<Item = Field> + Clone {
        let key: &[Field] = match self.key_parts {
            KeyParts::AppAppnameStreamId => &[Field::StreamId, Field::App, Field::Appname],
            KeyParts::StreamId => &[Field::StreamId],
        };
        key.iter().chain(event).copied()
    }

    /// Reads the stream key (rule: stream-key).
    fn read_stream(&self, fields: &Fields<'_>, stream: &mut String) -> Result<(), Reason> {
        // First, so that its absence is the reason whatever the other parts are.
        let stream_id = fields.get(Field::StreamId).identity()?.ok_or(Reason::NoStream)?;
        let (app, appname) = match self.key_parts {
            KeyParts::AppAppnameStreamId => {
                (fields.get(Field::App).identity()?, fields.get(Field::Appname).identity()?)
            }
            KeyParts::StreamId => (None, None),
        };
        stream.clear();
        write_stream_key(stream, app.unwrap_or_default(), appname.unwrap_or_default(), stream_id);
        Ok(())
    }

    /// Refuses what is further ahead of its record's timestamp than a clock may be (rule: clock-skew).
    fn check_clock(&self, at: Timestamp, timestamp: Option<Timestamp>) -> Result<(), Reason> {
        match timestamp {
            Some(received) if at > received + self.max_clock_skew => Err(Reason::AheadOfClock),
            _ => Ok(()),
        }
    }
}
