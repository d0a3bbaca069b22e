//! Sessions into a new SQLite index, for a back-fill that somebody wants to ask rather than read.
//!
//! The file must not exist: an index keeps the highest revision of a session, and every run begins at 1, so a second run
//! into the same file would leave the first one's sessions and say nothing. Open sessions are not written, as they are
//! never on the topic that an index is a copy of; `--close-all` closes them.

use std::path::Path;

use crate::cli::exit::{Exit, Failure};
use crate::grouping::{Publication, Segment, Status};
use crate::index::rows;
use crate::index::{Error, Origin, Writer};
use crate::wire::notification::split_stream_key;

/// How many sessions one transaction writes.
const BATCH: usize = 1_000;

/// The index that is being filled.
pub struct IndexFile {
    writer: Writer,
    batch: Vec<rows::Record>,
    open: u64,
}

impl IndexFile {
    /// Makes the file.
    pub fn create(path: &Path, topic: &str, source_topic: &str) -> Result<IndexFile, Failure> {
        if path.exists() {
            let message = format!("{} exists: name a file that does not, or remove it", path.display());
            return Err(Failure::new(Exit::Usage, message));
        }
        let origin = Origin { topic: topic.to_owned(), source_topic: source_topic.to_owned() };
        let writer = Writer::open(path, &origin).map_err(failure)?;
        Ok(IndexFile { writer, batch: Vec::new(), open: 0 })
    }

    pub fn put(&mut self, publication: &Publication, partition: i32) -> Result<(), Failure> {
        if publication.status == Status::Open {
            self.open += 1;
            return Ok(());
        }
        self.batch.push(record(publication, partition));
        if self.batch.len() < BATCH { Ok(()) } else { self.write() }
    }

    /// Writes the rest and closes the file; returns how many sessions were still open.
    pub fn finish(mut self) -> Result<u64, Failure> {
        self.write()?;
        self.writer.close().map_err(failure)?;
        Ok(self.open)
    }

    fn write(&mut self) -> Result<(), Failure> {
        // No offsets: the rows come from no topic.
        self.writer.apply(&self.batch, &[]).map_err(failure)?;
        self.batch.clear();
        Ok(())
    }
}

fn failure(error: Error) -> Failure {
    let exit = match error {
        Error::Sql { .. } | Error::Backwards { .. } => Exit::Defect,
        _ => Exit::Disk,
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
