//! The indexer as a part of a service: its settings, its loop, its HTTP side.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;

use super::clients;
use super::settings::Deployment;
use crate::exit::{Exit, Failure};
use crate::health;
use crate::http::api::Store;
use crate::http::site;
use crate::indexer::{self, Settings, Thread};
use crate::metrics::Metrics;
use crate::service::serve::Loop;
use livesession_index as index;
use livesession_index::{Freshness, Writer};

/// The indexer of a process.
pub struct Indexing {
    pub index: Loop,
    /// The query API and the page, unless `http.api` is off.
    pub site: Option<Router>,
}

impl Indexing {
    /// Puts the indexer together. Nothing starts and nothing connects.
    pub fn new(
        deployment: &Deployment,
        metrics: &Arc<Metrics>,
        health: &Arc<health::Index>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Indexing, Failure> {
        let config = deployment.config();
        let freshness = Arc::new(Freshness::default());
        let store = Store::new(config.index.path.clone(), Arc::clone(&freshness));
        let thread = Thread {
            settings: Settings {
                path: config.index.path.clone(),
                origin: deployment.origin(),
                retention: config.index.retention,
            },
            kafka: clients::settings(deployment, 0)?,
            metrics: Arc::clone(metrics),
            health: Arc::clone(health),
            freshness,
            stop: Arc::clone(stop),
        };
        let index = Loop { name: "index".to_owned(), run: Box::new(move || Ok(thread.run()?)) };
        Ok(Indexing { index, site: config.http.api.then(|| site::router(store)) })
    }
}

/// Makes sure, before anything starts, that the index can be written; makes it if it is not there.
///
/// # Errors
///
/// Exit 74 for the disk, 78 for a file that is not ours; a lock alone is no reason, since the indexer waits for it.
pub fn check_file(deployment: &Deployment) -> Result<(), Failure> {
    match Writer::open(&deployment.config().index.path, &deployment.origin()) {
        Ok(_) | Err(index::Error::Busy { .. }) => Ok(()),
        Err(error @ index::Error::OtherTopic { what: "source_topic", .. }) => {
            let message = "cannot keep an index of another input: set topics.input back, or use a new application_id, output \
                           topic and index.path";
            Err(Failure::caused_by(Exit::Config, message, error))
        }
        Err(error) => {
            let why = indexer::Failure::from(error);
            let message = "cannot keep an index: correct index.path, or set index.enabled to false";
            Err(Failure::caused_by(why.exit(), message, why))
        }
    }
}
