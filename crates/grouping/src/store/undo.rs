//! The undo log of a transaction: old copies of what it has changed.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::segment::Segment;
use crate::timeline::{Session, SessionNo, StreamNo, Timeline};

/// The old copies of everything that a transaction has changed.
///
/// A stream or session keeps the index of its copy, so that finding it costs nothing. The index may date from an earlier
/// transaction: it counts only if the log has the same number there.
#[derive(Default)]
pub(super) struct UndoLog {
    /// Streams whose lists or hints have changed; `None` if the transaction made the stream.
    pub(super) streams: Vec<(StreamNo, Option<Timeline>)>,
    /// Sessions that have changed; `None` if the transaction made the session.
    pub(super) sessions: Vec<(SessionNo, Option<Kept>)>,
    /// Segments that are remembered now and were not.
    pub(super) added: Vec<(StreamNo, Arc<Segment>)>,
    /// Segments that were remembered and are not now.
    pub(super) removed: Vec<(StreamNo, Arc<Segment>)>,
    /// Sessions whose content has been taken out. Their numbers stay their own until the transaction ends.
    pub(super) gone: Vec<SessionNo>,
    /// Streams without sessions and hints, to be dropped when the transaction commits.
    pub(super) emptied: Vec<StreamNo>,
}

/// A session as it was.
pub(super) struct Kept {
    /// Without its members.
    session: Session,
    members: Members,
}

/// Members as they were.
enum Members {
    /// The first so many: members have only been added since.
    First(usize),
    All(Vec<Arc<Segment>>),
}

/// Returns whether a list has the copy of `number` at the index `kept`.
fn is_kept<T>(list: &[(u32, T)], kept: u32, number: u32) -> bool {
    list.get(kept as usize).is_some_and(|(there, _)| *there == number)
}

impl UndoLog {
    /// Keeps a copy of a stream, unless there is one.
    pub(super) fn keep_stream(&mut self, number: StreamNo, kept: &mut u32, timeline: &Timeline) {
        if !is_kept(&self.streams, *kept, number) {
            *kept = self.streams.len() as u32;
            self.streams.push((number, Some(timeline.clone())));
        }
    }

    /// Keeps a copy of a session to which members are only added at the end, unless there is one.
    pub(super) fn keep_session(&mut self, number: SessionNo, kept: &mut u32, session: &Session) {
        if !is_kept(&self.sessions, *kept, number) {
            let members = Members::First(session.members().len());
            *kept = self.sessions.len() as u32;
            self.sessions.push((number, Some(Kept { session: session.without_members(), members })));
        }
    }

    /// Keeps a copy of a session and of its members, unless there is one.
    pub(super) fn keep_members(&mut self, number: SessionNo, kept: &mut u32, session: &Session) {
        self.keep_session(number, kept, session);
        if let (_, Some(Kept { members, .. })) = &mut self.sessions[*kept as usize]
            && let Members::First(count) = *members
        {
            *members = Members::All(session.members()[..count].to_vec());
        }
    }
}

impl Kept {
    pub(super) fn stream(&self) -> StreamNo {
        self.session.stream()
    }

    /// Puts the copy in place of the session.
    pub(super) fn put_back(self, session: &mut Session) {
        let members = match self.members {
            Members::First(count) => {
                let mut members = session.take_members();
                members.truncate(count);
                members
            }
            Members::All(members) => members,
        };
        *session = self.session.with_members(members);
    }
}
