//! The policy: when a session closes, and when it is forgotten.
//!
//! Turns durations into bounds on the watermark. Compares and never acts: `grouper` acts. Reads no clock: the watermark is
//! the only "now".
//!
//! ```text
//! end ─ gap ─▶ last begin of what touches it ─┬─ recording_interval ─▶ its normal end ─ notification_delay ─▶ has arrived: close
//!                                             └─ max_segment ─▶ its latest end ─ allowed_lateness ─▶ is late: forget
//! ```
//!
//! A segment's length is in both because a segment is announced at its *end*: when the gap has passed, the next one may be
//! half recorded. Closing assumes the normal length (a miss is amended), forgetting the longest accepted one (no miss
//! possible). [`Policy::new`] refuses what would break this, and [`Millis`] is bounded, so no comparison can fail.

use crate::time::{Millis, Timestamp};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The durations and limits of the grouping rules, as an operator sets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The longest silence inside a session, inclusive.
    pub gap: Millis,
    /// The normal length of a file, after which the template cuts it.
    pub recording_interval: Millis,
    /// The longest segment that is accepted at all.
    pub max_segment: Millis,
    /// The normal delay of a segment's notification, from the segment's end.
    pub notification_delay: Millis,
    /// The longest delay of a notification that is still accepted, from the segment's end, inclusive.
    pub allowed_lateness: Millis,
    /// The longest time for which a push on air can hold a session open, from the session's end.
    pub max_hold: Millis,
    pub max_session_duration: Millis,
    pub max_session_segments: u32,
    /// Text of the session's segments, as written in JSON ([`crate::NewSegment::text_bytes`]).
    pub max_session_bytes: u64,
    /// Another gap for some streams; the first match wins.
    pub overrides: Vec<Override>,
}

/// Another gap for the streams whose key matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// A stream key, in which each `*` stands for any text, `/` included.
    pub streams: String,
    pub gap: Millis,
}

impl Default for Settings {
    fn default() -> Settings {
        const MINUTE: u32 = 60;
        const HOUR: u32 = 60 * MINUTE;
        Settings {
            gap: Millis::from_secs(3 * MINUTE),
            recording_interval: Millis::from_secs(2 * HOUR),
            max_segment: Millis::from_secs(24 * HOUR),
            notification_delay: Millis::from_secs(15 * MINUTE),
            allowed_lateness: Millis::from_secs(24 * HOUR),
            max_hold: Millis::from_secs(24 * HOUR),
            max_session_duration: Millis::from_secs(24 * HOUR),
            max_session_segments: 2_000,
            max_session_bytes: 768 * 1_024,
            overrides: Vec::new(),
        }
    }
}

/// A combination of settings that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {problem}")]
pub struct Problem {
    /// The setting to change, by its name in the configuration.
    pub setting: &'static str,
    pub problem: String,
}

/// Settings that keep what the proofs of the rules need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    settings: Settings,
}

impl Default for Policy {
    /// Returns the policy of the default settings, which a test shows to be valid.
    fn default() -> Policy {
        Policy { settings: Settings::default() }
    }
}

impl Policy {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Every problem at once:
    /// * `allowed_lateness < notification_delay`: a segment that is on time would be refused as late;
    /// * `max_segment < recording_interval`: a normal file would be refused, and a session forgotten before it closes;
    /// * `max_hold > max_segment + allowed_lateness`: a push would hold a session for longer than it is remembered, and hints
    ///   would decide which file is known;
    /// * `max_session_duration < max_segment`: a single accepted file would break the limit;
    /// * a limit of zero segments.
    pub fn new(settings: Settings) -> Result<Policy, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, setting: &'static str, problem: String| {
            if !holds {
                problems.push(Problem { setting, problem });
            }
        };
        let Settings {
            recording_interval,
            max_segment,
            notification_delay,
            allowed_lateness,
            max_hold,
            max_session_duration,
            ..
        } = settings;
        need(
            allowed_lateness >= notification_delay,
            "allowed_lateness",
            format!(
                "{allowed_lateness} is shorter than notification_delay {notification_delay}: a segment that is on time would be late"
            ),
        );
        need(
            max_segment >= recording_interval,
            "max_segment",
            format!(
                "{max_segment} is shorter than recording_interval {recording_interval}: a normal file would be refused"
            ),
        );
        need(
            max_hold <= max_segment + allowed_lateness,
            "max_hold",
            format!(
                "{max_hold} is longer than max_segment and allowed_lateness together, {}",
                max_segment + allowed_lateness
            ),
        );
        need(
            max_session_duration >= max_segment,
            "max_session_duration",
            format!("{max_session_duration} is shorter than max_segment {max_segment}: one file would break the limit"),
        );
        need(settings.max_session_segments >= 1, "max_session_segments", "0 leaves no room for a segment".to_owned());
        for (index, entry) in settings.overrides.iter().enumerate() {
            need(!entry.streams.is_empty(), "override", format!("{}: `streams` is empty", index + 1));
        }
        if problems.is_empty() { Ok(Policy { settings }) } else { Err(problems) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the gap of a stream (rule: merge): the first override that matches its key, else the general one.
    pub fn gap(&self, stream: &str) -> Millis {
        let matching = self.settings.overrides.iter().find(|entry| matches_pattern(&entry.streams, stream));
        matching.map_or(self.settings.gap, |entry| entry.gap)
    }

    /// Returns the last watermark at which a session that ends at `end` has to wait for its next file (rule: close).
    ///
    /// The session closes when the watermark is *greater*.
    pub fn wait_bound(&self, end: Timestamp, gap: Millis) -> Timestamp {
        end + gap + self.settings.recording_interval + self.settings.notification_delay
    }

    /// Returns the last watermark at which a session of a stream off air since `off_air` has to wait (rule: hints).
    ///
    /// `None` if the session continued for more than a gap after the stream went off air: then a push start was lost, and
    /// the bound means nothing.
    pub fn off_air_bound(&self, end: Timestamp, off_air: Timestamp, gap: Millis) -> Option<Timestamp> {
        (off_air + gap >= end).then(|| end.max(off_air) + gap + self.settings.notification_delay)
    }

    /// Returns the last watermark at which a push can hold a session open (rule: hints).
    pub fn hold_bound(&self, end: Timestamp) -> Timestamp {
        end + self.settings.max_hold
    }

    /// Returns the last watermark at which a session that ends at `end` is remembered (rule: forget).
    ///
    /// Forgetting a closed session `allowed_lateness` after its own end looks sufficient and is not: a segment still accepted
    /// would find nothing to join, and stand as a second session within the gap of the first.
    ///
    /// # Invariants
    ///
    /// `forgotten_is_out_of_reach`, a test: at a greater watermark, every valid segment that touches the session is late.
    pub fn forget_bound(&self, end: Timestamp, gap: Millis) -> Timestamp {
        end + gap + self.settings.max_segment + self.settings.allowed_lateness
    }

    /// Returns whether something that ended at `end` is refused as late (rule: acceptance). At equality it is on time.
    pub fn is_late(&self, end: Timestamp, watermark: Timestamp) -> bool {
        end + self.settings.allowed_lateness < watermark
    }

    /// Returns the last watermark at which the hint state of a stream without sessions is kept (rule: hints).
    pub fn hint_bound(&self, last_hint: Timestamp) -> Timestamp {
        last_hint + self.settings.max_hold.max(self.settings.allowed_lateness)
    }
}

/// Returns whether `text` matches `pattern`, in which each `*` stands for any text.
///
/// Takes `pattern.len() * text.len()` steps at most: it returns to the last star only.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, from));
            at += 1;
        } else if pattern.get(at) == Some(&text[from]) {
            at += 1;
            from += 1;
        } else if let Some((star_at, star_from)) = star {
            star = Some((star_at, star_from + 1));
            at = star_at + 1;
            from = star_from + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const END: i64 = 1_754_000_000_000;

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn span(ms: i64) -> Millis {
        Millis::from_ms(ms).unwrap()
    }

    fn settings() -> Settings {
        Settings {
            gap: span(3),
            recording_interval: span(70),
            max_segment: span(100),
            notification_delay: span(20),
            allowed_lateness: span(1_000),
            max_hold: span(500),
            max_session_duration: span(2_000),
            ..Settings::default()
        }
    }

    #[test]
    fn bounds_are_the_sums_of_the_rules() {
        let policy = Policy::new(settings()).unwrap();
        let gap = policy.gap("//room-7");
        assert_eq!(policy.wait_bound(ms(END), gap), ms(END + 3 + 70 + 20));
        assert_eq!(policy.hold_bound(ms(END)), ms(END + 500));
        assert_eq!(policy.forget_bound(ms(END), gap), ms(END + 3 + 100 + 1_000));
        assert_eq!(policy.hint_bound(ms(END)), ms(END + 1_000));
        for (delta, late) in [(-1, false), (0, false), (1, true)] {
            assert_eq!(policy.is_late(ms(END), ms(END + 1_000 + delta)), late, "{delta:+} ms");
        }
    }

    #[test]
    fn off_air_counts_from_the_later_of_end_and_last_push() {
        let policy = Policy::new(settings()).unwrap();
        let gap = policy.gap("//room-7");
        assert_eq!(policy.off_air_bound(ms(END), ms(END + 9), gap), Some(ms(END + 9 + 3 + 20)));
        assert_eq!(policy.off_air_bound(ms(END), ms(END - 2), gap), Some(ms(END + 3 + 20)));
        assert_eq!(policy.off_air_bound(ms(END), ms(END - 3), gap), Some(ms(END + 3 + 20)));
        assert_eq!(policy.off_air_bound(ms(END), ms(END - 4), gap), None);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let wrong = Settings {
            notification_delay: span(1_001),
            recording_interval: span(101),
            max_hold: span(1_101),
            max_session_duration: span(99),
            max_session_segments: 0,
            overrides: vec![Override { streams: String::new(), gap: span(1) }],
            ..settings()
        };
        let problems = Policy::new(wrong).unwrap_err();
        let names: Vec<_> = problems.iter().map(|problem| problem.setting).collect();
        assert_eq!(
            names,
            ["allowed_lateness", "max_segment", "max_hold", "max_session_duration", "max_session_segments", "override"]
        );
    }

    #[test]
    fn equal_durations_are_allowed() {
        let edge = Settings {
            notification_delay: span(1_000),
            recording_interval: span(100),
            max_session_duration: span(100),
            ..settings()
        };
        assert!(Policy::new(edge).is_ok());
        assert!(Policy::new(Settings::default()).is_ok());
    }

    #[test]
    fn first_matching_override_gives_the_gap() {
        let entry = |streams: &str, gap| Override { streams: streams.to_owned(), gap: span(gap) };
        let overrides = vec![entry("push.example.com/radio/*", 10), entry("*/radio/*", 20), entry("a*b*c", 30)];
        let policy = Policy::new(Settings { overrides, ..settings() }).unwrap();
        for (stream, gap) in [
            ("push.example.com/radio/9", 10),
            ("push.example.com/radio/", 10),
            ("x/radio/9/8", 20),
            ("abc", 30),
            ("a-b-b-c", 30),
            ("a-b-c-d", 3),
            ("", 3),
        ] {
            assert_eq!(policy.gap(stream), span(gap), "{stream}");
        }
    }
}
