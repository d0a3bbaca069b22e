//! The parts of a service, checked and put together; `service` runs them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tracing::info;

use super::check::{self, topics_failure};
use super::clients::{self, read_failure};
use super::indexing::{self, Indexing};
use super::settings::Deployment;
use super::state;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::health::Health;
use crate::service::serve::{Loop, Service};
use crate::worker::thread;
use livesession_kafka::admin::Admin;

/// How long the start-up questions may take, together with waiting for a broker that is not there yet.
const STARTUP: Duration = Duration::from_secs(30);

/// Checks everything that can be checked before the first record is read, and puts workers and indexer together.
///
/// # Errors
///
/// As those of [`check::check_topics`], [`state::problems`] and [`indexing::check_file`].
pub fn workers(deployment: &Deployment) -> Result<Service, Failure> {
    let config = deployment.config();
    let admin = Admin::new(&clients::settings(deployment, 0)?, STARTUP).map_err(read_failure)?;
    let facts = check::check_topics(config, &admin)?;
    drop(admin);
    let problems = state::problems(deployment)?;
    if !problems.is_empty() {
        return Err(topics_failure(&problems));
    }
    if config.index.enabled {
        indexing::check_file(deployment)?;
    }
    let metrics = Arc::new(deployment.metrics());
    metrics.set_input_partitions(usize::try_from(facts.input_partitions).unwrap_or(0));
    let settings = Arc::new(deployment.worker_settings(&facts));
    let health = Arc::new(Health::new(&metrics, config.workers as usize, config.index.enabled, clock::now()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut loops = Vec::new();
    for slot in 0..config.workers {
        let Some(shown) = health.worker(slot as usize) else { continue };
        let thread = thread::Thread {
            settings: Arc::clone(&settings),
            kafka: clients::settings(deployment, slot)?,
            metrics: Arc::clone(&metrics),
            health: Arc::clone(shown),
            stop: Arc::clone(&stop),
        };
        loops.push(Loop { name: format!("worker-{slot}"), run: Box::new(move || Ok(thread.run()?)) });
    }
    let mut site = None;
    if let Some(shown) = health.index() {
        let indexing = Indexing::new(deployment, &metrics, shown, &stop)?;
        site = indexing.site;
        loops.push(indexing.index);
    }
    info!(input = settings.topics.input, output = settings.topics.output, workers = config.workers, "starting");
    let (listen, shutdown_timeout) = (config.http.listen, config.shutdown_timeout);
    Ok(Service { listen, shutdown_timeout, metrics, health, site, stop, loops })
}

/// Puts an indexer together that runs alone, whatever `index.enabled` says, which is about [`workers`].
///
/// # Errors
///
/// As those of [`indexing::check_file`].
pub fn indexer(deployment: &Deployment) -> Result<Service, Failure> {
    let config = deployment.config();
    indexing::check_file(deployment)?;
    let metrics = Arc::new(deployment.metrics());
    let health = Arc::new(Health::new(&metrics, 0, true, clock::now()));
    let stop = Arc::new(AtomicBool::new(false));
    let Some(shown) = health.index() else {
        return Err(Failure::new(Exit::Software, "the health of an indexer has no index"));
    };
    let Indexing { index, site } = Indexing::new(deployment, &metrics, shown, &stop)?;
    let (listen, shutdown_timeout) = (config.http.listen, config.shutdown_timeout);
    Ok(Service { listen, shutdown_timeout, metrics, health, site, stop, loops: vec![index] })
}
