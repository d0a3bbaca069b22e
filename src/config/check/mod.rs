//! Checks between settings.
//!
//! Every check runs, so that one start shows every problem. A check names the settings that it compares; it is left out if
//! one of them could not be read, for then it would compare a default that nobody wrote.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use livesession_formats::session::worst_case_bytes;
use livesession_grouping::policy::Policy;
use livesession_grouping::time::Millis;
use tracing_subscriber::EnvFilter;

use super::model::Config;
use super::properties::{Files, Properties};
use crate::text::chain;

/// The largest record that librdkafka allows to configure.
const MAX_RECORD_BYTES: u64 = 1_000_000_000;
/// The longest name of a topic. Source: Kafka's `Topic` class; with a partition number it has to fit a file name.
const MAX_TOPIC_BYTES: usize = 249;

/// A problem before it is known where its setting comes from.
#[derive(Debug)]
pub(super) struct Finding {
    /// The one to repair first, then those that it was compared with.
    pub settings: Vec<&'static str>,
    pub text: String,
    pub repair: String,
}

/// Collects findings.
pub(super) struct Checker<'a> {
    config: &'a Config,
    unreadable: &'a BTreeSet<&'static str>,
    pub findings: Vec<Finding>,
    /// What was read of the files that the configuration names.
    pub files: Files,
}

impl<'a> Checker<'a> {
    fn new(config: &'a Config, unreadable: &'a BTreeSet<&'static str>) -> Checker<'a> {
        Checker { config, unreadable, findings: Vec::new(), files: Files::default() }
    }

    /// Runs the checks of the grouping rules only, which is what a command without Kafka needs.
    pub fn grouping(config: &'a Config, unreadable: &'a BTreeSet<&'static str>) -> Checker<'a> {
        let mut checker = Checker::new(config, unreadable);
        checker.check_policy();
        checker
    }

    /// Runs the checks of what a command needs that only asks the index.
    pub fn index(config: &'a Config, unreadable: &'a BTreeSet<&'static str>) -> Checker<'a> {
        let mut checker = Checker::new(config, unreadable);
        checker.check_index();
        checker
    }

    /// Runs all checks, and reads the files that hold secrets.
    pub fn all(config: &'a Config, unreadable: &'a BTreeSet<&'static str>) -> Checker<'a> {
        let mut checker = Checker::grouping(config, unreadable);
        checker.check_numbers();
        checker.check_index();
        checker.check_record_size();
        checker.check_log_filter();
        checker.check_names();
        checker.check_timeouts();
        checker.check_brokers();
        checker.check_files();
        checker.check_properties();
        checker
    }

    /// Reports a problem of `settings[0]` unless the condition holds or one of `settings` could not be read.
    fn need(&mut self, holds: bool, settings: &[&'static str], text: impl Into<String>, repair: impl Into<String>) {
        if !holds && !settings.iter().any(|setting| self.unreadable.contains(setting)) {
            self.findings.push(Finding { settings: settings.to_vec(), text: text.into(), repair: repair.into() });
        }
    }

    fn check_policy(&mut self) {
        for problem in Policy::new(self.config.grouping_settings()).err().unwrap_or_default() {
            let (settings, repair): (&[&'static str], &str) = match problem.setting {
                "allowed_lateness" => (
                    &["grouping.allowed_lateness", "grouping.notification_delay"],
                    "raise it, or lower notification_delay",
                ),
                "max_segment" => {
                    (&["grouping.max_segment", "grouping.recording_interval"], "raise it, or lower recording_interval")
                }
                "max_hold" => (
                    &["grouping.max_hold", "grouping.max_segment", "grouping.allowed_lateness"],
                    "lower it, or raise allowed_lateness",
                ),
                "max_session_duration" => {
                    (&["grouping.max_session_duration", "grouping.max_segment"], "raise it, or lower max_segment")
                }
                "max_session_segments" => (&["grouping.max_session_segments"], "set at least 1"),
                "override" => (&["grouping.override"], "name the streams, or take the entry out"),
                _ => (&["grouping"], ""),
            };
            self.need(false, settings, problem.problem, repair);
        }
        let idle_after = self.config.grouping.idle_after;
        self.need(
            idle_after > Millis::ZERO,
            &["grouping.idle_after"],
            "0s would move the watermark of a partition that is merely between two polls",
            "set at least 1s",
        );
    }

    fn check_numbers(&mut self) {
        let config = self.config;
        self.need(config.workers >= 1, &["workers"], "0 workers read nothing", "set at least 1");
        self.need(
            config.kafka.commit_max_records >= 1,
            &["kafka.commit_max_records"],
            "0 leaves no room for a record",
            "set at least 1",
        );
        self.need(
            config.shutdown_timeout > Millis::ZERO,
            &["shutdown_timeout"],
            "0s leaves no time to commit",
            "set it below the supervisor's kill timeout, for instance 30s",
        );
    }

    fn check_index(&mut self) {
        let config = self.config;
        self.need(
            !config.index.enabled || !config.index.path.as_os_str().is_empty(),
            &["index.path", "index.enabled"],
            "is empty while the index is enabled",
            "name a file, or set index.enabled = false",
        );
    }

    fn check_log_filter(&mut self) {
        let filter = &self.config.log_filter;
        if let Err(error) = EnvFilter::try_new(filter) {
            let text = format!("cannot read {filter:?}: {error}");
            self.need(false, &["log_filter"], text, "write info, or info,livesession=debug");
        }
    }

    fn check_record_size(&mut self) {
        let grouping = &self.config.grouping;
        let limit = self.config.output.max_record_bytes;
        let worst = worst_case_bytes(grouping.max_session_segments, grouping.max_session_bytes.0);
        self.need(
            limit.0 >= worst,
            &["output.max_record_bytes", "grouping.max_session_segments", "grouping.max_session_bytes"],
            format!(
                "{limit} is less than the {worst} bytes of a session at its limits ({} segments, {} of text)",
                grouping.max_session_segments, grouping.max_session_bytes
            ),
            "raise it and the topics' max.message.bytes, or lower max_session_segments or max_session_bytes",
        );
        self.need(
            limit.0 <= MAX_RECORD_BYTES,
            &["output.max_record_bytes"],
            format!("{limit} is more than the {MAX_RECORD_BYTES} bytes that the client allows"),
            "lower it",
        );
    }

    fn check_names(&mut self) {
        let config = self.config;
        let id = &config.application_id;
        let is_legal = !id.is_empty() && has_topic_letters(id);
        self.need(
            is_legal,
            &["application_id"],
            format!("{id:?} is not a name of letters, digits, `.`, `_` and `-`"),
            "it begins the changelog's name: choose another",
        );
        let topics = [
            ("topics.input", "topics.input", config.topics.input.clone()),
            ("topics.output", "topics.output", config.topics.output.clone()),
            ("topics.dead_letter", "topics.input", config.dead_letter_topic()),
            ("topics.changelog", "application_id", config.changelog_topic()),
            ("topics.latest", "topics.latest", config.topics.latest.clone().unwrap_or_default()),
        ];
        for (index, (setting, derived_from, topic)) in topics.iter().enumerate() {
            if *setting == "topics.latest" && config.topics.latest.is_none() {
                continue;
            }
            // A derived name is only as good as what it derives from, which is reported by itself.
            let is_derived = (*setting == "topics.dead_letter" && config.topics.dead_letter.is_none())
                || (*setting == "topics.changelog" && config.topics.changelog.is_none());
            let source_fits = !is_derived || topic.len() > MAX_TOPIC_BYTES;
            if let Some(fault) = topic_fault(topic).filter(|_| source_fits) {
                let repair = if is_derived { "set a shorter one here" } else { "choose another name" };
                self.need(false, &[*setting, *derived_from], format!("{topic:?} {fault}"), repair);
            }
            // Kafka refuses to create two topics whose names differ in `.` and `_` only: their metrics would collide.
            let collides = |other: &str| other.replace('.', "_") == topic.replace('.', "_");
            if let Some((other, ..)) = topics[..index].iter().find(|(.., other)| collides(other)) {
                let text = format!("{topic:?} is the topic of {other} too (`.` and `_` count as the same)");
                self.need(false, &[*setting, *other, *derived_from], text, "choose another name");
            }
        }
    }

    fn check_timeouts(&mut self) {
        let kafka = &self.config.kafka;
        let (transaction, session, poll) = (kafka.transaction_timeout, kafka.session_timeout, kafka.max_poll_interval);
        let message = kafka.message_timeout();
        let (second, hour, day) = (Millis::from_secs(1), Millis::from_secs(3_600), Millis::from_secs(86_400));
        self.need(
            transaction >= second,
            &["kafka.transaction_timeout"],
            format!("{transaction} is shorter than the 1s that the client allows"),
            "raise it",
        );
        self.need(
            kafka.commit_interval > Millis::ZERO && kafka.commit_interval < message,
            &["kafka.commit_interval", "kafka.transaction_timeout"],
            format!(
                "{} is not between 1ms and the message timeout {message} (0.8 of transaction_timeout)",
                kafka.commit_interval
            ),
            "set it far below transaction_timeout, for instance 200ms",
        );
        self.need(
            transaction <= session,
            &["kafka.session_timeout", "kafka.transaction_timeout"],
            format!(
                "{session} is shorter than transaction_timeout {transaction}: partitions would change hands under open transactions"
            ),
            "raise it, or lower transaction_timeout",
        );
        self.need(
            session <= poll,
            &["kafka.max_poll_interval", "kafka.session_timeout"],
            format!("{poll} is shorter than session_timeout {session}"),
            "raise it, or lower session_timeout",
        );
        self.need(
            session <= hour,
            &["kafka.session_timeout"],
            format!("{session} is longer than the 1h that the client allows"),
            "lower it",
        );
        self.need(
            poll <= day,
            &["kafka.max_poll_interval"],
            format!("{poll} is longer than the 24h that the client allows"),
            "lower it",
        );
    }

    fn check_brokers(&mut self) {
        let brokers = &self.config.kafka.brokers;
        self.need(!brokers.is_empty(), &["kafka.brokers"], "names no broker", "write host:port, several by commas");
        for broker in brokers {
            self.need(is_broker(broker), &["kafka.brokers"], format!("{broker:?} is no broker"), "write host:port");
        }
    }

    fn check_files(&mut self) {
        let kafka = &self.config.kafka;
        let files = [
            ("kafka.ca_file", &kafka.ca_file),
            ("kafka.certificate_file", &kafka.certificate_file),
            ("kafka.key_file", &kafka.key_file),
        ];
        for (setting, file) in files {
            if let Some(fault) = file.as_deref().and_then(file_fault) {
                self.need(false, &[setting], fault, "name a file that this user can read");
            }
        }
        match kafka.password() {
            Ok(password) => self.files.password = password,
            Err(error) => {
                let repair = "name a file that holds nothing but the password";
                self.need(false, &["kafka.password_file"], chain(&error), repair);
            }
        }
    }

    /// Checks whether login and encryption are complete, given what passes through.
    fn check_properties(&mut self) {
        let kafka = &self.config.kafka;
        self.files.properties = match &kafka.properties_file {
            None => Properties::default(),
            Some(path) => super::properties::read_file(path).unwrap_or_else(|error| {
                self.need(false, &["kafka.properties_file"], chain(&error), "write name=value lines");
                Properties::default()
            }),
        };
        let shared = kafka.shared_properties(&self.files.properties);
        let is_passed = |name: &str| shared.get(name).is_some();
        // Whoever passes these through has a login of their own; whether it is whole shows when the clients are created.
        if is_passed("security.protocol") || is_passed("sasl.mechanism") || is_passed("sasl.mechanisms") {
            return;
        }
        self.check_login(is_passed("sasl.username"), is_passed("sasl.password"));
        let passes_certificate = is_passed("ssl.certificate.pem") || is_passed("ssl.certificate.location");
        let passes_key = is_passed("ssl.key.pem") || is_passed("ssl.key.location");
        self.check_encryption(passes_certificate, passes_key);
    }

    fn check_login(&mut self, has_username: bool, has_password: bool) {
        const PROTOCOL: &str = "kafka.security_protocol";
        const MECHANISM: &str = "kafka.sasl_mechanism";
        let kafka = &self.config.kafka;
        let protocol = kafka.security_protocol.as_str();
        let logs_in = kafka.security_protocol.uses_sasl();
        self.need(
            !logs_in || kafka.sasl_mechanism.is_some(),
            &[MECHANISM, PROTOCOL],
            format!("is missing, and security_protocol {protocol} needs it"),
            "set PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        );
        let credentials = [
            (MECHANISM, kafka.sasl_mechanism.is_some()),
            ("kafka.username", kafka.username.is_some()),
            ("kafka.password_file", kafka.password_file.is_some()),
        ];
        for (setting, is_set) in credentials {
            self.need(
                logs_in || !is_set,
                &[setting, PROTOCOL],
                format!("is set, and security_protocol {protocol} does not log in"),
                "set security_protocol to sasl_ssl, or take this out",
            );
        }
        let by_password = kafka.sasl_mechanism.is_some_and(|mechanism| mechanism.needs_password());
        let mechanism = kafka.sasl_mechanism.map_or("", |mechanism| mechanism.as_str());
        self.need(
            !(logs_in && by_password) || has_username || kafka.username.is_some(),
            &["kafka.username", PROTOCOL, MECHANISM],
            format!("is missing, and {mechanism} needs it"),
            "set it",
        );
        self.need(
            !(logs_in && by_password) || has_password || kafka.password_file.is_some(),
            &["kafka.password_file", PROTOCOL, MECHANISM],
            format!("is missing, and {mechanism} needs it"),
            "name a file with the password",
        );
    }

    fn check_encryption(&mut self, passes_certificate: bool, passes_key: bool) {
        let kafka = &self.config.kafka;
        let files = [
            ("kafka.ca_file", kafka.ca_file.is_some()),
            ("kafka.certificate_file", kafka.certificate_file.is_some()),
            ("kafka.key_file", kafka.key_file.is_some()),
        ];
        for (setting, is_set) in files {
            self.need(
                kafka.security_protocol.uses_tls() || !is_set,
                &[setting, "kafka.security_protocol"],
                format!("is set, and security_protocol {} does not encrypt", kafka.security_protocol.as_str()),
                "set security_protocol to ssl or sasl_ssl, or take this out",
            );
        }
        let (certificate, key) = (kafka.certificate_file.is_some(), kafka.key_file.is_some());
        self.need(
            certificate || !key || passes_certificate,
            &["kafka.certificate_file", "kafka.key_file"],
            "is missing, and key_file is set",
            "mutual TLS needs both",
        );
        self.need(
            key || !certificate || passes_key,
            &["kafka.key_file", "kafka.certificate_file"],
            "is missing, and certificate_file is set",
            "mutual TLS needs both",
        );
    }
}

fn has_topic_letters(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Returns what Kafka would say against a topic's name.
fn topic_fault(name: &str) -> Option<String> {
    match name {
        "" => Some("is empty".to_owned()),
        "." | ".." => Some("is no name of a topic".to_owned()),
        _ if name.len() > MAX_TOPIC_BYTES => Some(format!("is longer than {MAX_TOPIC_BYTES} characters")),
        _ if !has_topic_letters(name) => Some("has other characters than letters, digits, `.`, `_` and `-`".to_owned()),
        _ => None,
    }
}

/// Returns whether this can be a broker: a host, in brackets if it has colons, and a port unless it is 9092.
fn is_broker(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let plain_host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let is_host = !plain_host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == ',');
    let has_brackets = plain_host.len() < host.len();
    is_host
        && (has_brackets || !host.contains(':'))
        && port.is_none_or(|digits| digits.parse::<u16>().is_ok_and(|number| number > 0))
}

fn file_fault(path: &Path) -> Option<String> {
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_dir() => Some(format!("{} is a directory", path.display())),
        Ok(_) => None,
        Err(error) => Some(format!("could not read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
