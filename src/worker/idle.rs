//! Partitions on which nothing comes in: their clocks go on, and their offsets pass what is not a record.

use std::time::Duration;

use tracing::debug;

use super::{Failure, Now, Owned, Worker, begin};
use crate::metrics;
use crate::partition::Partition;
use livesession_kafka::{Broker, ConsumerError};

/// How long idle partitions are left alone after a broker did not say where a log ends: waiting for it stalls the others.
const IDLE_PAUSE: Duration = Duration::from_secs(10);

impl<B: Broker> Worker<'_, B> {
    /// Advances the clocks of idle partitions (rule: clock), each in a transaction like everything else.
    ///
    /// Passes the markers behind their last records too: the offset before them is one that retention will delete, and a
    /// worker that begins there is told that it has missed something.
    pub(super) fn punctuate(&mut self, now: Now) -> Result<(), Failure> {
        if now.elapsed < self.idle_not_before {
            return Ok(());
        }
        for (partition, owned) in &mut self.owned {
            let Owned::Running(running) = owned else { continue };
            if now.elapsed.saturating_sub(running.moved) < self.settings.idle_after {
                continue;
            }
            let behind = self.broker.position(*partition).filter(|next| *next > running.state.next_offset());
            if let Some(next) = behind {
                begin(self.broker, &mut self.transaction)?.touch(*partition, &mut running.state);
                running.state.pass(next);
            }
            if !running.state.would_punctuate(now.wall) {
                continue;
            }
            match is_read_to_its_end(self.broker, *partition, &running.state) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(ConsumerError::Retry { .. }) => {
                    // Each question without an answer holds up all partitions. The next one goes to the next partition.
                    debug!(partition, "nobody says where the log of an idle partition ends");
                    running.moved = now.elapsed;
                    self.idle_not_before = now.elapsed + IDLE_PAUSE;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            begin(self.broker, &mut self.transaction)?.touch(*partition, &mut running.state);
            if running.state.punctuate(now.wall) {
                self.counts.advance(metrics::Advance::Punctuation);
                debug!(partition, watermark = %now.wall, "advanced the watermark of an idle partition");
            }
        }
        Ok(())
    }
}

/// Returns whether a partition is read to the end of its log, open transactions counted.
///
/// The end that a reader of committed records sees is not enough: behind an open transaction of a producer there may be
/// records that would be late once punctuation has moved the clock.
fn is_read_to_its_end<B: Broker>(broker: &B, partition: i32, state: &Partition) -> Result<bool, ConsumerError> {
    let ends = broker.log_ends(partition, Duration::from_secs(1))?;
    // Transaction markers take offsets that no record has; the consumer's position passes them.
    Ok(state.next_offset().max(broker.position(partition).unwrap_or(0)) >= ends.end)
}
