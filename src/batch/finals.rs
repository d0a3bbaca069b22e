//! Final publications: those that no segment which could still be accepted touches (rule: forget).
//!
//! Only what is published and not yet final is held, so memory is bounded by what is alive. A publication is final when
//! the watermark is past its bound *and* the core has forgotten the session: it may have grown since, or have been taken
//! in by another, and wait for its next publication.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{CloseCause, Grouper, Policy, Publication, PublishedState, SessionId, Status};

/// After how much event time a session that is past its bound and not forgotten is looked at again.
const LOOK_AGAIN: Millis = Millis::from_secs(60);

/// Publications of one partition that may be replaced.
#[derive(Default)]
pub struct Finals {
    latest: BTreeMap<SessionId, Publication>,
    queue: BinaryHeap<Reverse<Entry>>,
}

/// The watermark after which a publication may be final, then its stream and start for an order that means something, its
/// name and its revision.
type Entry = (Timestamp, Arc<str>, Timestamp, SessionId, u32);

impl Finals {
    /// Takes a publication; returns it if it is final already.
    pub fn publish(&mut self, publication: Publication, policy: &Policy) -> Option<Publication> {
        let Publication { stream, summary, status, .. } = &publication;
        let id = summary.session_id;
        if *status == Status::Withdrawn {
            self.latest.remove(&id);
            return None;
        }
        if summary.close_cause == Some(CloseCause::Limit) {
            self.latest.remove(&id);
            return Some(publication);
        }
        let bound = policy.forget_bound(summary.end, policy.gap(stream));
        self.queue.push(Reverse((bound, Arc::clone(stream), summary.start, id, summary.revision)));
        self.latest.insert(id, publication);
        None
    }

    /// Returns the next publication that is final under the watermark.
    pub fn next(&mut self, grouper: &Grouper) -> Option<Publication> {
        let watermark = grouper.watermark()?;
        while let Some(Reverse((bound, ..))) = self.queue.peek()
            && *bound < watermark
        {
            let Reverse((_, stream, start, id, revision)) = self.queue.pop()?;
            if self.latest.get(&id).is_none_or(|publication| publication.summary.revision != revision) {
                continue;
            }
            if grouper.published_state(&stream, id) == PublishedState::Forgotten {
                return self.latest.remove(&id);
            }
            self.queue.push(Reverse((watermark + LOOK_AGAIN, stream, start, id, revision)));
        }
        None
    }

    /// Returns, at the end of input, what stands as it was published.
    ///
    /// What has changed since is still open, and is printed as such.
    pub fn rest(&mut self, grouper: &Grouper) -> impl Iterator<Item = Publication> {
        self.queue.clear();
        let latest = std::mem::take(&mut self.latest).into_values();
        latest.filter(|publication| {
            grouper.published_state(&publication.stream, publication.summary.session_id) != PublishedState::Changed
        })
    }
}
