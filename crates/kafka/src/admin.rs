//! Descriptions of topics, and their creation.
//!
//! For the checks at start and for an operator's commands, never for the data path: each call waits for its answer. The
//! caller decides which topics there should be, and with which settings.

use std::collections::btree_map::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaRespErr;

use crate::error::ReadError;
use crate::librdkafka::codes::code;
use crate::librdkafka::context::{PlainContext, Reports};
use crate::librdkafka::settings::Settings;
use crate::read::failure::{not_created, sort};

/// A topic as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: u32,
    pub replicas: u32,
    /// Settings by name (`cleanup.policy`, `max.message.bytes`…), defaults included.
    pub settings: BTreeMap<String, String>,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopicSettings {
    pub name: String,
    pub partitions: u32,
    /// `None`: the cluster's default.
    pub replicas: Option<u32>,
    pub settings: Vec<(String, String)>,
}

/// The outcome of creating a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Created,
    Existed,
}

/// A client that describes and creates topics.
pub struct Admin {
    client: AdminClient<PlainContext>,
    /// Requests metadata. rdkafka's admin client is a producer, for which a broker may create the topic, and it cannot be
    /// polled for the reason of a refusal.
    metadata_client: BaseConsumer<PlainContext>,
    reports: Arc<Reports>,
    timeout: Duration,
}

impl Admin {
    /// Creates the client. Each request may take up to `timeout`.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Admin, ReadError> {
        let reports = Arc::new(Reports::default());
        let context = || PlainContext { reports: Arc::clone(&reports) };
        let create = || -> KafkaResult<Admin> {
            let client = settings.admin().create_with_context(context())?;
            let metadata_client = settings.probe().create_with_context(context())?;
            Ok(Admin { client, metadata_client, reports: Arc::clone(&reports), timeout })
        };
        create().map_err(|error| not_created("could not create the client that describes topics", error))
    }

    /// Returns a topic, or `None` if the cluster has none of that name.
    pub fn topic(&self, name: &str) -> Result<Option<Topic>, ReadError> {
        let problem = || format!("could not describe topic {name:?}");
        let metadata = self.metadata(name).map_err(|error| self.sort(problem(), error))?;
        let Some(found) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        match found.error() {
            None | Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR) => {}
            Some(
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
            ) => return Ok(None),
            Some(error) => return Err(self.sort(problem(), KafkaError::MetadataFetch(error.into()))),
        }
        let partitions = found.partitions();
        let settings = self.settings_of(name).map_err(|error| self.sort(problem(), error))?;
        if settings.is_empty() {
            // rdkafka drops the broker's error: a topic without settings is one whose settings we are not allowed to see.
            // Returned as it is, each of its settings would seem to be wrong.
            let reason = format!("not allowed to see the settings of topic {name:?}: allow DescribeConfigs on it");
            return Err(ReadError::Refused { reason });
        }
        Ok(Some(Topic {
            name: name.to_owned(),
            partitions: partitions.len() as u32,
            replicas: partitions.first().map_or(0, |partition| partition.replicas().len() as u32),
            settings,
        }))
    }

    /// Creates a topic, unless it exists: then nothing is changed.
    pub fn create(&self, topic: &NewTopicSettings) -> Result<Creation, ReadError> {
        let problem = || format!("could not create topic {:?}", topic.name);
        // -1: the cluster's default.
        let replicas = topic.replicas.map_or(-1, |replicas| replicas as i32);
        let replication = TopicReplication::Fixed(replicas);
        let mut new = NewTopic::new(&topic.name, topic.partitions as i32, replication);
        for (name, value) in &topic.settings {
            new = new.set(name, value);
        }
        // Before anything is created: only this client says why a login fails.
        self.metadata(&topic.name).map_err(|error| self.sort(problem(), error))?;
        let results = block_on(self.client.create_topics([&new], &self.options()));
        match results.map_err(|error| self.sort(problem(), error))?.pop() {
            Some(Ok(_)) => {
                self.wait_for(&topic.name);
                Ok(Creation::Created)
            }
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Creation::Existed),
            Some(Err((_, code))) => Err(self.sort(problem(), KafkaError::AdminOp(code))),
            None => Err(self.sort(problem(), KafkaError::Canceled)),
        }
    }

    /// Waits until the broker that answers us knows a topic that the controller has created, which takes a moment.
    fn wait_for(&self, topic: &str) {
        let deadline = Instant::now() + self.timeout;
        let is_known = || {
            let metadata = self.metadata(topic);
            metadata.is_ok_and(|found| found.topics().iter().any(|found| found.error().is_none()))
        };
        while !is_known() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Requests metadata in short attempts, since the reason for a refusal comes only by polling.
    fn metadata(&self, topic: &str) -> KafkaResult<Metadata> {
        const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
        let deadline = Instant::now() + self.timeout;
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            let result = self.metadata_client.fetch_metadata(Some(topic), remaining.min(ATTEMPT_TIMEOUT));
            if result.is_err() {
                self.serve();
            }
            if result.is_ok() || self.reports.refusal().is_some() || Instant::now() >= deadline {
                return result;
            }
        }
    }

    /// Serves errors for a moment.
    fn serve(&self) {
        for _ in 0..10 {
            // The context has taken the error already.
            drop(self.metadata_client.poll(Duration::from_millis(1)));
        }
    }

    /// Returns the settings of a topic. Retries after a broken connection, which librdkafka does for metadata but not here.
    fn settings_of(&self, name: &str) -> KafkaResult<BTreeMap<String, String>> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.describe(name) {
                Err(KafkaError::AdminOp(RDKafkaErrorCode::BrokerTransportFailure)) if Instant::now() < deadline => {
                    self.serve();
                }
                result => return result,
            }
        }
    }

    fn describe(&self, name: &str) -> KafkaResult<BTreeMap<String, String>> {
        let described = block_on(self.client.describe_configs([&ResourceSpecifier::Topic(name)], &self.options()))?;
        let mut settings = BTreeMap::new();
        for resource in described {
            for entry in resource.map_err(KafkaError::AdminOp)?.entries {
                if let Some(value) = entry.value {
                    settings.insert(entry.name, value);
                }
            }
        }
        Ok(settings)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    fn sort(&self, problem: String, error: KafkaError) -> ReadError {
        use RDKafkaErrorCode as Code;
        self.serve();
        let rejected = matches!(
            code(&error),
            Some(
                Code::InvalidTopic
                    | Code::InvalidPartitions
                    | Code::InvalidReplicationFactor
                    | Code::InvalidConfig
                    | Code::InvalidRequest
                    | Code::PolicyViolation
            )
        );
        match sort(&self.reports, problem, error) {
            ReadError::Unavailable { problem, source } if rejected => ReadError::Rejected { problem, source },
            sorted => sorted,
        }
    }
}

/// Waits for an answer, which a thread of librdkafka delivers.
///
/// No dependency has an executor, and the smallest one, pollster, saves a system call with unsafe code, which this crate
/// keeps to one file.
fn block_on<T>(answer: impl Future<Output = KafkaResult<T>>) -> KafkaResult<T> {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut answer = std::pin::pin!(answer);
    loop {
        if let std::task::Poll::Ready(result) = answer.as_mut().poll(&mut context) {
            return result;
        }
        // The request has a timeout, so this ends.
        std::thread::park();
    }
}
