//! Carrying records from one topic to another, each once, in transactions of its own.
//!
//! Not the worker's [`crate::Client`]: there is no group to join and nothing to share. One transactional id makes a second
//! replay fence the first, and the offsets of a group without members, with a metadata beside each, remember what was carried.
//! Offsets and records are in one transaction, so whatever happens the metadata says what the other topic holds.
//!
//! What the metadata means is the caller's business.
//!
//! # Why every transaction looks at the metadata
//!
//! A second replay fences the first one for as long as that keeps its producer. It does not always: after any doubt the
//! next transaction begins with a new one, which takes the id *back*, and a replay that had slept meanwhile would go on
//! from what it knew. A worker is held by its membership in a group; here there is none. So the metadata is read again after
//! the id is ours for certain, and must be the one that we know: whoever changes it later has fenced us before.

use std::cell::RefCell;
use std::collections::btree_map::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ReadError, TransactionError, TransactionStep};
use crate::librdkafka::settings::Settings;
use crate::read::scan::Scan;
use crate::transaction::Transactions;
use crate::values::Outgoing;

/// A reader of one topic and a producer to others, which commit together.
pub struct Replay {
    scan: Scan,
    transactions: Transactions,
    topic: String,
    /// As they were read or committed last, by partition.
    metadata: RefCell<BTreeMap<i32, String>>,
    timeout: Duration,
}

/// What went wrong, by which side of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] TransactionError),
    /// Another replay has carried records of the partition since its metadata was read: begin anew.
    #[error("another replay has moved on in {topic}/{partition}")]
    Taken { topic: String, partition: i32 },
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
        let metadata = RefCell::default();
        Ok(Replay { scan, transactions, topic: topic.to_owned(), metadata, timeout })
    }

    /// Returns the reader.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// Returns the metadata of partitions, empty where there is none; a transaction over one of them relies on it.
    pub fn metadata(&self, partitions: &[i32]) -> Result<BTreeMap<i32, String>, Error> {
        let committed = self.scan.committed(&self.topic, partitions)?;
        let metadata: BTreeMap<i32, String> =
            committed.into_iter().map(|(partition, held)| (partition, held.metadata)).collect();
        self.metadata.borrow_mut().extend(metadata.clone());
        Ok(metadata)
    }

    /// Begins a transaction over a partition whose metadata was read.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] if the metadata is another one now; nothing was sent.
    pub fn begin(&self, partition: i32) -> Result<(), Error> {
        self.transactions.begin()?;
        let mut committed = self.scan.committed(&self.topic, &[partition])?;
        let now = committed.remove(&partition).map(|held| held.metadata);
        if now.as_ref() == self.metadata.borrow().get(&partition) {
            return Ok(());
        }
        Err(Error::Taken { topic: self.topic.clone(), partition })
    }

    /// Adds a record to the transaction.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<(), Error> {
        Ok(self.transactions.send(record)?)
    }

    /// Commits the records together with an offset of a partition and its metadata.
    ///
    /// # Errors
    ///
    /// Nothing was committed, unless it says that nobody knows: then the next [`Replay::connect`] finds out, since the
    /// metadata tells.
    pub fn commit(&self, partition: i32, offset: i64, metadata: &str) -> Result<(), Error> {
        let member = self.scan.group_metadata().ok_or_else(|| TransactionError::Stop {
            step: TransactionStep::Commit,
            problem: "the reader has no group".to_owned(),
        })?;
        self.transactions.commit_with_metadata(&[(partition, offset, metadata)], &member, self.timeout)?;
        self.metadata.borrow_mut().insert(partition, metadata.to_owned());
        Ok(())
    }

    /// Aborts the open transaction, if there is one.
    pub fn abort(&self) -> Result<(), Error> {
        Ok(self.transactions.abort()?)
    }
}
