//! The configuration: every setting with its type, its default and its documentation.
//!
//! The structs are nested as the sections of the file are. The first line of a setting's documentation is its text in
//! `--help`; all of it stands in `deploy/livesession.toml` and in `schemas/config.v1.schema.json`, which
//! `UPDATE=1 cargo test --test project generated` writes. Reading is in [`super::layers`], what must hold between settings
//! in `check`. What follows from several settings (names of topics and ids) is computed here and nowhere else,
//! because two workers that compute it differently would not find each other's state.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

use livesession_grouping::policy::{Override, Settings};
use livesession_grouping::time::Millis;

use super::properties::Properties;
use super::settings::{self, Section, kind_of, settings};
use super::value::{Bytes, Field, LogFormat, SaslMechanism, SecurityProtocol};
use crate::partition::Start;
use livesession_formats::notification::KeyParts;

settings! {
    /// All settings of the program.
    pub struct Config {
        /// Consumer group, prefix of the changelog, and source of the CloudEvents.
        ///
        /// Letters, digits, `.`, `_` and `-`. Workers with the same id share one input. A new id starts from nothing
        /// and reads the whole input again, which is how to reprocess (with a new output topic).
        application_id: String = "livesession".to_owned();
        /// Prefix of the transactional ids, to which the worker's slot is appended.
        ///
        /// Must stay the same over restarts, or the open transaction of a killed worker hides newer records from
        /// readers until it times out. Must be unique per process, or two workers fence each other. The default is
        /// right for a Kubernetes StatefulSet and for one process per host.
        transactional_id: Option<String> = None => "<application_id>-<hostname>";
        /// Worker threads in this process, each with its own consumer and producer.
        ///
        /// One thread keeps up with far more than a platform records. More processes scale as well and fail apart.
        workers: u32 = 1;
        /// Longest time that a shutdown may take before the process gives up.
        ///
        /// Above 0, and below the supervisor's kill timeout (60 s in the files of `deploy/`).
        shutdown_timeout: Millis = Millis::from_secs(30);
        /// Format of log lines.
        ///
        /// By default text on a terminal and JSON elsewhere.
        log_format: LogFormat = LogFormat::Auto;
        /// Level of log lines, or directives such as "info,livesession=debug".
        ///
        /// By default a line for each change of state and none for each record.
        log_filter: String = "info".to_owned();
    }

    /// Names of topics.
    [topics] pub struct Topics {
        /// Topic of notifications, keyed by stream.
        input: String = "recording-notifications".to_owned();
        /// Topic of sessions.
        output: String = "live-sessions".to_owned();
        /// Topic of refused records.
        ///
        /// The default depends on the input, so that two inputs do not share a topic.
        dead_letter: Option<String> = None => "<input>-dlq";
        /// Topic of the state: compacted, with as many partitions as the input.
        changelog: Option<String> = None => "<application_id>-changelog";
        /// Compacted topic with the newest revision of each session.
        ///
        /// Doubles what is written.
        latest: Option<String> = None => "none";
    }

    /// Reading of the input.
    [input] pub struct Input {
        /// Fields of a notification that name its stream.
        ///
        /// A stream id is unique only within its push domain. Use stream_id where push events and recordings have
        /// nothing else in common.
        stream_key: KeyParts = KeyParts::AppAppnameStreamId;
        /// Where to start reading a partition that has no committed offset.
        ///
        /// With earliest, a partition that is added later loses nothing.
        start: Start = Start::Earliest;
    }

    /// Form and size of published records.
    [output] pub struct Output {
        /// Id of the session schema in a registry, for the header `__value_schema_id`.
        schema_guid: Option<String> = None => "no such header";
        /// Whether session records carry CloudEvents headers.
        ///
        /// They take about 300 bytes a record, and routers need not read the value.
        cloudevents: bool = true;
        /// Size of the largest record that is produced.
        ///
        /// At most 1,000,000,000 bytes. The topics' `max.message.bytes` must allow it. A session at
        /// max_session_segments and max_session_bytes must fit, which is checked: a larger record would abort its
        /// transaction again and again. At the default limits a session can exceed 1 MiB.
        max_record_bytes: Bytes = Bytes(2 << 20);
    }

    /// Rules of grouping; `docs/rules.md` says what each duration proves.
    [grouping] pub struct Grouping {
        /// Longest gap within a session, inclusive.
        ///
        /// Longer joins shows, shorter splits them. The default is what platforms grant for a reconnect, and less than
        /// the change-over of booked rooms.
        gap: Millis = Settings::default().gap;
        /// Longest file that the recording template writes: what a session waits for its next file.
        ///
        /// Take the longest of your templates. Too short costs amendments, too long delays every session. The default
        /// is the longest AAC file.
        recording_interval: Millis = Settings::default().recording_interval;
        /// Longest segment that is accepted, inclusive.
        ///
        /// Costs memory: a closed session is remembered at least that long. The default is the longest recording task.
        max_segment: Millis = Settings::default().max_segment;
        /// Usual delay of a notification, from the end of its segment.
        ///
        /// Delays every session; too short costs amendments. The sender retries for 12 to 16 minutes.
        notification_delay: Millis = Settings::default().notification_delay;
        /// Longest accepted delay of a notification, from the end of its segment.
        ///
        /// What comes later is a dead letter. Costs memory. The default covers an overnight outage of the receiver.
        allowed_lateness: Millis = Settings::default().allowed_lateness;
        /// Longest time that a push on air holds a session open.
        ///
        /// A push whose end was lost must not hold it forever.
        max_hold: Millis = Settings::default().max_hold;
        /// Longest session; a longer one is cut into sessions that continue each other.
        ///
        /// By default streams that never stop give one session a day.
        max_session_duration: Millis = Settings::default().max_session_duration;
        /// Most segments in a session; a larger one is cut.
        ///
        /// The default is about 800 KB of output.
        max_session_segments: u32 = Settings::default().max_session_segments;
        /// Most text in the segments of a session; a larger one is cut.
        ///
        /// With max_session_segments it keeps a session within one record.
        max_session_bytes: Bytes = Bytes(Settings::default().max_session_bytes);
        /// How far a segment may end ahead of its record's Kafka timestamp, inclusive.
        ///
        /// One bad clock must not close every session. By default a wrong time zone is refused, a clock that drifts is
        /// not.
        max_clock_skew: Millis = Millis::from_secs(3_600);
        /// Idle time of a fully read partition before the wall clock moves its watermark.
        ///
        /// Above 0. Keep it well above the pause between two polls of a busy input and well below notification_delay.
        idle_after: Millis = Millis::from_secs(60);
        /// Different gaps for some streams; the first match wins.
        ///
        /// `*` stands for any text. By file only.
        ///
        /// ```toml
        /// streams = "push.example.com/radio/*"
        /// gap = "10m"
        /// ```
        overrides as "override": Vec<Override> = Settings::default().overrides;
    }

    /// Connections to Kafka, and how often a transaction is committed.
    [kafka] pub struct Kafka {
        /// Bootstrap brokers.
        brokers: Vec<String> = vec!["localhost:9092".to_owned()];
        /// Encryption and login of connections.
        security_protocol: SecurityProtocol = SecurityProtocol::Plaintext;
        /// SASL mechanism, needed by sasl_plaintext and sasl_ssl.
        ///
        /// There is no default, since librdkafka's is Kerberos, which is not compiled in.
        sasl_mechanism: Option<SaslMechanism> = None;
        /// SASL username.
        username: Option<String> = None;
        /// File that holds the SASL password and nothing else.
        ///
        /// A file, because environments and command lines are visible to others. Read at the start: a new password
        /// needs a restart.
        password_file: Option<PathBuf> = None;
        /// PEM file of trusted certificate authorities.
        ca_file: Option<PathBuf> = None => "the system's";
        /// PEM file of the client certificate, for mutual TLS.
        ///
        /// Needs key_file.
        certificate_file: Option<PathBuf> = None;
        /// PEM file of the client certificate's key, for mutual TLS.
        ///
        /// Needs certificate_file.
        key_file: Option<PathBuf> = None;
        /// Prefix of the static group member ids, to which the worker's slot is appended.
        ///
        /// A restart within session_timeout then moves no partition, and a host that dies keeps its partitions that
        /// long.
        group_instance_id: Option<String> = None => "dynamic members";
        /// Longest time that a transaction collects before it is committed.
        ///
        /// Above 0 and below 0.8 of transaction_timeout. Longer delays sessions, shorter loads the broker.
        commit_interval: Millis = Millis::from_ms(200).unwrap_or_default();
        /// Number of records after which a transaction is committed early.
        ///
        /// Bounds memory in a back-fill.
        commit_max_records: u32 = 10_000;
        /// Time after which the broker aborts the transaction of a dead worker.
        ///
        /// At least 1s; transaction_timeout <= session_timeout <= max_poll_interval. Until then newer records are
        /// hidden from readers. The default outlives the restart of a broker. 0.8 of it is the message timeout.
        transaction_timeout: Millis = Millis::from_secs(10);
        /// Time without a heartbeat after which the group removes a worker.
        ///
        /// At most 1h. Not below transaction_timeout, so that few partitions change hands under an open transaction.
        session_timeout: Millis = Millis::from_secs(15);
        /// Time without a poll after which the group removes a worker.
        ///
        /// At most 24h. The default is far above a turn of the worker's loop.
        max_poll_interval: Millis = Millis::from_secs(60);
        /// File of more librdkafka settings, in the format of `kcat -F`.
        ///
        /// The sections below win over it.
        properties_file: Option<PathBuf> = None;
        /// Settings of librdkafka for all clients.
        ///
        /// Those that a guarantee rests on are refused by name. By file only.
        ///
        /// ```toml
        /// "client.rack" = "eu-central-1a"
        /// ```
        properties: Properties = Properties::default();
        /// Settings of librdkafka for consumers.
        ///
        /// They win over those for all clients. By file only.
        consumer_properties as "consumer.properties": Properties = Properties::default();
        /// Settings of librdkafka for producers.
        ///
        /// They win over those for all clients. By file only.
        producer_properties as "producer.properties": Properties = Properties::default();
    }

    /// The SQLite index.
    [index] pub struct Index {
        /// Whether `livesession run` keeps an index.
        ///
        /// Switch it off where workers have no disk.
        enabled: bool = true;
        /// Database file of the index, on a local disk.
        path: PathBuf = PathBuf::from("/var/lib/livesession/index.db");
        /// Time that a session stays in the index after its end; 0s keeps it forever.
        ///
        /// A session takes about a kilobyte.
        retention: Millis = Millis::ZERO;
    }

    /// Metrics, health and queries.
    [http] pub struct Http {
        /// Address and port of metrics, health and queries.
        ///
        /// There is no login: keep it private.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9_464));
        /// Whether queries and the page are served, in addition to metrics and health.
        api: bool = true;
    }
}

/// One setting of the program.
pub type Setting = settings::Setting<Config>;

impl Setting {
    /// Returns the setting with this name.
    pub fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

impl Config {
    /// Returns the topic of refused records.
    pub fn dead_letter_topic(&self) -> String {
        self.topics.dead_letter.clone().unwrap_or_else(|| format!("{}-dlq", self.topics.input))
    }

    /// Returns the topic of the state.
    pub fn changelog_topic(&self) -> String {
        self.topics.changelog.clone().unwrap_or_else(|| format!("{}-changelog", self.application_id))
    }

    /// Returns the id of the transactions of one worker thread; `slot` counts them from 0.
    ///
    /// The slot is appended even if there is one worker, so that raising `workers` leaves the first id as it was.
    pub fn transactional_id(&self, slot: u32, hostname: &str) -> String {
        match &self.transactional_id {
            Some(prefix) => format!("{prefix}-{slot}"),
            None => format!("{}-{hostname}-{slot}", self.application_id),
        }
    }

    /// Returns the id of a static group member, or `None` if members are dynamic.
    pub fn group_instance_id(&self, slot: u32) -> Option<String> {
        self.kafka.group_instance_id.as_ref().map(|prefix| format!("{prefix}-{slot}"))
    }

    /// Returns the rules as the grouping core takes them.
    pub fn grouping_settings(&self) -> Settings {
        let grouping = &self.grouping;
        Settings {
            gap: grouping.gap,
            recording_interval: grouping.recording_interval,
            max_segment: grouping.max_segment,
            notification_delay: grouping.notification_delay,
            allowed_lateness: grouping.allowed_lateness,
            max_hold: grouping.max_hold,
            max_session_duration: grouping.max_session_duration,
            max_session_segments: grouping.max_session_segments,
            max_session_bytes: grouping.max_session_bytes.0,
            overrides: grouping.overrides.clone(),
        }
    }
}

impl Kafka {
    /// Returns how long the producer tries to deliver a record: 0.8 of the transaction timeout, so that a drain ends before
    /// the transaction does.
    pub fn message_timeout(&self) -> Millis {
        Millis::from_ms(self.transaction_timeout.as_ms() * 4 / 5).unwrap_or_default()
    }

    /// Reads `password_file`, without one line end behind the password; `None` if there is no such file set.
    pub fn password(&self) -> Result<Option<SecretString>, PasswordError> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let unreadable = |source| PasswordError::Unreadable { path: path.clone(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let password = line.strip_suffix('\r').unwrap_or(line);
        if password.is_empty() {
            return Err(PasswordError::Empty { path: path.clone() });
        }
        Ok(Some(SecretString::from(password)))
    }

    /// Returns what is passed to every client: what `properties_file` holds, overlaid with `[kafka.properties]`.
    pub fn shared_properties(&self, from_file: &Properties) -> Properties {
        let mut shared = from_file.clone();
        shared.extend(&self.properties);
        shared
    }
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("could not read {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no password", path.display())]
    Empty { path: PathBuf },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_ids_unless_they_are_set() {
        let mut config = Config::default();
        assert_eq!(config.dead_letter_topic(), "recording-notifications-dlq");
        assert_eq!(config.changelog_topic(), "livesession-changelog");
        assert_eq!(config.transactional_id(2, "node-7"), "livesession-node-7-2");
        assert_eq!(config.group_instance_id(0), None);
        config.topics.dead_letter = Some("refused".to_owned());
        config.topics.changelog = Some("state".to_owned());
        config.transactional_id = Some("pod-1".to_owned());
        config.kafka.group_instance_id = Some("pod-1".to_owned());
        assert_eq!(config.dead_letter_topic(), "refused");
        assert_eq!(config.changelog_topic(), "state");
        assert_eq!(config.transactional_id(0, "node-7"), "pod-1-0");
        assert_eq!(config.group_instance_id(1), Some("pod-1-1".to_owned()));
    }

    #[test]
    fn default_rules_are_those_of_the_core() {
        let config = Config::default();
        assert_eq!(config.grouping_settings(), Settings::default());
        assert_eq!(config.kafka.message_timeout(), Millis::from_secs(8));
        assert_eq!(config.kafka.commit_interval.as_ms(), 200);
    }
}
