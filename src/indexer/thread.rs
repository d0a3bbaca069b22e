//! The parts of an indexer, and its patience with the file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

use super::failure::may_pass;
use crate::clock;
use crate::health;
use crate::metrics::{IndexTransaction, Metrics};
use crate::service::supervisor::{Backoff, Supervisor};
use crate::text::chain;
use livesession_grouping::time::Millis;
use livesession_index as index;
use livesession_index::{Freshness, Origin};
use livesession_kafka::settings::Settings as KafkaSettings;

/// How long it tries to write to a file that is locked or full before it gives up: a prune or a backup is over by then.
pub const DISK_PATIENCE: Duration = Duration::from_secs(60);

/// What an indexer has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    /// The sessions topic, and the one that its sessions were made from.
    pub origin: Origin,
    /// How long after its end a session stays; zero: for ever.
    pub retention: Millis,
}

/// What an indexer thread needs.
pub struct Thread {
    pub settings: Settings,
    pub kafka: KafkaSettings,
    pub metrics: Arc<Metrics>,
    pub health: Arc<health::Index>,
    pub freshness: Arc<Freshness>,
    pub stop: Arc<AtomicBool>,
}

impl Thread {
    /// Asks the index until it does what it is asked, for at most [`DISK_PATIENCE`], or until told to stop.
    ///
    /// # Errors
    ///
    /// What the index said last, and whether it had failed before: then an earlier attempt may have been carried out.
    pub(super) fn insist<T>(&self, mut ask: impl FnMut() -> Result<T, index::Error>) -> Result<T, Refusal> {
        let begin = clock::instant();
        let alive = || self.health.turned(clock::now());
        let supervisor = self.supervisor(&alive);
        let mut backoff = Backoff::default();
        let mut failed_before = false;
        loop {
            let source = match ask() {
                Ok(answer) => return Ok(answer),
                Err(source) => source,
            };
            self.metrics.record_index_transaction(IndexTransaction::Failed, clock::now());
            if !may_pass(&source) || begin.elapsed() > DISK_PATIENCE || supervisor.is_stopping() {
                return Err(Refusal { source, failed_before });
            }
            warn!(error = %chain(&source), "index did not take a transaction, trying again");
            failed_before = true;
            supervisor.wait(backoff.next_pause());
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns what runs this indexer again, and waits.
    pub(super) fn supervisor<'a>(&'a self, alive: &'a dyn Fn()) -> Supervisor<'a> {
        Supervisor { stop: &self.stop, alive }
    }
}

/// What the index said in the end.
pub(super) struct Refusal {
    pub source: index::Error,
    pub failed_before: bool,
}
