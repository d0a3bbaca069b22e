//! Sessions of a set that are beyond a limit (rule: limits), cut in time order.
//!
//! The core cuts as segments come, and a set has no order: cut while it is read, an export sorted by file id would give
//! other sessions than one sorted by time. So the set is grouped without limits, and the few sessions that exceed one
//! are grouped again, from their first segment to their last. That is how the worker cuts when everything is on time.

use std::sync::Arc;

use livesession_grouping::time::Timestamp;
use livesession_grouping::{Arrival, Grouper, Policy, Publication, Segment, Summary};

/// Cuts sessions at the limits of a policy.
pub struct Recut {
    policy: Policy,
}

impl Recut {
    pub fn new(policy: Policy) -> Recut {
        Recut { policy }
    }

    /// Returns the parts of a session in time order: nearly always the session itself.
    pub fn parts(&self, whole: Publication) -> Vec<Publication> {
        if !self.exceeds(&whole) {
            return vec![whole];
        }
        let mut grouper = Grouper::for_set(self.policy.clone());
        // Published segments are in time order.
        for segment in &whole.segments {
            let arrival =
                Arrival { stream: &whole.stream, offset: segment.offset(), timestamp: None, now: Timestamp::MIN };
            grouper.accept(arrival, &segment.view());
        }
        // Once, at the end: what is closed earlier would be published again when it grows.
        let mut parts = grouper.publish_due(usize::MAX);
        parts.extend(grouper.open_sessions().map(|last| Publication {
            status: whole.status,
            allowed_at: whole.allowed_at,
            summary: Summary {
                revision: whole.summary.revision,
                close_cause: whole.summary.close_cause,
                ..last.summary
            },
            ..last
        }));
        for part in &mut parts {
            part.summary.watermark = whole.summary.watermark;
        }
        parts.sort_by_key(|part| (part.summary.start, part.summary.end));
        parts
    }

    fn exceeds(&self, whole: &Publication) -> bool {
        let settings = self.policy.settings();
        whole.summary.end.since(whole.summary.start) > settings.max_session_duration
            || whole.segments.len() > settings.max_session_segments as usize
            || whole.segments.iter().map(Arc::as_ref).map(Segment::text_bytes).sum::<u64>() > settings.max_session_bytes
    }
}
