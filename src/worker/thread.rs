//! The thread of a worker: connect, turn until told to stop, and build the worker again when that helps.
//!
//! | it ended because | then |
//! | --- | --- |
//! | it was told to stop | commit, leave the group |
//! | the client is unusable, or an outcome is unknown | drop everything, back off, build it again |
//! | another producer took over | the same; twice in a minute it is a twin: stop, no fencing war |
//! | it could not be built for [`PATIENCE`], or a restore got no answer | stop; systemd or Kubernetes tries again |
//! | anything else | stop at once |
//!
//! [`PATIENCE`]: crate::service::supervisor::PATIENCE

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::{Failure, Now, Settings, Worker};
use crate::clock;
use crate::health;
use crate::metrics::Metrics;
use crate::service::supervisor::{Ended, Messages, Supervisor, Verdict};
use crate::text::chain;
use livesession_kafka::Client;
use livesession_kafka::settings::Settings as KafkaSettings;

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(20);

/// What the log says before the worker is built again.
const MESSAGES: Messages = Messages { unanswered: "building the worker again", again: "building the worker again" };

/// What a worker thread needs.
pub struct Thread {
    pub settings: Arc<Settings>,
    pub kafka: KafkaSettings,
    pub metrics: Arc<Metrics>,
    pub health: Arc<health::Worker>,
    pub stop: Arc<AtomicBool>,
}

impl Thread {
    /// Works until told to stop.
    ///
    /// # Errors
    ///
    /// Whatever building the worker again does not repair.
    pub fn run(&self) -> Result<(), Failure> {
        let origin = clock::instant();
        let alive = || self.health.turned(clock::now());
        let supervisor = Supervisor { stop: &self.stop, alive: &alive };
        let ended = supervisor.run(MESSAGES, || {
            let ended = self.live(&supervisor, origin);
            if ended.is_err() {
                self.health.set_member(false);
                self.health.set_restoring(0);
            }
            ended
        });
        ended.inspect_err(|failure| error!(error = %chain(failure), "worker stopped"))
    }

    /// Lives once: from connecting to the end of the client.
    fn live(&self, supervisor: &Supervisor<'_>, origin: Instant) -> Result<(), Box<Ended<Failure>>> {
        let topics = &self.settings.topics;
        let unconnected = |failure: Failure| Box::new(Ended { verdict: verdict(failure), worked: false });
        let client = Client::connect(&self.kafka, &topics.input, &topics.changelog, CONNECT)
            .map_err(|error| unconnected(error.into()))?;
        let mut worker = Worker::new(&client, Arc::clone(&self.settings), Arc::clone(&self.metrics));
        let read_clocks = || Now { wall: clock::now(), elapsed: origin.elapsed() };
        let ended = loop {
            let now = read_clocks();
            if supervisor.is_stopping() {
                break worker.stop();
            }
            let rest = match worker.turn(now) {
                Ok(rest) => rest,
                Err(failure) => break Err(failure),
            };
            self.health.turned(now.wall);
            self.health.set_member(worker.is_member());
            self.health.set_restoring(worker.restoring());
            if !rest.is_zero() {
                supervisor.wait(rest);
            }
        };
        let worked = worker.is_member();
        worker.forget_all();
        if ended.is_ok() {
            info!("worker stopped; open sessions stay open");
        }
        ended.map_err(|failure| Box::new(Ended { verdict: verdict(failure), worked }))
    }
}

/// Returns what the end of a worker means for the next one.
fn verdict(failure: Failure) -> Verdict<Failure> {
    match failure {
        Failure::Fenced { .. } => Verdict::TakenOver(failure),
        Failure::Rebuild { source } => Verdict::Unanswered(Failure::Away { source }),
        other => Verdict::GiveUp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_is_built_again_after_a_takeover_or_a_broken_client_and_after_nothing_else() {
        let fenced = Failure::Fenced { source: "fenced".into() };
        assert!(matches!(verdict(fenced), Verdict::TakenOver(Failure::Fenced { .. })));
        let rebuild = Failure::Rebuild { source: "no answer".into() };
        assert!(matches!(verdict(rebuild), Verdict::Unanswered(Failure::Away { .. })), "in the end Kafka is away");
        let refused = Failure::Refused { problem: "wrong password".to_owned() };
        assert!(matches!(verdict(refused), Verdict::GiveUp(Failure::Refused { .. })));
        let away = Failure::Away { source: "no answer to a restore".into() };
        assert!(matches!(verdict(away), Verdict::GiveUp(Failure::Away { .. })));
    }
}
