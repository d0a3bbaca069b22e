//! Replay of records from one topic to others, each exactly once, in transactions of its own.
//!
//! Unlike the worker's [`crate::Client`] it joins no group: there is nothing to share. One transactional id makes a second
//! replay fence the first. The offsets of a group without members, each with metadata, remember which records were carried.
//! Offsets and records are in one transaction, so the metadata always says what the other topic holds.
//!
//! The caller decides what the metadata means.
//!
//! # Why every transaction checks the metadata
//!
//! A second replay fences the first only for as long as the first keeps its producer. A suspect producer is replaced, which
//! takes the transactional id *back*, and a replay that had been asleep would continue from stale metadata. A worker is
//! protected by its membership in the group; here there is none. So each transaction reads the metadata again once the id is
//! certainly ours, and requires the metadata that this replay knows: any other replay that changes it later has fenced this
//! one first.

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
    /// By partition, as last read or committed.
    metadata: RefCell<BTreeMap<i32, String>>,
    timeout: Duration,
}

/// An error of the side that reads or of the side that writes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] TransactionError),
    /// Another replay has carried records of the partition since its metadata was read: start over.
    #[error("another replay has carried records of {topic}/{partition} meanwhile")]
    Taken { topic: String, partition: i32 },
}

impl Replay {
    /// Creates the reader, and takes over the transactional id, which aborts the open transaction of an earlier replay.
    ///
    /// `topic` is the topic to read from; its offsets are committed.
    pub fn connect(settings: &Settings, topic: &str, timeout: Duration) -> Result<Replay, Error> {
        let scan = Scan::new(settings, timeout)?;
        // Before the producer is created: that would hide an unavailable broker behind a longer wait.
        scan.ends(topic, 0)?;
        let transactions = Transactions::init(settings, topic, Arc::default(), timeout)?;
        let metadata = RefCell::default();
        Ok(Replay { scan, transactions, topic: topic.to_owned(), metadata, timeout })
    }

    /// Returns the reader.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// Returns the metadata of partitions, empty if there is none. Transactions over these partitions require it.
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
    /// [`Error`]; `Taken` if the metadata has changed: nothing was sent.
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

    /// Commits the records together with the next offset of a partition and its metadata.
    ///
    /// # Errors
    ///
    /// [`Error`]. Nothing was committed, unless the outcome is unknown: then the metadata tells it after the next
    /// [`Replay::connect`].
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
