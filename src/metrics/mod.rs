//! The metrics of the program.
//!
//! One struct with its own registry and no globals, so that a test holds its own. The name of a field is the name of its
//! metric, and the first line of its documentation is the help text; what follows is for the operator who sees it move.
//! `UPDATE=1 cargo test --test project generated` lists names, types, labels and help texts in `schemas/metrics.txt`.
//!
//! # Model
//!
//! | kind | moves | by |
//! | --- | --- | --- |
//! | data counters and histograms | when a transaction commits | [`Metrics::commit`] with the [`Counts`] of that transaction |
//! | counters of attempts (transactions, rebalances, errors, seconds) | when it happens | a `record_…` method each |
//! | gauges of a partition | when the worker sets them | [`Metrics::assigned`] makes them, [`Metrics::revoked`] drops them |
//! | gauges of the process | at each scrape, as sums over partitions and loops | [`Metrics::render`] |
//!
//! Several workers of one process share the struct. Their partitions are disjoint, so the sums are right. No label names
//! the worker: partitions move between workers, and alerts only need the sum.
//!
//! # Invariants
//!
//! * `input_records_read_total` = sum of `input_records_total`, and `dead_letters_total` = conflict + late + rejected,
//!   whenever no commit is under way.
//! * A series of a partition exists only while a worker of this process owns it: a gauge left behind would be summed
//!   with that of the next owner.
//! * Reads no clock: times are arguments. Depends on no module but `time`.
//!
//! Counters are not looked up by label text at each use, as the crate suggests: that hashes the text and takes a lock for
//! each record. Handles are resolved once, here.

mod counts;
mod define;
mod labels;
mod partitions;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

pub use counts::{Closed, Counts};
pub use labels::{
    Advance, Change, HttpClose, IndexFile, IndexTransaction, KafkaError, Labels, Outcome, Phase, Rebalance, Transaction,
};
pub use partitions::Sizes;

use livesession_grouping::time::Timestamp;

define::metrics! {
    /// Everything that is measured, and the registry that shows it.
    ///
    /// A family with a closed list of label values is a list of handles in the order of that list.
    pub struct Metrics(labels: Labels) {
        turns: Mutex<Vec<Arc<Turn>>>,
        partitions: Mutex<partitions::Partitions>,
    }

    /// Input records read, in committed transactions.
    ///
    /// Counted where the consumer hands a record over. If it differs for long from the sum of `input_records_total`, a
    /// record was lost inside this program: stop it and keep the log.
    input_records_read_total: IntCounter = counter();

    /// Input records by outcome, in committed transactions.
    ///
    /// Counted where the outcome is decided. `late` that grows with a backlog is a replay or a mirror; without one, a sender
    /// that is a day behind, or one partition that holds streams of very different clocks.
    input_records_total: Vec<IntCounter> = counters("outcome", Outcome::NAMES);

    /// Records written to the dead letter topic, by reason.
    ///
    /// Equal to conflict + late + rejected. `livesession dlq list --count` shows which, `dlq list` the records.
    dead_letters_total: Vec<IntCounter> = counters("reason", labels.reasons);

    /// Anomalies of accepted notifications, by kind.
    ///
    /// Nothing was lost. An early sign of an unhealthy sender, before its notifications have to be refused.
    segment_anomalies_total: Vec<IntCounter> = counters("kind", labels.anomalies);

    /// Watermark advances, by what caused them.
    ///
    /// Only `punctuation` on a busy topic: no recording notifications arrive, only other events.
    watermark_advances_total: Vec<IntCounter> = counters("by", Advance::NAMES);

    /// Session publications, by what they changed.
    ///
    /// Many amended for each closed: `notification_delay` is shorter than notifications take, or `recording_interval` is
    /// shorter than files are.
    publications_total: Vec<IntCounter> = counters("change", Change::NAMES);

    /// Sessions published for the first time, by cause of the close.
    ///
    /// `max_hold` rising: ends of pushes get lost. `limit` rising: streams that never stop, or a limit set too low.
    sessions_closed_total: Vec<IntCounter> = counters("cause", labels.causes);

    /// Closed sessions forgotten, that is dropped from memory, by partition.
    ///
    /// If this stands still while sessions close, look at the watermark.
    sessions_forgotten_total: IntCounterVec = counter_family(&["partition"]);

    /// Delay from the moment a session could close to the commit that published it.
    ///
    /// The service level: a backlog and a missing punctuation both show here. First publications only. In a back-fill it
    /// measures the age of the data and means nothing.
    publish_delay_seconds: Histogram = histogram(define::DELAY);

    /// Duration of sessions, from start to end, at first publication.
    session_duration_seconds: Histogram = histogram(define::SESSION);

    /// Segments per session, at first publication.
    session_segments: Histogram = histogram(define::SEGMENTS);

    /// Gaps within sessions, at first publication.
    ///
    /// Many just under `grouping.gap`: it is too short, and other sessions were cut in two by it.
    session_gap_seconds: Histogram = histogram(define::GAP);

    /// Sessions in memory, by state.
    ///
    /// `closed` sessions are remembered until nothing that touches them could still be accepted; about a day and a half by
    /// default.
    sessions_in_memory: Vec<IntGauge> = gauges("state", &["open", "closed"]);

    /// Size of the sessions in memory, texts and fixed parts.
    ///
    /// For sizing: the resident memory is a small multiple of this.
    state_bytes: IntGauge = gauge();

    /// Partitions of the input topic.
    ///
    /// Larger than the sum of `assigned_partitions`: no worker reads some of them.
    input_partitions: IntGauge = gauge();

    /// Partitions assigned to this process.
    ///
    /// 0 is healthy where there are more workers than partitions.
    assigned_partitions: IntGauge = gauge();

    /// Partitions whose state is being restored.
    ///
    /// They read nothing meanwhile; the others do. If this stays above 0, look at `restore_remaining_records`.
    restoring_partitions: IntGauge = gauge();

    /// Records between the committed offset and the end of the log, by partition.
    ///
    /// Includes what has been read but not committed. If it grows while the loop is not busy, a producer upstream has left a
    /// transaction open.
    partition_lag_records: IntGaugeVec = gauge_family(&["partition"]);

    /// Watermark in event time, by partition.
    ///
    /// If it stands still while there is lag, everything is refused, or nothing can be read.
    partition_watermark_timestamp_seconds: GaugeVec = timestamp_family(&["partition"]);

    /// Kafka transactions, by outcome.
    ///
    /// `fenced`: another process runs with the same transactional id. `aborted` without an end: the log names the record or
    /// the topic. `unknown` is repaired by a rebuild of the worker.
    transactions_total: Vec<IntCounter> = counters("outcome", Transaction::NAMES);

    /// Duration of transaction commits, from the first request to the outcome.
    transaction_duration_seconds: Histogram = histogram(define::COMMIT);

    /// Time spent in the worker loops, by phase.
    ///
    /// The rate is the busy share of a thread. `poll` includes waiting for records, the rest is work.
    loop_seconds_total: Vec<Counter> = seconds("phase", Phase::NAMES);

    /// Time of the latest turn of the slowest loop in this process.
    ///
    /// `/livez` judges by the same number. If it is old, a thread hangs: restart, the state is in Kafka.
    last_turn_timestamp_seconds: Gauge = timestamp();

    /// Partition assignment changes, by kind.
    ///
    /// `lost`: the group removed the worker. A turn took longer than the session, or the network was away.
    rebalances_total: Vec<IntCounter> = counters("kind", Rebalance::NAMES);

    /// Changelog records left to read before all partitions are restored.
    restore_remaining_records: IntGauge = gauge();

    /// Duration of restores, from the assignment of the partition to the end of its changelog.
    restore_duration_seconds: Histogram = histogram(define::RESTORE);

    /// Errors reported by the Kafka client, by kind.
    ///
    /// `auth`: a rotated secret or an ACL, which no waiting repairs. The others come with every restart of a broker.
    kafka_errors_total: Vec<IntCounter> = counters("kind", KafkaError::NAMES);

    /// Records of the sessions topic that are not in the index yet, by partition.
    index_lag_records: IntGaugeVec = gauge_family(&["partition"]);

    /// Time of the latest commit to the index.
    ///
    /// 0 where no index runs in this process. Old with a lag: the disk is full, or a reader holds a lock.
    index_last_commit_timestamp_seconds: Gauge = timestamp();

    /// Index transactions, by outcome.
    index_transactions_total: Vec<IntCounter> = counters("outcome", IndexTransaction::NAMES);

    /// Size of the index files, by file.
    ///
    /// A write-ahead log that only grows: a reader never ends.
    index_size_bytes: Vec<IntGauge> = gauges("file", IndexFile::NAMES);

    /// Open HTTP connections.
    ///
    /// At most 512, and fewer under a low limit of open files; the log says how many at the start.
    http_connections: IntGauge = gauge();

    /// HTTP connections closed by the server, by reason.
    ///
    /// `room` moving: all are in use, and the oldest is closed for each new one. `head` moves with every idle connection.
    http_connections_closed_total: Vec<IntCounter> = counters("reason", HttpClose::NAMES);

    /// HTTP requests, by route and status code.
    http_requests_total: IntCounterVec = counter_family(&["route", "code"]);

    /// Duration of HTTP requests, by route.
    http_request_duration_seconds: HistogramVec = histogram_family(define::REQUEST, &["route"]);

    /// Versions of the program and its libraries; the value is always 1.
    build_info: IntGaugeVec = gauge_family(&["version", "librdkafka", "sqlite"]);

    /// Application id and topics of this process; the value is always 1.
    config_info: IntGaugeVec = gauge_family(&["application_id", "input", "output"]);
}

/// The time of a loop's latest turn: one for each worker thread, and one for the indexer.
///
/// An atomic outside of the registry, so that `/livez` answers even if rendering were stuck.
#[derive(Debug)]
pub struct Turn(AtomicU64);

impl Turn {
    /// Returns a loop that has turned at `now`, for the time before its first turn.
    pub fn new(now: Timestamp) -> Turn {
        Turn(AtomicU64::new(now.as_ms().unsigned_abs()))
    }

    /// Records a turn of the loop.
    pub fn turned(&self, now: Timestamp) {
        self.0.store(now.as_ms().unsigned_abs(), Ordering::Relaxed);
    }

    /// Returns when the loop turned last.
    pub fn last(&self) -> Timestamp {
        i64::try_from(self.0.load(Ordering::Relaxed)).ok().and_then(Timestamp::from_ms).unwrap_or(Timestamp::MIN)
    }
}

/// Label values of the info metrics.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub librdkafka: &'a str,
    pub sqlite: &'a str,
    pub application_id: &'a str,
    pub input: &'a str,
    pub output: &'a str,
}

impl Metrics {
    /// Returns an empty [`Counts`] for the transactions of one worker.
    pub fn counts(&self) -> Counts {
        Counts::new(self.labels)
    }

    /// Adds what a transaction counted, after it has committed at the wall time `at`.
    ///
    /// Does not clear it. Forgotten sessions of a partition that is no longer assigned are not counted: its series is gone.
    pub fn commit(&self, counts: &Counts, at: Timestamp) {
        self.input_records_read_total.inc_by(counts.read);
        add(&self.input_records_total, &counts.outcomes);
        add(&self.dead_letters_total, &counts.dead_letters);
        add(&self.segment_anomalies_total, &counts.anomalies);
        add(&self.watermark_advances_total, &counts.advances);
        add(&self.publications_total, &counts.changes);
        add(&self.sessions_closed_total, &counts.causes);
        for allowed_at in &counts.allowed_at {
            self.publish_delay_seconds.observe(seconds(at.since(*allowed_at).as_ms()));
        }
        for duration in &counts.durations {
            self.session_duration_seconds.observe(seconds(duration.as_ms()));
        }
        for segments in &counts.segments {
            self.session_segments.observe(f64::from(*segments));
        }
        for gap in &counts.gaps {
            self.session_gap_seconds.observe(seconds(gap.as_ms()));
        }
        self.add_forgotten(&counts.forgotten);
    }

    /// Counts a transaction, with the duration of its commit if it came to one.
    pub fn record_transaction(&self, outcome: Transaction, took: Option<Duration>) {
        self.transactions_total[outcome as usize].inc();
        if let Some(took) = took {
            self.transaction_duration_seconds.observe(took.as_secs_f64());
        }
    }

    /// Adds time that a worker spent in a phase.
    pub fn record_time(&self, phase: Phase, time: Duration) {
        self.loop_seconds_total[phase as usize].inc_by(time.as_secs_f64());
    }

    /// Counts a change of the assignment.
    pub fn record_rebalance(&self, kind: Rebalance) {
        self.rebalances_total[kind as usize].inc();
    }

    /// Counts an error that the Kafka client reported.
    pub fn record_kafka_error(&self, kind: KafkaError) {
        self.kafka_errors_total[kind as usize].inc();
    }

    /// Sets the number of partitions of the input topic.
    pub fn set_input_partitions(&self, partitions: usize) {
        self.input_partitions.set(gauge(partitions as u64));
    }

    /// Adds a loop of this process; the slowest of all loops is shown.
    ///
    /// Called once for each thread. A worker that is rebuilt keeps the one that it has.
    pub fn add_turn(&self, now: Timestamp) -> Arc<Turn> {
        let turn = Arc::new(Turn::new(now));
        lock(&self.turns).push(Arc::clone(&turn));
        turn
    }

    /// Sets the number of records of a partition of the sessions topic that are not in the index yet.
    pub fn set_index_lag(&self, partition: i32, records: u64) {
        self.index_lag_records.with_label_values(&[partition.to_string()]).set(gauge(records));
    }

    /// Counts a transaction of the index, which ended at the wall time `at`.
    pub fn record_index_transaction(&self, outcome: IndexTransaction, at: Timestamp) {
        self.index_transactions_total[outcome as usize].inc();
        if outcome == IndexTransaction::Committed {
            self.index_last_commit_timestamp_seconds.set(seconds(at.as_ms()));
        }
    }

    /// Sets the size of an index file.
    pub fn set_index_size(&self, file: IndexFile, bytes: u64) {
        self.index_size_bytes[file as usize].set(gauge(bytes));
    }

    /// Counts an HTTP connection as open.
    pub fn http_connection_opened(&self) {
        self.http_connections.inc();
    }

    /// Counts an HTTP connection as ended, by either side.
    pub fn http_connection_ended(&self) {
        self.http_connections.dec();
    }

    /// Counts an HTTP connection that the server closes of its own accord.
    pub fn http_connection_closed(&self, reason: HttpClose) {
        self.http_connections_closed_total[reason as usize].inc();
    }

    /// Counts an HTTP request, under the template of its route: `/api/v1/sessions/{id}`, never the path of the request.
    pub fn record_http_request(&self, route: &str, code: u16, took: Duration) {
        self.http_requests_total.with_label_values(&[route, code.to_string().as_str()]).inc();
        self.http_request_duration_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Sets the labels of the info metrics.
    pub fn identify(&self, identity: Identity<'_>) {
        self.build_info.reset();
        self.config_info.reset();
        let version = env!("CARGO_PKG_VERSION");
        self.build_info.with_label_values(&[version, identity.librdkafka, identity.sqlite]).set(1);
        self.config_info.with_label_values(&[identity.application_id, identity.input, identity.output]).set(1);
    }

    /// Returns all metrics in the text format 0.0.4, `text/plain; version=0.0.4`.
    pub fn render(&self) -> String {
        self.refresh();
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            // Names are constants and families without a series are left out, so this is a defect. The scraper gets a
            // text that does not parse, and `up` goes to 0.
            tracing::error!(%error, "cannot render metrics");
            return format!("cannot render metrics: {error}\n");
        }
        text
    }

    /// Sets the gauges that are sums over partitions or loops.
    fn refresh(&self) {
        let slowest = lock(&self.turns).iter().map(|turn| turn.last()).min();
        self.last_turn_timestamp_seconds.set(slowest.map_or(0.0, |last| seconds(last.as_ms())));
        self.sum_partitions();
    }
}

fn add(counters: &[IntCounter], counts: &[u64]) {
    for (counter, count) in counters.iter().zip(counts) {
        counter.inc_by(*count);
    }
}

/// Returns seconds from milliseconds; exact below 2^53 ms.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Locks, even after a panic elsewhere: numbers are never half written here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
