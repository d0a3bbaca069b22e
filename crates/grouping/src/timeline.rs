//! A stream's sessions on its time line: which of them a segment touches, and when each is due.
//!
//! A [`Timeline`] lists the *live* sessions of a stream in time order. No two of them are within a gap of each other, so
//! they are ordered by start and by end alike, and the sessions that a segment touches are neighbours. *Frozen* sessions
//! (rule: limits) stand beside them: they take no more segments, and may lie within the gap of a live one.
//!
//! Sessions are kept in one table of the partition and named by number, because their timers need to find them.
//!
//! # Invariants
//!
//! Checked by [`crate::invariants`]: `live_sessions_are_apart`, `bounds_are_those_of_the_members`,
//! `first_member_is_the_seed`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::hint::Pushes;
use crate::policy::Policy;
use crate::segment::{Offset, Segment};
use crate::session::{CloseCause, Head, SessionId};
use crate::time::{Millis, Timestamp};

/// Number of a session in the table of its partition.
pub(super) type SessionNo = u32;
/// Number of a stream in the table of its partition.
pub(super) type StreamNo = u32;

/// A stream of the partition.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    pub key: Arc<str>,
    /// The gap of this stream: an override, or the general one.
    pub gap: Millis,
    /// Live sessions in time order.
    pub live: Vec<SessionNo>,
    /// Frozen sessions in the order in which they froze.
    pub frozen: Vec<SessionNo>,
    pub hints: Option<Box<Pushes>>,
    /// The earliest watermark bound queued for dropping the hint state.
    pub hint_timer: Timestamp,
    /// Where the overlay keeps a copy, if it does.
    pub kept: u32,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// The watermark, among the timers.
    Watermark,
    /// Its turn to be published.
    Publishing,
    /// That everything due is published: then it is forgotten.
    Forgetting,
}

/// A session in memory.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub stream: StreamNo,
    /// Where the overlay keeps a copy, if it does.
    pub kept: u32,
    pub queue: Queue,
    pub start: Timestamp,
    pub end: Timestamp,
    /// The earliest bound queued for this session; entries of the queue with other bounds are stale.
    pub timer: Timestamp,
    /// Text of the members, for `max_session_bytes`.
    pub bytes: u64,
    /// The seed, then the others in no particular order.
    pub members: Vec<Arc<Segment>>,
    /// What has happened to it besides growing; absent for most open sessions.
    pub past: Option<Box<Past>>,
}

/// The published past of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// What was last published of it.
    pub head: Option<Head>,
    /// What was last published of the sessions that it took in, to be withdrawn with its next publication.
    pub absorbed: Vec<Head>,
    /// The frozen session that it continues, and where that one ends.
    pub continues: Option<(SessionId, Timestamp)>,
    /// The offset of the segment that was one too many.
    pub frozen_at: Option<Offset>,
}

impl Session {
    pub fn new(stream: StreamNo, segment: Arc<Segment>) -> Session {
        Session {
            stream,
            kept: 0,
            queue: Queue::Watermark,
            start: segment.start(),
            end: segment.end(),
            timer: Timestamp::MAX,
            bytes: segment.text_bytes(),
            members: vec![segment],
            past: None,
        }
    }

    /// Returns the session as it is, without its members.
    pub fn without_members(&self) -> Session {
        Session { members: Vec::new(), past: self.past.clone(), ..*self }
    }

    /// Returns whether its content has been taken out, and only its number is still in use.
    pub fn is_gone(&self) -> bool {
        self.members.is_empty()
    }

    /// The member that was accepted first: it names the session (rule: identity).
    pub fn seed(&self) -> &Arc<Segment> {
        &self.members[0]
    }

    /// Returns the name under which it was published, or will be.
    pub fn id(&self, stream: &str) -> SessionId {
        let new = || SessionId::new(stream, self.seed().file_id(), self.seed().end());
        self.head().map_or_else(new, |head| head.session_id)
    }

    pub fn head(&self) -> Option<&Head> {
        self.past.as_ref()?.head.as_ref()
    }

    pub fn frozen_at(&self) -> Option<Offset> {
        self.past.as_ref()?.frozen_at
    }

    pub fn continues(&self) -> Option<SessionId> {
        self.past.as_ref()?.continues.map(|(id, _)| id)
    }

    pub fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// Returns whether something of it has not been published as it now is (rule: amend).
    ///
    /// A session only grows, so counting its members is enough.
    pub fn is_dirty(&self) -> bool {
        let Some(past) = &self.past else { return true };
        let Some(head) = &past.head else { return true };
        !past.absorbed.is_empty() || head.segments as usize != self.members.len()
    }

    /// Adds a member.
    pub fn add(&mut self, segment: Arc<Segment>) {
        self.start = self.start.min(segment.start());
        self.end = self.end.max(segment.end());
        self.bytes += segment.text_bytes();
        let is_older = segment.offset() < self.seed().offset();
        self.members.push(segment);
        if is_older {
            let last = self.members.len() - 1;
            self.members.swap(0, last);
        }
    }

    /// Takes in another session of the stream (rule: bridge). The one whose seed is older gives the name.
    ///
    /// What was published of the other is kept until this one is published: then it is withdrawn.
    pub fn absorb(&mut self, mut other: Session) {
        if other.seed().offset() < self.seed().offset() {
            core::mem::swap(&mut self.members, &mut other.members);
            core::mem::swap(&mut self.past, &mut other.past);
        }
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.bytes += other.bytes;
        self.members.append(&mut other.members);
        if let Some(theirs) = other.past {
            let past = self.past_mut();
            past.absorbed.extend(theirs.absorbed);
            past.absorbed.extend(theirs.head);
            past.continue_later_of(theirs.continues);
        }
    }
}

impl Past {
    /// Continues the given frozen session if it ends later than the one continued so far.
    pub fn continue_later_of(&mut self, frozen: Option<(SessionId, Timestamp)>) {
        let (Some((_, end)), Some((_, so_far))) = (frozen, self.continues) else {
            self.continues = self.continues.or(frozen);
            return;
        };
        if end > so_far {
            self.continues = frozen;
        }
    }
}

/// When a session with something to publish may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CloseBound {
    /// It closes when the watermark is greater.
    pub bound: Timestamp,
    /// The bound of the watermark alone (rule: close), which gives the cause where a push end allows it too.
    pub wait: Timestamp,
    /// Whether a push holds it.
    pub held: bool,
}

impl CloseBound {
    /// Returns the cause of closing at `watermark`, or `None` if the session is open there.
    pub fn cause(&self, watermark: Timestamp) -> Option<CloseCause> {
        if watermark <= self.bound {
            None
        } else if self.held {
            Some(CloseCause::MaxHold)
        } else if watermark > self.wait {
            Some(CloseCause::Watermark)
        } else {
            Some(CloseCause::PushEnded)
        }
    }
}

impl Timeline {
    pub fn new(key: Arc<str>, gap: Millis) -> Timeline {
        let (live, frozen) = (Vec::new(), Vec::new());
        Timeline { key, gap, live, frozen, hints: None, hint_timer: Timestamp::MAX, kept: 0 }
    }

    /// Returns which live sessions an interval touches: overlaps, or is within the gap of, on either side (rule: merge).
    ///
    /// `bounds` gives start and end of a session.
    pub fn touched(
        &self,
        start: Timestamp,
        end: Timestamp,
        bounds: impl Fn(SessionNo) -> (Timestamp, Timestamp),
    ) -> Range<usize> {
        // Nearly every segment is at the end of its stream: look there first.
        let is_before = |number: &SessionNo| bounds(*number).1 + self.gap < start;
        let from = match self.live.last() {
            Some(last) if is_before(last) => self.live.len(),
            _ => self.live.partition_point(is_before),
        };
        let touches = |number: &&SessionNo| bounds(**number).0 <= end + self.gap;
        from..from + self.live[from..].iter().take_while(touches).count()
    }

    /// Returns when a session that ends at `end` may close (rules: close, hints).
    pub fn close_bound(&self, end: Timestamp, policy: &Policy) -> CloseBound {
        let wait = policy.wait_bound(end, self.gap);
        let Some(hints) = &self.hints else { return CloseBound { bound: wait, wait, held: false } };
        if hints.holds(end + self.gap) {
            return CloseBound { bound: wait.max(policy.hold_bound(end)), wait, held: true };
        }
        let off_air = hints.off_air_since().and_then(|since| policy.off_air_bound(end, since, self.gap));
        CloseBound { bound: off_air.map_or(wait, |bound| bound.min(wait)), wait, held: false }
    }
}
