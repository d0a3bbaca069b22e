//! Restores of partitions from the changelog, in short steps, several at a time.
//!
//! Passes on bytes. The worker decides what they mean, and whether they agree with the group's offset.
//!
//! # The model
//!
//! ```text
//!   begin ─▶ Requested ──committed offset, then log ends──▶ Reading ──next offset ≥ log end──▶ restored
//! ```
//!
//! The order of the two requests matters. The committed offset comes first, and only a *stable* one counts: librdkafka does
//! not get the offset while a transaction over it is open. After that everything that the previous owner committed lies
//! below the log end, which a client requests that counts open transactions too. The reader itself sees committed records
//! only, and may have to wait at an open transaction until the coordinator decides it.
//!
//! # Invariants
//!
//! * A partition is restored when the reader's next offset has reached the log end as of the beginning. The end that the
//!   reader itself reports is not enough: it is the first open transaction. Nor is the last record's offset: a log may end
//!   in markers or in records of an aborted transaction, or be compacted.
//! * Records of a partition are applied in log order.

use std::collections::btree_map::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::consumer::Consumer;
use crate::error::RestoreError;
use crate::fault::{self, Safeguards};
use crate::librdkafka::codes::is_refusal;
use crate::librdkafka::context::{PlainContext, Reports};
use crate::librdkafka::settings::Settings;
use crate::read::log_ends::{Probe, log_ends, serve};
use crate::values::{Apply, LogEnds, RestoreProgress, Restored};

/// The maximum time for which one request may hold up the worker. A request without an answer is repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// The restores under way.
pub struct Restore {
    reader: BaseConsumer<PlainContext>,
    reports: Arc<Reports>,
    topic: String,
    patience: Duration,
    safeguards: Safeguards,
    partitions: BTreeMap<i32, Partition>,
}

/// A restore under way.
struct Partition {
    phase: Phase,
    /// The time of the last progress.
    since: Instant,
    /// Transport errors reported until then. If more have been reported since, the broker hangs, not a transaction.
    outages: u64,
    records: u64,
}

#[derive(Clone, Copy)]
enum Phase {
    Requested,
    Reading { committed: Option<i64>, next: i64, end: i64 },
}

impl Restore {
    /// Creates the reader of the changelog topic.
    pub fn new(settings: &Settings, topic: &str, reports: Arc<Reports>) -> KafkaResult<Restore> {
        let reader = settings.reader().create_with_context(PlainContext { reports: Arc::clone(&reports) })?;
        Ok(Restore {
            reader,
            reports,
            topic: topic.to_owned(),
            patience: settings.restore_patience(),
            safeguards: settings.safeguards,
            partitions: BTreeMap::new(),
        })
    }

    /// Replaces the maximum time without progress.
    pub fn with_patience(self, patience: Duration) -> Restore {
        Restore { patience, ..self }
    }

    /// Begins to restore a partition. Starts over if its restore is under way.
    pub fn begin(&mut self, partition: i32) -> Result<(), RestoreError> {
        fault::reach("restore.before")?;
        self.cancel(partition)?;
        let entry = Partition { phase: Phase::Requested, since: Instant::now(), outages: self.outages(), records: 0 };
        self.partitions.insert(partition, entry);
        Ok(())
    }

    /// Cancels the restore of a partition, if it is under way.
    pub fn cancel(&mut self, partition: i32) -> Result<(), RestoreError> {
        let entry = self.partitions.remove(&partition);
        if entry.is_some_and(|entry| matches!(entry.phase, Phase::Reading { .. })) {
            self.stop_reading(&[partition])?;
        }
        Ok(())
    }

    /// Cancels the restore of every partition for which `keep` returns false.
    pub fn retain(&mut self, keep: impl Fn(i32) -> bool) -> Result<(), RestoreError> {
        let gone: Vec<i32> = self.partitions.keys().copied().filter(|partition| !keep(*partition)).collect();
        gone.into_iter().try_for_each(|partition| self.cancel(partition))
    }

    /// Returns whether no restore is under way.
    pub fn is_idle(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Serves the reader's events between restores.
    pub fn serve(&self) {
        if self.is_idle() {
            serve(&self.reader);
        }
    }

    /// Continues for about `budget`. `group` knows the committed offsets, `probe` the log ends.
    pub fn step(
        &mut self,
        group: &Consumer,
        probe: &Probe,
        budget: Duration,
        apply: &mut Apply<'_>,
    ) -> Result<RestoreProgress, RestoreError> {
        let deadline = Instant::now() + budget;
        let mut restored = Vec::new();
        if self.is_idle() {
            return Ok(RestoreProgress::default());
        }
        self.request_offsets(group, probe)?;
        loop {
            self.collect(&mut restored)?;
            let now = Instant::now();
            if now >= deadline || !self.partitions.values().any(Partition::is_reading) {
                break;
            }
            self.read(deadline - now, apply)?;
        }
        self.check_patience()?;
        if let Some(reason) = self.reports.refusal() {
            return Err(RestoreError::Refused { reason });
        }
        Ok(RestoreProgress { restored, remaining: self.partitions.values().map(Partition::remaining).sum() })
    }

    /// Requests the committed offsets, then the log ends of the partitions whose offset is known.
    fn request_offsets(&mut self, group: &Consumer, probe: &Probe) -> Result<(), RestoreError> {
        let requested: Vec<i32> =
            self.partitions.iter().filter(|(_, entry)| !entry.is_reading()).map(|(partition, _)| *partition).collect();
        if requested.is_empty() {
            return Ok(());
        }
        let committed = match group.committed(&requested, REQUEST_TIMEOUT) {
            Ok(committed) => committed,
            Err(error) => return self.unanswered(error),
        };
        fault::reach("restore.offset")?;
        let mut list = TopicPartitionList::new();
        for (partition, committed) in committed {
            let ends = if self.safeguards.log_end() {
                probe.log_ends(&self.topic, partition, REQUEST_TIMEOUT)
            } else {
                log_ends(&self.reader, &self.topic, partition, REQUEST_TIMEOUT)
            };
            let LogEnds { start, end } = match ends {
                Ok(ends) => ends,
                Err(error) => {
                    self.unanswered(error)?;
                    // The next request would hold up the worker for as long.
                    break;
                }
            };
            fault::reach("restore.end")?;
            let outages = self.outages();
            let Some(entry) = self.partitions.get_mut(&partition) else { continue };
            entry.phase = Phase::Reading { committed, next: start, end };
            entry.since = Instant::now();
            entry.outages = outages;
            if start < end {
                // Not `Beginning`: a client that has just connected takes half a second longer to look that up.
                list.add_partition_offset(&self.topic, partition, Offset::Offset(start)).map_err(rebuild)?;
            }
        }
        if list.count() > 0 { self.reader.incremental_assign(&list).map_err(rebuild) } else { Ok(()) }
    }

    /// Reads for at most `timeout`, until a record or the end of a partition.
    fn read(&mut self, timeout: Duration, apply: &mut Apply<'_>) -> Result<(), RestoreError> {
        match self.reader.poll(timeout) {
            Some(Ok(record)) => {
                let outages = self.reports.counts().transport;
                let Some(entry) = self.partitions.get_mut(&record.partition()) else { return Ok(()) };
                entry.apply(&record, outages, apply)
            }
            // Only now is the position past the markers and aborted records behind the last record.
            Some(Err(KafkaError::PartitionEOF(_))) | None => self.update_positions(),
            Some(Err(error)) => self.handle(error),
        }
    }

    /// Moves every partition's next offset to the reader's position.
    fn update_positions(&mut self) -> Result<(), RestoreError> {
        let outages = self.outages();
        let positions = self.reader.position().map_err(rebuild)?;
        for element in positions.elements() {
            // `Invalid` until the first record or end of the log.
            let Offset::Offset(position) = element.offset() else { continue };
            if let Some(entry) = self.partitions.get_mut(&element.partition()) {
                entry.move_to(position, outages);
            }
        }
        Ok(())
    }

    /// Moves the partitions that have reached their log end to `restored`.
    fn collect(&mut self, restored: &mut Vec<Restored>) -> Result<(), RestoreError> {
        let (mut done, mut assigned) = (Vec::new(), Vec::new());
        for (partition, entry) in &self.partitions {
            if let Phase::Reading { committed, next, end } = entry.phase
                && next >= end
            {
                fault::reach("restore.after")?;
                done.push(Restored { partition: *partition, committed, records: entry.records });
                assigned.push(*partition);
            }
        }
        for partition in &assigned {
            self.partitions.remove(partition);
        }
        restored.extend(done);
        self.stop_reading(&assigned)
    }

    /// Takes partitions from the reader. A partition with an empty log was never assigned to it, and is ignored.
    fn stop_reading(&self, partitions: &[i32]) -> Result<(), RestoreError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let assigned = self.reader.assignment().map_err(rebuild)?;
        let mut list = TopicPartitionList::new();
        for element in assigned.elements() {
            if partitions.contains(&element.partition()) {
                list.add_partition(&self.topic, element.partition());
            }
        }
        if list.count() > 0 { self.reader.incremental_unassign(&list).map_err(rebuild) } else { Ok(()) }
    }

    /// Handles a request without an answer, which is an error only after patience has run out.
    fn unanswered(&self, error: KafkaError) -> Result<(), RestoreError> {
        if error.rdkafka_error_code().is_some_and(is_refusal) {
            return Err(RestoreError::Refused { reason: error.to_string() });
        }
        let now = Instant::now();
        let late = self.partitions.iter().find(|(_, entry)| !entry.is_reading() && now - entry.since > self.patience);
        match late {
            None => Ok(()),
            Some((partition, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
                Err(RestoreError::NoPartition { topic: self.topic.clone(), partition: *partition })
            }
            Some((partition, entry)) => Err(RestoreError::Unavailable {
                partition: *partition,
                requested: "its committed offset and log end",
                waited: now - entry.since,
                source: Some(error.into()),
            }),
        }
    }

    fn check_patience(&self) -> Result<(), RestoreError> {
        let (now, outages) = (Instant::now(), self.outages());
        for (partition, entry) in &self.partitions {
            let Phase::Reading { next, end, .. } = entry.phase else { continue };
            let (partition, waited) = (*partition, now - entry.since);
            if waited <= self.patience {
                continue;
            }
            if outages > entry.outages {
                return Err(RestoreError::Unavailable {
                    partition,
                    requested: "its changelog records",
                    waited,
                    source: None,
                });
            }
            return Err(RestoreError::Stuck { partition, next, end, waited });
        }
        Ok(())
    }

    /// Handles an error of a poll. The context has counted what librdkafka repairs by itself; here that is no error.
    fn handle(&self, error: KafkaError) -> Result<(), RestoreError> {
        use RDKafkaErrorCode as Code;
        match (error.rdkafka_error_code(), &error) {
            (Some(code), _) if is_refusal(code) => {
                self.reports.refusal().map_or(Ok(()), |reason| Err(RestoreError::Refused { reason }))
            }
            (Some(Code::Fatal | Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation), _)
            | (_, KafkaError::MessageConsumptionFatal(_)) => Err(rebuild(error)),
            _ => Ok(()),
        }
    }

    fn outages(&self) -> u64 {
        self.reports.counts().transport
    }
}

impl Partition {
    fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Reading { .. })
    }

    fn remaining(&self) -> u64 {
        match self.phase {
            Phase::Requested => 0,
            Phase::Reading { next, end, .. } => u64::try_from(end - next).unwrap_or(0),
        }
    }

    fn apply(&mut self, record: &BorrowedMessage<'_>, outages: u64, apply: &mut Apply<'_>) -> Result<(), RestoreError> {
        let (partition, offset) = (record.partition(), record.offset());
        let Phase::Reading { next, end, .. } = self.phase else { return Ok(()) };
        // Read twice, or at or beyond the end: written by another owner.
        if offset < next || offset >= end {
            self.move_to(offset + 1, outages);
            return Ok(());
        }
        let Some(key) = record.key() else { return Err(RestoreError::Stop { partition, offset }) };
        apply(partition, key, record.payload());
        fault::reach("restore.record")?;
        self.records += 1;
        self.move_to(offset + 1, outages);
        Ok(())
    }

    /// Moves the next offset forward.
    fn move_to(&mut self, position: i64, outages: u64) {
        if let Phase::Reading { next, .. } = &mut self.phase
            && position > *next
        {
            *next = position;
            self.since = Instant::now();
            self.outages = outages;
        }
    }
}

fn rebuild(error: KafkaError) -> RestoreError {
    RestoreError::Rebuild { source: error.into() }
}
