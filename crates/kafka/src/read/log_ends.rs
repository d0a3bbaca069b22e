//! Log ends that count open transactions, from a client that reads uncommitted records.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;

use crate::librdkafka::context::{PlainContext, Reports};
use crate::librdkafka::settings::Settings;
use crate::values::LogEnds;

/// A client that asks for log ends, open transactions included.
pub struct Probe {
    base: BaseConsumer<PlainContext>,
}

impl Probe {
    pub fn new(settings: &Settings, reports: Arc<Reports>) -> KafkaResult<Probe> {
        Ok(Probe { base: settings.probe().create_with_context(PlainContext { reports })? })
    }

    /// Returns the first and the next offset of a log. Costs a round trip.
    pub fn log_ends(&self, topic: &str, partition: i32, timeout: Duration) -> KafkaResult<LogEnds> {
        log_ends(&self.base, topic, partition, timeout)
    }

    /// Serves the client's events: log lines and errors.
    pub fn serve(&self) {
        serve(&self.base);
    }
}

/// Asks for the ends of a log. A client that reads committed records gets the last stable offset as the end.
pub(crate) fn log_ends(
    base: &BaseConsumer<PlainContext>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> KafkaResult<LogEnds> {
    let (start, end) = base.fetch_watermarks(topic, partition, timeout)?;
    Ok(LogEnds { start, end })
}

/// Serves log lines and errors of a client that is not being read, which would otherwise pile up.
pub(crate) fn serve(client: &BaseConsumer<PlainContext>) {
    /// More than arrive between two calls.
    const EVENTS: usize = 8;
    for _ in 0..EVENTS {
        // The context has taken the error already.
        drop(client.poll(Duration::ZERO));
    }
}
