//! `livesession completions`: what a shell has to know to complete our arguments.

use clap_complete::Shell;

use super::io::output::Output;
use crate::exit::{Exit, Failure};

/// Prints completions for a shell.
#[derive(clap::Args, Debug)]
pub struct Args {
    shell: Shell,
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    // Into memory first: the generator panics if a write fails.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), super::NAME, &mut text);
    out.bytes(&text)?;
    Ok(Exit::Ok)
}
