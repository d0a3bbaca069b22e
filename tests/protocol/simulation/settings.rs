//! The worker's settings in a simulated world.

use std::time::Duration;

use livesession::metrics::{Labels, Metrics};
use livesession::partition::Start;
use livesession::worker::{SLICE, Settings, Topics};
use livesession_formats::notification;
use livesession_grouping::time::Millis;
use livesession_grouping::{Policy, Settings as Rules};

use super::chance::Chance;
use super::traffic::{
    ALLOWED_LATENESS, GAP, MAX_CLOCK_SKEW, MAX_HOLD, MAX_SEGMENT, NOTIFICATION_DELAY, RECORDING_INTERVAL,
};

pub fn draw(chance: &Chance, punctuates: bool) -> Settings {
    let span = |ms| Millis::from_ms(ms).expect("a span");
    let policy = Policy::new(Rules {
        gap: span(GAP),
        recording_interval: span(RECORDING_INTERVAL),
        max_segment: span(MAX_SEGMENT),
        notification_delay: span(NOTIFICATION_DELAY),
        allowed_lateness: span(ALLOWED_LATENESS),
        max_hold: span(MAX_HOLD),
        max_session_segments: if chance.happens(200) { 2 + chance.below(4) as u32 } else { u32::MAX },
        ..Rules::default()
    });
    Settings {
        application_id: "simulation".to_owned(),
        topics: Topics {
            input: "input".to_owned(),
            output: "output".to_owned(),
            dead_letter: "dead".to_owned(),
            changelog: "changelog".to_owned(),
            latest: None,
        },
        policy: policy.expect("the policy keeps what the proofs need"),
        rules: notification::Rules {
            max_segment: span(MAX_SEGMENT),
            max_clock_skew: span(MAX_CLOCK_SKEW),
            ..notification::Rules::default()
        },
        start: if chance.happens(200) { Start::Latest } else { Start::Earliest },
        commit_interval: Duration::from_millis(*chance.pick(&[0, 50, 200, 1_000])),
        commit_max_records: *chance.pick(&[1, 5, 1_000]),
        commit_timeout: Duration::from_secs(5),
        idle_after: if punctuates { Duration::from_secs(3) } else { Duration::from_secs(1 << 40) },
        cloudevents: chance.happens(100),
        schema_guid: String::new(),
        dead_letter_partitions: 1,
        max_dead_letter_bytes: 1 << 20,
        slice: if chance.happens(300) { 1 + chance.below(3) as usize } else { SLICE },
        between_slices: if chance.happens(300) { 2 + chance.below(3) as usize } else { 1 },
    }
}

/// Where the workers count. The simulation does not look at it.
pub fn metrics() -> Metrics {
    Metrics::new(Labels {
        reasons: &[
            "not_json",
            "no_stream",
            "inverted_interval",
            "interval_too_long",
            "ahead_of_clock",
            "late",
            "conflict",
        ],
        anomalies: &["time_scaled"],
        causes: &["watermark", "push_ended", "max_hold", "limit"],
    })
}
