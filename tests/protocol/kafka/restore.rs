//! Restoring partitions of the changelog from a real broker.

use std::collections::BTreeMap;
use std::time::Duration;

use livesession_kafka::consumer::Consumer;
use livesession_kafka::log_ends::Probe;
use livesession_kafka::restore::Restore;
use livesession_kafka::transaction::Transactions;
use livesession_kafka::{Broker as _, Client, RestoreError as Error, RestoreProgress, Restored};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::{PATIENCE, World, outgoing, timed};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("empty_changelog_is_restored_without_reading", empty),
    test("partitions_are_restored_side_by_side_in_log_order", side_by_side),
    test("aborted_tail_is_passed_and_not_applied", aborted_tail),
    test("open_transaction_at_the_end_is_waited_for", open_tail),
    test("hanging_transaction_is_stuck", stuck),
    test("compacted_changelog_is_restored", compacted),
    test("partition_that_was_lost_is_dropped", dropped),
    test("what_is_written_after_the_question_is_not_applied", written_meanwhile),
    test("restore_that_begins_again_begins_at_the_beginning", begun_again),
    test("undecided_offset_is_waited_for", undecided_offset),
    test("changelog_with_too_few_partitions_is_named", short_changelog),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

const SLICE: Duration = Duration::from_millis(50);

/// Steps until all of `partitions` are restored; returns them and what was applied.
fn run(client: &Client, partitions: &[i32]) -> (Vec<Restored>, BTreeMap<i32, Vec<String>>) {
    partitions.iter().for_each(|partition| client.begin_restore(*partition).unwrap());
    finish(client, partitions.len())
}

fn finish(client: &Client, count: usize) -> (Vec<Restored>, BTreeMap<i32, Vec<String>>) {
    let (mut restored, mut applied) = (Vec::new(), BTreeMap::<i32, Vec<String>>::new());
    assert!(wait_until(PATIENCE, || {
        let (progress, took) = timed(|| {
            client.step_restore(SLICE, &mut |partition, key, value| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let value = value.map_or_else(|| "null".to_owned(), text);
                applied.entry(partition).or_default().push(format!("{}={value}", text(key)));
            })
        });
        assert!(took < SLICE + Duration::from_secs(2), "a slice of {SLICE:?} took {took:?}");
        restored.extend(progress.unwrap().restored);
        restored.len() == count
    }));
    restored.sort_by_key(|restored| restored.partition);
    assert_eq!(
        client.step_restore(SLICE, &mut |_, _, _| panic!("nothing is under way")).unwrap(),
        RestoreProgress::default()
    );
    (restored, applied)
}

/// Commits one transaction of changelog records.
fn write(world: &World, client: &Client, partition: i32, records: &[(&str, Option<&str>)], offset: i64) {
    client.begin().unwrap();
    for (key, value) in records {
        client.send(&outgoing(&world.changelog, partition, key, *value)).unwrap();
    }
    client.commit(&[(partition, offset)], PATIENCE).unwrap();
}

fn empty(broker: &Broker) {
    let world = World::new(broker, 2);
    let (client, _) = world.join("a");
    let (restored, applied) = run(&client, &[0, 1]);
    let fresh = |partition| Restored { partition, committed: None, records: 0 };
    assert_eq!(restored, [fresh(0), fresh(1)]);
    assert!(applied.is_empty());
}

fn side_by_side(broker: &Broker) {
    let world = World::new(broker, 3);
    let (client, _) = world.join("a");
    for round in 0..3 {
        let value = round.to_string();
        write(&world, &client, 0, &[("a", Some(&value)), ("b", Some(&value))], 10 + round);
        write(&world, &client, 2, &[("c", Some(&value))], 20 + round);
    }
    write(&world, &client, 0, &[("a", None)], 99);
    let (restored, applied) = run(&client, &[0, 1, 2]);
    assert_eq!(
        restored,
        [
            Restored { partition: 0, committed: Some(99), records: 7 },
            Restored { partition: 1, committed: None, records: 0 },
            Restored { partition: 2, committed: Some(22), records: 3 },
        ]
    );
    assert_eq!(applied[&0], ["a=0", "b=0", "a=1", "b=1", "a=2", "b=2", "a=null"]);
    assert_eq!(applied[&2], ["c=0", "c=1", "c=2"]);
    // And once more: the reader was left in order.
    assert_eq!(run(&client, &[2, 0]).1[&2], ["c=0", "c=1", "c=2"]);
}

fn aborted_tail(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    write(&world, &client, 0, &[("a", Some("1"))], 1);
    client.begin().unwrap();
    for key in ["b", "c", "d"] {
        client.send(&outgoing(&world.changelog, 0, key, Some("x"))).unwrap();
    }
    // Delivered, and then aborted: what is only queued would never reach the log.
    deliver(&world, 5, || drop(client.poll(Duration::from_millis(10))));
    client.abort().unwrap();
    let (restored, applied) = run(&client, &[0]);
    assert_eq!(restored, [Restored { partition: 0, committed: Some(1), records: 1 }]);
    assert_eq!(applied[&0], ["a=1"]);
}

/// Waits until the changelog's log ends at `end`.
fn deliver(world: &World, end: i64, mut serve: impl FnMut()) {
    let probe = Probe::new(&world.settings("test"), Default::default()).unwrap();
    assert!(wait_until(PATIENCE, || {
        serve();
        probe.log_ends(&world.changelog, 0, PATIENCE).unwrap().end >= end
    }));
}

/// Returns a producer of another worker that has one changelog record in an open transaction.
fn open(world: &World, end: i64) -> Transactions {
    let other = Transactions::init(&world.settings("other"), &world.input, Default::default(), PATIENCE).unwrap();
    other.begin().unwrap();
    other.send(&outgoing(&world.changelog, 0, "open", Some("x"))).unwrap();
    deliver(world, end, || other.serve());
    other
}

fn open_tail(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    write(&world, &client, 0, &[("a", Some("1"))], 1);
    let other = open(&world, 3);
    client.begin_restore(0).unwrap();
    let mut applied = 0;
    let mut step = || {
        let progress = client.step_restore(SLICE, &mut |_, _, _| applied += 1).unwrap();
        assert!(progress.restored.is_empty(), "the end of committed records is not the end");
        progress.remaining == 1
    };
    assert!(wait_until(PATIENCE, &mut step));
    for _ in 0..10 {
        assert!(step());
    }
    assert_eq!(applied, 1);
    let waiting = client.step_restore(SLICE, &mut |_, _, _| ()).unwrap();
    assert_eq!(waiting, RestoreProgress { restored: vec![], remaining: 1 });
    other.abort().unwrap();
    let (restored, applied) = finish(&client, 1);
    assert_eq!(restored, [Restored { partition: 0, committed: Some(1), records: 1 }]);
    assert!(applied.is_empty(), "{applied:?}");
}

/// How long a restore may wait here.
const SHORT: Duration = Duration::from_secs(1);

/// Returns why a restore without much patience failed.
fn failure(world: &World, partition: i32) -> Error {
    let settings = world.settings("a");
    let group = Consumer::join(&settings, &world.input, Default::default()).unwrap();
    let probe = Probe::new(&settings, Default::default()).unwrap();
    let mut restore = Restore::new(&settings, &world.changelog, Default::default()).unwrap().with_patience(SHORT);
    restore.begin(partition).unwrap();
    let mut error = None;
    assert!(wait_until(PATIENCE, || {
        error = restore.step(&group, &probe, SLICE, &mut |_, _, _| ()).err();
        error.is_some()
    }));
    error.unwrap()
}

fn stuck(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    write(&world, &client, 0, &[("a", Some("1"))], 1);
    let other = open(&world, 3);
    let (error, took) = timed(|| failure(&world, 0));
    assert!(took > SHORT);
    assert!(matches!(error, Error::Stuck { partition: 0, next: 2, end: 3, .. }), "{error}");
    other.abort().unwrap();
}

/// Partitions were added to the input and not to the changelog.
fn short_changelog(broker: &Broker) {
    let error = failure(&World::new(broker, 1), 1);
    assert!(matches!(error, Error::NoPartition { partition: 1, .. }), "{error}");
}

/// How long the broker may take to compact a log.
const COMPACTION: Duration = Duration::from_secs(120);

fn compacted(broker: &Broker) {
    let compaction =
        [("cleanup.policy", "compact"), ("max.compaction.lag.ms", "1000"), ("min.cleanable.dirty.ratio", "0.01")];
    let world = World::with_changelog(broker, 1, &compaction);
    let (client, _) = world.join("a");
    for round in 0..20 {
        let value = round.to_string();
        write(&world, &client, 0, &[("a", Some(&value)), ("b", Some(&value)), ("d", None)], round);
    }
    // Compaction spares the active segment: a write later than the lag rolls it.
    let count = || world.committed_records(&world.changelog, 0).len();
    let before = count();
    let mut round = 100;
    // The broker has one thread for all its compacted topics, and promises no time.
    assert!(wait_until(COMPACTION, || {
        write(&world, &client, 0, &[("c", Some("1"))], round);
        round += 1;
        wait_until(Duration::from_millis(500), || false);
        count() < before / 2
    }));
    let (restored, applied) = run(&client, &[0]);
    assert_eq!(restored[0].committed, Some(round - 1));
    let mut state = BTreeMap::new();
    for record in &applied[&0] {
        let (key, value) = record.split_once('=').unwrap();
        state.insert(key.to_owned(), value.to_owned());
    }
    let expected = [("a", "19"), ("b", "19"), ("c", "1"), ("d", "null")];
    assert_eq!(state, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert!(restored[0].records < before as u64);
}

/// As if it had been lost between two steps: a client that was never polled has no partition.
fn dropped(broker: &Broker) {
    let world = World::new(broker, 1);
    let client = world.connect("a");
    client.begin_restore(0).unwrap();
    let is_restored =
        || client.step_restore(SLICE, &mut |_, _, _| panic!("not ours")).unwrap() != RestoreProgress::default();
    assert!(!wait_until(Duration::from_secs(2), is_restored));
}

/// Begins to restore partition 0: its end is known and its log assigned, and nothing of it read.
fn begin_reading(client: &Client) {
    client.begin_restore(0).unwrap();
    let is_reading = || {
        let step = client.step_restore(Duration::ZERO, &mut |_, _, _| panic!("there is no time to read anything"));
        step.unwrap().remaining > 0
    };
    assert!(wait_until(PATIENCE, is_reading));
}

/// The end that was asked for is behind a marker: there is no last record before it, and the next one is beyond it.
fn written_meanwhile(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    write(&world, &client, 0, &[("a", Some("1"))], 1);
    begin_reading(&client);
    write(&world, &client, 0, &[("b", Some("2"))], 2);
    let (restored, applied) = finish(&client, 1);
    assert_eq!(restored, [Restored { partition: 0, committed: Some(1), records: 1 }]);
    assert_eq!(applied[&0], ["a=1"]);
}

fn begun_again(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    write(&world, &client, 0, &[("a", Some("1"))], 1);
    begin_reading(&client);
    write(&world, &client, 0, &[("b", Some("2"))], 2);
    begin_reading(&client);
    let (restored, applied) = finish(&client, 1);
    assert_eq!(restored, [Restored { partition: 0, committed: Some(2), records: 2 }]);
    assert_eq!(applied[&0], ["a=1", "b=2"]);
}

/// The offset is asked for while a transaction over it is open: only its outcome counts.
fn undecided_offset(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    write(&world, &client, 0, &[("a", Some("1"))], 5);
    let producer: BaseProducer = world.settings("other").producer().create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    // Of a consumer outside of the group, which Kafka does not fence: that is why only the guard gives ours away.
    let outsider: BaseConsumer = world.settings("other").reader().create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&world.input, 0, Offset::Offset(9)).unwrap();
    producer.send_offsets_to_transaction(&offsets, &outsider.group_metadata().unwrap(), PATIENCE).unwrap();
    client.begin_restore(0).unwrap();
    for _ in 0..2 {
        let progress = client.step_restore(SLICE, &mut |_, _, _| panic!("asked for the log end too early")).unwrap();
        assert_eq!(progress, RestoreProgress::default());
    }
    commit(&producer);
    let (restored, _) = finish(&client, 1);
    assert_eq!(restored, [Restored { partition: 0, committed: Some(9), records: 1 }]);
}

#[allow(clippy::disallowed_methods, reason = "another program's transaction, with nothing queued")]
fn commit(producer: &BaseProducer) {
    producer.commit_transaction(PATIENCE).unwrap();
}
