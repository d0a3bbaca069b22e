//! Settings as flags, made from the table of settings.
//!
//! A command flattens [`AllSettings`] (`--kafka.brokers`, every setting but the file-only ones) or [`GroupingSettings`]
//! (`--gap`, the rules alone) into its arguments and calls `load`. Flags are texts here: `config` reads them, so that a wrong
//! value is reported with everything else that is wrong. Only words from a short list are checked by clap, because
//! completions come from the same list.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use crate::config::{self, Config, DEFAULT_FILE, Flag, Kind, Loaded, Scope, Setting, Sources};
use crate::deployment;
use crate::exit::Failure;

const FILE_FLAG: &str = "config";

/// The flags of every setting, by their names in the file.
static ALL: LazyLock<Vec<Spelled>> = LazyLock::new(|| {
    let rows = config::SETTINGS.iter().filter(|setting| !setting.is_file_only());
    rows.map(|setting| Spelled { setting, spelling: setting.name.to_owned() }).collect()
});

/// The flags of the rules that matter without Kafka, by short names. Nothing is idle in a file, and it begins at its start.
static RULES: LazyLock<Vec<Spelled>> = LazyLock::new(|| {
    let without_kafka = |setting: &&Setting| {
        matches!(setting.section(), "grouping" | "input")
            && !setting.is_file_only()
            && !matches!(setting.name, "grouping.idle_after" | "input.start")
    };
    let rows = config::SETTINGS.iter().filter(without_kafka);
    rows.map(|setting| Spelled { setting, spelling: setting.short_name().replace('_', "-") }).collect()
});

/// A setting and how a command spells it.
struct Spelled {
    setting: &'static Setting,
    spelling: String,
}

/// What a command line says about settings.
#[derive(Clone, Debug, Default)]
struct Given {
    file: Option<PathBuf>,
    flags: Vec<Flag>,
}

/// Flags for all settings, for `run`, `index`, `demo` and `config`.
#[derive(Clone, Debug, Default)]
pub struct AllSettings(Given);

/// Flags for the rules of grouping, for `group`.
#[derive(Clone, Debug, Default)]
pub struct GroupingSettings(Given);

impl AllSettings {
    /// Returns settings without flags, for a command that needs one or two of them.
    pub fn without_flags(file: Option<PathBuf>) -> AllSettings {
        AllSettings(Given { file, flags: Vec::new() })
    }

    /// Reads and checks the whole configuration.
    pub fn load(&self) -> Result<Loaded, Failure> {
        self.0.load(Scope::All)
    }
}

impl GroupingSettings {
    /// Reads and checks `[grouping]` and `[input]`; what is wrong elsewhere does not matter to the command.
    pub fn load(&self) -> Result<Loaded, Failure> {
        self.0.load(Scope::Grouping)
    }
}

impl Given {
    fn load(&self, scope: Scope) -> Result<Loaded, Failure> {
        let sources = Sources {
            file: self.file.clone(),
            default_file: Some(PathBuf::from(DEFAULT_FILE)),
            environment: std::env::vars_os().collect(),
            flags: self.flags.clone(),
        };
        Ok(deployment::load(&sources, scope)?)
    }

    fn from_matches(matches: &ArgMatches, rows: &[Spelled]) -> Given {
        let mut flags = Vec::new();
        for Spelled { setting, spelling } in rows {
            let Some(values) = matches.get_many::<String>(setting.name) else { continue };
            let parts: Vec<&str> = values.map(String::as_str).collect();
            flags.push(Flag { setting: setting.name, spelling: spelling.clone(), text: parts.join(",") });
        }
        for (old, spelling) in renamed(rows) {
            if let Some(text) = matches.get_one::<String>(old) {
                flags.push(Flag { setting: old, spelling: spelling.to_owned(), text: text.clone() });
            }
        }
        Given { file: matches.get_one::<PathBuf>(FILE_FLAG).cloned(), flags }
    }
}

fn augment(command: Command, rows: &'static [Spelled]) -> Command {
    let file = Arg::new(FILE_FLAG)
        .long(FILE_FLAG)
        .value_name("FILE")
        .value_parser(ValueParser::path_buf())
        .value_hint(ValueHint::FilePath)
        .help("Configuration file [env: LIVESESSION_CONFIG; default: /etc/livesession/livesession.toml, if it exists]");
    let defaults = Config::default();
    let former = renamed(rows).map(|(old, spelling)| Arg::new(old).long(spelling).hide(true));
    rows.iter().fold(command.arg(file), |so_far, row| so_far.arg(flag(row, &defaults))).args(former)
}

/// Returns the settings of `rows` that were renamed: the old name, and the flag that it had.
fn renamed(rows: &[Spelled]) -> impl Iterator<Item = (&'static str, &'static str)> {
    config::RENAMED.iter().filter_map(|renamed| {
        let row = rows.iter().find(|row| row.setting.name == renamed.new)?;
        let is_long = row.spelling == row.setting.name;
        Some((renamed.old, if is_long { renamed.old } else { renamed.short_flag }))
    })
}

fn flag(row: &'static Spelled, defaults: &Config) -> Arg {
    let setting = row.setting;
    let shown = setting.shown(defaults).to_string();
    let default = setting.unset.or((shown != "\"\"").then_some(shown.as_str()));
    let help = default.map_or(setting.help().to_owned(), |default| format!("{} [default: {default}]", setting.help()));
    let section = if setting.section().is_empty() { "Settings" } else { setting.section() };
    let arg = Arg::new(setting.name).long(row.spelling.as_str()).help(help).help_heading(section);
    let set = if setting.kind == Kind::List { arg.action(ArgAction::Append) } else { arg.action(ArgAction::Set) };
    match setting.kind {
        Kind::Choice(words) => set.value_parser(PossibleValuesParser::new(words)).ignore_case(true).value_name("WORD"),
        Kind::Switch => set.value_parser(PossibleValuesParser::new(["true", "false"])).value_name("BOOL"),
        Kind::Path => set.value_name("FILE").value_hint(ValueHint::FilePath),
        Kind::Duration => set.value_name("DURATION"),
        Kind::Size => set.value_name("SIZE"),
        Kind::Count => set.value_name("COUNT"),
        Kind::Address => set.value_name("ADDRESS"),
        Kind::List => set.value_name("LIST"),
        Kind::Text | Kind::Section => set.value_name("TEXT"),
    }
}

/// Lets clap flatten a type whose flags come from a list of rows.
macro_rules! flattened {
    ($name:ident, $rows:ident) => {
        impl clap::FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<$name, clap::Error> {
                Ok($name(Given::from_matches(matches, &$rows)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = Given::from_matches(matches, &$rows);
                Ok(())
            }
        }

        impl clap::Args for $name {
            fn augment_args(command: Command) -> Command {
                augment(command, &$rows)
            }

            fn augment_args_for_update(command: Command) -> Command {
                augment(command, &$rows)
            }
        }
    };
}

flattened!(AllSettings, ALL);
flattened!(GroupingSettings, RULES);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Run {
        #[command(flatten)]
        settings: AllSettings,
    }

    #[derive(Parser)]
    struct Group {
        #[command(flatten)]
        settings: GroupingSettings,
    }

    fn texts(given: &Given) -> Vec<(&str, &str, &str)> {
        given.flags.iter().map(|flag| (flag.setting, flag.spelling.as_str(), flag.text.as_str())).collect()
    }

    #[test]
    fn every_setting_but_the_file_only_ones_is_a_flag() {
        let flags = ALL.iter().map(|row| row.setting.name);
        let expected = config::SETTINGS.iter().map(|setting| setting.name);
        assert!(flags.eq(expected.filter(|name| !name.ends_with("properties") && *name != "grouping.override")));
        let list = Run::parse_from(["run", "--kafka.brokers", "a:1", "--workers=2", "--kafka.brokers", "b:1,c:1"]);
        assert_eq!(
            texts(&list.settings.0),
            [("workers", "workers", "2"), ("kafka.brokers", "kafka.brokers", "a:1,b:1,c:1")]
        );
    }

    #[test]
    fn group_spells_the_rules_without_their_section() {
        let group = Group::parse_from(["group", "--recording-interval", "30m", "--stream-key=stream_id"]);
        assert_eq!(
            texts(&group.settings.0),
            [
                ("input.stream_key", "stream-key", "stream_id"),
                ("grouping.recording_interval", "recording-interval", "30m")
            ]
        );
        assert!(Group::try_parse_from(["group", "--brokers", "a"]).is_err());
    }
}
