//! The log of one partition, as a broker keeps it.
//!
//! Transaction markers take offsets. What a transaction wrote is open until its marker is in *this* log: the markers of
//! one transaction reach its partitions at different times. Readers of committed records stop at the last stable offset,
//! where the first open transaction begins, and pass over what was aborted. Compaction leaves gaps.

use std::collections::{BTreeMap, BTreeSet};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedState {
    Open,
    Committed,
    Aborted,
}

/// A producer, as the log knows it: a transactional id, by number.
pub type ProducerNo = usize;

#[derive(Clone, Debug)]
pub enum Entry<R> {
    Record { record: R, producer: Option<ProducerNo>, fate: PublishedState },
    Marker,
}

#[derive(Clone, Debug)]
pub struct Log<R> {
    entries: BTreeMap<i64, Entry<R>>,
    end: i64,
    /// Where each open transaction begins.
    open: BTreeMap<ProducerNo, i64>,
}

impl<R> Log<R> {
    pub fn new() -> Log<R> {
        Log { entries: BTreeMap::new(), end: 0, open: BTreeMap::new() }
    }

    /// Appends a record, in a transaction if it names its producer.
    pub fn append(&mut self, record: R, producer: Option<ProducerNo>) -> i64 {
        let offset = self.end;
        self.end += 1;
        if let Some(producer) = producer {
            self.open.entry(producer).or_insert(offset);
        }
        let fate = if producer.is_some() { PublishedState::Open } else { PublishedState::Committed };
        self.entries.insert(offset, Entry::Record { record, producer, fate });
        offset
    }

    /// Decides what the producer has open here. A marker is written whether or not there is anything.
    pub fn mark(&mut self, producer: ProducerNo, commit: bool) {
        if let Some(first) = self.open.remove(&producer) {
            for entry in self.entries.range_mut(first..).map(|(_, entry)| entry) {
                if let Entry::Record { producer: Some(writer), fate: fate @ PublishedState::Open, .. } = entry
                    && *writer == producer
                {
                    *fate = if commit { PublishedState::Committed } else { PublishedState::Aborted };
                }
            }
        }
        self.entries.insert(self.end, Entry::Marker);
        self.end += 1;
    }

    /// The next offset, as a reader of uncommitted records sees it.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The last stable offset.
    pub fn stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// Returns the next committed record at or after `from`, and where a reader of committed records is after it.
    ///
    /// Without one, only where such a reader is: at the last stable offset.
    pub fn read(&self, from: i64) -> (Option<(i64, &R)>, i64) {
        let stable = self.stable();
        if from < stable {
            for (offset, entry) in self.entries.range(from..stable) {
                if let Entry::Record { record, fate: PublishedState::Committed, .. } = entry {
                    return (Some((*offset, record)), offset + 1);
                }
            }
        }
        (None, from.max(stable))
    }

    /// All committed records.
    pub fn committed(&self) -> impl Iterator<Item = (i64, &R)> {
        self.entries.iter().filter_map(|(offset, entry)| match entry {
            Entry::Record { record, fate: PublishedState::Committed, .. } => Some((*offset, record)),
            _ => None,
        })
    }

    /// Drops aborted records, markers, and committed records below `limit` whose key comes again below it; of what is left
    /// the nulls too, if `drop_nulls`. Stops at the last stable offset.
    pub fn compact<K: Ord>(
        &mut self,
        limit: i64,
        drop_nulls: bool,
        key: impl Fn(&R) -> K,
        is_null: impl Fn(&R) -> bool,
    ) {
        let limit = limit.min(self.stable());
        let mut seen = BTreeSet::new();
        let mut gone = Vec::new();
        for (offset, entry) in self.entries.range(..limit).rev() {
            let keep = match entry {
                Entry::Record { record, fate: PublishedState::Committed, .. } => {
                    seen.insert(key(record)) && !(drop_nulls && is_null(record))
                }
                _ => false,
            };
            if !keep {
                gone.push(*offset);
            }
        }
        for offset in gone {
            self.entries.remove(&offset);
        }
    }
}
