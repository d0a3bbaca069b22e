//! `livesession run`: the worker, as a service, with the index and its HTTP side unless they are switched off.
//!
//! Puts the parts together; [`crate::service::serve`] runs them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tracing::info;

use super::io::flags::AllSettings;
use super::io::output::Output;
use crate::clock;
use crate::config::{self, Config};
use crate::deployment::indexing::{self, Indexing};
use crate::deployment::startup::{self, TopicFacts};
use crate::deployment::{clients, state};
use crate::exit::{Exit, Failure};
use crate::health::Health;
use crate::metrics::{Identity, Labels, Metrics};
use crate::service::logging;
use crate::service::serve::{self, Loop, Service};
use crate::worker::{self, thread};
use livesession_formats::notification::{KeyParts, Reason, Rules};
use livesession_grouping::{Anomaly, CloseCause, Policy};
use livesession_index as index;
use livesession_kafka as kafka;
use livesession_kafka::admin;

/// How long the start-up questions may take, together with waiting for a broker that is not there yet.
const STARTUP: Duration = Duration::from_secs(30);

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

/// Reads notifications from Kafka and publishes live sessions, each exactly once.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    settings: AllSettings,
}

/// Runs the command.
pub fn run(args: Args, _out: &mut Output) -> Result<Exit, Failure> {
    let config = args.settings.load()?.config;
    logging::init(config.log_format, &config.log_filter)?;
    serve::run(move || prepare(&config))
}

/// Checks everything that can be checked before the first record is read, and puts the parts together.
fn prepare(config: &Config) -> Result<Service, Failure> {
    let kafka = clients::settings(config, 0)?;
    let admin = admin::Admin::new(&kafka, STARTUP).map_err(startup::admin_failure)?;
    let facts = startup::check_topics(config, &admin)?;
    drop(admin);
    let problems = state::problems(config)?;
    if !problems.is_empty() {
        return Err(startup::topics_failure(&problems));
    }
    if config.index.enabled {
        indexing::check_file(config)?;
    }
    let metrics = Arc::new(metrics(config));
    metrics.input_partitions(usize::try_from(facts.input_partitions).unwrap_or(0));
    let settings = Arc::new(worker_settings(config, &facts)?);
    let health = Arc::new(Health::new(&metrics, config.workers as usize, config.index.enabled, clock::now()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut loops = Vec::new();
    for slot in 0..config.workers {
        let Some(shown) = health.worker(slot as usize) else { continue };
        let thread = thread::Thread {
            settings: Arc::clone(&settings),
            kafka: clients::settings(config, slot)?,
            metrics: Arc::clone(&metrics),
            health: Arc::clone(shown),
            stop: Arc::clone(&stop),
        };
        loops.push(Loop { name: format!("worker-{slot}"), run: Box::new(move || thread.run().map_err(exit_of)) });
    }
    let mut site = None;
    if let Some(shown) = health.index() {
        let indexing = Indexing::new(config, &metrics, shown, &stop)?;
        site = indexing.site;
        loops.push(indexing.index);
    }
    info!(input = settings.topics.input, output = settings.topics.output, workers = config.workers, "starting");
    let (listen, shutdown_timeout) = (config.http.listen, config.shutdown_timeout);
    Ok(Service { listen, shutdown_timeout, metrics, health, site, stop, loops })
}

/// Returns the metrics of a process, with what they say about it.
pub(super) fn metrics(config: &Config) -> Metrics {
    const REASONS: [&str; Reason::ALL.len()] = names!(Reason::ALL);
    const ANOMALIES: [&str; Anomaly::ALL.len()] = names!(Anomaly::ALL);
    const CAUSES: [&str; CloseCause::ALL.len()] = names!(CloseCause::ALL);
    let metrics = Metrics::new(Labels { reasons: &REASONS, anomalies: &ANOMALIES, causes: &CAUSES });
    metrics.identify(Identity {
        librdkafka: &kafka::version::library(),
        sqlite: index::library(),
        application_id: &config.application_id,
        input: &config.topics.input,
        output: &config.topics.output,
    });
    metrics
}

/// Returns the rules of grouping.
pub fn policy(config: &Config) -> Result<Policy, Failure> {
    Policy::new(config.grouping_settings()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Config, format!("cannot use [grouping]: {}", problems.join("; ")))
    })
}

/// Returns which parts of a notification name its stream.
pub fn key_parts(config: &Config) -> KeyParts {
    KeyParts::parse(config.input.stream_key.as_str()).unwrap_or_default()
}

/// Returns the settings of a worker.
pub fn worker_settings(config: &Config, facts: &TopicFacts) -> Result<worker::Settings, Failure> {
    let (policy, key_parts) = (policy(config)?, key_parts(config));
    let rules =
        Rules { key_parts, max_segment: config.grouping.max_segment, max_clock_skew: config.grouping.max_clock_skew };
    Ok(worker::Settings {
        application_id: config.application_id.clone(),
        topics: worker::Topics {
            input: config.topics.input.clone(),
            output: config.topics.output.clone(),
            dead_letter: config.dead_letter_topic(),
            changelog: config.changelog_topic(),
            latest: config.topics.latest.clone(),
        },
        policy,
        rules,
        start: match config.input.start {
            config::Start::Earliest => worker::Start::Earliest,
            config::Start::Latest => worker::Start::Latest,
        },
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
    })
}

/// Returns how the process ends when a worker could not go on.
fn exit_of(failure: worker::Failure) -> Failure {
    let exit = match failure {
        worker::Failure::Away { .. } | worker::Failure::Rebuild { .. } => Exit::Unavailable,
        worker::Failure::Fenced { .. } | worker::Failure::Refused { .. } => Exit::Config,
        worker::Failure::Restore { ref source, .. } if is_unsafe_change(source) => Exit::Config,
        worker::Failure::Input { .. }
        | worker::Failure::State { .. }
        | worker::Failure::Restore { .. }
        | worker::Failure::Defect { .. } => Exit::Software,
    };
    Failure::caused_by(exit, "worker stopped", failure)
}

fn is_unsafe_change(error: &crate::partition::RestoreError) -> bool {
    matches!(error, crate::partition::RestoreError::UnsafeChange(_))
}
