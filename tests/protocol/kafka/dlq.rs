//! `livesession dlq` against a real broker: what is listed, what goes back, and that nothing goes back twice.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use livesession::clock;
use livesession_formats::dead_letter::{self, Refused};
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::PATIENCE;
use crate::kafka::support::program::Deployment;
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("list_says_where_and_why_and_never_what", list),
    test("show_prints_one_letter_whole", show),
    test("replay_sends_all_but_late_back_once", replay),
    test("replayed_record_is_the_refused_one_with_a_count", record),
    test("letters_that_a_filter_passes_over_are_found_later", filters),
    test("letters_before_since_are_found_later", since),
    test("limit_is_kept_over_all_partitions", limit),
    test("letters_that_cannot_or_may_not_be_sent_are_passed_over", refused),
    test("dry_run_counts_and_sends_nothing", dry_run),
    test("letter_of_an_open_transaction_waits_for_its_commit", open_letter),
    test("killed_replay_that_is_repeated_sends_nothing_twice", killed),
    test("two_replays_at_once_send_nothing_twice", twins),
    test("note_of_somebody_else_stops_a_replay", foreign_note),
    test("topics_that_are_missing_are_told", missing),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

/// A dead letter to be written.
#[derive(Clone, Copy)]
struct New<'a> {
    partition: i32,
    key: Option<&'a str>,
    value: &'a str,
    reason: Reason,
    replays: Option<u32>,
    /// Whether its value was too large to be kept.
    cut: bool,
    written: Timestamp,
}

fn letter(value: &str, reason: Reason) -> New<'_> {
    New { partition: 0, key: Some("room-7"), value, reason, replays: None, cut: false, written: clock::now() }
}

fn producer(deployment: &Deployment, transactional: bool) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", deployment.config.kafka.brokers.join(","));
    if transactional {
        config.set("transactional.id", format!("{}-test", deployment.config.application_id));
    }
    config.create().unwrap()
}

fn write(deployment: &Deployment, letters: &[New<'_>]) {
    let producer = producer(deployment, false);
    letters.iter().for_each(|new| send(deployment, &producer, new));
    producer.flush(PATIENCE).unwrap();
}

fn send(deployment: &Deployment, producer: &BaseProducer, new: &New<'_>) {
    let count = new.replays.map(|count| count.to_string());
    let count = count.as_ref().map(|count| (dead_letter::REPLAYS.as_bytes(), Some(count.as_bytes())));
    let cut = new.cut.then_some((dead_letter::CUT.as_bytes(), Some(b"9000000".as_slice())));
    let trace = (b"trace".as_slice(), Some(b"t-1".as_slice()));
    let carried: Vec<dead_letter::Header<'_>> = std::iter::once(trace).chain(count).chain(cut).collect();
    let added = dead_letter::added(&Refused {
        topic: &deployment.config.topics.input,
        partition: new.partition,
        offset: 7,
        timestamp: Timestamp::from_ms(5_000),
        group: &deployment.config.application_id,
        reason: new.reason,
        headers: &carried,
    });
    let all = dead_letter::join(dead_letter::split(&carried).1, &added);
    let headers = all.iter().fold(OwnedHeaders::new(), |so_far, (name, value)| {
        so_far.insert(Header { key: std::str::from_utf8(name).unwrap(), value: *value })
    });
    let topic = deployment.config.dead_letter_topic();
    let mut record = BaseRecord::to(&topic).partition(new.partition).payload(new.value).headers(headers);
    record = record.timestamp(new.written.as_ms());
    if let Some(key) = new.key {
        record = record.key(key);
    }
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
}

/// A record that was read back.
#[derive(Debug)]
struct Read {
    partition: i32,
    key: Option<String>,
    value: String,
    headers: Vec<(String, String)>,
}

/// Reads all committed records of the input.
#[allow(clippy::disallowed_methods, reason = "names of headers that are not UTF-8 panic, as they should in a test")]
fn input(deployment: &Deployment) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", deployment.config.kafka.brokers.join(","))
        .set("group.id", "test-reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let topic = &deployment.config.topics.input;
    let partitions = deployment.admin().topic(topic).unwrap().unwrap().partitions;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, i32::try_from(partition).unwrap(), Offset::Offset(0)).unwrap();
    }
    consumer.assign(&list).unwrap();
    let deadline = clock::instant() + PATIENCE;
    let (mut records, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        assert!(clock::instant() < deadline, "no end of {topic} after {} records", records.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
                records.push(Read {
                    partition: record.partition(),
                    key: record.key().map(text),
                    value: record.payload().map(text).unwrap_or_default(),
                    headers: headers.map(|one| (one.key.to_owned(), text(one.value.unwrap()))).collect(),
                });
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    records
}

/// Returns the values of the input, sorted.
fn values(deployment: &Deployment) -> Vec<String> {
    let mut values: Vec<_> = input(deployment).into_iter().map(|record| record.value).collect();
    values.sort();
    values
}

/// Replays and returns a number by reason.
fn replayed(deployment: &Deployment, arguments: &[&str], column: &str) -> BTreeMap<String, u64> {
    let lines = deployment.json(&[&["dlq", "replay"], arguments].concat());
    let number = |line: &Value| (line["reason"].as_str().unwrap().to_owned(), line[column].as_u64().unwrap());
    lines.iter().map(number).filter(|(_, number)| *number > 0).collect()
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(reason, number)| ((*reason).to_owned(), *number)).collect()
}

fn list(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let at = |seconds: i64| Timestamp::from_ms(clock::now().as_ms() - seconds * 1_000).unwrap();
    write(
        &deployment,
        &[
            New { written: at(300), ..letter("secret-1", Reason::NoEnd) },
            New { written: at(100), ..letter("secret-2", Reason::Late) },
            New { partition: 1, written: at(200), replays: Some(3), ..letter("secret-3", Reason::NoEnd) },
        ],
    );
    let listed = deployment.ok(&["dlq", "list"]);
    assert!(!listed.contains("secret") && !listed.contains("room-7"), "{listed}");
    let lines = deployment.json(&["dlq", "list"]);
    let places: Vec<_> = lines.iter().map(|line| (line["partition"].as_i64(), line["offset"].as_i64())).collect();
    assert_eq!(places, [(Some(0), Some(0)), (Some(1), Some(0)), (Some(0), Some(1))], "oldest first");
    let mut first = lines[0].clone();
    first["written"] = Value::Null;
    let expected = json!({
        "partition": 0, "offset": 0, "written": null, "reason": "no_end", "stage": "decode", "state": "waiting",
        "replays": 0, "group": deployment.config.application_id, "bytes": 14,
        "source": {
            "topic": deployment.config.topics.input, "partition": 0, "offset": 7, "time": "1970-01-01T00:00:05.000Z"
        },
    });
    assert_eq!(first, expected);
    assert_eq!(lines[1]["state"], "exhausted");
    assert_eq!(deployment.json(&["dlq", "list", "--reason", "late"]).len(), 1);
    assert_eq!(deployment.json(&["dlq", "list", "--reason", "late", "--reason", "no_end"]).len(), 3);
    assert_eq!(deployment.json(&["dlq", "list", "--since", "4m"]).len(), 2);
    let newest = deployment.run(&["dlq", "list", "--limit", "1"]);
    assert!(newest.stdout.contains("late") && newest.stdout.lines().count() == 1, "{}", newest.stdout);
    assert_eq!(newest.stderr, "1 of 3 dead letters; --limit 0 lists all\n");
    let expected = [
        json!({ "reason": "no_end", "state": "waiting", "letters": 1 }),
        json!({ "reason": "no_end", "state": "exhausted", "letters": 1 }),
        json!({ "reason": "late", "state": "waiting", "letters": 1 }),
    ];
    assert_eq!(deployment.json(&["dlq", "list", "--count"]), expected);
    assert_eq!(deployment.run(&["dlq", "list", "--reason", "tardy"]).code, 2);
    assert_eq!(deployment.run(&["dlq", "list", "--since", "tomorrow"]).code, 2);
}

fn show(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    write(&deployment, &[letter("first", Reason::NoEnd), letter("sec\u{1}ond", Reason::Late)]);
    let lines = deployment.json(&["dlq", "show", "0", "1"]);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["payload"], &lines[0]["key"], &lines[0]["offset"]),
        (&json!("sec\u{1}ond"), &json!("room-7"), &json!(1))
    );
    let headers = lines[0]["headers"].as_array().unwrap();
    assert_eq!(headers[..2], [json!("trace"), json!("t-1")]);
    assert!(headers.contains(&json!("livesession-dlq-reason")));
    for place in [["0", "2"], ["1", "0"], ["2", "0"]] {
        let run = deployment.run(&[&["dlq", "show"], &place[..]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{place:?}");
        assert!(run.stderr.contains("there is no dead letter at"), "{}", run.stderr);
    }
}

fn replay(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let letters = [
        letter("a", Reason::NoEnd),
        letter("b", Reason::Late),
        New { partition: 1, ..letter("c", Reason::Conflict) },
        New { partition: 1, ..letter("d", Reason::NoEnd) },
    ];
    write(&deployment, &letters);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 2), ("conflict", 1)]));
    assert_eq!(values(&deployment), ["a", "c", "d"]);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[]), "everything was sent");
    assert_eq!(replayed(&deployment, &[], "earlier"), counts(&[("no_end", 2), ("conflict", 1)]));
    assert_eq!(replayed(&deployment, &[], "not_asked"), counts(&[("late", 1)]));
    assert_eq!(values(&deployment), ["a", "c", "d"]);
    let states: Vec<_> = deployment.json(&["dlq", "list"]).iter().map(|line| line["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == "replayed").count(), 3, "{states:?}");
    write(&deployment, &[letter("e", Reason::NoEnd)]);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 1)]), "a new one");
    assert_eq!(replayed(&deployment, &["--reason", "late"], "replayed"), counts(&[("late", 1)]));
    assert_eq!(values(&deployment), ["a", "b", "c", "d", "e"]);
}

fn record(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let replays = Some(1);
    let keyless = New { partition: 1, key: None, ..letter("keyless", Reason::NoEnd) };
    write(
        &deployment,
        &[
            letter("0", Reason::NoEnd),
            New { partition: 1, replays, ..letter("1", Reason::NoEnd) },
            keyless,
            New { value: "keyless too", partition: 0, ..keyless },
        ],
    );
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 4)]));
    let mut records = input(&deployment);
    records.sort_by(|one, other| one.value.cmp(&other.value));
    let partitions: Vec<_> = records.iter().map(|record| record.partition).collect();
    assert_eq!(partitions[0], partitions[1], "one key, one partition");
    assert_eq!(partitions[2..], [1, 0], "without a key a record goes where it came from");
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some("room-7"), Some("room-7"), None, None]);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(records[0].headers, [header("trace", "t-1"), header("livesession-dlq-replays", "1")]);
    assert_eq!(records[1].headers, [header("trace", "t-1"), header("livesession-dlq-replays", "2")]);
}

fn filters(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 1);
    let reasons = [Reason::NoEnd, Reason::Conflict, Reason::Late, Reason::NoEnd, Reason::Conflict, Reason::NotJson];
    let texts = ["a", "b", "c", "d", "e", "f"];
    let letters: Vec<_> = texts.iter().zip(reasons).map(|(text, reason)| letter(text, reason)).collect();
    write(&deployment, &letters);
    assert_eq!(replayed(&deployment, &["--reason", "conflict"], "replayed"), counts(&[("conflict", 2)]));
    assert_eq!(values(&deployment), ["b", "e"]);
    assert_eq!(replayed(&deployment, &["--reason", "late"], "replayed"), counts(&[("late", 1)]));
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 2), ("not_json", 1)]));
    assert_eq!(values(&deployment), texts);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[]));
}

fn since(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 1);
    let ago = |hours: i64| Timestamp::from_ms(clock::now().as_ms() - hours * 3_600_000).unwrap();
    let aged = |value, hours| New { written: ago(hours), ..letter(value, Reason::NoEnd) };
    write(&deployment, &[aged("a", 50), aged("b", 30), aged("c", 10), aged("d", 1)]);
    assert_eq!(replayed(&deployment, &["--since", "20h"], "replayed"), counts(&[("no_end", 2)]));
    assert_eq!(values(&deployment), ["c", "d"]);
    assert_eq!(replayed(&deployment, &["--since", "40h"], "replayed"), counts(&[("no_end", 1)]));
    assert_eq!(values(&deployment), ["b", "c", "d"]);
    assert_eq!(replayed(&deployment, &["--since", "1ms"], "replayed"), counts(&[]), "nothing is that young");
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 1)]));
    assert_eq!(values(&deployment), ["a", "b", "c", "d"]);
}

fn limit(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let texts = ["a", "b", "c", "d", "e"];
    let letters: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| New { partition: i32::from(index > 2), ..letter(text, Reason::NoEnd) })
        .collect();
    write(&deployment, &letters);
    for (expected, sent) in [(2, &["a", "b"][..]), (2, &["a", "b", "c", "d"]), (1, &texts)] {
        assert_eq!(replayed(&deployment, &["--limit", "2"], "replayed"), counts(&[("no_end", expected)]));
        assert_eq!(values(&deployment), sent);
    }
    assert_eq!(deployment.run(&["dlq", "replay", "--limit", "0"]).code, 2);
}

fn refused(broker: &Broker) {
    let mut deployment = Deployment::with_topics(broker, 1);
    // Another application that reads the same input replays its own.
    let ours = std::mem::replace(&mut deployment.config.application_id, "another".to_owned());
    write(&deployment, &[letter("theirs", Reason::NoEnd)]);
    deployment.config.application_id = ours;
    let counted = |value, count| New { replays: Some(count), ..letter(value, Reason::NoEnd) };
    let cut = New { cut: true, ..letter("", Reason::TooLarge) };
    write(&deployment, &[counted("third", 2), counted("fourth", 3), cut]);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 1)]));
    assert_eq!(replayed(&deployment, &["--reason", "no_end"], "exhausted"), counts(&[("no_end", 1)]));
    assert_eq!(replayed(&deployment, &["--reason", "too_large"], "cut"), counts(&[("too_large", 1)]));
    assert_eq!(values(&deployment), ["third"]);
}

fn dry_run(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 1);
    write(&deployment, &[letter("a", Reason::NoEnd), letter("b", Reason::Late), letter("c", Reason::NoEnd)]);
    for _ in 0..2 {
        assert_eq!(replayed(&deployment, &["--dry-run"], "would_replay"), counts(&[("no_end", 2)]));
    }
    assert_eq!(replayed(&deployment, &["--dry-run", "--limit", "1"], "would_replay"), counts(&[("no_end", 1)]));
    assert_eq!(values(&deployment), [""; 0]);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 2)]), "nothing was remembered");
}

fn open_letter(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 1);
    write(&deployment, &[letter("a", Reason::NoEnd)]);
    let producer = producer(&deployment, true);
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send(&deployment, &producer, &letter("open", Reason::NoEnd));
    producer.flush(PATIENCE).unwrap();
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 1)]));
    assert_eq!(values(&deployment), ["a"]);
    commit(&producer);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[("no_end", 1)]));
    assert_eq!(values(&deployment), ["a", "open"]);
}

#[allow(clippy::disallowed_methods, reason = "another program's transaction, with nothing queued")]
fn commit(producer: &BaseProducer) {
    producer.commit_transaction(PATIENCE).unwrap();
}

/// Writes so many letters that a replay of them takes seconds; returns their values, sorted.
fn many(deployment: &Deployment) -> Vec<String> {
    let mut values: Vec<String> = (0..40_000).map(|index| format!("v{index}")).collect();
    let now = clock::now();
    let letters: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(index, value)| New {
            partition: i32::from(index % 2 == 1),
            written: now,
            ..letter(value, Reason::NoEnd)
        })
        .collect();
    write(deployment, &letters);
    values.sort();
    values
}

/// Counts the committed records of the input, and markers with them.
struct Counter<'a> {
    consumer: BaseConsumer,
    deployment: &'a Deployment,
}

impl Counter<'_> {
    fn new(deployment: &Deployment) -> Counter<'_> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", deployment.config.kafka.brokers.join(","));
        let counter =
            Counter { consumer: config.set("isolation.level", "read_committed").create().unwrap(), deployment };
        // Connected before anything is measured.
        counter.sent();
        counter
    }

    fn sent(&self) -> i64 {
        let topic = &self.deployment.config.topics.input;
        (0..2).map(|partition| self.consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1).sum()
    }
}

/// Starts a replay and stops its process (SIGSTOP) once it has committed or aborted something.
///
/// So whatever is done to it is done in the middle, however fast it is.
fn stopped_replay(deployment: &Deployment, counter: &Counter<'_>) -> Child {
    let before = counter.sent();
    let mut command = deployment.command(&["dlq", "replay"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(wait_until(PATIENCE, || counter.sent() > before));
    signal(&child, libc::SIGSTOP);
    assert!(child.try_wait().unwrap().is_none(), "it had ended before it was stopped");
    child
}

fn signal(child: &Child, signal: i32) {
    let process = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: takes two integers. The process is a child that was not waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

fn killed(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let expected = many(&deployment);
    let counter = Counter::new(&deployment);
    for _ in 0..3 {
        let mut child = stopped_replay(&deployment, &counter);
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    }
    let rest = replayed(&deployment, &[], "replayed")["no_end"];
    assert!((1..40_000).contains(&rest), "the kills were not in the middle: {rest} were left");
    assert_eq!(values(&deployment), expected);
    assert_eq!(replayed(&deployment, &[], "replayed"), counts(&[]));
}

/// The first one sleeps while the second does all of the work, and wakes up with a transaction of its own.
fn twins(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 2);
    let expected = many(&deployment);
    let mut first = stopped_replay(&deployment, &Counter::new(&deployment));
    let second = deployment.run(&["dlq", "replay"]);
    signal(&first, libc::SIGCONT);
    let status = first.wait().unwrap();
    assert_eq!(second.code, 0, "{}", second.stderr);
    // 78 if it is told that it was fenced. A delivery of a fenced producer just fails (75), and after a long sleep its
    // transaction may have timed out as well (69).
    assert!(matches!(status.code(), Some(78 | 75 | 69)), "the first one has to stop: {status}");
    assert_eq!(values(&deployment), expected);
}

fn foreign_note(broker: &Broker) {
    let deployment = Deployment::with_topics(broker, 1);
    write(&deployment, &[letter("a", Reason::NoEnd)]);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", deployment.config.kafka.brokers.join(","))
        .set("group.id", format!("{}-dlq-replay", deployment.config.application_id))
        .create()
        .unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&deployment.config.dead_letter_topic(), 0, Offset::Offset(1)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    // As a tool that sets offsets does: without a note nothing is settled.
    assert_eq!(replayed(&deployment, &["--dry-run"], "would_replay"), counts(&[("no_end", 1)]));
    offsets.find_partition(&deployment.config.dead_letter_topic(), 0).unwrap().set_metadata("2 no_end=0-1");
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    let run = deployment.run(&["dlq", "replay"]);
    assert_eq!(run.code, 78);
    assert!(run.stderr.contains("cannot read what has been replayed of"), "{}", run.stderr);
    assert_eq!(values(&deployment), [""; 0]);
}

fn missing(broker: &Broker) {
    let deployment = Deployment::new(broker);
    for arguments in [&["dlq", "list"][..], &["dlq", "show", "0", "0"], &["dlq", "replay"]] {
        let run = deployment.run(arguments);
        assert_eq!(run.code, 78, "{arguments:?}");
        assert!(run.stderr.contains("(topics.dead_letter) does not exist"), "{}", run.stderr);
    }
}
