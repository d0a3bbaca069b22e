//! Opening the file: whose it is, which version it has, and bringing it up to date.
//!
//! Migrations are numbered SQL files; the number of the last one applied is `user_version`. All that are missing run in
//! one transaction, so a crash leaves the old version. Never remove or edit a released one: files that went through it
//! are out there. A file of a newer program is refused rather than used as far as it is understood, because a column
//! that we do not know may say that a row no longer counts.
//!
//! A foreign file is recognised *before* anything is written to it, `journal_mode` included.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{At, Error};

/// What tells our files from other SQLite files: `LSIX`.
pub const APPLICATION_ID: i32 = 1_280_526_680;

/// The version that this program writes: the number of migrations.
pub const VERSION: i32 = MIGRATIONS.len() as i32;

/// Every step from an empty file to [`VERSION`], in order.
const MIGRATIONS: [&str; 1] = [include_str!("../../../schemas/sql/0001_sessions.sql")];

/// How long a statement waits for somebody else's write transaction.
const BUSY_TIMEOUT: Duration = Duration::from_millis(5_000);

/// Statements kept prepared; there are fewer than this.
const STATEMENTS: usize = 32;

/// Returns a path as SQLite takes it: `:memory:` and `file:…` are files too, and no database that vanishes.
pub(super) fn file(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Opens the file for writing, makes it if it is not there, and migrates it.
///
/// File ids come in no order, so a batch touches pages all over their index: with SQLite's own 2 MB of cache and a checkpoint
/// each 4 MB of log most of the time goes into moving those pages to and fro. Hence 64 MB of cache and a checkpoint each 16 MB.
///
/// # Errors
///
/// [`Error::NotAnIndex`] and [`Error::Newer`] before anything is written; else what SQLite said.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file(path), flags).at(path)?;
    connection.busy_timeout(BUSY_TIMEOUT).at(path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let found = version(&connection, path)?;
    if found > VERSION {
        return Err(Error::Newer { path: path.to_owned(), found, known: VERSION });
    }
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF;
             PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000;",
        )
        .at(path)?;
    if found < VERSION {
        migrate(&mut connection, path)?;
    }
    Ok(connection)
}

/// Opens the file for reading; it has to be there and up to date.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::NotAnIndex`], [`Error::Newer`], [`Error::Older`], else what SQLite said.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    if !path.exists() {
        return Err(Error::Missing { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file(path), flags).at(path)?;
    connection.busy_timeout(BUSY_TIMEOUT).at(path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;").at(path)?;
    let found = version(&connection, path)?;
    if found > VERSION {
        return Err(Error::Newer { path: path.to_owned(), found, known: VERSION });
    }
    if found < VERSION {
        return Err(Error::Older { path: path.to_owned(), found, known: VERSION });
    }
    Ok(connection)
}

/// Returns the version of the file, 0 if it is empty.
fn version(connection: &Connection, path: &Path) -> Result<i32, Error> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i32>(0)).at(path);
    let application_id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let is_empty = number("SELECT count(*) FROM sqlite_schema")? == 0 && application_id == 0 && version == 0;
    if application_id != APPLICATION_ID && !is_empty {
        return Err(Error::NotAnIndex { path: path.to_owned(), application_id });
    }
    Ok(version)
}

/// Runs the missing migrations in one transaction.
///
/// The version is read again inside of it: two processes may open a new file at the same moment.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).at(path)?;
    let found = version(&transaction, path)?;
    let done = usize::try_from(found).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step).at(path)?;
    }
    transaction.commit().at(path)
}
