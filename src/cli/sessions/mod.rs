//! `livesession sessions`: asks the index about sessions.
//!
//! Reads the file and nothing else; needs neither Kafka nor the worker. Only `open` does, which asks the changelog.

mod open;

use crate::cli::io::output::{Output, tell};
use crate::cli::io::table::{Form, IndexFile, Rows, Style, json_line};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::splice::address::Addresses;
use crate::splice::form::{Form as PlanForm, Gaps};
use crate::splice::notes::notes_for;
use crate::splice::{Plan, text};
use crate::text::length;
use livesession_formats::named::Named;
use livesession_formats::session::{SessionRecord, Summary};
use livesession_grouping::Status;
use livesession_index::{Position, Reader, Select, StatusFilter};

/// Asks the index about sessions.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Lists sessions by their start, without their files.
    List(List),
    /// Shows a session with its files and silences; exit 1 if there is none with that id.
    Show {
        /// Session id
        id: String,
        #[command(flatten)]
        style: Style,
        #[command(flatten)]
        index: IndexFile,
    },
    /// Says which files to join, in which order, to get one film of a session.
    Splice(Splice),
    Open(open::Args),
}

#[derive(clap::Args, Debug)]
struct List {
    /// Key of one stream: app/appname/stream_id
    #[arg(long, value_name = "KEY")]
    stream: Option<String>,
    /// Sessions that were on at this time or later
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Sessions that began before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How many at most; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Only sessions of this status; all but the withdrawn ones if it is not given
    #[arg(long, value_parser = ["closed", "withdrawn", "open", "any"])]
    status: Option<String>,
    /// Adds what a list leaves out
    #[arg(long, value_parser = ["segments"])]
    include: Option<String>,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    index: IndexFile,
}

#[derive(clap::Args, Debug)]
struct Splice {
    /// Session id
    id: String,
    /// Form of the plan: a script for ffmpeg, the body of a VOD EditMedia request, a playlist of ts, aac or mp3 files, or JSON
    #[arg(long = "as", value_parser = ["ffconcat", "edit-request", "m3u8", "json"], default_value = "json")]
    form: String,
    /// Number of the rendition in the session, from 0; needed if there are several
    #[arg(long, value_name = "NUMBER")]
    rendition: Option<usize>,
    /// What to do with silences between files
    #[arg(long, value_parser = ["close", "keep"], default_value = "close")]
    gaps: String,
    /// Also names files by path and file: address, which ffmpeg opens on this machine; else only http and https
    #[arg(long)]
    local_files: bool,
    #[command(flatten)]
    index: IndexFile,
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    match args.action {
        Action::List(args) => list(&args, out),
        Action::Show { id, style, index } => {
            let record = find(&index, &id)?;
            show(&record, &style, out)?;
            Ok(Exit::Ok)
        }
        Action::Splice(args) => splice(&args, out),
        Action::Open(args) => open::run(&args, out),
    }
}

/// Sessions read in one view: a long list must not hold on to one state of the file.
const PAGE: usize = 1_000;

fn list(args: &List, out: &mut Output) -> Result<Exit, Failure> {
    let now = clock::now();
    let time = |text: &Option<String>| {
        let read = text.as_deref().map(|text| args.style.tz.read(text, now)).transpose();
        read.map(|time| time.map(|time| time.as_ms())).map_err(|fault| Failure::new(Exit::Usage, fault))
    };
    let (from_ms, to_ms) = (time(&args.from)?, time(&args.to)?);
    if let (Some(from), Some(to)) = (from_ms, to_ms)
        && from > to
    {
        return Err(Failure::new(Exit::Usage, "--from is after --to"));
    }
    // The parser has refused all names but those of a status and `any`.
    let status = args
        .status
        .as_deref()
        .map_or(StatusFilter::Current, |name| Status::parse(name).map_or(StatusFilter::Any, StatusFilter::Is));
    let with_segments = args.include.is_some();
    let form = args.style.form(out);
    let mut rows = Rows::new(form, if with_segments { &SEGMENT_HEADER } else { &SESSION_HEADER });
    let mut reader = args.index.open()?;
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let (mut written, mut after, mut more) = (0, None::<Position>, false);
    while !more {
        // One more than is shown says whether there are more.
        let wanted = PAGE.min((limit - written).saturating_add(1));
        let select = Select { stream: args.stream.as_deref(), from_ms, to_ms, status, after, limit: wanted };
        // What reads our output may be slower than any limit for a question.
        let view = reader.long_view()?;
        let page = view.sessions(&select)?;
        let is_last = page.len() < wanted;
        after = page.last().map(|entry| Position::of(&entry.summary));
        for entry in page {
            if written == limit {
                more = true;
                break;
            }
            written += 1;
            if with_segments {
                let record = view.with_lists(entry)?;
                if form == Form::Ndjson {
                    json_line(&record, out)?
                } else {
                    push_segments(&record, args.style.clone(), &mut rows)
                }
            } else if form == Form::Ndjson {
                json_line(&entry.summary, out)?;
            } else {
                push_session(&entry.summary, &args.style, &mut rows);
            }
        }
        if is_last {
            break;
        }
    }
    if form != Form::Ndjson {
        rows.write(out)?;
    }
    out.flush()?;
    if more {
        tell(&format!("there are more than these {limit}: --limit 0 for all, or a narrower --from and --to"));
    } else if written == 0 && form == Form::Table {
        tell("no sessions");
    }
    Ok(Exit::Ok)
}

const SESSION_HEADER: [&str; 9] =
    ["start", "end", "duration", "stream", "session_id", "revision", "status", "close_cause", "merged_into"];

fn push_session(session: &Summary, style: &Style, rows: &mut Rows) {
    rows.push(vec![
        style.tz.show(session.start),
        style.tz.show(session.end),
        length(session.duration_ms),
        session.stream.key.clone(),
        session.session_id.to_string(),
        session.revision.to_string(),
        session.status.as_str().to_owned(),
        session.close_cause.map(Named::as_str).unwrap_or_default().to_owned(),
        session.merged_into.map(|id| id.to_string()).unwrap_or_default(),
    ]);
}

const SEGMENT_HEADER: [&str; 10] =
    ["session_id", "stream", "start", "end", "duration", "rendition", "format", "file_id", "anomalies", "url"];

fn push_segments(record: &SessionRecord, style: Style, rows: &mut Rows) {
    for segment in &record.segments {
        rows.push(vec![
            record.session_id.to_string(),
            record.stream.key.clone(),
            style.tz.show(segment.start),
            style.tz.show(segment.end),
            length(segment.duration_ms),
            segment.rendition.to_string(),
            segment.format.clone().unwrap_or_default(),
            segment.file_id.clone(),
            segment.anomalies.join(" "),
            segment.url.clone().unwrap_or_default(),
        ]);
    }
}

/// Finds a session with its lists.
///
/// # Errors
///
/// A failure with exit 1 if the index has none with that id.
pub fn find(index: &IndexFile, id: &str) -> Result<SessionRecord, Failure> {
    let mut reader: Reader = index.open()?;
    let view = reader.view()?;
    // Ids are written in lower case; people paste them as they find them.
    let Some(entry) = view.session(&id.trim().to_ascii_lowercase())? else {
        return Err(Failure::new(Exit::NotFound, format!("no session has the id {:?}", id.trim())));
    };
    Ok(view.with_lists(entry)?)
}

fn show(record: &SessionRecord, style: &Style, out: &mut Output) -> Result<(), Failure> {
    let form = style.form(out);
    if form == Form::Ndjson {
        return json_line(record, out);
    }
    let mut segments = Rows::new(form, &SEGMENT_HEADER);
    push_segments(record, style.clone(), &mut segments);
    if form == Form::Table {
        show_head(record, style, out)?;
    }
    segments.write(out)?;
    if form == Form::Table && !record.gaps.is_empty() {
        let mut gaps = Rows::new(form, &["gap start", "end", "length"]);
        for gap in &record.gaps {
            gaps.push(vec![style.tz.show(gap.start), style.tz.show(gap.end), length(gap.duration_ms)]);
        }
        out.line("")?;
        gaps.write(out)?;
    }
    Ok(())
}

fn show_head(record: &SessionRecord, style: &Style, out: &mut Output) -> Result<(), Failure> {
    let cause = record.close_cause.map_or(String::new(), |cause| format!(" ({})", cause.as_str()));
    let mut lines = Rows::new(Form::Table, &["session", ""]);
    let mut line = |name: &str, value: String| lines.push(vec![name.to_owned(), value]);
    line("id", record.session_id.to_string());
    line("stream", record.stream.key.clone());
    line("status", format!("{}{cause}, revision {}", record.status.as_str(), record.revision));
    line("time", format!("{} to {} {}", style.tz.show(record.start), style.tz.show(record.end), style.tz.name()));
    line("duration", format!("{}, of which recorded {}", length(record.duration_ms), length(record.recorded_ms)));
    if let Some(survivor) = record.merged_into {
        line("merged into", survivor.to_string());
    }
    if let Some(before) = record.continues {
        line("continues", before.to_string());
    }
    for (number, kind) in record.renditions.iter().enumerate() {
        line(&format!("rendition {number}"), describe(kind));
    }
    lines.write(out)?;
    out.line("")
}

fn describe(kind: &livesession_formats::session::record::Rendition) -> String {
    let bitrate = match kind.bitrate_kbps {
        None => String::new(),
        Some(0) => ", original".to_owned(),
        Some(kbps) => format!(", {kbps} kbps"),
    };
    let template = kind.template_id.as_ref().map_or(String::new(), |template| format!(", template {template}"));
    let format = kind.format.as_deref().unwrap_or("unknown format");
    format!("{format}{template}{bitrate}: {} segments, {}", kind.segments, length(kind.recorded_ms))
}

fn splice(args: &Splice, out: &mut Output) -> Result<Exit, Failure> {
    let record = find(&args.index, &args.id)?;
    if let (Named::Known(Status::Withdrawn), Some(survivor)) = (record.status, record.merged_into) {
        return Err(Failure::new(
            Exit::NotFound,
            format!("session {} was withdrawn, its files are in {survivor}", record.session_id),
        ));
    }
    let mut plans = match args.rendition {
        Some(number) => vec![Plan::new(&record, number).ok_or_else(|| no_rendition(&record, number))?],
        None => Plan::all(&record),
    };
    if args.local_files {
        plans.iter_mut().for_each(|plan| plan.addresses = Addresses::WebAndLocal);
    }
    let Some(form) = PlanForm::parse(&args.form) else {
        for plan in &plans {
            out.line(&text::json(plan))?;
        }
        return Ok(Exit::Ok);
    };
    let [plan] = plans.as_slice() else {
        return Err(Failure::new(
            Exit::Usage,
            format!("a plan is of one rendition: choose one with --rendition\n{}", renditions(&record)),
        ));
    };
    let gaps = if args.gaps == "keep" { Gaps::Keep } else { Gaps::Close };
    let written = form
        .write(plan, gaps)
        .map_err(|error| Failure::caused_by(Exit::NotFound, "cannot write plan in this form", error))?;
    out.text(&written)?;
    if !written.ends_with('\n') {
        out.line("")?;
    }
    out.flush()?;
    for note in notes_for(&form.narrow(plan), form) {
        tell(&format!("note: {note}"));
    }
    Ok(Exit::Ok)
}

fn no_rendition(record: &SessionRecord, number: usize) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("session {} has no rendition {number}\n{}", record.session_id, renditions(record)),
    )
}

fn renditions(record: &SessionRecord) -> String {
    let lines: Vec<String> = record
        .renditions
        .iter()
        .enumerate()
        .map(|(number, kind)| crate::text::visible(&format!("  {number}: {}", describe(kind))))
        .collect();
    lines.join("\n")
}
