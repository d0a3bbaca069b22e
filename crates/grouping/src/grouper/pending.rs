//! Pending sessions: why each is still open, and when it will close at the earliest.

use super::Grouper;
use crate::session::{Publication, SessionId};
use crate::time::Timestamp;
use alloc::vec::Vec;

/// The reason why a session is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Its next file may have begun within the gap and still be recording (rule: close).
    NextFile,
    /// The stream is off air: only notifications that are on their way (rule: hints).
    OffAir { since: Timestamp },
    /// A push holds it open, for as long as one may (rule: hints).
    OnAir,
    /// It may be published, and will be with the next transaction.
    Nothing,
}

/// An open session and what it waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingSession {
    /// The session as it stands.
    pub session: Publication,
    pub waiting: Waiting,
    /// It closes when the watermark is greater, if nothing else arrives.
    pub closes_after: Timestamp,
}

/// The state of a published session since its last publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedState {
    /// It stands as it was published.
    Unchanged,
    /// It has grown, or another one has taken it in: there is something to publish.
    Changed,
    /// It is no longer in memory: nothing that could still be accepted touches it.
    Forgotten,
}

impl Grouper {
    /// Returns what has become of a published session of `stream`.
    pub fn published_state(&self, stream: &str, id: SessionId) -> PublishedState {
        let Some(number) = self.store.find_stream(stream) else { return PublishedState::Forgotten };
        for session in self.store.timeline(number).sessions().map(|number| self.store.session(number)) {
            let is_absorbed = session.absorbed().iter().any(|summary| summary.session_id == id);
            let is_it = session.last_published().is_some_and(|summary| summary.session_id == id);
            if is_absorbed || is_it && session.is_dirty() {
                return PublishedState::Changed;
            }
            if is_it {
                return PublishedState::Unchanged;
            }
        }
        PublishedState::Forgotten
    }

    /// Returns all sessions that have something to publish, by stream and time, and what each waits for.
    pub fn pending_sessions(&self) -> Vec<PendingSession> {
        let pending = |number| {
            let close = self.close_bound(number);
            let waiting = if self.watermark().is_some_and(|watermark| watermark > close.bound) {
                Waiting::Nothing
            } else if close.held {
                Waiting::OnAir
            } else if close.bound < close.wait {
                let timeline = self.store.timeline(self.store.session(number).stream());
                let since = timeline.hints().and_then(|hints| hints.off_air_since());
                since.map_or(Waiting::NextFile, |since| Waiting::OffAir { since })
            } else {
                Waiting::NextFile
            };
            PendingSession { session: self.open_session(number), waiting, closes_after: close.bound }
        };
        self.open_numbers().map(pending).collect()
    }
}
