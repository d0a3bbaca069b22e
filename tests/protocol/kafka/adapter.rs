//! The adapter in `crates/kafka` against a real broker: what a mock never refuses.

use std::time::Duration;

use livesession_kafka::consumer::Consumer;
use livesession_kafka::transaction::Transactions;
use livesession_kafka::{Broker as _, Client, Input, LogEnds, Outgoing, TransactionError as Error};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::{PATIENCE, World, outgoing, timed, until, wait_for_assignment};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("committed_transaction_is_seen_together_with_its_offsets", committed),
    test("aborted_transaction_is_not_seen_and_moves_no_offset", aborted),
    test("records_flow_from_where_a_partition_is_started", started),
    test("partition_that_is_started_at_once_stays_where_it_was_started", started_at_once),
    test("twin_fences_the_first_one", fenced),
    test("twin_of_a_static_member_ends_the_first_one", fenced_member),
    test("stale_generation_is_refused_by_the_coordinator", stale_generation),
    test("transaction_over_a_partition_given_away_is_refused", given_away),
    test("transaction_without_offsets_is_refused", without_offsets),
    test("revoked_partition_is_committed_before_it_is_given_away", revoked),
    test("client_that_ends_with_a_revocation_to_answer_leaves_the_group", ends_revoked),
    test("eager_group_is_committed_before_everything_is_given_away", eager),
    test("late_poll_loses_all_partitions", late_poll),
    test("record_too_large_aborts_and_the_next_transaction_is_whole", too_large),
    test("abort_of_a_full_queue_is_quick", quick_abort),
    test("headers_pass_as_they_came", headers),
    test("log_end_counts_an_open_transaction", open_transaction_counts),
    test("position_passes_markers_but_not_an_open_transaction", position),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

const COMMIT: Duration = Duration::from_secs(10);

fn committed(broker: &Broker) {
    let world = World::new(broker, 2);
    let (client, _) = world.join("a");
    client.begin().unwrap();
    client.send(&world.out(0, "a", "1")).unwrap();
    client.send(&world.out(1, "b", "2")).unwrap();
    client.commit(&[(0, 7), (1, 0)], COMMIT).unwrap();
    assert_eq!(world.committed_records(&world.output, 0), ["a=1"]);
    assert_eq!(world.committed_records(&world.output, 1), ["b=2"]);
    assert_eq!(world.committed_offset(0), Some(7));
    assert_eq!(world.committed_offset(1), Some(0));
}

fn aborted(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    client.begin().unwrap();
    client.send(&world.out(0, "a", "1")).unwrap();
    client.abort().unwrap();
    client.begin().unwrap();
    client.send(&world.out(0, "b", "2")).unwrap();
    client.commit(&[(0, 1)], COMMIT).unwrap();
    assert_eq!(world.committed_records(&world.output, 0), ["b=2"]);
    assert_eq!(world.committed_offset(0), Some(1));
}

fn started(broker: &Broker) {
    let world = World::new(broker, 2);
    world.fill(0, 10);
    world.fill(1, 10);
    let (client, assigned) = world.join("a");
    assert_eq!(assigned, [0, 1]);
    let offset = |input: &Input<'_>| match input {
        Input::Record(record) => Some((record.partition(), record.offset())),
        _ => None,
    };
    client.start(0, 4).unwrap();
    let offsets: Vec<_> = (4..10).map(|_| until(&client, offset)).collect();
    assert_eq!(offsets, (4..10).map(|offset| (0, offset)).collect::<Vec<_>>());
    // Partition 1 was never started.
    let ((), took) = timed(|| {
        for _ in 0..10 {
            assert!(matches!(client.poll(Duration::from_millis(50)).unwrap(), Input::Idle));
        }
    });
    assert!(took >= Duration::from_millis(400), "polls that find nothing wait: {took:?}");
    // Back, as after an abort.
    client.start(0, 2).unwrap();
    assert_eq!(until(&client, offset), (0, 2));
    client.start(1, 0).unwrap();
    client.start(0, 9).unwrap();
    let mut rest: Vec<_> = (0..11).map(|_| until(&client, offset)).collect();
    rest.sort_unstable();
    assert_eq!(rest, std::iter::once((0, 9)).chain((0..10).map(|offset| (1, offset))).collect::<Vec<_>>());
}

/// A logical offset of the assignment would come back half a second later and undo the start.
fn started_at_once(broker: &Broker) {
    let world = World::new(broker, 8);
    for partition in 0..8 {
        world.fill(partition, 3);
    }
    let (client, assigned) = world.join("a");
    for partition in &assigned {
        client.start(*partition, 0).unwrap();
    }
    let mut offsets = vec![Vec::new(); 8];
    for _ in 0..24 {
        let (partition, offset) = until(&client, |input| match input {
            Input::Record(record) => Some((record.partition(), record.offset())),
            _ => None,
        });
        offsets[partition as usize].push(offset);
    }
    assert_eq!(offsets, vec![vec![0, 1, 2]; 8]);
}

fn fenced(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    client.begin().unwrap();
    client.send(&world.out(0, "a", "first")).unwrap();
    let twin = world.connect("a");
    let error = client.commit(&[(0, 1)], COMMIT).unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error:?}");
    drop(client);
    wait_for_assignment(&twin);
    twin.begin().unwrap();
    twin.send(&world.out(0, "a", "second")).unwrap();
    twin.commit(&[(0, 2)], COMMIT).unwrap();
    assert_eq!(world.committed_records(&world.output, 0), ["a=second"]);
    assert_eq!(world.committed_offset(0), Some(2));
}

fn fenced_member(broker: &Broker) {
    let world = World::new(broker, 1);
    let connect = |worker: &str| {
        let mut settings = world.settings(worker);
        settings.group_instance_id = Some("same".to_owned());
        Client::connect(&settings, &world.input, &world.changelog, PATIENCE).unwrap()
    };
    let first = connect("a");
    wait_for_assignment(&first);
    let twin = connect("b");
    let mut ended = None;
    wait_until(PATIENCE, || {
        twin.poll(Duration::from_millis(20)).unwrap();
        ended = first.poll(Duration::from_millis(20)).err();
        ended.is_some()
    });
    assert!(matches!(ended, Some(livesession_kafka::ConsumerError::Rebuild { .. })), "{ended:?}");
}

/// A worker that was asleep sends its work with the membership that it had.
fn stale_generation(broker: &Broker) {
    let world = World::new(broker, 1);
    let settings = world.settings("zombie");
    let zombie: BaseConsumer = settings.consumer().create().unwrap();
    zombie.subscribe(&[&world.input]).unwrap();
    assert!(wait_until(PATIENCE, || {
        zombie.poll(Duration::from_millis(20));
        zombie.assignment().unwrap().count() == 1
    }));
    let stale = zombie.group_metadata().unwrap();
    drop(zombie);
    let (client, _) = world.join("b");
    client.begin().unwrap();
    client.send(&world.out(0, "b", "1")).unwrap();
    client.commit(&[(0, 100)], COMMIT).unwrap();

    let transactions = Transactions::init(&settings, &world.input, Default::default(), PATIENCE).unwrap();
    transactions.begin().unwrap();
    transactions.send(&world.out(0, "zombie", "1")).unwrap();
    let error = transactions.commit(&[(0, 7)], &stale, COMMIT).unwrap_err();
    assert!(matches!(error, Error::Abort { .. }), "{error:?}");
    transactions.abort().unwrap();
    assert_eq!(world.committed_records(&world.output, 0), ["b=1"]);
    assert_eq!(world.committed_offset(0), Some(100));
}

/// The membership is fresh, the work is not: the broker would take it.
fn given_away(broker: &Broker) {
    let world = World::new(broker, 2);
    let (first, _) = world.join("a");
    first.begin().unwrap();
    first.send(&world.out(0, "a", "1")).unwrap();
    let second = world.connect("b");
    let revoked = rebalance(&first, &second);
    first.poll(Duration::ZERO).unwrap();
    let kept = 1 - revoked[0];
    let error = first.commit(&[(kept, 1)], COMMIT).unwrap_err();
    assert!(matches!(error, Error::Abort { .. }), "{error:?}");
    first.abort().unwrap();
    first.begin().unwrap();
    let error = first.commit(&[(revoked[0], 1)], COMMIT).unwrap_err();
    assert!(matches!(error, Error::Abort { .. }), "{error:?}");
    first.abort().unwrap();
    // What is still ours goes on.
    first.begin().unwrap();
    first.commit(&[(kept, 1)], COMMIT).unwrap();
    assert_eq!(world.committed_offset(kept), Some(1));
    assert_eq!(world.committed_offset(revoked[0]), None);
}

fn without_offsets(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    client.begin().unwrap();
    let error = client.commit(&[], COMMIT).unwrap_err();
    assert!(matches!(error, Error::Stop { .. }), "{error:?}");
    assert!(matches!(client.begin().unwrap_err(), Error::Stop { .. }), "a defect is not survived");
}

fn revoked(broker: &Broker) {
    let world = World::new(broker, 2);
    let (first, _) = world.join("a");
    first.begin().unwrap();
    first.send(&world.out(0, "a", "1")).unwrap();
    let second = world.connect("b");
    let revoked = rebalance(&first, &second);
    // Nobody has them until the first one polls again, and its commit still counts.
    let early = second.poll(Duration::from_millis(500)).unwrap();
    assert!(matches!(&early, Input::Idle) || matches!(&early, Input::Assigned(none) if none.is_empty()), "{early:?}");
    first.commit(&[(0, 5), (1, 6)], COMMIT).unwrap();
    first.poll(Duration::ZERO).unwrap();
    let mut taken = Vec::new();
    assert!(wait_until(PATIENCE, || {
        first.poll(Duration::from_millis(5)).unwrap();
        if let Input::Assigned(partitions) = second.poll(Duration::from_millis(5)).unwrap() {
            // Empty at first: a member that has joined before there is anything for it.
            taken.extend(partitions);
        }
        !taken.is_empty()
    }));
    assert_eq!(taken, revoked);
    assert_eq!(world.committed_offset(0), Some(5));
    assert_eq!(world.committed_offset(1), Some(6));
}

fn ends_revoked(broker: &Broker) {
    let world = World::new(broker, 2);
    let (first, _) = world.join("a");
    let second = world.connect("b");
    rebalance(&first, &second);
    let ((), took) = timed(|| drop(first));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut taken = Vec::new();
    assert!(wait_until(PATIENCE, || {
        if let Input::Assigned(partitions) = second.poll(Duration::from_millis(5)).unwrap() {
            taken.extend(partitions);
        }
        taken.len() == 2
    }));
}

/// `range` takes everything from everybody and deals it out again.
fn eager(broker: &Broker) {
    let world = World::new(broker, 2);
    let connect = |worker: &str| {
        let mut settings = world.settings(worker);
        settings.consumer_properties.push(("partition.assignment.strategy".to_owned(), "range".to_owned()));
        Client::connect(&settings, &world.input, &world.changelog, PATIENCE).unwrap()
    };
    let first = connect("a");
    assert_eq!(wait_for_assignment(&first), [0, 1]);
    first.begin().unwrap();
    first.send(&world.out(0, "a", "1")).unwrap();
    let second = connect("b");
    let mut owned = [Vec::new(), Vec::new()];
    assert!(wait_until(PATIENCE, || {
        match first.poll(Duration::from_millis(5)).unwrap() {
            Input::Revoked(partitions) => {
                assert_eq!(partitions, [0, 1]);
                first.commit(&[(0, 5), (1, 6)], COMMIT).unwrap();
            }
            Input::Assigned(partitions) => owned[0] = partitions,
            _ => {}
        }
        if let Input::Assigned(partitions) = second.poll(Duration::from_millis(5)).unwrap() {
            owned[1] = partitions;
        }
        owned[0].len() == 1 && owned[1].len() == 1
    }));
    assert_ne!(owned[0], owned[1]);
    assert_eq!((world.committed_offset(0), world.committed_offset(1)), (Some(5), Some(6)));
}

/// Polls both until the first one has to give partitions away.
fn rebalance(first: &Client, second: &Client) -> Vec<i32> {
    let mut revoked = Vec::new();
    assert!(wait_until(PATIENCE, || {
        second.poll(Duration::from_millis(5)).unwrap();
        if let Input::Revoked(partitions) = first.poll(Duration::from_millis(5)).unwrap() {
            revoked = partitions;
        }
        !revoked.is_empty()
    }));
    assert_eq!(revoked.len(), 1);
    revoked
}

fn late_poll(broker: &Broker) {
    let world = World::new(broker, 2);
    let mut settings = world.settings("a");
    settings.session_timeout = Duration::from_secs(1);
    settings.max_poll_interval = Duration::from_secs(1);
    let consumer = Consumer::join(&settings, &world.input, Default::default()).unwrap();
    let poll = || consumer.poll(Duration::from_millis(20)).unwrap();
    assert!(wait_until(PATIENCE, || matches!(poll(), Input::Assigned(_))));
    let assignment_epoch = consumer.assignment_epoch();
    assert!(consumer.guard(assignment_epoch, &[(0, 1), (1, 1)]).is_ok());
    assert!(!wait_until(Duration::from_secs(3), || false));
    // Before anything is polled.
    assert!(consumer.guard(assignment_epoch, &[(0, 1)]).is_err());
    let mut lost = Vec::new();
    assert!(wait_until(PATIENCE, || match poll() {
        Input::Lost(partitions) => {
            lost.extend(partitions);
            true
        }
        other => matches!(other, Input::Assigned(_)),
    }));
    assert_eq!(lost, [0, 1]);
    assert!(consumer.guard(assignment_epoch, &[(0, 1)]).is_err());
    assert!(wait_until(PATIENCE, || matches!(poll(), Input::Assigned(_))));
    // A partition lost and regained is lost.
    assert!(consumer.guard(assignment_epoch, &[(0, 1)]).is_err());
    assert!(consumer.guard(consumer.assignment_epoch(), &[(0, 1)]).is_ok());
}

fn too_large(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    client.begin().unwrap();
    client.send(&world.out(0, "small", "1")).unwrap();
    let large = "x".repeat(1_048_577);
    let (result, took) = timed(|| client.send(&world.out(0, "large", &large)));
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Abort { .. }), "{error:?}");
    assert!(took < Duration::from_secs(5), "it will not fit later either: {took:?}");
    client.abort().unwrap();
    // Not refused by us, but by the topic: random text, which does not compress to less.
    for round in 0..3 {
        client.begin().unwrap();
        let noise = noise(1_048_000);
        client.send(&outgoing(&world.output, 0, "noise", Some(&noise[..1_000_000]))).unwrap();
        client.send(&world.out(0, "ok", &round.to_string())).unwrap();
        client.commit(&[(0, round)], COMMIT).unwrap();
    }
    let records = world.committed_records(&world.output, 0);
    assert_eq!(records.iter().filter(|record| record.starts_with("ok=")).count(), 3);
    assert!(!records.iter().any(|record| record.starts_with("small=")));
}

/// Returns text that compresses badly.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..bytes).map(|_| next()).collect()
}

fn quick_abort(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    for round in 0..3 {
        client.begin().unwrap();
        for index in 0..5_000 {
            client.send(&world.out(0, &index.to_string(), "x")).unwrap();
        }
        let (result, took) = timed(|| client.abort());
        result.unwrap();
        // Unserved it would take the whole transaction timeout; this soon after a commit it may replace the producer.
        assert!(took < Duration::from_secs(3), "abort took {took:?}");
        client.begin().unwrap();
        client.send(&world.out(0, "kept", "x")).unwrap();
        client.commit(&[(0, round)], COMMIT).unwrap();
    }
    assert_eq!(world.committed_records(&world.output, 0), ["kept=x"; 3]);
}

fn headers(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    let headers: &[(&[u8], Option<&[u8]>)] =
        &[(b"plain", Some(b"1")), (b"not \xff UTF-8", Some(b"\x00\xff")), (b"plain", None), (b"", Some(b""))];
    client.begin().unwrap();
    // To the input, so that the worker itself has to read it.
    for (partition, value) in [(Some(0), Some(b"".as_slice())), (None, None)] {
        let record =
            Outgoing { topic: &world.input, partition, key: None, value, headers, timestamp: Some(1_700_000_000_123) };
        client.send(&record).unwrap();
    }
    client.commit(&[(0, 0)], COMMIT).unwrap();
    client.start(0, 0).unwrap();
    for expected in [Some(b"".as_slice()), None] {
        let value = until(&client, |input| match input {
            Input::Record(record) => {
                assert_eq!(record.headers(), headers);
                assert_eq!(record.timestamp(), Some(1_700_000_000_123));
                assert_eq!(record.key(), None);
                Some(record.value().map(<[u8]>::to_vec))
            }
            _ => None,
        });
        assert_eq!(value.as_deref(), expected);
    }
}

fn open_transaction_counts(broker: &Broker) {
    let world = World::new(broker, 1);
    world.fill(0, 3);
    let (client, _) = world.join("a");
    let ends = || client.log_ends(0, PATIENCE).unwrap();
    assert_eq!(ends(), LogEnds { start: 0, end: 3 });
    let upstream = Transactions::init(&world.settings("upstream"), &world.input, Default::default(), PATIENCE).unwrap();
    upstream.begin().unwrap();
    upstream.send(&outgoing(&world.input, 0, "k", Some("v"))).unwrap();
    assert!(wait_until(PATIENCE, || {
        upstream.serve();
        ends().end == 4
    }));
    upstream.abort().unwrap();
    // The marker takes an offset too.
    assert!(wait_until(PATIENCE, || ends() == LogEnds { start: 0, end: 5 }));
    let group = ClientConfig::new().set("bootstrap.servers", &world.bootstrap).create::<BaseConsumer>().unwrap();
    assert_eq!(group.fetch_watermarks(&world.input, 0, PATIENCE).unwrap(), (0, 5));
}

fn position(broker: &Broker) {
    let world = World::new(broker, 2);
    world.fill(0, 3);
    let (client, _) = world.join("a");
    // Records of another transaction, one that commits and one that does not.
    let upstream = Transactions::init(&world.settings("upstream"), &world.input, Default::default(), PATIENCE).unwrap();
    let open = || {
        upstream.begin().unwrap();
        upstream.send(&outgoing(&world.input, 0, "k", Some("v"))).unwrap();
    };
    let reaches = |partition, offset| {
        assert!(wait_until(PATIENCE, || {
            upstream.serve();
            client.poll(Duration::from_millis(10)).unwrap();
            client.position(partition) == Some(offset)
        }));
    };
    assert_eq!(client.position(0), None);
    client.start(0, 0).unwrap();
    client.start(1, 0).unwrap();
    reaches(0, 3);
    reaches(1, 0);
    open();
    assert!(wait_until(PATIENCE, || {
        upstream.serve();
        client.log_ends(0, PATIENCE).unwrap().end == 4
    }));
    assert!(!wait_until(Duration::from_millis(300), || {
        client.poll(Duration::from_millis(10)).unwrap();
        client.position(0) != Some(3)
    }));
    upstream.abort().unwrap();
    reaches(0, 5);
    assert_eq!(client.log_ends(0, PATIENCE).unwrap().end, 5);
    // Back to the end itself, as after an abort.
    client.start(0, 5).unwrap();
    reaches(0, 5);
    assert_eq!(client.position(7), None);
}
