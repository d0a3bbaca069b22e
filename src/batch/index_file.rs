//! Sessions into a new SQLite index, for a back-fill that somebody wants to ask rather than read.
//!
//! The file must not exist: an index keeps the highest revision of a session, and every run begins at 1, so a second run
//! into the same file would leave the first one's sessions and say nothing. Open sessions are not written, as they are
//! never on the topic that an index is a copy of; `--close-all` closes them.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use livesession_formats::session::{SessionRecord, Source};
use livesession_grouping::{Publication, Status};
use livesession_index::{Error, Origin, Writer};

/// How many sessions one transaction writes.
const BATCH: usize = 1_000;

/// The index that is being filled.
pub struct IndexFile {
    path: PathBuf,
    /// The topic that sessions would have been published to.
    topic: String,
    /// Of the topic whose sessions came first.
    writer: Option<(Writer, String)>,
    batch: Vec<SessionRecord>,
    left_out: LeftOut,
}

/// Sessions that are not in the index.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeftOut {
    pub open: u64,
    /// Of which another partition has the same: the files of a session are in both.
    pub again: usize,
}

impl IndexFile {
    /// Makes the file, still empty.
    pub fn create(path: &Path, topic: &str) -> Result<IndexFile, Failure> {
        let made = File::options().write(true).create_new(true).open(path);
        made.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => {
                let message = format!("{} exists: name a file that does not, or remove it", path.display());
                Failure::new(Exit::Usage, message)
            }
            _ => Failure::caused_by(Exit::IoErr, format!("could not make {}", path.display()), source),
        })?;
        let (path, topic) = (path.to_owned(), topic.to_owned());
        Ok(IndexFile { path, topic, writer: None, batch: Vec::new(), left_out: LeftOut::default() })
    }

    pub fn put(&mut self, publication: &Publication, from: Source<'_>) -> Result<(), Failure> {
        if publication.status == Status::Open {
            self.left_out.open += 1;
            return Ok(());
        }
        self.open(from.topic)?;
        self.batch.push(SessionRecord::from_publication(publication, from));
        if self.batch.len() < BATCH { Ok(()) } else { self.write() }
    }

    /// Writes the rest and closes the file. Without a session it is an index of `topic`.
    pub fn finish(mut self, topic: &str) -> Result<LeftOut, Failure> {
        if self.writer.is_none() {
            self.open(topic)?;
        }
        self.write()?;
        if let Some((writer, _)) = self.writer {
            writer.close().map_err(failure)?;
        }
        Ok(self.left_out)
    }

    /// Opens the file as an index of sessions that were made from `topic`, unless it is open.
    fn open(&mut self, topic: &str) -> Result<(), Failure> {
        match &self.writer {
            Some((_, first)) if first == topic => Ok(()),
            Some((_, first)) => {
                let message = format!("an index is of one topic, and there are records of {first:?} and {topic:?}");
                Err(Failure::new(Exit::DataErr, message))
            }
            None => {
                let origin = Origin { topic: self.topic.clone(), source_topic: topic.to_owned() };
                self.writer = Some((Writer::open(&self.path, &origin).map_err(failure)?, topic.to_owned()));
                Ok(())
            }
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
        if let Some((writer, _)) = &mut self.writer {
            // No offsets: the rows come from no topic.
            self.left_out.again += writer.apply(&self.batch, &[]).map_err(failure)?.old;
        }
        self.batch.clear();
        Ok(())
    }
}

fn failure(error: Error) -> Failure {
    let exit = match error {
        Error::Sql { .. } | Error::Backwards { .. } => Exit::Software,
        _ => Exit::IoErr,
    };
    Failure::caused_by(exit, "could not write sessions to the index", error)
}
