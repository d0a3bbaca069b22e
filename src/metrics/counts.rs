//! Counts of one transaction, added to the metrics when it commits.
//!
//! An aborted transaction is read and grouped again. Had its records moved the counters, they would be counted twice, and
//! the comparison of what was read with what became of it would mean nothing. So the worker fills a [`Counts`] while it
//! works, hands it to [`Metrics::commit`](super::Metrics::commit) after the commit, and clears it after an abort.
//!
//! Plain numbers: no atomics, and no look-up for an accepted record. The reason of a refused one is found in a list of some
//! fifteen names.

use super::labels::{Advance, Change, Labels, Outcome, place};
use livesession_grouping::time::{Millis, Timestamp};

/// The counts of one transaction.
#[derive(Clone, Debug)]
pub struct Counts {
    labels: Labels,
    pub(super) read: u64,
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    pub(super) dead_letters: Vec<u64>,
    pub(super) anomalies: Vec<u64>,
    pub(super) advances: [u64; Advance::ALL.len()],
    pub(super) changes: [u64; Change::ALL.len()],
    pub(super) causes: Vec<u64>,
    pub(super) forgotten: Vec<(i32, u64)>,
    pub(super) allowed_at: Vec<Timestamp>,
    pub(super) durations: Vec<Millis>,
    pub(super) segments: Vec<u32>,
    pub(super) gaps: Vec<Millis>,
}

/// A session published for the first time, as far as it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Closed<'a> {
    pub cause: &'a str,
    /// The bound that the watermark had to pass.
    pub allowed_at: Timestamp,
    pub duration: Millis,
    pub segments: u32,
}

impl Counts {
    pub(super) fn new(labels: Labels) -> Counts {
        Counts {
            labels,
            read: 0,
            outcomes: [0; Outcome::ALL.len()],
            dead_letters: vec![0; labels.reasons.len()],
            anomalies: vec![0; labels.anomalies.len()],
            advances: [0; Advance::ALL.len()],
            changes: [0; Change::ALL.len()],
            causes: vec![0; labels.causes.len()],
            forgotten: Vec::new(),
            allowed_at: Vec::new(),
            durations: Vec::new(),
            segments: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Sets everything back to 0, keeping the memory: after a commit, and after an abort.
    pub fn clear(&mut self) {
        self.read = 0;
        self.outcomes = [0; Outcome::ALL.len()];
        self.dead_letters.fill(0);
        self.anomalies.fill(0);
        self.advances = [0; Advance::ALL.len()];
        self.changes = [0; Change::ALL.len()];
        self.causes.fill(0);
        self.forgotten.clear();
        self.allowed_at.clear();
        self.durations.clear();
        self.segments.clear();
        self.gaps.clear();
    }

    /// Counts a record taken from the consumer, before anything looks at it.
    pub fn read(&mut self) {
        self.read += 1;
    }

    /// Counts what became of a record. Called once for each [`Counts::read`], by the code that decided.
    pub fn outcome(&mut self, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
    }

    /// Counts a dead letter, in addition to its outcome.
    pub fn dead_letter(&mut self, reason: &str) {
        if let Some(at) = place(self.labels.reasons, reason) {
            self.dead_letters[at] += 1;
        }
    }

    /// Counts an anomaly of an accepted segment.
    pub fn anomaly(&mut self, kind: &str) {
        if let Some(at) = place(self.labels.anomalies, kind) {
            self.anomalies[at] += 1;
        }
    }

    /// Counts a move of a watermark.
    pub fn advance(&mut self, by: Advance) {
        self.advances[by as usize] += 1;
    }

    /// Counts a session published for the first time, with the gaps within it.
    ///
    /// Its amendments are counted by [`Counts::amended`] and not measured again: each session stands once in the
    /// histograms.
    pub fn closed(&mut self, closed: Closed<'_>, gaps: impl IntoIterator<Item = Millis>) {
        self.changes[Change::Closed as usize] += 1;
        if let Some(at) = place(self.labels.causes, closed.cause) {
            self.causes[at] += 1;
        }
        self.allowed_at.push(closed.allowed_at);
        self.durations.push(closed.duration);
        self.segments.push(closed.segments);
        self.gaps.extend(gaps);
    }

    /// Counts a later revision of a session.
    pub fn amended(&mut self) {
        self.changes[Change::Amended as usize] += 1;
    }

    /// Counts a withdrawal.
    pub fn withdrawn(&mut self) {
        self.changes[Change::Withdrawn as usize] += 1;
    }

    /// Counts closed sessions that a partition dropped from memory.
    pub fn forgotten(&mut self, partition: i32, sessions: u64) {
        if sessions > 0 {
            self.forgotten.push((partition, sessions));
        }
    }
}
