//! `livesession version`: what to write into a bug report.

use super::io::output::Output;
use crate::deployment::librdkafka_version;
use crate::exit::{Exit, Failure};

/// Prints the version, and what it was built with.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: Args, out: &mut Output) -> Result<Exit, Failure> {
    out.line(&format!("{} {}", super::NAME, env!("CARGO_PKG_VERSION")))?;
    out.line(&format!("needs rust {} to build", env!("CARGO_PKG_RUST_VERSION")))?;
    out.line(&format!("librdkafka {}", librdkafka_version()))?;
    Ok(Exit::Ok)
}
