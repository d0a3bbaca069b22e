//! The configuration: every setting with what it trades, and its default beside the reason.
//!
//! The structs are nested exactly as the sections of the file, so that a field's path is the setting's name. Reading is in
//! [`super::layers`], the list of names in [`super::settings`], what must hold between settings in [`super::check`]. What
//! follows from several settings (names of topics and ids) is computed here and nowhere else, because two workers that
//! compute it differently would not find each other's state.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

use livesession_grouping::policy::{Override, Settings};
use livesession_grouping::time::Millis;

use super::properties::Properties;
use super::value::{Bytes, LogFormat, SaslMechanism, SecurityProtocol, Start, StreamKey};

/// All settings of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Consumer group, prefix of the changelog and `ce_source`: workers with one id share one input. A new id starts from
    /// nothing and reads the input again, which is how one reprocesses. Default `livesession`.
    pub application_id: String,
    /// First part of the ids of transactions; the slot is appended. Must be stable over restarts, or the transaction of a
    /// killed worker hides its records from readers until it times out, and unique per process, or two workers fence each
    /// other. Default: `<application_id>-<hostname>`, right for a Kubernetes StatefulSet and for one process per host.
    pub transactional_id: Option<String>,
    /// Worker threads in this process, each with its own consumer, producer and slot. Default 1: a thread keeps up with far
    /// more than a platform records, and more processes survive the loss of a host, which more threads do not.
    pub workers: u32,
    /// How long a stop may take before the process gives up. Default 30 s: below the 60 s after which a supervisor kills.
    pub shutdown_timeout: Millis,
    /// How log lines are written. Default `auto`: people read terminals, machines read the rest.
    pub log_format: LogFormat,
    /// Which log lines are written, as `tracing` directives. Default `info`: a line per change of state, none per record.
    pub log_filter: String,
    pub topics: Topics,
    pub input: Input,
    pub output: Output,
    pub grouping: Grouping,
    pub kafka: Kafka,
    pub index: Index,
    pub http: Http,
}

/// Names of topics.
#[derive(Clone, Debug, PartialEq)]
pub struct Topics {
    /// Where notifications are read. Its partition count is the changelog's too. Default `recording-notifications`.
    pub input: String,
    /// Where sessions are published. Default `live-sessions`.
    pub output: String,
    /// Where refused records go. Default `<input>-dlq`, so that two inputs do not share one.
    pub dead_letter: Option<String>,
    /// Where the state is. Default `<application_id>-changelog`, so that a new id starts from nothing.
    pub changelog: Option<String>,
    /// A compacted topic with the newest revision of each session. Default none: it doubles what is written.
    pub latest: Option<String>,
}

/// How the input is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// What names a stream. Default all three parts: a stream id is unique on its push domain only. The id alone joins push
    /// events to recordings that lack the other parts.
    pub stream_key: StreamKey,
    /// Where a partition begins that was never read. Default `earliest`: a partition added later loses nothing.
    pub start: Start,
}

/// What is published, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Id of the session schema in a registry, for the header `__value_schema_id`. Default none: no registry is needed.
    pub schema_guid: Option<String>,
    /// Whether records carry CloudEvents headers. Default on: about 300 bytes a record, and routers need no look inside.
    pub cloudevents: bool,
    /// The largest record that is produced; the topics must allow it too. A larger one would abort its transaction for
    /// ever. Default 2 MiB: a session at both of its limits (2,000 segments and 768 KiB of text) can exceed 1 MiB.
    pub max_record_bytes: Bytes,
}

/// The rules of grouping; `docs/rules.md` says what each duration proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// The longest silence inside a session, inclusive. Longer joins shows, shorter splits them. Default 3 min: what
    /// platforms grant for a reconnect, and less than a change-over of booked rooms.
    pub gap: Millis,
    /// How long a file gets before the template cuts it: what a session waits for its next file. Too long delays every
    /// session, too short costs amendments. Default 2 h: the longest AAC file.
    pub recording_interval: Millis,
    /// The longest segment that is accepted; a longer one is refused. Costs memory: a closed session is remembered that
    /// long. Default 24 h: the longest recording task.
    pub max_segment: Millis,
    /// How long after its end a notification is normally here. Delays every session; too short costs amendments. Default
    /// 15 min: the sender's twelve retries.
    pub notification_delay: Millis,
    /// How long after its end a notification is accepted at all. Costs memory. Default 24 h: an outage of the receiver
    /// over night.
    pub allowed_lateness: Millis,
    /// How long a push on air holds a session open. Default 24 h: a push whose end was lost must not hold for ever.
    pub max_hold: Millis,
    /// The longest session; a longer one is cut into sessions that continue each other. Default 24 h: streams that never
    /// stop give one session a day.
    pub max_session_duration: Millis,
    /// The most segments in a session. Default 2,000: about 800 KB of output, within one record.
    pub max_session_segments: u32,
    /// The most text that a session's segments hold. Default 768 KiB: with the other limit it keeps within one record.
    pub max_session_bytes: Bytes,
    /// How far a segment's end may lie ahead of its record's Kafka timestamp. One bad clock must not close every session.
    /// Default 1 h: a wrong time zone is refused, a clock that drifts is not.
    pub max_clock_skew: Millis,
    /// How long a fully read partition rests before the wall clock moves its watermark. Default 1 min: well above the pause
    /// between two polls of a busy input, well below `notification_delay`.
    pub idle_after: Millis,
    /// Another gap for some streams; the first match wins. By file only.
    pub overrides: Vec<Override>,
}

/// How Kafka is reached, and how often a transaction is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// Where to begin; the brokers name the others. Default `localhost:9092`.
    pub brokers: Vec<String>,
    /// Encryption and login. Default `plaintext`, as brokers come.
    pub security_protocol: SecurityProtocol,
    /// No default: librdkafka's is Kerberos, which is not compiled in, so a login without a mechanism is our error.
    pub sasl_mechanism: Option<SaslMechanism>,
    pub username: Option<String>,
    /// The file with the password, because environments and command lines are seen by others. Read once: a new password
    /// needs a restart.
    pub password_file: Option<PathBuf>,
    /// The authorities that are trusted, as PEM. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate for mutual TLS, as PEM.
    pub certificate_file: Option<PathBuf>,
    /// The key of the certificate, as PEM.
    pub key_file: Option<PathBuf>,
    /// First part of the id of a static group member; the slot is appended. A restart within the session timeout then moves
    /// no partition, and a host that dies blocks its partitions that long. Default none.
    pub group_instance_id: Option<String>,
    /// How long a transaction collects. Longer costs delay, shorter costs the broker. Default 200 ms: five a second.
    pub commit_interval: Millis,
    /// Records after which a transaction is committed before its time. Bounds memory in a back-fill. Default 10,000.
    pub commit_max_records: u32,
    /// After how long the broker ends the transaction of a dead worker, which hides newer records from readers meanwhile.
    /// Default 10 s: outlives a broker restart, and is short enough for readers.
    pub transaction_timeout: Millis,
    /// After how long without a heartbeat the group goes on without a worker. Default 15 s: above the transaction timeout,
    /// so that few partitions change hands under an open transaction.
    pub session_timeout: Millis,
    /// After how long a worker that does not poll counts as stuck. Default 60 s: far above a turn of the loop.
    pub max_poll_interval: Millis,
    /// More settings of librdkafka, as `kcat -F` reads them. The sections below win over it.
    pub properties_file: Option<PathBuf>,
    /// Passed to consumer and producer. By file only.
    pub properties: Properties,
    pub consumer: Client,
    pub producer: Client,
}

/// Settings of librdkafka for one kind of client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    /// Wins over `kafka.properties`. By file only.
    pub properties: Properties,
}

/// The SQLite index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Whether `run` keeps an index. Default on, so that a first try can be asked; switch it off where workers have no disk.
    pub enabled: bool,
    /// The database file, on a local disk. Default: where systemd puts the state of a service.
    pub path: PathBuf,
    /// How long after its end a session stays in the index. Default 0: for ever, a session is about a kilobyte.
    pub retention: Millis,
}

/// Metrics, health and queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Default: this host only, since there is no login.
    pub listen: SocketAddr,
    /// Whether queries and the page are served beside metrics and health. Default on.
    pub api: bool,
}

impl Default for Config {
    fn default() -> Config {
        let rules = Settings::default();
        Config {
            application_id: "livesession".to_owned(),
            transactional_id: None,
            workers: 1,
            shutdown_timeout: Millis::from_secs(30),
            log_format: LogFormat::Auto,
            log_filter: "info".to_owned(),
            topics: Topics {
                input: "recording-notifications".to_owned(),
                output: "live-sessions".to_owned(),
                dead_letter: None,
                changelog: None,
                latest: None,
            },
            input: Input { stream_key: StreamKey::Full, start: Start::Earliest },
            output: Output { schema_guid: None, cloudevents: true, max_record_bytes: Bytes(2 << 20) },
            grouping: Grouping {
                gap: rules.gap,
                recording_interval: rules.recording_interval,
                max_segment: rules.max_segment,
                notification_delay: rules.notification_delay,
                allowed_lateness: rules.allowed_lateness,
                max_hold: rules.max_hold,
                max_session_duration: rules.max_session_duration,
                max_session_segments: rules.max_session_segments,
                max_session_bytes: Bytes(rules.max_session_bytes),
                max_clock_skew: Millis::from_secs(3_600),
                idle_after: Millis::from_secs(60),
                overrides: rules.overrides,
            },
            kafka: Kafka {
                brokers: vec!["localhost:9092".to_owned()],
                security_protocol: SecurityProtocol::Plaintext,
                sasl_mechanism: None,
                username: None,
                password_file: None,
                ca_file: None,
                certificate_file: None,
                key_file: None,
                group_instance_id: None,
                commit_interval: Millis::from_ms(200).unwrap_or_default(),
                commit_max_records: 10_000,
                transaction_timeout: Millis::from_secs(10),
                session_timeout: Millis::from_secs(15),
                max_poll_interval: Millis::from_secs(60),
                properties_file: None,
                properties: Properties::default(),
                consumer: Client::default(),
                producer: Client::default(),
            },
            index: Index {
                enabled: true,
                path: PathBuf::from("/var/lib/livesession/index.db"),
                retention: Millis::ZERO,
            },
            http: Http { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9_464)), api: true },
        }
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
