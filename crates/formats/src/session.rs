//! A session as a record of the output topic: the JSON value, the headers, and how large they can get.
//!
//! Only the form lives here. What a session contains is decided in `grouping`, what a reader gets back is in [`record`],
//! and the contract in words is `schemas/session.v1.schema.json`; `tests/formats/contracts` holds the three together.
//!
//! # Invariants
//!
//! * Every field is always written, in the order of the schema: an absent value is `null`, so that a reader can tell
//!   "unknown" from "written by an older version".
//! * The bytes depend on the publication and its input partition alone: no clock, no configuration. Two workers, a replay
//!   and `group` write the same record.
//! * A session that keeps its limits (rule: limits) makes a record of at most [`worst_case_bytes`].
//!
//! The JSON is written by hand, and serde reads it: this is the most executed code of `group` after the decoder, and a
//! writer that shares nothing with the reader makes the round trip a test of both.

pub mod record;

use std::io::Write;

pub use record::{Error, Recording, SessionRecord, Source, StreamListed, Summary, decode};

use super::notification::{MAX_VALUE_BYTES, split_stream_key};
use livesession_grouping::session::renditions;
use livesession_grouping::time::Timestamp;
use livesession_grouping::{Interval, Publication, Segment, SessionId};

/// The name of the schema that every session record follows, in the header `ce_dataschema`.
pub const SCHEMA_ID: &str = "urn:livesession:session:v1";

/// Appends the JSON value of `publication`.
///
/// The record's key is `publication.stream`; the headers are [`headers`].
pub fn encode(publication: &Publication, source: Source<'_>, out: &mut Vec<u8>) {
    let Publication { stream, summary, status, merged_into, gaps, segments, .. } = publication;
    let (app, appname, stream_id) = split_stream_key(stream);
    let (renditions, rendition_of) = renditions(segments);

    out.reserve(1_024 + 512 * segments.len());
    let mut json = Json { out };
    json.raw(r#"{"version":1,"session_id":"#).id(Some(summary.session_id));
    json.raw(r#","revision":"#).number(i64::from(summary.revision));
    json.raw(r#","status":"#).text(status.as_str());
    json.raw(r#","merged_into":"#).id(*merged_into);
    json.raw(r#","continues":"#).id(summary.continues);
    json.raw(r#","close_cause":"#).optional_text(summary.close_cause.map(|cause| cause.as_str()));

    json.raw(r#","stream":{"key":"#).text(stream);
    json.raw(r#","app":"#).text(&app);
    json.raw(r#","appname":"#).text(&appname);
    json.raw(r#","stream_id":"#).text(&stream_id);
    json.raw("}");

    json.raw(r#","start":"#).time(summary.start);
    json.raw(r#","end":"#).time(summary.end);
    json.raw(r#","duration_ms":"#).number(summary.end.since(summary.start).as_ms());
    json.raw(r#","recorded_ms":"#).number(summary.recorded.as_ms());

    json.raw(r#","gaps":["#);
    for (index, gap) in gaps.iter().enumerate() {
        json.comma(index).gap(gap);
    }

    json.raw(r#"],"renditions":["#);
    for (index, rendition) in renditions.iter().enumerate() {
        json.comma(index);
        json.raw(r#"{"format":"#).optional_text(rendition.format);
        json.raw(r#","template_id":"#).optional_text(rendition.template_id);
        json.raw(r#","bitrate_kbps":"#).optional_number(rendition.bitrate_kbps);
        json.raw(r#","segments":"#).number(i64::from(rendition.segments));
        json.raw(r#","recorded_ms":"#).number(rendition.recorded.as_ms());
        json.raw(r#","size_bytes":"#).optional_number(rendition.size_bytes);
        json.raw("}");
    }

    json.raw(r#"],"segments":["#);
    for (index, (segment, rendition)) in segments.iter().zip(&rendition_of).enumerate() {
        json.comma(index).segment(segment, *rendition);
    }

    json.raw(r#"],"source":{"topic":"#).text(source.topic);
    json.raw(r#","partition":"#).number(i64::from(source.partition));
    json.raw(r#","first_offset":"#).number(summary.first_offset);
    json.raw(r#","last_offset":"#).number(summary.last_offset);
    json.raw(r#"},"watermark":"#).time(summary.watermark);
    json.raw("}");
}

/// Returns the record's headers: CloudEvents in binary mode, all UTF-8 text.
///
/// `ce_time` is the watermark and not the wall time, so that a replay writes the same record. An open session is never
/// published; its type is named in the same way.
pub fn headers(publication: &Publication, application_id: &str) -> Vec<(&'static str, String)> {
    let summary = &publication.summary;
    vec![
        ("content-type", "application/json".to_owned()),
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", format!("{}:{}", summary.session_id, summary.revision)),
        ("ce_source", format!("/livesession/{application_id}")),
        ("ce_type", format!("livesession.session.{}.v1", publication.status.as_str())),
        ("ce_time", summary.watermark.to_string()),
        ("ce_subject", publication.stream.to_string()),
        ("ce_dataschema", SCHEMA_ID.to_owned()),
    ]
}

/// The parts of a JSON text, appended one after another.
struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl Json<'_> {
    /// Appends JSON that is already written.
    fn raw(&mut self, json: &str) -> &mut Self {
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// Appends the comma before every element but the first.
    fn comma(&mut self, index: usize) -> &mut Self {
        if index > 0 {
            self.out.push(b',');
        }
        self
    }

    /// Appends a string. Nearly all of ours need no escape, and are copied whole.
    fn text(&mut self, text: &str) {
        // Looks at all bytes rather than up to the first: a loop without an exit is done many bytes at a time.
        let escapes = text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
        if escapes {
            serde_json::to_writer(&mut *self.out, text).expect("a vector takes all that is written");
        } else {
            self.out.push(b'"');
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
        }
    }

    fn optional_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    fn number(&mut self, number: i64) {
        // Digits from the right; the longest number, `i64::MIN`, has 19 and a sign.
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            at -= 1;
            digits[at] = b'-';
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    fn optional_number(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.number(number),
            None => self.null(),
        }
    }

    fn time(&mut self, time: Timestamp) {
        self.out.push(b'"');
        time.write_rfc3339(self.out);
        self.out.push(b'"');
    }

    fn id(&mut self, id: Option<SessionId>) {
        match id {
            Some(id) => write!(self.out, "\"{id}\"").expect("a vector takes all that is written"),
            None => self.null(),
        }
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn gap(&mut self, gap: &Interval) {
        self.raw(r#"{"start":"#).time(gap.start);
        self.raw(r#","end":"#).time(gap.end);
        self.raw(r#","duration_ms":"#).number(gap.duration().as_ms());
        self.raw("}");
    }

    fn segment(&mut self, segment: &Segment, rendition: usize) {
        self.raw(r#"{"file_id":"#).text(segment.file_id());
        self.raw(r#","url":"#).optional_text(segment.url());
        self.raw(r#","format":"#).optional_text(segment.format());
        self.raw(r#","task_id":"#).optional_text(segment.task_id());
        // An index into a list in memory: far below `i64::MAX`.
        self.raw(r#","rendition":"#).number(rendition as i64);
        self.raw(r#","start":"#).time(segment.start());
        self.raw(r#","end":"#).time(segment.end());
        self.raw(r#","duration_ms":"#).number(segment.end().since(segment.start()).as_ms());
        self.raw(r#","media_ms":"#).optional_number(segment.media_ms());
        self.raw(r#","size_bytes":"#).optional_number(segment.size_bytes());
        self.raw(r#","anomalies":["#);
        for (index, anomaly) in segment.anomalies().iter().enumerate() {
            self.comma(index).text(anomaly.as_str());
        }
        self.raw(r#"],"offset":"#).number(segment.offset());
        self.raw("}");
    }
}

// The longest forms of everything in a record whose length is bounded by itself. Texts of segments are not here: they are
// counted in `max_session_bytes`. `null` stands for them where it is longer than the quotes around them.

const LONGEST_SEGMENT: &str = concat!(
    r#"{"file_id":"","url":null,"format":null,"task_id":null,"rendition":4294967295,"#,
    r#""start":"9999-12-31T23:59:59.999Z","end":"9999-12-31T23:59:59.999Z","duration_ms":253402300799999,"#,
    r#""media_ms":9223372036854775807,"size_bytes":9223372036854775807,"#,
    r#""anomalies":["field_unreadable","start_rebuilt","time_scaled","url_as_id","usec_ignored"],"#,
    r#""offset":9223372036854775807},"#,
);

const LONGEST_GAP: &str =
    r#"{"start":"9999-12-31T23:59:59.999Z","end":"9999-12-31T23:59:59.999Z","duration_ms":253402300799999},"#;

const LONGEST_RENDITION: &str = concat!(
    r#"{"format":null,"template_id":null,"bitrate_kbps":9223372036854775807,"segments":4294967295,"#,
    r#""recorded_ms":253402300799999,"size_bytes":9223372036854775807},"#,
);

const LONGEST_REST: &str = concat!(
    r#"{"version":1,"session_id":"00000000-0000-0000-0000-000000000000","revision":4294967295,"status":"withdrawn","#,
    r#""merged_into":"00000000-0000-0000-0000-000000000000","continues":"00000000-0000-0000-0000-000000000000","#,
    r#""close_cause":"end_of_input","stream":{"key":"","app":"","appname":"","stream_id":""},"#,
    r#""start":"9999-12-31T23:59:59.999Z","end":"9999-12-31T23:59:59.999Z","duration_ms":253402300799999,"#,
    r#""recorded_ms":253402300799999,"gaps":[],"renditions":[],"segments":[],"#,
    r#""source":{"topic":"","partition":2147483647,"first_offset":9223372036854775807,"#,
    r#""last_offset":9223372036854775807},"watermark":"9999-12-31T23:59:59.999Z"}"#,
);

const LONGEST_HEADERS: &str = concat!(
    "content-type application/json ce_specversion 1.0 ce_id 00000000-0000-0000-0000-000000000000:4294967295 ",
    "ce_source /livesession/ ce_type livesession.session.withdrawn.v1 ce_time 9999-12-31T23:59:59.999Z ce_subject  ",
    "ce_dataschema urn:livesession:session:v1 __value_schema_id 00000000-0000-0000-0000-000000000000",
);

/// The longest stream key in bytes: three parts of 2,048, each byte a `%` or `/` that takes three, and two separators.
const LONGEST_KEY: u64 = 3 * 3 * 2_048 + 2;

/// The same in a JSON value, with the parts beside it.
///
/// A byte takes four there at the most: `%` three in the key and one in the part, a quote two in each.
const LONGEST_STREAM: u64 = 3 * 4 * 2_048 + 2;

/// The longest name of a Kafka topic, and so of an application, whose changelog is named after it.
const LONGEST_TOPIC: u64 = 249;

/// What Kafka's record format adds to key, value and headers: a batch header, lengths, the deltas.
const FRAMING: u64 = 256;

/// The most text that a single segment can have, which stands alone even if `max_session_bytes` is below it.
///
/// A text is written as it came, each counts twice at the most, and lower case, which formats are written in, makes a
/// character half as long again at the most.
const LARGEST_SEGMENT_TEXT: u64 = 3 * MAX_VALUE_BYTES as u64;

/// Returns an upper bound on the record of a session that keeps both limits: value, key, headers and framing, in bytes.
///
/// Every segment may have its own rendition and a silence before it. `max_session_bytes` is a limit of
/// [`NewSegment::text_bytes`](livesession_grouping::NewSegment::text_bytes), which counts texts as they are written. A record
/// above the topic's limit would abort its transaction for ever, so `max_record_bytes` must not be below this.
///
/// With the defaults, 2,000 segments and 768 KiB, this is a little below 2 MiB, and above Kafka's own default of 1 MiB.
pub fn worst_case_bytes(max_segments: u32, max_session_bytes: u64) -> u64 {
    let per_segment = (LONGEST_SEGMENT.len() + LONGEST_GAP.len() + LONGEST_RENDITION.len()) as u64;
    let value = LONGEST_REST.len() as u64 + LONGEST_STREAM + LONGEST_TOPIC;
    let headers = LONGEST_HEADERS.len() as u64 + LONGEST_KEY + LONGEST_TOPIC;
    let rest = value + LONGEST_KEY + headers + FRAMING;
    (u64::from(max_segments) * per_segment)
        .saturating_add(max_session_bytes.max(LARGEST_SEGMENT_TEXT))
        .saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use livesession_grouping::{Anomaly, CloseCause, NewSegment, Status, Summary};

    fn written(write: impl Fn(&mut Json<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Json { out: &mut out });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 1, 9, 10, 99, 100, -1, -9, -10, i64::MAX, i64::MIN] {
            assert_eq!(written(|json| json.number(number)), number.to_string());
        }
    }

    #[test]
    fn every_character_is_escaped_as_serde_does_it() {
        for character in (0..=0x2_fff).filter_map(char::from_u32).chain([char::MAX]) {
            let text = format!("a{character}b");
            assert_eq!(written(|json| json.text(&text)), serde_json::to_string(&text).unwrap(), "{character:?}");
        }
    }

    #[test]
    fn longest_forms_are_those_that_are_written() {
        let nil = SessionId::parse("00000000-0000-0000-0000-000000000000");
        let segment = NewSegment {
            file_id: "",
            start: Timestamp::MIN,
            end: Timestamp::MAX,
            url: None,
            format: None,
            task_id: None,
            template_id: None,
            bitrate_kbps: Some(i64::MAX),
            media_ms: Some(i64::MAX),
            size_bytes: Some(i64::MAX),
            anomalies: Anomaly::ALL.into_iter().collect(),
        };
        let span = Interval { start: Timestamp::MIN, end: Timestamp::MAX };
        let summary = Summary {
            session_id: nil.unwrap(),
            revision: u32::MAX,
            continues: nil,
            close_cause: Some(CloseCause::EndOfInput),
            start: span.start,
            end: span.end,
            recorded: span.duration(),
            first_offset: i64::MAX,
            last_offset: i64::MAX,
            watermark: Timestamp::MAX,
            seed_offset: i64::MAX,
            segments: 1,
        };
        let publication = Publication {
            stream: "".into(),
            summary,
            status: Status::Withdrawn,
            merged_into: nil,
            gaps: vec![span],
            segments: vec![Arc::new(Segment::new(i64::MAX, &segment))],
            allowed_at: Timestamp::MAX,
        };
        let mut value = Vec::new();
        encode(&publication, Source { topic: "", partition: i32::MAX }, &mut value);
        // One segment: the first index, a count of 1. An interval of the longest length begins in 1970.
        let list = |longest: &str| format!("[{}]", longest.strip_suffix(',').unwrap());
        let expected = LONGEST_REST
            .replacen("[]", &list(LONGEST_GAP), 1)
            .replacen("[]", &list(&LONGEST_RENDITION.replace("4294967295", "1")), 1)
            .replacen("[]", &list(&LONGEST_SEGMENT.replace("4294967295", "0")), 1)
            .replace(r#""start":"9999-12-31T23:59:59.999Z""#, r#""start":"1970-01-01T00:00:00.000Z""#);
        assert_eq!(String::from_utf8(value).unwrap(), expected);

        let headers = headers(&publication, "");
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let (ours, registry) = LONGEST_HEADERS.split_once(" __value_schema_id ").unwrap();
        assert_eq!(headers.join(" "), ours);
        assert_eq!(registry.len(), 36);
    }

    #[test]
    fn no_name_is_longer_than_those_in_the_longest_forms() {
        for cause in CloseCause::ALL {
            assert!(cause.as_str().len() <= CloseCause::EndOfInput.as_str().len());
        }
        for status in [Status::Closed, Status::Withdrawn, Status::Open] {
            assert!(status.as_str().len() <= Status::Withdrawn.as_str().len());
        }
    }
}
