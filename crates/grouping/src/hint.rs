//! Hints: the pushes of a stream, from push-started and push-ended notifications (rule: hints).
//!
//! Hints change *when* a session closes, never *what* it contains. Any of them may be lost, late or repeated, so the state
//! is a set of pushes, each with the greatest start and the greatest end seen: a function of the hints, whatever their
//! order. A push is *open* if it has started and has not ended since.
//!
//! Bounded: a push that ended too long ago for its hints to count again is folded into one time, and of more than
//! [`MAX_PUSHES`] the oldest goes, ended ones first. That can make a close early or late; the amend rule repairs it.

use crate::time::Timestamp;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The most pushes of a stream that are remembered: enough for a day of reconnects every half hour.
pub const MAX_PUSHES: usize = 64;

/// The event that a hint notification reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    /// Event 1.
    PushStarted,
    /// Event 0.
    PushEnded,
    /// Event 332: a recording task ended. Moves the watermark and closes nothing: a task is one rendition and may outlive
    /// pushes.
    RecordEnded,
}

impl HintKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            HintKind::PushStarted => "push_started",
            HintKind::PushEnded => "push_ended",
            HintKind::RecordEnded => "record_ended",
        }
    }
}

/// A hint notification, borrowed from its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint<'a> {
    pub kind: HintKind,
    /// The same in both hints of a push; pushes without one are taken for one and the same.
    pub push_id: Option<&'a str>,
    /// Event time.
    pub at: Timestamp,
}

/// One push of a stream, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    pub id: Option<Box<str>>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
}

impl Push {
    /// Returns since when the push is on air, or `None` if it has ended or its start was not seen.
    fn on_air_since(&self) -> Option<Timestamp> {
        self.start.filter(|start| self.end.is_none_or(|end| end < *start))
    }

    fn last(&self) -> Option<Timestamp> {
        self.start.max(self.end)
    }
}

/// The hint state of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushes {
    pub pushes: Vec<Push>,
    /// The start of a push that is no longer listed was seen.
    pub start_seen: bool,
    /// The last end among pushes that are no longer listed.
    pub ended: Option<Timestamp>,
    pub last_hint: Timestamp,
}

impl Pushes {
    pub(super) fn new(first: Timestamp) -> Pushes {
        Pushes { pushes: Vec::new(), start_seen: false, ended: None, last_hint: first }
    }

    /// Applies a hint. `is_late` returns whether a hint of that time changes nothing.
    pub(super) fn apply(&mut self, hint: &Hint<'_>, is_late: impl Fn(Timestamp) -> bool) {
        let index = self.pushes.iter().position(|push| push.id.as_deref() == hint.push_id);
        let index = index.unwrap_or_else(|| {
            self.pushes.push(Push { id: hint.push_id.map(Box::from), start: None, end: None });
            self.pushes.len() - 1
        });
        let push = &mut self.pushes[index];
        match hint.kind {
            HintKind::PushStarted => push.start = push.start.max(Some(hint.at)),
            HintKind::PushEnded => push.end = push.end.max(Some(hint.at)),
            HintKind::RecordEnded => {}
        }
        self.last_hint = self.last_hint.max(hint.at);
        let is_settled = |push: &Push| push.on_air_since().is_none() && push.last().is_none_or(&is_late);
        while let Some(index) = self.pushes.iter().position(is_settled) {
            self.fold(index);
        }
        while self.pushes.len() > MAX_PUSHES {
            let age =
                |index: &usize| (self.pushes[*index].on_air_since().is_some(), self.pushes[*index].last(), *index);
            let oldest = (0..self.pushes.len()).min_by_key(age).unwrap_or_default();
            self.fold(oldest);
        }
    }

    fn fold(&mut self, index: usize) {
        let push = self.pushes.remove(index);
        self.start_seen |= push.start.is_some();
        self.ended = self.ended.max(push.end);
    }

    /// Returns whether a push that began at `latest_start` or before is on air.
    pub(super) fn holds(&self, latest_start: Timestamp) -> bool {
        self.pushes.iter().filter_map(Push::on_air_since).any(|start| start <= latest_start)
    }

    /// Returns since when the stream is known to be off air: a push start was seen, and every push has ended.
    pub(super) fn off_air_since(&self) -> Option<Timestamp> {
        let start_seen = self.start_seen || self.pushes.iter().any(|push| push.start.is_some());
        let on_air = self.pushes.iter().any(|push| push.on_air_since().is_some());
        if !start_seen || on_air {
            return None;
        }
        self.pushes.iter().map(|push| push.end).fold(self.ended, Ord::max)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    /// Applies `(push id, started?, at)`; hints before `late` are late.
    fn pushes(hints: &[(&str, bool, i64)], late: i64) -> Pushes {
        let mut state = Pushes::new(ms(hints[0].2));
        for (id, started, at) in hints {
            let kind = if *started { HintKind::PushStarted } else { HintKind::PushEnded };
            let push_id = Some(*id).filter(|id| !id.is_empty());
            state.apply(&Hint { kind, push_id, at: ms(*at) }, |at| at < ms(late));
        }
        state
    }

    #[test]
    fn stream_is_off_air_when_every_push_that_started_has_ended() {
        let state = pushes(&[("a", true, 10), ("b", true, 20), ("a", false, 30)], 0);
        assert_eq!(state.off_air_since(), None);
        assert!(state.holds(ms(20)) && !state.holds(ms(19)), "b is on air since 20");
        let state = pushes(&[("a", true, 10), ("b", true, 20), ("a", false, 30), ("b", false, 25)], 0);
        assert_eq!(state.off_air_since(), Some(ms(30)));
        assert!(!state.holds(ms(1_000)));
    }

    #[test]
    fn ends_alone_tell_nothing() {
        assert_eq!(pushes(&[("a", false, 30)], 0).off_air_since(), None);
    }

    // rule: hints
    #[test]
    fn order_and_repetition_do_not_matter() {
        let hints = [("a", true, 10), ("a", false, 30), ("b", true, 40), ("", true, 50), ("", false, 60)];
        let state = |hints: &[(&str, bool, i64)]| {
            let mut state = pushes(hints, 0);
            state.pushes.sort_by(|a, b| a.id.cmp(&b.id));
            state
        };
        let mut backwards = hints.to_vec();
        backwards.reverse();
        backwards.extend(hints);
        assert_eq!(state(&hints), state(&backwards));
        assert!(state(&hints).holds(ms(40)));
    }

    #[test]
    fn repeated_hint_with_an_earlier_time_takes_nothing_back() {
        let state = pushes(&[("a", true, 30), ("a", false, 20), ("a", true, 10)], 0);
        assert!(state.holds(ms(30)), "it started again after it had ended");
        let state = pushes(&[("a", true, 10), ("a", false, 30), ("a", false, 20), ("a", true, 25)], 0);
        assert_eq!(state.off_air_since(), Some(ms(30)));
    }

    #[test]
    fn push_without_id_is_on_air_again_when_it_starts_again() {
        let state = pushes(&[("", true, 10), ("", false, 20), ("", true, 30)], 0);
        assert!(state.holds(ms(30)));
        let state = pushes(&[("", true, 10), ("", false, 20), ("", true, 20)], 0);
        assert_eq!(state.off_air_since(), Some(ms(20)), "an end at the time of the start ends it");
    }

    #[test]
    fn pushes_that_ended_long_ago_are_folded() {
        let state = pushes(&[("a", true, 10), ("a", false, 20), ("b", true, 100), ("b", false, 110)], 50);
        assert_eq!(state.pushes.len(), 1);
        assert_eq!((state.start_seen, state.ended), (true, Some(ms(20))));
        assert_eq!(state.off_air_since(), Some(ms(110)));
    }

    #[test]
    fn of_too_many_pushes_the_oldest_ended_one_goes_first() {
        let names: Vec<String> = (0..=MAX_PUSHES).map(|index| index.to_string()).collect();
        let mut hints: Vec<(&str, bool, i64)> = vec![(&names[0], true, 1), (&names[1], true, 2), (&names[1], false, 3)];
        hints.extend(names[2..].iter().map(|name| (name.as_str(), true, 10)));
        let state = pushes(&hints, 0);
        assert_eq!(state.pushes.len(), MAX_PUSHES);
        assert!(state.holds(ms(1)), "the open push stays");
        assert_eq!(state.ended, Some(ms(3)));
    }
}
