//! What a notification does to the state: a segment is accepted and joined with what it touches, a hint is applied.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use slab::Slab;

use super::{Clock, FileHash, Grouper};
use crate::hint::{Hint, HintKind, Pushes};
use crate::segment::{NewSegment, Offset, Segment};
use crate::session::SessionId;
use crate::time::Timestamp;
use crate::timeline::{Session, SessionNo, StreamNo};

/// Where and when a notification was read.
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

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Accepted,
    /// The same file with the same times is remembered: nothing changes.
    Duplicate,
    /// The same file with other times is remembered: nothing changes, and somebody should look.
    Conflict,
    /// Its end is too far behind the watermark.
    Late,
}

impl Grouper {
    /// Accepts a valid segment, unless it is late or known (rules: acceptance, duplicate, order-of-acceptance).
    pub fn accept(&mut self, arrival: Arrival<'_>, segment: &NewSegment<'_>) -> Placement {
        if self.is_late(segment.end) {
            return Placement::Late;
        }
        let stream = self.find_stream(arrival.stream);
        let file_hash = stream.map(|number| self.file_hash(number, segment.file_id));
        if let (Some(number), Some(hash)) = (stream, file_hash)
            && let Some(known) = self.find_file(number, hash, segment.file_id)
        {
            let is_same = (known.start(), known.end()) == (segment.start, segment.end);
            return if is_same { Placement::Duplicate } else { Placement::Conflict };
        }
        let number = stream.unwrap_or_else(|| self.add_stream(arrival.stream));
        let hash = file_hash.unwrap_or_else(|| self.file_hash(number, segment.file_id));
        let kept = Arc::new(Segment::new(arrival.offset, segment));
        self.remember_file(number, hash, &kept);
        if self.overlay.is_some() {
            self.changes.accepted.push((Arc::clone(&self.streams[number as usize].key), Arc::clone(&kept)));
        }
        self.place(number, kept, Some(arrival.offset));
        self.advance(segment.end, arrival);
        Placement::Accepted
    }

    /// Applies a hint (rule: hints). Returns whether it moved the watermark.
    pub fn hint(&mut self, arrival: Arrival<'_>, hint: &Hint<'_>) -> bool {
        if self.is_late(hint.at) {
            return false;
        }
        if hint.kind != HintKind::RecordEnded {
            let number = self.find_stream(arrival.stream).unwrap_or_else(|| self.add_stream(arrival.stream));
            self.keep_stream(number);
            let watermark = self.watermark();
            let (policy, timeline) = (&self.policy, &mut self.streams[number as usize]);
            let hints = timeline.hints.get_or_insert_with(|| Box::new(Pushes::new(hint.at)));
            hints.apply(hint, |at| watermark.is_some_and(|watermark| policy.is_late(at, watermark)));
            if self.overlay.is_some() {
                self.changes.hints.insert(Arc::clone(&timeline.key), Some(hints.as_ref().clone()));
            }
            self.schedule_hints(number);
            for index in 0..self.streams[number as usize].live.len() {
                self.schedule(self.streams[number as usize].live[index]);
            }
        }
        self.advance(hint.at, arrival)
    }

    pub(crate) fn is_late(&self, end: Timestamp) -> bool {
        !self.nothing_is_late && self.watermark().is_some_and(|watermark| self.policy.is_late(end, watermark))
    }

    /// Moves the watermark up to `to`, and `at` with it (rule: clock). Returns whether it moved.
    pub(crate) fn advance(&mut self, to: Timestamp, arrival: Arrival<'_>) -> bool {
        let now = arrival.now;
        let oldest = now - self.policy.settings().allowed_lateness;
        let at = arrival.timestamp.filter(|timestamp| (oldest..=now).contains(timestamp)).unwrap_or(now);
        match &mut self.clock {
            Some(clock) if to <= clock.watermark => return false,
            Some(clock) => *clock = Clock { watermark: to, at: clock.at.max(at) },
            None => self.clock = Some(Clock { watermark: to, at }),
        }
        true
    }

    /// Joins a new segment with all that it touches (rules: merge, bridge, limits).
    ///
    /// `limits_at` is the segment's offset where limits apply; a restore freezes what had been frozen instead.
    pub(crate) fn place(&mut self, number: StreamNo, segment: Arc<Segment>, limits_at: Option<Offset>) {
        let (start, end) = (segment.start(), segment.end());
        let bounds = |sessions: &Slab<Session>, session: SessionNo| {
            let session = &sessions[session as usize];
            (session.start, session.end)
        };
        let sessions = &self.sessions;
        let mut touched = self.streams[number as usize].touched(start, end, |session| bounds(sessions, session));
        if let Some(offset) = limits_at {
            while !touched.is_empty() && self.exceeds_limits(number, touched.clone(), &segment) {
                self.freeze(number, touched.start, offset);
                touched.end -= 1;
            }
        }
        let continues = self.touched_frozen(number, start, end);
        let survivor = if touched.is_empty() {
            let session = self.add_session(Session::new(number, segment));
            self.keep_stream(number);
            self.streams[number as usize].live.insert(touched.start, session);
            session
        } else {
            if touched.len() > 1 {
                self.keep_stream(number);
            }
            let absorbed: Vec<SessionNo> =
                self.streams[number as usize].live.drain(touched.start + 1..touched.end).collect();
            let survivor = self.streams[number as usize].live[touched.start];
            // Members are only added to the end, unless sessions join or an older segment becomes the seed.
            if absorbed.is_empty() && segment.offset() > self.sessions[survivor as usize].seed().offset() {
                self.keep_session(survivor);
            } else {
                self.keep_members(survivor);
            }
            for other in absorbed {
                let other = self.take_session(other);
                self.sessions[survivor as usize].absorb(other);
            }
            self.sessions[survivor as usize].add(segment);
            survivor
        };
        if continues.is_some() {
            self.sessions[survivor as usize].past_mut().continue_later_of(continues);
        }
        self.schedule(survivor);
        // What froze may have been continued by a session that has frozen too, or now continues another.
        for index in 0..self.streams[number as usize].frozen.len() {
            let frozen = self.streams[number as usize].frozen[index];
            self.schedule(frozen);
        }
    }

    /// Returns whether the union of a segment and the touched live sessions would exceed a limit (rule: limits).
    fn exceeds_limits(&self, number: StreamNo, touched: core::ops::Range<usize>, segment: &Segment) -> bool {
        let settings = self.policy.settings();
        let (mut start, mut end) = (segment.start(), segment.end());
        let (mut segments, mut bytes) = (1, segment.text_bytes());
        for session in &self.streams[number as usize].live[touched] {
            let session = &self.sessions[*session as usize];
            start = start.min(session.start);
            end = end.max(session.end);
            segments += session.members.len();
            bytes += session.bytes;
        }
        end.since(start) > settings.max_session_duration
            || segments > settings.max_session_segments as usize
            || bytes > settings.max_session_bytes
    }

    /// Freezes a live session: it takes no more segments, and is published before the transaction ends.
    ///
    /// At once and not when its turn comes, because a restore learns of the freeze from what was published.
    pub(crate) fn freeze(&mut self, number: StreamNo, index: usize, offset: Offset) {
        self.keep_stream(number);
        let timeline = &mut self.streams[number as usize];
        let session = timeline.live.remove(index);
        timeline.frozen.push(session);
        self.keep_session(session);
        self.sessions[session as usize].past_mut().frozen_at = Some(offset);
        self.frozen.push(session);
    }

    /// Returns the frozen session that ends last among those that an interval touches, and its end.
    fn touched_frozen(&self, number: StreamNo, start: Timestamp, end: Timestamp) -> Option<(SessionId, Timestamp)> {
        let timeline = &self.streams[number as usize];
        let touching = timeline
            .frozen
            .iter()
            .map(|session| &self.sessions[*session as usize])
            .filter(|session| session.end + timeline.gap >= start && session.start <= end + timeline.gap);
        // Of those that end at the same time the first one frozen.
        let last = touching.reduce(|last, session| if session.end > last.end { session } else { last })?;
        Some((last.id(&timeline.key), last.end))
    }

    /// Returns the remembered segment of a file (rule: duplicate).
    ///
    /// The bound of forgetting decides, not what happens to be in memory still: when sessions are forgotten depends on
    /// transactions, and what is known must not.
    fn find_file(&self, stream: StreamNo, hash: FileHash, file_id: &str) -> Option<&Arc<Segment>> {
        let same =
            self.files.iter_hash(hash.wide()).filter(|file| file.stream == stream && file.segment.file_id() == file_id);
        same.map(|file| &file.segment).find(|segment| !self.is_out_of_reach(stream, segment))
    }
}
