//! `livesession man`: manual pages, made from the arguments.

use std::path::PathBuf;

use super::io::output::{self, Output};
use crate::exit::{Exit, Failure};

/// Prints the manual page, or writes a page for each command.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to write a page for each command; must exist.
    #[arg(value_hint = clap::ValueHint::DirPath)]
    directory: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    match args.directory {
        None => clap_mangen::Man::new(super::command()).render(out).map_err(output::failure)?,
        Some(directory) => clap_mangen::generate_to(super::command(), &directory).map_err(|error| {
            Failure::caused_by(Exit::IoErr, format!("could not write manual pages to {}", directory.display()), error)
        })?,
    }
    Ok(Exit::Ok)
}
