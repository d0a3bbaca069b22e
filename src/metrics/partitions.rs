//! The series of partitions, and the sums over them.
//!
//! A partition belongs to one worker, so its numbers are set, not added; the totals of the process are summed at each
//! scrape. A partition can be assigned to a worker before another worker of the same process has noticed that it lost it:
//! owners are counted, and the series go when the last one is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Metrics, gauge, lock, seconds};
use livesession_grouping::time::Timestamp;

/// What a partition holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Sessions that have not been published, or have changed since.
    pub open: u64,
    /// Published sessions that are remembered.
    pub closed: u64,
    /// Bytes of both: texts and fixed parts.
    pub bytes: u64,
}

/// One partition of this process.
#[derive(Debug, Default)]
pub(super) struct Partition {
    owners: u32,
    sizes: Sizes,
    /// Records left to read, while the partition is being restored.
    restoring: Option<u64>,
}

/// All partitions of this process.
pub(super) type Partitions = BTreeMap<i32, Partition>;

impl Metrics {
    /// Makes the series of a partition, at 0. Called once for each assignment.
    pub fn assigned(&self, partition: i32) {
        let mut partitions = lock(&self.partitions);
        partitions.entry(partition).or_default().owners += 1;
        let label = [partition.to_string()];
        self.partition_lag_records.with_label_values(&label);
        self.partition_watermark_timestamp_seconds.with_label_values(&label);
        self.sessions_forgotten_total.with_label_values(&label);
    }

    /// Drops the series of a partition. Called once for each revocation or loss.
    pub fn revoked(&self, partition: i32) {
        let mut partitions = lock(&self.partitions);
        let Some(state) = partitions.get_mut(&partition) else { return };
        state.owners -= 1;
        if state.owners > 0 {
            return;
        }
        partitions.remove(&partition);
        let label = [partition.to_string()];
        // An error says that there is no such series, which is what is wanted.
        let _ = self.partition_lag_records.remove_label_values(&label);
        let _ = self.partition_watermark_timestamp_seconds.remove_label_values(&label);
        let _ = self.sessions_forgotten_total.remove_label_values(&label);
    }

    /// Sets the number of records between the committed offset of a partition and the end of its log.
    ///
    /// This and the other setters do nothing for a partition that is not assigned: the series must not come back.
    pub fn set_lag(&self, partition: i32, records: u64) {
        if lock(&self.partitions).contains_key(&partition) {
            self.partition_lag_records.with_label_values(&[partition.to_string()]).set(gauge(records));
        }
    }

    /// Sets the watermark of a partition.
    pub fn set_watermark(&self, partition: i32, watermark: Timestamp) {
        if lock(&self.partitions).contains_key(&partition) {
            let series = self.partition_watermark_timestamp_seconds.with_label_values(&[partition.to_string()]);
            series.set(seconds(watermark.as_ms()));
        }
    }

    /// Sets what a partition holds in memory.
    pub fn set_sizes(&self, partition: i32, sizes: Sizes) {
        if let Some(state) = lock(&self.partitions).get_mut(&partition) {
            state.sizes = sizes;
        }
    }

    /// Marks a partition as being restored, with the number of records left to read.
    pub fn set_restoring(&self, partition: i32, remaining: u64) {
        if let Some(state) = lock(&self.partitions).get_mut(&partition) {
            state.restoring = Some(remaining);
        }
    }

    /// Marks a partition as restored, `took` after its assignment.
    pub fn restored(&self, partition: i32, took: Duration) {
        if let Some(state) = lock(&self.partitions).get_mut(&partition) {
            state.restoring = None;
            self.restore_duration_seconds.observe(took.as_secs_f64());
        }
    }

    /// Adds sessions forgotten in a committed transaction.
    pub(super) fn add_forgotten(&self, forgotten: &[(i32, u64)]) {
        if forgotten.is_empty() {
            return;
        }
        let partitions = lock(&self.partitions);
        for (partition, sessions) in forgotten {
            if partitions.contains_key(partition) {
                self.sessions_forgotten_total.with_label_values(&[partition.to_string()]).inc_by(*sessions);
            }
        }
    }

    /// Sets the gauges of the process from those of its partitions.
    pub(super) fn sum_partitions(&self) {
        let partitions = lock(&self.partitions);
        let (mut open, mut closed, mut bytes, mut restoring, mut remaining) = (0, 0, 0, 0, 0);
        for partition in partitions.values() {
            open += partition.sizes.open;
            closed += partition.sizes.closed;
            bytes += partition.sizes.bytes;
            restoring += u64::from(partition.restoring.is_some());
            remaining += partition.restoring.unwrap_or(0);
        }
        self.assigned_partitions.set(gauge(partitions.len() as u64));
        self.sessions_in_memory[0].set(gauge(open));
        self.sessions_in_memory[1].set(gauge(closed));
        self.state_bytes.set(gauge(bytes));
        self.restoring_partitions.set(gauge(restoring));
        self.restore_remaining_records.set(gauge(remaining));
    }
}
