//! Whether the topics are what the worker relies on.
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

use super::topics::{Role, names};
use crate::config::Config;
use livesession_formats::dead_letter;
use livesession_kafka::admin::{self, Admin, Topic};

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
pub fn look(config: &Config, admin: &Admin) -> Result<Vec<Found>, admin::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
