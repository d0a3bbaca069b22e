//! Making the topics of a deployment.
//!
//! Makes what is missing and alters nothing: a topic that exists may belong to another application. What is wrong with it is
//! reported afterwards with the command that repairs it, as a worker would report it at start.

use std::thread;
use std::time::Duration;

use super::check::{self, Found, max_message_bytes, topics_failure};
use super::clients::{self, ANSWER_TIMEOUT, read_failure};
use super::settings::Deployment;
use super::topics::{self, DEFAULT_MAX_MESSAGE_BYTES, InputFacts};
use crate::clock;
use crate::exit::{Exit, Failure};
use livesession_kafka::admin::{Admin, Creation, NewTopicSettings};

/// How often is looked whether all brokers know of a new topic.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the configuration does not say about new topics.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// `None`: as many as the input has.
    pub partitions: Option<u32>,
    /// `None`: the cluster's default.
    pub replicas: Option<u32>,
    /// Whether the input is made too, which otherwise belongs to whoever writes it.
    pub with_input: bool,
}

/// What became of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicOutcome {
    Created,
    WouldCreate,
    Exists,
}

/// Returns how the topics are to be made; asks a broker only if the number of partitions is not given.
///
/// # Errors
///
/// As those of [`clients::read_failure`]; exit 78 if the input does not exist.
pub fn plan(deployment: &Deployment, shape: Shape) -> Result<Vec<NewTopicSettings>, Failure> {
    let input = match shape.partitions {
        Some(partitions) => InputFacts { partitions, max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES },
        None => input_facts(deployment, &clients::connect(deployment)?, shape)?,
    };
    Ok(topics::plan(deployment.config(), input, shape.replicas, shape.with_input))
}

/// Makes the topics that are missing, and checks all; `tell` gets what became of each.
///
/// # Errors
///
/// As those of [`clients::read_failure`]; exit 78 if a worker would not start; that of `tell`.
pub fn create(
    deployment: &Deployment,
    shape: Shape,
    mut tell: impl FnMut(&NewTopicSettings, TopicOutcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let admin = clients::connect(deployment)?;
    for topic in &wanted(deployment, &admin, shape)? {
        match admin.create(topic).map_err(read_failure)? {
            Creation::Created => tell(topic, TopicOutcome::Created)?,
            Creation::Existed => tell(topic, TopicOutcome::Exists)?,
        }
    }
    // Brokers hear of a new topic a moment later than the controller.
    let deadline = clock::instant() + ANSWER_TIMEOUT;
    loop {
        let found = check::look(deployment.config(), &admin).map_err(read_failure)?;
        if found.iter().all(|entry| entry.topic.is_some()) || clock::instant() >= deadline {
            return refuse_problems(deployment, &found);
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// Reports what [`create`] would do, and what it would leave wrong. Makes nothing.
///
/// # Errors
///
/// As [`create`].
pub fn rehearse(
    deployment: &Deployment,
    shape: Shape,
    mut tell: impl FnMut(&NewTopicSettings, TopicOutcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let admin = clients::connect(deployment)?;
    let topics = wanted(deployment, &admin, shape)?;
    let mut found = check::look(deployment.config(), &admin).map_err(read_failure)?;
    for topic in &topics {
        let exists = found.iter().any(|entry| entry.name == topic.name && entry.topic.is_some());
        tell(topic, if exists { TopicOutcome::Exists } else { TopicOutcome::WouldCreate })?;
    }
    // A missing input has failed before, and everything else that is missing would be made.
    found.retain(|entry| entry.topic.is_some());
    refuse_problems(deployment, &found)
}

fn wanted(deployment: &Deployment, admin: &Admin, shape: Shape) -> Result<Vec<NewTopicSettings>, Failure> {
    let input = input_facts(deployment, admin, shape)?;
    Ok(topics::plan(deployment.config(), input, shape.replicas, shape.with_input))
}

/// Returns what the input is like, or is going to be like.
fn input_facts(deployment: &Deployment, admin: &Admin, shape: Shape) -> Result<InputFacts, Failure> {
    let name = &deployment.topics().input;
    let found = admin.topic(name).map_err(read_failure)?;
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
            max_message_bytes: max_message_bytes(&topic).unwrap_or(DEFAULT_MAX_MESSAGE_BYTES),
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

fn refuse_problems(deployment: &Deployment, found: &[Found]) -> Result<(), Failure> {
    let problems = check::problems(deployment.config(), found);
    if problems.is_empty() { Ok(()) } else { Err(topics_failure(&problems)) }
}
