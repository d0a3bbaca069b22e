//! One partition: notifications in, publications and changelog records out.
//!
//! Puts the core and the formats together and adds the bookkeeping of the changelog: which batch holds which segment, and
//! when a record can be deleted. Knows no Kafka; the worker moves the bytes.
//!
//! ```text
//!   begin ─▶ read, read, … ─▶ publish_due until empty ─▶ prepare ─┬─▶ committed
//!                                                            └─▶ rolled_back: as if nothing had happened since begin
//! ```
//!
//! # Invariants
//!
//! * What [`Partition::restore`] builds from the committed changelog equals what was in memory at that commit.
//! * A segment is in exactly one batch, found by its input offset: the last one that begins at or before it.
//! * A batch is deleted when its last segment is forgotten, and what was published of a frozen session when the last batch that
//!   holds one of its members is.

use std::collections::{BTreeMap, BTreeSet};

use livesession_formats::changelog::{self, Marker, Reducer};
use livesession_formats::notification::{self, Decoder, Notification, Reason};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{
    self, Arrival, Clock, Grouper, Hint, Offset, Outcome, Policy, Publication, SavedSession, SessionChange, SessionId,
};

/// A record of the input topic, as far as grouping is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub offset: Offset,
    /// The Kafka timestamp, if there is one.
    pub timestamp: Option<Timestamp>,
    pub value: Option<&'a [u8]>,
}

/// Where to start reading a partition that has no committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

impl Start {
    pub const ALL: [Start; 2] = [Start::Earliest, Start::Latest];

    pub const fn as_str(self) -> &'static str {
        match self {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        }
    }
}

/// A policy that the state was not made under and that it cannot go on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot change `{setting}` from {from} to {to} while the changelog holds segments grouped under the old value")]
pub struct UnsafeChange {
    pub setting: &'static str,
    pub from: String,
    pub to: String,
}

/// What a person can do about an [`UnsafeChange`].
pub const UNSAFE_CHANGE_REPAIR: &str =
    "set it back, or use a new `application_id` and output topic, which starts from nothing";

/// Why a partition cannot be restored. All of them stop the worker: to write on would make it worse.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("cannot read the changelog")]
    Changelog(#[from] changelog::Error),
    #[error("the changelog contradicts itself")]
    Contradiction(#[from] livesession_grouping::RestoreError),
    #[error("{0}: {UNSAFE_CHANGE_REPAIR}")]
    UnsafeChange(#[from] UnsafeChange),
    #[error(
        "the changelog holds {batches} batches but no marker: something else has written to it, or deleted from it"
    )]
    NoMarker { batches: usize },
    #[error("the changelog was written under a policy that is refused: {problems}")]
    Policy { problems: String },
}

/// Applies a decoded record to a state of the core, and returns what became of it (rule: conservation).
///
/// The only adapter from notifications to the core: worker and file engine share it, so that a hint or a conflict means the
/// same to both.
///
/// # Errors
///
/// The reason for which the record is refused: it becomes a dead letter, and [`Reason::outcome`] is what became of it.
pub fn apply(
    grouper: &mut Grouper,
    record: Record<'_>,
    notification: Notification<'_>,
    now: Timestamp,
) -> Result<Outcome, Reason> {
    let arrival = |stream| Arrival { stream, offset: record.offset, timestamp: record.timestamp, now };
    match notification {
        Notification::Segment { stream, segment } => match grouper.accept(arrival(stream), &segment) {
            Outcome::Conflict => Err(Reason::Conflict),
            Outcome::Late => Err(Reason::Late),
            placed => Ok(placed),
        },
        Notification::Hint { stream, kind, push_id, at, .. } => {
            grouper.hint(arrival(stream), &Hint { kind, push_id, at });
            Ok(Outcome::Hint)
        }
        Notification::Other => Ok(Outcome::Other),
        Notification::Refused(reason) => Err(reason),
    }
}

/// The state of one input partition.
pub struct Partition {
    grouper: Grouper,
    /// Which parts of a notification name its stream: part of the policy in the marker.
    stream_key: &'static str,
    next_offset: Offset,
    /// Live segments of each batch, by the offset of its first.
    batches: BTreeMap<Offset, u32>,
    /// Frozen sessions that are forgotten but whose members batches still hold, with these batches.
    lingering: Vec<(SessionId, BTreeSet<Offset>)>,
    /// Batches without a live segment that the changelog still has, found on restore.
    orphans: Vec<Offset>,
    /// The next offset when the transaction began.
    before: Offset,
    prepared: Option<Prepared>,
    sessions_forgotten: u64,
}

/// The bookkeeping of a transaction that has been prepared, to be merged when it has committed.
struct Prepared {
    added: Vec<(Offset, u32)>,
    decremented: BTreeMap<Offset, u32>,
    lingering: Vec<(SessionId, BTreeSet<Offset>)>,
}

impl Partition {
    /// Returns the state of a partition whose changelog is empty.
    pub fn new(policy: Policy, stream_key: notification::KeyParts, next_offset: Offset) -> Partition {
        Partition {
            grouper: Grouper::new(policy),
            stream_key: stream_key.as_str(),
            next_offset,
            batches: BTreeMap::new(),
            lingering: Vec::new(),
            orphans: Vec::new(),
            before: next_offset,
            prepared: None,
            sessions_forgotten: 0,
        }
    }

    /// Builds the state again from the changelog, reduced by key. `None` if the changelog is empty.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: the caller stops.
    pub fn restore(
        policy: Policy,
        stream_key: notification::KeyParts,
        reducer: Reducer,
    ) -> Result<Option<Partition>, RestoreError> {
        let reduced = reducer.finish()?;
        let Some(marker) = reduced.marker else {
            let batches = reduced.batches.len();
            return if batches == 0 { Ok(None) } else { Err(RestoreError::NoMarker { batches }) };
        };
        let old = Policy::new(marker.settings.clone()).map_err(|problems| RestoreError::Policy {
            problems: problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        })?;
        let streams = reduced.saved.segments.iter().map(|(stream, _)| &**stream);
        refuse_unsafe_change(&marker, &old, &policy, stream_key, streams)?;
        let (mut grouper, lingering) = Grouper::restore(old, reduced.saved)?;
        grouper.change_policy(policy);
        let mut partition = Partition { grouper, ..Partition::new_empty(stream_key, marker.next_offset) };
        partition.batches = reduced.batches.into_iter().map(|first| (first, 0)).collect();
        for offset in partition.grouper.remembered_offsets() {
            if let Some((_, live)) = partition.batches.range_mut(..=offset).next_back() {
                *live += 1;
            }
        }
        partition.lingering = lingering
            .into_iter()
            .map(|(id, members)| (id, members.iter().filter_map(|offset| partition.batch_of(*offset)).collect()))
            .collect();
        partition.orphans = partition.batches.iter().filter(|(_, live)| **live == 0).map(|(first, _)| *first).collect();
        Ok(Some(partition))
    }

    fn new_empty(stream_key: notification::KeyParts, next_offset: Offset) -> Partition {
        // The default policy is replaced at once.
        Partition::new(Policy::default(), stream_key, next_offset)
    }

    pub fn grouper(&self) -> &Grouper {
        &self.grouper
    }

    /// Returns the next offset to read.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    pub fn watermark(&self) -> Option<Timestamp> {
        self.grouper.watermark()
    }

    pub fn clock(&self) -> Option<Clock> {
        self.grouper.clock()
    }

    /// Begins a transaction on this partition.
    pub fn begin(&mut self) {
        self.before = self.next_offset;
        self.grouper.begin();
    }

    /// Reads a record. Its offset must not be below [`Partition::next_offset`]; gaps are legal.
    ///
    /// # Errors
    ///
    /// As [`apply`].
    pub fn read(&mut self, decoder: &mut Decoder, record: Record<'_>, now: Timestamp) -> Result<Outcome, Reason> {
        let notification = decoder.decode(record.value, record.timestamp);
        self.apply(record, notification, now)
    }

    /// Applies a record that has been decoded: the second half of [`Partition::read`].
    ///
    /// # Errors
    ///
    /// As [`apply`].
    pub fn apply(
        &mut self,
        record: Record<'_>,
        notification: Notification<'_>,
        now: Timestamp,
    ) -> Result<Outcome, Reason> {
        self.next_offset = record.offset + 1;
        apply(&mut self.grouper, record, notification, now)
    }

    /// Passes offsets that no record will ever have: those of transaction markers and of what was aborted.
    pub fn pass(&mut self, next_offset: Offset) {
        self.next_offset = self.next_offset.max(next_offset);
    }

    /// Returns whether [`Partition::punctuate`] would move the watermark.
    pub fn punctuate(&mut self, now: Timestamp) -> bool {
        self.grouper.punctuate(now)
    }

    /// Returns whether punctuation at `now` would close or forget something. Changes nothing.
    pub fn would_punctuate(&mut self, now: Timestamp) -> bool {
        self.grouper.would_punctuate(now)
    }

    /// Publishes what is due: see [`Grouper::publish_due`].
    pub fn publish_due(&mut self, most: usize) -> Vec<Publication> {
        self.grouper.publish_due(most)
    }

    /// Returns whether more is due than the last [`Partition::publish_due`] could publish.
    pub fn has_due(&mut self) -> bool {
        self.grouper.has_due()
    }

    /// Returns the changelog records of the transaction, the marker last.
    pub fn prepare(&mut self) -> Vec<changelog::Record> {
        self.sessions_forgotten = 0;
        let changes = self.grouper.take_changes();
        let mut records = Vec::new();
        // What was accepted and forgotten in one transaction was never in the changelog, and need not be.
        let mut forgotten: BTreeSet<Offset> = changes.forgotten.into_iter().collect();
        let kept = changes.accepted.iter().filter(|(_, segment)| !forgotten.remove(&segment.offset()));
        let mut added = Vec::new();
        for (record, first, count) in changelog::encode_batches(kept) {
            records.push(record);
            added.push((first, count));
        }
        let mut decremented: BTreeMap<Offset, u32> = BTreeMap::new();
        for offset in forgotten {
            if let Some(first) = self.batch_of(offset) {
                let live = decremented.entry(first).or_insert_with(|| self.batches[&first]);
                *live -= 1;
                if *live == 0 {
                    records.push((changelog::batch_key(first), None));
                }
            }
        }
        for first in &self.orphans {
            decremented.insert(*first, 0);
            records.push((changelog::batch_key(*first), None));
        }
        let is_alive = |first: &Offset| decremented.get(first) != Some(&0);
        let mut lingering = Vec::new();
        let mut published: BTreeMap<SessionId, Option<SavedSession>> = BTreeMap::new();
        for (session_id, change) in changes.sessions {
            match change {
                SessionChange::Published { stream, summary, frozen_at } => {
                    published.insert(session_id, Some(SavedSession { stream, last_published: summary, frozen_at }));
                }
                SessionChange::Withdrawn => {
                    published.insert(session_id, None);
                }
                SessionChange::Forgotten => {
                    self.sessions_forgotten += 1;
                    published.insert(session_id, None);
                }
                SessionChange::FrozenForgotten { members } => {
                    self.sessions_forgotten += 1;
                    let held = members.iter().filter_map(|offset| self.batch_of(*offset)).filter(is_alive);
                    let held: BTreeSet<Offset> = held.collect();
                    if held.is_empty() {
                        published.insert(session_id, None);
                    } else {
                        lingering.push((session_id, held));
                    }
                }
            }
        }
        for (session_id, held) in &self.lingering {
            let held: BTreeSet<Offset> = held.iter().copied().filter(is_alive).collect();
            if held.is_empty() {
                published.insert(*session_id, None);
            } else {
                lingering.push((*session_id, held));
            }
        }
        records.extend(published.into_iter().map(|(session_id, saved)| match saved {
            Some(saved) => changelog::encode_published(&saved),
            None => (changelog::published_key(session_id), None),
        }));
        records.extend(changes.hints.iter().map(|(stream, hints)| match hints {
            Some(hints) => changelog::encode_hints(stream, hints),
            None => (changelog::hints_key(stream), None),
        }));
        records.push(changelog::encode_marker(&Marker {
            next_offset: self.next_offset,
            clock: self.grouper.clock(),
            forgotten: self.grouper.forgotten(),
            settings: self.grouper.policy().settings().clone(),
            stream_key: self.stream_key.to_owned(),
        }));
        self.prepared = Some(Prepared { added, decremented, lingering });
        records
    }

    /// Returns how many sessions the prepared transaction forgets.
    pub fn sessions_forgotten(&self) -> u64 {
        self.sessions_forgotten
    }

    /// The transaction has committed.
    pub fn committed(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            for (first, live) in prepared.decremented {
                if live == 0 {
                    self.batches.remove(&first);
                } else {
                    self.batches.insert(first, live);
                }
            }
            self.batches.extend(prepared.added);
            self.lingering = prepared.lingering;
            self.orphans.clear();
        }
        self.grouper.commit();
    }

    /// The transaction was aborted: everything is as it was when it began.
    pub fn rolled_back(&mut self) {
        self.prepared = None;
        self.next_offset = self.before;
        self.grouper.rollback();
    }

    /// Returns which batch holds the segment of that input offset.
    fn batch_of(&self, offset: Offset) -> Option<Offset> {
        self.batches.range(..=offset).next_back().map(|(first, _)| *first)
    }
}

/// Refuses a policy under which what the changelog holds would mean something else.
///
/// `notification_delay`, `recording_interval`, `max_hold` and the limits say when to publish and may change at any time. A
/// stream's gap may not while its segments are there, nor may the windows grow: what was forgotten under the old ones could be touched under the new
/// ones, and would stand as a second session within the gap.
fn refuse_unsafe_change<'a>(
    marker: &Marker,
    old: &Policy,
    new: &Policy,
    stream_key: notification::KeyParts,
    streams: impl Iterator<Item = &'a str>,
) -> Result<(), UnsafeChange> {
    let (from, to) = (old.settings(), new.settings());
    let change = |setting, from: &dyn ToString, to: &dyn ToString| {
        Err(UnsafeChange { setting, from: from.to_string(), to: to.to_string() })
    };
    if marker.stream_key != stream_key.as_str() {
        return change("input.stream_key", &marker.stream_key, &stream_key.as_str());
    }
    if marker.clock.is_some() && to.allowed_lateness > from.allowed_lateness {
        return change("grouping.allowed_lateness", &from.allowed_lateness, &to.allowed_lateness);
    }
    if marker.clock.is_some() && to.max_segment > from.max_segment {
        return change("grouping.max_segment", &from.max_segment, &to.max_segment);
    }
    if (from.gap, &from.overrides) != (to.gap, &to.overrides) {
        for stream in streams {
            if old.gap(stream) != new.gap(stream) {
                return change("grouping.gap", &old.gap(stream), &new.gap(stream));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
