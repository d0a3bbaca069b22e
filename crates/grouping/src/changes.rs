//! The changes of a transaction that the changelog has to hold.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::hint::Pushes;
use crate::segment::{Offset, Segment};
use crate::session::{SessionId, Summary};
use crate::timeline::Session;

/// The change of a published session.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionChange {
    /// A revision was published, or the session froze.
    Published { stream: Arc<str>, summary: Summary, frozen_at: Option<Offset> },
    /// The session was withdrawn: its id never comes back.
    Withdrawn,
    /// The session is final, and out of memory.
    Forgotten,
    /// A frozen session is final, and out of memory. It stays in the changelog as long as a batch holds one of its
    /// `members`, given by offset.
    FrozenForgotten { members: Vec<Offset> },
}

/// The changes of a transaction to the changelog.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// In the order of acceptance, with the stream's key.
    pub accepted: Vec<(Arc<str>, Arc<Segment>)>,
    /// In order; of two for the same session the last counts.
    pub sessions: Vec<(SessionId, SessionChange)>,
    /// By stream; `None` if dropped.
    pub hints: BTreeMap<Arc<str>, Option<Pushes>>,
    /// Offsets of segments that were forgotten.
    pub forgotten: Vec<Offset>,
}

impl Changes {
    /// Notes what was last published of a session of `stream`, and whether it is frozen.
    pub(crate) fn note_published(&mut self, stream: &Arc<str>, session: &Session) {
        debug_assert!(session.last_published().is_some(), "the session was never published: {session:?}");
        if let Some(summary) = session.last_published() {
            let (stream, summary, frozen_at) = (Arc::clone(stream), summary.clone(), session.frozen_at());
            self.sessions.push((summary.session_id, SessionChange::Published { stream, summary, frozen_at }));
        }
    }

    /// Notes that a session was forgotten.
    pub(crate) fn note_forgotten(&mut self, session: &Session) {
        debug_assert!(!session.is_dirty(), "what is forgotten was not published: {session:?}");
        if let Some(summary) = session.last_published() {
            let members = || session.members().iter().map(|segment| segment.offset()).collect();
            let change = match session.frozen_at() {
                Some(_) => SessionChange::FrozenForgotten { members: members() },
                None => SessionChange::Forgotten,
            };
            self.sessions.push((summary.session_id, change));
        }
    }
}
