//! `--what-if`: the number of sessions under other gaps, and what would change.
//!
//! A session ends at a silence longer than the gap, so all answers follow from the silences of each stream. Streams with
//! an overriding gap keep it. Limits (rule: limits) are left out: they cut what no gap does.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::replay::Origin;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Interval, Policy, Publication, Settings};

/// How many changes are listed for each gap.
const MOST_LISTED: usize = 20;

/// The silences of a stream, in time order.
struct Stream<'a> {
    key: &'a str,
    silences: Vec<Interval>,
}

impl Stream<'_> {
    fn sessions(&self, policy: &Policy) -> usize {
        let gap = policy.gap(self.key);
        1 + self.silences.iter().filter(|silence| silence.duration() > gap).count()
    }
}

/// Returns the answer for each of `gaps`.
pub fn what_if(gaps: &[Millis], sessions: &[(Arc<Origin>, Publication)], policy: &Policy) -> String {
    let streams = streams(sessions);
    let total = |policy: &Policy| streams.iter().map(|stream| stream.sessions(policy)).sum::<usize>();
    let now = total(policy);
    let present = policy.settings().gap;
    let mut text = String::new();
    let mut line = |written: std::fmt::Arguments<'_>| {
        // A string takes all that is written.
        let _ = text.write_fmt(written);
        text.push('\n');
    };
    line(format_args!("gap {present}: {now} sessions of {} streams (as configured)", streams.len()));
    if now != sessions.len() {
        line(format_args!("  limits cut them into {}; limits are left out below", sessions.len()));
    }
    for gap in gaps {
        let other = with_gap(policy, *gap);
        let count = total(&other);
        let difference = if count >= now { format!("+{}", count - now) } else { format!("-{}", now - count) };
        line(format_args!("gap {gap}: {count} sessions ({difference})"));
        let mut changes = 0_usize;
        for stream in &streams {
            let (old, new) = (policy.gap(stream.key), other.gap(stream.key));
            for silence in &stream.silences {
                let splits = (silence.duration() > new, silence.duration() > old);
                let verb = match splits {
                    (true, false) => "splits",
                    (false, true) => "joins",
                    _ => continue,
                };
                changes += 1;
                if changes <= MOST_LISTED {
                    line(format_args!("  {} {verb} at {} (silence {})", stream.key, silence.start, silence.duration()));
                }
            }
        }
        if changes > MOST_LISTED {
            line(format_args!("  and {} more", changes - MOST_LISTED));
        }
    }
    text
}

fn with_gap(policy: &Policy, gap: Millis) -> Policy {
    Policy::new(Settings { gap, ..policy.settings().clone() }).expect("no rule depends on the gap")
}

fn streams(sessions: &[(Arc<Origin>, Publication)]) -> Vec<Stream<'_>> {
    let mut by_stream: BTreeMap<(&Origin, &str), Vec<&Publication>> = BTreeMap::new();
    for (origin, session) in sessions {
        by_stream.entry((origin, &session.stream)).or_default().push(session);
    }
    let mut streams = Vec::with_capacity(by_stream.len());
    for ((_, key), mut members) in by_stream {
        members.sort_by_key(|session| (session.summary.start, session.summary.end));
        let mut silences = Vec::new();
        let mut reached: Option<Timestamp> = None;
        for session in members {
            if let Some(end) = reached
                && session.summary.start > end
            {
                silences.push(Interval { start: end, end: session.summary.start });
            }
            silences.extend_from_slice(&session.gaps);
            reached = Some(reached.map_or(session.summary.end, |end| end.max(session.summary.end)));
        }
        streams.push(Stream { key, silences });
    }
    streams
}
