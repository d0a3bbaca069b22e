//! The table of settings: one row each, from which flags, environment, file, `config show` and tests take names and types.
//!
//! A row binds a name to a field of [`Config`]; how the field is read and shown follows from its type. A setting that has no
//! row does not exist for anybody, which the test of `deploy/livesession.toml` would notice.

use toml::Value;

use super::model::Config;
use super::value::{Field, Kind};

/// One setting.
pub struct Setting {
    /// Path of the setting in the file, with dots.
    pub name: &'static str,
    /// One line for `--help`; the trade is told in [`Config`].
    pub help: &'static str,
    pub kind: Kind,
    get: fn(&Config) -> Value,
    parse: fn(&mut Config, &str) -> Result<(), String>,
    read: fn(&mut Config, &Value) -> Result<(), String>,
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

impl Setting {
    /// Returns the setting with this name.
    pub fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// Returns the name without its section.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Returns the section, empty at the top level.
    pub fn section(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Returns whether the setting has a structure that neither the environment nor a flag can hold.
    pub fn is_file_only(&self) -> bool {
        self.kind == Kind::Section
    }

    /// Returns the present value, secrets masked.
    pub fn shown(&self, config: &Config) -> Value {
        (self.get)(config)
    }

    /// Sets the value from the environment or a flag.
    pub fn parse(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.parse)(config, text)
    }

    /// Sets the value from a file.
    pub fn read(&self, config: &mut Config, value: &Value) -> Result<(), String> {
        (self.read)(config, value)
    }
}

const fn kind_of<T: Field>(_field: fn(&Config) -> &T) -> Kind {
    T::KIND
}

/// A row: the path of a field, its name in the file where that differs, its help.
macro_rules! row {
    ($first:ident $(. $rest:ident)*, $help:literal) => {
        row!(concat!(stringify!($first) $(, ".", stringify!($rest))*) => $first $(. $rest)*, $help)
    };
    ($name:expr => $first:ident $(. $rest:ident)*, $help:literal) => {
        Setting {
            name: $name,
            help: $help,
            kind: kind_of(|config| &config.$first $(.$rest)*),
            get: |config| config.$first $(.$rest)*.shown(),
            parse: |config, text| Field::parse(text).map(|value| config.$first $(.$rest)* = value),
            read: |config, value| Field::read(value).map(|read| config.$first $(.$rest)* = read),
        }
    };
}

/// Every setting, in the order of the annotated file.
pub static SETTINGS: [Setting; 51] = [
    row!(application_id, "Consumer group and prefix of the changelog; a new one starts from nothing"),
    row!(transactional_id, "First part of the transactional ids [default: <application_id>-<hostname>]"),
    row!(workers, "Worker threads in this process"),
    row!(shutdown_timeout, "How long a stop may take"),
    row!(log_format, "How log lines are written"),
    row!(log_filter, "Which log lines are written, as tracing directives"),
    row!(topics.input, "Topic of notifications"),
    row!(topics.output, "Topic of sessions"),
    row!(topics.dead_letter, "Topic of refused records [default: <input>-dlq]"),
    row!(topics.changelog, "Topic of the state [default: <application_id>-changelog]"),
    row!(topics.latest, "Compacted topic of newest revisions; a name switches it on"),
    row!(input.stream_key, "What names a stream"),
    row!(input.start, "Where a partition begins that was never read"),
    row!(output.schema_guid, "Schema id for the header __value_schema_id"),
    row!(output.cloudevents, "Whether sessions carry CloudEvents headers"),
    row!(output.max_record_bytes, "The largest record that is produced"),
    row!(grouping.gap, "The longest silence inside a session, inclusive"),
    row!(grouping.recording_interval, "How long a file gets before the template cuts it"),
    row!(grouping.max_segment, "The longest segment that is accepted"),
    row!(grouping.notification_delay, "How long after its end a segment's notification is normally here"),
    row!(grouping.allowed_lateness, "How long after its end a segment's notification is still accepted"),
    row!(grouping.max_hold, "How long a push on air holds a session open"),
    row!(grouping.max_session_duration, "The longest session before it is cut"),
    row!(grouping.max_session_segments, "The most segments in a session"),
    row!(grouping.max_session_bytes, "The most text that a session's segments hold"),
    row!(grouping.max_clock_skew, "How far a segment may end ahead of its record's timestamp"),
    row!(grouping.idle_after, "How long a fully read partition rests before the wall clock moves its watermark"),
    row!("grouping.override" => grouping.overrides, "Another gap for some streams; the first match wins"),
    row!(kafka.brokers, "Brokers to begin with"),
    row!(kafka.security_protocol, "Encryption and login"),
    row!(kafka.sasl_mechanism, "How the client logs in"),
    row!(kafka.username, "Who logs in"),
    row!(kafka.password_file, "File with the password"),
    row!(kafka.ca_file, "PEM file of trusted authorities [default: the system's]"),
    row!(kafka.certificate_file, "PEM file of the client's certificate"),
    row!(kafka.key_file, "PEM file of the certificate's key"),
    row!(kafka.group_instance_id, "First part of the id of a static group member"),
    row!(kafka.commit_interval, "How long a transaction collects"),
    row!(kafka.commit_max_records, "Records after which a transaction is committed early"),
    row!(kafka.transaction_timeout, "After how long the broker ends a dead worker's transaction"),
    row!(kafka.session_timeout, "After how long without a heartbeat a worker has left the group"),
    row!(kafka.max_poll_interval, "After how long without a poll a worker has left the group"),
    row!(kafka.properties_file, "File of librdkafka settings, as kcat -F reads it"),
    row!(kafka.properties, "Settings of librdkafka for all clients"),
    row!(kafka.consumer.properties, "Settings of librdkafka for consumers"),
    row!(kafka.producer.properties, "Settings of librdkafka for producers"),
    row!(index.enabled, "Whether the worker keeps an index"),
    row!(index.path, "The index's database file"),
    row!(index.retention, "How long a session stays in the index; 0s: for ever"),
    row!(http.listen, "Address of metrics, health and queries"),
    row!(http.api, "Whether queries and the page are served"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_and_none_occurs_twice() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS[..index].iter().all(|other| other.name != setting.name), "{}", setting.name);
            assert!(!setting.help.ends_with('.'), "{}", setting.name);
        }
        let properties = Setting::find("kafka.consumer.properties").unwrap();
        assert_eq!((properties.section(), properties.short_name()), ("kafka.consumer", "properties"));
        assert_eq!(Setting::find("workers").unwrap().section(), "");
    }

    #[test]
    fn every_setting_reads_back_what_it_shows() {
        for setting in &SETTINGS {
            let mut config = Config::default();
            let shown = setting.shown(&config);
            assert_eq!(setting.read(&mut config, &shown), Ok(()), "{}", setting.name);
            assert_eq!(config, Config::default(), "{}", setting.name);
        }
    }
}
