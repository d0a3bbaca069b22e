//! `livesession topics`: the topics of a deployment, printed for other tools or made at once.
//!
//! `create` makes what is missing and alters nothing: a topic that exists may be somebody's. What is wrong with it is told
//! afterwards with the command that repairs it, as a worker would tell it at start; so exit 0 means that a worker starts.
//!
//! The input belongs to whoever writes notifications, so it is made only when asked; else its partitions are counted, since
//! the changelog needs as many.

mod print;

use std::thread;
use std::time::Duration;

use super::io::flags::AllSettings;
use super::io::output::Output;
use crate::clock;
use crate::config::Config;
use crate::deployment::check;
use crate::deployment::topics::{self as plan, DEFAULT_MAX_MESSAGE_BYTES, InputFacts};
use crate::deployment::{clients, startup};
use crate::exit::{Exit, Failure};
use livesession_kafka::admin::{Admin, Creation, NewTopicSettings};

/// How long each question to a broker may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often is looked whether all brokers know of a new topic.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    match args.action {
        Action::Print { form, strimzi_cluster, shape, settings } => {
            let config = settings.load()?.config;
            let input = match shape.partitions {
                Some(partitions) => InputFacts { partitions, max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES },
                None => input_facts(&config, &connect(&config)?, shape)?,
            };
            let topics = plan::plan(&config, input, shape.replication, shape.with_input);
            match form {
                Form::KafkaTopics => print::kafka_topics(&config, &topics, out)?,
                Form::Strimzi => print::strimzi(&strimzi_cluster, &topics, out)?,
            }
        }
        Action::Create { dry_run, shape, settings } => {
            let config = settings.load()?.config;
            let admin = connect(&config)?;
            let input = input_facts(&config, &admin, shape)?;
            let topics = plan::plan(&config, input, shape.replication, shape.with_input);
            if dry_run { rehearse(&config, &admin, &topics, out)? } else { create(&config, &admin, &topics, out)? }
        }
    }
    Ok(Exit::Ok)
}

/// Creates a client for questions about topics.
pub fn connect(config: &Config) -> Result<Admin, Failure> {
    Admin::new(&clients::settings(config, 0)?, ANSWER_TIMEOUT).map_err(startup::admin_failure)
}

/// Returns what the input is like, or is going to be like.
fn input_facts(config: &Config, admin: &Admin, shape: Shape) -> Result<InputFacts, Failure> {
    let name = &config.topics.input;
    let found = admin.topic(name).map_err(startup::admin_failure)?;
    match (found, shape.partitions) {
        (Some(topic), Some(asked)) if topic.partitions != asked => Err(Failure::new(
            Exit::Config,
            format!(
                "topic {name} (topics.input) has {} partitions, not {asked}: leave --partitions out",
                topic.partitions
            ),
        )),
        (Some(topic), _) => Ok(InputFacts {
            partitions: topic.partitions,
            max_message_bytes: check::max_message_bytes(&topic).unwrap_or(DEFAULT_MAX_MESSAGE_BYTES),
        }),
        (None, Some(partitions)) if shape.with_input => {
            Ok(InputFacts { partitions, max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES })
        }
        (None, _) => Err(Failure::new(
            Exit::Config,
            format!(
                "topic {name} (topics.input) does not exist: correct topics.input, or add --with-input --partitions N"
            ),
        )),
    }
}

/// Says what [`create`] would do, and what it would leave wrong.
fn rehearse(config: &Config, admin: &Admin, topics: &[NewTopicSettings], out: &mut Output) -> Result<(), Failure> {
    let mut found = check::look(config, admin).map_err(startup::admin_failure)?;
    for topic in topics {
        let exists = found.iter().any(|entry| entry.name == topic.name && entry.topic.is_some());
        if exists { print::exists(topic, out)? } else { print::made(topic, "would_create", out)? }
    }
    // A missing input has failed before, and everything else that is missing would be made.
    found.retain(|entry| entry.topic.is_some());
    tell_problems(config, &found)
}

fn create(config: &Config, admin: &Admin, topics: &[NewTopicSettings], out: &mut Output) -> Result<(), Failure> {
    for topic in topics {
        match admin.create(topic).map_err(startup::admin_failure)? {
            Creation::Created => print::made(topic, "created", out)?,
            Creation::Existed => print::exists(topic, out)?,
        }
    }
    out.flush()?;
    // Brokers hear of a new topic a moment later than the controller.
    let deadline = clock::instant() + ANSWER_TIMEOUT;
    loop {
        let found = check::look(config, admin).map_err(startup::admin_failure)?;
        if found.iter().all(|entry| entry.topic.is_some()) || clock::instant() >= deadline {
            return tell_problems(config, &found);
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

fn tell_problems(config: &Config, found: &[check::Found]) -> Result<(), Failure> {
    let problems = check::problems(config, found);
    if problems.is_empty() { Ok(()) } else { Err(startup::topics_failure(&problems)) }
}
