//! Closed lists of labels, conservation, and what a revoked partition leaves behind.

use std::collections::BTreeMap;

use super::*;
use livesession_grouping::time::Millis;

const LABELS: Labels = Labels {
    reasons: &[
        "too_large",
        "not_json",
        "too_deep",
        "not_an_object",
        "no_event_type",
        "no_stream",
        "bad_id",
        "no_file",
        "no_event_time",
        "no_end",
        "no_start",
        "inverted_interval",
        "interval_too_long",
        "ahead_of_clock",
        "late",
        "conflict",
    ],
    anomalies: &["field_unreadable", "start_rebuilt", "time_scaled", "url_as_id", "usec_ignored"],
    causes: &["watermark", "push_ended", "max_hold", "limit", "end_of_input"],
};

fn metrics() -> Metrics {
    Metrics::new(LABELS)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

/// Reads the series of a rendered text, by name with labels.
fn series(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.render();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.trim_start_matches("livesession_").to_owned(), value.parse().unwrap()))
        .collect()
}

fn sum(series: &BTreeMap<String, f64>, family: &str) -> f64 {
    series.iter().filter(|(name, _)| name.split('{').next() == Some(family)).map(|(_, value)| value).sum()
}

#[test]
fn every_series_with_a_closed_list_of_labels_is_there_at_zero() {
    let series = series(&metrics());
    let expected = [
        ("input_records_total", Outcome::ALL.len()),
        ("dead_letters_total", LABELS.reasons.len()),
        ("segment_anomalies_total", LABELS.anomalies.len()),
        ("sessions_closed_total", LABELS.causes.len()),
        ("watermark_advances_total", 3),
        ("publications_total", 3),
        ("transactions_total", 4),
        ("loop_seconds_total", 6),
        ("rebalances_total", 3),
        ("kafka_errors_total", 4),
        ("sessions_in_memory", 2),
        ("index_transactions_total", 2),
        ("index_size_bytes", 2),
        ("http_connections_closed_total", 3),
    ];
    for (family, count) in expected {
        let found: Vec<_> = series.iter().filter(|(name, _)| name.starts_with(&format!("{family}{{"))).collect();
        assert_eq!(found.len(), count, "{family}");
        assert!(found.iter().all(|(_, value)| **value == 0.0), "{family}: {found:?}");
    }
}

// rule: conservation
#[test]
fn records_read_are_the_sum_of_their_outcomes() {
    let metrics = metrics();
    let mut counts = metrics.counts();
    for (turn, outcome) in Outcome::ALL.iter().cycle().take(1_000).enumerate() {
        counts.read();
        counts.outcome(*outcome);
        match outcome {
            Outcome::Late => counts.dead_letter("late"),
            Outcome::Conflict => counts.dead_letter("conflict"),
            Outcome::Rejected => counts.dead_letter(LABELS.reasons[turn % 14]),
            _ => {}
        }
        if turn % 100 == 99 {
            metrics.commit(&counts, at(0));
            counts.clear();
        }
    }
    let series = series(&metrics);
    assert_eq!(series["input_records_read_total"], 1_000.0);
    assert_eq!(sum(&series, "input_records_total"), 1_000.0);
    let refused: f64 = ["conflict", "late", "rejected"]
        .iter()
        .map(|name| series[&format!("input_records_total{{outcome=\"{name}\"}}")])
        .sum();
    assert_eq!(sum(&series, "dead_letters_total"), refused);
    assert_eq!(series["dead_letters_total{reason=\"late\"}"], series["input_records_total{outcome=\"late\"}"]);
}

#[test]
fn an_aborted_transaction_counts_nothing() {
    let metrics = metrics();
    let before = series(&metrics);
    let mut counts = metrics.counts();
    counts.read();
    counts.outcome(Outcome::Accepted);
    counts.anomaly("url_as_id");
    counts.dead_letter("late");
    counts.advance(Advance::Segment);
    counts.amended();
    counts.withdrawn();
    counts.forgotten(0, 3);
    let closed = Closed { cause: "watermark", allowed_at: at(0), duration: Millis::from_secs(60), segments: 2 };
    counts.closed(closed, [Millis::from_secs(5)]);
    counts.clear();
    metrics.commit(&counts, at(1_000));
    let without_process = |all: BTreeMap<String, f64>| -> Vec<(String, f64)> {
        all.into_iter().filter(|(name, _)| !name.starts_with("process_")).collect()
    };
    assert_eq!(without_process(before), without_process(series(&metrics)));
}

#[test]
fn a_first_publication_is_measured_once() {
    let metrics = metrics();
    let mut counts = metrics.counts();
    let closed =
        Closed { cause: "push_ended", allowed_at: at(10_000), duration: Millis::from_secs(3_600), segments: 3 };
    counts.closed(closed, [Millis::from_secs(20), Millis::from_secs(180)]);
    counts.amended();
    metrics.commit(&counts, at(12_500));
    let series = series(&metrics);
    assert_eq!(series["publications_total{change=\"closed\"}"], 1.0);
    assert_eq!(series["publications_total{change=\"amended\"}"], 1.0);
    assert_eq!(series["sessions_closed_total{cause=\"push_ended\"}"], 1.0);
    assert_eq!(series["publish_delay_seconds_sum"], 2.5);
    assert_eq!(series["publish_delay_seconds_bucket{le=\"2\"}"], 0.0);
    assert_eq!(series["publish_delay_seconds_bucket{le=\"5\"}"], 1.0);
    assert_eq!(series["session_duration_seconds_sum"], 3_600.0);
    assert_eq!(series["session_segments_sum"], 3.0);
    assert_eq!(series["session_gap_seconds_count"], 2.0);
    assert_eq!(series["session_gap_seconds_bucket{le=\"180\"}"], 2.0, "a bound is inclusive");
}

#[test]
fn a_revoked_partition_leaves_no_series_and_no_share_of_the_sums() {
    let metrics = metrics();
    metrics.assigned(3);
    metrics.assigned(4);
    metrics.set_lag(3, 7);
    metrics.set_watermark(3, at(1_500));
    metrics.set_sizes(3, Sizes { open: 2, closed: 5, bytes: 100 });
    metrics.set_sizes(4, Sizes { open: 1, closed: 1, bytes: 11 });
    metrics.set_restoring(4, 40);
    let mut counts = metrics.counts();
    counts.forgotten(3, 9);
    metrics.commit(&counts, at(0));
    let owned = series(&metrics);
    assert_eq!(owned["partition_lag_records{partition=\"3\"}"], 7.0);
    assert_eq!(owned["partition_lag_records{partition=\"4\"}"], 0.0);
    assert_eq!(owned["partition_watermark_timestamp_seconds{partition=\"3\"}"], 1.5);
    assert_eq!(owned["sessions_forgotten_total{partition=\"3\"}"], 9.0);
    assert_eq!(owned["sessions_in_memory{state=\"open\"}"], 3.0);
    assert_eq!(owned["sessions_in_memory{state=\"closed\"}"], 6.0);
    assert_eq!(owned["state_bytes"], 111.0);
    assert_eq!(owned["assigned_partitions"], 2.0);
    assert_eq!(owned["restoring_partitions"], 1.0);
    assert_eq!(owned["restore_remaining_records"], 40.0);

    metrics.revoked(3);
    metrics.set_lag(3, 1);
    metrics.set_watermark(3, at(1));
    metrics.set_sizes(3, Sizes { open: 9, closed: 9, bytes: 9 });
    metrics.commit(&counts, at(0));
    let left = series(&metrics);
    assert!(left.keys().all(|name| !name.contains("partition=\"3\"")), "{left:?}");
    assert_eq!(left["sessions_in_memory{state=\"open\"}"], 1.0);
    assert_eq!(left["assigned_partitions"], 1.0);
    metrics.restored(4, Duration::from_secs(2));
    let restored = series(&metrics);
    assert_eq!(restored["restoring_partitions"], 0.0);
    assert_eq!(restored["restore_duration_seconds_sum"], 2.0);
}

#[test]
fn a_partition_that_went_to_another_worker_of_the_process_keeps_its_series() {
    let metrics = metrics();
    metrics.assigned(0);
    metrics.assigned(0);
    metrics.revoked(0);
    metrics.set_lag(0, 5);
    assert_eq!(series(&metrics)["partition_lag_records{partition=\"0\"}"], 5.0);
    assert_eq!(series(&metrics)["assigned_partitions"], 1.0);
    metrics.revoked(0);
    metrics.revoked(0);
    assert_eq!(series(&metrics)["assigned_partitions"], 0.0);
}

#[test]
fn the_slowest_loop_is_shown() {
    let metrics = metrics();
    assert_eq!(series(&metrics)["last_turn_timestamp_seconds"], 0.0);
    let first = metrics.add_turn(at(1_000));
    let second = metrics.add_turn(at(2_000));
    assert_eq!(series(&metrics)["last_turn_timestamp_seconds"], 1.0);
    first.turned(at(5_250));
    assert_eq!(series(&metrics)["last_turn_timestamp_seconds"], 2.0);
    second.turned(at(9_000));
    assert_eq!(series(&metrics)["last_turn_timestamp_seconds"], 5.25);
    assert_eq!(first.last(), at(5_250));
}

#[test]
fn a_failed_index_transaction_does_not_count_as_fresh() {
    let metrics = metrics();
    metrics.record_index_transaction(IndexTransaction::Committed, at(1_000));
    metrics.record_index_transaction(IndexTransaction::Failed, at(9_000));
    let series = series(&metrics);
    assert_eq!(series["index_last_commit_timestamp_seconds"], 1.0);
    assert_eq!(series["index_transactions_total{outcome=\"failed\"}"], 1.0);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "unknown label value \"bad_mood\"")]
fn an_unknown_label_value_is_a_defect() {
    metrics().counts().dead_letter("bad_mood");
}
