//! `livesession topics`, and what a worker checks at start, against a real broker.

use std::time::Duration;

use livesession::cli::Exit;
use livesession::deployment::TopicFacts;
use livesession::deployment::check::check_topics;
use livesession_kafka::admin::{Admin, Creation, NewTopicSettings};
use livesession_kafka::settings::Settings;

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::{PATIENCE, timed};
use crate::kafka::support::program::Deployment;
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("created_topics_pass_the_checks_at_start", create),
    test("second_create_changes_nothing", create_twice),
    test("dry_run_makes_nothing", dry_run),
    test("create_counts_the_partitions_of_an_input_that_exists", counted),
    test("create_leaves_a_wrong_topic_alone_and_says_how_to_repair_it", left_alone),
    test("missing_topics_are_told_all_at_once", missing),
    test("every_mismatch_is_told_all_at_once", mismatches),
    test("print_counts_the_partitions_of_the_input", print),
    Test { name: "broker_that_is_away_is_exit_69_after_one_wait", body: Body::Plain(away) },
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

const CREATE: &[&str] = &["topics", "create", "--with-input", "--partitions", "3", "--replication", "1"];

fn make(admin: &Admin, name: &str, partitions: u32, settings: &[(&str, &str)]) {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let topic = NewTopicSettings { name: name.to_owned(), partitions, replicas: Some(1), settings };
    assert_eq!(admin.create(&topic).unwrap(), Creation::Created);
    // Brokers hear of a topic a moment after it is made.
    assert!(wait_until(PATIENCE, || admin.topic(&topic.name).unwrap().is_some()));
}

fn outcomes(deployment: &Deployment, arguments: &[&str]) -> Vec<String> {
    let lines = deployment.json(arguments);
    lines.iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
}

fn create(broker: &Broker) {
    let deployment = Deployment::new(broker);
    assert_eq!(outcomes(&deployment, CREATE), ["created"; 5]);
    let expected = TopicFacts {
        input_partitions: 3,
        output_partitions: 3,
        dead_letter_partitions: 3,
        max_dead_letter_bytes: 1_048_588,
    };
    assert_eq!(check_topics(&deployment.config, &deployment.admin()).unwrap(), expected);
    let topics = deployment.topics();
    assert!(topics.iter().all(|topic| topic.partitions == 3 && topic.replicas == 1), "{topics:?}");
    let changelog = &topics[3].settings;
    for (name, value) in [
        ("cleanup.policy", "compact"),
        ("segment.ms", "600000"),
        ("min.cleanable.dirty.ratio", "0.2"),
        ("delete.retention.ms", "86400000"),
        ("max.message.bytes", "2097152"),
    ] {
        assert_eq!(changelog[name], value, "{name}");
    }
}

fn create_twice(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 3);
    let before = deployment.topics();
    assert_eq!(outcomes(&deployment, CREATE), ["exists"; 5]);
    let told = &deployment.json(&["topics", "create"])[0];
    assert!(told.get("partitions").is_none() && told.get("settings").is_none(), "what was wished for: {told}");
    assert_eq!(outcomes(&deployment, &["topics", "create"]), ["exists"; 4], "the input is not even looked at");
    assert_eq!(deployment.topics(), before);
}

fn dry_run(broker: &Broker) {
    let deployment = Deployment::new(broker);
    let arguments = [CREATE, &["--dry-run"]].concat();
    assert_eq!(outcomes(&deployment, &arguments), ["would_create"; 5]);
    assert_eq!(deployment.topics(), []);
}

fn counted(broker: &Broker) {
    let deployment = Deployment::new(broker);
    let refused = deployment.run(&["topics", "create"]);
    assert_eq!(refused.code, 78);
    assert!(refused.stderr.contains("-input (topics.input) does not exist: correct topics.input, or add --with-input"));
    make(&deployment.admin(), &deployment.config.topics.input, 2, &[("max.message.bytes", "3000000")]);
    let other = deployment.run(&["topics", "create", "--partitions", "3"]);
    assert_eq!(other.code, 78);
    assert!(other.stderr.contains("has 2 partitions, not 3: leave --partitions out"), "{}", other.stderr);
    assert_eq!(deployment.topics().len(), 1, "nothing was made");
    assert_eq!(outcomes(&deployment, &["topics", "create"]), ["created"; 4]);
    let facts = check_topics(&deployment.config, &deployment.admin()).unwrap();
    assert_eq!((facts.input_partitions, facts.output_partitions), (2, 2));
    // What the producer takes is less than what the topic would.
    assert_eq!(facts.max_dead_letter_bytes, 2_097_152 - 2_048);
    assert_eq!(deployment.topics()[2].settings["max.message.bytes"], "3002048");
}

fn left_alone(broker: &Broker) {
    let deployment = Deployment::new(broker);
    let output = deployment.config.topics.output.clone();
    make(&deployment.admin(), &output, 1, &[("cleanup.policy", "compact")]);
    let run = deployment.run(CREATE);
    assert_eq!(run.code, 78);
    let bootstrap = broker.bootstrap();
    let repair = format!(
        "kafka-configs --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {output} --add-config"
    );
    assert!(run.stderr.contains("error: 2 problems with the topics"), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("{repair} cleanup.policy=delete")), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("{repair} max.message.bytes=2097152")), "{}", run.stderr);
    let topics = deployment.topics();
    assert_eq!((topics.len(), topics[1].settings["cleanup.policy"].as_str()), (5, "compact"));
    assert_eq!(deployment.run(&[CREATE, &["--dry-run"]].concat()).code, 78, "a rehearsal tells it too");
}

fn missing(broker: &Broker) {
    let deployment = Deployment::new(broker);
    let failure = check_topics(&deployment.config, &deployment.admin()).unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    let text = failure.to_string();
    assert_eq!(text.matches("does not exist").count(), 5, "{text}");
    assert!(text.contains("repair: livesession topics create\n"), "{text}");
}

fn mismatches(broker: &Broker) {
    let deployment = Deployment::new(broker);
    let (config, admin) = (&deployment.config, deployment.admin());
    make(&admin, &config.topics.input, 3, &[("max.message.bytes", "1000000")]);
    make(&admin, &config.topics.output, 1, &[("cleanup.policy", "compact,delete"), ("max.message.bytes", "2097151")]);
    make(&admin, &config.dead_letter_topic(), 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "1002047")]);
    make(&admin, &config.changelog_topic(), 2, &[("cleanup.policy", "delete")]);
    make(&admin, config.topics.latest.as_deref().unwrap(), 4, &[("cleanup.policy", "delete")]);
    let failure = check_topics(config, &admin).unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    let text = failure.to_string();
    for expected in [
        "error: 10 problems with the topics",
        "-output (topics.output) has cleanup.policy=compact,delete, and needs delete",
        "-output (topics.output) has max.message.bytes=2097151, and needs 2097152",
        "-dlq (topics.dead_letter) has cleanup.policy=compact, and needs delete",
        "-dlq (topics.dead_letter) has max.message.bytes=1002047, and needs 1002048",
        "-changelog (topics.changelog) has 2 partitions, and the input",
        "-changelog --partitions 3",
        "-changelog (topics.changelog) has cleanup.policy=delete, and needs compact",
        "-changelog (topics.changelog) has max.message.bytes=1048588, and needs 2097152",
        "-latest (topics.latest) has 4 partitions, and the input",
        "-latest (topics.latest) has cleanup.policy=delete, and needs compact",
        "-latest (topics.latest) has max.message.bytes=1048588, and needs 2097152",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

fn print(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let commands = deployment.ok(&["topics", "print"]);
    assert_eq!(commands.matches("--create --if-not-exists").count(), 4);
    assert_eq!(commands.matches("--partitions 2 ").count(), 4, "{commands}");
    let resources = deployment.ok(&["topics", "print", "--as", "strimzi", "--partitions", "5", "--with-input"]);
    assert_eq!(resources.matches("kind: KafkaTopic").count(), 5);
    assert_eq!(resources.matches("partitions: 5").count(), 5);
}

fn away() {
    // Bound and not listening: a connection is refused, and nobody else gets the port.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let deployment = Deployment::at(&format!("127.0.0.1:{port}"));
    let wait = Duration::from_secs(1);
    let settings = Settings::new(&deployment.config.kafka.brokers[0], "g", "t");
    let admin = Admin::new(&settings, wait).unwrap();
    let (result, took) = timed(|| check_topics(&deployment.config, &admin));
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::Unavailable, "{failure}");
    assert!(failure.to_string().starts_with("error: Kafka did not answer"), "{failure}");
    assert!(took < wait * 3, "{took:?} for five questions");
}
