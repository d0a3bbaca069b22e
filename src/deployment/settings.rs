//! A checked configuration as the types that each part of the program works with.

use crate::config::{Config, Files, Loaded};
use crate::exit::{Exit, Failure};
use crate::metrics::{Identity, Labels, Metrics};
use crate::worker;
use livesession_formats::notification::{Reason, Rules};
use livesession_grouping::{Anomaly, CloseCause, Policy};
use livesession_index as index;
use livesession_kafka as kafka;

/// Returns the names of an enum's members.
macro_rules! names {
    ($all:expr) => {{
        let mut names = [""; $all.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = $all[index].as_str();
            index += 1;
        }
        names
    }};
}

/// A deployment as its configuration describes it: made once, before anything runs.
#[derive(Clone, Debug)]
pub struct Deployment {
    config: Config,
    files: Files,
    policy: Policy,
    rules: Rules,
    topics: worker::Topics,
}

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

impl Deployment {
    /// Takes a configuration that has been checked.
    ///
    /// # Errors
    ///
    /// Exit 78 if the rules of grouping contradict each other, which the check of a configuration finds too.
    pub fn new(loaded: Loaded) -> Result<Deployment, Failure> {
        let Loaded { config, files, .. } = loaded;
        let policy = Policy::new(config.grouping_settings()).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::new(Exit::Config, format!("cannot use [grouping]: {}", problems.join("; ")))
        })?;
        let rules = Rules {
            key_parts: config.input.stream_key,
            max_segment: config.grouping.max_segment,
            max_clock_skew: config.grouping.max_clock_skew,
        };
        let topics = worker::Topics {
            input: config.topics.input.clone(),
            output: config.topics.output.clone(),
            dead_letter: config.dead_letter_topic(),
            changelog: config.changelog_topic(),
            latest: config.topics.latest.clone(),
        };
        Ok(Deployment { config, files, policy, rules, topics })
    }

    /// Returns the configuration as it was given.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what was read of the files that the configuration names.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Returns the rules of grouping.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the rules of what is accepted as a notification.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Returns the names of the topics.
    pub fn topics(&self) -> &worker::Topics {
        &self.topics
    }

    /// Returns what the index is an index of.
    pub fn origin(&self) -> index::Origin {
        index::Origin { topic: self.topics.output.clone(), source_topic: self.topics.input.clone() }
    }

    /// Returns the metrics of a process, with what they say about it.
    pub fn metrics(&self) -> Metrics {
        const REASONS: [&str; Reason::ALL.len()] = names!(Reason::ALL);
        const ANOMALIES: [&str; Anomaly::ALL.len()] = names!(Anomaly::ALL);
        const CAUSES: [&str; CloseCause::ALL.len()] = names!(CloseCause::ALL);
        let metrics = Metrics::new(Labels { reasons: &REASONS, anomalies: &ANOMALIES, causes: &CAUSES });
        metrics.identify(Identity {
            librdkafka: &librdkafka_version(),
            sqlite: index::library(),
            application_id: &self.config.application_id,
            input: &self.topics.input,
            output: &self.topics.output,
        });
        metrics
    }

    /// Returns the settings of a worker.
    pub fn worker_settings(&self, facts: &TopicFacts) -> worker::Settings {
        let config = &self.config;
        worker::Settings {
            application_id: config.application_id.clone(),
            topics: self.topics.clone(),
            policy: self.policy.clone(),
            rules: self.rules,
            start: config.input.start,
            commit_interval: config.kafka.commit_interval.into(),
            commit_max_records: config.kafka.commit_max_records as usize,
            commit_timeout: config.kafka.transaction_timeout.into(),
            idle_after: config.grouping.idle_after.into(),
            cloudevents: config.output.cloudevents,
            schema_guid: config.output.schema_guid.clone().unwrap_or_default(),
            dead_letter_partitions: facts.dead_letter_partitions.max(1),
            max_dead_letter_bytes: facts.max_dead_letter_bytes,
            slice: worker::SLICE,
            between_slices: worker::BETWEEN_SLICES,
        }
    }
}

/// Returns the version of librdkafka that is linked.
pub fn librdkafka_version() -> String {
    kafka::version::library()
}
