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
//! The rest is in [`crate::invariants`], which tests and debug builds call.

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use crate::policy::Policy;
use crate::segment::Segment;
use crate::store::{Changes, Overlay};
use crate::time::Timestamp;
use crate::timeline::{Session, SessionNo, StreamNo, Timeline};

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

/// A remembered file of a stream.
pub(crate) struct File {
    pub stream: StreamNo,
    /// The hash that it was put under: growing the table looks at no segment.
    hash: FileHash,
    pub segment: Arc<Segment>,
}

/// The hash of a stream's file: half as wide as the table wants it, so that it fits beside the stream's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHash(u32);

impl FileHash {
    /// Spreads the bits again: the table takes its place from the low ones and a tag from the high ones.
    fn wide(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The grouping state of one partition.
pub struct Grouper {
    pub(crate) policy: Policy,
    /// Whether the input is a set, in which nothing is late.
    pub(crate) nothing_is_late: bool,
    pub(crate) clock: Option<Clock>,
    /// See [`Grouper::forgotten`].
    pub(crate) forgotten: Option<Timestamp>,
    pub(crate) streams: Slab<Timeline>,
    pub(crate) stream_index: HashTable<StreamNo>,
    pub(crate) sessions: Slab<Session>,
    pub(crate) files: HashTable<File>,
    pub(crate) hasher: DefaultHashBuilder,
    /// Sessions by the watermark bound after which something is to be done with them.
    pub(crate) timers: BinaryHeap<Reverse<(Timestamp, SessionNo)>>,
    /// Streams by the watermark bound after which their hint state may be dropped.
    pub(crate) hint_timers: BinaryHeap<Reverse<(Timestamp, StreamNo)>>,
    /// Sessions to be published, the first one last.
    pub(crate) due: Vec<SessionNo>,
    /// Sessions that may be forgotten when nothing is left to be published.
    pub(crate) forgettable: Vec<SessionNo>,
    /// Frozen sessions to be published before the transaction ends.
    pub(crate) frozen: Vec<SessionNo>,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) changes: Changes,
    pub(crate) text_bytes: u64,
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

    pub(crate) fn find_stream(&self, key: &str) -> Option<StreamNo> {
        let hash = self.hasher.hash_one(key);
        self.stream_index.find(hash, |number| *self.streams[*number as usize].key == *key).copied()
    }

    pub(crate) fn add_stream(&mut self, key: &str) -> StreamNo {
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

    pub(crate) fn file_hash(&self, stream: StreamNo, file_id: &str) -> FileHash {
        FileHash((self.hasher.hash_one((stream, file_id)) >> 32) as u32)
    }

    pub(crate) fn remember_file(&mut self, stream: StreamNo, hash: FileHash, segment: &Arc<Segment>) {
        self.text_bytes += segment.text_bytes();
        if let Some(overlay) = &mut self.overlay {
            overlay.added.push((stream, Arc::clone(segment)));
        }
        let file = File { stream, hash, segment: Arc::clone(segment) };
        self.files.insert_unique(hash.wide(), file, |file| file.hash.wide());
    }

    pub(crate) fn forget_file(&mut self, stream: StreamNo, segment: &Arc<Segment>) {
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
