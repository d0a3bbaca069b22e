//! The tally: outcomes of all records, for the summary.
//!
//! `read` is counted where records come in and the outcomes where they are decided, so that a lost record shows.

use std::collections::BTreeMap;

use super::input::InputRecord;
use livesession_formats::notification::Reason;
use livesession_grouping::{Outcome, Status};

#[derive(Default)]
pub struct Tally {
    read: u64,
    outcomes: [u64; Outcome::ALL.len()],
    refused: BTreeMap<Reason, u64>,
    closed: u64,
    open: u64,
    withdrawn: u64,
    /// An array was refused: somebody exported them so.
    has_array: bool,
}

impl Tally {
    pub fn count_read(&mut self) {
        self.read += 1;
    }

    pub fn read(&self) -> u64 {
        self.read
    }

    /// Counts the outcome of a record. Called once for each [`Tally::count_read`], by the code that decided.
    pub fn count(&mut self, applied: Result<Outcome, Reason>, record: &InputRecord<'_>) {
        self.outcomes[applied.unwrap_or_else(Reason::outcome) as usize] += 1;
        if let Err(reason) = applied {
            self.refuse(reason, record);
        }
    }

    fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    fn refuse(&mut self, reason: Reason, record: &InputRecord<'_>) {
        *self.refused.entry(reason).or_default() += 1;
        let begins = record.value.as_deref().and_then(|value| value.trim_ascii_start().first());
        self.has_array |= reason == Reason::NotAnObject && begins == Some(&b'[');
    }

    pub fn count_session(&mut self, status: Status) {
        match status {
            Status::Closed => self.closed += 1,
            Status::Open => self.open += 1,
            Status::Withdrawn => self.withdrawn += 1,
        }
    }

    /// Returns how many records became, or would become, dead letters.
    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Returns the summary.
    pub fn lines(&self) -> Vec<String> {
        let outcomes: u64 = self.outcomes.iter().sum();
        let mut lines = vec![format!(
            "read {} = {} accepted + {} duplicates + {} conflicts + {} late + {} rejected + {} hints + {} other",
            self.read,
            self.of(Outcome::Accepted),
            self.of(Outcome::Duplicate),
            self.of(Outcome::Conflict),
            self.of(Outcome::Late),
            self.of(Outcome::Rejected),
            self.of(Outcome::Hint),
            self.of(Outcome::Other),
        )];
        if outcomes != self.read {
            lines.push(format!("defect: {} records read, {outcomes} accounted for", self.read));
        }
        if !self.refused.is_empty() {
            let reasons: Vec<_> =
                self.refused.iter().map(|(reason, count)| format!("{count} {}", reason.as_str())).collect();
            lines.push(format!("refused: {}", reasons.join(", ")));
        }
        let withdrawn = if self.withdrawn > 0 { format!(", {} withdrawn", self.withdrawn) } else { String::new() };
        lines.push(format!("sessions: {} closed, {} open{withdrawn}", self.closed, self.open));
        lines
    }

    /// Returns what somebody should know about the input although nothing failed.
    pub fn notes(&self) -> Vec<String> {
        let array = "an array is one value and was refused: unwrap it with jq -c '.[]'";
        if self.has_array { vec![array.to_owned()] } else { Vec::new() }
    }
}
