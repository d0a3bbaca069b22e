//! `livesession config check --online`: every check that needs a broker, in one run.

use livesession_kafka::admin::{Creation, NewTopicSettings};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::PATIENCE;
use crate::kafka::support::program::Deployment;
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("right_configuration_is_described", right),
    test("sample_is_the_newest_records_of_every_partition", newest),
    test("wrong_topic_and_wrong_records_are_told_at_once", wrong),
    Test { name: "broker_that_is_away_is_exit_69", body: Body::Plain(away) },
];

const CHECK: &[&str] = &["config", "check", "--online"];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

/// Writes records of a stream to a partition of the input.
fn write(deployment: &Deployment, partition: i32, count: usize, value: &str) {
    let brokers = deployment.config.kafka.brokers.join(",");
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    for _ in 0..count {
        producer
            .send(BaseRecord::to(&deployment.config.topics.input).partition(partition).key("k").payload(value))
            .unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// A push that started, which is a hint.
fn hint(stream: &str) -> String {
    format!(r#"{{"event_type":1,"stream_id":"{stream}","event_time":1740000000,"stream_param":"secret"}}"#)
}

fn right(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let empty = deployment.ok(CHECK);
    assert!(empty.contains("sample: the input is empty\n"), "{empty}");
    write(&deployment, 0, 3, &hint("a"));
    write(&deployment, 1, 2, &hint("b"));
    write(&deployment, 1, 1, r#"{"event_type":1}"#);
    let text = deployment.ok(CHECK);
    let input = format!("topics.input {}: 2 partitions, 1 replica\n", deployment.config.topics.input);
    for expected in [
        input.as_str(),
        "capacity: 1 worker here; more than 2 in all processes would stand idle\n",
        "state: a million segments, each remembered for 48h 3m: about ",
        "6 newest records of 2 streams: 0 segments, 5 hints, 0 other events, 1 refused (no_stream 1, 16.6 %)\n",
        "no problems\n",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let many = deployment.ok(&[CHECK, &["--workers", "3"]].concat());
    assert!(many.contains("3 workers here, and 1 of them idle"), "{many}");
}

fn newest(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    // Out of 1,000, each of two partitions has a share of 500.
    write(&deployment, 0, 100, "{}");
    write(&deployment, 0, 500, &hint("a"));
    write(&deployment, 1, 10, &hint("b"));
    let text = deployment.ok(CHECK);
    assert!(text.contains("sample: 510 newest records of 2 streams: 0 segments, 510 hints, "), "{text}");
    write(&deployment, 0, 1, "{}");
    let text = deployment.ok(CHECK);
    assert!(text.contains("sample: 510 newest records of 2 streams: 0 segments, 509 hints, "), "{text}");
}

fn wrong(broker: &Broker) {
    let deployment = Deployment::new(broker);
    let input = NewTopicSettings {
        name: deployment.config.topics.input.clone(),
        partitions: 2,
        replicas: Some(1),
        settings: Vec::new(),
    };
    let admin = deployment.admin();
    assert_eq!(admin.create(&input).unwrap(), Creation::Created);
    assert!(wait_until(PATIENCE, || admin.topic(&input.name).unwrap().is_some()));
    write(&deployment, 0, 1, &hint("a"));
    write(&deployment, 1, 1, &hint("a"));
    write(&deployment, 1, 3, "no json");
    let run = deployment.run(CHECK);
    assert_eq!(run.code, 78);
    for expected in [
        "error: 6 problems with the topics",
        "-output (topics.output) does not exist",
        "has 1 of 1 streams on more than one partition, for instance at 0/0 and 1/0",
        "of which more than half would be refused (not_json 3, 60.0 %)",
    ] {
        assert!(run.stderr.contains(expected), "{expected} is not in {}", run.stderr);
    }
    assert!(!run.stdout.contains("secret") && !run.stderr.contains("secret"));
    assert!(run.stdout.contains("sample: 5 newest records"), "what was found is told too: {}", run.stdout);
}

fn away() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let run = Deployment::at(&format!("127.0.0.1:{port}")).run(CHECK);
    assert_eq!((run.code, run.stdout.as_str()), (69, ""));
    assert!(run.stderr.contains("error: Kafka did not answer"), "{}", run.stderr);
}
