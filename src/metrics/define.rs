//! Names, help texts, labels and buckets: how [`Metrics`] is built.
//!
//! Help texts stand here and, as documentation, at the fields; a test compares. A macro could write both, and nobody would
//! find the metric that he is looking for.

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::labels::{
    Advance, Change, HttpClose, IndexFile, IndexTransaction, KafkaError, Labels, Outcome, Phase, Rebalance, Transaction,
};
use super::{Metrics, partitions};

/// Delays of publication: 1 s to 6 h; the alert looks at 30 minutes.
const DELAY: &[f64] = &[1., 2., 5., 10., 30., 60., 120., 300., 600., 1_800., 3_600., 7_200., 21_600.];
/// Lengths of shows: 1 min to 24 h.
const SESSION: &[f64] = &[60., 300., 900., 1_800., 3_600., 7_200., 14_400., 21_600., 43_200., 86_400.];
/// Segments of a session, up to the default limit.
const SEGMENTS: &[f64] = &[1., 2., 3., 5., 10., 20., 50., 100., 200., 500., 1_000., 2_000.];
/// Silences: fine below the default gap of 3 min, since that is where the question is.
const GAP: &[f64] = &[1., 5., 10., 30., 60., 90., 120., 150., 165., 180., 300., 600., 1_800.];
/// Commits: a few milliseconds to the transaction timeout; 80 ms is where the producer is replaced.
const COMMIT: &[f64] = &[0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5., 10.];
/// Restores: a tenth of a second to ten minutes.
const RESTORE: &[f64] = &[0.1, 0.5, 1., 2., 5., 10., 30., 60., 120., 300., 600.];
/// Requests: a millisecond to the limit at which a query is interrupted.
const REQUEST: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1., 10.];

impl Metrics {
    /// Builds all metrics, every series with a known label at 0.
    pub fn new(labels: Labels) -> Metrics {
        let define = Define { registry: Registry::new() };
        #[cfg(target_os = "linux")]
        valid(define.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())));
        Metrics {
            labels,
            turns: Default::default(),
            partitions: partitions::Partitions::new().into(),
            input_records_read_total: define
                .counter("input_records_read_total", "Records of the input read, in committed transactions."),
            input_records_total: define.counters(
                "input_records_total",
                "Records of the input by what became of them, in committed transactions.",
                "outcome",
                Outcome::ALL.iter().map(|outcome| outcome.as_str()),
            ),
            dead_letters_total: define.counters(
                "dead_letters_total",
                "Records written to the dead letter topic, by reason.",
                "reason",
                labels.reasons.iter().copied(),
            ),
            segment_anomalies_total: define.counters(
                "segment_anomalies_total",
                "Oddities of accepted notifications, by kind.",
                "kind",
                labels.anomalies.iter().copied(),
            ),
            watermark_advances_total: define.counters(
                "watermark_advances_total",
                "Moves of a partition's watermark, by what moved it.",
                "by",
                Advance::ALL.iter().map(|by| by.as_str()),
            ),
            publications_total: define.counters(
                "publications_total",
                "Sessions published, by what the publication changed.",
                "change",
                Change::ALL.iter().map(|change| change.as_str()),
            ),
            sessions_closed_total: define.counters(
                "sessions_closed_total",
                "Sessions published for the first time, by why they closed.",
                "cause",
                labels.causes.iter().copied(),
            ),
            sessions_forgotten_total: define.counter_family(
                "sessions_forgotten_total",
                "Closed sessions dropped from memory, by partition.",
                &["partition"],
            ),
            publish_delay_seconds: define.histogram(
                "publish_delay_seconds",
                "Time from the moment a session could close to the commit that published it.",
                DELAY,
            ),
            session_duration_seconds: define.histogram(
                "session_duration_seconds",
                "Time from start to end of sessions, at their first publication.",
                SESSION,
            ),
            session_segments: define.histogram(
                "session_segments",
                "Segments in sessions, at their first publication.",
                SEGMENTS,
            ),
            session_gap_seconds: define.histogram(
                "session_gap_seconds",
                "Silences inside of sessions, at their first publication.",
                GAP,
            ),
            sessions_in_memory: define.gauges(
                "sessions_in_memory",
                "Sessions held in memory, by state.",
                "state",
                ["open", "closed"],
            ),
            state_bytes: define.gauge("state_bytes", "Bytes of the sessions in memory: texts and fixed parts."),
            input_partitions: define.gauge("input_partitions", "Partitions of the input topic."),
            assigned_partitions: define.gauge("assigned_partitions", "Partitions assigned to this process."),
            restoring_partitions: define.gauge("restoring_partitions", "Partitions whose state is being restored."),
            partition_lag_records: define.gauge_family(
                "partition_lag_records",
                "Records between the committed offset and the end of the log, by partition.",
                &["partition"],
            ),
            partition_watermark_timestamp_seconds: define.register(valid(GaugeVec::new(
                opts("partition_watermark_timestamp_seconds", "Watermark, by partition."),
                &["partition"],
            ))),
            transactions_total: define.counters(
                "transactions_total",
                "Transactions by outcome.",
                "outcome",
                Transaction::ALL.iter().map(|outcome| outcome.as_str()),
            ),
            transaction_duration_seconds: define.histogram(
                "transaction_duration_seconds",
                "Time from the begin of a transaction's commit to its outcome.",
                COMMIT,
            ),
            loop_seconds_total: define.seconds(
                "loop_seconds_total",
                "Time spent by the worker loops, by phase.",
                "phase",
                Phase::ALL.iter().map(|phase| phase.as_str()),
            ),
            last_turn_timestamp_seconds: define.register(valid(Gauge::with_opts(opts(
                "last_turn_timestamp_seconds",
                "Time of the last turn of the slowest loop in this process.",
            )))),
            rebalances_total: define.counters(
                "rebalances_total",
                "Changes of the assignment, by kind.",
                "kind",
                Rebalance::ALL.iter().map(|kind| kind.as_str()),
            ),
            restore_remaining_records: define
                .gauge("restore_remaining_records", "Changelog records that restoring partitions still have to read."),
            restore_duration_seconds: define.histogram(
                "restore_duration_seconds",
                "Time from the assignment of a partition to the end of its restore.",
                RESTORE,
            ),
            kafka_errors_total: define.counters(
                "kafka_errors_total",
                "Errors reported by the Kafka client, by kind.",
                "kind",
                KafkaError::ALL.iter().map(|kind| kind.as_str()),
            ),
            index_lag_records: define.gauge_family(
                "index_lag_records",
                "Records of the sessions topic that the index has not read, by partition.",
                &["partition"],
            ),
            index_last_commit_timestamp_seconds: define.register(valid(Gauge::with_opts(opts(
                "index_last_commit_timestamp_seconds",
                "Time of the last commit of the index.",
            )))),
            index_transactions_total: define.counters(
                "index_transactions_total",
                "Transactions of the index by outcome.",
                "outcome",
                IndexTransaction::ALL.iter().map(|outcome| outcome.as_str()),
            ),
            index_size_bytes: define.gauges(
                "index_size_bytes",
                "Size of the files of the index.",
                "file",
                IndexFile::ALL.iter().map(|file| file.as_str()),
            ),
            http_connections: define.gauge("http_connections", "Open HTTP connections."),
            http_connections_closed_total: define.counters(
                "http_connections_closed_total",
                "HTTP connections that the server closed of its own accord, by reason.",
                "reason",
                HttpClose::ALL.iter().map(|reason| reason.as_str()),
            ),
            http_requests_total: define.counter_family(
                "http_requests_total",
                "HTTP requests by route and status code.",
                &["route", "code"],
            ),
            http_request_duration_seconds: define.register(valid(HistogramVec::new(
                histogram_opts("http_request_duration_seconds", "Time to answer HTTP requests, by route.", REQUEST),
                &["route"],
            ))),
            build_info: define.gauge_family(
                "build_info",
                "Always 1; says what was built.",
                &["version", "librdkafka", "sqlite"],
            ),
            config_info: define.gauge_family(
                "config_info",
                "Always 1; says what runs.",
                &["application_id", "input", "output"],
            ),
            registry: define.registry,
        }
    }
}

/// Makes metrics and registers them.
struct Define {
    registry: Registry,
}

impl Define {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        valid(self.registry.register(Box::new(collector.clone())));
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(valid(IntCounter::with_opts(opts(name, help))))
    }

    fn counter_family(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(valid(IntCounterVec::new(opts(name, help), labels)))
    }

    /// Makes a family with a closed list of values, and returns a handle for each, in order.
    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Vec<IntCounter> {
        let family = self.counter_family(name, help, &[label]);
        values.into_iter().map(|value| family.with_label_values(&[value])).collect()
    }

    /// Like [`Define::counters`], for fractions.
    fn seconds(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Vec<Counter> {
        let family = self.register(valid(CounterVec::new(opts(name, help), &[label])));
        values.into_iter().map(|value| family.with_label_values(&[value])).collect()
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(valid(IntGauge::with_opts(opts(name, help))))
    }

    fn gauge_family(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(valid(IntGaugeVec::new(opts(name, help), labels)))
    }

    /// Like [`Define::counters`], for gauges.
    fn gauges(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Vec<IntGauge> {
        let family = self.gauge_family(name, help, &[label]);
        values.into_iter().map(|value| family.with_label_values(&[value])).collect()
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(valid(Histogram::with_opts(histogram_opts(name, help, buckets))))
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("livesession")
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace("livesession").buckets(buckets.to_vec())
}

/// Takes what the registry made of constants.
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("names and buckets are constants, each used once, and a test builds them all")
}
