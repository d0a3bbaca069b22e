//! A worker's life: connect, turn until told to stop, and build it again when that is what helps.
//!
//! | it ended because | then |
//! | --- | --- |
//! | it was told to stop | commit, leave the group |
//! | the client is of no more use, or an outcome is unknown | drop everything, back off, build it again |
//! | another producer took over, twice in a minute | a twin: stop, no fencing war |
//! | it could not be built for [`PATIENCE`], or a restore got no answer | stop; the supervisor tries again |
//! | anything else | stop at once |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{Failure, Now, Settings, Worker};
use crate::clock;
use crate::health;
use crate::kafka::client::Client;
use crate::kafka::settings::Settings as KafkaSettings;
use crate::metrics::Metrics;

/// How long a worker tries to reach Kafka before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(20);

/// Two takeovers within this time are a twin.
const TWIN: Duration = Duration::from_secs(60);

/// The pauses between attempts to build a worker: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a worker thread needs.
pub struct Thread {
    pub settings: Arc<Settings>,
    pub kafka: KafkaSettings,
    pub metrics: Arc<Metrics>,
    pub health: Arc<health::Worker>,
    pub stop: Arc<AtomicBool>,
}

/// What was left of a worker that has to be built again.
struct Ended {
    failure: Failure,
    /// Whether it had been able to work.
    connected: bool,
}

impl Thread {
    /// Works until told to stop.
    ///
    /// # Errors
    ///
    /// Whatever building the worker again does not repair.
    pub fn run(&self) -> Result<(), Failure> {
        self.live_on().inspect_err(|failure| error!(error = %chain(failure), "worker stopped"))
    }

    /// Lives again and again, as long as that helps.
    fn live_on(&self) -> Result<(), Failure> {
        let origin = clock::instant();
        let mut pause = BACKOFF.0;
        let mut away_since: Option<Instant> = None;
        let mut fenced_at: Option<Instant> = None;
        while !self.is_stopping() {
            let Err(ended) = self.live(origin) else { return Ok(()) };
            self.health.member(false);
            self.health.restoring(0);
            let now = clock::instant();
            if ended.connected {
                (pause, away_since) = (BACKOFF.0, None);
            }
            match ended.failure {
                Failure::Fenced { source } => {
                    if fenced_at.is_some_and(|before| now.duration_since(before) < TWIN) {
                        return Err(Failure::Fenced { source });
                    }
                    fenced_at = Some(now);
                    warn!(error = %chain(&*source), "another producer took over, building the worker again");
                }
                Failure::Rebuild { source } => {
                    let since = *away_since.get_or_insert(now);
                    if now.duration_since(since) > PATIENCE {
                        return Err(Failure::Away { source });
                    }
                    warn!(error = %chain(&*source), "building the worker again");
                }
                other => return Err(other),
            }
            self.wait(pause);
            pause = (pause * 2).min(BACKOFF.1);
        }
        Ok(())
    }

    /// Lives once: from connecting to the end of the client.
    fn live(&self, origin: Instant) -> Result<(), Ended> {
        let topics = &self.settings.topics;
        let unconnected = |failure: Failure| Ended { failure, connected: false };
        self.health.turned(clock::now());
        let client = Client::connect(&self.kafka, &topics.input, &topics.changelog, CONNECT)
            .map_err(|error| unconnected(error.into()))?;
        let mut worker = Worker::new(&client, Arc::clone(&self.settings), Arc::clone(&self.metrics));
        let read_clocks = || Now { wall: clock::now(), elapsed: origin.elapsed() };
        let ended = loop {
            let now = read_clocks();
            if self.is_stopping() {
                break worker.stop();
            }
            let rest = match worker.turn(now) {
                Ok(rest) => rest,
                Err(failure) => break Err(failure),
            };
            self.health.turned(now.wall);
            self.health.member(worker.is_member());
            self.health.restoring(worker.restoring());
            if !rest.is_zero() {
                self.wait(rest);
            }
        };
        let connected = worker.is_member();
        worker.forget_all();
        if ended.is_ok() {
            info!("worker stopped; open sessions stay open");
        }
        ended.map_err(|failure| Ended { failure, connected })
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
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

/// Returns an error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
