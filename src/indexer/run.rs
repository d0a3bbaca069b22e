//! The loop of an indexer: open, turn until told to stop, and begin again when that helps.
//!
//! | it ended because | then |
//! | --- | --- |
//! | it was told to stop | commit, checkpoint, close |
//! | the file was filled anew or replaced, the topic got partitions, the reader lost its place | begin again: the start checks decide |
//! | Kafka does not answer at the start | back off, at most [`PATIENCE`] |
//! | anything else | stop at once |
//!
//! [`PATIENCE`]: crate::service::supervisor::PATIENCE

use tracing::{error, info};

use super::failure::Failure;
use super::life::{End, Life};
use super::thread::Thread;
use crate::clock;
use crate::service::supervisor::{Ended, Messages, Verdict};
use crate::text::chain;

/// What the log says before the index is opened again.
const MESSAGES: Messages = Messages { unanswered: "indexer waits for Kafka", again: "opening the index again" };

impl Thread {
    /// Indexes until told to stop.
    ///
    /// # Errors
    ///
    /// Whatever beginning again does not repair.
    pub fn run(&self) -> Result<(), Failure> {
        let alive = || self.health.turned(clock::now());
        let ended = self.supervisor(&alive).run(MESSAGES, || {
            let mut worked = false;
            self.live(&mut worked).map_err(|end| {
                // While Kafka is away an index that is open answers.
                if !matches!(end, End::Stop(Failure::Away { .. })) {
                    self.health.set_open(false);
                }
                Box::new(Ended { verdict: verdict(end), worked })
            })
        });
        ended.inspect_err(|failure| error!(error = %chain(failure), "indexer stopped"))
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
}

/// Returns what the end of a life means for the next one.
fn verdict(end: End) -> Verdict<Failure> {
    match end {
        End::Again { why } => Verdict::Again { why },
        End::Stop(failure @ Failure::Away { .. }) => Verdict::Unanswered(failure),
        End::Stop(failure) => Verdict::GiveUp(failure),
    }
}
