//! The topics of a deployment, and how each is made.
//!
//! One table for `topics create`, `topics print` and the checks at start, so that what is made is what is asked for. Says
//! nothing to a broker; [`super::check`] compares, [`super::create`] makes.
//!
//! | topic | policy | kept | largest record |
//! | --- | --- | --- | --- |
//! | input | delete | the cluster's default | the cluster's default |
//! | output | delete | for ever | `output.max_record_bytes` |
//! | dead letters | delete | 30 days | the input's, and what is added |
//! | changelog | compact | as state | `output.max_record_bytes` |
//! | latest, if wanted | compact | as sessions | `output.max_record_bytes` |
//!
//! *Kept for ever*: the index is a projection of the output and is rebuilt from it, with everything that the topic still
//! has. Kafka's default of a week would make "delete it and rebuild" lose what was published before. A session is about a
//! kilobyte. Who has to delete after a time sets `retention.ms` by hand: nothing here insists on it.
//!
//! *30 days*: long enough to find out, to repair and to replay; not for ever, because the original bytes may hold push
//! secrets.
//!
//! All topics have as many partitions as the input. The changelog and the latest sessions have to: their partition is the
//! input's. The others need not, and gain nothing from another number.

use crate::config::Config;
use livesession_formats::dead_letter;
pub use livesession_kafka::admin::NewTopicSettings;

/// Kafka's own default of `max.message.bytes`, for an input that is not there yet.
pub const DEFAULT_MAX_MESSAGE_BYTES: u64 = 1_048_588;
/// From how many replicas on a write waits for two: with fewer it would stop with the first broker.
const MANY_REPLICAS: u32 = 3;

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Input,
    Output,
    DeadLetter,
    Changelog,
    Latest,
}

impl Role {
    /// Returns the setting that names the topic.
    pub const fn setting(self) -> &'static str {
        match self {
            Role::Input => "topics.input",
            Role::Output => "topics.output",
            Role::DeadLetter => "topics.dead_letter",
            Role::Changelog => "topics.changelog",
            Role::Latest => "topics.latest",
        }
    }
}

/// What has to be known of the input before the others can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputFacts {
    pub partitions: u32,
    /// The topic's `max.message.bytes`.
    pub max_message_bytes: u64,
}

/// Returns the topics of a deployment by role, the input first.
pub fn names(config: &Config) -> Vec<(Role, String)> {
    let mut names = vec![
        (Role::Input, config.topics.input.clone()),
        (Role::Output, config.topics.output.clone()),
        (Role::DeadLetter, config.dead_letter_topic()),
        (Role::Changelog, config.changelog_topic()),
    ];
    names.extend(config.topics.latest.clone().map(|latest| (Role::Latest, latest)));
    names
}

/// Returns how every topic but the input is to be made, and the input too if `with_input`.
pub fn plan(config: &Config, input: InputFacts, replicas: Option<u32>, with_input: bool) -> Vec<NewTopicSettings> {
    let names = names(config).into_iter().filter(|(role, _)| with_input || *role != Role::Input);
    let topic = |(role, name)| NewTopicSettings {
        name,
        partitions: input.partitions,
        replicas,
        settings: settings(config, input, replicas, role),
    };
    names.map(topic).collect()
}

/// Returns the settings in which a new topic differs from the cluster's defaults.
fn settings(config: &Config, input: InputFacts, replicas: Option<u32>, role: Role) -> Vec<(String, String)> {
    const DAY_MS: u64 = 86_400_000;
    let record = config.output.max_record_bytes.0;
    let numbers: &[(&str, u64)] = match role {
        Role::Input | Role::Output => &[],
        Role::DeadLetter => &[("retention.ms", 30 * DAY_MS)],
        // Compaction spares the active segment, so it has to be closed often: a restore reads what is left.
        Role::Changelog | Role::Latest => &[("segment.ms", 600_000), ("delete.retention.ms", DAY_MS)],
    };
    let is_compacted = matches!(role, Role::Changelog | Role::Latest);
    let mut settings = vec![("cleanup.policy".to_owned(), if is_compacted { "compact" } else { "delete" }.to_owned())];
    settings.extend(numbers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())));
    if is_compacted {
        settings.push(("min.cleanable.dirty.ratio".to_owned(), "0.2".to_owned()));
    }
    if role == Role::Output {
        settings.push(("retention.ms".to_owned(), "-1".to_owned()));
    }
    let largest = match role {
        Role::Input => None,
        Role::DeadLetter => Some(input.max_message_bytes + dead_letter::MAX_ADDED_BYTES),
        Role::Output | Role::Changelog | Role::Latest => Some(record),
    };
    settings.extend(largest.map(|bytes| ("max.message.bytes".to_owned(), bytes.to_string())));
    // A transaction is worth what its least replicated record is: an acknowledgement of one broker dies with it.
    if replicas.is_some_and(|replicas| replicas >= MANY_REPLICAS) {
        settings.push(("min.insync.replicas".to_owned(), "2".to_owned()));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: InputFacts = InputFacts { partitions: 6, max_message_bytes: 1_000_000 };

    fn value<'a>(topic: &'a NewTopicSettings, name: &str) -> Option<&'a str> {
        topic.settings.iter().find(|(setting, _)| setting == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn input_is_made_only_when_asked() {
        let names = |with_input| -> Vec<String> {
            plan(&Config::default(), INPUT, None, with_input).into_iter().map(|topic| topic.name).collect()
        };
        let others = ["live-sessions", "recording-notifications-dlq", "livesession-changelog"];
        assert_eq!(names(false), others);
        assert_eq!(names(true), [&["recording-notifications"], &others[..]].concat());
    }

    #[test]
    fn every_topic_has_as_many_partitions_as_the_input() {
        let mut config = Config::default();
        config.topics.latest = Some("latest".to_owned());
        let topics = plan(&config, INPUT, None, true);
        assert_eq!(topics.len(), 5);
        assert!(topics.iter().all(|topic| topic.partitions == 6));
    }

    #[test]
    fn policies_and_sizes_are_those_that_are_checked() {
        let mut config = Config::default();
        config.topics.latest = Some("latest".to_owned());
        let topics = plan(&config, INPUT, None, true);
        let policies: Vec<_> = topics.iter().map(|topic| value(topic, "cleanup.policy").unwrap()).collect();
        assert_eq!(policies, ["delete", "delete", "delete", "compact", "compact"]);
        let sizes: Vec<_> = topics.iter().map(|topic| value(topic, "max.message.bytes")).collect();
        let record = Some("2097152");
        assert_eq!(sizes, [None, record, Some("1002048"), record, record]);
        assert_eq!(value(&topics[1], "retention.ms"), Some("-1"), "the index is rebuilt from it");
    }

    #[test]
    fn two_replicas_have_to_be_in_sync_from_three_on() {
        for (replicas, expected) in [(None, None), (Some(2), None), (Some(3), Some("2")), (Some(4), Some("2"))] {
            let topics = plan(&Config::default(), INPUT, replicas, false);
            assert_eq!(value(&topics[2], "min.insync.replicas"), expected, "{replicas:?}");
            assert_eq!(topics[2].replicas, replicas);
        }
    }
}
