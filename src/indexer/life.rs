//! One run of an indexer: from an open file and a checked topic to the last commit.

use std::collections::btree_map::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::batch::{Batch, Read};
use super::failure::Failure;
use super::place::{Misfit, places};
use super::thread::{Refusal, Thread};
use crate::clock;
use crate::metrics::{IndexFile, IndexTransaction};
use livesession_grouping::time::Millis;
use livesession_index as index;
use livesession_index::{FileId, Reader, Writer, file_id};
use livesession_kafka::tail::{Description, Tail};
use livesession_kafka::{LogEnds, ReadError};

/// How long a record waits for others before they are written together.
const BATCH_TIME: Duration = Duration::from_millis(500);

/// How long a turn without any record takes.
const IDLE: Duration = Duration::from_millis(200);

/// How often topic, file and log ends are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How often sessions that ended long ago are removed.
const PRUNE: Duration = Duration::from_secs(600);

/// How long one question to a broker may hold up the loop, at the start and later.
const ASK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(500));

/// Looks in a row that may find no topic: a broker that has just started may not know it yet.
const MISSING_LOOKS: u32 = 4;

/// How a life ended, if not by being told to.
pub(super) enum End {
    /// Begin again: the start checks know what to make of it.
    Again {
        why: &'static str,
    },
    Stop(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        End::Stop(failure)
    }
}

impl From<ReadError> for End {
    fn from(source: ReadError) -> End {
        match source {
            ReadError::OffsetOutOfRange { .. } => End::Again { why: "the log has no record at the offset to read" },
            ReadError::Refused { reason } => End::Stop(Failure::Refused { reason }),
            ReadError::UnknownTopic { topic } => End::Stop(Failure::Topic { source: Misfit::Missing { topic } }),
            // The settings passed their checks at the start of the program, so even a client that cannot be created may be
            // created later.
            ReadError::Unavailable { .. } | ReadError::Rebuild { .. } | ReadError::Rejected { .. } => {
                End::Stop(Failure::Away { source })
            }
        }
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Stop(refusal.source.into())
    }
}

/// An open file and a reader that stands where the file says.
pub(super) struct Life<'a> {
    thread: &'a Thread,
    writer: Writer,
    tail: Tail,
    topic: Description,
    /// Which filling of the file it is, and which file: both can change under us.
    generation: String,
    file: Option<FileId>,
    /// The next offset of each partition as the file has it.
    stored: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, LogEnds>,
    batch: Batch,
    look_at: Instant,
    prune_at: Instant,
    /// Sessions that were removed since that time came.
    pruned: usize,
    missing: u32,
}

impl<'a> Life<'a> {
    /// Opens the file, checks the topic against it, and begins to read.
    pub fn begin(thread: &'a Thread) -> Result<Life<'a>, End> {
        let settings = &thread.settings;
        let (path, topic_name) = (settings.path.as_path(), settings.origin.topic.as_str());
        let writer = thread.insist(|| Writer::open(path, &settings.origin))?;
        let generation = thread.insist(|| generation(path))?;
        let stored = thread.insist(|| writer.offsets())?;
        thread.health.set_open(true);
        let tail = Tail::new(&thread.kafka, topic_name)?;
        let topic = tail.describe(ASK.0)?;
        let mut ends = BTreeMap::new();
        for partition in 0..topic.partitions {
            ends.insert(partition, tail.log_ends(partition, ASK.0)?);
            thread.health.turned(clock::now());
        }
        let places =
            places(topic_name, &topic.id, &stored, &ends).map_err(|source| End::Stop(Failure::Topic { source }))?;
        for place in &places {
            if place.stored.is_none() && place.next > 0 {
                let (partition, records) = (place.partition, place.next);
                warn!(partition, records, "the topic no longer has its first records: the index begins without them");
            }
        }
        tail.start(&places.iter().map(|place| (place.partition, place.next)).collect::<Vec<_>>())?;
        info!(path = %path.display(), topic = topic_name, partitions = topic.partitions, "index open");
        let now = clock::instant();
        let life = Life {
            thread,
            writer,
            tail,
            topic,
            generation,
            file: file_id(path),
            stored: places.iter().filter_map(|place| Some((place.partition, place.stored?))).collect(),
            ends,
            batch: Batch::default(),
            look_at: now + LOOK,
            prune_at: now,
            pruned: 0,
            missing: 0,
        };
        life.show_lag()?;
        life.show_sizes();
        Ok(life)
    }

    /// Reads for a while and writes what came; looks around when it is time.
    pub fn turn(&mut self) -> Result<(), End> {
        self.fill()?;
        self.commit()?;
        let now = clock::instant();
        if now >= self.look_at {
            self.look()?;
            self.look_at = clock::instant() + LOOK;
        }
        if now >= self.prune_at {
            self.prune()?;
        }
        Ok(())
    }

    /// Writes what was read, and closes the file.
    pub fn stop(mut self) -> Result<(), End> {
        self.commit()?;
        match self.writer.close() {
            Err(error @ index::Error::Busy { .. }) => {
                warn!(%error, "index closed without a checkpoint: its log is read at the next start");
                Ok(())
            }
            closed => closed.map_err(|error| End::Stop(error.into())),
        }
    }

    /// Reads until the batch is full, or its first record has waited long enough, or nothing came.
    fn fill(&mut self) -> Result<(), End> {
        let mut until = clock::instant() + IDLE;
        while !self.batch.is_full() && !self.thread.is_stopping() {
            let left = until.saturating_duration_since(clock::instant());
            let Some(record) = self.tail.poll(left)? else { break };
            if self.batch.is_empty() {
                until = clock::instant() + BATCH_TIME;
            }
            let read = Read { partition: record.partition(), offset: record.offset(), value: record.value() };
            self.batch.push(self.tail.topic(), read)?;
        }
        Ok(())
    }

    /// Writes the batch, if there is one.
    fn commit(&mut self) -> Result<(), End> {
        if self.batch.is_empty() { Ok(()) } else { self.write() }
    }

    /// Writes the batch and how far was read, in one transaction.
    fn write(&mut self) -> Result<(), End> {
        // It may have to be tried for minutes, and whoever watches should see by then that the index is behind.
        self.show_lag()?;
        let positions = self.tail.positions()?;
        let advances = self.batch.advances(&self.topic.id, &self.stored, &positions);
        if advances.is_empty() {
            return Ok(());
        }
        let (writer, records) = (&mut self.writer, self.batch.records());
        let applied = match self.thread.insist(|| writer.apply(records, &advances)) {
            Ok(applied) => applied,
            Err(refusal) => return Err(self.sort(refusal)),
        };
        let now = clock::now();
        self.thread.metrics.record_index_transaction(IndexTransaction::Committed, now);
        self.thread.freshness.record_commit(now);
        debug!(stored = applied.stored, old = applied.old, change = applied.change, "indexed");
        self.stored.extend(advances.iter().map(|advance| (advance.partition, advance.to)));
        self.batch.clear();
        self.show_lag()
    }

    /// Returns what a refused transaction means. An offset that somebody else moved need not be a second indexer.
    fn sort(&self, refusal: Refusal) -> End {
        let is_twin = matches!(refusal.source, index::Error::Twin { .. });
        if is_twin && refusal.failed_before {
            return End::Again { why: "a transaction that had failed may have been carried out" };
        }
        let path = &self.thread.settings.path;
        if is_twin && generation(path).is_ok_and(|now| now != self.generation) {
            return End::Again { why: "the index was filled anew" };
        }
        refusal.into()
    }

    /// Looks whether file and topic are still those that they were, and how far the index is behind.
    fn look(&mut self) -> Result<(), End> {
        if file_id(&self.thread.settings.path) != self.file {
            return Err(End::Again { why: "another file is in the place of the index" });
        }
        self.show_sizes();
        // Markers behind the last record of a partition.
        self.write()?;
        match self.tail.describe(ASK.1) {
            Ok(found) if found.id != self.topic.id => {
                let topic = self.tail.topic().to_owned();
                let source = Misfit::Recreated { topic, stored: self.topic.id.clone(), found: found.id };
                return Err(Failure::Topic { source }.into());
            }
            Ok(found) if found.partitions != self.topic.partitions => {
                return Err(End::Again { why: "the topic has another number of partitions" });
            }
            Ok(_) => self.missing = 0,
            Err(ReadError::UnknownTopic { .. }) if self.missing + 1 < MISSING_LOOKS => {
                self.missing += 1;
                return Ok(());
            }
            // The reader goes on by itself when Kafka is back, and the index answers meanwhile.
            Err(ReadError::Unavailable { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for partition in 0..self.topic.partitions {
            match self.tail.log_ends(partition, ASK.1) {
                Ok(ends) => self.ends.insert(partition, ends),
                // The next question would hold up the loop as long.
                Err(ReadError::Unavailable { .. } | ReadError::UnknownTopic { .. }) => break,
                Err(error) => return Err(error.into()),
            };
        }
        self.show_lag()
    }

    /// Removes sessions that ended longer ago than they are kept: a step of it, and the next one with the next turn.
    fn prune(&mut self) -> Result<(), End> {
        let kept = self.thread.settings.retention;
        if kept != Millis::ZERO {
            let before = clock::now() - kept;
            let writer = &mut self.writer;
            let sessions = self.thread.insist(|| writer.prune_some(before.as_ms()))?.sessions;
            self.pruned += sessions;
            if sessions > 0 {
                return Ok(());
            }
            if self.pruned > 0 {
                info!(sessions = self.pruned, %before, "removed sessions that ended long ago");
            }
        }
        self.pruned = 0;
        self.prune_at = clock::instant() + PRUNE;
        Ok(())
    }

    /// Shows how far the index is behind what is known of the topic. What was read and not written counts as missing.
    fn show_lag(&self) -> Result<(), End> {
        let positions = self.tail.positions()?;
        let mut total = 0;
        for (partition, ends) in &self.ends {
            let read = positions.get(partition).copied().unwrap_or(ends.start);
            let written =
                if self.batch.is_empty() { read } else { self.stored.get(partition).copied().unwrap_or(ends.start) };
            let lag = (ends.end.max(read) - written).max(0).unsigned_abs();
            self.thread.metrics.set_index_lag(*partition, lag);
            total += lag;
        }
        self.thread.freshness.set_lag(total);
        Ok(())
    }

    fn show_sizes(&self) {
        let (db, wal) = index::sizes(&self.thread.settings.path);
        self.thread.metrics.set_index_size(IndexFile::Db, db);
        self.thread.metrics.set_index_size(IndexFile::Wal, wal);
    }
}

/// Returns which filling of the index is at the path.
fn generation(path: &Path) -> Result<String, index::Error> {
    Reader::open(path)?.view()?.generation()
}
