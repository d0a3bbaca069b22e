//! Topics as other tools take them.
//!
//! Names of topics have letters, digits, `.`, `_` and `-` only: `config` has seen to it, so nothing has to be quoted for a
//! shell.

use crate::cli::io::output::Output;
use crate::config::{Config, SecurityProtocol};
use crate::deployment::create::TopicOutcome;
use crate::deployment::topics::NewTopicSettings;
use crate::exit::Failure;

/// The version of Strimzi's resources. Source: Strimzi's release notes; 1.0 takes no other one, and 0.49 is the first.
const STRIMZI_API: &str = "kafka.strimzi.io/v1";

/// Writes a command of Kafka's own tool per topic.
pub fn kafka_topics(config: &Config, topics: &[NewTopicSettings], out: &mut Output) -> Result<(), Failure> {
    if config.kafka.security_protocol != SecurityProtocol::Plaintext {
        out.line("# add --command-config FILE with the properties of your login")?;
    }
    for topic in topics {
        out.line(&kafka_topics_command(&config.kafka.brokers.join(","), topic))?;
    }
    Ok(())
}

fn kafka_topics_command(brokers: &str, topic: &NewTopicSettings) -> String {
    let mut command = format!(
        "kafka-topics --bootstrap-server {brokers} --create --if-not-exists --topic {} --partitions {}",
        topic.name, topic.partitions
    );
    if let Some(replicas) = topic.replicas {
        command.push_str(&format!(" --replication-factor {replicas}"));
    }
    for (name, value) in &topic.settings {
        command.push_str(&format!(" --config {name}={value}"));
    }
    command
}

/// Writes a KafkaTopic resource per topic.
pub fn strimzi(cluster: &str, topics: &[NewTopicSettings], out: &mut Output) -> Result<(), Failure> {
    for topic in topics {
        out.text(&strimzi_resource(cluster, topic))?;
    }
    Ok(())
}

fn strimzi_resource(cluster: &str, topic: &NewTopicSettings) -> String {
    let mut text = format!(
        "---\napiVersion: {STRIMZI_API}\nkind: KafkaTopic\nmetadata:\n  name: {}\n  labels:\n    strimzi.io/cluster: \
         {}\nspec:\n  topicName: {}\n  partitions: {}\n",
        quoted(&resource_name(&topic.name)),
        quoted(cluster),
        quoted(&topic.name),
        topic.partitions
    );
    if let Some(replicas) = topic.replicas {
        text.push_str(&format!("  replicas: {replicas}\n"));
    }
    text.push_str("  config:\n");
    for (name, value) in &topic.settings {
        let value = if value.parse::<f64>().is_ok() { value.clone() } else { quoted(value) };
        text.push_str(&format!("    {name}: {value}\n"));
    }
    text
}

/// Returns a text as YAML takes it whatever it looks like: a JSON string is one of YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a topic's name as Kubernetes allows names: small letters, digits, `-` and `.`, a letter or digit at the ends.
fn resource_name(topic: &str) -> String {
    let small = topic.to_ascii_lowercase().replace('_', "-");
    small.trim_matches(|end: char| !end.is_ascii_alphanumeric()).to_owned()
}

/// Writes what became of a topic.
pub fn outcome(topic: &NewTopicSettings, outcome: TopicOutcome, out: &mut Output) -> Result<(), Failure> {
    match outcome {
        TopicOutcome::Exists => exists(topic, out),
        TopicOutcome::Created => made(topic, "created", out),
        TopicOutcome::WouldCreate => made(topic, "would_create", out),
    }
}

/// Writes that a topic was there already. What it is like is told by the checks, where it matters.
fn exists(topic: &NewTopicSettings, out: &mut Output) -> Result<(), Failure> {
    if out.is_terminal() {
        return out.line(&format!("exists: {}", topic.name));
    }
    out.line(&serde_json::json!({ "topic": topic.name, "outcome": "exists" }).to_string())
}

/// Writes how a topic was made, or would be: a line for people, an object for programs.
fn made(topic: &NewTopicSettings, outcome: &str, out: &mut Output) -> Result<(), Failure> {
    if out.is_terminal() {
        let settings: Vec<_> = topic.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (verb, settings) = (outcome.replace('_', " "), settings.join(" "));
        return out.line(&format!("{verb}: {}, {} partitions with {settings}", topic.name, topic.partitions));
    }
    let settings: serde_json::Map<_, _> =
        topic.settings.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let line = serde_json::json!({
        "topic": topic.name,
        "outcome": outcome,
        "partitions": topic.partitions,
        "replicas": topic.replicas,
        "settings": settings,
    });
    out.line(&line.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(replicas: Option<u32>) -> NewTopicSettings {
        let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.2"), ("retention.ms", "-1")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        NewTopicSettings { name: "My_app-changelog".to_owned(), partitions: 6, replicas, settings }
    }

    #[test]
    fn command_is_that_of_kafkas_tool() {
        let start =
            "kafka-topics --bootstrap-server a:1,b:2 --create --if-not-exists --topic My_app-changelog --partitions 6";
        let end = "--config cleanup.policy=compact --config min.cleanable.dirty.ratio=0.2 --config retention.ms=-1";
        assert_eq!(kafka_topics_command("a:1,b:2", &topic(None)), format!("{start} {end}"));
        assert_eq!(kafka_topics_command("a:1,b:2", &topic(Some(3))), format!("{start} --replication-factor 3 {end}"));
    }

    #[test]
    fn resource_has_a_name_that_kubernetes_allows() {
        let expected = "---\napiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata:\n  name: \"my-app-changelog\"\n  \
                        labels:\n    strimzi.io/cluster: \"kafka\"\nspec:\n  topicName: \"My_app-changelog\"\n  \
                        partitions: 6\n  replicas: 3\n  config:\n    cleanup.policy: \"compact\"\n    \
                        min.cleanable.dirty.ratio: 0.2\n    retention.ms: -1\n";
        assert_eq!(strimzi_resource("kafka", &topic(Some(3))), expected);
        assert!(!strimzi_resource("kafka", &topic(None)).contains("replicas"));
        assert_eq!(resource_name("_a.B_"), "a.b");
    }
}
