//! Settings of each client, from what an operator may set.
//!
//! The guarantee rests on some properties (isolation, offsets, ids, the order of timeouts), so an operator cannot set them:
//! [`protected`] names them with the reason, and they are set last. All others pass through to librdkafka.
//!
//! | client | reads or writes | special |
//! | --- | --- | --- |
//! | consumer | the input, in the group | commits nothing by itself, never resets an offset |
//! | producer | the output, the changelog, the dead letters | transactional |
//! | reader | the changelog | assigned by hand, read committed, reports the end of a partition |
//! | probe | log ends only | read uncommitted: open transactions count |
//! | admin | topics | |
//!
//! Reads no file. Reports all problems at once.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::BaseProducer;
use secrecy::{ExposeSecret, SecretString};

use crate::fault::Safeguards;
use crate::librdkafka::properties::{Problem, Property, SECRET, protected};

/// The settings of the clients of one worker.
#[derive(Clone)]
pub struct Settings {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    pub security_protocol: SecurityProtocol,
    /// Empty: none.
    pub sasl_mechanism: String,
    /// Empty: none.
    pub username: String,
    pub password: Option<SecretString>,
    /// PEM files, by path; `None`: the system's authorities, no client certificate.
    pub ca_file: Option<String>,
    pub certificate_file: Option<String>,
    pub key_file: Option<String>,
    pub group: String,
    /// Stable across restarts, and used by one worker only.
    pub transactional_id: String,
    /// Static membership, `None` by default: with it, partitions of a dead worker wait for the session timeout.
    pub group_instance_id: Option<String>,
    pub transaction_timeout: Duration,
    pub session_timeout: Duration,
    pub max_poll_interval: Duration,
    /// The maximum size of a produced record: key, value and headers.
    pub max_record_bytes: u32,
    /// For every client.
    pub properties: Vec<Property>,
    pub consumer_properties: Vec<Property>,
    pub producer_properties: Vec<Property>,
    pub safeguards: Safeguards,
}

/// The protocol of a connection to a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// librdkafka's own defaults, from which the duration of a suspicious commit follows.
const DEFAULT_RETRY_BACKOFF: Duration = Duration::from_millis(100);
const DEFAULT_RETRY_BACKOFF_MAX: Duration = Duration::from_secs(1);

impl Settings {
    /// Returns settings for `brokers` with every default.
    pub fn new(brokers: &str, group: &str, transactional_id: &str) -> Settings {
        Settings {
            brokers: brokers.split(',').map(str::to_owned).collect(),
            security_protocol: SecurityProtocol::Plaintext,
            sasl_mechanism: String::new(),
            username: String::new(),
            password: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            group: group.to_owned(),
            transactional_id: transactional_id.to_owned(),
            group_instance_id: None,
            transaction_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(15),
            max_poll_interval: Duration::from_secs(60),
            max_record_bytes: 1_048_576,
            properties: Vec::new(),
            consumer_properties: Vec::new(),
            producer_properties: Vec::new(),
            safeguards: Safeguards::in_force(),
        }
    }

    /// Checks everything that can be checked without a broker.
    ///
    /// librdkafka knows names and ranges, so it checks each property by itself. Then both clients are created, because only
    /// that shows a mechanism that was not compiled in. Nothing connects.
    ///
    /// # Errors
    ///
    /// Every problem at once.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, setting: &str, text: String| {
            if !holds {
                problems.push(Problem::new(setting, text));
            }
        };
        let named = !self.brokers.is_empty() && self.brokers.iter().all(|broker| !broker.trim().is_empty());
        need(named, "brokers", "names no broker".to_owned());
        need(!self.group.is_empty(), "group", "is empty".to_owned());
        need(!self.transactional_id.is_empty(), "transactional_id", "is empty".to_owned());
        need(
            !self.security_protocol.is_sasl() || self.has_mechanism(),
            "sasl_mechanism",
            "is empty, and librdkafka's default (GSSAPI) is not compiled in: set PLAIN or SCRAM-SHA-256".to_owned(),
        );
        need(
            self.certificate_file.is_some() == self.key_file.is_some(),
            "certificate_file",
            "certificate and key come together".to_owned(),
        );
        let (transaction, session) = (self.transaction_timeout, self.session_timeout);
        need(
            transaction >= Duration::from_secs(1),
            "transaction_timeout",
            format!("{transaction:?} is shorter than 1 s: a commit over a slow link would never end in time"),
        );
        need(
            transaction <= session,
            "transaction_timeout",
            format!("{transaction:?} is longer than session_timeout {session:?}: partitions change hands under it"),
        );
        need(
            session <= self.max_poll_interval,
            "session_timeout",
            format!("{session:?} is longer than max_poll_interval {:?}", self.max_poll_interval),
        );
        for (name, value) in self.all_properties() {
            problems.extend(property_problem(name, value));
        }
        if problems.is_empty() {
            problems.extend(self.creation_problems());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Creates the clients whose settings differ, and drops them.
    fn creation_problems(&self) -> Vec<Problem> {
        let clients = [
            ("consumer", native_problem(&self.consumer()), created(self.consumer().create::<BaseConsumer>())),
            ("producer", native_problem(&self.producer()), created(self.producer().create::<BaseProducer>())),
        ];
        let mut problems = Vec::new();
        for (client, native, creation) in clients {
            match (native, creation) {
                (Err(found), _) => problems.push(found),
                (Ok(()), Err(text)) => problems.push(Problem::new(client, text)),
                (Ok(()), Ok(())) => {}
            }
        }
        problems
    }

    /// Returns the duration from which a commit is suspicious. A hidden retry waits for `retry.backoff.ms`, at most for
    /// `retry.backoff.max.ms`, less 20 % of jitter.
    pub fn suspicious_commit(&self) -> Duration {
        let set = |property: &str| {
            let mut properties = self.properties.iter().chain(&self.producer_properties).rev();
            properties.find(|(name, _)| name == property).and_then(|(_, ms)| ms.parse().ok()).map(Duration::from_millis)
        };
        let backoff = set("retry.backoff.ms").unwrap_or(DEFAULT_RETRY_BACKOFF);
        backoff.min(set("retry.backoff.max.ms").unwrap_or(DEFAULT_RETRY_BACKOFF_MAX)) * 8 / 10
    }

    /// Returns the maximum time without progress in a restore, after which a transaction counts as hanging.
    ///
    /// A broker aborts timed-out transactions in a sweep, by default every 10 s.
    pub fn restore_patience(&self) -> Duration {
        const SWEEPS: Duration = Duration::from_secs(20);
        self.transaction_timeout + SWEEPS
    }

    /// The group consumer of the input.
    pub fn consumer(&self) -> ClientConfig {
        let mut config = self.defaults();
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("fetch.wait.max.ms", "50")
            // At librdkafka's 1,000 a full queue stops fetching for a second.
            .set("fetch.queue.backoff.ms", "5")
            // Members learn about a rebalance from a heartbeat.
            .set("heartbeat.interval.ms", "1000");
        self.pass_through(&mut config, &self.consumer_properties);
        self.insist_on_reading(&mut config);
        config
            .set("session.timeout.ms", ms(self.session_timeout))
            .set("max.poll.interval.ms", ms(self.max_poll_interval))
            .set("statistics.interval.ms", "5000");
        if let Some(instance) = &self.group_instance_id {
            config.set("group.instance.id", instance);
        }
        config
    }

    /// The transactional producer.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.defaults();
        config
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .set("batch.size", "1048576")
            // A report of a successful delivery would be ignored.
            .set("delivery.report.only.error", "true");
        self.pass_through(&mut config, &self.producer_properties);
        config
            .set("transactional.id", &self.transactional_id)
            .set("transaction.timeout.ms", ms(self.transaction_timeout))
            // Above the transaction timeout, creation fails. Below it, a drain ends before the transaction does.
            .set("message.timeout.ms", ms(self.transaction_timeout * 8 / 10))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", self.max_record_bytes.to_string());
        config
    }

    /// The reader of the changelog. It names a group only because librdkafka assigns no partition without one.
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.defaults();
        config.set("fetch.wait.max.ms", "50").set("fetch.queue.backoff.ms", "5");
        self.pass_through(&mut config, &self.consumer_properties);
        self.insist_on_reading(&mut config);
        config.set("statistics.interval.ms", "0");
        config
    }

    /// The client that asks for log ends, open transactions included.
    pub fn probe(&self) -> ClientConfig {
        let mut config = self.defaults();
        self.pass_through(&mut config, &self.consumer_properties);
        config
            .set("isolation.level", "read_uncommitted")
            .set("socket.timeout.ms", ms(self.session_timeout))
            .set("statistics.interval.ms", "0");
        config.remove("group.id");
        config
    }

    /// The client that describes and creates topics.
    pub fn admin(&self) -> ClientConfig {
        let mut config = self.defaults();
        self.pass_through(&mut config, &[]);
        config
    }

    fn defaults(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", "livesession")
            .set("security.protocol", self.security_protocol.name())
            // At librdkafka's 10,000, doubled with each broken connection, a commit over a flapping link takes ten times as
            // long.
            .set("reconnect.backoff.max.ms", "1000");
        let password = self.password.as_ref().map(ExposeSecret::expose_secret);
        let optional = [
            ("sasl.mechanism", Some(self.sasl_mechanism.as_str())),
            ("sasl.username", Some(self.username.as_str())),
            ("sasl.password", password),
            ("ssl.ca.location", self.ca_file.as_deref()),
            ("ssl.certificate.location", self.certificate_file.as_deref()),
            ("ssl.key.location", self.key_file.as_deref()),
        ];
        for (name, value) in optional {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                config.set(name, value);
            }
        }
        config
    }

    fn pass_through(&self, config: &mut ClientConfig, own: &[Property]) {
        for (name, value) in self.properties.iter().chain(own) {
            if protected(name).is_none() {
                config.set(name, value);
            }
        }
    }

    fn insist_on_reading(&self, config: &mut ClientConfig) {
        config
            .set("group.id", &self.group)
            // At librdkafka's 60 s a half-open connection holds up the input for that long, and a restore runs out of
            // patience.
            .set("socket.timeout.ms", ms(self.session_timeout))
            .set("group.protocol", "classic")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            // A client that starts at the end of a log has no position: only this event tells that it is there.
            .set("enable.partition.eof", "true");
    }

    fn all_properties(&self) -> impl Iterator<Item = &Property> {
        self.properties.iter().chain(&self.consumer_properties).chain(&self.producer_properties)
    }

    fn has_mechanism(&self) -> bool {
        !self.sasl_mechanism.is_empty()
            || self.all_properties().any(|(name, _)| name == "sasl.mechanism" || name == "sasl.mechanisms")
    }
}

impl fmt::Debug for Settings {
    /// Writes no password, and no value of a property, which may be one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.all_properties().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("transactional_id", &self.transactional_id)
            .field("properties", &names)
            .finish_non_exhaustive()
    }
}

impl SecurityProtocol {
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        }
    }

    /// Returns the protocol of that name, as [`SecurityProtocol::name`] writes it.
    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        use SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
        [Plaintext, Ssl, SaslPlaintext, SaslSsl].into_iter().find(|protocol| protocol.name() == name)
    }

    fn is_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

/// Returns the problem with a property that an operator sets: it is protected, or librdkafka does not accept it.
pub fn property_problem(name: &str, value: &str) -> Option<Problem> {
    match protected(name) {
        Some(reason) => Some(Problem::new(name, format!("cannot be set: {reason}"))),
        None => native_problem(ClientConfig::new().set(name, value)).err(),
    }
}

/// Lets librdkafka check the names and ranges of a configuration.
fn native_problem(config: &ClientConfig) -> Result<(), Problem> {
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, _, name, _)) if SECRET.contains(&name.as_str()) => {
            Err(Problem::new(&name, "is not a value that librdkafka accepts".to_owned()))
        }
        Err(KafkaError::ClientConfig(_, description, name, _)) => Err(Problem::new(&name, description)),
        Err(error) => Err(Problem::new("properties", error.to_string())),
    }
}

fn created<T>(client: KafkaResult<T>) -> Result<(), String> {
    match client {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientCreation(text)) => Err(text),
        Err(error) => Err(error.to_string()),
    }
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests;
