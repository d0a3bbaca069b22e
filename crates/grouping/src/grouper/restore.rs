//! Restoring: the state of a partition built again from the changelog.
//!
//! Grouping is a function of the accepted set, so the segments are merged in again in the order of acceptance, and what was
//! published is laid over the result. Three things are not in the set and come from what was last published: that a session
//! froze, and when; that a session had been published; that a session took in another which has yet to be withdrawn.
//!
//! A batch of the changelog may bring back segments that had been forgotten while others of the batch had not. Nothing
//! alive touches them (rule: forget), so they stand alone, and are dropped again without publishing anything.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Clock, Grouper};
use crate::hint::Pushes;
use crate::policy::Policy;
use crate::segment::{Offset, Segment};
use crate::session::{SessionId, Summary};
use crate::time::Timestamp;
use crate::timeline::{Session, StreamNo};

/// The changelog of a partition, reduced by key.
#[derive(Debug, Default)]
pub struct Saved {
    pub clock: Option<Clock>,
    /// The watermark under which forgetting was last completed.
    pub forgotten: Option<Timestamp>,
    /// Accepted segments with their stream, in any order.
    pub segments: Vec<(Arc<str>, Segment)>,
    pub sessions: Vec<SavedSession>,
    pub hints: Vec<(Arc<str>, Pushes)>,
}

/// A session that had been published, in the changelog.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedSession {
    pub stream: Arc<str>,
    pub last_published: Summary,
    /// The offset of the segment at which it froze.
    pub frozen_at: Option<Offset>,
}

/// A frozen session that had been forgotten, and the offsets of those of its members that batches still hold.
pub type Lingering = (SessionId, Vec<Offset>);

/// The changelog contradicts itself: something else has written to it, or cut it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("published session {session_id} has its seed at offset {seed_offset}, which no session holds")]
    PublishedWithoutSeed { session_id: SessionId, seed_offset: Offset },
    #[error("session with its seed at offset {seed_offset} was published as both {first} and {second}")]
    PublishedTwice { seed_offset: Offset, first: SessionId, second: SessionId },
}

impl Grouper {
    /// Builds the state again. Returns it with the frozen sessions that had been forgotten already, and those of their
    /// members that batches still hold.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if a published session fits no session of the segments. The caller stops and writes nothing.
    pub fn restore(policy: Policy, saved: Saved) -> Result<(Grouper, Vec<Lingering>), RestoreError> {
        let mut grouper = Grouper::new(policy);
        let mut segments = saved.segments;
        segments.sort_by_key(|(_, segment)| segment.offset());
        let (frozen, others): (Vec<_>, Vec<_>) =
            saved.sessions.into_iter().partition(|saved| saved.frozen_at.is_some());
        let mut frozen: Vec<SavedSession> = frozen;
        // Those that one segment froze did so in time order.
        frozen.sort_by_key(|saved| (saved.frozen_at, saved.last_published.start));
        let mut frozen = frozen.into_iter().peekable();
        let mut lingering = Vec::new();
        for (stream, segment) in segments {
            while let Some(next) = frozen.next_if(|next| next.frozen_at <= Some(segment.offset())) {
                lingering.extend(grouper.freeze_again(next));
            }
            let number = grouper.find_or_add_stream(&stream);
            let hash = grouper.store.file_hash(number, segment.file_id());
            let segment = Arc::new(segment);
            grouper.store.remember_file(number, hash, &segment);
            grouper.merge_in(number, segment, None);
        }
        for next in frozen {
            lingering.extend(grouper.freeze_again(next));
        }
        for saved in others {
            grouper.lay_over(saved)?;
        }
        for (stream, pushes) in saved.hints {
            let number = grouper.find_or_add_stream(&stream);
            grouper.store.timeline_mut(number).set_hints(Some(pushes));
            grouper.schedule_hints(number);
            // Its sessions were queued as if nothing was known of the pushes.
            for index in 0..grouper.store.timeline(number).live().len() {
                grouper.schedule(grouper.store.timeline(number).live()[index]);
            }
        }
        grouper.progress.forgotten = saved.forgotten;
        if let Some(forgotten) = saved.forgotten {
            lingering.extend(grouper.forget_again(forgotten));
        }
        // Only now: by the watermark the hints of a stream that was just emptied could be dropped as well, and those the
        // changelog still has.
        grouper.progress.clock = saved.clock;
        Ok((grouper, lingering))
    }

    /// Returns the offsets of all remembered segments, sorted.
    pub fn remembered_offsets(&self) -> Vec<Offset> {
        let members = self.store.remembered().flat_map(|(_, session)| session.members());
        let mut offsets: Vec<Offset> = members.map(|segment| segment.offset()).collect();
        offsets.sort_unstable();
        offsets
    }

    /// Freezes what was published as `saved`: all that lies within its bounds, since it was one session then.
    ///
    /// If a batch has been deleted, only pieces are left of it. Returns it if nothing is.
    fn freeze_again(&mut self, saved: SavedSession) -> Option<Lingering> {
        let number = self.find_or_add_stream(&saved.stream);
        let range = self.lying_within(number, saved.last_published.start, saved.last_published.end);
        let pieces = self.store.timeline_mut(number).take_live(range);
        let mut whole: Option<Session> = None;
        for piece in pieces {
            let piece = self.store.take_session(piece);
            match &mut whole {
                Some(whole) => whole.absorb(piece),
                None => whole = Some(piece),
            }
        }
        let Some(mut session) = whole else { return Some((saved.last_published.session_id, Vec::new())) };
        session.freeze_as_published(saved.last_published, saved.frozen_at);
        let session = self.store.add_session(session);
        self.store.timeline_mut(number).add_frozen(session);
        self.schedule(session);
        None
    }

    fn lying_within(&self, number: StreamNo, start: Timestamp, end: Timestamp) -> core::ops::Range<usize> {
        let live = self.store.timeline(number).live();
        let from = live.partition_point(|session| self.store.session(*session).start() < start);
        let count = live[from..].iter().take_while(|session| self.store.session(**session).end() <= end).count();
        from..from + count
    }

    /// Gives what was last published to the session that it belongs to, as its own or as one to be withdrawn.
    fn lay_over(&mut self, saved: SavedSession) -> Result<(), RestoreError> {
        let SavedSession { stream, last_published: summary, .. } = saved;
        let lost =
            RestoreError::PublishedWithoutSeed { session_id: summary.session_id, seed_offset: summary.seed_offset };
        let Some(number) = self.store.find_stream(&stream) else { return Err(lost) };
        let live = self.store.timeline(number).live();
        // Sessions only grow: the one that was published lies within one that lives.
        let after = live.partition_point(|session| self.store.session(*session).start() <= summary.start);
        let Some(number) = after.checked_sub(1).and_then(|index| live.get(index)).copied() else { return Err(lost) };
        let session = self.store.session(number);
        if !session.members().iter().any(|member| member.offset() == summary.seed_offset) {
            return Err(lost);
        }
        let is_its_own = session.seed().offset() == summary.seed_offset;
        let past = self.store.past_mut(number);
        if !is_its_own {
            past.add_absorbed(summary);
            return Ok(());
        }
        let seed_offset = summary.seed_offset;
        let second = summary.session_id;
        match past.set_last_published(summary) {
            Some(first) => Err(RestoreError::PublishedTwice { seed_offset, first: first.session_id, second }),
            None => Ok(()),
        }
    }

    /// Forgets again what had been forgotten, and publishes nothing.
    fn forget_again(&mut self, forgotten: Timestamp) -> Vec<Lingering> {
        let mut lingering = Vec::new();
        for number in self.store.sessions_in_order() {
            // A continued session outlives its own bound, so its bound is taken before anything is dropped.
            let session = self.store.session(number);
            let gap = self.store.timeline(session.stream()).gap();
            let bound = self.next_bound(number).max(self.policy.forget_bound(session.end(), gap));
            if bound >= forgotten {
                continue;
            }
            if let (Some(summary), Some(_)) = (session.last_published(), session.frozen_at()) {
                let members = session.members().iter().map(|segment| segment.offset()).collect();
                lingering.push((summary.session_id, members));
            }
            self.forget(number);
        }
        lingering
    }
}
