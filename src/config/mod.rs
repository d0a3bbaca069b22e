//! The configuration: what can be set, where it was set, and whether it makes sense.
//!
//! ```text
//! defaults ─▶ file ─▶ environment ─▶ flags ─▶ Config + origins ─▶ checks ─▶ Loaded, or all Problems at once
//!  model              layers                                      check                     problem
//! ```
//!
//! A leaf: knows time and the grouping rules, and neither Kafka nor the wire format. Reads files and no environment: the
//! command line hands in what it found ([`Sources`]), so that tests need no process of their own. `${…}` is not expanded, and
//! secrets are named by file, so that a configuration can be shown to anybody.
//!
//! Own layering rather than a library, because every value keeps its origin, every problem is reported in one go, and an
//! unknown name is an error in all three layers; that is most of the work anyway.

mod check;
mod choices;
mod layers;
mod model;
mod problem;
mod properties;
mod settings;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use choices::{LogFormat, SaslMechanism, SecurityProtocol, Start, StreamKey};
pub use layers::{DEFAULT_FILE, FILE_VARIABLE, Flag, PREFIX, Sources, variable_name};
pub use model::{Client, Config, Grouping, Http, Index, Input, Kafka, Output, PasswordError, Topics};
pub use problem::{Origin, Problem, Problems};
pub use properties::{FileError, Properties, is_secret};
pub use settings::{RENAMED, Renamed, SETTINGS, Setting};
pub use value::{Bytes, Field, Kind, Value};

use check::Checker;

/// How much of the configuration a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `[grouping]` and `[input]`: problems elsewhere do not stop a command that talks to no broker.
    Grouping,
    /// `[index]`: for a command that asks the file.
    Index,
    All,
}

impl Scope {
    /// Returns whether a section of the configuration counts.
    fn has(self, section: &str) -> bool {
        match self {
            Scope::Grouping => matches!(section, "grouping" | "input"),
            Scope::Index => section == "index",
            Scope::All => true,
        }
    }
}

/// A configuration that has been checked, and where each value comes from.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl Loaded {
    /// Returns where the value of a setting comes from.
    pub fn origin(&self, setting: &str) -> Origin {
        self.origins.get(setting).cloned().unwrap_or(Origin::Default)
    }
}

/// What other modules know and a leaf cannot ask them.
#[derive(Clone, Copy)]
pub struct Knowledge {
    /// How large the record of a session at its limits (segments, bytes of text) can get.
    pub worst_case_bytes: fn(u32, u64) -> u64,
    /// What is wrong with a log filter, if anything.
    pub log_filter_fault: fn(&str) -> Option<String>,
    /// What is wrong with a setting of librdkafka (name, value): unknown, out of range, or not to be set by hand. Must not
    /// quote a secret.
    pub property_fault: fn(&str, &str) -> Option<String>,
}

/// Reads all layers and checks the result.
///
/// # Errors
///
/// Everything that is wrong within the scope. A file that cannot be read, unknown names and broken TOML are in every scope:
/// nobody knows what they meant.
pub fn load(sources: &Sources, scope: Scope, knowledge: Knowledge) -> Result<Loaded, Problems> {
    let layered = layers::read(sources);
    let checker = match scope {
        Scope::Grouping => Checker::grouping(&layered.config, &layered.unreadable),
        Scope::Index => Checker::index(&layered.config, &layered.unreadable),
        Scope::All => Checker::all(&layered.config, &layered.unreadable, knowledge),
    };
    let mut problems = layered.problems;
    problems.retain(|problem| Setting::find(&problem.setting).is_none_or(|known| scope.has(known.section())));
    for finding in checker.findings {
        let origin = |setting: &str| layered.origins.get(setting).cloned().unwrap_or(Origin::Default);
        let others = finding.settings[1..].iter().map(|setting| ((*setting).to_owned(), origin(setting)));
        problems.push(Problem {
            setting: finding.settings[0].to_owned(),
            origin: Some(origin(finding.settings[0])),
            others: others.filter(|(_, origin)| *origin != Origin::Default).collect(),
            text: finding.text,
            repair: finding.repair,
        });
    }
    if problems.is_empty() {
        Ok(Loaded { config: layered.config, origins: layered.origins })
    } else {
        Err(Problems(problems))
    }
}
