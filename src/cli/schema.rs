//! `livesession schema`: the schemas of what enters and leaves, compiled in.
//!
//! Compiled in rather than installed beside the program, so that a reader of the topic gets exactly those of the version
//! that writes it.

use super::io::output::Output;
use crate::exit::{Exit, Failure};

/// Name and text of every schema.
const SCHEMAS: [(&str, &str); 6] = [
    ("notification", include_str!("../../schemas/notification.v1.schema.json")),
    ("session", include_str!("../../schemas/session.v1.schema.json")),
    ("dead-letter", include_str!("../../schemas/dead-letter.v1.schema.json")),
    ("problem", include_str!("../../schemas/problem.v1.schema.json")),
    ("config", include_str!("../../schemas/config.v1.schema.json")),
    ("asyncapi", include_str!("../../schemas/asyncapi.yaml")),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_of_the_folder_can_be_printed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            names.extend(file.strip_suffix(".v1.schema.json").map(str::to_owned));
        }
        names.push("asyncapi".to_owned());
        let mut known = SCHEMAS.map(|(name, _)| name.to_owned());
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
