//! Copying the file, filling it anew, and comparing it with the topic.
//!
//! A copy is made by SQLite and never by copying the file: half of a database is in the log beside it. A new filling is
//! written *into* the live file, by SQLite's backup API in one transaction, since a renamed file would leave the readers on the old one
//! with the log of the new.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use livesession_formats::session::SessionRecord;
use livesession_formats::session::record::{Segment, SourceRange};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::error::{At, Error};
use super::origin::Origin;
use super::query::View;
use super::schema;
use super::writer::Writer;

/// Writes a copy of the index at `path` to `target`, which must not be there. The indexer may write on meanwhile.
///
/// The copy has a generation of its own: put back in the original's place it would give out change numbers a second time.
/// It appears under its name when it is whole and on the disk.
///
/// # Errors
///
/// [`Error::Exists`] if the target is there; [`Error::Full`] and the like for the disk of the target.
pub fn backup(path: &Path, target: &Path) -> Result<(), Error> {
    if target.exists() {
        return Err(Error::Exists { path: target.to_owned() });
    }
    let part = beside(target, ".part");
    remove_database(&part)?;
    let copied = copy_to(path, &part).and_then(|()| {
        let synced = File::open(&part).and_then(|file| file.sync_all());
        synced.map_err(|source| Error::File { action: "sync", path: part.clone(), source })?;
        fs::rename(&part, target).map_err(|source| Error::File { action: "rename", path: part.clone(), source })
    });
    // What went wrong first is what the caller has to know.
    let removed = remove_database(&part);
    copied.and(removed)
}

fn copy_to(path: &Path, part: &Path) -> Result<(), Error> {
    let source = schema::open_reader(path)?;
    source.pragma_update(None, "query_only", false).at(path)?;
    // SQLite takes a file name as text only; the error names the copy, since it is what can fill a disk.
    let file = schema::file(part);
    let name = file.to_str().ok_or_else(|| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "name is not UTF-8");
        Error::File { action: "create", path: part.to_owned(), source }
    })?;
    source.execute("VACUUM INTO ?1", [name]).at(part)?;
    let copy = Connection::open(&file).at(part)?;
    copy.execute("UPDATE meta SET value = lower(hex(randomblob(8))) WHERE key = 'generation'", []).at(part)?;
    copy.close().map_err(|(_, source)| source).at(part)
}

/// A new filling, written beside the live file until it is whole; removed with this value, however that ends.
pub struct Rebuild {
    writer: Writer,
    live: PathBuf,
    part: Part,
}

/// A database that is removed in the end: left behind on a full disk it would keep the live one from writing.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // What is left is removed by the next attempt.
        let _ = remove_database(&self.0);
    }
}

/// Pages copied in one step: all of them, for readers see the old state until the last one is written anyway.
const ALL_PAGES: i32 = -1;

/// Attempts to get the write lock of the live file; each waits for the busy timeout.
const ATTEMPTS: usize = 12;

impl Rebuild {
    /// Begins with an empty file beside the live one; what a killed attempt left there is removed.
    ///
    /// # Errors
    ///
    /// See [`Error`]; the live file is not touched, but it is looked at: another program's file, a newer index or that of
    /// another topic is not to be overwritten.
    pub fn begin(live: &Path, origin: &Origin) -> Result<Rebuild, Error> {
        if live.exists() {
            match schema::open_reader(live).and_then(|connection| origin.check(&connection, live)) {
                // A corrupt index is the best reason to fill it anew, and an older one is written over.
                Ok(()) | Err(Error::Older { .. } | Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let part = Part(beside(live, ".rebuild"));
        remove_database(&part.0)?;
        Ok(Rebuild { writer: Writer::open(&part.0, origin)?, live: live.to_owned(), part })
    }

    /// Returns the writer of the new file: what is applied there is not seen before [`Rebuild::finish`].
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Copies the new file over the live one, in one transaction under which readers go on, and removes it.
    ///
    /// A running indexer finds its offsets moved and stops ([`Error::Twin`]), or, if they are where it left them, goes on.
    /// The generation is another one, so that who syncs by change number starts over.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if another connection writes for a minute (12 times the busy timeout); the live file is as it was.
    pub fn finish(self) -> Result<(), Error> {
        let Rebuild { writer, live, part } = self;
        let mut target = match schema::open_writer(&live) {
            Ok(target) => target,
            // Nobody can read a corrupt file, so nobody is disturbed when another takes its place.
            Err(Error::Corrupt { .. }) => {
                remove_database(&live)?;
                schema::open_writer(&live)?
            }
            Err(error) => return Err(error),
        };
        copy_over(&writer.connection, &mut target, &live)?;
        target.close().map_err(|(_, source)| source).at(&live)?;
        drop(writer);
        remove_database(&part.0)
    }
}

fn copy_over(source: &Connection, target: &mut Connection, live: &Path) -> Result<(), Error> {
    let backup = Backup::new(source, target).at(live)?;
    for _ in 0..ATTEMPTS {
        if backup.step(ALL_PAGES).at(live)? == StepResult::Done {
            return Ok(());
        }
    }
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    Err(Error::Busy { path: live.to_owned(), source: rusqlite::Error::SqliteFailure(busy, None) })
}

/// Where the index and the topic disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The topic has a session that the index lacks.
    Missing { session_id: String, revision: u32 },
    /// Both have it, and a column or a list differs.
    Differs { session_id: String, what: &'static str },
    /// The index has a session that the topic lacks: usually older than the topic's retention.
    Extra { session_id: String, end_ms: i64 },
}

impl View<'_> {
    /// Compares the index with the newest record of every session, and reports each difference; returns how many
    /// records were compared.
    ///
    /// Records come in any order, each session once. Extra sessions are reported last. Keeps eight bytes per session.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn verify(
        &self,
        newest: impl IntoIterator<Item = SessionRecord>,
        mut report: impl FnMut(Difference),
    ) -> Result<usize, Error> {
        let mut seen = HashSet::new();
        let mut compared = 0;
        for record in newest {
            compared += 1;
            let session_id = record.session_id.to_string();
            let Some(entry) = self.session(&session_id)? else {
                report(Difference::Missing { session_id, revision: record.revision });
                continue;
            };
            seen.insert(entry.session_no);
            let indexed = self.with_lists(entry)?;
            if let Some(what) = first_difference(&indexed, &record) {
                report(Difference::Differs { session_id, what });
            }
        }
        self.report_extra(&seen, report).at(self.path)?;
        Ok(compared)
    }

    fn report_extra(&self, seen: &HashSet<i64>, mut report: impl FnMut(Difference)) -> rusqlite::Result<()> {
        let mut statement =
            self.transaction.prepare("SELECT session_no, session_id, end_ms FROM session ORDER BY session_no")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !seen.contains(&row.get::<_, i64>(0)?) {
                report(Difference::Extra { session_id: row.get(1)?, end_ms: row.get(2)? });
            }
        }
        Ok(())
    }
}

/// Compares what the index stores of a record; what it computes again follows from that.
fn first_difference(indexed: &SessionRecord, published: &SessionRecord) -> Option<&'static str> {
    if indexed.revision != published.revision {
        Some("revision")
    } else if indexed.status != published.status {
        Some("status")
    } else if indexed.stream != published.stream {
        Some("stream")
    } else if session_row(indexed) != session_row(published) {
        Some("session row")
    } else if !has_same_segments(indexed, published) {
        Some("segments")
    } else if !indexed
        .gaps
        .iter()
        .map(|gap| (gap.start, gap.end))
        .eq(published.gaps.iter().map(|gap| (gap.start, gap.end)))
    {
        Some("gaps")
    } else {
        None
    }
}

/// Returns the columns of a session that have no name of their own in a [`Difference`].
fn session_row(record: &SessionRecord) -> impl PartialEq {
    let SessionRecord {
        version: _,
        session_id: _,
        revision: _,
        status: _,
        merged_into,
        continues,
        close_cause,
        stream: _,
        start,
        end,
        duration_ms: _,
        recorded_ms,
        gaps: _,
        renditions: _,
        segments: _,
        source: SourceRange { topic: _, partition, first_offset, last_offset },
        watermark,
    } = record;
    let times = (*start, *end, *recorded_ms, *watermark);
    (*merged_into, *continues, *close_cause, times, (*partition, *first_offset, *last_offset))
}

fn has_same_segments(indexed: &SessionRecord, published: &SessionRecord) -> bool {
    let is_same = |(a, b): (&Segment, &Segment)| {
        // The rendition by its attributes: its number depends on how the writer counted.
        rendition(indexed, a) == rendition(published, b)
            && *a == Segment { rendition: a.rendition, duration_ms: a.duration_ms, ..b.clone() }
    };
    indexed.segments.len() == published.segments.len() && indexed.segments.iter().zip(&published.segments).all(is_same)
}

/// Returns template and bitrate of a segment.
fn rendition<'r>(record: &'r SessionRecord, segment: &Segment) -> (Option<&'r str>, Option<i64>) {
    let rendition = record.renditions.get(segment.rendition);
    rendition.map_or((None, None), |rendition| (rendition.template_id.as_deref(), rendition.bitrate_kbps))
}

/// Returns the bytes of the file and of its log; a log that only grows means a reader that never ends.
///
/// A file that is not there has no bytes.
pub fn sizes(path: &Path) -> (u64, u64) {
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).unwrap_or(0);
    (size(path), size(&beside(path, "-wal")))
}

/// Returns the path with `suffix` added to its last part.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn remove_database(path: &Path) -> Result<(), Error> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove(&beside(path, suffix))?;
    }
    Ok(())
}
