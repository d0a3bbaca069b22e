//! `livesession index …`: care of the index file.
//!
//! Safe beside a running indexer: each command says in one short transaction what it has to.

use std::path::PathBuf;

use super::answer::IndexFile;
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::clock;
use crate::index::{self, Writer};
use crate::time::{Millis, Timestamp};

/// What to do with the index file.
#[derive(clap::Subcommand, Debug)]
pub enum Action {
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
        #[arg(long, value_name = "DURATION", value_parser = Millis::parse)]
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
pub fn run(action: Action, out: &mut Output) -> Result<Exit, Failure> {
    match action {
        Action::Backup { target, index } => {
            index::backup(&index.path()?, &target)?;
            out.line(&format!("copied to {}", target.display()))?;
            Ok(Exit::Ok)
        }
        Action::Prune { retention, dry_run, yes, index } => prune(retention, dry_run, yes, &index, out),
    }
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
