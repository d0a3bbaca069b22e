//! The arguments of an audit: from the command line, or from the configuration file of the workers.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use toml::{Table, Value};

use crate::audit::Told;

/// Audits a deployment of livesession whose workers have ended.
#[derive(Parser)]
#[command(name = "audit")]
struct CommandLine {
    /// The workers' configuration file; flags win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Brokers, by commas.
    #[arg(long)]
    brokers: Option<String>,
    /// Topic of the notifications.
    #[arg(long)]
    input: Option<String>,
    /// Topic of the sessions.
    #[arg(long)]
    output: Option<String>,
    /// Topic of the dead letters.
    #[arg(long)]
    dead_letters: Option<String>,
    /// Topic of the state.
    #[arg(long)]
    changelog: Option<String>,
    /// Consumer group: the application id of the workers.
    #[arg(long)]
    group: Option<String>,
    /// An index to compare as well.
    #[arg(long)]
    index: Option<PathBuf>,
    /// What the gap has to be.
    #[arg(long, value_parser = humantime::parse_duration)]
    gap: Option<Duration>,
    /// The workers' max_clock_skew; 1h unless the configuration file says otherwise.
    #[arg(long, value_parser = humantime::parse_duration)]
    max_clock_skew: Option<Duration>,
    /// No partition has ever been idle for idle_after: then watermarks are known exactly, and so is what was late.
    #[arg(long)]
    never_idle: bool,
    /// Settings other than the gap were changed since the first record: do not judge when sessions closed.
    #[arg(long)]
    settings_changed: bool,
    /// A property of librdkafka, NAME=VALUE; may be repeated.
    #[arg(long = "property")]
    properties: Vec<String>,
    /// How long to wait for members to leave and transactions to end.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s")]
    patience: Duration,
}

pub struct Arguments {
    pub told: Told,
    /// Of librdkafka.
    pub properties: Vec<(String, String)>,
    pub index: Option<PathBuf>,
    pub patience: Duration,
}

/// Settings of the workers' file, and the properties that they stand for.
const SECURITY: [(&str, &str); 6] = [
    ("security_protocol", "security.protocol"),
    ("sasl_mechanism", "sasl.mechanism"),
    ("username", "sasl.username"),
    ("ca_file", "ssl.ca.location"),
    ("certificate_file", "ssl.certificate.location"),
    ("key_file", "ssl.key.location"),
];

impl Arguments {
    /// # Errors
    ///
    /// What cannot be read, for people. A wrong command line ends the process.
    pub fn read() -> Result<Arguments, String> {
        let line = CommandLine::parse();
        let table = match &line.config {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                text.parse::<Table>().map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => Table::new(),
        };
        let setting = |section: &str, name: &str| {
            let section = if section.is_empty() { Some(&table) } else { table.get(section).and_then(Value::as_table) };
            section.and_then(|section| section.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        let or = |flag: Option<String>, section: &str, name: &str, otherwise: &str| {
            flag.unwrap_or_else(|| setting(section, name).unwrap_or(otherwise).to_owned())
        };
        let group = or(line.group, "", "application_id", "livesession");
        let input = or(line.input, "topics", "input", "recording-notifications");
        let told = Told {
            output: or(line.output, "topics", "output", "live-sessions"),
            dead_letters: or(line.dead_letters, "topics", "dead_letter", &format!("{input}-dlq")),
            changelog: or(line.changelog, "topics", "changelog", &format!("{group}-changelog")),
            max_clock_skew: ms(duration(line.max_clock_skew, setting("grouping", "max_clock_skew"))?
                .unwrap_or(Duration::from_secs(3_600))),
            gap: duration(line.gap, setting("grouping", "gap"))?.map(ms),
            never_idle: line.never_idle,
            settings_changed: line.settings_changed,
            input,
            group,
        };
        let mut properties = Vec::new();
        let kafka = table.get("kafka").and_then(Value::as_table);
        if let Some(path) = setting("kafka", "properties_file") {
            let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            for line in lines {
                properties.push(pair(line)?);
            }
        }
        for (name, property) in SECURITY {
            properties.extend(setting("kafka", name).map(|value| (property.to_owned(), value.to_owned())));
        }
        if let Some(path) = setting("kafka", "password_file") {
            let password = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            properties.push(("sasl.password".to_owned(), password.trim_end_matches(['\r', '\n']).to_owned()));
        }
        if let Some(more) = kafka.and_then(|kafka| kafka.get("properties")).and_then(Value::as_table) {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            properties.extend(more.iter().map(|(name, value)| (name.clone(), text(value))));
        }
        let listed = kafka.and_then(|kafka| kafka.get("brokers")).and_then(Value::as_array);
        let listed = listed.map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
        let brokers = line.brokers.or(listed).unwrap_or_else(|| "localhost:9092".to_owned());
        properties.push(("bootstrap.servers".to_owned(), brokers));
        for text in &line.properties {
            properties.push(pair(text)?);
        }
        Ok(Arguments { told, properties, index: line.index, patience: line.patience })
    }
}

fn duration(flag: Option<Duration>, setting: Option<&str>) -> Result<Option<Duration>, String> {
    match (flag, setting) {
        (Some(flag), _) => Ok(Some(flag)),
        (None, Some(text)) => humantime::parse_duration(text).map(Some).map_err(|error| format!("{text:?}: {error}")),
        (None, None) => Ok(None),
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
