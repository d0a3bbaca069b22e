//! `kafka::replay`: two replays with one transactional id, for each way in which the first can notice.

use livesession_kafka::replay::{Error, Replay};
use livesession_kafka::settings::Settings;
use livesession_kafka::{Outgoing, TransactionError};

use crate::kafka::support::broker::Broker;
use crate::kafka::support::fixture::{PATIENCE, World, outgoing};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("note_is_committed_with_the_records", committed),
    test("replay_that_was_overtaken_in_a_transaction_is_fenced", overtaken_inside),
    test("replay_that_was_overtaken_between_transactions_does_not_come_back", overtaken_between),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

/// From partition 0 of the input to the output.
fn connect(world: &World, settings: &Settings) -> Replay {
    let replay = Replay::connect(settings, &world.input, PATIENCE).unwrap();
    replay.metadata(&[0]).unwrap();
    replay
}

fn out<'a>(world: &'a World, value: &'a str) -> Outgoing<'a> {
    outgoing(&world.output, 0, "k", Some(value))
}

fn carry(world: &World, replay: &Replay, value: &str) -> Result<(), Error> {
    replay.begin(0)?;
    replay.send(&out(world, value))?;
    replay.commit(0, 1, value)
}

fn committed(broker: &Broker) {
    let world = World::new(broker, 1);
    let settings = world.settings("replay");
    let replay = connect(&world, &settings);
    carry(&world, &replay, "1").unwrap();
    carry(&world, &replay, "2").unwrap();
    replay.begin(0).unwrap();
    replay.send(&out(&world, "aborted")).unwrap();
    replay.abort().unwrap();
    drop(replay);
    let notes = Replay::connect(&settings, &world.input, PATIENCE).unwrap().metadata(&[0]).unwrap();
    assert_eq!(notes[&0], "2");
    assert_eq!(world.committed_records(&world.output, 0), ["k=1", "k=2"]);
}

fn overtaken_inside(broker: &Broker) {
    let world = World::new(broker, 1);
    let settings = world.settings("replay");
    let first = connect(&world, &settings);
    first.begin(0).unwrap();
    first.send(&out(&world, "first")).unwrap();
    let second = connect(&world, &settings);
    carry(&world, &second, "second").unwrap();
    let error = first.commit(0, 1, "first").unwrap_err();
    assert!(matches!(error, Error::Write(TransactionError::Fenced { .. })), "{error:?}");
    assert_eq!(world.committed_records(&world.output, 0), ["k=second"]);
}

/// The first one replaces its producer, as it does after any doubt, and so takes the id back.
fn overtaken_between(broker: &Broker) {
    let world = World::new(broker, 1);
    let mut settings = world.settings("replay");
    // Makes every commit one that took suspiciously long.
    settings.producer_properties.push(("retry.backoff.ms".to_owned(), "1".to_owned()));
    let first = connect(&world, &settings);
    carry(&world, &first, "first").unwrap();
    let second = connect(&world, &settings);
    carry(&world, &second, "second").unwrap();
    let error = carry(&world, &first, "stale").unwrap_err();
    assert!(matches!(error, Error::Taken { partition: 0, .. }), "{error:?}");
    assert_eq!(world.committed_records(&world.output, 0), ["k=first", "k=second"]);
}
