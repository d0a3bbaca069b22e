//! `livesession topics`: the topics of a deployment, printed for other tools or made at once.
//!
//! `create` makes what is missing and alters nothing: a topic that exists may be somebody's. What is wrong with it is told
//! afterwards with the command that repairs it, as a worker would tell it at start; so exit 0 means that a worker starts.
//!
//! The input belongs to whoever writes notifications, so it is made only when asked; else its partitions are counted, since
//! the changelog needs as many.

mod print;

use super::io::flags::AllSettings;
use super::io::output::Output;
use crate::deployment::Deployment;
use crate::deployment::create::{self, TopicOutcome};
use crate::deployment::topics::NewTopicSettings;
use crate::exit::{Exit, Failure};

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
                Form::KafkaTopics => print::kafka_topics(deployment.config(), &topics, out)?,
                Form::Strimzi => print::strimzi(&strimzi_cluster, &topics, out)?,
            }
        }
        Action::Create { dry_run, shape, settings } => {
            let deployment = Deployment::new(settings.load()?)?;
            let tell = |topic: &NewTopicSettings, outcome: TopicOutcome| {
                print::outcome(topic, outcome, out)?;
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
