//! Restoring partitions from the changelog, in slices, several at a time.
//!
//! Hands out bytes; what they mean, and whether they agree with the group's offset, is the worker's to say.
//!
//! # The model
//!
//! ```text
//!   begin ─▶ Asking ──committed offset, then log ends──▶ Reading ──next offset ≥ log end──▶ restored
//! ```
//!
//! The order matters twice. The committed offset is asked for first, and only a *stable* one counts: librdkafka does not
//! get the offset while a transaction over it is open. Then everything that the previous owner committed lies below the
//! log end, which is asked for next, by a client that counts open transactions too. The reader itself sees committed
//! records only and may have to wait at an open transaction until the coordinator decides it.
//!
//! # Invariants
//!
//! * A partition is restored when the reader's next offset has reached the log end as it was at the beginning. The end
//!   that the reader itself reports is not enough: it stops at the first open transaction. Nor is the last record's
//!   offset: a log may end in markers, or in records of an aborted transaction, or have been compacted away.
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

/// How long one question to a broker may hold up the worker; a slower answer is asked for again.
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

/// A partition under way.
struct Partition {
    phase: Phase,
    /// When something last moved.
    since: Instant,
    /// Transport errors reported until then: more of them mean that it is the broker that hangs.
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

    /// Replaces how long nothing may move.
    pub fn with_patience(self, patience: Duration) -> Restore {
        Restore { patience, ..self }
    }

    /// Begins to restore a partition, from the beginning if it was under way.
    pub fn begin(&mut self, partition: i32) -> Result<(), RestoreError> {
        fault::reach("restore.before")?;
        self.cancel(partition)?;
        let entry = Partition { phase: Phase::Requested, since: Instant::now(), outages: self.outages(), records: 0 };
        self.partitions.insert(partition, entry);
        Ok(())
    }

    /// Drops a partition, if it is under way.
    pub fn cancel(&mut self, partition: i32) -> Result<(), RestoreError> {
        let entry = self.partitions.remove(&partition);
        if entry.is_some_and(|entry| matches!(entry.phase, Phase::Reading { .. })) {
            self.stop_reading(&[partition])?;
        }
        Ok(())
    }

    /// Drops every partition for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(i32) -> bool) -> Result<(), RestoreError> {
        let gone: Vec<i32> = self.partitions.keys().copied().filter(|partition| !keep(*partition)).collect();
        gone.into_iter().try_for_each(|partition| self.cancel(partition))
    }

    /// Returns whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Serves what the reader has to say between restores.
    pub fn serve(&self) {
        if self.is_idle() {
            serve(&self.reader);
        }
    }

    /// Goes on for about `budget`. `group` knows the committed offsets, `probe` the log ends.
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

    /// Asks for the committed offsets, then for the log ends of the partitions whose offset is known.
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
                    // The next question would hold up the worker as long.
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
                // Not `Beginning`: a client that just connected takes half a second more to find that out.
                list.add_partition_offset(&self.topic, partition, Offset::Offset(start)).map_err(rebuild)?;
            }
        }
        if list.count() > 0 { self.reader.incremental_assign(&list).map_err(rebuild) } else { Ok(()) }
    }

    /// Reads for at most `timeout`, until a record, a partition's end or nothing came.
    fn read(&mut self, timeout: Duration, apply: &mut Apply<'_>) -> Result<(), RestoreError> {
        match self.reader.poll(timeout) {
            Some(Ok(record)) => {
                let outages = self.reports.counts().transport;
                let Some(entry) = self.partitions.get_mut(&record.partition()) else { return Ok(()) };
                entry.apply(&record, outages, apply)
            }
            // Only now the position is past the markers and aborted records after the last record.
            Some(Err(KafkaError::PartitionEOF(_))) | None => self.look_at_positions(),
            Some(Err(error)) => self.sort(error),
        }
    }

    /// Moves every partition's next offset to where the reader is.
    fn look_at_positions(&mut self) -> Result<(), RestoreError> {
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

    /// Takes out the partitions that have reached their log end.
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

    /// Takes partitions from the reader; those that it was never given (an empty log) are passed by.
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

    /// Notes that a question got no answer; patience decides when that is an error.
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

    /// Sorts an error of the reader. What librdkafka repairs by itself was counted by the context.
    fn sort(&self, error: KafkaError) -> Result<(), RestoreError> {
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
        // At or beyond the end: somebody else's, or read twice.
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
