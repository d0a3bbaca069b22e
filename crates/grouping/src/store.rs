//! The overlay: what a transaction has changed so far, and how to take it back.
//!
//! Before a session or the lists of a stream change for the first time in a transaction, a copy is kept. Committing drops
//! the copies; rolling back puts them in place again. Of the members of a session that only grows it is enough to know how
//! many there were, so a copy costs the same for ten and for ten thousand.
//!
//! The opposite, writing changes aside and merging them when they commit, would make every look-up ask twice; copies cost
//! only what a transaction touches, and rolling back is rare.
//!
//! # Invariants
//!
//! * A number of a session or stream is not given to another one in the transaction in which it was given up: copies are
//!   put back under their numbers.
//!
//! Within a transaction the grouper also notes what the changelog has to say of it: see [`Changes`].

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::grouper::{Clock, Grouper};
use crate::hint::Pushes;
use crate::segment::{Offset, Segment};
use crate::session::{Head, SessionId};
use crate::time::Timestamp;
use crate::timeline::{Queue, Session, SessionNo, StreamNo, Timeline};

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

/// What a transaction has changed, as it was before.
#[derive(Default)]
pub(crate) struct Overlay {
    clock: Option<Clock>,
    forgotten: Option<Timestamp>,
    /// Streams whose lists or hints have changed; `None` if the transaction made the stream.
    streams: Vec<(StreamNo, Option<Timeline>)>,
    /// Sessions that have changed; `None` if the transaction made the session.
    sessions: Vec<(SessionNo, Option<Kept>)>,
    /// Segments that are remembered now and were not.
    pub added: Vec<(StreamNo, Arc<Segment>)>,
    /// Segments that were remembered and are not now.
    pub removed: Vec<(StreamNo, Arc<Segment>)>,
    /// Sessions whose content has been taken out. Their numbers stay their own until the transaction ends.
    gone: Vec<SessionNo>,
    /// Streams without sessions and hints, to be dropped when the transaction commits.
    emptied: Vec<StreamNo>,
}

/// A session as it was.
struct Kept {
    /// Without its members.
    session: Session,
    members: Members,
}

/// Members as they were.
enum Members {
    /// As many as that, from the first: nothing has happened but adding.
    First(usize),
    All(Vec<Arc<Segment>>),
}

impl Overlay {
    /// Notes that the transaction made a stream. Returns where.
    pub fn keep_new_stream(&mut self, number: StreamNo) -> u32 {
        self.streams.push((number, None));
        self.streams.len() as u32 - 1
    }

    /// Returns how many sessions are numbers without content.
    pub fn gone(&self) -> usize {
        self.gone.len()
    }
}

/// Returns whether `kept` is where a list keeps `number`; the place may be one of an earlier transaction.
fn is_kept<T>(list: &[(u32, T)], kept: u32, number: u32) -> bool {
    list.get(kept as usize).is_some_and(|(there, _)| *there == number)
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
        core::mem::take(&mut self.changes)
    }

    /// Ends the transaction: it is committed.
    pub fn commit(&mut self) {
        let Some(overlay) = self.overlay.take() else { return };
        self.changes = Changes::default();
        for number in overlay.gone {
            self.sessions.remove(number as usize);
        }
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
        let mut changed = Vec::new();
        for (number, kept) in overlay.sessions {
            match kept {
                None => {
                    self.sessions.remove(number as usize);
                }
                Some(kept) => {
                    self.put_back(number, kept);
                    changed.push(self.sessions[number as usize].stream);
                }
            }
        }
        for (number, kept) in overlay.streams {
            match kept {
                None => self.drop_stream(number),
                Some(timeline) => {
                    self.streams[number as usize] = Timeline { hint_timer: Timestamp::MAX, ..timeline };
                    self.schedule_hints(number);
                    changed.push(number);
                }
            }
        }
        for (stream, segment) in overlay.removed {
            let hash = self.file_hash(stream, segment.file_id());
            self.remember_file(stream, hash, &segment);
        }
        for (stream, segment) in overlay.added {
            self.forget_file(stream, &segment);
        }
        changed.sort_unstable();
        changed.dedup();
        for stream in changed {
            // All of them: when a frozen session is forgotten depends on those that continue it.
            let timeline = &self.streams[stream as usize];
            let numbers: Vec<SessionNo> = timeline.live.iter().chain(&timeline.frozen).copied().collect();
            numbers.into_iter().for_each(|number| self.schedule(number));
        }
        // What was put back is among the timers again; an entry that is left would look like work to be done.
        let is_queued = |number: &SessionNo| {
            self.sessions.get(*number as usize).is_some_and(|session| session.queue != Queue::Watermark)
        };
        self.due.retain(is_queued);
        self.forgettable.retain(is_queued);
    }

    /// Returns the sessions that are remembered, in no order that means anything.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = (SessionNo, &Session)> {
        let sessions = self.sessions.iter().map(|(number, session)| (number as SessionNo, session));
        sessions.filter(|(_, session)| !session.is_gone())
    }

    /// Keeps a copy of a stream's lists and hints before their first change in the transaction.
    pub(crate) fn keep_stream(&mut self, number: StreamNo) {
        let Some(overlay) = &mut self.overlay else { return };
        let timeline = &mut self.streams[number as usize];
        if !is_kept(&overlay.streams, timeline.kept, number) {
            timeline.kept = overlay.streams.len() as u32;
            overlay.streams.push((number, Some(timeline.clone())));
        }
    }

    /// Keeps a copy of a session before its first change in the transaction, if that adds members to its end at the most.
    pub(crate) fn keep_session(&mut self, number: SessionNo) {
        let Some(overlay) = &mut self.overlay else { return };
        let session = &mut self.sessions[number as usize];
        if !is_kept(&overlay.sessions, session.kept, number) {
            let members = Members::First(session.members.len());
            overlay.sessions.push((number, Some(Kept { session: session.without_members(), members })));
            session.kept = overlay.sessions.len() as u32 - 1;
        }
    }

    /// Keeps a copy of a session before its members move.
    pub(crate) fn keep_members(&mut self, number: SessionNo) {
        self.keep_session(number);
        let Some(overlay) = &mut self.overlay else { return };
        let session = &self.sessions[number as usize];
        if let (_, Some(Kept { members, .. })) = &mut overlay.sessions[session.kept as usize]
            && let Members::First(count) = *members
        {
            *members = Members::All(session.members[..count].to_vec());
        }
    }

    /// Adds a session that is not on any list yet.
    pub(crate) fn add_session(&mut self, mut session: Session) -> SessionNo {
        session.kept = self.overlay.as_ref().map_or(0, |overlay| overlay.sessions.len() as u32);
        let number = self.sessions.insert(session) as SessionNo;
        if let Some(overlay) = &mut self.overlay {
            overlay.sessions.push((number, None));
        }
        number
    }

    /// Takes the content of a session out. The caller takes it off its lists.
    pub(crate) fn take_session(&mut self, number: SessionNo) -> Session {
        self.keep_members(number);
        let Some(overlay) = &mut self.overlay else { return self.sessions.remove(number as usize) };
        overlay.gone.push(number);
        let session = &mut self.sessions[number as usize];
        let empty = Session { timer: Timestamp::MAX, past: None, ..session.without_members() };
        core::mem::replace(session, empty)
    }

    /// Drops an empty stream, at the end of the transaction if there is one: its number must stay its own until then.
    pub(crate) fn drop_stream(&mut self, number: StreamNo) {
        if let Some(overlay) = &mut self.overlay {
            overlay.emptied.push(number);
            return;
        }
        let hash = core::hash::BuildHasher::hash_one(&self.hasher, &*self.streams[number as usize].key);
        if let Ok(entry) = self.stream_index.find_entry(hash, |entry| *entry == number) {
            entry.remove();
        }
        self.text_bytes -= self.streams[number as usize].key.len() as u64;
        self.streams.remove(number as usize);
    }

    fn put_back(&mut self, number: SessionNo, kept: Kept) {
        let session = &mut self.sessions[number as usize];
        let members = match kept.members {
            Members::First(count) => {
                let mut members = core::mem::take(&mut session.members);
                members.truncate(count);
                members
            }
            Members::All(members) => members,
        };
        *session = Session { members, timer: Timestamp::MAX, queue: Queue::Watermark, ..kept.session };
    }
}
