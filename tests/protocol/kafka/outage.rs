//! A broker that goes and comes back, and a worker that is too slow for it.

use std::time::Duration;

use livesession_kafka::{Broker as _, Client, TransactionError as Error};

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::{PATIENCE, World, timed, wait_for_assignment};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "transaction_that_timed_out_is_no_twin", body: Body::Shared(timed_out) },
    Test { name: "new_worker_takes_over_what_a_dead_one_left_open", body: Body::Shared(taken_over) },
    Test { name: "worker_that_leaves_is_replaced_at_once", body: Body::Shared(left) },
    Test { name: "broker_killed_before_a_commit_leaves_all_or_nothing", body: Body::Owned(killed) },
    Test { name: "absent_broker_is_given_up_at_the_deadline", body: Body::Owned(absent) },
];

/// The coordinator has aborted it, and answers as it would to a twin.
fn timed_out(broker: &Broker) {
    let world = World::new(broker, 1);
    let mut settings = world.settings("a");
    settings.transaction_timeout = Duration::from_secs(1);
    let client = Client::connect(&settings, &world.input, &world.changelog, PATIENCE).unwrap();
    wait_for_assignment(&client);
    client.begin().unwrap();
    client.send(&world.out(0, "a", "1")).unwrap();
    // Timeout and sweep.
    assert!(!wait_until(Duration::from_secs(4), || {
        client.poll(Duration::from_millis(20)).unwrap();
        false
    }));
    let error = client.commit(&[(0, 1)], PATIENCE).unwrap_err();
    assert!(matches!(error, Error::Rebuild { .. } | Error::Abort { .. }), "{error:?}");
    assert!(world.committed_records(&world.output, 0).is_empty());
    assert_eq!(world.committed_offset(0), None);
}

fn taken_over(broker: &Broker) {
    let world = World::new(broker, 1);
    let (dead, _) = world.join("a");
    dead.begin().unwrap();
    dead.send(&world.out(0, "a", "dead")).unwrap();
    for _ in 0..20 {
        dead.poll(Duration::from_millis(10)).unwrap();
    }
    // Not dropped: a dead process says nothing.
    std::mem::forget(dead);
    let (next, took) = timed(|| world.connect("a"));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(world.committed_records(&world.output, 0).is_empty(), "readers are not held up");
    drop(next);
}

fn left(broker: &Broker) {
    let world = World::new(broker, 2);
    let (first, _) = world.join("a");
    let (result, took) = timed(|| drop(first));
    let () = result;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let ((_, assigned), took) = timed(|| world.join("b"));
    assert_eq!(assigned, [0, 1]);
    // Far below the session timeout.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

fn killed(broker: &Broker) {
    let world = World::new(broker, 1);
    let (client, _) = world.join("a");
    client.begin().unwrap();
    client.send(&world.out(0, "a", "1")).unwrap();
    broker.kill9();
    // The broker is started by this thread, since it dies with the one that started it.
    let (client, result) = std::thread::scope(|scope| {
        let committing = scope.spawn(move || {
            let result = client.commit(&[(0, 1)], Duration::from_secs(30));
            (client, result)
        });
        broker.start();
        committing.join().unwrap()
    });
    let whole = match result {
        Ok(()) => true,
        Err(Error::Abort { .. }) => {
            client.abort().unwrap();
            false
        }
        Err(Error::Rebuild { .. }) => {
            // Nobody knows; the next worker finds out.
            drop(client);
            let next = world.connect("a");
            drop(next);
            world.committed_offset(0).is_some()
        }
        Err(other) => panic!("an outage is no twin and no defect: {other:?}"),
    };
    let records = world.committed_records(&world.output, 0);
    assert_eq!(records, ["a=1"][..usize::from(whole)]);
    assert_eq!(world.committed_offset(0), whole.then_some(1));
}

fn absent(broker: &Broker) {
    let world = World::new(broker, 1);
    broker.stop();
    let timeout = Duration::from_secs(2);
    let connect = || Client::connect(&world.settings("a"), &world.input, &world.changelog, timeout);
    let (result, took) = timed(connect);
    broker.start();
    assert!(matches!(result, Err(Error::Rebuild { .. })));
    assert!(took < timeout + Duration::from_secs(2), "{took:?}");
}
