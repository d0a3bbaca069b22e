//! librdkafka's in-process broker, for `demo`.
//!
//! It persists nothing, stores no transactional offsets, hides no aborted record and fences no producer, so it proves nothing
//! about exactly-once. It speaks the protocol, which is enough to see the program work without Kafka.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use crate::values::Cause;

/// The maximum time for delivery to this broker, which is a thread of the same process.
const DELIVERY: Duration = Duration::from_secs(5);

/// A broker in this process, with a producer that writes to it.
pub struct InProcess {
    // Dropped before the broker that it writes to.
    producer: BaseProducer,
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl InProcess {
    /// Starts a broker with topics of one partition each. It listens on loopback, and stops when this value is dropped.
    pub fn start(topics: &[&str]) -> Result<InProcess, Cause> {
        let create = || -> KafkaResult<InProcess> {
            let cluster = MockCluster::new(1)?;
            for topic in topics {
                cluster.create_topic(topic, 1, 1)?;
            }
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", cluster.bootstrap_servers()).set("linger.ms", "0");
            Ok(InProcess { producer: config.create()?, cluster })
        };
        Ok(create()?)
    }

    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Writes a record and waits until the broker has it. `timestamp` is in ms.
    pub fn produce(&self, topic: &str, key: &str, value: &[u8], timestamp: i64) -> Result<(), Cause> {
        let record = BaseRecord::to(topic).key(key).payload(value).timestamp(timestamp);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(self.producer.flush(DELIVERY)?)
    }
}
