//! Publishing what is due and forgetting what is out of reach (rules: close, hints, amend, bridge, limits, forget).
//!
//! In this order: sessions frozen by this transaction, sessions that may close, and only when none of these is left,
//! what may be forgotten. A watermark that jumps over a night may close a million sessions, so publishing goes in slices;
//! forgetting costs a deletion each and does not.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Grouper;
use crate::schedule::{Queue, Timer};
use crate::session::{self, CloseCause, Publication, Status, Summary};
use crate::time::Timestamp;
use crate::timeline::{SessionNo, StreamNo};

impl Grouper {
    /// Publishes what is due, at most about `most` sessions, then forgets what nothing can touch any more.
    ///
    /// Returns an empty list when nothing is left to publish; then forgetting is complete as well. Sessions come in the
    /// order of stream and time, each followed by those that it replaces. Sessions frozen by a limit and withdrawn ones
    /// come on top of `most`.
    pub fn publish_due(&mut self, most: usize) -> Vec<Publication> {
        let mut publications = Vec::new();
        for number in self.schedule.take_frozen() {
            let is_frozen = self.store.find_session(number).is_some_and(|session| session.frozen_at().is_some());
            debug_assert!(is_frozen, "session {number} froze in this transaction and is not frozen");
            if is_frozen {
                self.publish_frozen(number, &mut publications);
            }
        }
        let Some(watermark) = self.watermark() else { return publications };
        self.collect_due(watermark);
        let mut left = most;
        while let Some(number) = self.schedule.first_due() {
            // It may have grown, frozen or been absorbed since it was queued.
            if self.is_queued(number, Queue::Publishing) {
                let close = self.close_bound(number);
                let cause = close.cause(watermark).filter(|_| self.store.session(number).is_dirty());
                if let Some(cause) = cause {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                    self.publish(number, Status::Closed, Some(cause), close.bound, &mut publications);
                }
                self.wait(number);
            }
            self.schedule.pop_due();
        }
        // A set is read once: it has no use for the memory, and its end comes soon.
        if self.schedule.first_due().is_none() && !self.nothing_is_late {
            // What was just published may be out of reach already.
            self.collect_due(watermark);
            for number in self.schedule.take_forgettable() {
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
            self.progress.forgotten = Some(watermark);
        }
        publications
    }

    fn is_queued(&self, number: SessionNo, queue: Queue) -> bool {
        self.store.position(number).is_some_and(|position| position.queue == queue)
    }

    /// Puts a session back among those that wait for the watermark.
    fn wait(&mut self, number: SessionNo) {
        self.store.set_queue(number, Queue::Watermark);
        self.schedule(number);
    }

    /// Closes every session that has something to publish: there is no more input.
    pub fn close_all(&mut self) -> Vec<Publication> {
        let mut publications = self.publish_due(usize::MAX);
        for number in self.store.sessions_in_order() {
            if self.store.session(number).is_dirty() {
                let bound = self.close_bound(number).bound;
                self.publish(number, Status::Closed, Some(CloseCause::EndOfInput), bound, &mut publications);
                self.schedule(number);
            }
        }
        publications
    }

    /// Returns every session that has something to publish, as it stands: revision as last published, or 0.
    pub fn open_sessions(&self) -> impl Iterator<Item = Publication> {
        self.open_numbers().map(|number| self.open_session(number))
    }

    /// Returns the sessions that have something to publish, by stream and start.
    pub(super) fn open_numbers(&self) -> impl Iterator<Item = SessionNo> {
        self.store.sessions_in_order().into_iter().filter(|number| self.store.session(*number).is_dirty())
    }

    /// Returns a session that has something to publish, as it stands.
    pub(super) fn open_session(&self, number: SessionNo) -> Publication {
        let revision = self.store.session(number).last_published().map_or(0, |summary| summary.revision);
        self.publication(number, Status::Open, revision, None, self.close_bound(number).bound)
    }

    /// Moves what is due under `watermark` from the timers to the lists of what is to be published and forgotten.
    ///
    /// Each is looked at once: a mass close goes through here with every slice, and must not start again each time.
    fn collect_due(&mut self, watermark: Timestamp) {
        let queued = self.schedule.due();
        while let Some((bound, number)) = self.schedule.first_session(watermark) {
            self.schedule.pop_session();
            if !self.store.position(number).is_some_and(|position| position.timer.is_for(bound)) {
                continue;
            }
            *self.store.timer_mut(number) = Timer::NONE;
            if self.next_bound(number) >= watermark {
                self.schedule(number);
            } else if self.store.session(number).is_dirty() {
                self.store.set_queue(number, Queue::Publishing);
                self.schedule.add_due(number);
            } else {
                self.store.set_queue(number, Queue::Forgetting);
                self.schedule.add_forgettable(number);
            }
        }
        if self.schedule.due() > queued {
            // The order of slots and timers differs after a restore; this one does not.
            let store = &self.store;
            self.schedule.sort_due(|mut due| {
                due.retain(|number| {
                    store.position(*number).is_some_and(|position| position.queue == Queue::Publishing)
                });
                store.sort_by_stream_and_time(&mut due);
                due.dedup();
                due
            });
        }
    }

    fn publish_frozen(&mut self, number: SessionNo, publications: &mut Vec<Publication>) {
        let session = self.store.session(number);
        if session.is_dirty() {
            let at = self.watermark().unwrap_or(session.end());
            self.publish(number, Status::Closed, Some(CloseCause::Limit), at, publications);
        } else {
            // Exactly this has been published; only that it is frozen now is news, for a restore.
            self.store.note_published(number);
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
        let revision = self.store.session(number).last_published().map_or(0, |summary| summary.revision) + 1;
        let publication = self.publication(number, status, revision, cause, allowed_at);
        let (survivor, watermark) = (publication.summary.session_id, publication.summary.watermark);
        let past = self.store.past_mut(number);
        past.set_last_published(publication.summary.clone());
        let absorbed = past.take_absorbed();
        let stream = Arc::clone(&publication.stream);
        publications.push(publication);
        self.store.note_published(number);
        for summary in absorbed {
            self.store.note_withdrawn(summary.session_id);
            publications.push(Publication {
                stream: Arc::clone(&stream),
                summary: Summary { revision: summary.revision + 1, close_cause: None, watermark, ..summary },
                status: Status::Withdrawn,
                merged_into: Some(survivor),
                gaps: Vec::new(),
                segments: Vec::new(),
                allowed_at,
            });
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
        let session = self.store.session(number);
        let stream = self.store.timeline(session.stream()).key();
        let mut segments = session.members().to_vec();
        session::sort(&mut segments);
        let (recorded, gaps) = session::silences(segments.iter().map(Arc::as_ref));
        let seed_offset = session.seed().offset();
        let summary = Summary {
            session_id: session.id(stream),
            revision,
            continues: session.continues(),
            close_cause,
            start: session.start(),
            end: session.end(),
            recorded,
            first_offset: seed_offset,
            last_offset: segments.iter().map(|segment| segment.offset()).fold(seed_offset, Ord::max),
            watermark: self.watermark().unwrap_or(session.end()),
            seed_offset,
            segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
        };
        Publication { stream: Arc::clone(stream), summary, status, merged_into: None, gaps, segments, allowed_at }
    }

    /// Drops a session that has been published as it is and that nothing can touch any more.
    pub(super) fn forget(&mut self, number: SessionNo) {
        let session = self.store.take_session(number);
        let stream = session.stream();
        self.store.timeline_mut(stream).remove(number);
        for segment in session.members() {
            self.store.forget_file(stream, segment);
        }
        self.store.note_forgotten(&session);
        self.drop_stream_if_empty(stream);
    }

    /// Drops the hint state of streams without sessions whose last hint is too old to count.
    fn drop_hints(&mut self, watermark: Timestamp) {
        while let Some((bound, number)) = self.schedule.next_stream(watermark) {
            if !self.store.clear_stream_timer(number, bound) {
                continue;
            }
            let hints = self.store.timeline(number).hints();
            if hints.is_some_and(|hints| self.policy.hint_bound(hints.last_hint) >= watermark) {
                self.schedule_hints(number);
            } else {
                self.drop_stream_if_empty(number);
            }
        }
    }

    /// Drops hint state that counts no more, then the stream itself, once it has no sessions.
    fn drop_stream_if_empty(&mut self, number: StreamNo) {
        let timeline = self.store.timeline(number);
        if timeline.has_sessions() {
            return;
        }
        if let Some(hints) = timeline.hints() {
            let bound = self.policy.hint_bound(hints.last_hint);
            if self.watermark().is_none_or(|watermark| watermark <= bound) {
                self.schedule_hints(number);
                return;
            }
            self.store.timeline_mut(number).set_hints(None);
            self.store.note_hints(number);
        }
        self.store.drop_stream(number);
    }
}
