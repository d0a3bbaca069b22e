//! `livesession run` behind a network that loses, delays and misdirects single requests: the result is that of a run
//! without faults, which is that of a batch job.
//!
//! Every scenario says which frames it wants to lose, and fails if none was lost: see [`crate::proxy`].

use std::time::Duration;

use crate::audit;
use crate::broker::Broker;
use crate::deployment::{Deployment, wait};
use crate::process::Worker;
use crate::proxy::Action::{Answer, Cut, Delay, Hold, Keep, Release, Swallow};
use crate::proxy::Side::{Request, Response};
use crate::proxy::{Action, Api, Fault, NOT_COORDINATOR, Proxy, Struck};
use crate::traffic::{self, RULES, Traffic};
use crate::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "lost_answers_to_commits_change_nothing", body: Body::Owned(lost_commit_answers) },
    Test { name: "lost_commits_change_nothing", body: Body::Owned(lost_commits) },
    Test { name: "commit_that_comes_into_the_next_transaction_is_refused", body: Body::Owned(late_commit) },
    Test { name: "offsets_that_come_into_the_next_transaction_are_refused", body: Body::Owned(late_offsets) },
    Test { name: "takeover_that_comes_late_is_survived", body: Body::Owned(late_takeover) },
    Test { name: "lost_answers_to_offsets_change_nothing", body: Body::Owned(lost_offset_answers) },
    Test { name: "slow_answers_change_nothing", body: Body::Owned(slow) },
    Test { name: "coordinator_that_moves_changes_nothing", body: Body::Owned(moved) },
    Test { name: "half_open_connections_change_nothing", body: Body::Owned(half_open) },
    Test { name: "losing_every_kind_of_request_changes_nothing", body: Body::Owned(every_kind) },
];

/// Short, so that what is swallowed is missed soon, and small transactions, so that there are many.
const SETTINGS: &str = r#"
    kafka.transaction_timeout = "2s"
    kafka.session_timeout = "4s"
    kafka.max_poll_interval = "6s"
    kafka.commit_max_records = 10
    kafka.commit_interval = "20ms"
"#;

/// For what is noticed only by the end of a session.
const SHORTER: &str = r#"
    kafka.transaction_timeout = "2s"
    kafka.session_timeout = "2s"
    kafka.max_poll_interval = "4s"
"#;

/// A worker behind the proxy, and what it has to come to.
struct Scene {
    // The worker first, so that it does not outlive the proxy, which waits for the end of all connections.
    workers: Vec<Worker>,
    deployment: Deployment,
    traffic: Traffic,
    proxy: Proxy,
}

impl Scene {
    /// Starts as many workers over two partitions; a third of the traffic is read before anything goes wrong.
    fn new(broker: &Broker, seed: u64, workers: &[&str]) -> Scene {
        Scene::with(broker, seed, workers, "")
    }

    fn with(broker: &Broker, seed: u64, workers: &[&str], settings: &str) -> Scene {
        let proxy = broker.proxy();
        let traffic = Traffic::generate(seed, 2, 20);
        let mut deployment = Deployment::new(broker, 2);
        let brokers = format!("kafka.brokers = [\"{}\"]", proxy.bootstrap());
        deployment.settings = deployment.settings.with(RULES).with(SETTINGS).with(settings).with(&brokers);
        let workers = workers.iter().map(|worker| deployment.start_ready(worker)).collect();
        let mut scene = Scene { workers, deployment, traffic, proxy };
        scene.read_part(0);
        scene
    }

    fn inject(&self, faults: &[Fault]) -> Vec<(Fault, Struck)> {
        faults.iter().map(|fault| (*fault, self.proxy.inject(*fault))).collect()
    }

    /// Writes a third of the traffic and waits until it is committed.
    fn read_part(&mut self, part: usize) {
        self.traffic.produce_part(&self.deployment, part, 3);
        self.wait_read();
    }

    fn wait_read(&mut self) {
        self.deployment.wait_read(&mut self.workers[0]);
    }

    /// Stops the workers and checks everything that they have written.
    fn end(mut self) {
        self.proxy.heal();
        self.read_part(2);
        for worker in &mut self.workers {
            worker.wait_ready();
            worker.stop();
        }
        self.traffic.assert_result(&self.deployment);
        audit::assert_clean(&self.deployment, &["--gap", "3m"]);
    }
}

/// Checks that nothing was spared.
fn assert_struck(struck: Vec<(Fault, Struck)>) {
    let spared: Vec<Fault> = struck.iter().filter(|(_, struck)| struck.count() == 0).map(|(fault, _)| *fault).collect();
    assert!(spared.is_empty(), "these never struck: {spared:?}");
}

/// Reads a third of the traffic under faults, each of which has to strike.
fn under(broker: &Broker, seed: u64, faults: &[Fault]) {
    let mut scene = Scene::new(broker, seed, &["a"]);
    let struck = scene.inject(faults);
    scene.read_part(1);
    assert_struck(struck);
    scene.end();
}

/// The coordinator has committed, and the worker does not learn of it.
fn lost_commit_answers(broker: &Broker) {
    let lost = |action| Fault::new(Api::END_TXN, Response, action);
    under(broker, 20, &[lost(Swallow).times(1), lost(Cut).every(2).times(3)]);
}

/// The coordinator never hears of the commit.
fn lost_commits(broker: &Broker) {
    let lost = |action| Fault::new(Api::END_TXN, Request, action);
    under(broker, 21, &[lost(Swallow).times(1), lost(Cut).every(2).times(3)]);
}

fn lost_offset_answers(broker: &Broker) {
    let lost = |api, side| Fault::new(api, side, Cut).every(3).times(2);
    let swallowed = Fault::new(Api::TXN_OFFSET_COMMIT, Response, Swallow).times(1);
    let answers = lost(Api::TXN_OFFSET_COMMIT, Response);
    let requests = lost(Api::TXN_OFFSET_COMMIT, Request);
    under(broker, 22, &[swallowed, answers, requests, lost(Api::ADD_OFFSETS_TO_TXN, Response)]);
}

/// Answers later than any honest one, but within every timeout: after each commit the producer is replaced.
fn slow(broker: &Broker) {
    let late = |api, side, ms| Fault::new(api, side, Delay(Duration::from_millis(ms)));
    let commits = late(Api::END_TXN, Response, 150).times(5);
    let offsets = late(Api::TXN_OFFSET_COMMIT, Request, 200).every(3);
    let records = late(Api::PRODUCE, Response, 100).every(3);
    let reads = late(Api::FETCH, Response, 100).every(5);
    let mut scene = Scene::new(broker, 23, &["a"]);
    let struck = scene.inject(&[commits, offsets, records, reads]);
    let count = |scene: &Scene, series| scene.workers[0].metric(series).unwrap_or(0.0);
    const READ: &str = "livesession_input_records_read_total";
    const COMMITTED: &str = "livesession_transactions_total{outcome=\"committed\"}";
    let before = (count(&scene, READ), count(&scene, COMMITTED));
    scene.read_part(1);
    let (records, transactions) = (count(&scene, READ) - before.0, count(&scene, COMMITTED) - before.1);
    assert!(
        records >= 3.0 * transactions,
        "{records} records in {transactions} transactions: what is slow is not shared"
    );
    assert_struck(struck);
    scene.end();
}

/// Another broker is responsible for the group and the transactional id, so this one says; a while later it is this one.
fn moved(broker: &Broker) {
    let elsewhere = |api| Fault::new(api, Request, Answer(NOT_COORDINATOR)).times(3);
    let kinds = [Api::ADD_OFFSETS_TO_TXN, Api::TXN_OFFSET_COMMIT, Api::END_TXN, Api::HEARTBEAT];
    under(broker, 24, &kinds.map(elsewhere));
}

/// A commit is held up, its repetition decides the transaction, and the first one arrives in the middle of the next.
///
/// The broker would take it for that one's, and publish the half of it that is written: records of which no offset was
/// committed, so that they would be published again. Only another epoch of the producer helps.
fn late_commit(broker: &Broker) {
    let mut scene = Scene::new(broker, 25, &["a"]);
    let kept = scene.proxy.inject(Fault::new(Api::END_TXN, Request, Keep).times(1));
    refuse_one(&mut scene);
    assert_eq!(kept.count(), 1, "the commit was not held up");
    // The dead letter of the next transaction is in the log, its offset is not in the transaction yet.
    let released = scene.proxy.inject(Fault::new(Api::PRODUCE, Response, Release).times(1));
    refuse_one(&mut scene);
    assert_eq!(released.count(), 1, "the commit was not released");
    let answers = scene.proxy.released();
    assert!(matches!(answers[..], [code] if code > 0), "the late commit was answered with no error: {answers:?}");
    scene.read_part(1);
    scene.end();
}

/// As above, with the offsets: they come again when those of the next transaction are in, and would turn the group back.
///
/// Held up with the connection, which is repeated and goes well; and without, which fails the transaction in the end.
fn late_offsets(broker: &Broker) {
    late(broker, Keep);
    late(broker, Hold);
}

fn late(broker: &Broker, keep: Action) {
    let mut scene = Scene::new(broker, 28, &["a"]);
    let kept = scene.proxy.inject(Fault::new(Api::TXN_OFFSET_COMMIT, Request, keep).times(1));
    refuse_one(&mut scene);
    assert_eq!(kept.count(), 1, "the offsets were not held up");
    let released = scene.proxy.inject(Fault::new(Api::TXN_OFFSET_COMMIT, Response, Release).times(1));
    refuse_one(&mut scene);
    assert_eq!(released.count(), 1, "the offsets were not released");
    let answers = scene.proxy.released();
    assert!(matches!(answers[..], [code] if code > 0), "the late offsets were answered with no error: {answers:?}");
    scene.read_part(1);
    scene.end();
}

/// The takeover of the id by a new producer is held up, repeated, and comes again in the middle of a transaction.
///
/// The broker does what it is asked to, and fences the producer that works: as a twin would, but only once.
fn late_takeover(broker: &Broker) {
    let mut scene = Scene::new(broker, 29, &["a"]);
    let slow = Fault::new(Api::END_TXN, Response, Delay(Duration::from_millis(150))).times(1);
    let kept = Fault::new(Api::INIT_PRODUCER_ID, Request, Keep).times(1);
    let struck = scene.inject(&[slow, kept]);
    // The first transaction is the slow one, and the second one begins with another producer.
    refuse_one(&mut scene);
    refuse_one(&mut scene);
    assert_struck(struck);
    let released = scene.proxy.inject(Fault::new(Api::PRODUCE, Response, Release).times(1));
    refuse_one(&mut scene);
    assert_eq!(released.count(), 1, "the takeover was not released");
    // Either way the transaction is aborted, and the epoch is another one.
    const CONCURRENT_TRANSACTIONS: i16 = 51;
    let answers = scene.proxy.released();
    assert!(matches!(answers[..], [0 | CONCURRENT_TRANSACTIONS]), "the late takeover had no effect: {answers:?}");
    let log = scene.workers[0].log();
    assert!(log.contains("building the worker again"), "nobody was fenced: {log}");
    scene.read_part(1);
    scene.end();
}

/// Writes a record that is refused and waits until its dead letter is committed.
fn refuse_one(scene: &mut Scene) {
    scene.traffic.count("rejected");
    scene.deployment.produce(0, &[traffic::garbage()]);
    scene.wait_read();
}

/// Nothing passes any more, and nobody is told: a firewall that forgot its connections.
fn half_open(broker: &Broker) {
    let mut scene = Scene::with(broker, 26, &["a", "b"], SHORTER);
    let silenced = scene.proxy.silence();
    assert!(silenced >= 4, "each worker has connections of a consumer and of a producer: {silenced}");
    scene.read_part(1);
    scene.end();
}

/// Cuts the connection of every kind of request, before and after the broker has seen it.
fn every_kind(broker: &Broker) {
    // Of what a worker asks all the time some, of the rest the first.
    const OFTEN: [(Api, u64); 7] = [
        (Api::PRODUCE, 4),
        (Api::FETCH, 11),
        (Api::METADATA, 2),
        (Api::ADD_PARTITIONS_TO_TXN, 4),
        (Api::ADD_OFFSETS_TO_TXN, 4),
        (Api::END_TXN, 4),
        (Api::TXN_OFFSET_COMMIT, 4),
    ];
    const SELDOM: [Api; 8] = [
        Api::LIST_OFFSETS,
        Api::OFFSET_FETCH,
        Api::FIND_COORDINATOR,
        Api::JOIN_GROUP,
        Api::HEARTBEAT,
        Api::SYNC_GROUP,
        Api::INIT_PRODUCER_ID,
        Api::DESCRIBE_CONFIGS,
    ];
    let mut scene = Scene::new(broker, 27, &["a"]);
    let often = OFTEN.map(|(api, every)| (api, every, 2));
    let seldom = SELDOM.map(|api| (api, 1, 1));
    let mut faults = Vec::new();
    for (api, every, times) in often.into_iter().chain(seldom) {
        for side in [Request, Response] {
            faults.push(Fault::new(api, side, Cut).every(every).times(times));
        }
    }
    let struck = scene.inject(&faults);
    // One that comes meanwhile asks what is asked at the start, and makes the group change hands.
    let second = scene.deployment.start("b");
    scene.workers.push(second);
    scene.read_part(1);
    wait("a second worker that works", || scene.workers[1].get("/readyz").is_some_and(|(code, _)| code == 200));
    assert_struck(struck);
    scene.end();
}
