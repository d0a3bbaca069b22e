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

use crate::hint::{Hint, Pushes};
use crate::policy::Policy;
use crate::segment::{Offset, Segment};
use crate::session::{CloseCause, SessionId, Summary};
use crate::time::{Millis, Timestamp};

/// Number of a session in the table of its partition.
pub(crate) type SessionNo = u32;
/// Number of a stream in the table of its partition.
pub(crate) type StreamNo = u32;

/// A stream of the partition.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    key: Arc<str>,
    gap: Millis,
    live: Vec<SessionNo>,
    frozen: Vec<SessionNo>,
    hints: Option<Box<Pushes>>,
}

/// A session in memory.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    stream: StreamNo,
    start: Timestamp,
    end: Timestamp,
    /// Text of the members, for `max_session_bytes`.
    bytes: u64,
    /// The seed, then the others in no particular order.
    members: Vec<Arc<Segment>>,
    /// Its published past; absent for most open sessions.
    past: Option<Box<Past>>,
}

/// The published past of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// The summary of its last publication.
    last_published: Option<Summary>,
    /// The last publications of the sessions that it took in, to be withdrawn with its next publication.
    absorbed: Vec<Summary>,
    /// The frozen session that it continues, and where that one ends.
    continues: Option<(SessionId, Timestamp)>,
    /// The offset of the segment that was one too many.
    frozen_at: Option<Offset>,
}

impl Session {
    pub fn new(stream: StreamNo, segment: Arc<Segment>) -> Session {
        Session {
            stream,
            start: segment.start(),
            end: segment.end(),
            bytes: segment.text_bytes(),
            members: vec![segment],
            past: None,
        }
    }

    /// Returns the session as it is, without its members.
    pub fn without_members(&self) -> Session {
        Session { members: Vec::new(), past: self.past.clone(), ..*self }
    }

    /// Returns what stands under the number of a session whose content was taken out: no members, no past.
    pub fn without_content(&self) -> Session {
        Session { members: Vec::new(), past: None, ..*self }
    }

    /// Takes the members out, to be put back with [`Session::with_members`].
    pub fn take_members(&mut self) -> Vec<Arc<Segment>> {
        core::mem::take(&mut self.members)
    }

    /// Returns the session with `members` in place of its own.
    pub fn with_members(self, members: Vec<Arc<Segment>>) -> Session {
        Session { members, ..self }
    }

    pub fn stream(&self) -> StreamNo {
        self.stream
    }

    pub fn start(&self) -> Timestamp {
        self.start
    }

    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// Returns what its members count towards `max_session_bytes`.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the seed, then the other members in no particular order.
    pub fn members(&self) -> &[Arc<Segment>] {
        &self.members
    }

    /// Returns the member that was accepted first: it names the session (rule: identity).
    pub fn seed(&self) -> &Arc<Segment> {
        &self.members[0]
    }

    /// Returns the name under which it was published, or will be.
    pub fn id(&self, stream: &str) -> SessionId {
        let new = || SessionId::new(stream, self.seed().file_id(), self.seed().end());
        self.last_published().map_or_else(new, |summary| summary.session_id)
    }

    pub fn last_published(&self) -> Option<&Summary> {
        self.past.as_ref()?.last_published.as_ref()
    }

    /// Returns the last publications of the sessions that it took in and that have yet to be withdrawn.
    pub fn absorbed(&self) -> &[Summary] {
        self.past.as_ref().map_or(&[], |past| &past.absorbed)
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
        let Some(summary) = &past.last_published else { return true };
        !past.absorbed.is_empty() || summary.segments as usize != self.members.len()
    }

    /// Adds a member: at the end, unless it is older than the seed.
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
    /// The last publication of the other is kept until this session is published, and withdrawn then.
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
            past.absorbed.extend(theirs.last_published);
            past.continue_later_of(theirs.continues);
        }
    }

    /// Freezes what is left of a session that was published as `summary`, within the bounds that it had.
    pub fn freeze_as_published(&mut self, summary: Summary, at: Option<Offset>) {
        (self.start, self.end) = (summary.start, summary.end);
        let past = self.past_mut();
        past.frozen_at = at;
        past.last_published = Some(summary);
    }
}

impl Past {
    /// Sets the summary of the last publication. Returns the one before.
    pub fn set_last_published(&mut self, summary: Summary) -> Option<Summary> {
        self.last_published.replace(summary)
    }

    /// Adds the last publication of a session that this one took in.
    pub fn add_absorbed(&mut self, summary: Summary) {
        self.absorbed.push(summary);
    }

    /// Takes the last publications of the sessions that were taken in, in the order in which they are withdrawn.
    pub fn take_absorbed(&mut self) -> Vec<Summary> {
        let mut absorbed = core::mem::take(&mut self.absorbed);
        absorbed.sort_unstable_by_key(|summary| (summary.start, summary.session_id));
        absorbed
    }

    /// Freezes the session because of the segment at offset `at`.
    pub fn freeze(&mut self, at: Offset) {
        self.frozen_at = Some(at);
    }

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

/// The bound at which a session with something to publish may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseBound {
    /// It closes when the watermark is greater.
    pub bound: Timestamp,
    /// The bound of the watermark alone (rule: close), which gives the cause where a push end allows it too.
    pub wait: Timestamp,
    /// A push holds it.
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
        Timeline { key, gap, live: Vec::new(), frozen: Vec::new(), hints: None }
    }

    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Returns the gap of this stream: an override, or the general one.
    pub fn gap(&self) -> Millis {
        self.gap
    }

    pub fn set_gap(&mut self, gap: Millis) {
        self.gap = gap;
    }

    /// Returns the live sessions in time order.
    pub fn live(&self) -> &[SessionNo] {
        &self.live
    }

    /// Returns the frozen sessions in the order in which they froze.
    pub fn frozen(&self) -> &[SessionNo] {
        &self.frozen
    }

    /// Returns the live sessions, then the frozen ones.
    pub fn sessions(&self) -> impl Iterator<Item = SessionNo> {
        self.live.iter().chain(&self.frozen).copied()
    }

    pub fn has_sessions(&self) -> bool {
        !self.live.is_empty() || !self.frozen.is_empty()
    }

    pub fn hints(&self) -> Option<&Pushes> {
        self.hints.as_deref()
    }

    pub fn set_hints(&mut self, hints: Option<Pushes>) {
        self.hints = hints.map(Box::new);
    }

    /// Applies a hint. `is_late` returns whether a hint of that time changes nothing.
    pub fn apply_hint(&mut self, hint: &Hint<'_>, is_late: impl Fn(Timestamp) -> bool) {
        self.hints.get_or_insert_with(|| Box::new(Pushes::new(hint.at))).apply(hint, is_late);
    }

    /// Lists a live session at `index` in time order.
    pub fn insert_live(&mut self, index: usize, session: SessionNo) {
        self.live.insert(index, session);
    }

    /// Takes live sessions off the list.
    pub fn take_live(&mut self, range: Range<usize>) -> Vec<SessionNo> {
        self.live.drain(range).collect()
    }

    /// Lists a session as frozen.
    pub fn add_frozen(&mut self, session: SessionNo) {
        self.frozen.push(session);
    }

    /// Lists the live session at `index` as frozen. Returns it.
    pub fn freeze(&mut self, index: usize) -> SessionNo {
        let session = self.live.remove(index);
        self.frozen.push(session);
        session
    }

    /// Takes a session off the list that it is on.
    pub fn remove(&mut self, session: SessionNo) {
        self.live.retain(|live| *live != session);
        self.frozen.retain(|frozen| *frozen != session);
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
