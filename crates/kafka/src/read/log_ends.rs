//! The ends of logs, as a client sees them that counts open transactions.

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

    /// Serves what the client has to say.
    pub fn serve(&self) {
        serve(&self.base);
    }
}

/// Asks for the ends of a log as the client sees them: one that reads committed records sees the last stable offset.
pub(crate) fn log_ends(
    base: &BaseConsumer<PlainContext>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> KafkaResult<LogEnds> {
    let (start, end) = base.fetch_watermarks(topic, partition, timeout)?;
    Ok(LogEnds { start, end })
}

/// Serves log lines and errors of a client that reads nothing now: nobody else takes them, and they would pile up.
pub(crate) fn serve(client: &BaseConsumer<PlainContext>) {
    /// More than come between two calls.
    const EVENTS: usize = 8;
    for _ in 0..EVENTS {
        // The context has taken the error already.
        drop(client.poll(Duration::ZERO));
    }
}
