//! `livesession group`: notifications from files to sessions, without Kafka.
//!
//! The same decoder and the same core as the worker's, fed from files: for a first try, for back-fills, and as the batch
//! answer that the worker's newest revisions are compared with.
//!
//! | | a *set* (default) | `--arrival-order` |
//! | --- | --- | --- |
//! | order of records | means nothing; of two with one file id the first stands | as Kafka would have delivered them |
//! | late | nothing | as in the worker |
//! | limits (rule: limits) | cut in time order, at the end | cut as segments come |
//! | memory | all of it | what is alive |
//! | printed | at the end: closed under the last watermark, else `open` | once a session is final; at the end what is left |
//!
//! With `--all-revisions` every publication is printed, as it would stand in the output topic. The worker decides five
//! times a second what is due, this after every record: it never publishes less.
//!
//! # Exit codes
//!
//! 0 also if records were refused; 1 if there is nothing to explain; 2 if a file is missing, is a directory or may not be
//! opened: the arguments are wrong, and nothing has been read; 65 if a file is damaged (everything before the damage has
//! been grouped and printed) and, with `--strict`, if a record was refused; 74 if a device fails. A closed pipe ends quietly.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::io::flags::GroupingSettings;
use super::io::output::{Output, tell};
use super::progress::Progress;
use crate::batch::dead_letters::DeadLetters;
use crate::batch::index_file::IndexFile;
use crate::batch::input::{self, Input};
use crate::batch::replay::{Mode, Origin, Replay};
use crate::batch::{explain, what_if};
use crate::deployment::Deployment;
use crate::exit::{Exit, Failure};
use crate::text::visible;
use crate::worker::Topics;
use livesession_formats::session;
use livesession_formats::time::parse_span;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Policy, Publication, Status};

/// Groups notifications from files into sessions, without Kafka.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Files of notifications, plain, .gz or .zst; none or -: standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,

    /// How notifications are written: a line each, JSON values one after another, or lines of `kcat -J`
    #[arg(long, value_enum, default_value_t = Form::Auto, value_name = "FORM")]
    pub from: Form,

    /// How sessions are written [default: table on a terminal, else ndjson]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,

    /// Write refused records to this new file, as lines of `kcat -J`
    #[arg(long, value_name = "FILE")]
    pub dead_letters: Option<PathBuf>,

    /// Write closed sessions to a new SQLite index instead of standard output
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub index: Option<PathBuf>,

    /// Close what is still open at the end of input
    #[arg(long)]
    pub close_all: bool,

    /// Replay the input as the worker would read it: with lateness, and memory for what is alive only
    #[arg(long)]
    pub arrival_order: bool,

    /// Print every publication, not only final ones; implies --arrival-order
    #[arg(long)]
    pub all_revisions: bool,

    /// Exit with 65 if a record was refused
    #[arg(long)]
    pub strict: bool,

    /// Print why a session, or each session of a stream, has its bounds
    #[arg(long, value_name = "SESSION|STREAM", conflicts_with_all = ["arrival_order", "all_revisions", "index", "format"])]
    pub explain: Option<String>,

    /// Print how many sessions other gaps would give, and what would change
    #[arg(long, value_name = "gap=1m,3m,…", value_parser = parse_gaps, conflicts_with_all = ["explain", "arrival_order", "all_revisions", "index", "format"])]
    pub what_if: Option<Gaps>,

    #[command(flatten)]
    pub settings: GroupingSettings,
}

/// How notifications are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// By the beginning of each file
    #[default]
    Auto,
    /// One notification a line
    Raw,
    /// JSON values one after another, on one line or on many
    Json,
    /// Lines of `kcat -J`
    Kcat,
}

/// How sessions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One session a line, as in the output topic
    Ndjson,
    /// For people; may change
    Table,
}

/// The gaps to try, in the order of the argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gaps(pub Vec<Millis>);

impl Args {
    /// Returns the form that was asked for; `None`: by the beginning of each file.
    fn form(&self) -> Option<input::Form> {
        match self.from {
            Form::Auto => None,
            Form::Raw => Some(input::Form::Raw),
            Form::Json => Some(input::Form::Json),
            Form::Kcat => Some(input::Form::Kcat),
        }
    }

    fn mode(&self) -> Mode {
        match (self.arrival_order, self.all_revisions) {
            (_, true) => Mode::AllRevisions,
            (true, false) => Mode::ArrivalOrder,
            (false, false) => Mode::Set,
        }
    }
}

fn parse_gaps(text: &str) -> Result<Gaps, String> {
    let list = text.strip_prefix("gap=").ok_or("write gap=1m,3m,5m: only the gap can be tried")?;
    let gaps = list.split(',').map(|gap| parse_span(gap).map_err(|error| format!("{gap:?}: {error}")));
    gaps.collect::<Result<_, _>>().map(Gaps)
}

/// Runs the command: sessions to standard output, everything else to standard error.
///
/// Whatever goes wrong with the input, all that could be done has been done then: sessions and summary are out.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(args.settings.load()?)?;
    let keep = if args.dead_letters.is_some() { input::KEEP_BYTES } else { input::KEEP_BYTES_UNSEEN };
    let mut input = Input::new(args.files.clone(), args.form(), keep).map_err(input_failure)?;
    if args.files.is_empty() && io::stdin().is_terminal() {
        tell("reading notifications from the terminal; Ctrl-D ends them");
    }
    let mode = args.mode();
    let total_bytes = input.total_bytes();
    let is_live = mode != Mode::Set && total_bytes.is_none();
    let is_shared = mode != Mode::Set && out.is_terminal();
    let mut progress = Progress::new(total_bytes, io::stderr().is_terminal(), is_shared);
    let mut sink = Sink::new(&args, deployment.topics(), out, is_live)?;
    let dead_letters = args.dead_letters.as_deref().map(DeadLetters::create).transpose()?;
    let mut replay = Replay::new(&deployment, mode, dead_letters, |session, origin| sink.put(session, origin));
    let ended = replay.read(&mut input, |input, records| {
        if progress.is_due() {
            progress.show(input.bytes_read(), records);
        }
    })?;
    progress.finish();
    // What follows a damage is not known, so nothing is closed because of it.
    let tally = replay.finish(args.close_all && ended.is_none())?;
    let answer = sink.finish(&args, deployment.policy())?;
    let mut lines = input.take_notes();
    lines.extend(tally.notes());
    lines.extend(tally.lines());
    lines.iter().for_each(|line| tell(line));
    match (ended, tally.refused()) {
        (Some(error), _) => Err(input_failure(error)),
        (None, refused @ 1..) if args.strict => {
            Err(Failure::new(Exit::DataErr, format!("refused {refused} of {} records (--strict)", tally.read())))
        }
        _ => answer,
    }
}

fn input_failure(error: input::Error) -> Failure {
    let message = error.to_string();
    match error {
        input::Error::Unusable(unusable) => match unusable.into_source() {
            Some(source) => Failure::caused_by(Exit::Usage, message, source),
            None => Failure::new(Exit::Usage, message),
        },
        input::Error::Data { .. } => Failure::new(Exit::DataErr, message),
        input::Error::Device { source, .. } => Failure::caused_by(Exit::IoErr, message, source),
    }
}

/// Takes sessions as they are printed.
struct Sink<'o> {
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
    fn new(args: &Args, topics: &Topics, out: &'o mut Output, is_live: bool) -> Result<Sink<'o>, Failure> {
        let default = if out.is_terminal() { Format::Table } else { Format::Ndjson };
        let kind = if args.explain.is_some() || args.what_if.is_some() {
            Kind::Kept(Vec::new())
        } else if let Some(path) = &args.index {
            Kind::Index(Box::new(IndexFile::create(path, &topics.output)?))
        } else {
            match args.format.unwrap_or(default) {
                Format::Ndjson => Kind::Lines { line: Vec::new(), is_live },
                Format::Table => Kind::Table(Vec::new()),
            }
        };
        Ok(Sink { out, kind, input_topic: topics.input.clone() })
    }

    fn put(&mut self, publication: &Publication, origin: &Origin) -> Result<(), Failure> {
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
    fn finish(self, args: &Args, policy: &Policy) -> Result<Result<Exit, Failure>, Failure> {
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
    let Publication { stream, summary, status, gaps, segments, .. } = publication;
    let state = match (status, summary.close_cause) {
        (Status::Closed, Some(cause)) => format!("closed ({})", cause.as_str()),
        (Status::Withdrawn, _) => match publication.merged_into {
            Some(survivor) => format!("withdrawn into {survivor}"),
            None => status.as_str().to_owned(),
        },
        _ => status.as_str().to_owned(),
    };
    let state = if summary.revision > 1 { format!("{state}, revision {}", summary.revision) } else { state };
    [
        visible(stream),
        seconds(summary.start),
        seconds(summary.end),
        summary.end.since(summary.start).to_string(),
        summary.recorded.to_string(),
        gaps.len().to_string(),
        segments.len().to_string(),
        state,
        summary.session_id.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_to_try_are_a_list_of_spans() {
        let span = |text| parse_span(text).unwrap();
        assert_eq!(parse_gaps("gap=1m,90s").unwrap().0, [span("1m"), span("90s")]);
        for text in ["", "gap=", "1m", "notification_delay=1m", "gap=1m,", "gap=1"] {
            assert!(parse_gaps(text).is_err(), "{text}");
        }
    }
}
