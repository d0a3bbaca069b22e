//! The tables of a partition, and the undo log that takes a transaction back.
//!
//! Streams, sessions and files are reached by number or by name, read as they are, and changed by methods of the
//! [`Store`] alone. Each of these keeps a copy of what it changes before the first change in a transaction, so a copy
//! cannot be forgotten. Committing drops the copies; rolling back puts them in place again. Of the members of a session
//! that only grows it is enough to know how many there were, so a copy costs the same for ten and for ten thousand.
//!
//! The opposite, changes kept apart and merged at the commit, would make every look-up search twice. Copies cost only what
//! a transaction touches, and rolling back is rare.
//!
//! # Invariants
//!
//! * A number of a session or stream is not given to another one in the transaction in which it was given up: copies are
//!   put back under their numbers.
//! * No table is iterated for what is published: its order would leak.
//!
//! Timers and queues are stored here as well, but are not rolled back: they are set again.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use crate::changes::{Changes, SessionChange};
use crate::files::{FileHash, FileTable};
use crate::schedule::{Position, Queue, Timer};
use crate::segment::Segment;
use crate::session::SessionId;
use crate::time::{Millis, Timestamp};
use crate::timeline::{Past, Session, SessionNo, StreamNo, Timeline};
use undo::UndoLog;

mod undo;

/// The tables of a partition.
#[derive(Default)]
pub(crate) struct Store {
    streams: Slab<StreamEntry>,
    stream_index: HashTable<StreamNo>,
    sessions: Slab<SessionEntry>,
    files: FileTable,
    hasher: DefaultHashBuilder,
    /// Text of stream keys and remembered segments, in bytes.
    text_bytes: u64,
    transaction: Option<Transaction>,
}

struct StreamEntry {
    timeline: Timeline,
    /// For dropping the hint state.
    timer: Timer,
    /// The index of its copy in the undo log; may date from an earlier transaction.
    kept: u32,
}

struct SessionEntry {
    session: Session,
    /// The two parts of its [`Position`], apart because together they would take eight bytes more.
    timer: Timer,
    queue: Queue,
    /// As in [`StreamEntry`].
    kept: u32,
}

/// The current transaction.
#[derive(Default)]
struct Transaction {
    undo: UndoLog,
    changes: Changes,
}

/// Transactions.
impl Store {
    /// Begins a transaction: changes from now on can be rolled back, and are noted for the changelog.
    pub fn begin(&mut self) {
        debug_assert!(self.transaction.is_none(), "a transaction is under way");
        self.transaction = Some(Transaction::default());
    }

    /// Takes the changes that the changelog has to hold, so far.
    pub fn take_changes(&mut self) -> Changes {
        self.transaction.as_mut().map(|transaction| core::mem::take(&mut transaction.changes)).unwrap_or_default()
    }

    /// Ends the transaction: it is committed.
    pub fn commit(&mut self) {
        debug_assert!(self.transaction.is_some(), "no transaction is under way");
        let Some(Transaction { undo, .. }) = self.transaction.take() else { return };
        for number in undo.gone {
            self.sessions.remove(number as usize);
        }
        for number in undo.emptied {
            if self.streams.get(number as usize).is_some_and(|entry| {
                let timeline = &entry.timeline;
                !timeline.has_sessions() && timeline.hints().is_none()
            }) {
                self.drop_stream(number);
            }
        }
    }

    /// Rolls the transaction back.
    ///
    /// Returns the streams that have changed back, or `None` without a transaction. The caller schedules them and their
    /// sessions: what was put back has no timer.
    pub fn roll_back(&mut self) -> Option<Vec<StreamNo>> {
        debug_assert!(self.transaction.is_some(), "no transaction is under way");
        let Transaction { undo, .. } = self.transaction.take()?;
        let mut changed = Vec::new();
        for (number, kept) in undo.sessions {
            match kept {
                None => {
                    self.sessions.remove(number as usize);
                }
                Some(kept) => {
                    changed.push(kept.stream());
                    let entry = &mut self.sessions[number as usize];
                    kept.put_back(&mut entry.session);
                    entry.unschedule();
                }
            }
        }
        for (number, kept) in undo.streams {
            match kept {
                None => self.drop_stream(number),
                Some(timeline) => {
                    let entry = &mut self.streams[number as usize];
                    (entry.timeline, entry.timer) = (timeline, Timer::NONE);
                    changed.push(number);
                }
            }
        }
        for (stream, segment) in undo.removed {
            let hash = self.file_hash(stream, segment.file_id());
            self.remember_file(stream, hash, &segment);
        }
        for (stream, segment) in undo.added {
            self.forget_file(stream, &segment);
        }
        changed.sort_unstable();
        changed.dedup();
        Some(changed)
    }

    /// Returns the streams of which the transaction has kept a copy, or which it has made.
    pub fn touched_streams(&self) -> impl Iterator<Item = StreamNo> {
        self.transaction.iter().flat_map(|transaction| &transaction.undo.streams).map(|(number, _)| *number)
    }

    /// Returns the sessions of which the transaction has kept a copy, or which it has made. Some may be gone again.
    pub fn touched_sessions(&self) -> impl Iterator<Item = SessionNo> {
        self.transaction.iter().flat_map(|transaction| &transaction.undo.sessions).map(|(number, _)| *number)
    }

    /// Keeps a copy of a session before its first change in the transaction, if that adds members to its end at most.
    fn keep_session(&mut self, number: SessionNo) {
        if let Some(Transaction { undo, .. }) = &mut self.transaction {
            let entry = &mut self.sessions[number as usize];
            undo.keep_session(number, &mut entry.kept, &entry.session);
        }
    }

    /// Keeps a copy of a session before its members move.
    fn keep_members(&mut self, number: SessionNo) {
        if let Some(Transaction { undo, .. }) = &mut self.transaction {
            let entry = &mut self.sessions[number as usize];
            undo.keep_members(number, &mut entry.kept, &entry.session);
        }
    }

    /// Notes the last publication of a session for the changelog, and whether the session is frozen.
    pub fn note_published(&mut self, number: SessionNo) {
        if let Some(Transaction { changes, .. }) = &mut self.transaction {
            let session = &self.sessions[number as usize].session;
            changes.note_published(self.streams[session.stream() as usize].timeline.key(), session);
        }
    }

    /// Notes for the changelog that a session has been withdrawn.
    pub fn note_withdrawn(&mut self, session_id: SessionId) {
        if let Some(Transaction { changes, .. }) = &mut self.transaction {
            changes.sessions.push((session_id, SessionChange::Withdrawn));
        }
    }

    /// Notes for the changelog that a session has been forgotten.
    pub fn note_forgotten(&mut self, session: &Session) {
        if let Some(Transaction { changes, .. }) = &mut self.transaction {
            changes.note_forgotten(session);
        }
    }

    /// Notes the hint state of a stream for the changelog.
    pub fn note_hints(&mut self, number: StreamNo) {
        if let Some(Transaction { changes, .. }) = &mut self.transaction {
            let timeline = &self.streams[number as usize].timeline;
            changes.hints.insert(Arc::clone(timeline.key()), timeline.hints().cloned());
        }
    }
}

/// Streams.
impl Store {
    /// Returns how many streams are remembered.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub fn find_stream(&self, key: &str) -> Option<StreamNo> {
        let hash = self.hasher.hash_one(key);
        self.stream_index.find(hash, |number| **self.streams[*number as usize].timeline.key() == *key).copied()
    }

    /// Adds the stream with that key, which is not there yet.
    pub fn add_stream(&mut self, key: &str, gap: Millis) -> StreamNo {
        let kept = self.transaction.as_ref().map_or(0, |transaction| transaction.undo.streams.len() as u32);
        let timeline = Timeline::new(Arc::from(key), gap);
        let number = self.streams.insert(StreamEntry { timeline, timer: Timer::NONE, kept }) as StreamNo;
        let (streams, hasher) = (&self.streams, &self.hasher);
        let rehash = |number: &StreamNo| hasher.hash_one(&**streams[*number as usize].timeline.key());
        self.stream_index.insert_unique(hasher.hash_one(key), number, rehash);
        self.text_bytes += key.len() as u64;
        if let Some(Transaction { undo, .. }) = &mut self.transaction {
            undo.streams.push((number, None));
        }
        number
    }

    pub fn timeline(&self, number: StreamNo) -> &Timeline {
        &self.streams[number as usize].timeline
    }

    /// Returns the timeline of a stream to be changed.
    pub fn timeline_mut(&mut self, number: StreamNo) -> &mut Timeline {
        let entry = &mut self.streams[number as usize];
        if let Some(Transaction { undo, .. }) = &mut self.transaction {
            undo.keep_stream(number, &mut entry.kept, &entry.timeline);
        }
        &mut entry.timeline
    }

    /// Returns all timelines, in no order that means anything.
    pub fn timelines(&self) -> impl Iterator<Item = (StreamNo, &Timeline)> {
        self.streams.iter().map(|(number, entry)| (number as StreamNo, &entry.timeline))
    }

    /// Gives every stream the gap that `gap_of` returns for its key. Not part of a transaction.
    pub fn set_gaps(&mut self, gap_of: impl Fn(&str) -> Millis) {
        debug_assert!(self.transaction.is_none(), "a transaction is under way");
        for (_, entry) in &mut self.streams {
            let gap = gap_of(entry.timeline.key());
            entry.timeline.set_gap(gap);
        }
    }

    /// Returns the timer of a stream that is remembered.
    pub fn stream_timer_mut(&mut self, number: StreamNo) -> &mut Timer {
        &mut self.streams[number as usize].timer
    }

    /// Clears the timer of a stream. Returns whether the stream is remembered and the timer was the one for `bound`.
    pub fn clear_stream_timer(&mut self, number: StreamNo, bound: Timestamp) -> bool {
        let Some(entry) = self.streams.get_mut(number as usize) else { return false };
        let is_current = entry.timer.is_for(bound);
        if is_current {
            entry.timer = Timer::NONE;
        }
        is_current
    }

    /// Drops an empty stream, at the end of the transaction if there is one: its number must stay its own until then.
    pub fn drop_stream(&mut self, number: StreamNo) {
        if let Some(Transaction { undo, .. }) = &mut self.transaction {
            undo.emptied.push(number);
            return;
        }
        let timeline = self.streams.remove(number as usize).timeline;
        let hash = self.hasher.hash_one(&**timeline.key());
        let entry = self.stream_index.find_entry(hash, |entry| *entry == number);
        debug_assert!(entry.is_ok(), "the stream {} is not in the index of streams", timeline.key());
        if let Ok(entry) = entry {
            entry.remove();
        }
        self.text_bytes -= timeline.key().len() as u64;
    }
}

/// Sessions.
impl Store {
    /// Returns how many sessions are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len() - self.transaction.as_ref().map_or(0, |transaction| transaction.undo.gone.len())
    }

    /// Returns a session that is remembered.
    pub fn session(&self, number: SessionNo) -> &Session {
        &self.sessions[number as usize].session
    }

    /// Returns a session, or `None` if it is not remembered any more.
    pub fn find_session(&self, number: SessionNo) -> Option<&Session> {
        self.sessions.get(number as usize).map(|entry| &entry.session).filter(|session| !is_gone(session))
    }

    /// Returns the sessions that are remembered, in no order that means anything.
    pub fn remembered(&self) -> impl Iterator<Item = (SessionNo, &Session)> {
        let sessions = self.sessions.iter().map(|(number, entry)| (number as SessionNo, &entry.session));
        sessions.filter(|(_, session)| !is_gone(session))
    }

    /// Returns all sessions by stream and start.
    pub fn sessions_in_order(&self) -> Vec<SessionNo> {
        let mut numbers: Vec<SessionNo> = self.remembered().map(|(number, _)| number).collect();
        self.sort_by_stream_and_time(&mut numbers);
        numbers
    }

    /// Sorts sessions that are remembered.
    pub fn sort_by_stream_and_time(&self, numbers: &mut [SessionNo]) {
        let order = |number: &SessionNo| {
            let session = self.session(*number);
            (self.timeline(session.stream()).key(), session.start(), session.seed().offset())
        };
        numbers.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
    }

    /// Adds a session that is not on any list yet.
    pub fn add_session(&mut self, session: Session) -> SessionNo {
        let kept = self.transaction.as_ref().map_or(0, |transaction| transaction.undo.sessions.len() as u32);
        let number = self.sessions.insert(SessionEntry { session, timer: Timer::NONE, queue: Queue::Watermark, kept })
            as SessionNo;
        if let Some(Transaction { undo, .. }) = &mut self.transaction {
            undo.sessions.push((number, None));
        }
        number
    }

    /// Takes the content of a session out. The caller takes it off its lists.
    pub fn take_session(&mut self, number: SessionNo) -> Session {
        self.keep_members(number);
        let Some(Transaction { undo, .. }) = &mut self.transaction else {
            return self.sessions.remove(number as usize).session;
        };
        undo.gone.push(number);
        let entry = &mut self.sessions[number as usize];
        entry.unschedule();
        let empty = entry.session.without_content();
        core::mem::replace(&mut entry.session, empty)
    }

    /// Adds a member to a session.
    pub fn add_member(&mut self, number: SessionNo, segment: Arc<Segment>) {
        // Members are only added to the end, unless an older segment becomes the seed.
        if segment.offset() > self.session(number).seed().offset() {
            self.keep_session(number);
        } else {
            self.keep_members(number);
        }
        self.sessions[number as usize].session.add(segment);
    }

    /// Takes a session out and joins it with another one of its stream. The caller takes it off its lists.
    pub fn absorb(&mut self, number: SessionNo, other: SessionNo) {
        let other = self.take_session(other);
        self.keep_members(number);
        self.sessions[number as usize].session.absorb(other);
    }

    /// Returns the published past of a session to be changed.
    pub fn past_mut(&mut self, number: SessionNo) -> &mut Past {
        self.keep_session(number);
        self.sessions[number as usize].session.past_mut()
    }

    /// Returns the position of a session in the schedule; `None` if the number is not in use.
    pub fn position(&self, number: SessionNo) -> Option<Position> {
        self.sessions.get(number as usize).map(|entry| Position { timer: entry.timer, queue: entry.queue })
    }

    /// Returns the timer of a session that is remembered.
    pub fn timer_mut(&mut self, number: SessionNo) -> &mut Timer {
        &mut self.sessions[number as usize].timer
    }

    /// Moves a session that is remembered to another queue.
    pub fn set_queue(&mut self, number: SessionNo, queue: Queue) {
        self.sessions[number as usize].queue = queue;
    }
}

impl SessionEntry {
    /// Takes the session out of the schedule.
    fn unschedule(&mut self) {
        (self.timer, self.queue) = (Timer::NONE, Queue::Watermark);
    }
}

/// Returns whether the content of a session has been taken out, and only its number is still in use.
fn is_gone(session: &Session) -> bool {
    session.members().is_empty()
}

/// Files.
impl Store {
    /// Returns how many segments are remembered, each by its file.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    pub fn file_hash(&self, stream: StreamNo, file_id: &str) -> FileHash {
        self.files.hash(stream, file_id)
    }

    /// Returns the remembered segments of a file.
    pub fn find_files(&self, stream: StreamNo, hash: FileHash, file_id: &str) -> impl Iterator<Item = &Arc<Segment>> {
        self.files.find(stream, hash, file_id)
    }

    /// Returns whether that very segment is remembered.
    pub fn is_remembered(&self, stream: StreamNo, segment: &Arc<Segment>) -> bool {
        self.files.contains(stream, segment)
    }

    /// Remembers a segment by its file. In a transaction it has just been accepted.
    pub fn remember_file(&mut self, stream: StreamNo, hash: FileHash, segment: &Arc<Segment>) {
        self.text_bytes += segment.text_bytes();
        if let Some(Transaction { undo, changes }) = &mut self.transaction {
            undo.added.push((stream, Arc::clone(segment)));
            let key = Arc::clone(self.streams[stream as usize].timeline.key());
            changes.accepted.push((key, Arc::clone(segment)));
        }
        self.files.insert(stream, hash, Arc::clone(segment));
    }

    /// Forgets a segment.
    pub fn forget_file(&mut self, stream: StreamNo, segment: &Arc<Segment>) {
        let is_known = self.files.remove(stream, segment);
        debug_assert!(is_known, "every_member_is_known_by_its_file: {segment:?}");
        if is_known {
            self.text_bytes -= segment.text_bytes();
            if let Some(Transaction { undo, changes }) = &mut self.transaction {
                undo.removed.push((stream, Arc::clone(segment)));
                changes.forgotten.push(segment.offset());
            }
        }
    }

    /// Returns the texts and fixed parts of what is remembered, in bytes: for sizing, close to what the allocator gives.
    pub fn bytes(&self) -> u64 {
        /// A segment with its counters, its place in a session and in the table of files.
        const SEGMENT: u64 = size_of::<Segment>() as u64 + 16 + 8 + 24;
        let fixed = self.files.len() as u64 * SEGMENT
            + self.sessions() as u64 * size_of::<SessionEntry>() as u64
            + self.streams.len() as u64 * size_of::<StreamEntry>() as u64;
        fixed + self.text_bytes
    }
}
