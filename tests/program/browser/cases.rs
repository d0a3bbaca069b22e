//! The pages that a browser is sent to: whatever can be in an index, and what is answered when it cannot be shown.

use livesession_formats::time::parse_timestamp;
use std::sync::Arc;

use livesession_index::{Origin, Writer};

use crate::http::support::{Server, id, session, time, withdrawn};

/// A page and the server that has it.
pub struct Case {
    pub name: &'static str,
    pub server: Arc<Server>,
    pub path: String,
    pub status: u16,
}

/// Names of [`all`], in their order.
pub const NAMES: [&str; 26] = [
    "empty_index",
    "no_index_yet",
    "one_second",
    "one_day",
    "across_midnight",
    "overlapping_sessions",
    "many_sessions_of_many_streams",
    "five_thousand_segments",
    "written_from_right_to_left",
    "markup_in_a_stream_id",
    "very_long_names",
    "index_that_lags",
    "nothing_in_the_window",
    "part_of_a_stream_key",
    "session_that_is_open",
    "session_of_one_file",
    "session_with_gaps_overlaps_and_renditions",
    "session_of_five_thousand_segments",
    "session_with_markup",
    "session_with_very_long_names",
    "session_that_was_withdrawn",
    "form_for_a_file",
    "file_of_a_withdrawn_session",
    "file_that_nobody_has",
    "session_that_does_not_exist",
    "time_that_cannot_be_read",
];

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
const MARKUP: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";

fn server(name: &str, records: &[livesession_formats::session::SessionRecord]) -> Arc<Server> {
    Arc::new(Server::new(&format!("browser-{name}"), records))
}

/// Makes all of them, with their indexes.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |server: &Arc<Server>, path: &str, status: u16| {
        let name = NAMES[cases.len()];
        cases.push(Case { name, server: Arc::clone(server), path: path.to_owned(), status });
    };

    let empty = server("empty", &[]);
    let origin = Origin { topic: "live-sessions".to_owned(), source_topic: "recording-notifications".to_owned() };
    Writer::open(&empty.path(), &origin).unwrap();
    add(&empty, "/", 200);
    add(&server("missing", &[]), "/", 503);

    let second = server("second", &[session(1, "room-7", &[(0, 1)])]);
    let window = |from: i64, to: i64| format!("/?from={}&to={}", time(from), time(to));
    add(&second, &window(0, 1), 200);
    let files: Vec<(i64, i64)> = (0..24).map(|hour| (hour * HOUR, hour * HOUR + HOUR - 90)).collect();
    let day = server("day", &[session(1, "room-7", &files), session(2, "room-8", &[(2 * HOUR, 9 * HOUR)])]);
    add(&day, &window(0, DAY), 200);
    let midnight = server("midnight", &[session(1, "room-7", &[(DAY - 900, DAY - 300), (DAY - 240, DAY + 1_800)])]);
    add(&midnight, "/", 200);
    let spans = [(0, 3 * HOUR), (HOUR, 2 * HOUR), (HOUR + 600, 5 * HOUR), (4 * HOUR, 4 * HOUR)];
    let overlapping: Vec<_> = (1..).zip(spans).map(|(number, span)| session(number, "room-7", &[span])).collect();
    add(&server("overlap", &overlapping), "/", 200);
    add(&many(), "/", 200);
    let files: Vec<(i64, i64)> = (0..5_000).map(|n| (n * 10, n * 10 + 9)).collect();
    let long = server("long", &[session(1, "room-7", &files), session(2, "room-8", &[(0, 9 * HOUR)])]);
    add(&long, "/", 200);
    let right_to_left = server(
        "rtl",
        &[
            session(1, "غرفة-٧ البث المباشر", &[(0, HOUR), (HOUR + 120, 2 * HOUR)]),
            session(2, "חדר 8 (live)", &[(HOUR, 3 * HOUR)]),
            session(3, "房间七", &[(HOUR, 3 * HOUR)]),
        ],
    );
    add(&right_to_left, "/", 200);
    let mut hostile = session(1, MARKUP, &[(0, HOUR), (HOUR + 300, 2 * HOUR)]);
    hostile.segments[0].file_id = MARKUP.to_owned();
    hostile.segments[0].url = Some(format!("javascript:{MARKUP}"));
    hostile.segments[1].url = Some(format!("https://vod.example.com/{MARKUP}"));
    hostile.segments[0].anomalies = vec![MARKUP.to_owned()];
    hostile.segments[0].format = Some(MARKUP.to_owned());
    let markup = server("markup", &[hostile]);
    add(&markup, "/", 200);
    let mut wordy = session(1, &"room-without-a-break-".repeat(60), &[(0, HOUR), (HOUR + 300, 2 * HOUR)]);
    for segment in &mut wordy.segments {
        segment.file_id = "file-without-a-break-".repeat(60);
        segment.url = Some(format!("https://vod.example.com/{}", "folder/".repeat(150)));
    }
    let names = server("names", &[wordy, session(2, "a b ".repeat(200).trim(), &[(0, HOUR)])]);
    add(&names, "/", 200);
    let lagging = server("lagging", &[session(1, "room-7", &[(0, HOUR)])]);
    lagging.freshness.set_lag(1_234_567);
    lagging.freshness.record_commit(parse_timestamp(&time(2 * HOUR)).unwrap());
    add(&lagging, "/", 200);
    add(&lagging, &format!("{}&stream=a%2Fb%2Froom-7", window(5 * DAY, 6 * DAY)), 200);
    add(&day, "/?stream=ROOM", 200);
    let mut open = serde_json::to_value(session(1, "room-7", &[(0, HOUR)])).unwrap();
    open["status"] = "open".into();
    open["close_cause"] = serde_json::Value::Null;
    let open = livesession_formats::session::decode(open.to_string().as_bytes()).unwrap();
    add(&server("open", &[open]), "/", 200);

    let detail = |number: u32| format!("/sessions/{}", id(number));
    add(&second, &detail(1), 200);
    add(&renditions(), &detail(1), 200);
    add(&long, &detail(1), 200);
    add(&markup, &detail(1), 200);
    add(&names, &detail(1), 200);
    let gone = session(2, "room-7", &[(HOUR, 2 * HOUR)]);
    let joined = server("withdrawn", &[session(1, "room-7", &[(0, HOUR)]), gone.clone(), withdrawn(gone, 1)]);
    add(&joined, &detail(2), 200);
    add(&joined, "/recordings", 200);
    add(&joined, "/recordings?file_id=2-0", 200);
    add(&joined, "/recordings?file_id=nobody", 404);
    add(&joined, &detail(9), 404);
    add(&joined, "/?from=yesterday%22%3E%3Cscript%3E", 400);
    assert_eq!(cases.len(), NAMES.len());
    cases
}

/// An evening of thirty streams, and more sessions than fit on a page.
fn many() -> Arc<Server> {
    let records: Vec<_> = (1..=240_u32)
        .map(|number| {
            let (stream, turn) = (number % 30, i64::from(number / 30));
            let start = turn * 10_000 + i64::from(stream) * 311;
            let files = [(start, start + 2_400), (start + 2_400, start + 4_000), (start + 4_130, start + 6_000)];
            session(number, &format!("room-{stream}"), &files)
        })
        .collect();
    server("many", &records)
}

/// A session in three renditions, with an overlap, a covered file and silences.
fn renditions() -> Arc<Server> {
    let files = [(0, 1_800), (1_700, 3_600), (3_700, 5_400), (3_800, 4_000), (5_460, 5_520), (0, 5_520)];
    let mut record = serde_json::to_value(session(1, "room-7", &files)).unwrap();
    for (number, kbps) in [(4, serde_json::json!(900)), (5, serde_json::json!(0))] {
        record["segments"][number]["rendition"] = (number - 3).into();
        let rendition = serde_json::json!({"format": "hls", "template_id": "1234", "bitrate_kbps": kbps, "segments": 1,
            "recorded_ms": 60_000, "size_bytes": 1_000});
        record["renditions"].as_array_mut().unwrap().push(rendition);
        record["segments"][number]["format"] = "hls".into();
    }
    record["revision"] = 3.into();
    record["continues"] = id(7).into();
    server("renditions", &[livesession_formats::session::decode(record.to_string().as_bytes()).unwrap()])
}
