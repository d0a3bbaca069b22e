//! Writing: batches of session rows, together with the offsets that they were read up to.
//!
//! One connection, one transaction per batch, `BEGIN IMMEDIATE`: a transaction that reads first and writes later could
//! not be retried when another connection wrote in between. Nothing is remembered between batches; the counters are read
//! and written inside the transaction, so maintenance in another process does no harm.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use livesession_formats::session::SessionRecord;
use livesession_grouping::Status;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::error::{At, Error};
use super::origin::{self, Origin};
use super::records::{INSERT_SEGMENT, INSERT_SESSION, UPDATE_SESSION, write_segment, write_session};
use super::schema;

/// A step of one partition's offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The id of the topic and not its name: a topic that was made again starts from 0.
    pub topic_id: String,
    pub partition: i32,
    /// The next offset to read as this writer knows it; `None` if it has never written one.
    pub from: Option<i64>,
    /// The next offset to read from now on; not before `from`.
    pub to: i64,
}

/// What a batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records that were newer than what was there.
    pub stored: usize,
    /// Records whose revision was there already, or a later one.
    pub old: usize,
    /// The last change number given out, now or before.
    pub change: i64,
}

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub sessions: usize,
    pub segments: usize,
    pub streams: usize,
}

/// The one connection that writes.
pub struct Writer {
    pub(super) connection: Connection,
    path: PathBuf,
}

/// Sessions that one transaction of `prune` removes: an indexer waits no longer than that takes.
const PRUNED_AT_ONCE: i64 = 1_000;

impl Writer {
    /// Opens the file, makes it if need be, and binds it to `origin` for good.
    ///
    /// # Errors
    ///
    /// [`Error::OtherTopic`] if it was filled from elsewhere; see [`Error`] for the rest.
    pub fn open(path: &Path, origin: &Origin) -> Result<Writer, Error> {
        let writer = Writer { connection: schema::open_writer(path)?, path: path.to_owned() };
        for (what, asked) in origin.names() {
            writer
                .connection
                .execute("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING", [what, asked])
                .at(path)?;
        }
        origin.check(&writer.connection, path)?;
        Ok(writer)
    }

    /// Opens a file that is there, whatever it was filled from, for maintenance.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it is not there; see [`Error`] for the rest.
    pub fn open_existing(path: &Path) -> Result<Writer, Error> {
        if !path.exists() {
            return Err(Error::Missing { path: path.to_owned() });
        }
        Ok(Writer { connection: schema::open_writer(path)?, path: path.to_owned() })
    }

    /// Returns the next offset to read of every partition: where to go on after a restart.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn offsets(&self) -> Result<Vec<(String, i32, i64)>, Error> {
        origin::offsets(&self.connection).at(&self.path)
    }

    /// Writes a batch: records in the order of the topic, and the offsets that they were read up to.
    ///
    /// All of it or nothing. A revision that is not newer than the one that is there is old news and changes nothing, so
    /// a batch may be applied twice as far as rows are concerned; its offsets may not.
    ///
    /// # Errors
    ///
    /// [`Error::Twin`] if an offset is not where `advances` says it was: another indexer moved it, and this one has to
    /// stop. [`Error::Busy`] and [`Error::Full`] may pass. Nothing was written in any case.
    pub fn apply(&mut self, records: &[SessionRecord], advances: &[Advance]) -> Result<Applied, Error> {
        let path = self.path.as_path();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).at(path)?;
        for advance in advances {
            move_offset(&transaction, path, advance)?;
        }
        let applied = store(&transaction, records).at(path)?;
        transaction.commit().at(path)?;
        Ok(applied)
    }

    /// Removes sessions that ended before `before_ms`, with their lists, and streams that have none left.
    ///
    /// In steps (see [`Writer::prune_some`]), so that the indexer gets its turn; stopped half-way it has removed the
    /// oldest. `dry_run` only counts. The counter of changes stays: who syncs hears nothing of it, and keeps what they
    /// have for as long as they like.
    ///
    /// # Errors
    ///
    /// What SQLite said; what was removed before stays removed.
    pub fn prune(&mut self, before_ms: i64, dry_run: bool) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        if dry_run {
            return count_prunable(&self.connection, before_ms).at(&self.path);
        }
        loop {
            let step = self.prune_some(before_ms)?;
            pruned.sessions += step.sessions;
            pruned.segments += step.segments;
            pruned.streams += step.streams;
            if step.sessions == 0 {
                return Ok(pruned);
            }
        }
    }

    /// Does one step of [`Writer::prune`]: a transaction of at most a thousand sessions, the oldest.
    ///
    /// # Errors
    ///
    /// What SQLite said; nothing was removed then.
    pub fn prune_some(&mut self, before_ms: i64) -> Result<Pruned, Error> {
        let path = self.path.as_path();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).at(path)?;
        let step = prune_some(&transaction, before_ms).at(path)?;
        transaction.commit().at(path)?;
        Ok(step)
    }

    /// Moves the log into the file and cuts it, then closes: what a supervisor's copy of the file alone would miss.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if a reader holds on to the log; nothing is lost then, the log is read at the next start.
    pub fn close(self) -> Result<(), Error> {
        let busy: i32 =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).at(&self.path)?;
        let closed = self.connection.close().map_err(|(_, source)| source).at(&self.path);
        if busy != 0 {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None);
            return Err(Error::Busy { path: self.path, source });
        }
        closed
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Moves one offset by compare-and-set.
fn move_offset(transaction: &Transaction<'_>, path: &Path, advance: &Advance) -> Result<(), Error> {
    let Advance { topic_id, partition, from, to } = advance;
    if let Some(from) = from.filter(|from| from > to) {
        return Err(Error::Backwards { topic_id: topic_id.clone(), partition: *partition, from, to: *to });
    }
    let moved = match from {
        Some(from) => transaction
            .prepare_cached("UPDATE topic_offset SET next = ?4 WHERE topic_id = ?1 AND partition = ?2 AND next = ?3")
            .and_then(|mut statement| statement.execute(params![topic_id, partition, from, to]))
            .at(path)?,
        None => transaction
            .prepare_cached(
                "INSERT INTO topic_offset (topic_id, partition, next) VALUES (?1, ?2, ?3)
                 ON CONFLICT (topic_id, partition) DO NOTHING",
            )
            .and_then(|mut statement| statement.execute(params![topic_id, partition, to]))
            .at(path)?,
    };
    if moved == 1 {
        return Ok(());
    }
    let found = transaction
        .query_row(
            "SELECT next FROM topic_offset WHERE topic_id = ?1 AND partition = ?2",
            params![topic_id, partition],
            |row| row.get(0),
        )
        .optional()
        .at(path)?;
    let (topic_id, partition, expected, to) = (topic_id.clone(), *partition, *from, *to);
    Err(Error::Twin { path: path.to_owned(), topic_id, partition, expected, found, to })
}

/// Stores what is newer, and counts.
fn store(transaction: &Transaction<'_>, records: &[SessionRecord]) -> rusqlite::Result<Applied> {
    let mut applied = Applied { change: meta_number(transaction, "change")?, ..Applied::default() };
    let mut statements = Statements::prepare(transaction)?;
    let mut longest = 0;
    for record in records {
        longest = longest.max(length_ms(record));
        if statements.store(record, applied.change + 1)? {
            applied.change += 1;
            applied.stored += 1;
        } else {
            applied.old += 1;
        }
    }
    let mut set = transaction.prepare_cached("UPDATE meta SET value = max(value, ?2) WHERE key = ?1")?;
    if applied.stored > 0 {
        set.execute(params!["change", applied.change])?;
    }
    if longest > 0 {
        set.execute(params!["max_duration_ms", longest])?;
    }
    Ok(applied)
}

/// What writing a record takes, prepared once for all of a batch.
struct Statements<'t> {
    /// The longest session of each stream as far as this batch knows: a row that says as much is not written again.
    streams: HashMap<String, i64>,
    stream: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    update: CachedStatement<'t>,
    forget_segments: CachedStatement<'t>,
    forget_gaps: CachedStatement<'t>,
    segment: CachedStatement<'t>,
    gap: CachedStatement<'t>,
}

impl<'t> Statements<'t> {
    fn prepare(transaction: &'t Transaction<'_>) -> rusqlite::Result<Statements<'t>> {
        Ok(Statements {
            streams: HashMap::new(),
            stream: transaction.prepare_cached(
                "INSERT INTO stream (key, app, appname, stream_id, max_duration_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (key) DO UPDATE SET max_duration_ms = excluded.max_duration_ms
                 WHERE excluded.max_duration_ms > stream.max_duration_ms",
            )?,
            insert: transaction.prepare_cached(INSERT_SESSION)?,
            update: transaction.prepare_cached(UPDATE_SESSION)?,
            forget_segments: transaction.prepare_cached("DELETE FROM segment WHERE session_no = ?1")?,
            forget_gaps: transaction.prepare_cached("DELETE FROM gap WHERE session_no = ?1")?,
            segment: transaction.prepare_cached(INSERT_SEGMENT)?,
            gap: transaction
                .prepare_cached("INSERT INTO gap (session_no, seq, start_ms, end_ms) VALUES (?1, ?2, ?3, ?4)")?,
        })
    }

    /// Writes a record unless what is there is as new; returns whether it did.
    fn store(&mut self, record: &SessionRecord, change: i64) -> rusqlite::Result<bool> {
        self.store_stream(record)?;
        if let Some(session_no) = write_session(&mut self.insert, record, change)? {
            self.store_lists(session_no, record)?;
            return Ok(true);
        }
        let Some(session_no) = write_session(&mut self.update, record, change)? else { return Ok(false) };
        self.forget_gaps.execute([session_no])?;
        // A withdrawal comes without lists and leaves the files findable, until the survivor has them.
        if record.status != Status::Withdrawn {
            self.forget_segments.execute([session_no])?;
            self.store_lists(session_no, record)?;
        }
        Ok(true)
    }

    fn store_stream(&mut self, record: &SessionRecord) -> rusqlite::Result<()> {
        let (stream, length) = (&record.stream, length_ms(record));
        match self.streams.get_mut(&stream.key) {
            Some(longest) if *longest >= length => return Ok(()),
            Some(longest) => *longest = length,
            None => {
                self.streams.insert(stream.key.clone(), length);
            }
        }
        self.stream.execute(params![stream.key, stream.app, stream.appname, stream.stream_id, length])?;
        Ok(())
    }

    fn store_lists(&mut self, session_no: i64, record: &SessionRecord) -> rusqlite::Result<()> {
        for (seq, segment) in (0..).zip(&record.segments) {
            let rendition = record.renditions.get(segment.rendition);
            write_segment(&mut self.segment, (session_no, seq), segment, rendition)?;
        }
        for (seq, gap) in (0_i64..).zip(&record.gaps) {
            self.gap.execute(params![session_no, seq, gap.start.as_ms(), gap.end.as_ms()])?;
        }
        Ok(())
    }
}

/// Returns the length of a session as the index stores and searches it, from its times alone.
fn length_ms(record: &SessionRecord) -> i64 {
    record.end.as_ms() - record.start.as_ms()
}

fn meta_number(connection: &Connection, key: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0))
}

fn count_prunable(connection: &Connection, before_ms: i64) -> rusqlite::Result<Pruned> {
    connection.query_row(
        "SELECT (SELECT count(*) FROM session WHERE end_ms < ?1),
           (SELECT count(*) FROM segment JOIN session USING (session_no) WHERE session.end_ms < ?1),
           (SELECT count(*) FROM stream WHERE NOT EXISTS
              (SELECT 1 FROM session WHERE session.stream_key = stream.key AND session.end_ms >= ?1))",
        [before_ms],
        |row| {
            let count = |index| row.get::<_, i64>(index).map(|count| usize::try_from(count).unwrap_or(0));
            Ok(Pruned { sessions: count(0)?, segments: count(1)?, streams: count(2)? })
        },
    )
}

/// Removes up to [`PRUNED_AT_ONCE`] sessions, oldest start first.
fn prune_some(transaction: &Transaction<'_>, before_ms: i64) -> rusqlite::Result<Pruned> {
    // start <= end, so the walk along the index by time stops at before_ms.
    let mut select = transaction.prepare_cached(
        "SELECT session_no, stream_key FROM session WHERE start_ms < ?1 AND end_ms < ?1 ORDER BY start_ms, session_id LIMIT ?2",
    )?;
    let doomed: Vec<(i64, String)> = select
        .query_map([before_ms, PRUNED_AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut pruned = Pruned { sessions: doomed.len(), ..Pruned::default() };
    let mut streams: Vec<&String> = doomed.iter().map(|(_, stream)| stream).collect();
    streams.sort_unstable();
    streams.dedup();
    for (session_no, _) in &doomed {
        pruned.segments +=
            transaction.prepare_cached("DELETE FROM segment WHERE session_no = ?1")?.execute([session_no])?;
        transaction.prepare_cached("DELETE FROM session WHERE session_no = ?1")?.execute([session_no])?;
    }
    for stream in streams {
        pruned.streams += transaction
            .prepare_cached(
                "DELETE FROM stream WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM session WHERE stream_key = ?1)",
            )?
            .execute([stream])?;
    }
    Ok(pruned)
}
