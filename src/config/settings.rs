//! Descriptions of settings, and the macro that declares structs, defaults and descriptions in one place.
//!
//! That place is [`super::model`]. Flags, environment, file, `config show`, `deploy/livesession.toml` and
//! `schemas/config.v1.schema.json` take names, types, defaults and texts from there.

use toml::Value;

use super::value::{Field, Kind};

/// One setting of a configuration `C`.
pub struct Setting<C> {
    /// Path of the setting in the file, with dots.
    pub name: &'static str,
    pub kind: Kind,
    /// What holds where an optional setting is not set, if that is something.
    pub unset: Option<&'static str>,
    pub(super) docs: &'static [&'static str],
    pub(super) get: fn(&C) -> Value,
    pub(super) parse: fn(&mut C, &str) -> Result<(), String>,
    pub(super) read: fn(&mut C, &Value) -> Result<(), String>,
}

/// A section of the configuration.
pub struct Section {
    pub name: &'static str,
    pub(super) docs: &'static [&'static str],
}

/// A setting that had another name.
#[derive(Debug)]
pub struct Renamed {
    pub old: &'static str,
    /// The old name as a flag of a command that leaves out the section.
    pub short_flag: &'static str,
    pub new: &'static str,
}

/// The settings that had another name: refused by it, with the present one.
pub const RENAMED: [Renamed; 2] = [
    Renamed { old: "grouping.grace", short_flag: "grace", new: "grouping.notification_delay" },
    Renamed { old: "grouping.amend_window", short_flag: "amend-window", new: "grouping.allowed_lateness" },
];

/// Returns the present name of a setting that was renamed.
pub fn new_name(old: &str) -> Option<&'static str> {
    RENAMED.iter().find(|renamed| renamed.old == old).map(|renamed| renamed.new)
}

impl<C> Setting<C> {
    /// Returns the name without its section.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Returns the section, empty at the top level.
    pub fn section(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Returns the first line of the documentation without its full stop, for `--help`.
    pub fn help(&self) -> &'static str {
        let line = self.docs.first().map_or("", |line| line.trim_ascii());
        line.strip_suffix('.').unwrap_or(line)
    }

    /// Returns the rest of the documentation up to its example, in one line: bounds, trade-offs, the reason of the default.
    pub fn reason(&self) -> String {
        let lines = self.docs[1..].iter().map(|line| line.trim_ascii()).take_while(|line| !line.starts_with("```"));
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Returns the lines of the example in the documentation.
    pub fn example(&self) -> impl Iterator<Item = &'static str> {
        let lines = self.docs.iter().map(|line| line.trim_ascii()).skip_while(|line| !line.starts_with("```"));
        lines.skip(1).take_while(|line| !line.starts_with("```"))
    }

    /// Returns whether the setting has a structure that neither the environment nor a flag can hold.
    pub fn is_file_only(&self) -> bool {
        self.kind == Kind::Section
    }

    /// Returns the present value, secrets masked.
    pub fn shown(&self, config: &C) -> Value {
        (self.get)(config)
    }

    /// Sets the value from the environment or a flag.
    pub fn parse(&self, config: &mut C, text: &str) -> Result<(), String> {
        (self.parse)(config, text)
    }

    /// Sets the value from a file.
    pub fn read(&self, config: &mut C, value: &Value) -> Result<(), String> {
        (self.read)(config, value)
    }
}

impl Section {
    /// Returns the first line of the documentation.
    pub fn help(&self) -> &'static str {
        self.docs.first().map_or("", |line| line.trim_ascii())
    }
}

pub(super) const fn kind_of<C, T: Field>(_field: fn(&C) -> &T) -> Kind {
    T::KIND
}

/// Declares the structs of the configuration, their defaults, and the tables [`SETTINGS`](super::SETTINGS) and
/// [`SECTIONS`](super::SECTIONS).
///
/// `field as "name": Type = default => "what holds where it is not set";` Name and last part may be missing.
macro_rules! settings {
    (
        $(#[doc = $config_doc:literal])+
        pub struct $Config:ident {
            $(
                $(#[doc = $top_doc:literal])+
                $top:ident: $Top:ty = $top_default:expr $(=> $top_unset:literal)?;
            )+
        }
        $(
            $(#[doc = $section_doc:literal])+
            [$section:ident] pub struct $Section:ident {
                $(
                    $(#[doc = $doc:literal])+
                    $field:ident $(as $name:literal)?: $Type:ty = $default:expr $(=> $unset:literal)?;
                )+
            }
        )+
    ) => {
        $(#[doc = $config_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Config {
            $($(#[doc = $top_doc])+ pub $top: $Top,)+
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
        }

        impl Default for $Config {
            fn default() -> $Config {
                $Config { $($top: $top_default,)+ $($section: $Section::default(),)+ }
            }
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $field: $Type,)+
            }

            impl Default for $Section {
                fn default() -> $Section {
                    $Section { $($field: $default,)+ }
                }
            }
        )+

        /// Every setting, in the order of the annotated file.
        pub static SETTINGS: &[Setting] = &[
            $(settings!(@setting $Config, stringify!($top), [$($top_doc)+], [$($top_unset)?], $top),)+
            $($(
                settings!(
                    @setting $Config, settings!(@name $section $field $($name)?), [$($doc)+], [$($unset)?], $section.$field
                ),
            )+)+
        ];

        /// The sections of the file that are structs of their own.
        pub static SECTIONS: &[Section] = &[$(Section { name: stringify!($section), docs: &[$($section_doc),+] },)+];
    };
    (@setting $Config:ident, $name:expr, [$($doc:literal)+], [$($unset:literal)?], $($path:ident).+) => {
        Setting {
            name: $name,
            kind: kind_of(|config: &$Config| &config.$($path).+),
            unset: settings!(@option $($unset)?),
            docs: &[$($doc),+],
            get: |config| config.$($path).+.shown(),
            parse: |config, text| Field::parse(text).map(|value| config.$($path).+ = value),
            read: |config, value| Field::read(value).map(|read| config.$($path).+ = read),
        }
    };
    (@name $section:ident $field:ident) => { concat!(stringify!($section), ".", stringify!($field)) };
    (@name $section:ident $field:ident $name:literal) => { concat!(stringify!($section), ".", $name) };
    (@option) => { None };
    (@option $unset:literal) => { Some($unset) };
}
pub(super) use settings;

#[cfg(test)]
mod tests {
    use crate::config::{Config, SETTINGS, Setting};

    #[test]
    fn names_are_paths_and_none_occurs_twice() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS[..index].iter().all(|other| other.name != setting.name), "{}", setting.name);
        }
        let properties = Setting::find("kafka.consumer.properties").unwrap();
        assert_eq!((properties.section(), properties.short_name()), ("kafka.consumer", "properties"));
        assert_eq!(Setting::find("workers").unwrap().section(), "");
    }

    #[test]
    fn documentation_begins_with_one_line_that_ends_with_a_full_stop() {
        for setting in SETTINGS {
            let second = setting.docs.get(1).map_or("", |line| line.trim_ascii());
            assert!(setting.docs[0].ends_with('.') && second.is_empty(), "{}", setting.name);
            assert!(!setting.help().is_empty() && !setting.help().ends_with('.'), "{}", setting.name);
            assert!(setting.reason().is_empty() || setting.reason().ends_with('.'), "{}", setting.name);
        }
    }

    #[test]
    fn every_setting_reads_back_what_it_shows() {
        for setting in SETTINGS {
            let mut config = Config::default();
            let shown = setting.shown(&config);
            assert_eq!(setting.read(&mut config, &shown), Ok(()), "{}", setting.name);
            assert_eq!(config, Config::default(), "{}", setting.name);
        }
    }
}
