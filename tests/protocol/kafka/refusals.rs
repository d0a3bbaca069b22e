//! Refusals of `livesession run`: the exit code for the supervisor, and the message for the operator. Kafka may become
//! available again (69); a configuration has to be changed (78); a state that does not match the input must not be written
//! to (70).

use std::process::Command;
use std::time::Duration;

use livesession::clock;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::support::broker::{self, Broker, wait_until};
use crate::kafka::support::deployment::{Deployment, Given, wait};
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic::{self, RULES, Traffic};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("absent_broker_is_given_up_within_bounds", absent),
    Test { name: "broker_that_comes_up_meanwhile_is_used", body: Body::Owned(comes_up) },
    test("missing_topic_names_the_command_that_makes_it", missing),
    test("changelog_with_other_partitions_is_refused", mismatch),
    test("group_that_was_reset_is_refused_with_the_repair", reset),
    test("other_input_under_the_same_name_of_the_application_is_refused", other_input),
    test("changelog_that_was_emptied_is_refused", emptied),
    test("input_that_retention_has_cut_is_refused", cut),
    test("gap_is_not_changed_under_what_it_has_grouped", gap),
    test("change_that_one_partition_forbids_is_refused_before_joining", before_joining),
    test("changelog_of_a_newer_version_is_not_written_on", newer),
    test("dead_letters_wait_for_a_topic_that_is_gone", without_dead_letters),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

/// Waits until a worker ends by itself with `code`, and has said each of `words`.
fn assert_refused(worker: &mut Worker, code: i32, words: &[&str]) {
    assert_eq!(worker.wait_exit(PATIENCE), code, "{}", worker.log());
    let log = worker.log();
    let last = log.split_once("error: ").map_or("", |(_, error)| error);
    for word in words {
        assert!(last.contains(word), "{word:?} is not in what it said last:\n{last}");
    }
}

fn absent(broker: &Broker) {
    /// What the start-up questions may take, and a little for the process.
    const BOUND: Duration = Duration::from_secs(35);
    let deployment = Deployment::without_topics(broker, 1);
    let nobody = format!("127.0.0.1:{}", broker::free_port().unwrap());
    let settings = deployment.settings.clone().with(&format!("kafka.brokers = [\"{nobody}\"]"));
    let since = clock::instant();
    let mut worker = Worker::start("a", &settings);
    assert_refused(&mut worker, 69, &["Kafka did not answer", "could not describe topic"]);
    assert!(since.elapsed() < BOUND, "{:?}", since.elapsed());
}

fn comes_up(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    broker.stop();
    let mut worker = deployment.start("a");
    assert!(!wait_until(Duration::from_secs(1), || worker.has_ended()), "it waits for a while");
    broker.start();
    worker.wait_ready();
    deployment.feed(&mut worker, 0, &[traffic::garbage()]);
    worker.stop();
    deployment.assert_settled();
}

fn missing(broker: &Broker) {
    let deployment = Deployment::without_topics(broker, 1);
    for topic in [&deployment.input, &deployment.dead_letter, &deployment.changelog, &deployment.output] {
        let absent = format!("{topic} ");
        assert_refused(&mut deployment.start("a"), 78, &[&absent, "does not exist", "livesession topics create"]);
        if *topic == deployment.changelog {
            deployment.create_changelog();
        } else {
            deployment.create(topic, 1, &[]);
        }
    }
    deployment.start_ready("a").stop();
}

fn mismatch(broker: &Broker) {
    let deployment = Deployment::without_topics(broker, 2);
    for topic in [&deployment.input, &deployment.dead_letter, &deployment.output] {
        deployment.create(topic, 2, &[]);
    }
    deployment.create(&deployment.changelog, 3, &[("cleanup.policy", "compact")]);
    assert_refused(&mut deployment.start("a"), 78, &[&deployment.changelog, "3 partitions", &deployment.input, "2"]);
}

/// Returns a deployment that has worked and was stopped, and what it has read.
fn worked(broker: &Broker) -> (Deployment, Traffic) {
    let traffic = Traffic::generate(9, 2, 10);
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(RULES);
    traffic.produce_part(&deployment, 0, 2);
    let mut worker = deployment.start_ready("a");
    deployment.wait_read(&mut worker);
    worker.stop();
    (deployment, traffic)
}

/// Lets the deployment do the rest and compares the result.
fn assert_goes_on(deployment: &Deployment, traffic: &Traffic) {
    traffic.produce_part(deployment, 1, 2);
    let mut worker = deployment.start_ready("a");
    deployment.wait_read(&mut worker);
    worker.stop();
    traffic.assert_result(deployment);
}

fn reset(broker: &Broker) {
    let (deployment, traffic) = worked(broker);
    let next = deployment.committed()[1].unwrap();
    let before = deployment.ends(&deployment.changelog);
    for wrong in [0, next - 1, next + 1] {
        deployment.reset_offset(1, wrong);
        let found = format!("offset {wrong}");
        let repair = format!(
            "kafka-consumer-groups --bootstrap-server BROKERS --group {} --topic {}:1 --reset-offsets --to-offset {next}",
            deployment.name, deployment.input
        );
        assert_refused(&mut deployment.start("a"), 70, &["partition 1", &found, &repair]);
    }
    let ends = deployment.ends(&deployment.changelog);
    assert_eq!(ends[1], before[1], "nothing was written on");
    deployment.reset_offset(1, next);
    assert_goes_on(&deployment, &traffic);
}

fn other_input(broker: &Broker) {
    let (mut deployment, traffic) = worked(broker);
    let right = deployment.settings.clone();
    let other = format!("{}-other", deployment.input);
    deployment.create(&other, 2, &[("max.message.bytes", "1048588")]);
    let lines = format!("topics.input = \"{other}\"\ntopics.dead_letter = \"{}\"", deployment.dead_letter);
    deployment.settings = deployment.settings.with(&lines);
    assert_refused(&mut deployment.start("a"), 70, &["the group has no offset", &other, "is not the input it was"]);
    deployment.settings = right;
    assert_goes_on(&deployment, &traffic);
}

pub fn admin(deployment: &Deployment) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &deployment.bootstrap).create().unwrap()
}

pub fn block_on<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

fn emptied(broker: &Broker) {
    let (deployment, _) = worked(broker);
    let deleted = block_on(admin(&deployment).delete_topics(&[&deployment.changelog], &AdminOptions::new())).unwrap();
    assert_eq!(deleted, [Ok(deployment.changelog.clone())]);
    assert_refused(&mut deployment.start("a"), 78, &[&deployment.changelog, "livesession topics create"]);
    deployment.create_changelog();
    wait("the new changelog", || deployment.ends(&deployment.changelog) == [0, 0]);
    let outputs = deployment.ends(&deployment.output);
    assert_refused(&mut deployment.start("a"), 70, &["the changelog", "is empty", "new application_id"]);
    assert_eq!(deployment.ends(&deployment.changelog), [0, 0], "nothing was written");
    assert_eq!(deployment.ends(&deployment.output), outputs);
}

/// Deletes what comes before `offset` from the first partition of the input, as retention does.
pub fn delete_input(deployment: &Deployment, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&deployment.input, 0, Offset::Offset(offset)).unwrap();
    block_on(admin(deployment).delete_records(&list, &AdminOptions::new())).unwrap();
}

/// Records that were never read are gone.
fn cut(broker: &Broker) {
    let (deployment, traffic) = worked(broker);
    traffic.produce_part(&deployment, 1, 2);
    let next = deployment.committed()[0].unwrap();
    delete_input(&deployment, next + 2);
    assert_refused(
        &mut deployment.start("a"),
        70,
        &["retention or DeleteRecords passed the group's offset", "application_id"],
    );
    assert_eq!(deployment.committed()[0], Some(next), "the group stays where it was");
}

fn gap(broker: &Broker) {
    let (mut deployment, traffic) = worked(broker);
    let right = deployment.settings.clone();
    for (lines, setting) in [
        ("grouping.gap = \"4m\"", "`grouping.gap`"),
        ("grouping.gap = \"2m\"", "`grouping.gap`"),
        ("grouping.allowed_lateness = \"7h\"", "`grouping.allowed_lateness`"),
        ("grouping.max_segment = \"7h\"", "`grouping.max_segment`"),
        ("input.stream_key = \"stream_id\"", "`input.stream_key`"),
    ] {
        deployment.settings = right.clone().with(lines);
        assert_refused(&mut deployment.start("a"), 78, &[setting, "set it back", "new `application_id`"]);
    }
    deployment.settings = right;
    assert_goes_on(&deployment, &traffic);
}

/// Runs `config check --online`; returns its exit code and what it said.
fn check_online(deployment: &Deployment) -> (Option<i32>, String) {
    let file = broker::temporary().join(format!("{}-check.toml", deployment.name));
    std::fs::write(&file, deployment.settings.toml()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
    let output = command.args(["config", "check", "--online", "--config"]).arg(&file).env_clear().output().unwrap();
    std::fs::remove_file(&file).unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The partition that takes the change must not begin under it while the other one goes on under the old gap.
fn before_joining(broker: &Broker) {
    let mut deployment = Deployment::new(broker, 2);
    let right = deployment.settings.clone();
    let mut old = deployment.start_ready("old");
    let file = r#"{"event_type":100,"stream_id":"a","file_id":"f","start_time":1740000000,"end_time":1740000060}"#;
    deployment.feed(&mut old, 1, &[Given::new(file, 1_740_000_065_000)]);
    deployment.settings = right.clone().with("grouping.gap = \"4m\"");
    let words = ["forbids a change in partition 1", "`grouping.gap` from 3m to 4m", "set it back"];
    assert_refused(&mut deployment.start("new"), 78, &words);
    assert_eq!(old.metric("livesession_rebalances_total{kind=\"revoke\"}"), Some(0.0), "it never joined");
    let (code, said) = check_online(&deployment);
    assert_eq!(code, Some(78), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    // No stream of the changelog is concerned.
    let list = r#"grouping.override = [{ streams = "*/radio/*", gap = "4m" }]"#;
    deployment.settings = right.with(list);
    assert_eq!(check_online(&deployment), (Some(0), String::new()));
    old.stop();
    deployment.start_ready("new").stop();
}

/// As a changelog that a later version has written.
fn newer(broker: &Broker) {
    let (deployment, _) = worked(broker);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &deployment.bootstrap).create().unwrap();
    let marker = BaseRecord::to(&deployment.changelog).partition(1).key("m").payload(r#"{"version":2,"epoch":7}"#);
    producer.send(marker).unwrap();
    producer.flush(PATIENCE).unwrap();
    let (changelog, outputs) = (deployment.ends(&deployment.changelog), deployment.ends(&deployment.output));
    let words = ["partition 1", "record `m` has version 2", "knows up to 1: run a newer one"];
    assert_refused(&mut deployment.start("a"), 70, &words);
    assert_eq!(deployment.ends(&deployment.changelog)[1], changelog[1], "nothing was written on");
    assert_eq!(deployment.ends(&deployment.output), outputs);
    let (code, said) = check_online(&deployment);
    assert_eq!(code, Some(70), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

fn without_dead_letters(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    let mut worker = deployment.start_ready("a");
    deployment.feed(&mut worker, 0, &[traffic::garbage()]);
    let deleted = block_on(admin(&deployment).delete_topics(&[&deployment.dead_letter], &AdminOptions::new())).unwrap();
    assert!(deleted[0].is_ok());
    deployment.produce(0, &[traffic::garbage()]);
    worker.wait_metric("livesession_transactions_total{outcome=\"aborted\"}", |aborted| aborted > 0.0);
    assert_eq!(deployment.committed(), [Some(1)], "nothing moves past a record that is nowhere else");
    deployment.create(&deployment.dead_letter, 1, &[]);
    deployment.wait_read(&mut worker);
    worker.stop();
    assert_eq!(deployment.read(&deployment.dead_letter).len(), 1);
}
