//! The state of one partition: a set of accepted segments, and what has been published of it.
//!
//! Notifications go in ([`Grouper::accept`], [`Grouper::hint`], [`Grouper::punctuate`]), publications come out
//! ([`Grouper::publish_due`]). The two are apart because one transaction may publish at most one revision of a session: many
//! records are accepted, then what is due is published once.
//!
//! ```text
//! accept ─▶ late? known? ─▶ which sessions does it touch? ─▶ too much for one? freeze ─▶ join them ─▶ watermark moves
//! publish_due ─▶ what is due under the watermark? ─▶ publish, withdraw ─▶ nothing left to publish? ─▶ forget
//! ```
//!
//! # Invariants
//!
//! * Acceptance looks at the segment alone (rule: acceptance), so grouping is a function of the accepted set.
//! * Nothing is forgotten while something that is due has not been published. A restore relies on it: what it may drop
//!   without publishing is exactly what had been forgotten ([`Grouper::forgotten`]).
//! * No hash table is ever iterated: its order would leak into what is published.
//!
//! The others are functions in [`crate::invariants`].

use alloc::vec::Vec;

use crate::changes::Changes;
use crate::invariants;
use crate::policy::Policy;
use crate::schedule::{Position, Queue, Schedule, Timer};
use crate::store::Store;
use crate::time::Timestamp;
use crate::timeline::{CloseBound, Session, SessionNo, StreamNo};

pub(crate) mod accept;
mod close;
pub(crate) mod pending;
pub(crate) mod restore;

/// The clock of a partition: at the wall time `at`, event time had reached `watermark` (rule: clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub watermark: Timestamp,
    pub at: Timestamp,
}

/// The progress of a partition. Rolled back as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    clock: Option<Clock>,
    /// See [`Grouper::forgotten`].
    forgotten: Option<Timestamp>,
}

/// The grouping state of one partition.
pub struct Grouper {
    policy: Policy,
    /// The input is a set, in which nothing is late.
    nothing_is_late: bool,
    progress: Progress,
    /// The progress when the transaction began.
    before: Progress,
    store: Store,
    schedule: Schedule,
}

impl Grouper {
    /// Returns the state of a partition of which nothing has been read.
    pub fn new(policy: Policy) -> Grouper {
        Grouper {
            policy,
            nothing_is_late: false,
            progress: Progress::default(),
            before: Progress::default(),
            store: Store::default(),
            schedule: Schedule::default(),
        }
    }

    /// Returns a state for input that is a set: its order says nothing, so nothing is late.
    pub fn for_set(policy: Policy) -> Grouper {
        Grouper { nothing_is_late: true, ..Grouper::new(policy) }
    }

    /// Replaces the policy. The caller has checked that the change is safe for what is remembered.
    pub fn change_policy(&mut self, policy: Policy) {
        // What has been forgotten is told by the ends that it went up to: the same ends under the new bounds, or a restore
        // would drop what these put out of reach before it is published.
        let reach = |policy: &Policy| policy.settings().max_segment + policy.settings().allowed_lateness;
        let forgotten = &mut self.progress.forgotten;
        *forgotten = forgotten.map(|watermark| watermark - reach(&self.policy) + reach(&policy));
        self.policy = policy;
        // Those of streams with segments are the same; a stream of which only hints are remembered takes its new one.
        self.store.set_gaps(|stream| self.policy.gap(stream));
        for number in self.store.sessions_in_order() {
            self.schedule(number);
        }
    }

    /// Begins a transaction: changes from now on can be rolled back, and are noted for the changelog.
    pub fn begin(&mut self) {
        self.before = self.progress;
        self.store.begin();
    }

    /// Takes the changes that the changelog has to hold, so far.
    pub fn take_changes(&mut self) -> Changes {
        self.store.take_changes()
    }

    /// Ends the transaction: it is committed.
    ///
    /// # Panics
    ///
    /// In debug builds, if what the transaction has touched breaks one of [`crate::invariants`].
    pub fn commit(&mut self) {
        if cfg!(debug_assertions) {
            invariants::check_touched(&self.store, |number| self.is_scheduled(number));
        }
        self.store.commit();
    }

    /// Rolls the transaction back: everything is as it was when it began.
    pub fn rollback(&mut self) {
        let Some(changed) = self.store.roll_back() else { return };
        self.progress = self.before;
        for stream in changed {
            self.schedule_hints(stream);
            // All of them: when a frozen session is forgotten depends on those that continue it.
            self.schedule_all(stream);
        }
        // What was put back is among the timers again; an entry that is left would look like work to be done.
        let store = &self.store;
        let is_queued = |number| store.position(number).is_some_and(|position| position.queue != Queue::Watermark);
        self.schedule.roll_back(is_queued);
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the greatest event time accepted; it never goes back.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.clock().map(|clock| clock.watermark)
    }

    pub fn clock(&self) -> Option<Clock> {
        self.progress.clock
    }

    /// Returns the watermark under which forgetting was last completed.
    ///
    /// It may be behind the watermark while a mass of sessions is being published in several transactions. A restore has
    /// to drop what this allows and no more: under the watermark itself it would drop sessions that are still waiting to
    /// be published.
    pub fn forgotten(&self) -> Option<Timestamp> {
        self.progress.forgotten
    }

    /// Returns how many segments are remembered.
    pub fn segments(&self) -> usize {
        self.store.files()
    }

    /// Returns how many sessions are remembered.
    pub fn sessions(&self) -> usize {
        self.store.sessions()
    }

    /// Counts the sessions that have something to publish. Looks at every session.
    pub fn count_open(&self) -> usize {
        self.store.remembered().filter(|(_, session)| session.is_dirty()).count()
    }

    /// Returns how many streams are remembered.
    pub fn streams(&self) -> usize {
        self.store.streams()
    }

    /// Returns the texts and fixed parts of what is remembered, in bytes: for sizing, close to what the allocator gives.
    pub fn state_bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Advances the watermark of an idle partition from the wall clock, if that closes or forgets something (rule: clock).
    ///
    /// The caller has seen to it that the partition is read to its end and has been idle for long enough. Returns whether
    /// the watermark moved.
    pub fn punctuate(&mut self, now: Timestamp) -> bool {
        let Some(watermark) = self.punctuated(now) else { return false };
        self.progress.clock = Some(Clock { watermark, at: now });
        true
    }

    /// Returns whether [`Grouper::punctuate`] would move the watermark. Changes nothing that shows.
    pub fn would_punctuate(&mut self, now: Timestamp) -> bool {
        self.punctuated(now).is_some()
    }

    /// Returns the watermark that the wall time `now` gives to an idle partition, if that closes or forgets something.
    fn punctuated(&mut self, now: Timestamp) -> Option<Timestamp> {
        let clock = self.clock().filter(|clock| now > clock.at)?;
        let watermark = clock.watermark + now.since(clock.at);
        self.would_act(watermark).then_some(watermark.min(Timestamp::MAX))
    }

    /// Returns whether something is due under the present watermark: to be published or forgotten.
    pub fn has_due(&mut self) -> bool {
        self.watermark().is_some_and(|watermark| self.would_act(watermark))
    }

    /// Returns whether a session would be closed or forgotten if the watermark were `watermark`.
    fn would_act(&mut self, watermark: Timestamp) -> bool {
        if self.schedule.has_queued() {
            return true;
        }
        while let Some((bound, number)) = self.schedule.first_session(watermark) {
            // Stale timers and those of sessions that have grown are corrected on the way; the first true one answers.
            let is_current = self.store.position(number).is_some_and(|position| position.timer.is_for(bound));
            if is_current && self.next_bound(number) < watermark {
                return true;
            }
            self.schedule.pop_session();
            if is_current {
                *self.store.timer_mut(number) = Timer::NONE;
                self.schedule(number);
            }
        }
        false
    }

    /// Checks the invariants of the whole state: see [`crate::invariants`]. Looks at every segment.
    ///
    /// # Panics
    ///
    /// With the name of an invariant that does not hold: a defect of this crate.
    pub fn check_invariants(&self) {
        invariants::check(&self.store, |number| self.is_scheduled(number));
    }

    /// Returns whether a session comes up again by itself.
    fn is_scheduled(&self, number: SessionNo) -> bool {
        let is_scheduled = self.store.position(number).is_some_and(Position::is_scheduled);
        is_scheduled || self.nothing_is_late || self.schedule.is_among_frozen(number)
    }

    /// Returns the stream with that key, which is added if it is not there.
    fn find_or_add_stream(&mut self, key: &str) -> StreamNo {
        self.store.find_stream(key).unwrap_or_else(|| self.store.add_stream(key, self.policy.gap(key)))
    }

    /// Returns when a session may close (rule: close).
    fn close_bound(&self, number: SessionNo) -> CloseBound {
        let session = self.store.session(number);
        self.store.timeline(session.stream()).close_bound(session.end(), &self.policy)
    }

    /// Returns the bound after which something is to be done with a session: publish it, or forget it (rules: close, limits, forget).
    ///
    /// A session that a hint holds open beyond the time at which it could be forgotten is neither.
    fn next_bound(&self, number: SessionNo) -> Timestamp {
        let session = self.store.session(number);
        let timeline = self.store.timeline(session.stream());
        let forget = self.policy.forget_bound(session.end(), timeline.gap());
        if session.frozen_at().is_some() {
            // What continues it is named after it: a restore has to find it there.
            let id = session.id(timeline.key());
            let continuing = timeline.live().iter().map(|live| self.store.session(*live));
            let ends = continuing.filter(|live| live.continues() == Some(id)).map(Session::end);
            return ends.fold(forget, |bound, end| bound.max(self.policy.forget_bound(end, timeline.gap())));
        }
        let close = self.close_bound(number).bound;
        if session.is_dirty() { close } else { forget.max(close) }
    }

    /// Sets a session's timer to its next bound, unless it has an earlier one, which will correct itself.
    fn schedule(&mut self, number: SessionNo) {
        let bound = self.next_bound(number);
        self.schedule.wake_session(number, self.store.timer_mut(number), bound);
    }

    /// Sets the timers of all sessions of a stream.
    fn schedule_all(&mut self, stream: StreamNo) {
        let numbers: Vec<SessionNo> = self.store.timeline(stream).sessions().collect();
        numbers.into_iter().for_each(|number| self.schedule(number));
    }

    /// Sets a stream's timer to the time when its hint state may be dropped.
    fn schedule_hints(&mut self, number: StreamNo) {
        let Some(hints) = self.store.timeline(number).hints() else { return };
        let bound = self.policy.hint_bound(hints.last_hint);
        self.schedule.wake_stream(number, self.store.stream_timer_mut(number), bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "listed_sessions_are_those_of_the_stream: //cam")]
    fn commit_notices_a_broken_invariant() {
        let mut grouper = Grouper::new(Policy::default());
        grouper.begin();
        let stream = grouper.store.add_stream("//cam", Millis::ZERO);
        grouper.store.timeline_mut(stream).insert_live(0, 7);
        grouper.commit();
    }
}
