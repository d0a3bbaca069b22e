//! `livesession index`: the indexer as a service of its own, and care of the index file.
//!
//! Care is safe beside a running indexer: each command says in one short transaction what it has to.

use std::path::PathBuf;

use serde::Serialize;

use super::io::flags::AllSettings;
use super::io::output::{Output, tell};
use super::io::table::{Form, IndexFile, Rows, Style, json_line};
use super::progress::Lines;
use crate::clock;
use crate::deployment::rebuild::{Rebuilt, rebuild};
use crate::deployment::verify::{Verified, verify};
use crate::deployment::{Deployment, assembly};
use crate::exit::{Exit, Failure};
use crate::service::{logging, serve};
use livesession_formats::time::parse_span;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_index as index;
use livesession_index::{Difference, Writer};

/// Fills the index from the sessions topic and answers questions about it; with a command: care of the file.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    settings: AllSettings,
}

/// What to do with the index file.
#[derive(clap::Subcommand, Debug)]
enum Action {
    /// The same as without a command: indexes, and serves HTTP.
    Run {
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Fills the index anew from the sessions topic; readers see the old one until it is whole.
    Rebuild {
        /// Goes on although the topic no longer has its first records, of which the index may still have sessions
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Compares the index with the sessions topic, session by session; exit 1 if they differ.
    Verify {
        #[command(flatten)]
        style: Style,
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Copies the index to a new file, which can be put in its place or served.
    Backup {
        /// The copy; must not be there yet
        #[arg(value_hint = clap::ValueHint::FilePath)]
        target: PathBuf,
        #[command(flatten)]
        index: IndexFile,
    },
    /// Removes sessions that ended long ago.
    Prune {
        /// How long after its end a session stays [default: `index.retention` of the configuration]
        #[arg(long, value_name = "DURATION", value_parser = parse_span)]
        retention: Option<Millis>,
        /// Says what would be removed, and removes nothing
        #[arg(long)]
        dry_run: bool,
        /// Removes without asking
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        index: IndexFile,
    },
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let Some(action) = args.action else { return serve_index(&args.settings) };
    match action {
        Action::Run { settings } => serve_index(&settings),
        Action::Rebuild { yes, settings } => fill(&settings, yes, out),
        Action::Verify { style, settings } => compare(&settings, &style, out),
        Action::Backup { target, index } => {
            index::backup(&index.path()?, &target)?;
            out.line(&format!("copied to {}", target.display()))?;
            Ok(Exit::Ok)
        }
        Action::Prune { retention, dry_run, yes, index } => prune(retention, dry_run, yes, &index, out),
    }
}

/// Indexes and serves HTTP until told to stop. Runs whatever `index.enabled` says, which is about `run`.
fn serve_index(settings: &AllSettings) -> Result<Exit, Failure> {
    let deployment = Deployment::new(settings.load()?)?;
    logging::init(deployment.config().log_format, &deployment.config().log_filter)?;
    serve::run(move || assembly::indexer(&deployment))
}

fn fill(settings: &AllSettings, yes: bool, out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(settings.load()?)?;
    let mut lines = Lines::default();
    let progress = || lines.count(|records| format!("rebuilding the index: {records} records"));
    let Rebuilt { records, revisions } = rebuild(&deployment, yes, progress)?;
    let path = deployment.config().index.path.display();
    out.line(&format!("filled {path} with {records} records, {revisions} of them new revisions"))?;
    Ok(Exit::Ok)
}

/// Prints where index and topic differ; exit 1 if they do.
fn compare(settings: &AllSettings, style: &Style, out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(settings.load()?)?;
    let mut lines = Lines::default();
    let progress = || lines.count(|records| format!("comparing the index, first reading: {records} records"));
    let Verified { compared, differences, behind, beyond_topic } = verify(&deployment, progress)?;
    print(&differences, style, out)?;
    tell(&format!("compared {compared} sessions, found {} differences", differences.len()));
    if behind > 0 {
        tell(&format!("the index is {behind} offsets behind the topic"));
    }
    if beyond_topic > 0 {
        tell(&format!(
            "{beyond_topic} sessions are not compared: retention cut the topic, and they may have been there"
        ));
    }
    Ok(if differences.is_empty() { Exit::Ok } else { Exit::NotFound })
}

fn prune(
    retention: Option<Millis>,
    dry_run: bool,
    yes: bool,
    index: &IndexFile,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let kept = match retention {
        Some(kept) => kept,
        None => index.settings()?.index.retention,
    };
    if kept == Millis::ZERO {
        return Err(Failure::new(Exit::Usage, "sessions stay for ever: give --retention, or set index.retention"));
    }
    if !dry_run && !yes {
        return Err(Failure::new(Exit::Usage, "this removes sessions: see which with --dry-run, then say --yes"));
    }
    let before = clock::now() - kept;
    let mut writer = Writer::open_existing(&index.path()?)?;
    let pruned = writer.prune(before.as_ms(), dry_run)?;
    let verb = if dry_run { "would remove" } else { "removed" };
    out.line(&format!(
        "{verb} {} sessions that ended before {}, with {} segments and {} streams",
        pruned.sessions,
        before.max(Timestamp::MIN),
        pruned.segments,
        pruned.streams
    ))?;
    Ok(Exit::Ok)
}

/// A difference as it is printed.
#[derive(Serialize)]
struct Found<'a> {
    difference: &'static str,
    session_id: &'a str,
    detail: String,
}

fn print(differences: &[Difference], style: &Style, out: &mut Output) -> Result<(), Failure> {
    let form = style.form(out);
    let mut table = Rows::new(form, &["difference", "session_id", "detail"]);
    for difference in differences {
        let found = describe(difference, style);
        if form == Form::Ndjson {
            json_line(&found, out)?;
        } else {
            table.push(vec![found.difference.to_owned(), found.session_id.to_owned(), found.detail]);
        }
    }
    if form != Form::Ndjson {
        table.write(out)?;
    }
    out.flush()
}

fn describe<'a>(difference: &'a Difference, style: &Style) -> Found<'a> {
    let found = |difference, session_id, detail| Found { difference, session_id, detail };
    match difference {
        Difference::Missing { session_id, revision } => {
            found("missing", session_id, format!("the topic has revision {revision}"))
        }
        Difference::Differs { session_id, what } => found("differs", session_id, (*what).to_owned()),
        Difference::Extra { session_id, end_ms } => {
            let end = Timestamp::from_ms(*end_ms).map_or_else(|| end_ms.to_string(), |end| style.tz.show(end));
            found("extra", session_id, format!("not in the topic; ended at {end}"))
        }
    }
}
