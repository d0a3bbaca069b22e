//! The index: published sessions in a SQLite file that can be asked.
//!
//! Answers *the sessions of stream X between A and B*, *the session that this file belongs to*, and *what changed since*.
//! rusqlite stops here. Takes and gives session records as the topic has them; their columns are in `schemas/sql/`, the
//! migrations, which are compiled in. Knows no Kafka: an offset is a number from the caller.
//!
//! # Model
//!
//! The file is a *projection* of the sessions topic: the newest revision of each session, beside the offset of the next
//! record to read. Both are written in one transaction, so a crash repeats a batch whole or not at all, and repeating one
//! changes nothing: a revision that is not newer is old news. The file may be deleted at any time and filled again.
//!
//! ```text
//! one Writer ──apply(records, offsets)──▶ index.db (WAL) ◀──View: one read transaction── many Readers
//! ```
//!
//! # Locking
//!
//! SQLite lets one connection write at a time and readers never wait for it. Maintenance (`prune`) may write beside the
//! indexer: each write is one short `BEGIN IMMEDIATE`. What must not happen is a second *indexer* on the same file; it
//! is not kept out by a lock, which a crash would leave behind, but noticed by compare-and-set: an offset that is not
//! where this writer left it was moved by another ([`Error::Twin`]).
//!
//! # Durability
//!
//! `synchronous=FULL` in WAL mode: what was committed survives a power cut. For rows `NORMAL` would do, since offsets go
//! back with them and the indexer reads the difference again from Kafka; but it reads the partitions in another order, gives
//! the lost change numbers to other sessions, and who had asked for the changes before would never hear of some of them. It
//! costs a sync for each batch, which is two a second.
//!
//! # Invariants
//!
//! * A session row and its lists are of the same revision; it never goes back.
//! * `change` numbers are unique and grow within a `generation`; a file that may have lost some has another generation.
//! * Nothing is cached between calls: what the file says is what counts, whoever wrote it.
//!
//! # Why not otherwise
//!
//! No R*Tree over the intervals: it keeps 32-bit floats, which moves times by minutes. The longest duration of a stream,
//! kept beside it, bounds the search as well. No lock file, no server: an operator can open the file with `sqlite3`.

mod error;
mod freshness;
mod identity;
mod lookup;
mod maintain;
mod origin;
mod query;
mod records;
mod schema;
mod writer;

pub use error::{Error, Unreadable};
pub use freshness::Freshness;
pub use identity::{FileId, file_id};
pub use lookup::MAX_MERGES;
pub use maintain::{Difference, Rebuild, backup, sizes};
pub use origin::Origin;
pub use query::{Position, Reader, Select, StatusFilter, View};
pub use records::Entry;
pub use schema::{APPLICATION_ID, VERSION};
pub use writer::{Advance, Applied, Pruned, Writer};

/// How long one view may take, in seconds.
pub const MAX_QUERY_SECONDS: u64 = 10;

/// Returns the version of SQLite that is linked.
pub fn library() -> &'static str {
    rusqlite::version()
}

#[cfg(test)]
mod tests;
