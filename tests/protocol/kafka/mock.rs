//! The error state machine against librdkafka's mock: every call, every kind of response, the action expected of the worker.
//!
//! The mock answers a request with whatever code it is told. It fences nobody, hides nothing and stores no transactional
//! offset, so nothing here says that exactly once holds: that is for the real broker.

use std::sync::Arc;
use std::time::Duration;

use livesession_kafka::consumer::Consumer;
use livesession_kafka::context::Reports;
use livesession_kafka::settings::Settings;
use livesession_kafka::transaction::Transactions;
use livesession_kafka::{Outgoing, TransactionError as Error};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata, DefaultConsumerContext};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey as Api;
use rdkafka::types::RDKafkaRespErr as Code;

use crate::kafka::support::broker::wait_until;
use crate::kafka::support::fixture::{outgoing, timed};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("every_answer_to_a_commit_has_one_meaning", commits),
    test("every_answer_to_an_abort_has_one_meaning", aborts),
    test("every_answer_to_an_init_has_one_meaning", inits),
    test("unknown_outcome_is_not_survived", unknown_outcome),
    test("failed_delivery_replaces_the_producer", failed_delivery),
    test("failed_delivery_replaces_the_producer_after_an_abort_too", failed_delivery_then_abort),
    test("honest_abort_keeps_the_producer", honest_abort),
    test("error_of_one_offset_is_not_taken_for_no_offset", offset_error),
    test("begun_transaction_is_not_begun_again", second_begin),
    test("refused_commit_replaces_the_producer", refused_commit),
    test("slow_commit_replaces_the_producer", slow_commit),
    test("slow_abort_replaces_the_producer", slow_abort),
    test("offsets_sent_twice_replace_the_producer", repeated_offsets),
    test("reported_error_replaces_the_producer", reported_error),
    test("honest_commit_keeps_the_producer", honest_commit),
    test("full_queue_is_served", full_queue),
    test("silent_broker_is_given_up_at_the_deadline", silent_broker),
    test("records_that_nobody_takes_are_given_up_at_the_deadline", silent_leader),
    test("coordinator_that_does_not_decide_is_given_up_at_the_deadline", silent_coordinator),
];

const fn test(name: &'static str, body: fn()) -> Test {
    Test { name, body: Body::Plain(body) }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(1);

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Abort,
    Rebuild,
    Fenced,
    Refused,
    Stop,
}
use Outcome::{Abort, Done, Fenced, Rebuild, Refused};

fn outcome(result: &Result<(), Error>) -> Outcome {
    match result {
        Ok(()) => Done,
        Err(Error::Abort { .. }) => Abort,
        Err(Error::Rebuild { .. }) => Rebuild,
        Err(Error::Fenced { .. }) => Fenced,
        Err(Error::Refused { .. }) => Refused,
        Err(Error::Stop { .. }) => Outcome::Stop,
    }
}

/// A mock cluster with two topics, and the membership of a consumer outside of the group.
struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    outsider: BaseConsumer<DefaultConsumerContext>,
}

impl World {
    fn new() -> World {
        let cluster = MockCluster::new(1).unwrap();
        for topic in ["input", "output"] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        let outsider = Settings::new(&cluster.bootstrap_servers(), "group", "outsider").reader().create().unwrap();
        World { cluster, outsider }
    }

    fn settings(&self) -> Settings {
        let mut settings =
            Settings::new(&self.cluster.bootstrap_servers(), "group", &crate::kafka::support::fixture::unique());
        settings.transaction_timeout = Duration::from_secs(5);
        settings
    }

    fn init(&self) -> Transactions {
        self.init_with(&self.settings())
    }

    fn init_with(&self, settings: &Settings) -> Transactions {
        Transactions::init(settings, "input", Arc::new(Reports::default()), TIMEOUT).unwrap()
    }

    fn member(&self) -> ConsumerGroupMetadata {
        self.outsider.group_metadata().unwrap()
    }

    fn commit(&self, transactions: &Transactions) -> Result<(), Error> {
        transactions.commit(&[(0, 1)], &self.member(), TIMEOUT)
    }

    /// Returns a producer with an open transaction of one delivered record.
    fn begun(&self) -> Transactions {
        let transactions = self.init();
        transactions.begin().unwrap();
        transactions.send(&record()).unwrap();
        // A transaction that the coordinator does not know yet is aborted without asking it.
        for _ in 0..100 {
            transactions.serve();
        }
        transactions
    }
}

fn record() -> Outgoing<'static> {
    outgoing("output", 0, "key", Some("value"))
}

/// Compares a whole table, so that a failure shows all of it.
fn assert_table<T: std::fmt::Debug>(rows: &[(Api, T, Outcome)], mut run: impl FnMut(Api, &T) -> Result<(), Error>) {
    let mut wrong = Vec::new();
    for (api, code, expected) in rows {
        let result = run(*api, code);
        if outcome(&result) != *expected {
            wrong.push(format!("{api:?} {code:?}: expected {expected:?}, got {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn commits() {
    use Code::*;
    let world = World::new();
    let rows = [
        (Api::Produce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, Abort),
        (Api::Produce, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, Fenced),
        (Api::Produce, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Done),
        (Api::Produce, RD_KAFKA_RESP_ERR__TRANSPORT, Done),
        (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, Done),
        (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Refused),
        (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, Fenced),
        (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Rebuild),
        (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, Done),
        (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, Done),
        (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, Fenced),
        (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Rebuild),
        (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Refused),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, Abort),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, Abort),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, Abort),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Refused),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, Done),
        (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR__TRANSPORT, Done),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, Fenced),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, Fenced),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, Abort),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Rebuild),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Refused),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Done),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, Done),
        (Api::EndTxn, RD_KAFKA_RESP_ERR__TRANSPORT, Done),
    ];
    assert_table(&rows, |api, code| {
        let transactions = world.init();
        transactions.begin().unwrap();
        world.cluster.request_errors(api, &[*code]);
        transactions.send(&record()).unwrap();
        let result = world.commit(&transactions);
        world.cluster.clear_request_errors(api);
        result
    });
}

fn aborts() {
    use Code::*;
    let world = World::new();
    let rows = [
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, Fenced),
        // Taken over by a new producer, which aborts as well.
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Done),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, Done),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Refused),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Done),
        (Api::EndTxn, RD_KAFKA_RESP_ERR__TRANSPORT, Done),
    ];
    assert_table(&rows, |api, code| {
        let transactions = world.begun();
        world.cluster.request_errors(api, &[*code]);
        let result = transactions.abort();
        world.cluster.clear_request_errors(api);
        if result.is_ok() {
            transactions.begin().unwrap();
            transactions.send(&record()).unwrap();
            world.commit(&transactions).unwrap();
        } else {
            assert_eq!(outcome(&transactions.begin()), Outcome::Stop, "{result:?}");
        }
        result
    });
}

fn inits() {
    use Code::*;
    let world = World::new();
    let rows = [
        (Api::InitProducerId, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, Done),
        (Api::InitProducerId, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, Done),
        (Api::InitProducerId, RD_KAFKA_RESP_ERR__TRANSPORT, Done),
        (Api::InitProducerId, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Refused),
        (Api::InitProducerId, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, Refused),
        (Api::InitProducerId, RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, Rebuild),
        (Api::FindCoordinator, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Done),
        (Api::FindCoordinator, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Refused),
    ];
    assert_table(&rows, |api, code| {
        world.cluster.request_errors(api, &[*code]);
        let result = Transactions::init(&world.settings(), "input", Arc::new(Reports::default()), TIMEOUT);
        world.cluster.clear_request_errors(api);
        result.map(drop)
    });
}

fn unknown_outcome() {
    let world = World::new();
    let transactions = world.begun();
    world.cluster.request_errors(Api::EndTxn, &[Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE]);
    assert_eq!(outcome(&world.commit(&transactions)), Rebuild);
    assert_eq!(outcome(&transactions.abort()), Done, "there is nothing left to abort");
    assert_eq!(outcome(&transactions.begin()), Outcome::Stop);
}

fn second_begin() {
    let world = World::new();
    let transactions = world.begun();
    assert_eq!(outcome(&transactions.begin()), Outcome::Stop);
    world.commit(&transactions).unwrap();
}

/// Asserts that the next transaction has another producer, which leaves no doubt.
fn assert_replaced(transactions: &Transactions) {
    assert!(transactions.needs_replacement());
    transactions.begin().unwrap();
    assert!(!transactions.needs_replacement());
}

fn failed_delivery() {
    let world = World::new();
    let transactions = world.begun();
    assert!(!transactions.needs_replacement());
    world.cluster.request_errors(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    transactions.send(&record()).unwrap();
    let error = world.commit(&transactions).unwrap_err();
    let Error::Abort { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("size too large"), "{source}");
    transactions.abort().unwrap();
    assert_replaced(&transactions);
}

/// The abort itself is quick, and no error is reported.
fn failed_delivery_then_abort() {
    let world = World::new();
    let transactions = world.begun();
    world.cluster.request_errors(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    transactions.send(&record()).unwrap();
    let is_noticed = wait_until(TIMEOUT, || {
        transactions.serve();
        transactions.needs_replacement()
    });
    assert!(is_noticed, "the delivery did not fail");
    transactions.abort().unwrap();
    assert_replaced(&transactions);
}

/// As if the group had no offset, the partition would be begun anew.
fn offset_error() {
    let world = World::new();
    let consumer = Consumer::join(&world.settings(), "input", Arc::new(Reports::default())).unwrap();
    assert_eq!(consumer.committed(&[0], TIMEOUT).unwrap(), [(0, None)].into());
    // Of which only the first one is there.
    let error = consumer.committed(&[0, 7], TIMEOUT).unwrap_err();
    assert!(error.to_string().contains("Unknown topic or partition"), "{error}");
}

/// What an abort drops from the queue has not failed.
fn honest_abort() {
    let world = World::new();
    let transactions = world.begun();
    let (result, took) = timed(|| {
        transactions.send(&record()).unwrap();
        transactions.abort()
    });
    result.unwrap();
    transactions.serve();
    assert!(!transactions.needs_replacement() || took >= Duration::from_millis(80), "{took:?}");
}

/// Offsets that were refused may have been sent twice, and the other time may come late.
fn refused_commit() {
    let world = World::new();
    let transactions = world.begun();
    world.cluster.request_errors(Api::TxnOffsetCommit, &[Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION]);
    assert_eq!(outcome(&world.commit(&transactions)), Abort);
    transactions.abort().unwrap();
    assert_replaced(&transactions);
}

/// Commits a transaction of which librdkafka sends one request again and says nothing.
fn assert_repetition_is_noticed(api: Api, answer: Code) {
    let world = World::new();
    let transactions = world.begun();
    world.cluster.request_errors(api, &[answer]);
    world.commit(&transactions).unwrap();
    assert_replaced(&transactions);
}

/// The request is swallowed with its connection.
fn slow_commit() {
    assert_repetition_is_noticed(Api::EndTxn, Code::RD_KAFKA_RESP_ERR__TRANSPORT);
}

fn slow_abort() {
    let world = World::new();
    let transactions = world.begun();
    world.cluster.request_errors(Api::EndTxn, &[Code::RD_KAFKA_RESP_ERR__TRANSPORT]);
    transactions.abort().unwrap();
    assert_replaced(&transactions);
}

/// The commit itself is quick, and no error is reported.
fn repeated_offsets() {
    assert_repetition_is_noticed(Api::TxnOffsetCommit, Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
}

/// Between two transactions, where no call fails.
fn reported_error() {
    let world = World::new();
    let transactions = world.begun();
    world.commit(&transactions).unwrap();
    world.cluster.broker_down(-1).unwrap();
    let is_noticed = wait_until(TIMEOUT, || {
        transactions.serve();
        transactions.needs_replacement()
    });
    assert!(is_noticed, "nothing was reported");
    world.cluster.broker_up(-1).unwrap();
    assert_replaced(&transactions);
}

fn honest_commit() {
    let world = World::new();
    let transactions = world.init();
    for _ in 0..5 {
        transactions.begin().unwrap();
        transactions.send(&record()).unwrap();
        let (result, took) = timed(|| world.commit(&transactions));
        result.unwrap();
        // On a machine that is busy elsewhere even an honest commit can look suspicious.
        assert!(!transactions.needs_replacement() || took >= Duration::from_millis(80), "{took:?}");
    }
}

fn full_queue() {
    let world = World::new();
    let mut settings = world.settings();
    settings.producer_properties.push(("queue.buffering.max.messages".to_owned(), "100".to_owned()));
    let transactions = world.init_with(&settings);
    transactions.begin().unwrap();
    for _ in 0..1_000 {
        transactions.send(&record()).unwrap();
    }
    world.commit(&transactions).unwrap();
}

fn silent_broker() {
    let world = World::new();
    let transactions = world.begun();
    world.cluster.broker_down(-1).unwrap();
    let (result, took) = timed(|| transactions.commit(&[(0, 1)], &world.member(), SHORT));
    assert_eq!(outcome(&result), Rebuild, "{result:?}");
    assert!(took < SHORT + Duration::from_secs(1), "{took:?}");
}

/// The coordinator is well, and the records would be tried until the transaction is too old.
fn silent_leader() {
    let world = World::new();
    let transactions = world.begun();
    world.cluster.request_errors(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1_000]);
    transactions.send(&record()).unwrap();
    let (result, took) = timed(|| transactions.commit(&[(0, 1)], &world.member(), SHORT));
    assert_eq!(outcome(&result), Abort, "{result:?}");
    assert!((SHORT..SHORT + Duration::from_secs(1)).contains(&took), "{took:?}");
}

/// librdkafka asks again for as long as nobody stops it.
fn silent_coordinator() {
    let world = World::new();
    let never = [Code::RD_KAFKA_RESP_ERR__TRANSPORT; 1_000];
    let transactions = world.begun();
    world.cluster.request_errors(Api::EndTxn, &never);
    let (result, took) = timed(|| transactions.commit(&[(0, 1)], &world.member(), SHORT));
    assert_eq!(outcome(&result), Rebuild, "{result:?}");
    assert!(took < SHORT + Duration::from_secs(1), "{took:?}");
    drop(transactions);
    world.cluster.clear_request_errors(Api::EndTxn);

    let transactions = world.begun();
    world.cluster.request_errors(Api::EndTxn, &never);
    let limit = world.settings().transaction_timeout;
    let (result, took) = timed(|| transactions.abort());
    assert_eq!(outcome(&result), Done, "taken over by a new producer, which aborts as well: {result:?}");
    assert!((limit..limit + Duration::from_secs(2)).contains(&took), "{took:?}");
}
