//! Where sessions go: lines, a table, or an answer about them.

use std::sync::Arc;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::Setup;
use super::args::{Args, Format};
use crate::batch::index_file::IndexFile;
use crate::batch::replay::Mode;
use crate::batch::{explain, what_if};
use crate::cli::io::output::{Output, tell};
use crate::exit::{Exit, Failure};
use crate::text::visible;
use livesession_formats::session::{self, Source};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{Policy, Publication, Status};

/// The input partition of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
}

impl Origin {
    pub fn as_source(&self) -> Source<'_> {
        Source { topic: &self.topic, partition: self.partition }
    }
}

/// Takes sessions as they are printed.
pub struct Sink<'o> {
    out: &'o mut Output,
    kind: Kind,
    /// The topic that raw records and values are said to come from.
    input_topic: String,
}

enum Kind {
    Lines {
        line: Vec<u8>,
        /// Whether somebody waits for each session.
        is_live: bool,
    },
    /// Widths are known only when all rows are.
    Table(Vec<[String; COLUMNS.len()]>),
    Index(Box<IndexFile>),
    /// Kept for an answer about them.
    Kept(Vec<(Arc<Origin>, Publication)>),
}

const COLUMNS: [&str; 9] = ["stream", "start", "end", "duration", "recorded", "gaps", "files", "status", "session"];
/// Columns of numbers, which line up on the right.
const NUMBERS: [usize; 4] = [3, 4, 5, 6];

impl<'o> Sink<'o> {
    /// `is_live`: the input is a pipe, and sessions are printed while it is read.
    pub fn new(args: &Args, setup: &Setup, out: &'o mut Output, is_live: bool) -> Result<Sink<'o>, Failure> {
        let default = if out.is_terminal() { Format::Table } else { Format::Ndjson };
        let kind = if args.explain.is_some() || args.what_if.is_some() {
            Kind::Kept(Vec::new())
        } else if let Some(path) = &args.index {
            Kind::Index(Box::new(IndexFile::create(path, &setup.output_topic)?))
        } else {
            match args.format.unwrap_or(default) {
                Format::Ndjson => Kind::Lines { line: Vec::new(), is_live },
                Format::Table => Kind::Table(Vec::new()),
            }
        };
        Ok(Sink { out, kind, input_topic: setup.input_topic.clone() })
    }

    pub fn put(&mut self, publication: &Publication, origin: &Origin) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Lines { line, is_live } => {
                line.clear();
                session::encode(publication, origin.as_source(), line);
                line.push(b'\n');
                self.out.bytes(line)?;
                if *is_live { self.out.flush() } else { Ok(()) }
            }
            Kind::Table(rows) => {
                rows.push(row(publication));
                Ok(())
            }
            Kind::Index(index) => index.put(publication, origin.as_source()),
            Kind::Kept(sessions) => {
                let origin = match sessions.last() {
                    Some((last, _)) if **last == *origin => Arc::clone(last),
                    _ => Arc::new(origin.clone()),
                };
                sessions.push((origin, publication.clone()));
                Ok(())
            }
        }
    }

    /// Prints what was waiting for the end; returns how the command ends, if nothing else went wrong.
    pub fn finish(self, args: &Args, policy: &Policy) -> Result<Result<Exit, Failure>, Failure> {
        let mut text = String::new();
        let mut answer = Ok(Exit::Ok);
        match self.kind {
            Kind::Lines { .. } => {}
            Kind::Index(index) => {
                let left_out = index.finish(&self.input_topic)?;
                if left_out.open > 0 {
                    tell(&format!("{} open sessions are not in the index: --close-all closes them", left_out.open));
                }
                if left_out.again > 0 {
                    let again = left_out.again;
                    tell(&format!("{again} sessions are not in the index: another partition has the same"));
                }
            }
            Kind::Table(mut rows) => {
                if args.mode() == Mode::Set {
                    // Closed ones came first; by stream and start is easier to read.
                    rows.sort();
                }
                text = table(rows);
            }
            Kind::Kept(sessions) => {
                if let Some(what) = &args.explain {
                    match explain::explain(what, &sessions, policy) {
                        Some(explanation) => text = explanation.lines().map(|line| visible(line) + "\n").collect(),
                        None => {
                            answer =
                                Err(Failure::new(Exit::NotFound, format!("no session and no stream is called {what}")));
                        }
                    }
                } else if let Some(gaps) = &args.what_if {
                    text = what_if::what_if(&gaps.0, &sessions, policy);
                }
            }
        }
        self.out.text(&text)?;
        self.out.flush()?;
        Ok(answer)
    }
}

fn row(publication: &Publication) -> [String; COLUMNS.len()] {
    let Publication { stream, head, status, gaps, segments, .. } = publication;
    let state = match (status, head.close_cause) {
        (Status::Closed, Some(cause)) => format!("closed ({})", cause.as_str()),
        (Status::Withdrawn, _) => match publication.merged_into {
            Some(survivor) => format!("withdrawn into {survivor}"),
            None => status.as_str().to_owned(),
        },
        _ => status.as_str().to_owned(),
    };
    let state = if head.revision > 1 { format!("{state}, revision {}", head.revision) } else { state };
    [
        visible(stream),
        seconds(head.start),
        seconds(head.end),
        head.end.since(head.start).to_string(),
        head.recorded.to_string(),
        gaps.len().to_string(),
        segments.len().to_string(),
        state,
        head.session_id.to_string(),
    ]
}

/// Returns a time without its milliseconds, which only `ndjson` shows.
fn seconds(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}Z", &text[..19]).replace('T', " ")
}

fn table(rows: Vec<[String; COLUMNS.len()]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(COLUMNS);
    for row in rows {
        table.add_row(row.into_iter().map(Cell::new));
    }
    for index in NUMBERS {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
