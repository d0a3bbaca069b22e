//! The state of one partition: a set of accepted segments, and what has been published of it.
//!
//! Notifications go in ([`Grouper::accept`], [`Grouper::hint`], [`Grouper::punctuate`]), publications come out
//! ([`Grouper::settle`]). The two are apart because one transaction may publish at most one revision of a session: many
//! records are accepted, then what is due is published once.
//!
//! ```text
//! accept ─▶ late? known? ─▶ which sessions does it touch? ─▶ too much for one? freeze ─▶ join them ─▶ watermark moves
//! settle ─▶ what is due under the watermark? ─▶ publish, withdraw ─▶ nothing left to publish? ─▶ forget
//! ```
//!
//! Sessions that wait for the watermark sit in a queue ordered by bound. A session's bound mostly moves later, so the
//! queue is corrected when an entry comes up, not when a session grows: growing costs nothing but the member itself.
//!
//! # Invariants
//!
//! * Acceptance looks at the segment alone (rule: acceptance), so grouping is a function of the accepted set.
//! * Nothing is forgotten while something that is due has not been published. A restore relies on it: what it may drop
//!   without publishing is exactly what had been forgotten ([`Grouper::forgotten`]).
//! * No hash table is ever iterated: its order would leak into what is published.
//!
//! The rest is in [`super::invariants`], which tests and debug builds call.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use super::hint::{Hint, HintKind, Pushes};
use super::overlay::{Changes, Overlay};
use super::policy::Policy;
use super::segment::{NewSegment, Offset, Segment};
use super::timeline::{Session, SessionNo, StreamNo, Timeline};
use crate::time::Timestamp;

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

/// The clock of a partition: at the wall time `at`, event time had reached `watermark` (rule: clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub watermark: Timestamp,
    pub at: Timestamp,
}

/// A remembered file of a stream.
pub(super) struct File {
    pub stream: StreamNo,
    /// The hash that it was put under: growing the table looks at no segment.
    hash: FileHash,
    pub segment: Arc<Segment>,
}

/// The hash of a stream's file: half as wide as the table wants it, so that it fits beside the stream's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHash(u32);

impl FileHash {
    /// Spreads the bits again: the table takes its place from the low ones and a tag from the high ones.
    fn wide(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The grouping state of one partition.
pub struct Grouper {
    pub(super) policy: Policy,
    /// Whether the input is a set, in which nothing is late.
    pub(super) nothing_is_late: bool,
    pub(super) clock: Option<Clock>,
    /// See [`Grouper::forgotten`].
    pub(super) forgotten: Option<Timestamp>,
    pub(super) streams: Slab<Timeline>,
    pub(super) stream_index: HashTable<StreamNo>,
    pub(super) sessions: Slab<Session>,
    pub(super) files: HashTable<File>,
    pub(super) hasher: DefaultHashBuilder,
    /// Sessions by the watermark bound after which something is to be done with them.
    pub(super) timers: BinaryHeap<Reverse<(Timestamp, SessionNo)>>,
    /// Streams by the watermark bound after which their hint state may be dropped.
    pub(super) hint_timers: BinaryHeap<Reverse<(Timestamp, StreamNo)>>,
    /// Sessions to be published, the first one last.
    pub(super) due: Vec<SessionNo>,
    /// Sessions that may be forgotten when nothing is left to be published.
    pub(super) forgettable: Vec<SessionNo>,
    /// Frozen sessions to be published before the transaction ends.
    pub(super) frozen: Vec<SessionNo>,
    pub(super) overlay: Option<Overlay>,
    pub(super) changes: Changes,
    pub(super) text_bytes: u64,
}

impl Grouper {
    /// Returns the state of a partition of which nothing has been read.
    pub fn new(policy: Policy) -> Grouper {
        Grouper {
            policy,
            nothing_is_late: false,
            clock: None,
            forgotten: None,
            streams: Slab::new(),
            stream_index: HashTable::new(),
            sessions: Slab::new(),
            files: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            timers: BinaryHeap::new(),
            hint_timers: BinaryHeap::new(),
            due: Vec::new(),
            forgettable: Vec::new(),
            frozen: Vec::new(),
            overlay: None,
            changes: Changes::default(),
            text_bytes: 0,
        }
    }

    /// Returns a state for input that is a set: its order says nothing, so nothing is late.
    pub fn for_set(policy: Policy) -> Grouper {
        Grouper { nothing_is_late: true, ..Grouper::new(policy) }
    }

    /// Goes on under another policy. The caller has seen to it that the change is safe for what is remembered.
    pub fn change_policy(&mut self, policy: Policy) {
        // What has been forgotten is told by the ends that it went up to: the same ends under the new bounds, or a restore
        // would drop what these put out of reach before it is published.
        let reach = |policy: &Policy| policy.settings().max_segment + policy.settings().allowed_lateness;
        self.forgotten = self.forgotten.map(|watermark| watermark - reach(&self.policy) + reach(&policy));
        self.policy = policy;
        // Those of streams with segments are the same; a stream of which only hints are remembered takes its new one.
        for (_, stream) in &mut self.streams {
            stream.gap = self.policy.gap(&stream.key);
        }
        for number in self.numbers_in_order() {
            self.schedule(number);
        }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the greatest event time accepted; it never goes back.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.clock.map(|clock| clock.watermark)
    }

    pub fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Returns the watermark under which forgetting was last completed.
    ///
    /// It may be behind the watermark while a mass of sessions is being published in several transactions. A restore has
    /// to drop what this allows and no more: under the watermark itself it would drop sessions that are still waiting to
    /// be published.
    pub fn forgotten(&self) -> Option<Timestamp> {
        self.forgotten
    }

    /// Returns how many segments are remembered.
    pub fn segments(&self) -> usize {
        self.files.len()
    }

    /// Returns how many sessions are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len() - self.overlay.as_ref().map_or(0, Overlay::gone)
    }

    /// Counts the sessions that have something to publish. Looks at every session.
    pub fn count_open(&self) -> usize {
        self.remembered().filter(|(_, session)| session.is_dirty()).count()
    }

    /// Returns how many streams are remembered.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns the texts and fixed parts of what is remembered, in bytes: for sizing, close to what the allocator gives.
    pub fn state_bytes(&self) -> u64 {
        /// A segment with its counters, its place in a session and in the table of files.
        const SEGMENT: u64 = size_of::<Segment>() as u64 + 16 + 8 + 24;
        let fixed = self.files.len() as u64 * SEGMENT
            + self.sessions() as u64 * size_of::<Session>() as u64
            + self.streams.len() as u64 * size_of::<Timeline>() as u64;
        fixed + self.text_bytes
    }

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

    /// Advances the watermark of an idle partition from the wall clock, if that closes or forgets something (rule: clock).
    ///
    /// The caller has seen to it that the partition is read to its end and has been idle for long enough. Returns whether
    /// the watermark moved.
    pub fn punctuate(&mut self, now: Timestamp) -> bool {
        if !self.would_punctuate(now) {
            return false;
        }
        let Some(clock) = &mut self.clock else { return false };
        let watermark = (clock.watermark + now.since(clock.at)).min(Timestamp::MAX);
        *clock = Clock { watermark, at: now };
        true
    }

    /// Returns whether [`Grouper::punctuate`] would move the watermark. Changes nothing that shows.
    pub fn would_punctuate(&mut self, now: Timestamp) -> bool {
        let Some(clock) = self.clock.filter(|clock| now > clock.at) else { return false };
        self.would_act(clock.watermark + now.since(clock.at))
    }

    /// Returns whether something is due under the present watermark: to be published or forgotten.
    pub fn is_unsettled(&mut self) -> bool {
        self.watermark().is_some_and(|watermark| self.would_act(watermark))
    }

    /// Returns whether a session would be closed or forgotten if the watermark were `watermark`.
    fn would_act(&mut self, watermark: Timestamp) -> bool {
        if !self.due.is_empty() || !self.forgettable.is_empty() || !self.frozen.is_empty() {
            return true;
        }
        while let Some(&Reverse((bound, number))) = self.timers.peek() {
            if bound >= watermark {
                return false;
            }
            // Stale entries and sessions that have grown are corrected on the way; the first true one answers.
            if self.sessions.get(number as usize).is_some_and(|session| session.timer == bound) {
                let next = self.next_bound(number);
                if next < watermark {
                    return true;
                }
                self.timers.pop();
                self.sessions[number as usize].timer = Timestamp::MAX;
                self.schedule(number);
            } else {
                self.timers.pop();
            }
        }
        false
    }

    fn is_late(&self, end: Timestamp) -> bool {
        !self.nothing_is_late && self.watermark().is_some_and(|watermark| self.policy.is_late(end, watermark))
    }

    /// Moves the watermark up to `to`, and `at` with it (rule: clock). Returns whether it moved.
    fn advance(&mut self, to: Timestamp, arrival: Arrival<'_>) -> bool {
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
    pub(super) fn place(&mut self, number: StreamNo, segment: Arc<Segment>, limits_at: Option<Offset>) {
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
    pub(super) fn freeze(&mut self, number: StreamNo, index: usize, offset: Offset) {
        self.keep_stream(number);
        let timeline = &mut self.streams[number as usize];
        let session = timeline.live.remove(index);
        timeline.frozen.push(session);
        self.keep_session(session);
        self.sessions[session as usize].past_mut().frozen_at = Some(offset);
        self.frozen.push(session);
    }

    /// Returns the frozen session that ends last among those that an interval touches, and its end.
    fn touched_frozen(
        &self,
        number: StreamNo,
        start: Timestamp,
        end: Timestamp,
    ) -> Option<(super::SessionId, Timestamp)> {
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

    pub(super) fn find_stream(&self, key: &str) -> Option<StreamNo> {
        let hash = self.hasher.hash_one(key);
        self.stream_index.find(hash, |number| *self.streams[*number as usize].key == *key).copied()
    }

    pub(super) fn add_stream(&mut self, key: &str) -> StreamNo {
        let number = self.streams.insert(Timeline::new(Arc::from(key), self.policy.gap(key))) as StreamNo;
        let (streams, hasher) = (&self.streams, &self.hasher);
        let rehash = |number: &StreamNo| hasher.hash_one(&*streams[*number as usize].key);
        self.stream_index.insert_unique(hasher.hash_one(key), number, rehash);
        self.text_bytes += key.len() as u64;
        if let Some(overlay) = &mut self.overlay {
            self.streams[number as usize].kept = overlay.keep_new_stream(number);
        }
        number
    }

    pub(super) fn file_hash(&self, stream: StreamNo, file_id: &str) -> FileHash {
        FileHash((self.hasher.hash_one((stream, file_id)) >> 32) as u32)
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

    pub(super) fn remember_file(&mut self, stream: StreamNo, hash: FileHash, segment: &Arc<Segment>) {
        self.text_bytes += segment.text_bytes();
        if let Some(overlay) = &mut self.overlay {
            overlay.added.push((stream, Arc::clone(segment)));
        }
        let file = File { stream, hash, segment: Arc::clone(segment) };
        self.files.insert_unique(hash.wide(), file, |file| file.hash.wide());
    }

    pub(super) fn forget_file(&mut self, stream: StreamNo, segment: &Arc<Segment>) {
        let hash = self.file_hash(stream, segment.file_id());
        if let Ok(entry) = self.files.find_entry(hash.wide(), |file| Arc::ptr_eq(&file.segment, segment)) {
            entry.remove();
            self.text_bytes -= segment.text_bytes();
            if let Some(overlay) = &mut self.overlay {
                overlay.removed.push((stream, Arc::clone(segment)));
            }
        }
    }
}
