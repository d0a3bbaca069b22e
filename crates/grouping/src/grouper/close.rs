//! Publishing what is due and forgetting what is out of reach (rules: close, hints, amend, bridge, limits, forget).
//!
//! In this order: sessions frozen by this transaction, sessions that may close, and only when none of these is left,
//! what may be forgotten. A watermark that jumps over a night may close a million sessions, so publishing goes in slices;
//! forgetting costs a deletion each and does not.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Grouper;
use crate::segment::Segment;
use crate::session::{self, CloseCause, Head, Publication, Status};
use crate::store::HeadChange;
use crate::time::Timestamp;
use crate::timeline::{CloseBound, Queue, SessionNo, StreamNo};

impl Grouper {
    /// Publishes what is due, at most about `most` sessions, then forgets what nothing can touch any more.
    ///
    /// Returns an empty list when nothing is left to publish; then forgetting is complete as well. Sessions come in the
    /// order of stream and time, each followed by those that it replaces. Sessions frozen by a limit and withdrawn ones
    /// come on top of `most`.
    pub fn settle(&mut self, most: usize) -> Vec<Publication> {
        let mut publications = Vec::new();
        for number in core::mem::take(&mut self.frozen) {
            let is_frozen = self.sessions.get(number as usize).is_some_and(|session| session.frozen_at().is_some());
            if is_frozen {
                self.publish_frozen(number, &mut publications);
            }
        }
        let Some(watermark) = self.watermark() else { return publications };
        self.collect_due(watermark);
        let mut left = most;
        while let Some(&number) = self.due.last() {
            // It may have grown, frozen or been absorbed since it was queued.
            if self.is_queued(number, Queue::Publishing) {
                let close = self.close_bound(number);
                let cause = close.cause(watermark).filter(|_| self.sessions[number as usize].is_dirty());
                if let Some(cause) = cause {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                    self.publish(number, Status::Closed, Some(cause), close.bound, &mut publications);
                }
                self.wait(number);
            }
            self.due.pop();
        }
        // A set is read once: it has no use for the memory, and its end comes soon.
        if self.due.is_empty() && !self.nothing_is_late {
            // What was just published may be out of reach already.
            self.collect_due(watermark);
            for number in core::mem::take(&mut self.forgettable) {
                if !self.is_queued(number, Queue::Forgetting) {
                    continue;
                }
                if self.next_bound(number) < watermark {
                    self.forget(number);
                } else {
                    self.wait(number);
                }
            }
            self.drop_hints(watermark);
            self.forgotten = Some(watermark);
        }
        publications
    }

    fn is_queued(&self, number: SessionNo, queue: Queue) -> bool {
        self.sessions.get(number as usize).is_some_and(|session| session.queue == queue && !session.is_gone())
    }

    /// Puts a session back among those that wait for the watermark.
    fn wait(&mut self, number: SessionNo) {
        self.sessions[number as usize].queue = Queue::Watermark;
        self.schedule(number);
    }

    /// Closes every session that has something to publish: there is no more input.
    pub fn close_all(&mut self) -> Vec<Publication> {
        let mut publications = self.settle(usize::MAX);
        for number in self.numbers_in_order() {
            if self.sessions[number as usize].is_dirty() {
                let bound = self.close_bound(number).bound;
                self.publish(number, Status::Closed, Some(CloseCause::EndOfInput), bound, &mut publications);
                self.schedule(number);
            }
        }
        publications
    }

    /// Returns every session that has something to publish, as it stands: revision as last published, or 0.
    pub fn open_sessions(&self) -> impl Iterator<Item = Publication> {
        let numbers = self.numbers_in_order().into_iter();
        numbers.filter(|number| self.sessions[*number as usize].is_dirty()).map(|number| {
            let session = &self.sessions[number as usize];
            let revision = session.head().map_or(0, |head| head.revision);
            self.publication(number, Status::Open, revision, None, self.close_bound(number).bound)
        })
    }

    /// Returns all sessions by stream and start.
    pub(crate) fn numbers_in_order(&self) -> Vec<SessionNo> {
        let mut numbers: Vec<SessionNo> = self.remembered().map(|(number, _)| number).collect();
        self.sort_by_stream_and_time(&mut numbers);
        numbers
    }

    fn sort_by_stream_and_time(&self, numbers: &mut [SessionNo]) {
        let order = |number: &SessionNo| {
            let session = &self.sessions[*number as usize];
            (&self.streams[session.stream as usize].key, session.start, session.seed().offset())
        };
        numbers.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
    }

    /// Moves what is due under `watermark` from the timers to the lists of what is to be published and forgotten.
    ///
    /// Each is looked at once: a mass close goes through here with every slice, and must not start again each time.
    fn collect_due(&mut self, watermark: Timestamp) {
        let published = self.due.len();
        while let Some(&Reverse((bound, number))) = self.timers.peek() {
            if bound >= watermark {
                break;
            }
            self.timers.pop();
            let Some(session) = self.sessions.get_mut(number as usize).filter(|session| session.timer == bound) else {
                continue;
            };
            session.timer = Timestamp::MAX;
            if self.next_bound(number) >= watermark {
                self.schedule(number);
            } else if self.sessions[number as usize].is_dirty() {
                self.sessions[number as usize].queue = Queue::Publishing;
                self.due.push(number);
            } else {
                self.sessions[number as usize].queue = Queue::Forgetting;
                self.forgettable.push(number);
            }
        }
        if self.due.len() > published {
            // The order of slots and timers differs after a restore; this one does not.
            let mut due = core::mem::take(&mut self.due);
            due.retain(|number| self.is_queued(*number, Queue::Publishing));
            self.sort_by_stream_and_time(&mut due);
            due.dedup();
            due.reverse();
            self.due = due;
        }
    }

    fn publish_frozen(&mut self, number: SessionNo, publications: &mut Vec<Publication>) {
        if self.sessions[number as usize].is_dirty() {
            let at = self.watermark().unwrap_or(self.sessions[number as usize].end);
            self.publish(number, Status::Closed, Some(CloseCause::Limit), at, publications);
        } else {
            // Exactly this has been published; only that it is frozen now is news, for a restore.
            self.note_head(number);
        }
        self.schedule(number);
    }

    /// Publishes the next revision of a session, and withdraws those that it took in (rule: bridge).
    fn publish(
        &mut self,
        number: SessionNo,
        status: Status,
        cause: Option<CloseCause>,
        allowed_at: Timestamp,
        publications: &mut Vec<Publication>,
    ) {
        self.keep_session(number);
        let revision = self.sessions[number as usize].head().map_or(0, |head| head.revision) + 1;
        let publication = self.publication(number, status, revision, cause, allowed_at);
        let (survivor, watermark) = (publication.head.session_id, publication.head.watermark);
        let past = self.sessions[number as usize].past_mut();
        past.head = Some(publication.head.clone());
        let mut absorbed = core::mem::take(&mut past.absorbed);
        absorbed.sort_unstable_by_key(|head| (head.start, head.session_id));
        let stream = Arc::clone(&publication.stream);
        publications.push(publication);
        self.note_head(number);
        for head in absorbed {
            if self.overlay.is_some() {
                self.changes.heads.push((head.session_id, HeadChange::Gone));
            }
            publications.push(Publication {
                stream: Arc::clone(&stream),
                head: Head { revision: head.revision + 1, close_cause: None, watermark, ..head },
                status: Status::Withdrawn,
                merged_into: Some(survivor),
                gaps: Vec::new(),
                segments: Vec::new(),
                allowed_at,
            });
        }
    }

    /// Notes that the head of a session has to be written to the changelog.
    fn note_head(&mut self, number: SessionNo) {
        let session = &self.sessions[number as usize];
        if self.overlay.is_some()
            && let Some(head) = session.head()
        {
            let stream = Arc::clone(&self.streams[session.stream as usize].key);
            let change = HeadChange::Published { stream, head: head.clone(), frozen_at: session.frozen_at() };
            self.changes.heads.push((head.session_id, change));
        }
    }

    /// Returns a session as a record of the output topic.
    fn publication(
        &self,
        number: SessionNo,
        status: Status,
        revision: u32,
        close_cause: Option<CloseCause>,
        allowed_at: Timestamp,
    ) -> Publication {
        let session = &self.sessions[number as usize];
        let stream = &self.streams[session.stream as usize].key;
        let mut segments = session.members.clone();
        session::sort(&mut segments);
        let (recorded, gaps) = session::silences(segments.iter().map(Arc::as_ref));
        let seed_offset = session.seed().offset();
        let head = Head {
            session_id: session.id(stream),
            revision,
            continues: session.continues(),
            close_cause,
            start: session.start,
            end: session.end,
            recorded,
            first_offset: seed_offset,
            last_offset: segments.iter().map(|segment| segment.offset()).fold(seed_offset, Ord::max),
            watermark: self.watermark().unwrap_or(session.end),
            seed_offset,
            segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
        };
        Publication { stream: Arc::clone(stream), head, status, merged_into: None, gaps, segments, allowed_at }
    }

    /// Returns when a session may close.
    pub(crate) fn close_bound(&self, number: SessionNo) -> CloseBound {
        let session = &self.sessions[number as usize];
        self.streams[session.stream as usize].close_bound(session.end, &self.policy)
    }

    /// Returns the bound after which something is to be done with a session: publish it, or forget it.
    ///
    /// A session that a hint holds open beyond the time at which it could be forgotten is neither.
    pub(crate) fn next_bound(&self, number: SessionNo) -> Timestamp {
        let session = &self.sessions[number as usize];
        let timeline = &self.streams[session.stream as usize];
        let forget = self.policy.forget_bound(session.end, timeline.gap);
        if session.frozen_at().is_some() {
            // What continues it is named after it: a restore has to find it there.
            let id = session.id(&timeline.key);
            let continuing = timeline.live.iter().map(|live| &self.sessions[*live as usize]);
            let ends = continuing.filter(|live| live.continues() == Some(id)).map(|live| live.end);
            return ends.fold(forget, |bound, end| bound.max(self.policy.forget_bound(end, timeline.gap)));
        }
        let close = self.close_bound(number).bound;
        if session.is_dirty() { close } else { forget.max(close) }
    }

    /// Queues a session under its next bound, unless it is queued under an earlier one, which will correct itself.
    pub(crate) fn schedule(&mut self, number: SessionNo) {
        let bound = self.next_bound(number);
        let session = &mut self.sessions[number as usize];
        if bound < session.timer {
            session.timer = bound;
            self.timers.push(Reverse((bound, number)));
        }
    }

    /// Queues a stream for the time when its hint state may be dropped.
    pub(crate) fn schedule_hints(&mut self, number: StreamNo) {
        let timeline = &mut self.streams[number as usize];
        let Some(hints) = &timeline.hints else { return };
        let bound = self.policy.hint_bound(hints.last_hint);
        if bound < timeline.hint_timer {
            timeline.hint_timer = bound;
            self.hint_timers.push(Reverse((bound, number)));
        }
    }

    /// Returns whether a remembered segment belongs to a session that may be forgotten (rules: forget, duplicate).
    pub(crate) fn is_out_of_reach(&self, stream: StreamNo, segment: &Arc<Segment>) -> bool {
        let Some(watermark) = self.watermark() else { return false };
        let timeline = &self.streams[stream as usize];
        // A session ends where its members end, or later: for nearly every segment this is the answer.
        if watermark <= self.policy.forget_bound(segment.end(), timeline.gap) || self.nothing_is_late {
            return false;
        }
        let holds = |number: &&SessionNo| {
            self.sessions[**number as usize].members.iter().any(|member| Arc::ptr_eq(member, segment))
        };
        let Some(number) = timeline.live.iter().chain(&timeline.frozen).find(holds) else { return true };
        let session = &self.sessions[*number as usize];
        let is_closed = session.frozen_at().is_some() || self.close_bound(*number).cause(watermark).is_some();
        is_closed && watermark > self.policy.forget_bound(session.end, timeline.gap)
    }

    /// Drops a session that has been published as it is and that nothing can touch any more.
    pub(crate) fn forget(&mut self, number: SessionNo) {
        let stream = self.sessions[number as usize].stream;
        self.keep_stream(stream);
        let session = self.take_session(number);
        let timeline = &mut self.streams[stream as usize];
        timeline.live.retain(|live| *live != number);
        timeline.frozen.retain(|frozen| *frozen != number);
        for segment in &session.members {
            self.forget_file(stream, segment);
        }
        if self.overlay.is_some() {
            let offsets = || session.members.iter().map(|segment: &Arc<Segment>| segment.offset());
            self.changes.forgotten.extend(offsets());
            if let Some(head) = session.head() {
                let change = match session.frozen_at() {
                    Some(_) => HeadChange::FrozenForgotten { members: offsets().collect() },
                    None => HeadChange::Forgotten,
                };
                self.changes.heads.push((head.session_id, change));
            }
        }
        self.drop_stream_if_empty(stream);
    }

    /// Drops the hint state of streams without sessions whose last hint is too old to count.
    fn drop_hints(&mut self, watermark: Timestamp) {
        while let Some(&Reverse((bound, number))) = self.hint_timers.peek() {
            if bound >= watermark {
                return;
            }
            self.hint_timers.pop();
            let Some(timeline) = self.streams.get_mut(number as usize).filter(|stream| stream.hint_timer == bound)
            else {
                continue;
            };
            timeline.hint_timer = Timestamp::MAX;
            self.drop_stream_if_empty(number);
            if self.streams.contains(number as usize) {
                let due = self.streams[number as usize].hints.as_ref();
                if due.is_some_and(|hints| self.policy.hint_bound(hints.last_hint) >= watermark) {
                    self.schedule_hints(number);
                }
            }
        }
    }

    /// Drops hint state that counts no more, then the stream itself, once it has no sessions.
    fn drop_stream_if_empty(&mut self, number: StreamNo) {
        let watermark = self.watermark();
        let timeline = &self.streams[number as usize];
        if !timeline.live.is_empty() || !timeline.frozen.is_empty() {
            return;
        }
        if let Some(hints) = &timeline.hints {
            let bound = self.policy.hint_bound(hints.last_hint);
            if watermark.is_none_or(|watermark| watermark <= bound) {
                self.schedule_hints(number);
                return;
            }
            self.keep_stream(number);
            let timeline = &mut self.streams[number as usize];
            timeline.hints = None;
            if self.overlay.is_some() {
                self.changes.hints.insert(Arc::clone(&timeline.key), None);
            }
        }
        self.drop_stream(number);
    }
}
