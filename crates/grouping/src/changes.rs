//! The changes of a transaction that the changelog has to hold.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::hint::Pushes;
use crate::segment::{Offset, Segment};
use crate::session::{Head, SessionId};
use crate::timeline::Session;

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

impl Changes {
    /// Notes what was last published of a session of `stream`, and whether it is frozen.
    pub(crate) fn note_published(&mut self, stream: &Arc<str>, session: &Session) {
        debug_assert!(session.head().is_some(), "the session was never published: {session:?}");
        if let Some(head) = session.head() {
            let (stream, head, frozen_at) = (Arc::clone(stream), head.clone(), session.frozen_at());
            self.heads.push((head.session_id, HeadChange::Published { stream, head, frozen_at }));
        }
    }

    /// Notes that a session was forgotten.
    pub(crate) fn note_forgotten(&mut self, session: &Session) {
        debug_assert!(!session.is_dirty(), "what is forgotten was not published: {session:?}");
        if let Some(head) = session.head() {
            let members = || session.members().iter().map(|segment| segment.offset()).collect();
            let change = match session.frozen_at() {
                Some(_) => HeadChange::FrozenForgotten { members: members() },
                None => HeadChange::Forgotten,
            };
            self.heads.push((head.session_id, change));
        }
    }
}
