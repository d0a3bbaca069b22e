//! Batches: sessions that were read from the topic, and how far the reading went.
//!
//! Shared by the indexer's loop and by `index rebuild`, which differ only in where they write to.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::{Failure, Unreadable};
use livesession_formats::session::{self, SessionRecord};
use livesession_index::Advance;

/// Records of one SQLite transaction: enough that a page of the index of file ids is written once for several of them, few
/// enough to be read back quickly after a crash.
pub const MAX_RECORDS: usize = 4_000;

/// Bytes of records in one batch: a session may be as large as a record, and thousands of those are not to be held.
pub const MAX_BYTES: usize = 16 << 20;

/// What was read of a topic and is not written yet.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<SessionRecord>,
    bytes: usize,
    /// The next offset of each partition that has records here.
    ends: BTreeMap<i32, i64>,
}

/// A record of the sessions topic, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    pub partition: i32,
    pub offset: i64,
    pub value: Option<&'a [u8]>,
}

impl Batch {
    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`Failure::Record`] if it is no session that this program knows how to read.
    pub fn push(&mut self, topic: &str, record: Read<'_>) -> Result<(), Failure> {
        let session = Batch::read(topic, record)?;
        self.records.push(session);
        self.bytes += record.value.map_or(0, <[u8]>::len);
        self.ends.insert(record.partition, record.offset + 1);
        Ok(())
    }

    /// Returns the session of a record.
    ///
    /// # Errors
    ///
    /// As [`Batch::push`].
    pub fn read(topic: &str, record: Read<'_>) -> Result<SessionRecord, Failure> {
        let read = |value: Option<&[u8]>| -> Result<SessionRecord, Unreadable> {
            Ok(session::decode(value.ok_or(Unreadable::Null)?)?)
        };
        read(record.value).map_err(|source| Failure::Record {
            topic: topic.to_owned(),
            partition: record.partition,
            offset: record.offset,
            source,
        })
    }

    pub fn records(&self) -> &[SessionRecord] {
        &self.records
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns whether it has to be written before anything else is added.
    pub fn is_full(&self) -> bool {
        self.records.len() >= MAX_RECORDS || self.bytes >= MAX_BYTES
    }

    /// Returns the steps of all partitions, from where the file is to where the reader is.
    ///
    /// `positions` pass what follows the last record and is none: markers and aborted records. The offset before them is one
    /// that retention will delete, and an index that stands there would seem to have missed something.
    pub fn advances(&self, id: &str, stored: &BTreeMap<i32, i64>, positions: &BTreeMap<i32, i64>) -> Vec<Advance> {
        let step = |partition: i32| {
            let from = stored.get(&partition).copied();
            let to = self.ends.get(&partition).max(positions.get(&partition)).copied()?;
            (to > from.unwrap_or(0)).then(|| Advance { topic_id: id.to_owned(), partition, from, to })
        };
        let partitions: BTreeSet<i32> = self.ends.keys().chain(positions.keys()).copied().collect();
        partitions.into_iter().filter_map(step).collect()
    }

    /// Empties it after it was written.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: &str = include_str!("../../schemas/examples/session-closed.json");

    fn push(batch: &mut Batch, partition: i32, offset: i64, value: Option<&str>) -> Result<(), Failure> {
        batch.push("t", Read { partition, offset, value: value.map(str::as_bytes) })
    }

    #[test]
    fn steps_go_from_the_file_to_the_reader() {
        let mut batch = Batch::default();
        for (partition, offset) in [(0, 4), (0, 5), (2, 9)] {
            push(&mut batch, partition, offset, Some(CLOSED)).unwrap();
        }
        assert_eq!(batch.records().len(), 3);
        let step = |partition, from, to| Advance { topic_id: "id".to_owned(), partition, from, to };
        let (stored, positions) = ([(0, 4), (1, 7)].into(), [(0, 7), (1, 8), (2, 10)].into());
        let all = [step(0, Some(4), 7), step(1, Some(7), 8), step(2, None, 10)];
        assert_eq!(batch.advances("id", &stored, &positions), all);
        assert_eq!(batch.advances("id", &stored, &BTreeMap::new()), [step(0, Some(4), 6), step(2, None, 10)]);
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!(batch.advances("id", &stored, &positions), all, "markers are passed without a record too");
        assert!(batch.advances("id", &positions, &positions).is_empty());
        assert!(batch.advances("id", &BTreeMap::new(), &[(0, 0)].into()).is_empty(), "nothing was there yet");
    }

    #[test]
    fn a_batch_is_full_by_records_or_by_bytes() {
        let mut batch = Batch::default();
        for offset in 0..MAX_RECORDS {
            assert!(!batch.is_full(), "{offset} records");
            push(&mut batch, 0, offset as i64, Some(CLOSED)).unwrap();
        }
        assert!(batch.is_full());
        let mut large = Batch { bytes: MAX_BYTES - 1, ..Batch::default() };
        assert!(!large.is_full());
        large.bytes += 1;
        assert!(large.is_full());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named_by_its_place() {
        let newer =
            CLOSED.replacen("\"version\": 1", "\"version\": 2", 1).replacen("\"version\":1", "\"version\":2", 1);
        for (value, expected) in [
            (None, "it has no value"),
            (Some("{"), "cannot read session record of 1 bytes"),
            (Some(newer.as_str()), "cannot read session record of version 2, only of version 1"),
        ] {
            let mut batch = Batch::default();
            let failure = push(&mut batch, 3, 17, value).unwrap_err();
            assert_eq!(failure.to_string(), "cannot index record at offset 17 of partition 3 of topic \"t\"");
            assert_eq!(std::error::Error::source(&failure).unwrap().to_string(), expected);
            assert!(batch.is_empty(), "nothing of it is kept");
        }
    }
}
