//! The configuration: settings, the origin of each value, and what must hold between them.
//!
//! ```text
//! defaults ─▶ file ─▶ environment ─▶ flags ─▶ Config + origins ─▶ checks ─▶ Loaded, or all Problems at once
//!  model              layers                                      check                     problem
//! ```
//!
//! Knows the grouping rules and the size of a session record, and not Kafka: `deployment` adds what librdkafka says about its
//! own settings ([`Checked::add`]), so that all problems are reported at once. Reads files and no environment: the command
//! line hands in what it found ([`Sources`]), so that tests need no process of their own. `${…}` is not expanded, and secrets
//! are named by file, so that a configuration can be shown to anybody.
//!
//! Own layering rather than a library, because every value keeps its origin, every problem is reported in one go, and an
//! unknown name is an error in all three layers; that is most of the work anyway.

mod check;
mod layers;
mod model;
mod problem;
mod properties;
mod settings;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use layers::{DEFAULT_FILE, FILE_VARIABLE, Flag, PREFIX, Sources, variable_name};
pub use model::{
    Config, Grouping, Http, Index, Input, Kafka, Output, PasswordError, SECTIONS, SETTINGS, Setting, Topics,
};
pub use problem::{Origin, Problem, Problems};
pub use properties::{FileError, Files, Properties, is_secret};
pub use settings::{RENAMED, Renamed, Section};
pub use value::{Bytes, Field, Kind, LogFormat, SaslMechanism, SecurityProtocol};

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
    /// Read when the configuration was checked, in [`Scope::All`]; empty in the others.
    pub files: Files,
    origins: BTreeMap<&'static str, Origin>,
}

impl From<Config> for Loaded {
    /// Takes a configuration as it is, with defaults only as origins, and reads no files.
    fn from(config: Config) -> Loaded {
        Loaded { config, files: Files::default(), origins: BTreeMap::new() }
    }
}

impl Loaded {
    /// Returns where the value of a setting comes from.
    pub fn origin(&self, setting: &str) -> Origin {
        self.origins.get(setting).cloned().unwrap_or(Origin::Default)
    }
}

/// A configuration that was read and checked, together with everything that is wrong with it so far.
#[derive(Debug)]
pub struct Checked {
    loaded: Loaded,
    problems: Vec<Problem>,
}

/// Reads all layers and checks the result, as far as this module can.
///
/// A file that cannot be read, unknown names and broken TOML are problems in every scope: what they meant is not known.
pub fn check(sources: &Sources, scope: Scope) -> Checked {
    let layered = layers::read(sources);
    let Checker { findings, files, .. } = match scope {
        Scope::Grouping => Checker::grouping(&layered.config, &layered.unreadable),
        Scope::Index => Checker::index(&layered.config, &layered.unreadable),
        Scope::All => Checker::all(&layered.config, &layered.unreadable),
    };
    let mut problems = layered.problems;
    problems.retain(|problem| Setting::find(&problem.setting).is_none_or(|known| scope.has(known.section())));
    let loaded = Loaded { config: layered.config, files, origins: layered.origins };
    let mut checked = Checked { loaded, problems };
    for finding in findings {
        checked.add(&finding.settings, finding.text, finding.repair);
    }
    checked
}

impl Checked {
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    pub fn files(&self) -> &Files {
        &self.loaded.files
    }

    /// Adds a problem of `settings[0]`, which was compared with the others.
    pub fn add(&mut self, settings: &[&str], text: impl Into<String>, repair: impl Into<String>) {
        let Some((setting, others)) = settings.split_first() else { return };
        let others = others.iter().map(|other| ((*other).to_owned(), self.loaded.origin(other)));
        self.problems.push(Problem {
            setting: (*setting).to_owned(),
            origin: Some(self.loaded.origin(setting)),
            others: others.filter(|(_, origin)| *origin != Origin::Default).collect(),
            text: text.into(),
            repair: repair.into(),
        });
    }

    /// Returns the configuration, if nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong within the scope.
    pub fn finish(self) -> Result<Loaded, Problems> {
        if self.problems.is_empty() { Ok(self.loaded) } else { Err(Problems(self.problems)) }
    }
}
