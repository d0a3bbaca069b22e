//! The capacity estimate: the cost of the state of an input, by what `benches/restore.rs` measured.
//!
//! A segment is remembered until nothing can touch its session any more (rule: forget). So a steady input has as many in memory as
//! it sends in that time, whatever the number of streams.

use std::fmt;

use livesession_grouping::Policy;
use livesession_grouping::time::{Millis, Timestamp};

/// Resident memory of a remembered segment with its share of session, stream and tables, after a restore. Four to a session,
/// URLs of 75 bytes.
const MEMORY_BYTES: u64 = 500;
/// The same in the changelog, before compression.
const CHANGELOG_BYTES: u64 = 230;
/// Time of a restore for each segment, on a core of its own.
const RESTORE_NS: u64 = 2_000;

/// When the newest segments of a partition ended.
///
/// By their own ends, not by when they were written: a topic that was filled at once has no other clock. The middle half
/// says how often they come, so that a few late ones do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    ends: Vec<Timestamp>,
}

impl Rate {
    pub fn count(&mut self, end: Timestamp) {
        self.ends.push(end);
    }

    /// Returns how many segments come in that time; `None` if the sample is too small to say.
    fn within(&self, time: Millis) -> Option<u64> {
        let mut ends = self.ends.clone();
        ends.sort_unstable();
        let (first, last) = (ends.len() / 4, ends.len() * 3 / 4);
        let span = ends.get(last)?.since(*ends.get(first)?).as_ms();
        let segments = i64::try_from(last - first).ok()?.checked_mul(time.as_ms())?.checked_div(span)?;
        u64::try_from(segments).ok()
    }
}

/// What is remembered, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    segments: u64,
    remembered: Millis,
    is_measured: bool,
}

/// Estimates the state of an input from the rates of its partitions; without any, that of a million segments.
pub fn estimate(policy: &Policy, rates: &[Rate]) -> Estimate {
    let settings = policy.settings();
    let remembered = settings.gap + settings.max_segment + settings.allowed_lateness;
    let segments: u64 = rates.iter().filter_map(|rate| rate.within(remembered)).sum();
    let is_measured = segments > 0;
    Estimate { segments: if is_measured { segments } else { 1_000_000 }, remembered, is_measured }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| self.segments.saturating_mul(bytes).div_ceil(1_000_000);
        if self.is_measured {
            write!(
                f,
                "state: at the rate of the sample {} segments are remembered, for {}",
                self.segments, self.remembered
            )?;
        } else {
            write!(f, "state: a million segments, each remembered for {}", self.remembered)?;
        }
        let seconds = self.segments.saturating_mul(RESTORE_NS).div_ceil(1_000_000_000);
        write!(
            f,
            ": about {} MB of memory, {} MB of changelog, {seconds} s of restoring in all",
            megabytes(MEMORY_BYTES),
            megabytes(CHANGELOG_BYTES)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(ends: &[i64]) -> Rate {
        Rate { ends: ends.iter().map(|ms| Timestamp::from_ms(*ms).unwrap()).collect() }
    }

    #[test]
    fn rates_of_partitions_add_up_over_the_time_that_is_remembered() {
        let policy = Policy::default();
        let remembered = Millis::from_secs(3 * 60 + 48 * 3_600);
        // One in a second, and two in a second with one that is a day late, in any order.
        let one = rate(&[5_000, 6_000, 8_000, 7_000]);
        let two = rate(&[86_400_000, 86_401_000, 86_400_500, 5, 86_401_500, 86_402_000, 86_402_500, 86_403_000]);
        let estimate = estimate(&policy, &[one, two]);
        assert_eq!(estimate.remembered, remembered);
        assert_eq!(estimate.segments, 3 * 172_980);
        assert!(estimate.to_string().starts_with("state: at the rate of the sample 518940 segments"), "{estimate}");
    }

    #[test]
    fn sample_that_says_nothing_is_a_million() {
        for rates in [vec![], vec![Rate::default()], vec![rate(&[7])], vec![rate(&[7, 7, 7, 7, 7])]] {
            let estimate = estimate(&Policy::default(), &rates);
            assert_eq!((estimate.segments, estimate.is_measured), (1_000_000, false));
        }
    }
}
