//! The indexer's life: open, turn until told to stop, and begin again when that is what helps.
//!
//! | it ended because | then |
//! | --- | --- |
//! | it was told to stop | commit, checkpoint, close |
//! | the file was filled anew or replaced, the topic got partitions, the reader lost its place | begin again: the start checks decide |
//! | Kafka does not answer at the start | back off, at most [`PATIENCE`] |
//! | anything else | stop at once |

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::failure::{Failure, may_pass};
use super::life::{End, Life};
use crate::clock;
use crate::health;
use crate::metrics::{IndexTransaction, Metrics};
use crate::text::chain;
use livesession_grouping::time::Millis;
use livesession_index as index;
use livesession_index::{Freshness, Origin};
use livesession_kafka::settings::Settings as KafkaSettings;

/// How long an indexer tries to reach Kafka at its start before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How long it tries to write to a file that is locked or full before it gives up: a prune or a backup is over by then.
pub const DISK_PATIENCE: Duration = Duration::from_secs(60);

/// The pauses between attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

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
    /// Indexes until told to stop.
    ///
    /// # Errors
    ///
    /// Whatever beginning again does not repair.
    pub fn run(&self) -> Result<(), Failure> {
        self.live_on().inspect_err(|failure| error!(error = %chain(failure), "indexer stopped"))
    }

    /// Lives again and again, as long as that helps.
    fn live_on(&self) -> Result<(), Failure> {
        let mut pause = BACKOFF.0;
        let mut away_since: Option<Instant> = None;
        while !self.is_stopping() {
            self.health.turned(clock::now());
            let mut worked = false;
            let Err(end) = self.live(&mut worked) else { return Ok(()) };
            let now = clock::instant();
            if worked {
                (pause, away_since) = (BACKOFF.0, None);
            }
            match end {
                End::Again { why } => {
                    self.health.open(false);
                    warn!(why, "opening the index again");
                }
                End::Stop(Failure::Away { source }) => {
                    let since = *away_since.get_or_insert(now);
                    if now.duration_since(since) > PATIENCE {
                        return Err(Failure::Away { source });
                    }
                    warn!(error = %chain(&source), "indexer waits for Kafka");
                }
                End::Stop(failure) => {
                    self.health.open(false);
                    return Err(failure);
                }
            }
            self.wait(pause);
            pause = (pause * 2).min(BACKOFF.1);
        }
        Ok(())
    }

    /// Lives once. `worked` says whether it got as far as reading.
    fn live(&self, worked: &mut bool) -> Result<(), End> {
        let mut life = Life::begin(self)?;
        *worked = true;
        while !self.is_stopping() {
            life.turn()?;
            self.health.turned(clock::now());
        }
        life.stop()?;
        info!("indexer stopped");
        Ok(())
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks the index until it does what it is asked, for at most [`DISK_PATIENCE`], or until told to stop.
    ///
    /// # Errors
    ///
    /// What the index said last, and whether it had failed before: then an earlier attempt may have been carried out.
    pub(super) fn insist<T>(&self, mut ask: impl FnMut() -> Result<T, index::Error>) -> Result<T, Refusal> {
        let begin = clock::instant();
        let mut pause = BACKOFF.0;
        let mut failed_before = false;
        loop {
            let source = match ask() {
                Ok(answer) => return Ok(answer),
                Err(source) => source,
            };
            self.metrics.index_transaction(IndexTransaction::Failed, clock::now());
            if !may_pass(&source) || begin.elapsed() > DISK_PATIENCE || self.is_stopping() {
                return Err(Refusal { source, failed_before });
            }
            warn!(error = %chain(&source), "index did not take a transaction, trying again");
            failed_before = true;
            self.wait(pause);
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Waits, but not longer than until told to stop.
    fn wait(&self, pause: Duration) {
        let until = clock::instant() + pause;
        while !self.is_stopping() && clock::instant() < until {
            std::thread::park_timeout(Duration::from_millis(50));
            self.health.turned(clock::now());
        }
    }
}

/// What the index said in the end.
pub(super) struct Refusal {
    pub source: index::Error,
    pub failed_before: bool,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Stop(refusal.source.into())
    }
}
