//! `livesession schema`: the schemas of what enters and leaves, compiled in.
//!
//! Compiled in rather than installed beside the program, so that a reader of the topic gets exactly those of the version
//! that writes it.

use super::exit::{Exit, Failure};
use super::output::Output;

/// Name and text of every schema.
const SCHEMAS: [(&str, &str); 1] = [("config", include_str!("../../schemas/config.v1.schema.json"))];

/// Prints the schemas of what enters and leaves.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Prints one schema, or the names of all.
    Print {
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(SCHEMAS.map(|(name, _)| name)))]
        name: Option<String>,
    },
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let Action::Print { name } = args.action;
    for (known, text) in SCHEMAS {
        match &name {
            None => out.line(known)?,
            Some(wanted) if wanted == known => out.text(text)?,
            Some(_) => {}
        }
    }
    Ok(Exit::Ok)
}
