//! Acceptance: of segments, which merge with what they touch, and of hints.

use alloc::sync::Arc;

use super::{Clock, Grouper};
use crate::files::FileHash;
use crate::hint::{Hint, HintKind};
use crate::outcome::Outcome;
use crate::segment::{NewSegment, Offset, Segment};
use crate::session::SessionId;
use crate::time::Timestamp;
use crate::timeline::{Session, SessionNo, StreamNo};

/// The stream, offset and times of a notification that was read.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The stream's key.
    pub stream: &'a str,
    /// The record's offset in the input partition.
    pub offset: Offset,
    /// The record's Kafka timestamp, if it has one.
    pub timestamp: Option<Timestamp>,
    /// The wall time of reading.
    pub now: Timestamp,
}

impl Grouper {
    /// Accepts a valid segment, unless it is late or known (rules: acceptance, duplicate, order-of-acceptance).
    pub fn accept(&mut self, arrival: Arrival<'_>, segment: &NewSegment<'_>) -> Outcome {
        if self.is_late(segment.end) {
            return Outcome::Late;
        }
        let stream = self.store.find_stream(arrival.stream);
        let file_hash = stream.map(|number| self.store.file_hash(number, segment.file_id));
        if let (Some(number), Some(hash)) = (stream, file_hash)
            && let Some(known) = self.find_file(number, hash, segment.file_id)
        {
            let is_same = (known.start(), known.end()) == (segment.start, segment.end);
            return if is_same { Outcome::Duplicate } else { Outcome::Conflict };
        }
        let number = stream.unwrap_or_else(|| self.store.add_stream(arrival.stream, self.policy.gap(arrival.stream)));
        let hash = file_hash.unwrap_or_else(|| self.store.file_hash(number, segment.file_id));
        let kept = Arc::new(Segment::new(arrival.offset, segment));
        self.store.remember_file(number, hash, &kept);
        self.merge_in(number, kept, Some(arrival.offset));
        self.advance(segment.end, arrival);
        Outcome::Accepted
    }

    /// Applies a hint (rule: hints). Returns whether it moved the watermark.
    pub fn hint(&mut self, arrival: Arrival<'_>, hint: &Hint<'_>) -> bool {
        if self.is_late(hint.at) {
            return false;
        }
        if hint.kind != HintKind::RecordEnded {
            let number = self.find_or_add_stream(arrival.stream);
            let (policy, watermark) = (&self.policy, self.watermark());
            let is_late = |at| watermark.is_some_and(|watermark| policy.is_late(at, watermark));
            self.store.timeline_mut(number).apply_hint(hint, is_late);
            self.store.note_hints(number);
            self.schedule_hints(number);
            for index in 0..self.store.timeline(number).live().len() {
                self.schedule(self.store.timeline(number).live()[index]);
            }
        }
        self.advance(hint.at, arrival)
    }

    fn is_late(&self, end: Timestamp) -> bool {
        !self.nothing_is_late && self.watermark().is_some_and(|watermark| self.policy.is_late(end, watermark))
    }

    /// Moves the watermark up to `to`, and `at` with it (rule: clock). Returns whether it moved.
    fn advance(&mut self, to: Timestamp, arrival: Arrival<'_>) -> bool {
        let now = arrival.now;
        let oldest = now - self.policy.settings().allowed_lateness;
        let at = arrival.timestamp.filter(|timestamp| (oldest..=now).contains(timestamp)).unwrap_or(now);
        match &mut self.progress.clock {
            Some(clock) if to <= clock.watermark => return false,
            Some(clock) => *clock = Clock { watermark: to, at: clock.at.max(at) },
            None => self.progress.clock = Some(Clock { watermark: to, at }),
        }
        true
    }

    /// Merges a new segment with all that it touches (rules: merge, bridge, limits).
    ///
    /// `limits_at` is the segment's offset where limits apply; a restore freezes what had been frozen instead.
    pub(super) fn merge_in(&mut self, number: StreamNo, segment: Arc<Segment>, limits_at: Option<Offset>) {
        let (start, end) = (segment.start(), segment.end());
        let store = &self.store;
        let bounds = |session| (store.session(session).start(), store.session(session).end());
        let mut touched = store.timeline(number).touched(start, end, bounds);
        if let Some(offset) = limits_at {
            while !touched.is_empty() && self.exceeds_limits(number, touched.clone(), &segment) {
                self.freeze(number, touched.start, offset);
                touched.end -= 1;
            }
        }
        let continues = self.touched_frozen(number, start, end);
        let survivor = if touched.is_empty() {
            let session = self.store.add_session(Session::new(number, segment));
            self.store.timeline_mut(number).insert_live(touched.start, session);
            session
        } else {
            let survivor = self.store.timeline(number).live()[touched.start];
            if touched.len() > 1 {
                for other in self.store.timeline_mut(number).take_live(touched.start + 1..touched.end) {
                    self.store.absorb(survivor, other);
                }
            }
            self.store.add_member(survivor, segment);
            survivor
        };
        if continues.is_some() {
            self.store.past_mut(survivor).continue_later_of(continues);
        }
        self.schedule(survivor);
        // What froze may have been continued by a session that has frozen too, or now continues another.
        for index in 0..self.store.timeline(number).frozen().len() {
            self.schedule(self.store.timeline(number).frozen()[index]);
        }
    }

    /// Returns whether the union of a segment and the touched live sessions would exceed a limit (rule: limits).
    fn exceeds_limits(&self, number: StreamNo, touched: core::ops::Range<usize>, segment: &Segment) -> bool {
        let settings = self.policy.settings();
        let (mut start, mut end) = (segment.start(), segment.end());
        let (mut segments, mut bytes) = (1, segment.text_bytes());
        for session in &self.store.timeline(number).live()[touched] {
            let session = self.store.session(*session);
            start = start.min(session.start());
            end = end.max(session.end());
            segments += session.members().len();
            bytes += session.bytes();
        }
        end.since(start) > settings.max_session_duration
            || segments > settings.max_session_segments as usize
            || bytes > settings.max_session_bytes
    }

    /// Freezes a live session: it takes no more segments, and is published before the transaction ends.
    ///
    /// At once and not when its turn comes, because a restore learns of the freeze from what was published.
    fn freeze(&mut self, number: StreamNo, index: usize, offset: Offset) {
        let session = self.store.timeline_mut(number).freeze(index);
        self.store.past_mut(session).freeze(offset);
        self.schedule.add_frozen(session);
    }

    /// Returns the frozen session that ends last among those that an interval touches, and its end.
    fn touched_frozen(&self, number: StreamNo, start: Timestamp, end: Timestamp) -> Option<(SessionId, Timestamp)> {
        let timeline = self.store.timeline(number);
        let touching = timeline
            .frozen()
            .iter()
            .map(|session| self.store.session(*session))
            .filter(|session| session.end() + timeline.gap() >= start && session.start() <= end + timeline.gap());
        // Of those that end at the same time the first one frozen.
        let last = touching.reduce(|last, session| if session.end() > last.end() { session } else { last })?;
        Some((last.id(timeline.key()), last.end()))
    }

    /// Returns the remembered segment of a file (rule: duplicate).
    ///
    /// The bound of forgetting decides, not what happens to be in memory still: when sessions are forgotten depends on
    /// transactions, and what is known must not.
    fn find_file(&self, stream: StreamNo, hash: FileHash, file_id: &str) -> Option<&Arc<Segment>> {
        self.store.find_files(stream, hash, file_id).find(|segment| !self.is_out_of_reach(stream, segment))
    }

    /// Returns whether a remembered segment belongs to a session that may be forgotten (rules: forget, duplicate).
    fn is_out_of_reach(&self, stream: StreamNo, segment: &Arc<Segment>) -> bool {
        let Some(watermark) = self.watermark() else { return false };
        let timeline = self.store.timeline(stream);
        // A session ends where its members end, or later: for nearly every segment this is the answer.
        if watermark <= self.policy.forget_bound(segment.end(), timeline.gap()) || self.nothing_is_late {
            return false;
        }
        let holds = |number: &SessionNo| {
            self.store.session(*number).members().iter().any(|member| Arc::ptr_eq(member, segment))
        };
        let holder = timeline.sessions().find(holds);
        debug_assert!(holder.is_some(), "no session of {} holds the remembered {segment:?}", timeline.key());
        let Some(number) = holder else { return true };
        let session = self.store.session(number);
        let is_closed = session.frozen_at().is_some() || self.close_bound(number).cause(watermark).is_some();
        is_closed && watermark > self.policy.forget_bound(session.end(), timeline.gap())
    }
}
