//! librdkafka's callbacks: errors, delivery reports, rebalances, statistics.
//!
//! A context only takes notes. Consumer and producer read them on the worker's thread, and act. All callbacks run within
//! `poll` or in the thread that serves an abort, so no lock here is held for long, nor while another is taken.
//!
//! # Rebalances
//!
//! `rebalance` is overridden as a whole, because rdkafka's own gives partitions away before the worker can commit. An
//! assignment is accepted at once, paused. A revocation is *not* answered here: librdkafka waits for the answer, reads
//! nothing meanwhile, and stays in the group; the consumer answers at its next poll. Lost partitions are given up at once.
//! While the client closes, so are revoked ones, since the worker no longer polls.

use std::collections::VecDeque;
use std::collections::btree_map::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::librdkafka::codes::{Kind, kind};
use crate::librdkafka::native;
use crate::values::{ErrorCounts, KnownEnds};

/// The errors that all clients of one worker have reported.
#[derive(Debug, Default)]
pub struct Reports {
    transport: AtomicU64,
    auth: AtomicU64,
    timeout: AtomicU64,
    other: AtomicU64,
    /// The first refusal, in the broker's words.
    refusal: Mutex<Option<String>>,
    /// The last error of any kind.
    last: Mutex<String>,
}

impl Reports {
    fn record(&self, error: &KafkaError, reason: &str) -> Kind {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            // Comes as an error, but says only that everything was read.
            return Kind::Other;
        }
        let kind = kind(error, reason);
        let counter = match kind {
            Kind::Transport => &self.transport,
            Kind::Auth => &self.auth,
            Kind::Timeout => &self.timeout,
            Kind::Other => &self.other,
        };
        if kind == Kind::Auth {
            lock(&self.refusal).get_or_insert_with(|| format!("{error}: {reason}"));
        }
        reason.clone_into(&mut lock(&self.last));
        // Last, so that a reader that sees the count sees the refusal, too.
        counter.fetch_add(1, Ordering::Release);
        kind
    }

    pub fn counts(&self) -> ErrorCounts {
        ErrorCounts {
            transport: self.transport.load(Ordering::Acquire),
            auth: self.auth.load(Ordering::Acquire),
            timeout: self.timeout.load(Ordering::Acquire),
            other: self.other.load(Ordering::Acquire),
        }
    }

    /// Returns the broker's reason for refusing a login, certificate or permission, if it has.
    ///
    /// It comes only through this callback: to the calls themselves a wrong password is one time-out after another.
    pub fn refusal(&self) -> Option<String> {
        if self.auth.load(Ordering::Acquire) == 0 {
            return None;
        }
        lock(&self.refusal).clone()
    }

    /// Returns the reason for the last error, which says more than its code.
    pub fn last(&self) -> String {
        lock(&self.last).clone()
    }
}

/// Logs librdkafka's own lines, one level lower: it logs as errors what it repairs by itself.
fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    match level {
        Emerg | Alert | Critical | Error | Warning => tracing::warn!(target: "librdkafka", facility, "{text}"),
        Notice | Info => tracing::debug!(target: "librdkafka", facility, "{text}"),
        Debug => tracing::trace!(target: "librdkafka", facility, "{text}"),
    }
}

/// The context of a client that neither joins a group nor produces.
#[derive(Debug)]
pub struct PlainContext {
    pub reports: Arc<Reports>,
}

impl ClientContext for PlainContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.record(&error, reason);
    }
}

impl ConsumerContext for PlainContext {}

/// The context of the transactional producer.
#[derive(Debug)]
pub struct TransactionContext {
    reports: Arc<Reports>,
    /// Set by the first failed delivery, for good.
    failed: AtomicBool,
    failure: Mutex<Option<KafkaError>>,
    /// Set by the first error of any kind, for good.
    had_error: AtomicBool,
    /// Set by the first error of an outage, for good.
    had_outage: AtomicBool,
}

impl TransactionContext {
    pub fn new(reports: Arc<Reports>) -> TransactionContext {
        TransactionContext {
            reports,
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            had_error: AtomicBool::new(false),
            had_outage: AtomicBool::new(false),
        }
    }

    /// Returns whether a delivery failed.
    pub fn delivery_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Returns the error of the first failed delivery.
    pub fn delivery_failure(&self) -> Option<KafkaError> {
        lock(&self.failure).clone()
    }

    /// Returns whether librdkafka has reported any error, behind which a retried commit may be hidden.
    pub fn had_error(&self) -> bool {
        self.had_error.load(Ordering::Acquire)
    }

    /// Returns whether there was an outage, after which the coordinator may fence this producer without a duplicate instance.
    pub fn had_outage(&self) -> bool {
        self.had_outage.load(Ordering::Acquire)
    }
}

impl ClientContext for TransactionContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if matches!(self.reports.record(&error, reason), Kind::Transport | Kind::Timeout) {
            self.had_outage.store(true, Ordering::Release);
        }
        self.had_error.store(true, Ordering::Release);
    }
}

impl ProducerContext for TransactionContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, _)) = result else { return };
        // An abort drops what is still queued, as it should.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PurgeQueue) {
            return;
        }
        lock(&self.failure).get_or_insert_with(|| error.clone());
        self.failed.store(true, Ordering::Release);
    }
}

/// A change of the assignment, for the consumer to handle after the poll that brought it.
#[derive(Debug)]
pub enum Change {
    /// Ours, paused.
    Assigned(Vec<i32>),
    /// To be given away; librdkafka waits for the answer.
    Revoked(Vec<i32>),
    /// Given up already.
    Lost(Vec<i32>),
    /// librdkafka refused the answer to a rebalance.
    Failed(KafkaError),
}

/// The context of the group consumer.
#[derive(Debug)]
pub struct GroupContext {
    pub reports: Arc<Reports>,
    topic: String,
    changes: Mutex<VecDeque<Change>>,
    ends: Mutex<BTreeMap<i32, KnownEnds>>,
    closing: AtomicBool,
}

impl GroupContext {
    pub fn new(reports: Arc<Reports>, topic: &str) -> GroupContext {
        GroupContext {
            reports,
            topic: topic.to_owned(),
            changes: Mutex::new(VecDeque::new()),
            ends: Mutex::new(BTreeMap::new()),
            closing: AtomicBool::new(false),
        }
    }

    pub fn next_change(&self) -> Option<Change> {
        lock(&self.changes).pop_front()
    }

    #[cfg(test)]
    pub fn push_change(&self, change: Change) {
        lock(&self.changes).push_back(change);
    }

    /// Returns the ends of a partition's log as of the last statistics.
    pub fn known_ends(&self, partition: i32) -> Option<KnownEnds> {
        lock(&self.ends).get(&partition).copied()
    }

    /// Answers every revocation at once from now on.
    pub fn set_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Accepts an assignment, paused.
    ///
    /// Paused before as well as after, so that hardly a fetch goes out before the partition is started at its own offset.
    /// The assigned offset is a number that the log has. The alternatives fail:
    /// * no offset: librdkafka would ask for the committed one, and a fresh partition has none;
    /// * the logical end or beginning: librdkafka asks the broker, and if a seek comes before the answer, it drops the answer
    ///   and *asks again, which undoes the seek* half a second later. The partition would continue from the end.
    fn assign(&self, consumer: &BaseConsumer<GroupContext>, assigned: &TopicPartitionList) -> KafkaResult<Change> {
        const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
        let partitions = partitions(assigned);
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let mut answered = true;
        for partition in &partitions {
            // After one request without an answer, the others would hold up the poll for as long.
            let ends =
                answered.then(|| consumer.fetch_watermarks(&self.topic, *partition, REQUEST_TIMEOUT).ok()).flatten();
            answered = ends.is_some();
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(ends.map_or(0, |(start, _)| start)))?;
        }
        consumer.pause(&list)?;
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&list)?,
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(&list)?,
        }
        consumer.pause(&list)?;
        Ok(Change::Assigned(partitions))
    }

    /// Notes a revocation, or gives up at once what is lost.
    fn revoke(&self, consumer: &BaseConsumer<GroupContext>, revoked: &TopicPartitionList) -> KafkaResult<Change> {
        let partitions = partitions(revoked);
        // After an outage `assignment_lost` can stay false although the coordinator has removed this member.
        let lost = consumer.assignment_lost() || !native::membership(consumer).is_some_and(|own| own.is_member());
        if lost || self.closing.load(Ordering::Acquire) {
            unassign(consumer, revoked)?;
            return Ok(Change::Lost(partitions));
        }
        Ok(Change::Revoked(partitions))
    }
}

/// Gives partitions away: the answer to a revocation.
pub fn unassign(consumer: &BaseConsumer<GroupContext>, revoked: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(revoked),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.record(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let mut ends = lock(&self.ends);
        ends.clear();
        for (partition, known) in &topic.partitions {
            // Negative: not known yet. Partition -1 is internal to librdkafka.
            if *partition >= 0 && known.hi_offset >= 0 {
                ends.insert(*partition, KnownEnds { stable: known.ls_offset.max(0), end: known.hi_offset });
            }
        }
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let change = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            _ => self.revoke(consumer, list),
        };
        lock(&self.changes).push_back(change.unwrap_or_else(Change::Failed));
    }
}

/// Locks. A panic leaves no value half-written: every guarded value is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::Global(code)
    }

    #[test]
    fn first_refusal_is_kept_and_everything_is_counted() {
        let reports = Reports::default();
        assert_eq!(reports.refusal(), None);
        reports.record(&global(RDKafkaErrorCode::BrokerTransportFailure), "refused");
        assert_eq!(reports.refusal(), None);
        reports.record(&global(RDKafkaErrorCode::Authentication), "first");
        reports.record(&global(RDKafkaErrorCode::Authentication), "second");
        assert!(reports.refusal().unwrap().ends_with("first"));
        assert_eq!(reports.last(), "second");
        reports.record(&global(RDKafkaErrorCode::PartitionEOF), "reached the end");
        assert_eq!(reports.last(), "second");
        assert_eq!(reports.counts(), ErrorCounts { transport: 1, auth: 2, timeout: 0, other: 0 });
    }

    #[test]
    fn every_client_reports_and_an_outage_is_remembered() {
        let reports = Arc::new(Reports::default());
        let outage = global(RDKafkaErrorCode::BrokerTransportFailure);
        PlainContext { reports: Arc::clone(&reports) }.error(outage.clone(), "refused");
        GroupContext::new(Arc::clone(&reports), "input").error(outage.clone(), "refused");
        let producer = TransactionContext::new(Arc::clone(&reports));
        assert!(!producer.had_error() && !producer.had_outage());
        producer.error(global(RDKafkaErrorCode::Fail), "something else");
        assert!(producer.had_error() && !producer.had_outage());
        for error in [outage, global(RDKafkaErrorCode::OperationTimedOut)] {
            let producer = TransactionContext::new(Arc::clone(&reports));
            producer.error(error, "");
            assert!(producer.had_error() && producer.had_outage());
        }
        assert_eq!(reports.counts(), ErrorCounts { transport: 3, auth: 0, timeout: 1, other: 1 });
    }

    #[test]
    fn log_ends_are_those_of_the_last_statistics() {
        use rdkafka::statistics::{Partition, Topic};
        let context = GroupContext::new(Arc::default(), "input");
        let look = |partitions: &[(i32, i64, i64)]| {
            let known = |(partition, ls_offset, hi_offset): &(i32, i64, i64)| {
                (*partition, Partition { ls_offset: *ls_offset, hi_offset: *hi_offset, ..Partition::default() })
            };
            let topic = Topic { partitions: partitions.iter().map(known).collect(), ..Topic::default() };
            let topics = [("input".to_owned(), topic)].into_iter().collect();
            context.stats(Statistics { topics, ..Statistics::default() });
            [-1, 0, 1, 2].map(|partition| context.known_ends(partition).map(|ends| (ends.stable, ends.end)))
        };
        // One is internal, one is not known yet, and one has no stable offset yet.
        assert_eq!(
            look(&[(-1, 3, 3), (0, -1001, -1001), (1, 7, 9), (2, -1001, 4)]),
            [None, None, Some((7, 9)), Some((0, 4))]
        );
        assert_eq!(
            look(&[(0, 5, 5)]),
            [None, Some((5, 5)), None, None],
            "the ends of a revoked partition are forgotten"
        );
    }
}
