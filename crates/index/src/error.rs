//! Errors of the index, sorted by what the caller does about them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Tells the caller what to do; SQLite's own words stay in `source`, for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Try again: somebody else writes for longer than the busy timeout.
    #[error("could not lock index {}: another process is writing to it", path.display())]
    Busy {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },

    /// Try again with a smaller question.
    #[error("could not answer from index {} within {seconds} s", path.display())]
    Interrupted { path: PathBuf, seconds: u64 },

    /// The disk, or `max_page_count`: make room, then start again; nothing of the batch was written.
    #[error("could not write index {}: no space left", path.display())]
    Full {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },

    /// The file or its directory: a reader too has to be able to write the `-shm` file.
    #[error("cannot write index {}: file or directory is read-only", path.display())]
    ReadOnly {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },

    /// The path, or the rights to it.
    #[error("cannot open index {}: {why}", path.display())]
    Unopenable {
        path: PathBuf,
        why: &'static str,
        #[source]
        source: rusqlite::Error,
    },

    /// A reader came before the first writer, or the path is wrong.
    #[error("there is no index at {}", path.display())]
    Missing { path: PathBuf },

    /// The disk: reading or writing failed below SQLite.
    #[error("could not read or write index {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },

    /// A file operation beside SQLite failed: sync, rename or remove.
    #[error("could not {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    /// Delete the file and fill it again from the topic.
    #[error("index {} is corrupt: delete it and let it be filled again", path.display())]
    Corrupt {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },

    /// Fill the file again from the topic: another program has written to it.
    #[error("index {} has an invalid row", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: Box<Unreadable>,
    },

    /// Something else: nothing was written to it.
    #[error("{} is not a SQLite file: name the index, or delete it if it was the index once", path.display())]
    NotSqlite { path: PathBuf },

    /// Another program's SQLite file: nothing was written to it.
    #[error("{} is not an index of livesession (application_id {application_id})", path.display())]
    NotAnIndex { path: PathBuf, application_id: i32 },

    /// A newer program wrote the file: its rows may mean something that this one does not know.
    #[error("index {} has version {found}, this program knows up to {known}", path.display())]
    Newer { path: PathBuf, found: i32, known: i32 },

    /// A reader found a file that a writer has yet to migrate.
    #[error("index {} has version {found}, not {known}: start its indexer once to migrate it", path.display())]
    Older { path: PathBuf, found: i32, known: i32 },

    /// The file belongs to another topic: one index is of one topic.
    #[error("index {} is of {what} {found:?}, not {asked:?}", path.display())]
    OtherTopic { path: PathBuf, what: &'static str, found: String, asked: String },

    /// A second indexer works on the file: stop, and write nothing more.
    #[error(
        "cannot move partition {partition} of topic {topic_id} from offset {expected:?} to {to}: it is at {found:?}, so another \
         indexer writes to {}",
        path.display()
    )]
    Twin { path: PathBuf, topic_id: String, partition: i32, expected: Option<i64>, found: Option<i64>, to: i64 },

    /// The change number is of another filling of the file: ask again from 0.
    #[error("index has generation {found}, not {asked:?}")]
    OtherGeneration { found: String, asked: String },

    /// The target of a backup is there already: nothing is overwritten.
    #[error("cannot write backup: {} exists", path.display())]
    Exists { path: PathBuf },

    /// Our defect.
    #[error("cannot move partition {partition} of topic {topic_id} back from offset {from} to {to}")]
    Backwards { topic_id: String, partition: i32, from: i64, to: i64 },

    /// Our defect: a statement that SQLite refuses, or a row that breaks a constraint.
    #[error("cannot execute statement on index {}", path.display())]
    Sql {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
}

impl Error {
    /// Sorts what SQLite said about the file at `path`.
    pub(super) fn from_sql(path: &Path, source: rusqlite::Error) -> Error {
        let path = path.to_owned();
        if let rusqlite::Error::FromSqlConversionFailure(_, _, cause) = &source
            && let Some(unreadable) = cause.downcast_ref::<Unreadable>()
        {
            return Error::Unreadable { path, source: Box::new(unreadable.clone()) };
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy { path, source },
            Some(ErrorCode::OperationInterrupted) => Error::Interrupted { path, seconds: crate::MAX_QUERY_SECONDS },
            Some(ErrorCode::DiskFull) => Error::Full { path, source },
            Some(ErrorCode::ReadOnly) => Error::ReadOnly { path, source },
            // Reading a directory fails below SQLite.
            Some(ErrorCode::SystemIoFailure) if !path.is_dir() => Error::Io { path, source },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => {
                Error::Unopenable { why: why_unopenable(&path), path, source }
            }
            Some(ErrorCode::NotADatabase) if !is_sqlite(&path) => Error::NotSqlite { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt { path, source },
            _ => Error::Sql { path, source },
        }
    }
}

/// A column that cannot be read. Passes through rusqlite's error to [`Error::Unreadable`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {column} of {of}: {found:?}")]
pub struct Unreadable {
    pub column: String,
    /// A session or a stream.
    pub of: String,
    pub found: String,
}

/// Returns whether a file begins as SQLite's do.
fn is_sqlite(path: &Path) -> bool {
    const SQLITE: &[u8; 16] = b"SQLite format 3\0";
    let mut begin = [0; SQLITE.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *SQLITE
}

/// Finds out what SQLite does not say.
fn why_unopenable(path: &Path) -> &'static str {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    if path.is_dir() {
        "it is a directory"
    } else if directory.is_some_and(|directory| !directory.is_dir()) {
        "its directory does not exist"
    } else {
        "no right to it, or a read-only disk"
    }
}

/// Names the file in what SQLite returns.
pub(super) trait At<T> {
    /// Sorts the error, if it is one, with the path of the file.
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for rusqlite::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::from_sql(path, source))
    }
}
