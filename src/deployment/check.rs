//! Checks of topics: whether they are what the worker relies on.
//!
//! Compares values and asks nobody: [`Found`] is what the cluster said. What is checked is what would make a worker wrong
//! or stop it for ever, not what is merely unusual; each problem names the command that repairs it.
//!
//! | topic | has to | else |
//! | --- | --- | --- |
//! | changelog, latest | as many partitions as the input | records go to the input's own partition number |
//! | changelog | be compacted, and nothing else | retention would delete state that is in use |
//! | latest | be compacted | it would only grow, and lose what is old |
//! | output, dead letters | not be compacted | one session per stream would remain; a record without a key is refused |
//! | output, changelog, latest | take `output.max_record_bytes` | a larger record aborts its transaction for ever |
//! | dead letters | take the input's largest record and what is added | the same |
//!
//! A topic's limit counts a compressed batch with its framing, ours the bytes of a record: JSON shrinks by far more than
//! the framing adds, so equal is enough.

use std::fmt;

use super::clients;
use super::settings::TopicFacts;
use super::topics::{Role, names};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::text;
use livesession_formats::dead_letter;
use livesession_kafka::ReadError;
use livesession_kafka::admin::{Admin, Topic};

/// What the cluster has of a topic that is needed.
#[derive(Clone, Debug)]
pub struct Found {
    pub role: Role,
    pub name: String,
    /// `None`: there is none of that name.
    pub topic: Option<Topic>,
}

/// One thing that is wrong with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The topic, and the setting that names it.
    pub topic: String,
    pub text: String,
    /// A command, or what else to do.
    pub repair: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n    repair: {}", self.topic, self.text, self.repair)
    }
}

/// Asks the cluster for every topic of the configuration.
///
/// # Errors
///
/// The first question that was not answered: the next ones would wait as long.
pub fn look(config: &Config, admin: &Admin) -> Result<Vec<Found>, ReadError> {
    let mut found = Vec::new();
    for (role, name) in names(config) {
        let topic = admin.topic(&name)?;
        found.push(Found { role, name, topic });
    }
    Ok(found)
}

/// Returns the topic of a role, if the cluster has it.
pub fn topic(found: &[Found], role: Role) -> Option<&Topic> {
    found.iter().find(|entry| entry.role == role)?.topic.as_ref()
}

/// Returns a topic's `max.message.bytes`; `None` if the broker does not say.
pub fn max_message_bytes(topic: &Topic) -> Option<u64> {
    topic.settings.get("max.message.bytes")?.parse().ok()
}

/// Returns everything that is wrong, in the order of the topics.
pub fn problems(config: &Config, found: &[Found]) -> Vec<Problem> {
    let mut checker =
        Checker { brokers: config.kafka.brokers.join(","), input: topic(found, Role::Input), problems: Vec::new() };
    for entry in found {
        match &entry.topic {
            None => checker.missing(entry),
            Some(topic) => checker.check(config, entry, topic),
        }
    }
    checker.problems
}

struct Checker<'a> {
    brokers: String,
    input: Option<&'a Topic>,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn missing(&mut self, entry: &Found) {
        let repair = match entry.role {
            Role::Input => "correct topics.input, or run: livesession topics create --with-input --partitions N",
            _ => "livesession topics create",
        };
        self.add(entry, "does not exist".to_owned(), repair.to_owned());
    }

    fn check(&mut self, config: &Config, entry: &Found, topic: &Topic) {
        let record = config.output.max_record_bytes.0;
        match entry.role {
            Role::Input => {}
            Role::Output => {
                self.policy(entry, topic, "delete");
                self.size(entry, topic, record, "output.max_record_bytes");
            }
            Role::DeadLetter => {
                self.policy(entry, topic, "delete");
                if let Some(input) = self.input.and_then(max_message_bytes) {
                    let needed = input + dead_letter::MAX_ADDED_BYTES;
                    let of_what = format!("the input's {input} and {} for headers", dead_letter::MAX_ADDED_BYTES);
                    self.size(entry, topic, needed, &of_what);
                }
            }
            Role::Changelog => {
                self.partitions(entry, topic, "set application_id or topics.changelog to one that was never used");
                self.policy(entry, topic, "compact");
                self.size(entry, topic, record, "output.max_record_bytes");
            }
            Role::Latest => {
                self.partitions(entry, topic, "set topics.latest to another name, or delete it");
                self.policy(entry, topic, "compact");
                self.size(entry, topic, record, "output.max_record_bytes");
            }
        }
    }

    /// Checks that a topic has as many partitions as the input; one that has more cannot be given fewer.
    fn partitions(&mut self, entry: &Found, topic: &Topic, too_many: &str) {
        let Some(input) = self.input else { return };
        let (has, needed) = (topic.partitions, input.partitions);
        if has == needed {
            return;
        }
        let repair = if has < needed {
            format!(
                "kafka-topics --bootstrap-server {} --alter --topic {} --partitions {needed}",
                self.brokers, entry.name
            )
        } else {
            too_many.to_owned()
        };
        self.add(entry, format!("has {has} partitions, and the input {} has {needed}", input.name), repair);
    }

    fn policy(&mut self, entry: &Found, topic: &Topic, needed: &str) {
        let has = topic.settings.get("cleanup.policy").map_or("", String::as_str);
        let fits = match entry.role {
            // Sessions of long ago may be deleted there if somebody wants that.
            Role::Latest => has.split(',').any(|policy| policy.trim() == "compact"),
            _ => has == needed,
        };
        if !fits {
            let repair = self.alter(entry, &format!("cleanup.policy={needed}"));
            self.add(entry, format!("has cleanup.policy={has}, and needs {needed}"), repair);
        }
    }

    fn size(&mut self, entry: &Found, topic: &Topic, needed: u64, of_what: &str) {
        let text = match max_message_bytes(topic) {
            Some(has) if has >= needed => return,
            Some(has) => format!("has max.message.bytes={has}, and needs {needed} ({of_what})"),
            None => format!("does not say its max.message.bytes, which has to be {needed} ({of_what})"),
        };
        let repair = self.alter(entry, &format!("max.message.bytes={needed}"));
        self.add(entry, text, repair);
    }

    fn alter(&self, entry: &Found, setting: &str) -> String {
        format!(
            "kafka-configs --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config {setting}",
            self.brokers, entry.name
        )
    }

    fn add(&mut self, entry: &Found, text: String, repair: String) {
        let topic = format!("topic {} ({})", entry.name, entry.role.setting());
        self.problems.push(Problem { topic, text, repair });
    }
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
    let found = look(config, admin).map_err(clients::read_failure)?;
    let problems = problems(config, &found);
    if !problems.is_empty() {
        return Err(topics_failure(&problems));
    }
    facts(config, &found).ok_or_else(|| Failure::new(Exit::Software, "topics passed their checks and are not there"))
}

/// Returns the facts; `None` if a topic is missing.
fn facts(config: &Config, found: &[Found]) -> Option<TopicFacts> {
    let partitions = |role| i32::try_from(topic(found, role)?.partitions).ok();
    let topic_limit = max_message_bytes(topic(found, Role::DeadLetter)?)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bytes;

    fn topic(name: &str, partitions: u32, policy: &str, bytes: u64) -> Topic {
        let settings = [("cleanup.policy", policy.to_owned()), ("max.message.bytes", bytes.to_string())];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        Topic { name: name.to_owned(), partitions, replicas: 1, settings }
    }

    /// A cluster in which everything is right, at its bounds.
    fn cluster() -> (Config, Vec<Found>) {
        let mut config = Config::default();
        config.topics.latest = Some("latest".to_owned());
        let found = names(&config).into_iter().map(|(role, name)| {
            let (partitions, policy, bytes) = match role {
                Role::Input => (4, "delete", 1_000_000),
                Role::Output => (9, "delete", 2_097_152),
                Role::DeadLetter => (2, "delete", 1_002_048),
                Role::Changelog => (4, "compact", 2_097_152),
                Role::Latest => (4, "compact,delete", 2_097_152),
            };
            let topic = Some(topic(&name, partitions, policy, bytes));
            Found { role, name, topic }
        });
        let found = found.collect();
        (config, found)
    }

    /// Changes the topic of a role and returns what is then said of it.
    fn after(role: Role, change: impl FnOnce(&mut Topic)) -> Vec<String> {
        let (config, mut found) = cluster();
        let entry = found.iter_mut().find(|entry| entry.role == role).unwrap();
        change(entry.topic.as_mut().unwrap());
        problems(&config, &found).iter().map(ToString::to_string).collect()
    }

    fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut Topic) {
        move |topic| {
            topic.settings.insert(name.to_owned(), value.to_owned());
        }
    }

    const ALTER: &str = "kafka-configs --bootstrap-server localhost:9092 --alter --entity-type topics --entity-name";

    #[test]
    fn topics_at_every_bound_are_right() {
        let (config, found) = cluster();
        assert_eq!(problems(&config, &found), []);
    }

    #[test]
    fn topic_that_is_missing_is_to_be_made() {
        let (config, mut found) = cluster();
        for entry in &mut found {
            entry.topic = None;
        }
        let texts: Vec<_> = problems(&config, &found).iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 5, "all of them at once");
        assert_eq!(
            texts[0],
            "topic recording-notifications (topics.input) does not exist\n    repair: correct topics.input, or run: \
             livesession topics create --with-input --partitions N"
        );
        assert_eq!(
            texts[3],
            "topic livesession-changelog (topics.changelog) does not exist\n    repair: livesession topics create"
        );
    }

    #[test]
    fn changelog_and_latest_have_the_partitions_of_the_input() {
        let few = after(Role::Changelog, |topic| topic.partitions = 3);
        let expected = "topic livesession-changelog (topics.changelog) has 3 partitions, and the input \
                        recording-notifications has 4\n    repair: kafka-topics --bootstrap-server localhost:9092 \
                        --alter --topic livesession-changelog --partitions 4";
        assert_eq!(few, [expected]);
        let many = after(Role::Changelog, |topic| topic.partitions = 5);
        assert!(many[0].ends_with("repair: set application_id or topics.changelog to one that was never used"));
        assert_eq!(after(Role::Latest, |topic| topic.partitions = 3).len(), 1);
        assert_eq!(after(Role::Input, |topic| topic.partitions = 5).len(), 2, "both follow the input");
    }

    #[test]
    fn policies_are_what_each_topic_needs() {
        for (role, policy, needed) in [
            (Role::Output, "compact", "delete"),
            (Role::Output, "compact,delete", "delete"),
            (Role::DeadLetter, "compact", "delete"),
            (Role::Changelog, "delete", "compact"),
            (Role::Changelog, "compact,delete", "compact"),
            (Role::Latest, "delete", "compact"),
        ] {
            let texts = after(role, set("cleanup.policy", policy));
            assert_eq!(texts.len(), 1, "{role:?} {policy}");
            assert!(texts[0].contains(&format!("has cleanup.policy={policy}, and needs {needed}")), "{texts:?}");
            assert!(texts[0].contains(ALTER) && texts[0].ends_with(&format!("cleanup.policy={needed}")), "{texts:?}");
        }
    }

    #[test]
    fn topics_take_the_largest_record() {
        for (role, bytes, expected) in [
            (Role::Output, "2097151", 1),
            (Role::Output, "2097153", 0),
            (Role::Changelog, "2097151", 1),
            (Role::Latest, "2097151", 1),
            (Role::DeadLetter, "1002047", 1),
            (Role::DeadLetter, "1002049", 0),
            (Role::Output, "?", 1),
        ] {
            let texts = after(role, set("max.message.bytes", bytes));
            assert_eq!(texts.len(), expected, "{role:?} {bytes}: {texts:?}");
        }
        let grown = after(Role::Input, set("max.message.bytes", "1000001"));
        let expected = format!(
            "topic recording-notifications-dlq (topics.dead_letter) has max.message.bytes=1002048, and needs 1002049 \
             (the input's 1000001 and 2048 for headers)\n    repair: {ALTER} recording-notifications-dlq --add-config \
             max.message.bytes=1002049"
        );
        assert_eq!(grown, [expected]);
    }

    fn found_with(config: &Config, dead_letter_bytes: u64) -> Vec<Found> {
        let names = names(config);
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
        assert_eq!(facts(&config, &found_with(&config, 1_000_000)), Some(expected));
        assert!(facts(&config, &found_with(&config, 1_000_000)[..3]).is_some());
        assert_eq!(facts(&config, &found_with(&config, 1_000_000)[..2]), None);
    }

    #[test]
    fn dead_letters_are_limited_by_topic_and_producer() {
        let mut config = Config::default();
        config.output.max_record_bytes = Bytes(500_000);
        assert_eq!(facts(&config, &found_with(&config, 1_000_000)).unwrap().max_dead_letter_bytes, 497_952);
        assert_eq!(facts(&config, &found_with(&config, 100)).unwrap().max_dead_letter_bytes, 0);
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
