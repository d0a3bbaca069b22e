//! A consumer of the output topic: keeps the newest revision of each session, and complains.

use std::collections::{BTreeMap, BTreeSet};

use super::Record;

#[derive(Clone, Debug, Default)]
pub struct Reader {
    newest: BTreeMap<String, Record>,
    /// Streams with their files, each named by the offset at which it was accepted, that were ever published.
    seen: BTreeSet<i64>,
}

impl Reader {
    /// Reads what one transaction published. `frozen` sessions may share the time of others, never a file.
    pub fn read(&mut self, transaction: &[Record]) {
        let mut named = BTreeSet::new();
        for record in transaction {
            assert!(named.insert(record.id.clone()), "one revision of a session per transaction: {record:?}");
            let last = self.newest.get(&record.id);
            let expected = last.map_or(1, |last| last.revision + 1);
            assert_eq!(record.revision, expected, "revisions are 1, 2, 3 … without holes: {record:?}");
            assert!(last.is_none_or(|last| !last.withdrawn), "a withdrawn session never comes back: {record:?}");
            assert!(!record.withdrawn || last.is_some(), "withdrawn but never published: {record:?}");
            if let Some(last) = last.filter(|_| !record.withdrawn) {
                let missing = last.files.iter().find(|file| !record.files.contains(file));
                assert_eq!(missing, None, "a session only grows: {record:?} after {last:?}");
                assert!(record.files.len() > last.files.len(), "published twice: {record:?}");
            }
            self.newest.insert(record.id.clone(), record.clone());
        }
        for record in transaction.iter().filter(|record| record.withdrawn) {
            let survivor = transaction.iter().find(|other| Some(&other.id) == record.merged_into.as_ref());
            let survivor = survivor.expect("withdrawn together with the survivor's next publication");
            assert!(!survivor.withdrawn, "withdrawn into a session that is withdrawn itself");
            assert_eq!(survivor.stream, record.stream);
        }
        self.seen.extend(transaction.iter().flat_map(|record| &record.files).map(|file| file.offset));
        let live: Vec<i64> = self.live().flat_map(|record| &record.files).map(|file| file.offset).collect();
        let set: BTreeSet<i64> = live.iter().copied().collect();
        assert_eq!(live.len(), set.len(), "a file in two sessions at once: {transaction:?}");
        assert_eq!(set, self.seen, "a file that was published is in no session: {transaction:?}");
    }

    /// The newest revisions that are not withdrawn.
    pub fn live(&self) -> impl Iterator<Item = &Record> {
        self.newest.values().filter(|record| !record.withdrawn)
    }

    pub fn newest(&self, id: &str) -> Option<&Record> {
        self.newest.get(id)
    }
}
