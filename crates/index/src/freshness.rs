//! Freshness of the index of this process.
//!
//! Written by the indexer's loop, and read for every response from the index, which says how old it may be. Atomics,
//! because the writer must never wait for a reader.

use std::sync::atomic::{AtomicI64, Ordering};

use livesession_grouping::time::Timestamp;

const UNKNOWN: i64 = -1;

/// Lag and last commit of the indexer. Unknown until it records them, and in a process that has none.
#[derive(Debug)]
pub struct Freshness {
    lag_records: AtomicI64,
    last_commit_ms: AtomicI64,
}

impl Default for Freshness {
    fn default() -> Self {
        Freshness { lag_records: AtomicI64::new(UNKNOWN), last_commit_ms: AtomicI64::new(UNKNOWN) }
    }
}

impl Freshness {
    /// Sets how many records of the sessions topic are not in the index yet, over all partitions.
    pub fn set_lag(&self, records: u64) {
        self.lag_records.store(i64::try_from(records).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Records that a batch was committed at the wall time `at`.
    pub fn record_commit(&self, at: Timestamp) {
        self.last_commit_ms.store(at.as_ms(), Ordering::Relaxed);
    }

    /// Returns how many records are not in the index yet, if that is known.
    pub fn lag_records(&self) -> Option<u64> {
        u64::try_from(self.lag_records.load(Ordering::Relaxed)).ok()
    }

    /// Returns when the last batch was committed, if one was.
    pub fn last_commit(&self) -> Option<Timestamp> {
        let ms = self.last_commit_ms.load(Ordering::Relaxed);
        if ms == UNKNOWN { None } else { Timestamp::from_ms(ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_it_is_said() {
        let freshness = Freshness::default();
        assert_eq!((freshness.lag_records(), freshness.last_commit()), (None, None));
        freshness.set_lag(0);
        freshness.record_commit(Timestamp::MIN);
        assert_eq!((freshness.lag_records(), freshness.last_commit()), (Some(0), Some(Timestamp::MIN)));
        freshness.set_lag(u64::MAX);
        assert_eq!(freshness.lag_records(), Some(i64::MAX as u64));
    }
}
