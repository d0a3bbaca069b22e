//! The indexer as a part of a service, for `run` and `index`: its settings, its loop, its HTTP side, its exit codes.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;

use super::clients;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::health;
use crate::http::api::Store;
use crate::http::site;
use crate::indexer::{self, Settings, Thread};
use crate::metrics::Metrics;
use crate::service::serve::Loop;
use livesession_index as index;
use livesession_index::{Freshness, Origin, Writer};

/// The indexer of a process.
pub struct Indexing {
    pub index: Loop,
    /// The query API and the page, unless `http.api` is off.
    pub site: Option<Router>,
}

impl Indexing {
    /// Puts the indexer together. Nothing starts and nothing connects.
    pub fn new(
        config: &Config,
        metrics: &Arc<Metrics>,
        health: &Arc<health::Index>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Indexing, Failure> {
        let freshness = Arc::new(Freshness::default());
        let store = Store::new(config.index.path.clone(), Arc::clone(&freshness));
        let thread = Thread {
            settings: Settings {
                path: config.index.path.clone(),
                origin: origin(config),
                retention: config.index.retention,
            },
            kafka: clients::settings(config, 0)?,
            metrics: Arc::clone(metrics),
            health: Arc::clone(health),
            freshness,
            stop: Arc::clone(stop),
        };
        let index = Loop { name: "index".to_owned(), run: Box::new(move || thread.run().map_err(failure)) };
        Ok(Indexing { index, site: config.http.api.then(|| site::router(store)) })
    }
}

/// Returns what the index is an index of.
pub fn origin(config: &Config) -> Origin {
    Origin { topic: config.topics.output.clone(), source_topic: config.topics.input.clone() }
}

/// Makes sure, before anything starts, that the index can be written; makes it if it is not there.
///
/// # Errors
///
/// Exit 74 for the disk, 78 for a file that is not ours; a lock alone is no reason, since the indexer waits for it.
pub fn check_file(config: &Config) -> Result<(), Failure> {
    match Writer::open(&config.index.path, &origin(config)) {
        Ok(_) | Err(index::Error::Busy { .. }) => Ok(()),
        Err(error @ index::Error::OtherTopic { what: "source_topic", .. }) => {
            let message = "cannot keep an index of another input: set topics.input back, or use a new application_id, output \
                           topic and index.path";
            Err(Failure::caused_by(Exit::Config, message, error))
        }
        Err(error) => {
            let why = indexer::Failure::from(error);
            let message = "cannot keep an index: correct index.path, or set index.enabled to false";
            Err(Failure::caused_by(exit_of(&why), message, why))
        }
    }
}

/// Returns how the process ends when the indexer could not go on.
pub fn failure(failure: indexer::Failure) -> Failure {
    Failure::caused_by(exit_of(&failure), "indexer stopped", failure)
}

fn exit_of(failure: &indexer::Failure) -> Exit {
    use indexer::Failure as Why;
    match failure {
        Why::Away { .. } => Exit::Unavailable,
        Why::Refused { .. } | Why::Topic { .. } | Why::Twin { .. } | Why::Config { .. } => Exit::Config,
        Why::Disk { .. } => Exit::IoErr,
        Why::Record { .. } | Why::Defect { .. } => Exit::Software,
    }
}
