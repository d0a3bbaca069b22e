//! Sessions that a limit has cut: the second part is named after the first, which stays in the state for its sake.

use serde_json::json;

use super::topics::{self, A, B, FIRST_CLOCK, ROOM_1, Seg, Topics, faultless};
use crate::report::Kind;

/// The faultless topics, but room-1 is cut in two after its first file.
fn cut() -> Topics {
    let mut topics = faultless();
    topics.change_state("m", |marker| marker["policy"]["max_session_segments"] = json!(1));
    let mut first = topics::session(ROOM_1, A, 1, &[A], 300);
    first["close_cause"] = json!("limit");
    let mut second = topics::session(ROOM_1, B, 1, &[B], FIRST_CLOCK);
    second["continues"] = first["session_id"].clone();
    topics.output[0] = topics::record(0, ROOM_1, &first);
    topics.output.push(topics::record(5, ROOM_1, &second));
    for (at, seed, session) in [(8, A, first), (10, B, second)] {
        let mut head = topics::head(&session);
        head["continues"] = session["continues"].clone();
        topics.changelog.push(topics::record(at, &format!("p/{}", topics::id(ROOM_1, seed)), &head));
        topics.changelog.push(topics::record(at + 1, &format!("b/{}", seed.1), &topics::batch(&[(ROOM_1, seed)])));
    }
    topics
}

/// The same once the state has forgotten what it can under a watermark.
fn forgotten(watermark: i64) -> Topics {
    let mut topics = cut();
    topics.change_state("m", |marker| {
        marker["forgotten"] = json!(watermark);
        marker["watermark"] = json!(watermark);
    });
    topics.told.never_idle = false;
    topics
}

/// The last watermark under which a session that ends with this file is remembered.
fn bound(Seg(_, _, _, end): Seg) -> i64 {
    topics::BEGIN + (end + 60 + 3_600 + 7_200) * 1_000
}

#[test]
fn session_over_its_limits_may_be_cut() {
    let report = cut().report();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn first_part_may_be_kept_as_long_as_the_second() {
    for watermark in [bound(A), bound(A) + 1, bound(B)] {
        let report = forgotten(watermark).report();
        assert!(report.is_clean(), "{report}");
    }
    let report = forgotten(bound(B) + 1).report().to_string();
    for key in ["b/0", "b/1"] {
        assert!(report.contains(&format!("state/0 key {key}: all of its segments are forgotten")), "{report}");
    }
}

#[test]
fn neither_part_may_be_missing_before_its_time() {
    for (key, part) in [("b/0", A), ("b/1", B)] {
        let mut topics = forgotten(bound(part));
        topics.delete_state(key);
        assert_eq!(topics.report().kinds(), [Kind::StateLost], "{key}: {}", topics.report());
    }
}
