//! The four layers of the configuration: flags win over environment over file over defaults.
//!
//! Each layer is a list of assignments to settings of [`SETTINGS`]; applying them from the bottom up gives the configuration
//! and the origin of each value. A value that cannot be read is reported and leaves the value of the layer below, and its
//! setting takes no part in later checks: one mistake is one problem.
//!
//! Environment variables have two underscores after `LIVESESSION` and between sections, not one: Kubernetes sets
//! `LIVESESSION_PORT` and the like in every pod next to a service of that name, and unknown names are errors here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::model::{Config, SETTINGS, Setting};
use super::problem::{Origin, Problem, nearest};
use super::settings::new_name;

/// Read if it exists and no other file is named.
pub const DEFAULT_FILE: &str = "/etc/livesession/livesession.toml";
/// Environment variable that names the file, unless the flag does.
pub const FILE_VARIABLE: &str = "LIVESESSION_CONFIG";
/// Prefix of the name of every setting in the environment.
pub const PREFIX: &str = "LIVESESSION__";

/// The sources of a configuration. Nothing else is read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// File named by a flag; it must exist.
    pub file: Option<PathBuf>,
    /// Read if nothing names a file; need not exist.
    pub default_file: Option<PathBuf>,
    /// Environment variables, including those of other programs.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags by name of setting, in the order of the command line; a list may come in parts.
    pub flags: Vec<Flag>,
}

/// A setting on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    pub setting: &'static str,
    /// As the command spells it, without its dashes.
    pub spelling: String,
    pub text: String,
}

/// A configuration that has been read but not checked.
#[derive(Debug, Default)]
pub(super) struct Layered {
    pub config: Config,
    pub origins: BTreeMap<&'static str, Origin>,
    pub problems: Vec<Problem>,
    /// Settings whose value could not be read.
    pub unreadable: BTreeSet<&'static str>,
}

/// Reads all layers.
pub(super) fn read(sources: &Sources) -> Layered {
    let mut layered = Layered::default();
    layered.read_file(sources);
    for (name, value) in &sources.environment {
        if let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) {
            layered.read_variable(name, value);
        }
    }
    for flag in &sources.flags {
        layered.read_flag(flag);
    }
    layered
}

impl Layered {
    fn assign(&mut self, setting: &'static Setting, origin: Origin, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.unreadable.remove(setting.name);
                self.origins.insert(setting.name, origin);
            }
            Err(text) => {
                self.unreadable.insert(setting.name);
                self.report(setting.name, Some(origin), text, String::new());
            }
        }
    }

    fn report(&mut self, setting: &str, origin: Option<Origin>, text: String, repair: String) {
        self.problems.push(Problem { setting: setting.to_owned(), origin, others: Vec::new(), text, repair });
    }

    fn read_flag(&mut self, flag: &Flag) {
        let origin = Origin::Flag(flag.spelling.clone());
        match Setting::find(flag.setting) {
            Some(setting) => {
                let result = setting.parse(&mut self.config, &flag.text);
                self.assign(setting, origin, result);
            }
            None => {
                let repair = new_name(flag.setting).map(|new| format!("it is called `{new}` now"));
                self.report(flag.setting, Some(origin), "unknown setting".to_owned(), repair.unwrap_or_default());
            }
        }
    }

    fn read_variable(&mut self, variable: &str, value: &OsString) {
        let origin = Origin::Environment(variable.to_owned());
        let name = variable[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        let Some(setting) = Setting::find(&name) else {
            let renamed = new_name(&name).map(|new| format!("it is called {} now", variable_name(new)));
            let meant = || suggestion(&name).map(|known| format!("did you mean {}?", variable_name(known)));
            let repair = renamed.or_else(meant).unwrap_or_else(|| "take it out of the environment".to_owned());
            return self.report(variable, Some(origin), "unknown environment variable".to_owned(), repair);
        };
        match value.to_str() {
            Some(text) => {
                let result = setting.parse(&mut self.config, text);
                self.assign(setting, origin, result);
            }
            None => self.assign(setting, origin, Err("is not UTF-8".to_owned())),
        }
    }

    /// Finds and reads the file: the flag's, else the environment's, else the default one if it exists.
    fn read_file(&mut self, sources: &Sources) {
        let variable = sources.environment.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        let named = sources.file.clone().or_else(|| variable.map(|(_, value)| PathBuf::from(value)));
        let is_named = named.is_some();
        let Some(path) = named.or_else(|| sources.default_file.clone()) else { return };
        match std::fs::read_to_string(&path) {
            Ok(text) => self.read_toml(&path, &text),
            Err(error) if !is_named && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let repair = "name a file that can be read with --config or LIVESESSION_CONFIG".to_owned();
                self.report(&path.display().to_string(), None, format!("could not read the file: {error}"), repair);
            }
        }
    }

    fn read_toml(&mut self, path: &Path, text: &str) {
        let at = |span: std::ops::Range<usize>| Origin::File { path: path.to_owned(), line: line_of(text, span.start) };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // The error's own text would quote the line, which may hold a secret.
            let origin = error.span().map(at);
            self.report("TOML", origin, error.message().to_owned(), String::new());
        }
        // What was recovered from a broken file is not what its author meant: its settings would only raise more problems.
        if errors.is_empty() {
            self.read_section("", document.get_ref(), &at);
        }
    }

    fn read_section(&mut self, prefix: &str, table: &DeTable<'_>, at: &dyn Fn(std::ops::Range<usize>) -> Origin) {
        for (key, value) in table {
            let name =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            let origin = at(key.span());
            if let Some(setting) = Setting::find(&name) {
                let result = plain(value).and_then(|plain| setting.read(&mut self.config, &plain));
                self.assign(setting, origin, result);
            } else if SETTINGS.iter().any(|setting| setting.name.starts_with(&format!("{name}."))) {
                match value.get_ref() {
                    DeValue::Table(inner) => self.read_section(&name, inner, at),
                    _ => self.report(&name, Some(origin), "is a section".to_owned(), format!("write [{name}]")),
                }
            } else {
                let renamed = new_name(&name).map(|new| format!("it is called `{new}` now"));
                let meant = || suggestion(&name).map(|known| format!("did you mean `{known}`?"));
                let repair = renamed.or_else(meant).unwrap_or_else(|| "take it out".to_owned());
                self.report(&name, Some(origin), "unknown key".to_owned(), repair);
            }
        }
    }
}

/// Returns a line's number, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Returns a value without its places in the file. The error quotes nothing: the value may be a secret.
fn plain(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    Value::deserialize(value.clone().into_deserializer()).map_err(|_| "a number does not fit in 64 bits".to_owned())
}

/// Returns the name of a setting in the environment.
pub fn variable_name(setting: &str) -> String {
    format!("{PREFIX}{}", setting.to_ascii_uppercase().replace('.', "__"))
}

/// Returns the setting or section that an unknown name probably meant: the same name in another section, else a near one in
/// this section, else a near one anywhere.
///
/// Within a known section the section's own name does not count: it would make every short key of it near.
fn suggestion(name: &str) -> Option<&'static str> {
    let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
    let moved = SETTINGS.iter().find(|setting| setting.short_name() == last && !setting.is_file_only());
    if let Some(setting) = moved {
        return Some(setting.name);
    }
    let sections = || SETTINGS.iter().map(Setting::section).filter(|known| !known.is_empty());
    let is_known = section.is_empty() || sections().any(|known| known == section);
    if !is_known {
        return nearest(name, SETTINGS.iter().map(|setting| setting.name));
    }
    let settings = SETTINGS.iter().filter(|setting| setting.section() == section).map(Setting::short_name);
    let tops = sections().filter(|_| section.is_empty());
    if let Some(near) = nearest(last, settings.chain(tops)) {
        let full = SETTINGS.iter().find(|setting| setting.section() == section && setting.short_name() == near);
        return Some(full.map_or(near, |setting| setting.name));
    }
    let elsewhere = nearest(last, SETTINGS.iter().map(Setting::short_name))?;
    SETTINGS.iter().find(|setting| setting.short_name() == elsewhere).map(|setting| setting.name)
}
