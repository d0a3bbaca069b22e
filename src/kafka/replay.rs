//! Carrying records from one topic to another, each once, in transactions of its own.
//!
//! Not the worker's [`super::Client`]: there is no group to join and nothing to share. One transactional id makes a second
//! replay fence the first, and the offsets of a group without members, with a note beside each, remember what was carried.
//! Offsets and records are in one transaction, so whatever happens the note says what the other topic holds.
//!
//! What the note means is the caller's business.

use std::sync::Arc;
use std::time::Duration;

use super::settings::Settings;
use super::transaction::{self, Transactions};
use super::{Outgoing, scan};
use crate::kafka::scan::Scan;

/// A reader of one topic and a producer to others, which commit together.
pub struct Replay {
    scan: Scan,
    transactions: Transactions,
    timeout: Duration,
}

/// What went wrong, by which side of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Read(#[from] scan::Error),
    #[error(transparent)]
    Write(#[from] transaction::Error),
}

impl Replay {
    /// Takes over the transactional id, which decides what a former replay left open, and then creates the reader.
    ///
    /// `topic` is where records come from, and whose offsets are committed.
    pub fn connect(settings: &Settings, topic: &str, timeout: Duration) -> Result<Replay, Error> {
        let scan = Scan::new(settings, timeout)?;
        // Asked before the producer is made: it would hide a broker that is away behind a longer wait.
        scan.ends(topic, 0)?;
        let transactions = Transactions::init(settings, topic, Arc::default(), timeout)?;
        Ok(Replay { scan, transactions, timeout })
    }

    /// Returns the reader.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<(), Error> {
        Ok(self.transactions.begin()?)
    }

    /// Adds a record to the transaction.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<(), Error> {
        Ok(self.transactions.send(record)?)
    }

    /// Commits the records together with an offset of a partition and its note.
    ///
    /// # Errors
    ///
    /// Nothing was committed, unless it says that nobody knows: then the next [`Replay::connect`] finds out, since the
    /// note tells.
    pub fn commit(&self, partition: i32, offset: i64, note: &str) -> Result<(), Error> {
        let member = self.scan.group_metadata().ok_or_else(|| transaction::Error::Stop {
            doing: "commit the transaction",
            problem: "the reader has no group".to_owned(),
        })?;
        Ok(self.transactions.commit_with_notes(&[(partition, offset, note)], &member, self.timeout)?)
    }

    /// Aborts the open transaction, if there is one.
    pub fn abort(&self) -> Result<(), Error> {
        Ok(self.transactions.abort()?)
    }
}
