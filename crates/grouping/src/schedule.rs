//! The schedule of a partition: timers of sessions and streams that wait for the watermark, and queues of those that are due.
//!
//! A session's bound mostly moves later, so a timer is corrected when it comes up and not when its session grows: growing
//! costs nothing but the member itself. A timer is *stale* when its session or stream waits for another bound by now, or is
//! gone; stale timers are skipped.
//!
//! Knows numbers and bounds only. The timer and the queue of a session are stored with the session, in the store.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::time::Timestamp;
use crate::timeline::{SessionNo, StreamNo};

/// The list of the schedule that a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Sessions that wait for the watermark, among the timers.
    Watermark,
    /// Sessions to be published.
    Publishing,
    /// Sessions to be forgotten once everything due is published.
    Forgetting,
}

/// The earliest bound for which a session or a stream has a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer(Timestamp);

impl Timer {
    /// No timer that counts.
    pub const NONE: Timer = Timer(Timestamp::MAX);

    /// Returns whether the timer with that bound is the one that counts.
    pub fn is_for(self, bound: Timestamp) -> bool {
        self.0 == bound
    }

    /// Moves the timer to `bound` if that is earlier. Returns whether it was.
    fn advance(&mut self, bound: Timestamp) -> bool {
        let is_earlier = bound < self.0;
        if is_earlier {
            self.0 = bound;
        }
        is_earlier
    }
}

/// The position of a session in the schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub timer: Timer,
    pub queue: Queue,
}

impl Position {
    /// Returns whether the session will come up again without being scheduled.
    pub fn is_scheduled(self) -> bool {
        self.timer != Timer::NONE || self.queue != Queue::Watermark
    }
}

/// The timers and queues of a partition.
#[derive(Default)]
pub(crate) struct Schedule {
    /// Sessions by the watermark bound after which something is to be done with them.
    timers: BinaryHeap<Reverse<(Timestamp, SessionNo)>>,
    /// Streams by the watermark bound after which their hint state may be dropped.
    hint_timers: BinaryHeap<Reverse<(Timestamp, StreamNo)>>,
    /// Sessions to be published, the first one last.
    due: Vec<SessionNo>,
    /// Sessions that may be forgotten when nothing is left to be published.
    forgettable: Vec<SessionNo>,
    /// Frozen sessions to be published before the transaction ends.
    frozen: Vec<SessionNo>,
}

impl Schedule {
    /// Returns whether a session stands in a queue other than that of the watermark.
    pub fn has_queued(&self) -> bool {
        !self.due.is_empty() || !self.forgettable.is_empty() || !self.frozen.is_empty()
    }

    /// Sets the timer of a session, unless it has an earlier one, which will correct itself.
    pub fn wake_session(&mut self, number: SessionNo, timer: &mut Timer, bound: Timestamp) {
        if timer.advance(bound) {
            self.timers.push(Reverse((bound, number)));
        }
    }

    /// Sets the timer for a stream's hint state, unless it has an earlier one, which will correct itself.
    pub fn wake_stream(&mut self, number: StreamNo, timer: &mut Timer, bound: Timestamp) {
        if timer.advance(bound) {
            self.hint_timers.push(Reverse((bound, number)));
        }
    }

    /// Returns the earliest timer of a session that `watermark` has passed. It may be stale.
    pub fn first_session(&self, watermark: Timestamp) -> Option<(Timestamp, SessionNo)> {
        self.timers.peek().map(|entry| entry.0).filter(|(bound, _)| *bound < watermark)
    }

    /// Removes what [`Schedule::first_session`] returns.
    pub fn pop_session(&mut self) {
        self.timers.pop();
    }

    /// Removes and returns the earliest timer of a stream that `watermark` has passed. It may be stale.
    pub fn next_stream(&mut self, watermark: Timestamp) -> Option<(Timestamp, StreamNo)> {
        self.hint_timers.peek().filter(|entry| entry.0.0 < watermark)?;
        self.hint_timers.pop().map(|entry| entry.0)
    }

    /// Queues a session to be published. The caller sorts the queue afterwards.
    pub fn add_due(&mut self, number: SessionNo) {
        self.due.push(number);
    }

    pub fn due(&self) -> usize {
        self.due.len()
    }

    /// Returns the session to be published next.
    pub fn first_due(&self) -> Option<SessionNo> {
        self.due.last().copied()
    }

    /// Removes what [`Schedule::first_due`] returns.
    pub fn pop_due(&mut self) {
        self.due.pop();
    }

    /// Puts the sessions that are to be published in order: `sort` gets all of them and returns them, the first one first.
    pub fn sort_due(&mut self, sort: impl FnOnce(Vec<SessionNo>) -> Vec<SessionNo>) {
        self.due = sort(core::mem::take(&mut self.due));
        self.due.reverse();
    }

    /// Queues a session to be forgotten.
    pub fn add_forgettable(&mut self, number: SessionNo) {
        self.forgettable.push(number);
    }

    pub fn take_forgettable(&mut self) -> Vec<SessionNo> {
        core::mem::take(&mut self.forgettable)
    }

    /// Queues a session that froze in this transaction.
    pub fn add_frozen(&mut self, number: SessionNo) {
        self.frozen.push(number);
    }

    pub fn take_frozen(&mut self) -> Vec<SessionNo> {
        core::mem::take(&mut self.frozen)
    }

    pub fn is_among_frozen(&self, number: SessionNo) -> bool {
        self.frozen.contains(&number)
    }

    /// Drops what a transaction has queued: what it froze, and all that waits for the watermark again.
    pub fn roll_back(&mut self, is_queued: impl Fn(SessionNo) -> bool) {
        self.frozen.clear();
        self.due.retain(|number| is_queued(*number));
        self.forgettable.retain(|number| is_queued(*number));
    }
}
