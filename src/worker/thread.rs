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
use crate::metrics::Metrics;
use crate::text::chain;
use livesession_kafka::client::Client;
use livesession_kafka::settings::Settings as KafkaSettings;

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

/// Decides whether another life helps, by what ended the ones before.
struct Lives {
    pause: Duration,
    /// Since when no life was able to work.
    away_since: Option<Instant>,
    fenced_at: Option<Instant>,
}

impl Lives {
    fn new() -> Lives {
        Lives { pause: BACKOFF.0, away_since: None, fenced_at: None }
    }

    /// Returns how long to wait before the next life.
    ///
    /// # Errors
    ///
    /// What another life would not repair.
    fn next(&mut self, ended: Ended, now: Instant) -> Result<Duration, Failure> {
        if ended.connected {
            (self.pause, self.away_since) = (BACKOFF.0, None);
        }
        match ended.failure {
            Failure::Fenced { source } => {
                if self.fenced_at.is_some_and(|before| now.duration_since(before) < TWIN) {
                    return Err(Failure::Fenced { source });
                }
                self.fenced_at = Some(now);
                warn!(error = %chain(&*source), "another producer took over, building the worker again");
            }
            Failure::Rebuild { source } => {
                let since = *self.away_since.get_or_insert(now);
                if now.duration_since(since) > PATIENCE {
                    return Err(Failure::Away { source });
                }
                warn!(error = %chain(&*source), "building the worker again");
            }
            other => return Err(other),
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(BACKOFF.1);
        Ok(pause)
    }
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
        let mut lives = Lives::new();
        while !self.is_stopping() {
            let Err(ended) = self.live(origin) else { return Ok(()) };
            self.health.member(false);
            self.health.restoring(0);
            let pause = lives.next(ended, clock::instant())?;
            self.wait(pause);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuild(connected: bool) -> Ended {
        Ended { failure: Failure::Rebuild { source: "no answer".into() }, connected }
    }

    fn fenced() -> Ended {
        Ended { failure: Failure::Fenced { source: "fenced".into() }, connected: true }
    }

    #[test]
    fn pauses_grow_until_a_life_could_work() {
        let (mut lives, now) = (Lives::new(), clock::instant());
        let pauses: Vec<u128> = (0..8).map(|_| lives.next(rebuild(false), now).unwrap().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(lives.next(rebuild(true), now).unwrap(), BACKOFF.0);
        assert_eq!(lives.next(rebuild(false), now).unwrap(), BACKOFF.0 * 2);
    }

    #[test]
    fn patience_counts_from_the_last_life_that_could_work() {
        let (mut lives, start) = (Lives::new(), clock::instant());
        lives.next(rebuild(false), start).unwrap();
        lives.next(rebuild(false), start + PATIENCE).unwrap();
        lives.next(rebuild(true), start + PATIENCE * 2).unwrap();
        lives.next(rebuild(false), start + PATIENCE * 3).unwrap();
        let late = start + PATIENCE * 3 + Duration::from_millis(1);
        assert!(matches!(lives.next(rebuild(false), late), Err(Failure::Away { .. })));
    }

    #[test]
    fn two_takeovers_in_a_minute_are_a_twin() {
        let (mut lives, start) = (Lives::new(), clock::instant());
        lives.next(fenced(), start).unwrap();
        lives.next(fenced(), start + TWIN).unwrap();
        let soon = start + TWIN * 2 - Duration::from_millis(1);
        assert!(matches!(lives.next(fenced(), soon), Err(Failure::Fenced { .. })));
    }

    #[test]
    fn what_another_life_does_not_repair_ends_it() {
        let refused = Failure::Refused { problem: "wrong password".to_owned() };
        let ended = Ended { failure: refused, connected: true };
        assert!(matches!(Lives::new().next(ended, clock::instant()), Err(Failure::Refused { .. })));
    }
}
