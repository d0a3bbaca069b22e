//! Topics without a fault, made by hand: two streams, a bridge, refusals and a duplicate, all of it closed.
//!
//! ```text
//!  offset                0   1       2         3         4     5   6   7           8        9     10
//!  record                a   b   garbage   b again   other   x   y   clock   z (bridge)   late   clock
//!  published, room-1                                             {a, b}
//!  published, room-2                                             {x} {y}    {x, z, y}, y withdrawn
//! ```

use serde_json::{Value, json};

use crate::audit::{Audit, Ends, Told, Trimmed};
use crate::name::session_id;
use crate::record::Record;
use crate::report::Report;

/// 2026-03-01T00:00:00Z.
pub const BEGIN: i64 = 1_772_323_200_000;
const SECOND: i64 = 1_000;
pub const GAP: i64 = 60 * SECOND;
const RECORDING_INTERVAL: i64 = 600 * SECOND;
const NOTIFICATION_DELAY: i64 = 10 * SECOND;
const MAX_SEGMENT: i64 = 3_600 * SECOND;
const ALLOWED_LATENESS: i64 = 7_200 * SECOND;

/// Streams as they are keyed.
pub const ROOM_1: &str = "//room-1";
pub const ROOM_2: &str = "//room-2";

/// When the two clock records say that it is, in seconds after `BEGIN`.
pub const FIRST_CLOCK: i64 = 2_000;
pub const LAST_CLOCK: i64 = 9_000;

/// Everything that an audit reads.
#[derive(Clone)]
pub struct Topics {
    pub changelog: Vec<Record>,
    pub letters: Vec<Record>,
    pub input: Vec<Record>,
    pub output: Vec<Record>,
    pub ends: Ends,
    pub told: Told,
    pub trimmed: Trimmed,
}

/// A segment by file, offset and seconds after `BEGIN`.
#[derive(Clone, Copy)]
pub struct Seg(pub &'static str, pub i64, pub i64, pub i64);

pub const A: Seg = Seg("a", 0, 0, 100);
pub const B: Seg = Seg("b", 1, 160, 300);
pub const X: Seg = Seg("x", 5, 0, 100);
pub const Y: Seg = Seg("y", 6, 300, 400);
pub const Z: Seg = Seg("z", 8, 150, 290);

fn at(seconds: i64) -> i64 {
    BEGIN + seconds * SECOND
}

fn text(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).unwrap();
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

pub fn notification(stream: &str, Seg(file, _, start, end): Seg) -> Value {
    json!({
        "event_type": 100, "stream_id": stream, "file_id": file, "file_format": "MP4", "duration": 7,
        "start_time": at(start) / SECOND, "end_time": at(end) / SECOND, "video_url": format!("http://vod/{file}"),
    })
}

pub fn clock(seconds: i64) -> Value {
    json!({ "event_type": 332, "record_event": "record_ended", "stream_id": "clock", "event_time": at(seconds) / SECOND })
}

pub fn id(stream: &str, Seg(file, _, _, end): Seg) -> String {
    session_id(stream, file, at(end))
}

/// A record whose value is JSON.
pub fn record(offset: i64, key: &str, value: &Value) -> Record {
    let value = Some(value.to_string().into_bytes());
    Record { offset, timestamp: Some(at(100_000)), key: Some(key.as_bytes().to_vec()), value, ..Record::default() }
}

/// A published session of segments in order of their start, under a watermark in seconds.
pub fn session(stream: &str, seed: Seg, revision: i64, segments: &[Seg], watermark: i64) -> Value {
    let start = segments.iter().map(|segment| segment.2).min().unwrap();
    let end = segments.iter().map(|segment| segment.3).max().unwrap();
    let silences: Vec<(i64, i64)> =
        segments.windows(2).map(|pair| (pair[0].3, pair[1].2)).filter(|(from, to)| from < to).collect();
    let silent: i64 = silences.iter().map(|(from, to)| to - from).sum();
    let span = |(from, to): &(i64, i64)| json!({ "start": text(at(*from)), "end": text(at(*to)), "duration_ms": (to - from) * SECOND });
    let segment = |Seg(file, offset, start, end): &Seg| {
        json!({
            "file_id": file, "url": format!("http://vod/{file}"), "format": "mp4", "task_id": null, "rendition": 0,
            "start": text(at(*start)), "end": text(at(*end)), "duration_ms": (end - start) * SECOND,
            "media_ms": 7_000, "size_bytes": null, "anomalies": [], "offset": offset,
        })
    };
    let offsets = || segments.iter().map(|segment| segment.1);
    json!({
        "version": 1, "session_id": id(stream, seed), "revision": revision, "status": "closed", "merged_into": null,
        "continues": null, "close_cause": "watermark",
        "stream": { "key": stream, "app": "", "appname": "", "stream_id": &stream[2..] },
        "start": text(at(start)), "end": text(at(end)), "duration_ms": (end - start) * SECOND,
        "recorded_ms": (end - start - silent) * SECOND, "gaps": silences.iter().map(span).collect::<Vec<_>>(),
        "renditions": [{ "format": "mp4", "template_id": null, "bitrate_kbps": null }],
        "segments": segments.iter().map(segment).collect::<Vec<_>>(),
        "source": { "topic": "in", "partition": 0, "first_offset": offsets().min(), "last_offset": offsets().max() },
        "watermark": text(at(watermark)),
    })
}

/// The same session, withdrawn.
pub fn withdrawn(mut session: Value, into: &str, watermark: i64) -> Value {
    session["revision"] = json!(session["revision"].as_i64().unwrap() + 1);
    session["status"] = json!("withdrawn");
    session["merged_into"] = json!(into);
    session["close_cause"] = Value::Null;
    session["watermark"] = json!(text(at(watermark)));
    for list in ["segments", "gaps", "renditions"] {
        session[list] = json!([]);
    }
    session
}

/// What the state keeps of a published session.
pub fn head(session: &Value) -> Value {
    let ms =
        |name: &str| chrono::DateTime::parse_from_rfc3339(session[name].as_str().unwrap()).unwrap().timestamp_millis();
    json!({
        "version": 1, "stream": session["stream"]["key"], "revision": session["revision"], "continues": null,
        "close_cause": session["close_cause"], "start": ms("start"), "end": ms("end"),
        "recorded_ms": session["recorded_ms"], "first_offset": session["source"]["first_offset"],
        "last_offset": session["source"]["last_offset"], "watermark": ms("watermark"), "seed_offset": 0,
        "segments": session["segments"].as_array().unwrap().len(), "frozen_at": null,
    })
}

pub fn batch(segments: &[(&str, Seg)]) -> Value {
    let row = |(index, (_, Seg(file, offset, start, end))): (usize, &(&str, Seg))| {
        let texts = json!([file, format!("http://vod/{file}"), "mp4", null, null]);
        json!([[index, offset, at(*start), at(*end)], texts, [null, 7_000, null, []]])
    };
    let streams: Vec<&str> = segments.iter().map(|(stream, _)| *stream).collect();
    json!({ "version": 1, "streams": streams, "segments": segments.iter().enumerate().map(row).collect::<Vec<_>>() })
}

pub fn marker(next_offset: i64, watermark: i64) -> Value {
    json!({
        "version": 1, "next_offset": next_offset, "watermark": at(watermark), "at": at(watermark), "forgotten": null,
        "policy": {
            "stream_key": "app/appname/stream_id", "gap": GAP, "recording_interval": RECORDING_INTERVAL,
            "max_segment": MAX_SEGMENT, "grace": NOTIFICATION_DELAY, "amend_window": ALLOWED_LATENESS, "max_hold": ALLOWED_LATENESS,
            "max_session_duration": 86_400_000, "max_session_segments": 2_000, "max_session_bytes": 786_432,
            "overrides": [["//radio/*", 1]],
        },
    })
}

pub fn letter(offset: i64, of: &Record, reason: &str) -> Record {
    let mut letter = Record { offset, ..of.clone() };
    for (name, value) in [
        ("__dlq.errors.topic", "in".to_owned()),
        ("__dlq.errors.partition", of.partition.to_string()),
        ("__dlq.errors.offset", of.offset.to_string()),
        ("__dlq.errors.group", "app".to_owned()),
        ("livesession-dlq-reason", reason.to_owned()),
    ] {
        letter.headers.push((name.as_bytes().to_vec(), Some(value.into_bytes())));
    }
    letter
}

/// Everything as it should be.
pub fn faultless() -> Topics {
    let other = json!({ "event_type": 200, "stream_id": "room-1" });
    let late = notification("room-1", Seg("late", 9, 1_000, 1_100));
    let values = [
        notification("room-1", A),
        notification("room-1", B),
        json!("garbage"),
        notification("room-1", B),
        other,
        notification("room-2", X),
        notification("room-2", Y),
        clock(FIRST_CLOCK),
        notification("room-2", Z),
        late,
        clock(LAST_CLOCK),
    ];
    let mut input: Vec<Record> = (0..).zip(&values).map(|(offset, value)| record(offset, "", value)).collect();
    input[2].value = Some(b"garbage".to_vec());
    // The second last record is late only because of this order.
    input.swap(9, 10);
    for (offset, record) in (0..).zip(&mut input) {
        record.offset = offset;
    }
    let letters = vec![letter(0, &input[2], "not_json"), letter(1, &input[10], "late")];

    let published = [
        session(ROOM_1, A, 1, &[A, B], FIRST_CLOCK),
        session(ROOM_2, X, 1, &[X], FIRST_CLOCK),
        session(ROOM_2, Y, 1, &[Y], FIRST_CLOCK),
    ];
    let bridged = session(ROOM_2, X, 2, &[X, Z, Y], FIRST_CLOCK);
    let gone = withdrawn(published[2].clone(), &id(ROOM_2, X), FIRST_CLOCK);
    let sessions: Vec<&Value> = published.iter().chain([&bridged, &gone]).collect();
    let named = |(offset, session): (i64, &&Value)| {
        let mut record = record(offset, session["stream"]["key"].as_str().unwrap(), session);
        let name = format!("{}:{}", session["session_id"].as_str().unwrap(), session["revision"]);
        record.headers.push((b"ce_id".to_vec(), Some(name.into_bytes())));
        record
    };
    let changelog = [
        ("b/0".to_owned(), batch(&[(ROOM_1, A), (ROOM_1, B)])),
        ("b/5".to_owned(), batch(&[(ROOM_2, X), (ROOM_2, Y)])),
        ("m".to_owned(), marker(8, FIRST_CLOCK)),
        ("b/8".to_owned(), batch(&[(ROOM_2, Z)])),
        (format!("p/{}", id(ROOM_1, A)), head(&published[0])),
        (format!("p/{}", id(ROOM_2, X)), head(&bridged)),
        ("h///clock".to_owned(), json!({ "version": 1 })),
        ("m".to_owned(), marker(11, LAST_CLOCK)),
    ];
    Topics {
        changelog: (0..).zip(&changelog).map(|(offset, (key, value))| record(offset, key, value)).collect(),
        letters,
        input,
        output: (0..).zip(&sessions).map(named).collect(),
        ends: Ends { committed: [(0, 11)].into(), input: [(0, 11)].into() },
        told: Told {
            input: "in".to_owned(),
            output: "out".to_owned(),
            dead_letters: "dlq".to_owned(),
            changelog: "state".to_owned(),
            group: "app".to_owned(),
            max_clock_skew: 3_600_000,
            gap: Some(GAP),
            never_idle: true,
            settings_changed: false,
        },
        trimmed: Trimmed::default(),
    }
}

impl Topics {
    /// Audits everything that has no file.
    pub fn audit(&self) -> Audit {
        let mut audit = Audit::new(self.told.clone(), self.trimmed.clone());
        self.changelog.iter().for_each(|record| audit.changelog(record.clone()));
        self.letters.iter().for_each(|record| audit.dead_letter(record.clone()));
        self.input.iter().for_each(|record| audit.input(record));
        self.output.iter().for_each(|record| audit.session(record));
        audit.finish(&self.ends);
        audit
    }

    pub fn report(&self) -> Report {
        self.audit().report
    }

    /// Changes the value of a record of the output.
    pub fn change_session(&mut self, index: usize, change: impl FnOnce(&mut Value)) {
        change_value(&mut self.output[index], change);
    }

    /// Changes the last value of a key of the changelog.
    pub fn change_state(&mut self, key: &str, change: impl FnOnce(&mut Value)) {
        let is_key = |record: &&mut Record| record.key.as_deref() == Some(key.as_bytes());
        change_value(self.changelog.iter_mut().rev().find(is_key).unwrap(), change);
    }

    /// Deletes a key of the changelog, as the worker would.
    pub fn delete_state(&mut self, key: &str) {
        let mut record = record(self.changelog.len() as i64, key, &Value::Null);
        record.value = None;
        self.changelog.push(record);
    }
}

fn change_value(record: &mut Record, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    change(&mut value);
    record.value = Some(value.to_string().into_bytes());
}
