//! Notifications: the rules of acceptance that look at a record alone, read from their description.
//!
//! Numbers are read from their digits: an id or a time in nanoseconds does not survive a float.

use std::collections::HashMap;

use serde_json::value::RawValue;

const MAX_VALUE_BYTES: usize = 262_144;
const MAX_DEPTH: usize = 32;
const MAX_ID_BYTES: usize = 2_048;
/// 2000-01-01T00:00:00Z in ms.
const YEAR_2000: i64 = 946_684_800_000;

/// What the rules need to know of the settings.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The stream id alone names a stream.
    pub only_stream_id: bool,
    pub max_segment: i64,
    pub max_clock_skew: i64,
}

/// A recorded interval, with what is published beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub stream: String,
    pub file: String,
    pub start: i64,
    pub end: i64,
    pub attributes: Attributes,
}

/// What does not decide where a segment belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub url: Option<String>,
    pub format: Option<String>,
    pub task_id: Option<String>,
    pub template_id: Option<String>,
    pub bitrate_kbps: Option<i64>,
    pub media_ms: Option<i64>,
    pub size_bytes: Option<i64>,
    /// In alphabetical order.
    pub anomalies: Vec<String>,
}

impl Attributes {
    /// Returns the name of the first attribute in which two differ. Values are not shown: an address may hold a secret.
    pub fn difference(&self, other: &Attributes) -> Option<&'static str> {
        let differences = [
            ("url", self.url != other.url),
            ("format", self.format != other.format),
            ("task id", self.task_id != other.task_id),
            ("template id", self.template_id != other.template_id),
            ("bitrate", self.bitrate_kbps != other.bitrate_kbps),
            ("media length", self.media_ms != other.media_ms),
            ("size", self.size_bytes != other.size_bytes),
            ("anomalies", self.anomalies != other.anomalies),
        ];
        differences.into_iter().find(|(_, differs)| *differs).map(|(name, _)| name)
    }

    /// An upper bound on what it counts towards `max_session_bytes`: a character is written as six bytes at the most.
    pub fn most_text_bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let once = length(&self.url) + length(&self.task_id);
        6 * (once + 2 * (length(&self.format) + length(&self.template_id)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    Segment(Segment),
    /// `kind` as in the metrics: `push_started`, `push_ended`, `record_ended`.
    Hint {
        stream: String,
        kind: &'static str,
        at: i64,
    },
    Other,
    Refused(&'static str),
}

/// Reads the value of an input record.
pub fn read(value: Option<&[u8]>, timestamp: Option<i64>, rules: &Rules) -> Notification {
    match value {
        None => Notification::Other,
        Some(bytes) => event(bytes, timestamp.filter(|ms| *ms >= 0), rules).unwrap_or_else(Notification::Refused),
    }
}

type Refusable<T> = Result<T, &'static str>;

/// A field as it was written.
#[derive(Clone, Debug)]
enum Field {
    Absent,
    /// Trimmed, and not empty.
    Text(String),
    /// The digits of a number.
    Number(String),
    Other,
}

struct Fields<'a>(HashMap<String, &'a RawValue>);

impl Fields<'_> {
    /// Reads a field; a text that is no text makes the record no JSON.
    fn get(&self, name: &str) -> Refusable<Field> {
        let Some(raw) = self.0.get(name).map(|raw| raw.get()) else { return Ok(Field::Absent) };
        Ok(match raw.as_bytes()[0] {
            b'n' => Field::Absent,
            b'"' => {
                let text: String = serde_json::from_str(raw).map_err(|_| "not_json")?;
                match text.trim_matches(|character: char| character.is_ascii_whitespace()) {
                    "" => Field::Absent,
                    trimmed => Field::Text(trimmed.to_owned()),
                }
            }
            b'-' | b'0'..=b'9' => Field::Number(raw.to_owned()),
            _ => Field::Other,
        })
    }
}

fn event(bytes: &[u8], timestamp: Option<i64>, rules: &Rules) -> Refusable<Notification> {
    if bytes.len() > MAX_VALUE_BYTES {
        return Err("too_large");
    }
    let text = str::from_utf8(bytes).map_err(|_| "not_json")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| "not_json")?;
    if depth(raw.get()) > MAX_DEPTH {
        return Err("too_deep");
    }
    if !raw.get().starts_with('{') {
        return Err("not_an_object");
    }
    let fields = Fields(serde_json::from_str(raw.get()).map_err(|_| "not_json")?);
    match integer(&fields.get("event_type")?).ok().flatten().ok_or("no_event_type")? {
        100 => segment(&fields, timestamp, rules),
        0 => hint(&fields, "push_ended", timestamp, rules),
        1 => hint(&fields, "push_started", timestamp, rules),
        332 => match fields.get("record_event")? {
            Field::Text(text) if text == "record_ended" => hint(&fields, "record_ended", timestamp, rules),
            _ => Ok(Notification::Other),
        },
        _ => Ok(Notification::Other),
    }
}

fn segment(fields: &Fields<'_>, timestamp: Option<i64>, rules: &Rules) -> Refusable<Notification> {
    let names = [
        "file_id",
        "video_url",
        "start_time",
        "end_time",
        "start_time_usec",
        "end_time_usec",
        "duration",
        "file_format",
        "file_size",
        "task_id",
        "record_temp_id",
        "record_bps",
    ];
    let key = key_fields(fields, "app", rules)?;
    let mut read = Vec::new();
    for name in names {
        read.push(fields.get(name)?);
    }
    let field = |name: &str| &read[names.iter().position(|known| *known == name).expect("it is in the list")];
    let stream = stream_key(&key)?;

    let mut found = Anomalies::default();
    let file = match identity(field("file_id"))? {
        Some(file) if file != "0" => file,
        _ => {
            found.add("url_as_id");
            identity(field("video_url"))?.ok_or("no_file")?
        }
    };
    let (end, end_is_scaled) = time(field("end_time")).ok_or("no_end")?;
    let given = time(field("start_time"));
    let start_is_scaled = given.is_some_and(|(_, scaled)| scaled);
    let parts = [field("start_time_usec"), field("end_time_usec")];
    let (start_part, end_part) = match parts.map(micros) {
        [Some(start), Some(end)] if !start_is_scaled && !end_is_scaled => (start / 1_000, end / 1_000),
        _ => {
            if parts.iter().any(|part| !matches!(part, Field::Absent)) {
                found.add("usec_ignored");
            }
            (0, 0)
        }
    };
    let end = end + end_part;
    let start = match given.map(|(start, _)| start + start_part) {
        Some(start) if start <= end => {
            if start_is_scaled {
                found.add("time_scaled");
            }
            start
        }
        unusable => {
            let reason = if unusable.is_some() { "inverted_interval" } else { "no_start" };
            let length = integer(field("duration")).ok().flatten().filter(|seconds| (1..=86_400).contains(seconds));
            found.add("start_rebuilt");
            end - length.ok_or(reason)? * 1_000
        }
    };
    if end_is_scaled {
        found.add("time_scaled");
    }
    if end - start > rules.max_segment {
        return Err("interval_too_long");
    }
    check_clock(end, timestamp, rules)?;

    let mut attributes = Attributes {
        url: found.text(field("video_url")),
        format: found.text(field("file_format")).map(|format| format.to_lowercase()),
        task_id: found.text(field("task_id")),
        template_id: found.text(field("record_temp_id")),
        bitrate_kbps: found.number(field("record_bps"), 1),
        media_ms: found.number(field("duration"), 1_000),
        size_bytes: found.number(field("file_size"), 1),
        anomalies: Vec::new(),
    };
    found.0.sort_unstable();
    found.0.dedup();
    attributes.anomalies = found.0.into_iter().map(str::to_owned).collect();
    Ok(Notification::Segment(Segment { stream, file, start, end, attributes }))
}

fn hint(fields: &Fields<'_>, kind: &'static str, timestamp: Option<i64>, rules: &Rules) -> Refusable<Notification> {
    let record_ended = kind == "record_ended";
    let is_without_app = record_ended && matches!(fields.get("app")?, Field::Absent);
    let key = key_fields(fields, if is_without_app { "domain" } else { "app" }, rules)?;
    let at = fields.get("event_time")?;
    if !record_ended {
        fields.get("sequence")?;
    }
    let stream = stream_key(&key)?;
    let (at, _) = time(&at).ok_or("no_event_time")?;
    check_clock(at, timestamp, rules)?;
    Ok(Notification::Hint { stream, kind, at })
}

fn key_fields(fields: &Fields<'_>, app: &str, rules: &Rules) -> Refusable<[Field; 3]> {
    let stream_id = fields.get("stream_id")?;
    if rules.only_stream_id {
        return Ok([Field::Absent, Field::Absent, stream_id]);
    }
    Ok([fields.get(app)?, fields.get("appname")?, stream_id])
}

fn stream_key([app, appname, stream_id]: &[Field; 3]) -> Refusable<String> {
    let escaped = |part: String| part.replace('%', "%25").replace('/', "%2F");
    let stream_id = identity(stream_id)?.ok_or("no_stream")?;
    let parts = [identity(app)?.unwrap_or_default(), identity(appname)?.unwrap_or_default(), stream_id];
    Ok(parts.map(escaped).join("/"))
}

fn check_clock(at: i64, timestamp: Option<i64>, rules: &Rules) -> Refusable<()> {
    match timestamp {
        Some(received) if at > received + rules.max_clock_skew => Err("ahead_of_clock"),
        _ => Ok(()),
    }
}

/// The nesting of a JSON text that is well formed.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// A field that cannot be read.
struct Unreadable;

fn integer(field: &Field) -> Result<Option<i64>, Unreadable> {
    match field {
        Field::Absent => Ok(None),
        Field::Text(text) => text.parse().map(Some).map_err(|_| Unreadable),
        Field::Number(digits) => whole(digits).map(Some).ok_or(Unreadable),
        Field::Other => Err(Unreadable),
    }
}

/// The value of a number of JSON, if it is whole and fits.
fn whole(number: &str) -> Option<i64> {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{before}{after}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let kept = digits.trim_end_matches('0');
    let zeros = exponent.parse::<i64>().ok()? - after.len() as i64 + (digits.len() - kept.len()) as i64;
    let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros < 20)?;
    format!("{sign}{kept}{}", "0".repeat(zeros)).parse().ok()
}

fn identity(field: &Field) -> Refusable<Option<String>> {
    let text = match field {
        Field::Absent => return Ok(None),
        Field::Text(text) => text,
        Field::Number(digits) if digits.parse::<u64>().is_ok() => digits,
        Field::Number(_) | Field::Other => return Err("bad_id"),
    };
    if text.len() > MAX_ID_BYTES || text.chars().any(char::is_control) {
        return Err("bad_id");
    }
    Ok(Some(text.clone()))
}

/// A time in ms, and whether it was not in seconds.
fn time(field: &Field) -> Option<(i64, bool)> {
    let value = integer(field).ok().flatten()?;
    let (ms, scaled) = match value {
        ..100_000_000_000 => (value.checked_mul(1_000)?, false),
        100_000_000_000..100_000_000_000_000 => (value, true),
        100_000_000_000_000..100_000_000_000_000_000 => (value / 1_000, true),
        _ => (value / 1_000_000, true),
    };
    (ms >= YEAR_2000).then_some((ms, scaled))
}

fn micros(field: &Field) -> Option<i64> {
    integer(field).ok().flatten().filter(|part| (0..=999_999).contains(part))
}

/// What was odd about a segment.
#[derive(Default)]
struct Anomalies(Vec<&'static str>);

impl Anomalies {
    fn add(&mut self, name: &'static str) {
        self.0.push(name);
    }

    fn text(&mut self, field: &Field) -> Option<String> {
        match field {
            Field::Absent => None,
            Field::Text(text) => Some(text.clone()),
            Field::Number(digits) if digits.parse::<u64>().is_ok() => Some(digits.clone()),
            Field::Number(_) | Field::Other => {
                self.add("field_unreadable");
                None
            }
        }
    }

    fn number(&mut self, field: &Field, factor: i64) -> Option<i64> {
        let read = match integer(field) {
            Ok(None) => return None,
            Ok(Some(value)) if value >= 0 => value.checked_mul(factor),
            _ => None,
        };
        if read.is_none() {
            self.add("field_unreadable");
        }
        read
    }
}
