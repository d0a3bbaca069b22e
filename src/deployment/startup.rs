//! What a worker makes sure of before it reads its first record.
//!
//! A wrong topic is found here, with a command that repairs it, or later as a transaction that aborts for ever. Asks and
//! compares; changes nothing. What has to hold is written down in [`super::check`].

use super::check::{self, Found, Problem};
use super::topics::Role;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::text;
use livesession_formats::dead_letter;
use livesession_kafka::admin::{self, Admin};
use livesession_kafka::scan;

/// What a worker needs to know of its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub input_partitions: i32,
    pub output_partitions: i32,
    pub dead_letter_partitions: i32,
    /// How long key and value of a dead letter may be together: what topic and producer take, less what is added.
    ///
    /// A record of the input can exceed it although the topics fit: a topic's limit counts compressed bytes.
    pub max_dead_letter_bytes: usize,
}

/// Checks all topics of the configuration.
///
/// Waits for each answer as long as `admin` was told to; without any answer that is once.
///
/// # Errors
///
/// Exit 69 if nobody answers, 78 if the broker refuses us, and 78 with every problem at once if topics are missing or not
/// what they have to be.
pub fn check_topics(config: &Config, admin: &Admin) -> Result<TopicFacts, Failure> {
    let found = check::look(config, admin).map_err(admin_failure)?;
    let problems = check::problems(config, &found);
    if !problems.is_empty() {
        return Err(topics_failure(&problems));
    }
    facts(config, &found).ok_or_else(|| Failure::new(Exit::Software, "topics passed their checks and are not there"))
}

/// Returns the facts; `None` if a topic is missing.
fn facts(config: &Config, found: &[Found]) -> Option<TopicFacts> {
    let partitions = |role| i32::try_from(check::topic(found, role)?.partitions).ok();
    let topic_limit = check::max_message_bytes(check::topic(found, Role::DeadLetter)?)?;
    let limit = topic_limit.min(config.output.max_record_bytes.0);
    Some(TopicFacts {
        input_partitions: partitions(Role::Input)?,
        output_partitions: partitions(Role::Output)?,
        dead_letter_partitions: partitions(Role::DeadLetter)?,
        max_dead_letter_bytes: usize::try_from(limit.saturating_sub(dead_letter::MAX_ADDED_BYTES)).ok()?,
    })
}

/// Returns how a command ends whose topics are not what they have to be.
pub fn topics_failure(problems: &[Problem]) -> Failure {
    let mut text = format!("{} with the topics", text::count(problems.len(), "problem"));
    for problem in problems {
        text.push_str(&format!("\n  {problem}"));
    }
    Failure::new(Exit::Config, text)
}

/// Returns how a command ends that got no answer about topics.
pub fn admin_failure(error: admin::Error) -> Failure {
    match error {
        admin::Error::Away { .. } => Failure::caused_by(Exit::Unavailable, "Kafka did not answer", error),
        admin::Error::Refused { .. } | admin::Error::Impossible { .. } => {
            Failure::caused_by(Exit::Config, "Kafka does not do what was asked", error)
        }
    }
}

/// Returns how a command ends that could not read.
pub fn scan_failure(error: scan::Error) -> Failure {
    let (exit, text) = match &error {
        scan::Error::Away { .. } => (Exit::Unavailable, "Kafka did not answer"),
        scan::Error::Refused { .. } => (Exit::Config, "Kafka does not do what was asked"),
        scan::Error::Gone { .. } => (Exit::TempFail, "retention was faster: run it again"),
    };
    Failure::caused_by(exit, text, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bytes;
    use livesession_kafka::admin::Topic;

    fn found(config: &Config, dead_letter_bytes: u64) -> Vec<Found> {
        let names = crate::deployment::topics::names(config);
        let entry = |(index, (role, name)): (usize, (Role, String))| {
            let bytes = if role == Role::DeadLetter { dead_letter_bytes } else { 2_097_152 };
            let settings = [("max.message.bytes".to_owned(), bytes.to_string())].into();
            let topic = Topic { name: name.clone(), partitions: index as u32 + 3, replicas: 1, settings };
            Found { role, name, topic: Some(topic) }
        };
        names.into_iter().enumerate().map(entry).collect()
    }

    #[test]
    fn facts_are_those_of_each_topic() {
        let config = Config::default();
        let expected = TopicFacts {
            input_partitions: 3,
            output_partitions: 4,
            dead_letter_partitions: 5,
            max_dead_letter_bytes: 997_952,
        };
        assert_eq!(facts(&config, &found(&config, 1_000_000)), Some(expected));
        assert!(facts(&config, &found(&config, 1_000_000)[..3]).is_some());
        assert_eq!(facts(&config, &found(&config, 1_000_000)[..2]), None);
    }

    #[test]
    fn dead_letters_are_limited_by_topic_and_producer() {
        let mut config = Config::default();
        config.output.max_record_bytes = Bytes(500_000);
        assert_eq!(facts(&config, &found(&config, 1_000_000)).unwrap().max_dead_letter_bytes, 497_952);
        assert_eq!(facts(&config, &found(&config, 100)).unwrap().max_dead_letter_bytes, 0);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problem =
            |topic: &str| Problem { topic: topic.to_owned(), text: "is odd".to_owned(), repair: "mend".to_owned() };
        let failure = topics_failure(&[problem("a"), problem("b")]);
        let expected = "error: 2 problems with the topics\n  a is odd\n    repair: mend\n  b is odd\n    repair: mend";
        assert_eq!((failure.exit, failure.to_string().as_str()), (Exit::Config, expected));
    }
}
