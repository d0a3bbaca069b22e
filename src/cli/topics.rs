//! `livesession topics`: the topics of a deployment, printed for other tools or made at once.
//!
//! `create` makes what is missing and alters nothing: a topic that exists may be somebody's. What is wrong with it is told
//! afterwards with the command that repairs it, as a worker would tell it at start; so exit 0 means that a worker starts.
//!
//! The input belongs to whoever writes notifications, so it is made only when asked; else its partitions are counted, since
//! the changelog needs as many.
//!
//! Names of topics have letters, digits, `.`, `_` and `-` only: `config` has seen to it, so nothing has to be quoted for a
//! shell.

use super::io::flags::AllSettings;
use super::io::output::Output;
use crate::config::{Config, SecurityProtocol};
use crate::deployment::Deployment;
use crate::deployment::create::{self, TopicOutcome};
use crate::deployment::topics::NewTopicSettings;
use crate::exit::{Exit, Failure};

/// The version of Strimzi's resources. Source: Strimzi's release notes; 1.0 takes no other one, and 0.49 is the first.
const STRIMZI_API: &str = "kafka.strimzi.io/v1";

/// Prints or makes the topics that a worker needs.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Prints the topics, as commands or as resources; talks to a broker only to count the input's partitions.
    Print {
        /// For which tool
        #[arg(long = "as", value_enum, default_value = "kafka-topics")]
        form: Form,
        /// Name of the Kafka resource, in the label that Strimzi looks for
        #[arg(long, value_name = "NAME", default_value = "kafka")]
        strimzi_cluster: String,
        #[command(flatten)]
        shape: Shape,
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Makes the topics that are missing, alters none, and checks all; exit 78 if a worker would not start.
    ///
    /// The output is kept for ever (retention.ms=-1), because an index is rebuilt from it: a session is about a kilobyte.
    /// Dead letters are kept for 30 days. Set retention.ms by hand where something else is wanted.
    Create {
        /// Say what would be made, and make nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        shape: Shape,
        #[command(flatten)]
        settings: AllSettings,
    },
}

/// For which tool topics are printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Commands of Kafka's own tool
    KafkaTopics,
    /// KafkaTopic resources for Kubernetes
    Strimzi,
}

/// What is not in the configuration.
#[derive(clap::Args, Clone, Copy, Debug)]
struct Shape {
    /// Partitions of the input, and so of every topic [default: what the broker says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: Option<u32>,
    /// Replicas of every topic; from 3 on, two of them have to be in sync [default: the cluster's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    replication: Option<u32>,
    /// The input too, which otherwise belongs to whoever writes it; needs --partitions
    #[arg(long, requires = "partitions")]
    with_input: bool,
}

impl From<Shape> for create::Shape {
    fn from(shape: Shape) -> create::Shape {
        let Shape { partitions, replication, with_input } = shape;
        create::Shape { partitions, replicas: replication, with_input }
    }
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    match args.action {
        Action::Print { form, strimzi_cluster, shape, settings } => {
            let deployment = Deployment::new(settings.load()?)?;
            let topics = create::plan(&deployment, shape.into())?;
            match form {
                Form::KafkaTopics => kafka_topics(deployment.config(), &topics, out)?,
                Form::Strimzi => strimzi(&strimzi_cluster, &topics, out)?,
            }
        }
        Action::Create { dry_run, shape, settings } => {
            let deployment = Deployment::new(settings.load()?)?;
            let tell = |topic: &NewTopicSettings, outcome: TopicOutcome| {
                write_outcome(topic, outcome, out)?;
                // Each topic shows when it is made.
                out.flush()
            };
            if dry_run {
                create::rehearse(&deployment, shape.into(), tell)?;
            } else {
                create::create(&deployment, shape.into(), tell)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Writes a command of Kafka's own tool per topic.
fn kafka_topics(config: &Config, topics: &[NewTopicSettings], out: &mut Output) -> Result<(), Failure> {
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
fn strimzi(cluster: &str, topics: &[NewTopicSettings], out: &mut Output) -> Result<(), Failure> {
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
fn write_outcome(topic: &NewTopicSettings, outcome: TopicOutcome, out: &mut Output) -> Result<(), Failure> {
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
