//! `livesession run` that dies, fails or waits before and after each step of the protocol: the result is that of a run
//! without faults. The places are those of [`livesession_kafka::fault::failpoint`]; none may be left out.

use livesession_kafka::fault::failpoint::PLACES;

use crate::kafka::support::audit;
use crate::kafka::support::broker::Broker;
use crate::kafka::support::deployment::{Deployment, wait};
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic::{RULES, Traffic};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "death_at_every_place_changes_nothing", body: Body::Shared(killed) },
    Test { name: "death_while_partitions_change_hands_changes_nothing", body: Body::Shared(killed_on_revoke) },
    Test { name: "error_and_delay_at_every_place_change_nothing", body: Body::Shared(failed) },
];

/// Small transactions, so that every place is reached soon; short timeouts, so that the dead are not missed for long.
const SETTINGS: &str = r#"
    kafka.transaction_timeout = "2s"
    kafka.session_timeout = "2s"
    kafka.max_poll_interval = "6s"
    kafka.commit_max_records = 5
    kafka.commit_interval = "20ms"
"#;

/// Places that are reached only where partitions change hands.
fn is_of_a_rebalance(place: &str) -> bool {
    place.starts_with("revoke.") || place.starts_with("leave.")
}

/// Starts a worker with rules for its failpoints.
fn start(deployment: &Deployment, worker: &str, settings: &str, rules: &str) -> Worker {
    let own = format!("transactional_id = \"{}-{worker}\"", deployment.name);
    let settings = deployment.settings.clone().with(&own).with(settings);
    Worker::start_as(worker, "run", &settings, &[("LIVESESSION_FAILPOINTS", rules)])
}

/// Waits for the death of a worker at a place.
fn assert_dies(worker: &mut Worker, place: &str) {
    assert_eq!(worker.wait_signal(PATIENCE), libc::SIGABRT, "{place}");
    assert!(worker.log().contains(&format!("failpoint {place}: Kill")), "{place}: {}", worker.log());
}

fn deployment(broker: &Broker) -> Deployment {
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(RULES).with(SETTINGS);
    deployment
}

fn assert_result(traffic: &Traffic, deployment: &Deployment) {
    traffic.assert_result(deployment);
    audit::assert_clean(deployment, &["--gap", "3m"]);
}

/// One life after the other, each ends at the next place.
fn killed(broker: &Broker) {
    // Static, so that a life does not wait for the group to miss the one before.
    const STATIC: &str = "kafka.group_instance_id = \"a\"";
    let places: Vec<&str> = PLACES.iter().copied().filter(|place| !is_of_a_rebalance(place)).collect();
    let traffic = Traffic::generate(30, 2, 40);
    let deployment = deployment(broker);
    for (life, place) in places.iter().enumerate() {
        let step = place.split('.').next().expect("a place has a step");
        let rules = match step {
            // The first one is that of the start; a commit that takes long asks for another.
            "init" => format!("commit.after=delay:100,{place}=kill@2"),
            "abort" => format!("offsets.after=abort@2,{place}=kill"),
            "restore" if place.ends_with("record") => format!("{place}=kill@3"),
            "send" => format!("{place}=kill@7"),
            "begin" | "offsets" | "commit" => format!("{place}=kill@2"),
            _ => format!("{place}=kill"),
        };
        traffic.produce_part(&deployment, life, places.len() + 1);
        assert_dies(&mut start(&deployment, "a", STATIC, &rules), place);
    }
    traffic.produce_part(&deployment, places.len(), places.len() + 1);
    let mut worker = start(&deployment, "a", STATIC, "");
    deployment.wait_read(&mut worker);
    worker.stop();
    assert_result(&traffic, &deployment);
}

/// Dies as soon as the group asks for partitions that another worker is to get.
fn killed_on_revoke(broker: &Broker) {
    let places: Vec<&str> = PLACES.iter().copied().filter(|place| is_of_a_rebalance(place)).collect();
    assert_eq!(places.len(), 3, "{places:?}");
    let traffic = Traffic::generate(31, 2, 20);
    let deployment = deployment(broker);
    for (life, place) in places.iter().enumerate() {
        let mut worker = start(&deployment, "a", "", &format!("{place}=kill"));
        worker.wait_metric("livesession_assigned_partitions", |value| value == 2.0);
        worker.wait_ready();
        traffic.produce_part(&deployment, life, places.len());
        let mut other = start(&deployment, "b", "", "");
        assert_dies(&mut worker, place);
        deployment.wait_read(&mut other);
        other.stop();
    }
    assert_result(&traffic, &deployment);
}

/// One process in which every place fails and waits in turn.
fn failed(broker: &Broker) {
    let traffic = Traffic::generate(32, 2, 60);
    let deployment = deployment(broker);
    let mut rules = Vec::new();
    for (index, place) in PLACES.iter().copied().filter(|place| !is_of_a_rebalance(place)).enumerate() {
        let index = index as u64;
        let step = place.split('.').next().expect("a place has a step");
        // What fails at a place has to be true there: after a commit nobody may say that nothing was committed.
        let error = if matches!(place, "commit.after" | "abort.after") || !is_of_a_transaction(step) {
            "rebuild"
        } else {
            "abort"
        };
        // Not all at once, and not before there is something to lose.
        let at = match step {
            "init" => 4 + index,
            "restore" if place.ends_with("record") => 20,
            "abort" => 1,
            "restore" | "seek" => 2 + index % 3,
            "send" => 40 + 10 * index,
            _ => 3 + index,
        };
        rules.push(format!("{place}={error}@{at}"));
        rules.push(format!("{place}=delay:120@{}", at + 1));
    }
    let mut worker = start(&deployment, "a", "", &rules.join(","));
    for part in 0..10 {
        traffic.produce_part(&deployment, part, 10);
        deployment.wait_read(&mut worker);
    }
    let struck = |worker: &Worker, rule: &str| {
        let (place, action) = rule.split_once('=').expect("a rule");
        let at = action.rsplit_once('@').expect("a rule says when").1;
        let log = worker.log();
        log.lines()
            .any(|line| line.starts_with(&format!("failpoint {place}: ")) && line.ends_with(&format!(" at {at}")))
    };
    let missed: Vec<&String> = rules.iter().filter(|rule| !struck(&worker, rule)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
    wait("a worker that works", || worker.get("/readyz").is_some_and(|(code, _)| code == 200));
    worker.stop();
    assert_result(&traffic, &deployment);
}

fn is_of_a_transaction(step: &str) -> bool {
    matches!(step, "begin" | "send" | "offsets" | "commit" | "abort")
}
