//! The settings of Kafka clients, made from the configuration, and what an error of a client means for a command.
//!
//! `config` and `kafka` do not know each other; this is where they meet.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::Deployment;
use crate::config::{self, Loaded, Problem, Problems, Properties, Scope, Sources};
use crate::exit::{Exit, Failure};
use livesession_kafka::ReadError;
use livesession_kafka::admin::Admin;
use livesession_kafka::settings::{SecurityProtocol, Settings, property_problem};

/// How long each answer of a broker may take for a command that asks about topics, or reads some records.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where Linux tells the name of the host.
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// Reads and checks a configuration, and asks librdkafka about the settings that pass through to it.
///
/// # Errors
///
/// Everything that is wrong within the scope.
pub fn load(sources: &Sources, scope: Scope) -> Result<Loaded, Problems> {
    let mut checked = config::check(sources, scope);
    if scope == Scope::All {
        for (setting, text) in property_problems(&checked.config().kafka, &checked.files().properties) {
            checked.add(&[setting], text, "");
        }
    }
    checked.finish()
}

/// Returns what librdkafka does not know, what is out of range, and what is not to be set by hand: the setting that holds it
/// and a text that quotes no secret.
fn property_problems(kafka: &config::Kafka, from_file: &Properties) -> Vec<(&'static str, String)> {
    let passed = [
        ("kafka.properties_file", from_file),
        ("kafka.properties", &kafka.properties),
        ("kafka.consumer.properties", &kafka.consumer_properties),
        ("kafka.producer.properties", &kafka.producer_properties),
    ];
    let problem = |(name, value)| property_problem(name, value).map(|found| format!("`{name}`: {}", found.problem));
    let problems = passed
        .into_iter()
        .flat_map(|(setting, properties)| properties.iter().filter_map(problem).map(move |text| (setting, text)));
    problems.collect()
}

/// Returns the settings of the clients of one worker thread; `slot` counts them from 0.
///
/// # Errors
///
/// Exit 78 if a path is not UTF-8, or if no transactional id can be made up.
pub fn settings(deployment: &Deployment, slot: u32) -> Result<Settings, Failure> {
    let (config, files) = (deployment.config(), deployment.files());
    let hostname = if config.transactional_id.is_some() { String::new() } else { hostname()? };
    let kafka = &config.kafka;
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
    settings.password.clone_from(&files.password);
    settings.ca_file = path_text("kafka.ca_file", kafka.ca_file.as_deref())?;
    settings.certificate_file = path_text("kafka.certificate_file", kafka.certificate_file.as_deref())?;
    settings.key_file = path_text("kafka.key_file", kafka.key_file.as_deref())?;
    settings.group_instance_id = config.group_instance_id(slot);
    settings.transaction_timeout = kafka.transaction_timeout.into();
    settings.session_timeout = kafka.session_timeout.into();
    settings.max_poll_interval = kafka.max_poll_interval.into();
    settings.max_record_bytes = u32::try_from(config.output.max_record_bytes.0).unwrap_or(u32::MAX);
    settings.properties = owned(&kafka.shared_properties(&files.properties));
    settings.consumer_properties = owned(&kafka.consumer_properties);
    settings.producer_properties = owned(&kafka.producer_properties);
    Ok(settings)
}

/// Checks what shows only when clients are created, such as a mechanism that was not compiled in. Nothing connects.
///
/// The configuration has been checked before, so what is found here belongs to no single setting.
///
/// # Errors
///
/// Exit 78 with every problem at once.
pub fn check(deployment: &Deployment) -> Result<(), Failure> {
    let found = settings(deployment, 0)?.check().err().unwrap_or_default();
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

/// Creates a client that asks about topics.
///
/// # Errors
///
/// As [`settings`], and exit 78 for settings that no client can be created with.
pub fn connect(deployment: &Deployment) -> Result<Admin, Failure> {
    Admin::new(&settings(deployment, 0)?, ANSWER_TIMEOUT).map_err(read_failure)
}

/// Returns how a command ends that could not read, describe or create a topic.
pub fn read_failure(error: ReadError) -> Failure {
    let (exit, text) = match &error {
        ReadError::Unavailable { .. } => (Exit::Unavailable, "Kafka did not answer"),
        ReadError::Refused { .. } | ReadError::Rejected { .. } | ReadError::UnknownTopic { .. } => {
            (Exit::Config, "Kafka rejected the request")
        }
        ReadError::OffsetOutOfRange { .. } => {
            (Exit::TempFail, "records were deleted before they were read: run it again")
        }
        ReadError::Rebuild { .. } => (Exit::Software, "the Kafka client is unusable"),
    };
    Failure::caused_by(exit, text, error)
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
    use crate::config::{Bytes, Config};

    fn deployment(config: Config) -> Deployment {
        Deployment::new(config.into()).unwrap()
    }

    #[test]
    fn defaults_agree_with_those_of_the_clients() {
        let config = Config { transactional_id: Some("t".to_owned()), ..Config::default() };
        let made = settings(&deployment(config), 3).unwrap();
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
        config.kafka.producer_properties.insert("linger.ms", "7");
        config.output.max_record_bytes = Bytes(5_000_000);
        let made = settings(&deployment(config), 0).unwrap();
        assert_eq!(made.security_protocol, SecurityProtocol::SaslSsl);
        assert_eq!((made.sasl_mechanism.as_str(), made.username.as_str()), ("SCRAM-SHA-512", "me"));
        assert_eq!((made.ca_file.as_deref(), made.group_instance_id.as_deref()), (Some("ca.pem"), Some("g-0")));
        assert_eq!(made.properties, [("client.rack".to_owned(), "a".to_owned())]);
        assert_eq!(made.producer_properties, [("linger.ms".to_owned(), "7".to_owned())]);
        assert_eq!(made.max_record_bytes, 5_000_000);
    }

    #[test]
    fn protected_and_unknown_properties_are_told_by_the_setting_that_holds_them() {
        let mut kafka = Config::default().kafka;
        kafka.properties.insert("acks", "1");
        kafka.properties.insert("client.rack", "a");
        kafka.consumer_properties.insert("no.such.name", "hunter2");
        kafka.producer_properties.insert("transactional.id", "mine");
        let mut from_file = Properties::default();
        from_file.insert("linger.ms", "soon");
        let problems = property_problems(&kafka, &from_file);
        let settings: Vec<&str> = problems.iter().map(|(setting, _)| *setting).collect();
        assert_eq!(
            settings,
            ["kafka.properties_file", "kafka.properties", "kafka.consumer.properties", "kafka.producer.properties"]
        );
        let texts: String = problems.into_iter().map(|(_, text)| text).collect();
        assert!(texts.contains("`acks`: cannot be set") && !texts.contains("hunter2"), "{texts}");
    }

    #[test]
    fn problems_of_properties_are_told_with_all_others() {
        let path = std::env::temp_dir().join(format!("livesession-clients-{}.toml", std::process::id()));
        fs::write(&path, "workers = 0\n[kafka.properties]\nacks = 1\n").unwrap();
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        let problems = load(&sources, Scope::All).unwrap_err();
        assert!(load(&sources, Scope::Grouping).is_ok(), "a command without Kafka does not mind");
        fs::remove_file(&path).unwrap();
        let settings: Vec<&str> = problems.0.iter().map(|problem| problem.setting.as_str()).collect();
        assert_eq!(settings, ["workers", "kafka.properties"]);
    }

    #[test]
    fn a_host_has_a_name_without_a_line_end() {
        let name = hostname().unwrap();
        assert_eq!(name.trim(), name);
        assert!(!name.is_empty());
    }
}
