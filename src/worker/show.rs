//! The worker's gauges: watermarks, lag and sizes of its partitions.

use std::collections::BTreeSet;

use super::{Owned, Worker};
use crate::metrics::Sizes;
use livesession_kafka::Broker;

impl<B: Broker> Worker<'_, B> {
    /// Shows the watermarks of partitions after a commit.
    pub(super) fn show_watermarks(&self, touched: &BTreeSet<i32>) {
        for partition in touched {
            if let Some(Owned::Running(running)) = self.owned.get(partition)
                && let Some(watermark) = running.state.watermark()
            {
                self.metrics.set_watermark(*partition, watermark);
            }
        }
    }

    /// Shows how far each partition is behind its log's end.
    ///
    /// librdkafka's own figure never sees an offset that a transaction has committed. Where the client has read all there
    /// is the lag is 0, although the log may end in transaction markers that no record's offset reaches.
    pub(super) fn show_lag(&self) {
        for (partition, owned) in &self.owned {
            let Owned::Running(running) = owned else { continue };
            let Some(ends) = self.broker.known_ends(*partition) else { continue };
            let is_at_end = self.broker.position(*partition).is_some_and(|position| position >= ends.end);
            let lag = if is_at_end { 0 } else { ends.end - running.state.next_offset() };
            self.metrics.set_lag(*partition, lag.max(0).unsigned_abs());
        }
    }

    /// Shows what is in memory.
    pub(super) fn show_sizes(&self) {
        for (partition, owned) in &self.owned {
            let Owned::Running(running) = owned else { continue };
            let grouper = running.state.grouper();
            let open = grouper.count_open() as u64;
            let closed = (grouper.sessions() as u64).saturating_sub(open);
            self.metrics.set_sizes(*partition, Sizes { open, closed, bytes: grouper.state_bytes() });
        }
    }
}
