//! Reading: pages of sessions, streams and changes, and single sessions with their lists.
//!
//! A [`Reader`] is a connection; a [`View`] is one read transaction on it, so that the parts of an answer belong together
//! while the indexer writes on. A view ends by itself after [`MAX_QUERY_SECONDS`]: one question must not keep the log
//! from being cut, nor a thread busy.
//!
//! # Paging
//!
//! Pages are by key and never by offset: the page after a [`Position`] begins at the first row beyond it, whatever was
//! inserted or removed in between. A session that moves (its start changes with a revision) may be seen twice or, if
//! it moves back, not at all; who must not miss anything reads [`View::changes`].
//!
//! # Intervals
//!
//! A session `[start, end)` is in `[from, to)` if the two overlap; one of no length is where its start is. It cannot
//! begin earlier than the longest session's length before `from`, and that is the lower bound of the search. Without it a
//! question about this morning would walk through all the years before.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use livesession_formats::session::record::{Gap, Rendition, Segment};
use livesession_formats::session::{SessionRecord, StreamListed, Summary};
use livesession_grouping::{SessionId, Status};
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, TransactionBehavior, params};

use super::error::{At, Error};
use super::origin::{self, Origin};
use super::records::{ENTRY, Entry, SEGMENT, lists, read_entry, read_file, read_gap, read_stream};
use super::{MAX_QUERY_SECONDS, schema};

/// Virtual machine steps between two looks at the clock: about a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// The last row of a page: the next one begins after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub start_ms: i64,
    pub session_id: String,
}

impl Position {
    /// Returns the position of a session.
    pub fn of(session: &Summary) -> Position {
        Position { start_ms: session.start.as_ms(), session_id: session.session_id.to_string() }
    }
}

/// Which statuses a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// All but the withdrawn ones, whose files are in other sessions.
    Current,
    Is(Status),
    Any,
}

/// Which sessions a page is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select<'a> {
    /// The key of one stream; `None` is all of them.
    pub stream: Option<&'a str>,
    /// Inclusive; `None` is since ever.
    pub from_ms: Option<i64>,
    /// Exclusive; `None` is for ever.
    pub to_ms: Option<i64>,
    pub status: StatusFilter,
    pub after: Option<Position>,
    pub limit: usize,
}

impl Default for Select<'_> {
    /// Current sessions of all streams and times, the first hundred.
    fn default() -> Self {
        Select { stream: None, from_ms: None, to_ms: None, status: StatusFilter::Current, after: None, limit: 100 }
    }
}

/// A connection that reads.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the file; it has to be there and of the version that this program writes.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Missing`] if no indexer has made it yet.
    pub fn open(path: &Path) -> Result<Reader, Error> {
        Ok(Reader { connection: schema::open_reader(path)?, path: path.to_owned() })
    }

    /// Starts a read transaction that is interrupted after [`MAX_QUERY_SECONDS`].
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn view(&mut self) -> Result<View<'_>, Error> {
        self.view_within(Duration::from_secs(MAX_QUERY_SECONDS))
    }

    /// Starts a read transaction that is never interrupted: for maintenance, which reads the whole file.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn long_view(&mut self) -> Result<View<'_>, Error> {
        self.connection.progress_handler(0, None::<fn() -> bool>).at(&self.path)?;
        self.begin()
    }

    pub(super) fn view_within(&mut self, limit: Duration) -> Result<View<'_>, Error> {
        let started = Instant::now();
        let handler = move || started.elapsed() >= limit;
        self.connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(handler)).at(&self.path)?;
        self.begin()
    }

    fn begin(&mut self) -> Result<View<'_>, Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred).at(&self.path)?;
        Ok(View { transaction, path: &self.path, source_topic: OnceCell::new() })
    }
}

/// One state of the index; every answer from it is of that state.
pub struct View<'r> {
    pub(super) transaction: Transaction<'r>,
    pub(super) path: &'r Path,
    /// Read with the first session: part of every record, and the same in all of them.
    source_topic: OnceCell<String>,
}

impl View<'_> {
    /// Returns a page of sessions by start and id.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] after too long; else what SQLite said.
    pub fn sessions(&self, select: &Select<'_>) -> Result<Vec<Entry>, Error> {
        self.select_sessions(select).at(self.path)
    }

    fn select_sessions(&self, select: &Select<'_>) -> rusqlite::Result<Vec<Entry>> {
        let from = select.from_ms.unwrap_or(i64::MIN);
        let longest = match select.stream {
            Some(stream) => self.longest_of(stream)?,
            None => self
                .transaction
                .query_row("SELECT value FROM meta WHERE key = 'max_duration_ms'", [], |row| row.get(0))?,
        };
        // One bound, the tighter of the two: with both in the statement SQLite would choose, and may choose wrongly.
        let lower = from.saturating_sub(longest);
        let (start, id) = match &select.after {
            Some(after) if after.start_ms >= lower => (after.start_ms, after.session_id.as_str()),
            _ => (lower, ""),
        };
        let limit = i64::try_from(select.limit).unwrap_or(i64::MAX);
        let status = match select.status {
            StatusFilter::Current => Some(Status::Withdrawn.as_str()),
            StatusFilter::Is(status) => Some(status.as_str()),
            StatusFilter::Any => None,
        };
        let to = select.to_ms.unwrap_or(i64::MAX);
        let sql = page_sql(select.stream.is_some(), select.status);
        self.entries(&sql, params![start, id, from, to, limit, select.stream, status])
    }

    /// Returns the session that began last, of one stream or of all; withdrawn ones do not count.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn last_session(&self, stream: Option<&str>) -> Result<Option<Entry>, Error> {
        self.entry(&last_sql(stream.is_some()), params![stream, Status::Withdrawn.as_str()]).at(self.path)
    }

    fn longest_of(&self, stream: &str) -> rusqlite::Result<i64> {
        let mut statement = self.transaction.prepare_cached("SELECT max_duration_ms FROM stream WHERE key = ?1")?;
        Ok(statement.query_row([stream], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Returns the session with that id, whatever its status.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn session(&self, session_id: &str) -> Result<Option<Entry>, Error> {
        self.entry(&session_sql(), [session_id]).at(self.path)
    }

    fn entry(&self, sql: &str, params: impl Params) -> rusqlite::Result<Option<Entry>> {
        let topic = self.topic_of_sources()?;
        self.transaction.prepare_cached(sql)?.query_row(params, |row| read_entry(row, topic)).optional()
    }

    fn entries(&self, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Entry>> {
        let topic = self.topic_of_sources()?;
        self.rows(sql, params, |row| read_entry(row, topic))
    }

    /// Returns the source topic of every record in this state of the file.
    pub(super) fn topic_of_sources(&self) -> rusqlite::Result<&str> {
        if let Some(topic) = self.source_topic.get() {
            return Ok(topic);
        }
        let topic = origin::meta(&self.transaction, "source_topic")?.unwrap_or_default();
        Ok(self.source_topic.get_or_init(|| topic))
    }

    /// Returns a session with its lists, as it was published: without any if it is withdrawn.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] for a row that no indexer wrote; else what SQLite said.
    pub fn with_lists(&self, entry: Entry) -> Result<SessionRecord, Error> {
        let Entry { session_no, summary, .. } = entry;
        if summary.status == Status::Withdrawn {
            return Ok(summary.with_lists(Vec::new(), Vec::new(), Vec::new()));
        }
        let (renditions, segments) = self.segments(session_no, summary.session_id).at(self.path)?;
        let gaps = self.gaps(session_no, summary.session_id).at(self.path)?;
        Ok(summary.with_lists(gaps, renditions, segments))
    }

    /// Returns the segments of a session row with their renditions, including segments that a withdrawal left behind.
    pub(super) fn segments(
        &self,
        session_no: i64,
        session_id: SessionId,
    ) -> rusqlite::Result<(Vec<Rendition>, Vec<Segment>)> {
        self.rows(&segments_sql(), [session_no], |row| read_file(row, 0, &session_id)).map(lists)
    }

    fn gaps(&self, session_no: i64, session_id: SessionId) -> rusqlite::Result<Vec<Gap>> {
        self.rows(GAPS_SQL, [session_no], |row| read_gap(row, &session_id))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.transaction.prepare_cached(sql)?.query_map(params, read)?.collect()
    }

    /// Returns a page of streams whose key begins with `prefix`, by key, after the key `after`.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn streams(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<StreamListed>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // Every key is greater than the empty text, which no key is.
        let (mut lower, mut inclusive) = (prefix, true);
        if let Some(after) = after.filter(|after| *after >= prefix) {
            (lower, inclusive) = (after, false);
        }
        self.rows(STREAMS_SQL, params![lower, inclusive, end_of_prefix(prefix), limit], read_stream).at(self.path)
    }

    /// Returns streams that have `part` in their key, in capitals or not, by key.
    ///
    /// Walks through the streams, which are few beside the sessions, until there are `limit`: for a person who knows the
    /// room and not its key.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] after too long; else what SQLite said.
    pub fn streams_with(&self, part: &str, limit: usize) -> Result<Vec<StreamListed>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(STREAMS_WITH_SQL, params![part, limit], read_stream).at(self.path)
    }

    /// Returns the sessions that changed after the change number `after`, by number, withdrawn ones included.
    ///
    /// # Errors
    ///
    /// [`Error::OtherGeneration`] if `generation` is not the file's: its numbers mean nothing here.
    pub fn changes(&self, generation: &str, after: i64, limit: usize) -> Result<Vec<Entry>, Error> {
        let found = self.generation()?;
        if found != generation {
            return Err(Error::OtherGeneration { found, asked: generation.to_owned() });
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.entries(&changes_sql(), params![after, limit]).at(self.path)
    }

    /// Returns what tells this filling of the file from others.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn generation(&self) -> Result<String, Error> {
        Ok(self.meta("generation")?.unwrap_or_default())
    }

    /// Returns the number of the last change.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn last_change(&self) -> Result<i64, Error> {
        self.transaction.query_row("SELECT value FROM meta WHERE key = 'change'", [], |row| row.get(0)).at(self.path)
    }

    /// Returns the sessions topic, if an indexer has written here.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn topic(&self) -> Result<Option<String>, Error> {
        self.meta("topic")
    }

    /// Returns the topic that the sessions were made from.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn source_topic(&self) -> Result<Option<String>, Error> {
        self.meta("source_topic")
    }

    /// Refuses a file that was filled from elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::OtherTopic`]; what SQLite said.
    pub fn check(&self, origin: &Origin) -> Result<(), Error> {
        origin.check(&self.transaction, self.path)
    }

    fn meta(&self, key: &str) -> Result<Option<String>, Error> {
        origin::meta(&self.transaction, key).at(self.path)
    }

    /// Returns the next offset to read of every partition, by topic id and partition.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn offsets(&self) -> Result<Vec<(String, i32, i64)>, Error> {
        origin::offsets(&self.transaction).at(self.path)
    }
}

/// A session by its id.
pub(super) fn session_sql() -> String {
    format!("SELECT {ENTRY} FROM session s JOIN stream t ON t.key = s.stream_key WHERE s.session_id = ?1")
}

/// The segments of a session, as published.
pub(super) fn segments_sql() -> String {
    format!("SELECT {SEGMENT} FROM segment g WHERE session_no = ?1 ORDER BY seq")
}

pub(super) const GAPS_SQL: &str = "SELECT start_ms, end_ms FROM gap WHERE session_no = ?1 ORDER BY seq";

/// Streams from a lower bound, which counts itself if `?2`, up to the end of the prefix.
pub(super) const STREAMS_SQL: &str = "SELECT key, app, appname, stream_id,
    (SELECT max(start_ms) FROM session WHERE stream_key = stream.key)
  FROM stream WHERE key >= ?1 AND (?2 OR key > ?1) AND (?3 IS NULL OR key < ?3) ORDER BY key LIMIT ?4";

/// Streams with a text in their key.
pub(super) const STREAMS_WITH_SQL: &str = "SELECT key, app, appname, stream_id,
    (SELECT max(start_ms) FROM session WHERE stream_key = stream.key)
  FROM stream WHERE instr(lower(key), lower(?1)) > 0 ORDER BY key LIMIT ?2";

/// Sessions by change number.
pub(super) fn changes_sql() -> String {
    format!(
        "SELECT {ENTRY} FROM session s JOIN stream t ON t.key = s.stream_key
         WHERE s.change > ?1 ORDER BY s.change LIMIT ?2"
    )
}

/// A page of sessions. What the user typed is in the parameters only.
///
/// `end + (end = start)` puts a session of no length where its start is. CROSS JOIN keeps the streams on the inside: the
/// order comes from the index on sessions.
pub(super) fn page_sql(by_stream: bool, status: StatusFilter) -> String {
    let stream = if by_stream { "s.stream_key = ?6 AND" } else { "?6 IS NULL AND" };
    let status = match status {
        StatusFilter::Current => "s.status <> ?7 AND",
        StatusFilter::Is(_) => "s.status = ?7 AND",
        StatusFilter::Any => "?7 IS NULL AND",
    };
    let index = if by_stream { "session_by_stream" } else { "session_by_time" };
    format!(
        "SELECT {ENTRY} FROM session s INDEXED BY {index} CROSS JOIN stream t ON t.key = s.stream_key
         WHERE {stream} {status} (s.start_ms, s.session_id) > (?1, ?2) AND s.start_ms < ?4
           AND s.end_ms + (s.end_ms = s.start_ms) > ?3
         ORDER BY s.start_ms, s.session_id LIMIT ?5"
    )
}

/// The session that began last: the index from its end.
pub(super) fn last_sql(by_stream: bool) -> String {
    let (stream, index) =
        if by_stream { ("s.stream_key = ?1", "session_by_stream") } else { ("?1 IS NULL", "session_by_time") };
    format!(
        "SELECT {ENTRY} FROM session s INDEXED BY {index} CROSS JOIN stream t ON t.key = s.stream_key
         WHERE {stream} AND s.status <> ?2 ORDER BY s.start_ms DESC, s.session_id DESC LIMIT 1"
    )
}

/// Returns the first text that is greater than every text that begins with `prefix`; `None` if there is none.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // Text order is code point order; the range skips surrogates by itself.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}
