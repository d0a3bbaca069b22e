//! Sessions into a new SQLite index, for a back-fill that somebody wants to ask rather than read.
//!
//! The file must not exist: an index keeps the highest revision of a session, and every run begins at 1, so a second run
//! into the same file would leave the first one's sessions and say nothing. Open sessions are not written, as they are
//! never on the topic that an index is a copy of; `--close-all` closes them.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use livesession_formats::notification::split_stream_key;
use livesession_formats::session::Source;
use livesession_grouping::{Publication, Segment, Status};
use livesession_index::rows;
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
    batch: Vec<rows::Record>,
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
        self.batch.push(record(publication, from.partition));
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

fn record(publication: &Publication, partition: i32) -> rows::Record {
    let Publication { stream, head, status, merged_into, gaps, segments, .. } = publication;
    let (app, appname, stream_id) = split_stream_key(stream);
    let stream = rows::Stream {
        key: stream.to_string(),
        app: app.into_owned(),
        appname: appname.into_owned(),
        stream_id: stream_id.into_owned(),
    };
    let session = rows::Session {
        session_id: head.session_id.to_string(),
        revision: head.revision,
        status: status.as_str().to_owned(),
        merged_into: merged_into.map(|id| id.to_string()),
        continues: head.continues.map(|id| id.to_string()),
        close_cause: head.close_cause.map(|cause| cause.as_str().to_owned()),
        stream,
        start_ms: head.start.as_ms(),
        end_ms: head.end.as_ms(),
        recorded_ms: head.recorded.as_ms(),
        source_partition: partition,
        first_offset: head.first_offset,
        last_offset: head.last_offset,
        watermark_ms: head.watermark.as_ms(),
    };
    let gaps = gaps.iter().map(|gap| rows::Gap { start_ms: gap.start.as_ms(), end_ms: gap.end.as_ms() }).collect();
    rows::Record { session, segments: segments.iter().map(|segment| row(segment)).collect(), gaps }
}

fn row(segment: &Segment) -> rows::Segment {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    rows::Segment {
        file_id: segment.file_id().to_owned(),
        url: owned(segment.url()),
        format: owned(segment.format()),
        task_id: owned(segment.task_id()),
        template_id: owned(segment.template_id()),
        bitrate_kbps: segment.bitrate_kbps(),
        start_ms: segment.start().as_ms(),
        end_ms: segment.end().as_ms(),
        media_ms: segment.media_ms(),
        size_bytes: segment.size_bytes(),
        anomalies: segment.anomalies().iter().map(|anomaly| anomaly.as_str().to_owned()).collect(),
        input_offset: segment.offset(),
    }
}
