//! The worker's loop: the only place where grouping, formats and Kafka meet.
//!
//! One worker is one OS thread with one consumer and one transactional producer. It does one thing at a time, so there is
//! nothing to lock and one order in which things happen:
//!
//! ```text
//! turn:  commit, if it is time ─▶ restore a slice ─▶ punctuate what is idle ─▶ poll ─┬─ record ──▶ group, dead letter
//!                                                                                    ├─ assigned ▶ restore
//!                                                                                    ├─ revoked ─▶ commit, drop
//!                                                                                    └─ lost ────▶ abort, drop all
//! ```
//!
//! Everything that a record causes becomes visible in one transaction: sessions, dead letters, changelog and offset, or
//! none of them. Nothing is written outside of one.
//!
//! # Invariants
//!
//! * A transaction carries the offset of every partition that it touches, moved or not: what was done by a timer is fenced
//!   like what was done by a record.
//! * Memory changes in place, under an undo log, until the commit has succeeded. If it has surely failed, the log is played
//!   back. If the outcome is unknown, all memory is dropped ([`Failure::Rebuild`]).
//! * A partition's state is that of its committed changelog, and what the open transaction has changed since. It starts only
//!   where the marker and the group's committed offset agree.
//! * Decisions take [`Now`]; other clock readings are for metrics only. The broker is a trait. So the loop runs in a simulation as it runs in production.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::clock;
use crate::metrics::{self, Counts, Metrics, Phase};
use crate::partition::{Partition, Record};
use livesession_formats::changelog::Reducer;
use livesession_formats::notification::{Decoder, Notification, Reason};
use livesession_grouping::Outcome;
use livesession_grouping::time::Timestamp;
use livesession_kafka as kafka;
use livesession_kafka::{Broker, Input};

mod failure;
mod idle;
mod publish;
mod refuse;
mod restore;
mod settings;
mod show;
pub mod thread;

pub use failure::Failure;
pub use settings::{BETWEEN_SLICES, SLICE, Settings, Topics};

/// The two clocks, read once per turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall time: for timestamps and punctuation.
    pub wall: Timestamp,
    /// Monotonic time since the process began: for intervals.
    pub elapsed: Duration,
}

/// How long a poll may wait when there is nothing else to do.
const POLL: Duration = Duration::from_millis(100);

/// How long restoring may take of a turn; other partitions run on in between.
const RESTORE_SLICE: Duration = Duration::from_millis(50);

/// How often idle partitions are looked at.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// How long a commit may take when partitions are about to be given away.
const REVOKE_BUDGET: Duration = Duration::from_secs(5);

/// How often the sizes of what is in memory are shown: counting looks at every session.
const SIZES: Duration = Duration::from_secs(10);

/// The rest after a transaction that failed: doubled with each in a row, from the first to the last. What is refused for good
/// must fill neither the log nor a broker's time.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// One record in so many is timed while it is decoded: reading the clock costs a twentieth of what it measures.
const TIMED: u64 = 64;

/// One worker: a consumer, a producer, and the state of the partitions that it owns.
pub struct Worker<'b, B: Broker> {
    broker: &'b B,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    decoder: Decoder,
    owned: BTreeMap<i32, Owned>,
    transaction: Option<Transaction>,
    /// Counts of the transaction under way, kept from one to the next for their memory.
    counts: Counts,
    records: u64,
    idle_checked: Duration,
    /// When idle partitions may be looked at again after a broker did not answer.
    idle_not_before: Duration,
    /// How many records may still be read before the next slice of restoring.
    before_restore: usize,
    sizes_shown: Duration,
    /// How many sessions a transaction publishes at most: less than the setting after one that failed.
    slice: usize,
    /// The rest after the last transaction; zero if it was committed.
    rest: Duration,
    /// Whether that rest is still to come.
    must_rest: bool,
    errors: kafka::ErrorCounts,
    is_member: bool,
}

/// A partition that is ours.
enum Owned {
    /// `doubt`: why the last look at the changelog was not believed.
    Restoring {
        reducer: Box<Reducer>,
        since: Duration,
        doubt: Option<String>,
    },
    Running(Box<Running>),
}

struct Running {
    state: Partition,
    /// When its watermark last moved, or it began to run.
    moved: Duration,
    /// Whether more is due than the last transaction could publish.
    has_more: bool,
    /// Whether nothing of it has been committed yet, not even where it begins.
    is_new: bool,
}

/// A transaction under way.
struct Transaction {
    /// When the first turn after it began; `None` until then. Beginning may have replaced the producer, and taken longer
    /// than a commit interval: counted from before, each transaction would be one record.
    since: Option<Duration>,
    records: usize,
    touched: BTreeSet<i32>,
}

impl Transaction {
    /// Takes a partition in, unless it is in already: its offset is committed, and its state can be rolled back.
    fn touch(&mut self, partition: i32, state: &mut Partition) {
        if self.touched.insert(partition) {
            state.begin();
        }
    }
}

impl<'b, B: Broker> Worker<'b, B> {
    pub fn new(broker: &'b B, settings: Arc<Settings>, metrics: Arc<Metrics>) -> Worker<'b, B> {
        let decoder = Decoder::new(settings.rules);
        let counts = metrics.counts();
        let slice = settings.slice;
        Worker {
            broker,
            settings,
            metrics,
            decoder,
            owned: BTreeMap::new(),
            transaction: None,
            counts,
            records: 0,
            idle_checked: Duration::ZERO,
            idle_not_before: Duration::ZERO,
            before_restore: 0,
            sizes_shown: Duration::ZERO,
            slice,
            rest: Duration::ZERO,
            must_rest: false,
            errors: kafka::ErrorCounts::default(),
            is_member: false,
        }
    }

    /// Does one turn of the loop. Returns how long the caller has to rest before the next one: no time, unless a transaction
    /// failed.
    ///
    /// # Errors
    ///
    /// [`Failure`]: the worker is of no more use. Whatever it had begun is undone by whoever comes next.
    pub fn turn(&mut self, now: Now) -> Result<Duration, Failure> {
        if let Some(transaction) = &mut self.transaction {
            transaction.since.get_or_insert(now.elapsed);
        }
        if self.is_commit_due(now) {
            self.commit(self.settings.commit_timeout)?;
        }
        if self.before_restore == 0 {
            self.step_restore(now)?;
            self.before_restore = self.settings.between_slices;
        }
        if now.elapsed.saturating_sub(self.idle_checked) >= IDLE_CHECK {
            self.idle_checked = now.elapsed;
            self.count_errors();
            self.punctuate(now)?;
            self.show_lag();
        }
        if now.elapsed.saturating_sub(self.sizes_shown) >= SIZES {
            self.sizes_shown = now.elapsed;
            self.show_sizes();
        }
        let timeout = if self.restoring() > 0 { Duration::ZERO } else { self.poll_timeout(now) };
        let broker = self.broker;
        let start = clock::instant();
        let input = broker.poll(timeout)?;
        // As with decoding, one record in so many stands for the others; whatever else comes is measured each time.
        match input {
            Input::Record(_) if !self.records.is_multiple_of(TIMED) => {}
            Input::Record(_) => self.metrics.record_time(Phase::Poll, start.elapsed() * TIMED as u32),
            _ => self.metrics.record_time(Phase::Poll, start.elapsed()),
        }
        self.before_restore = if let Input::Record(_) = input { self.before_restore.saturating_sub(1) } else { 0 };
        match input {
            Input::Record(record) => self.read(&record, now)?,
            Input::Assigned(partitions) => self.assigned(&partitions, now)?,
            Input::Revoked(partitions) => self.revoked(&partitions)?,
            Input::Lost(partitions) => self.lost(&partitions)?,
            Input::Idle => {}
        }
        if !std::mem::take(&mut self.must_rest) {
            return Ok(Duration::ZERO);
        }
        // The poll may have told why the transaction failed, so a turn is whole; but what it has begun is open meanwhile.
        if let Some(transaction) = &mut self.transaction {
            transaction.since.get_or_insert(now.elapsed);
        }
        Ok(self.rest)
    }

    /// Commits what is under way: the last thing to do before the consumer is closed. Open sessions stay open.
    ///
    /// # Errors
    ///
    /// As [`Worker::turn`]. Nothing is lost then; whoever comes next does it again.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.commit(self.settings.commit_timeout)
    }

    /// Drops all memory: the metrics show nothing of these partitions any more.
    pub fn forget_all(&mut self) {
        let partitions: Vec<i32> = self.owned.keys().copied().collect();
        self.drop_partitions(&partitions);
    }

    /// Returns whether the group has given us an assignment, be it empty.
    pub fn is_member(&self) -> bool {
        self.is_member
    }

    /// Returns how many partitions are being restored.
    pub fn restoring(&self) -> usize {
        self.owned.values().filter(|owned| matches!(owned, Owned::Restoring { .. })).count()
    }

    fn is_commit_due(&self, now: Now) -> bool {
        let is_old = |transaction: &Transaction| {
            transaction.since.is_some_and(|since| now.elapsed.saturating_sub(since) >= self.settings.commit_interval)
                || transaction.records >= self.settings.commit_max_records
        };
        self.transaction.as_ref().is_some_and(is_old) || self.has_more()
    }

    /// Returns whether more is due than the last transaction could publish.
    pub fn has_more(&self) -> bool {
        self.partitions_with_due().next().is_some()
    }

    /// Returns the states of the partitions that are running.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.owned.values().filter_map(|owned| match owned {
            Owned::Running(running) => Some(&running.state),
            Owned::Restoring { .. } => None,
        })
    }

    fn poll_timeout(&self, now: Now) -> Duration {
        if self.has_more() {
            return Duration::ZERO;
        }
        let Some(transaction) = &self.transaction else { return POLL };
        (transaction.since.unwrap_or(now.elapsed) + self.settings.commit_interval).saturating_sub(now.elapsed).min(POLL)
    }

    /// Reads a record of a running partition, and counts what becomes of it (rule: conservation).
    fn read(&mut self, record: &kafka::Record<'_>, now: Now) -> Result<(), Failure> {
        let (partition, offset) = (record.partition(), record.offset());
        let Some(Owned::Running(running)) = self.owned.get_mut(&partition) else { return Ok(()) };
        if offset < running.state.next_offset() {
            let next = running.state.next_offset();
            let what = format!("received offset {offset} below next expected offset {next} in partition {partition}");
            return Err(Failure::Defect { what });
        }
        let transaction = begin(self.broker, &mut self.transaction)?;
        transaction.touch(partition, &mut running.state);
        let watermark = running.state.watermark();
        let timestamp = record.timestamp().and_then(Timestamp::from_ms);
        let input = Record { offset, timestamp, value: record.value() };
        self.records += 1;
        let timer = self.records.is_multiple_of(TIMED).then(clock::instant);
        let notification = self.decoder.decode(input.value, timestamp);
        let decoded = timer.map(|start| start.elapsed());
        let applied = running.state.apply(input, notification, now.wall);
        if let (Some(start), Some(decoded)) = (timer, decoded) {
            self.metrics.record_time(Phase::Decode, decoded * TIMED as u32);
            self.metrics.record_time(Phase::Group, start.elapsed().saturating_sub(decoded) * TIMED as u32);
        }
        transaction.records += 1;
        let counts = &mut self.counts;
        counts.read();
        if running.state.watermark() != watermark {
            running.moved = now.elapsed;
            let is_hint = applied == Ok(Outcome::Hint);
            counts.advance(if is_hint { metrics::Advance::Hint } else { metrics::Advance::Segment });
        }
        counts.outcome(applied.unwrap_or_else(Reason::outcome));
        match (applied, notification) {
            (Ok(Outcome::Accepted), Notification::Segment { segment, .. }) => {
                segment.anomalies.iter().for_each(|anomaly| counts.anomaly(anomaly.as_str()));
            }
            (Ok(_), _) => {}
            (Err(reason), _) => {
                counts.dead_letter(reason.as_str());
                match self.send_dead_letter(record, timestamp, reason) {
                    Err(kafka::TransactionError::Abort { step, source }) => {
                        self.metrics.record_transaction(metrics::Transaction::Aborted, None);
                        return self.try_again(step, &source);
                    }
                    sent => sent?,
                }
            }
        }
        Ok(())
    }

    fn revoked(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        info!(?partitions, "partitions revoked");
        self.metrics.record_rebalance(metrics::Rebalance::Revoke);
        // All partitions together, also those that stay: their offsets and ours are one transaction.
        self.commit(REVOKE_BUDGET)?;
        // Others wait for these partitions: the next poll gives them away.
        self.must_rest = false;
        self.drop_partitions(partitions);
        Ok(())
    }

    fn lost(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        warn!(?partitions, "partitions lost: somebody else may own them already");
        self.metrics.record_rebalance(metrics::Rebalance::Lost);
        // Dropped first: there is nothing to seek on what is not ours.
        self.drop_partitions(partitions);
        self.abort()
    }

    fn drop_partitions(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.owned.remove(partition);
            self.metrics.revoked(*partition);
        }
    }

    /// Ends the transaction: publishes what is due, writes the changelog, commits.
    fn commit(&mut self, timeout: Duration) -> Result<(), Failure> {
        // What a slice left over makes a transaction of its own, though nothing was read.
        let with_due: Vec<i32> = self.partitions_with_due().collect();
        if self.transaction.is_none() && with_due.is_empty() {
            return Ok(());
        }
        begin(self.broker, &mut self.transaction)?;
        let Some(mut transaction) = self.transaction.take() else { return Ok(()) };
        for partition in with_due {
            if let Some(Owned::Running(running)) = self.owned.get_mut(&partition) {
                transaction.touch(partition, &mut running.state);
            }
        }
        let start = clock::instant();
        let committed = self.write_and_commit(&transaction, timeout);
        let took = start.elapsed();
        match committed {
            Ok(()) => {
                for partition in &transaction.touched {
                    if let Some(Owned::Running(running)) = self.owned.get_mut(partition) {
                        running.state.committed();
                        running.is_new = false;
                    }
                }
                self.metrics.commit(&self.counts, clock::now());
                self.counts.clear();
                self.rest = Duration::ZERO;
                self.slice = (self.slice * 2).min(self.settings.slice);
                self.metrics.record_transaction(metrics::Transaction::Committed, Some(took));
                self.show_watermarks(&transaction.touched);
                debug!(records = transaction.records, partitions = transaction.touched.len(), "committed");
                Ok(())
            }
            Err(kafka::TransactionError::Abort { step, source }) => {
                self.metrics.record_transaction(metrics::Transaction::Aborted, Some(took));
                self.transaction = Some(transaction);
                self.try_again(step, &source)
            }
            Err(error) => {
                let outcome = match error {
                    kafka::TransactionError::Fenced { .. } => metrics::Transaction::Fenced,
                    _ => metrics::Transaction::Unknown,
                };
                self.metrics.record_transaction(outcome, Some(took));
                Err(error.into())
            }
        }
    }

    /// Gives up a transaction that failed; what it was to do is done again, in smaller slices.
    fn try_again(&mut self, step: kafka::TransactionStep, source: &kafka::Cause) -> Result<(), Failure> {
        let records = self.transaction.as_ref().map_or(0, |transaction| transaction.records);
        warn!(%step, error = %source, records, "transaction failed, trying again");
        self.rest = (self.rest * 2).clamp(REST.0, REST.1);
        self.must_rest = true;
        // Long sessions can make a slice that takes longer to deliver than a transaction may last.
        self.slice = (self.slice / 2).max(1);
        self.abort()
    }

    /// Gives up the transaction and goes back to where the last one ended.
    fn abort(&mut self) -> Result<(), Failure> {
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        self.counts.clear();
        self.broker.abort()?;
        for partition in transaction.touched {
            if let Some(Owned::Running(running)) = self.owned.get_mut(&partition) {
                running.state.rolled_back();
                // What was due before the transaction began is due again.
                running.has_more = running.state.has_due();
            }
        }
        for (partition, owned) in &self.owned {
            if let Owned::Running(running) = owned {
                self.broker.start(*partition, running.state.next_offset())?;
            }
        }
        Ok(())
    }

    fn partitions_with_due(&self) -> impl Iterator<Item = i32> {
        let has_due = |owned: &Owned| matches!(owned, Owned::Running(running) if running.has_more || running.is_new);
        self.owned.iter().filter(move |(_, owned)| has_due(owned)).map(|(partition, _)| *partition)
    }

    /// Passes on to the metrics what librdkafka has reported since the last time.
    fn count_errors(&mut self) {
        let (errors, before) = (self.broker.errors(), self.errors);
        let kinds = [
            (metrics::KafkaError::Transport, errors.transport, before.transport),
            (metrics::KafkaError::Auth, errors.auth, before.auth),
            (metrics::KafkaError::Timeout, errors.timeout, before.timeout),
            (metrics::KafkaError::Other, errors.other, before.other),
        ];
        for (kind, now, before) in kinds {
            (before..now).for_each(|_| self.metrics.record_kafka_error(kind));
        }
        self.errors = errors;
    }
}

/// Returns the transaction under way, or begins one.
fn begin<'t, B: Broker>(broker: &B, transaction: &'t mut Option<Transaction>) -> Result<&'t mut Transaction, Failure> {
    if transaction.is_none() {
        broker.begin()?;
        *transaction = Some(Transaction { since: None, records: 0, touched: BTreeSet::new() });
    }
    transaction.as_mut().ok_or_else(|| Failure::Defect { what: "no transaction although one was begun".to_owned() })
}

#[cfg(test)]
mod tests;
