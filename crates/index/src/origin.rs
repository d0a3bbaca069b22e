//! The topics that a file is an index of, and how far it has read them.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::{At, Error};

/// What the file is an index of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The sessions topic.
    pub topic: String,
    /// The topic that its sessions were made from.
    pub source_topic: String,
}

impl Origin {
    /// Returns the keys of `meta` that keep the origin, with their values.
    pub(super) fn names(&self) -> [(&'static str, &str); 2] {
        [("topic", &self.topic), ("source_topic", &self.source_topic)]
    }

    /// Refuses a file that was filled from other topics.
    ///
    /// # Errors
    ///
    /// [`Error::OtherTopic`]; else what SQLite said.
    pub(super) fn check(&self, connection: &Connection, path: &Path) -> Result<(), Error> {
        for (what, asked) in self.names() {
            if let Some(found) = meta(connection, what).at(path)?.filter(|found| found != asked) {
                return Err(Error::OtherTopic { path: path.to_owned(), what, found, asked: asked.to_owned() });
            }
        }
        Ok(())
    }
}

/// Returns a text of the table `meta`.
pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

/// Returns the next offset to read of every partition, by topic id and partition.
pub(super) fn offsets(connection: &Connection) -> rusqlite::Result<Vec<(String, i32, i64)>> {
    connection
        .prepare("SELECT topic_id, partition, next FROM topic_offset ORDER BY topic_id, partition")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}
