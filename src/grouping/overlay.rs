//! The overlay: what a transaction has changed so far, and how to take it back.
//!
//! Before a stream changes for the first time in a transaction, a copy of it is kept. Committing drops the copies; rolling
//! back puts them in place again. Segments are shared, so a copy costs one pointer for each.
//!
//! The opposite, writing changes aside and merging them when they commit, would make every look-up ask twice; copies cost
//! only the streams that a transaction touches, and rolling back is rare.
//!
//! Within a transaction the grouper also notes what the changelog has to say of it: see [`Changes`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::grouper::{Clock, Grouper};
use super::hint::Pushes;
use super::segment::{Offset, Segment};
use super::session::{Head, SessionId};
use super::timeline::{Session, StreamNo, Timeline};
use crate::time::Timestamp;

/// What became of what was published of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadChange {
    /// It was published, or froze.
    Published { stream: Arc<str>, head: Head, frozen_at: Option<Offset> },
    /// It was withdrawn: its id never comes back.
    Gone,
    /// It is final, and out of memory.
    Forgotten,
    /// As before, for a frozen one: its head stays as long as a batch of the changelog holds one of the `members`.
    FrozenForgotten { members: Vec<Offset> },
}

/// What a transaction changes in the changelog.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// In the order of acceptance, with the stream's key.
    pub accepted: Vec<(Arc<str>, Arc<Segment>)>,
    /// In order; of two for the same session the last counts.
    pub heads: Vec<(SessionId, HeadChange)>,
    /// By stream; `None` if dropped.
    pub hints: BTreeMap<Arc<str>, Option<Pushes>>,
    /// Offsets of segments that were forgotten.
    pub forgotten: Vec<Offset>,
}

/// Copies of the streams that the transaction has touched.
#[derive(Default)]
pub(super) struct Overlay {
    clock: Option<Clock>,
    forgotten: Option<Timestamp>,
    /// By stream; `None` if the transaction made the stream.
    saved: BTreeMap<StreamNo, Option<Copy>>,
    /// Streams without sessions and hints, to be dropped when the transaction commits.
    emptied: Vec<StreamNo>,
}

struct Copy {
    timeline: Timeline,
    live: Vec<Session>,
    frozen: Vec<Session>,
}

impl Overlay {
    pub fn save_new(&mut self, number: StreamNo) {
        self.saved.insert(number, None);
    }
}

impl Grouper {
    /// Begins a transaction: what happens from now on can be rolled back, and is noted for the changelog.
    pub fn begin(&mut self) {
        debug_assert!(self.overlay.is_none(), "a transaction is under way");
        self.overlay = Some(Overlay { clock: self.clock, forgotten: self.forgotten, ..Overlay::default() });
        self.changes = Changes::default();
    }

    /// Takes what the changelog has to say of the transaction so far.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Ends the transaction: it is committed.
    pub fn commit(&mut self) {
        let Some(overlay) = self.overlay.take() else { return };
        self.changes = Changes::default();
        for number in overlay.emptied {
            if self.streams.get(number as usize).is_some_and(|timeline| {
                timeline.live.is_empty() && timeline.frozen.is_empty() && timeline.hints.is_none()
            }) {
                self.drop_stream(number);
            }
        }
    }

    /// Takes back all that has happened since the transaction began.
    pub fn rollback(&mut self) {
        let Some(overlay) = self.overlay.take() else { return };
        self.changes = Changes::default();
        self.clock = overlay.clock;
        self.forgotten = overlay.forgotten;
        self.frozen.clear();
        for (number, copy) in overlay.saved {
            self.remove_contents(number);
            match copy {
                None => self.drop_stream(number),
                Some(copy) => self.put_back(number, copy),
            }
        }
        let sessions = &self.sessions;
        self.due.retain(|number| sessions.get(*number as usize).is_some_and(|session| session.queued));
    }

    /// Keeps a copy of a stream before its first change in the transaction.
    pub(super) fn save(&mut self, number: StreamNo) {
        let Some(overlay) = &mut self.overlay else { return };
        overlay.saved.entry(number).or_insert_with(|| {
            let timeline = self.streams[number as usize].clone();
            let copies =
                |numbers: &[u32]| numbers.iter().map(|number| self.sessions[*number as usize].clone()).collect();
            Some(Copy { live: copies(&timeline.live), frozen: copies(&timeline.frozen), timeline })
        });
    }

    /// Drops an empty stream, at the end of the transaction if there is one: its number must stay its own until then.
    pub(super) fn drop_stream(&mut self, number: StreamNo) {
        if let Some(overlay) = &mut self.overlay {
            overlay.emptied.push(number);
            return;
        }
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, &*self.streams[number as usize].key);
        if let Ok(entry) = self.stream_index.find_entry(hash, |entry| *entry == number) {
            entry.remove();
        }
        self.text_bytes -= self.streams[number as usize].key.len() as u64;
        self.streams.remove(number as usize);
    }

    fn remove_contents(&mut self, number: StreamNo) {
        let timeline = &mut self.streams[number as usize];
        let numbers: Vec<_> = timeline.live.drain(..).chain(timeline.frozen.drain(..)).collect();
        for session in numbers {
            let session = self.sessions.remove(session as usize);
            session.members.iter().for_each(|segment| self.forget_file(number, segment));
        }
    }

    fn put_back(&mut self, number: StreamNo, copy: Copy) {
        let mut timeline = copy.timeline;
        let mut insert = |sessions: Vec<Session>| -> Vec<u32> {
            let mut numbers = Vec::with_capacity(sessions.len());
            for mut session in sessions {
                session.timer = Timestamp::MAX;
                session.queued = false;
                for segment in session.members.clone() {
                    let hash = self.file_hash(number, segment.file_id());
                    self.remember_file(number, hash, &segment);
                }
                numbers.push(self.sessions.insert(session) as u32);
            }
            numbers
        };
        timeline.live = insert(copy.live);
        timeline.frozen = insert(copy.frozen);
        timeline.hint_timer = Timestamp::MAX;
        let numbers: Vec<u32> = timeline.live.iter().chain(&timeline.frozen).copied().collect();
        self.streams[number as usize] = timeline;
        numbers.into_iter().for_each(|session| self.schedule(session));
        self.schedule_hints(number);
    }
}
