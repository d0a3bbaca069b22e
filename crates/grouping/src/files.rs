//! The remembered segments of a partition, by the stream and id of their file.

use alloc::sync::Arc;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::segment::Segment;
use crate::timeline::StreamNo;

/// A table of segments, each found by its file.
#[derive(Default)]
pub(crate) struct FileTable {
    files: HashTable<File>,
    hasher: DefaultHashBuilder,
}

/// A remembered file of a stream.
struct File {
    stream: StreamNo,
    /// The hash that it was put under: growing the table looks at no segment.
    hash: FileHash,
    segment: Arc<Segment>,
}

/// The hash of a stream's file: half as wide as the table wants it, so that it and the stream's number take one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHash(u32);

impl FileHash {
    /// Spreads the bits again: the table takes its place from the low ones and a tag from the high ones.
    fn wide(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl FileTable {
    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn hash(&self, stream: StreamNo, file_id: &str) -> FileHash {
        FileHash((self.hasher.hash_one((stream, file_id)) >> 32) as u32)
    }

    /// Returns the segments of a file. A file that comes back after it is out of reach has two for a while.
    pub fn find(&self, stream: StreamNo, hash: FileHash, file_id: &str) -> impl Iterator<Item = &Arc<Segment>> {
        let files = self.files.iter_hash(hash.wide());
        files.filter(move |file| file.stream == stream && file.segment.file_id() == file_id).map(|file| &file.segment)
    }

    pub fn insert(&mut self, stream: StreamNo, hash: FileHash, segment: Arc<Segment>) {
        self.files.insert_unique(hash.wide(), File { stream, hash, segment }, |file| file.hash.wide());
    }

    /// Returns whether that very segment is in the table.
    pub fn contains(&self, stream: StreamNo, segment: &Arc<Segment>) -> bool {
        let hash = self.hash(stream, segment.file_id());
        self.files.find(hash.wide(), |file| Arc::ptr_eq(&file.segment, segment)).is_some()
    }

    /// Removes that very segment. Returns whether it was in the table.
    pub fn remove(&mut self, stream: StreamNo, segment: &Arc<Segment>) -> bool {
        let hash = self.hash(stream, segment.file_id());
        let entry = self.files.find_entry(hash.wide(), |file| Arc::ptr_eq(&file.segment, segment));
        entry.map(|entry| entry.remove()).is_ok()
    }
}
