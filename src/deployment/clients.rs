//! From the configuration to what the Kafka clients of one worker are told.
//!
//! `config` and `kafka` do not know each other; this is where they meet, for every command that talks to Kafka. It reads the
//! files that hold secrets, so their content lives no longer than the clients' settings do.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Problem, Problems, Properties};
use crate::exit::{Exit, Failure};
use livesession_kafka::settings::{SecurityProtocol, Settings};

/// Where Linux tells the name of the host.
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// Returns the settings of the clients of one worker thread; `slot` counts them from 0.
///
/// # Errors
///
/// Exit 78 if a file cannot be read, or if no transactional id can be made up.
pub fn settings(config: &Config, slot: u32) -> Result<Settings, Failure> {
    let hostname = if config.transactional_id.is_some() { String::new() } else { hostname()? };
    let kafka = &config.kafka;
    let unusable =
        |error: config::FileError| Failure::caused_by(Exit::Config, "cannot use kafka.properties_file", error);
    let password =
        kafka.password().map_err(|error| Failure::caused_by(Exit::Config, "cannot use kafka.password_file", error))?;
    let mut settings =
        Settings::new(&kafka.brokers.join(","), &config.application_id, &config.transactional_id(slot, &hostname));
    settings.security_protocol = match kafka.security_protocol {
        config::SecurityProtocol::Plaintext => SecurityProtocol::Plaintext,
        config::SecurityProtocol::Ssl => SecurityProtocol::Ssl,
        config::SecurityProtocol::SaslPlaintext => SecurityProtocol::SaslPlaintext,
        config::SecurityProtocol::SaslSsl => SecurityProtocol::SaslSsl,
    };
    settings.sasl_mechanism = kafka.sasl_mechanism.map_or("", config::SaslMechanism::as_str).to_owned();
    settings.username = kafka.username.clone().unwrap_or_default();
    settings.password = password;
    settings.ca_file = path_text("kafka.ca_file", kafka.ca_file.as_deref())?;
    settings.certificate_file = path_text("kafka.certificate_file", kafka.certificate_file.as_deref())?;
    settings.key_file = path_text("kafka.key_file", kafka.key_file.as_deref())?;
    settings.group_instance_id = config.group_instance_id(slot);
    settings.transaction_timeout = kafka.transaction_timeout.into();
    settings.session_timeout = kafka.session_timeout.into();
    settings.max_poll_interval = kafka.max_poll_interval.into();
    settings.max_record_bytes = u32::try_from(config.output.max_record_bytes.0).unwrap_or(u32::MAX);
    settings.properties = owned(&kafka.shared_properties().map_err(unusable)?);
    settings.consumer_properties = owned(&kafka.consumer.properties);
    settings.producer_properties = owned(&kafka.producer.properties);
    Ok(settings)
}

/// Checks what shows only when clients are created, such as a mechanism that was not compiled in. Nothing connects.
///
/// The configuration has been checked before, so what is found here belongs to no single setting.
///
/// # Errors
///
/// Exit 78 with every problem at once.
pub fn check(config: &Config) -> Result<(), Failure> {
    let found = settings(config, 0)?.check().err().unwrap_or_default();
    if found.is_empty() {
        return Ok(());
    }
    let problems = found.into_iter().map(|problem| Problem {
        setting: format!("kafka: {}", problem.setting),
        origin: None,
        others: Vec::new(),
        text: problem.problem,
        repair: String::new(),
    });
    Err(Failure::from(Problems(problems.collect())))
}

/// Returns the name of this host, by which a worker finds its own transactions again after a restart.
fn hostname() -> Result<String, Failure> {
    let from_kernel = fs::read_to_string(HOSTNAME_FILE).unwrap_or_default();
    let from_shell = || std::env::var("HOSTNAME").unwrap_or_default();
    let name = Some(from_kernel.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(from_shell);
    if name.is_empty() {
        return Err(Failure::new(Exit::Config, "cannot learn the name of this host: set transactional_id"));
    }
    Ok(name)
}

fn path_text(setting: &str, path: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let text = PathBuf::from(path).into_os_string().into_string();
    text.map(Some).map_err(|_| Failure::new(Exit::Config, format!("{setting} is not UTF-8, which librdkafka needs")))
}

fn owned(properties: &Properties) -> Vec<(String, String)> {
    properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bytes;

    #[test]
    fn defaults_agree_with_those_of_the_clients() {
        let config = Config { transactional_id: Some("t".to_owned()), ..Config::default() };
        let made = settings(&config, 3).unwrap();
        let plain = Settings::new("localhost:9092", "livesession", "t-3");
        assert_eq!(made.transactional_id, "t-3");
        assert_eq!(made.max_record_bytes, 2 << 20);
        assert_eq!(
            (made.brokers, made.group, made.transaction_timeout, made.session_timeout, made.max_poll_interval),
            (plain.brokers, plain.group, plain.transaction_timeout, plain.session_timeout, plain.max_poll_interval)
        );
    }

    #[test]
    fn what_is_set_reaches_the_clients() {
        let mut config = Config { transactional_id: Some("t".to_owned()), ..Config::default() };
        config.kafka.security_protocol = config::SecurityProtocol::SaslSsl;
        config.kafka.sasl_mechanism = Some(config::SaslMechanism::ScramSha512);
        config.kafka.username = Some("me".to_owned());
        config.kafka.ca_file = Some(PathBuf::from("ca.pem"));
        config.kafka.group_instance_id = Some("g".to_owned());
        config.kafka.properties.insert("client.rack", "a");
        config.kafka.producer.properties.insert("linger.ms", "7");
        config.output.max_record_bytes = Bytes(5_000_000);
        let made = settings(&config, 0).unwrap();
        assert_eq!(made.security_protocol, SecurityProtocol::SaslSsl);
        assert_eq!((made.sasl_mechanism.as_str(), made.username.as_str()), ("SCRAM-SHA-512", "me"));
        assert_eq!((made.ca_file.as_deref(), made.group_instance_id.as_deref()), (Some("ca.pem"), Some("g-0")));
        assert_eq!(made.properties, [("client.rack".to_owned(), "a".to_owned())]);
        assert_eq!(made.producer_properties, [("linger.ms".to_owned(), "7".to_owned())]);
        assert_eq!(made.max_record_bytes, 5_000_000);
    }

    #[test]
    fn a_host_has_a_name_without_a_line_end() {
        let name = hostname().unwrap();
        assert_eq!(name.trim(), name);
        assert!(!name.is_empty());
    }
}
