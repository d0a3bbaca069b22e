//! `livesession sessions open`: which sessions are open, why, and when each closes at the earliest.
//!
//! Asks the changelog, which holds what the workers have committed.

use serde::Serialize;

use crate::cli::io::flags::AllSettings;
use crate::cli::io::output::{Output, tell};
use crate::cli::io::table::{Form, Rows, Style, json_line};
use crate::deployment::{Deployment, state};
use crate::exit::{Exit, Failure};
use crate::text::length;
use livesession_formats::session::{SessionRecord, Source};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{Clock, PendingSession, Waiting};

/// Lists open sessions from the changelog, what each waits for, and when it closes at the earliest.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Key of one stream: app/appname/stream_id
    #[arg(long, value_name = "KEY")]
    stream: Option<String>,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    settings: AllSettings,
}

/// An open session as it is printed.
#[derive(Debug, Serialize)]
struct Open {
    /// `next_file`, `off_air`, `on_air` or `nothing`.
    waiting: &'static str,
    off_air_since: Option<String>,
    /// The watermark has to be greater than this.
    closes_after: String,
    /// The wall time at which it will be, if nothing else arrives on its partition.
    expected_at: Option<String>,
    session: SessionRecord,
    #[serde(skip)]
    times: Times,
}

/// The times again, for a table.
#[derive(Clone, Copy, Debug)]
struct Times {
    since: Option<Timestamp>,
    closes_after: Timestamp,
    expected_at: Option<Timestamp>,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(args.settings.load()?)?;
    let input = &deployment.topics().input;
    let mut open = Vec::new();
    for state::Open { partition, clock, pending } in state::open_sessions(&deployment, args.stream.as_deref())? {
        open.push(describe(&pending, input, partition, clock));
    }
    open.sort_by(|a, b| {
        let key = |open: &Open| (open.times.closes_after, open.session.stream.key.clone(), open.session.start);
        key(a).cmp(&key(b))
    });
    let form = args.style.form(out);
    if form == Form::Ndjson {
        for open in &open {
            json_line(open, out)?;
        }
    } else {
        table(&open, form, &args.style).write(out)?;
    }
    out.flush()?;
    if open.is_empty() && form == Form::Table {
        tell("no open sessions");
    }
    Ok(Exit::Ok)
}

fn describe(pending: &PendingSession, input: &str, partition: i32, clock: Option<Clock>) -> Open {
    let session = SessionRecord::from_publication(&pending.session, Source { topic: input, partition });
    let (waiting, since) = match pending.waiting {
        Waiting::NextFile => ("next_file", None),
        Waiting::OffAir { since } => ("off_air", Some(since)),
        Waiting::OnAir => ("on_air", None),
        Waiting::Nothing => ("nothing", None),
    };
    // Punctuation adds to the watermark what has passed since.
    let expected_at = clock
        .filter(|clock| clock.watermark <= pending.closes_after)
        .map(|clock| clock.at + pending.closes_after.since(clock.watermark));
    let times = Times { since, closes_after: pending.closes_after, expected_at };
    Open {
        waiting,
        off_air_since: since.map(|since| since.to_string()),
        closes_after: pending.closes_after.to_string(),
        expected_at: expected_at.map(|at| at.to_string()),
        session,
        times,
    }
}

fn table(open: &[Open], form: Form, style: &Style) -> Rows {
    let header =
        ["stream", "start", "end", "duration", "segments", "waiting", "closes_after", "expected_at", "session_id"];
    let mut rows = Rows::new(form, &header);
    for Open { waiting, session, times, .. } in open {
        let reason = match (*waiting, times.since) {
            ("off_air", Some(since)) => format!("late notifications (off air since {})", style.tz.show(since)),
            ("on_air", _) => "the push to end".to_owned(),
            ("nothing", _) => "the next transaction".to_owned(),
            _ => "a next file, which may be half recorded".to_owned(),
        };
        rows.push(vec![
            session.stream.key.clone(),
            style.tz.show(session.start),
            style.tz.show(session.end),
            length(session.duration_ms),
            session.segments.len().to_string(),
            reason,
            style.tz.show(times.closes_after),
            times.expected_at.map_or(String::new(), |at| style.tz.show(at)),
            session.session_id.to_string(),
        ]);
    }
    rows
}
