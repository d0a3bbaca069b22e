//! `livesession run` behind a network that loses, delays and misdirects single requests: the result is that of a run
//! without faults, which is that of a batch job.
//!
//! Every scenario says which frames it wants to lose, and fails if none was lost: see [`crate::kafka::support::proxy`].

use std::time::Duration;

use crate::kafka::support::audit::{self, Audited};
use crate::kafka::support::broker::Broker;
use crate::kafka::support::deployment::{Deployment, wait};
use crate::kafka::support::process::Worker;
use crate::kafka::support::proxy::Action::{Answer, Cut, Delay, Hold, Keep, Release, Swallow};
use crate::kafka::support::proxy::Side::{Request, Response};
use crate::kafka::support::proxy::{Action, Api, Fault, NOT_COORDINATOR, Proxy, Struck};
use crate::kafka::support::traffic::{self, RULES, Traffic};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "lost_slow_and_refused_requests_change_nothing", body: Body::Owned(lost) },
    Test { name: "requests_that_come_into_the_next_transaction_change_nothing", body: Body::Owned(late) },
    Test { name: "late_commit_doubles_what_it_decides_where_the_producer_stays", body: Body::Owned(stays) },
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
    /// Parts of the traffic, and how many of them were read.
    parts: (usize, usize),
    proxy: Proxy,
}

impl Scene {
    /// Starts a worker over two partitions, and reads the first of so many parts before anything goes wrong.
    ///
    /// `weaknesses` are the protections that it lacks: see [`livesession_kafka::fault::Safeguards`].
    fn new(broker: &Broker, seed: u64, parts: usize, settings: &str, weaknesses: &str) -> Scene {
        let proxy = broker.proxy();
        let traffic = Traffic::generate(seed, 2, 7 * parts);
        let mut deployment = Deployment::new(broker, 2);
        let brokers = format!("kafka.brokers = [\"{}\"]", proxy.bootstrap());
        deployment.settings = deployment.settings.with(RULES).with(SETTINGS).with(settings).with(&brokers);
        let own = deployment.settings.clone().with(&format!("transactional_id = \"{}-a\"", deployment.name));
        let mut worker = Worker::start_as("a", "run", &own, &[("LIVESESSION_WEAKNESSES", weaknesses)]);
        worker.wait_ready();
        let workers = vec![worker];
        let mut scene = Scene { workers, deployment, traffic, parts: (parts, 0), proxy };
        scene.read_part();
        scene
    }

    fn inject(&self, faults: &[Fault]) -> Vec<(Fault, Struck)> {
        faults.iter().map(|fault| (*fault, self.proxy.inject(*fault))).collect()
    }

    /// Writes the next part of the traffic and waits until it is committed.
    fn read_part(&mut self) {
        let (parts, read) = &mut self.parts;
        self.traffic.produce_part(&self.deployment, *read, *parts);
        *read += 1;
        self.wait_read();
    }

    fn wait_read(&mut self) {
        self.deployment.wait_read(&mut self.workers[0]);
    }

    /// Reads a part of the traffic under faults, each of which has to strike.
    fn read_under(&mut self, what: &str, faults: &[Fault]) {
        eprint!("{what}; ");
        let struck = self.inject(faults);
        self.read_part();
        assert_struck(struck);
        self.proxy.heal();
    }

    /// Writes a record that is refused and waits until its dead letter is committed.
    fn refuse_one(&mut self) {
        self.traffic.count("rejected");
        self.deployment.produce(0, &[traffic::garbage()]);
        self.wait_read();
    }

    /// Keeps a request of one transaction.
    fn keep_one(&mut self, api: Api, keep: Action) {
        let kept = self.proxy.inject(Fault::new(api, Request, keep).times(1));
        self.refuse_one();
        assert_eq!(kept.count(), 1, "{api:?} was not held up");
    }

    /// Keeps a request of one transaction and sends it into the next; returns what the broker says of it.
    fn come_late(&mut self, api: Api, keep: Action, when: Api) -> i16 {
        self.keep_one(api, keep);
        self.proxy.inject(Fault::new(when, Response, Release).times(1));
        self.refuse_one();
        self.proxy.heal();
        self.proxy.released().expect("nothing was released")
    }

    fn stop(&mut self) {
        for worker in &mut self.workers {
            worker.wait_ready();
            worker.stop();
        }
    }

    /// Reads the rest, stops the workers and checks everything that they have written.
    fn end(mut self) {
        self.proxy.heal();
        while self.parts.1 < self.parts.0 {
            self.read_part();
        }
        self.stop();
        self.traffic.assert_result(&self.deployment);
        audit::assert_clean(&self.deployment, &["--gap", "3m"]);
    }
}

/// Checks that nothing was spared.
fn assert_struck(struck: Vec<(Fault, Struck)>) {
    let spared: Vec<Fault> = struck.iter().filter(|(_, struck)| struck.count() == 0).map(|(fault, _)| *fault).collect();
    assert!(spared.is_empty(), "these never struck: {spared:?}");
}

/// Requests and answers of a transaction that get lost, come late, or find nobody responsible.
fn lost(broker: &Broker) {
    let mut scene = Scene::new(broker, 20, 7, "", "");
    let lost = |side, action| Fault::new(Api::END_TXN, side, action);
    // The coordinator has committed, and the worker does not learn of it.
    scene.read_under("answers to commits", &[lost(Response, Swallow).times(1), lost(Response, Cut).every(2).times(3)]);
    // The coordinator never hears of the commit.
    scene.read_under("commits", &[lost(Request, Swallow).times(1), lost(Request, Cut).every(2).times(3)]);

    let swallowed = Fault::new(Api::TXN_OFFSET_COMMIT, Response, Swallow).times(1);
    let cut = |api, side| Fault::new(api, side, Cut).every(3).times(2);
    let (answers, requests) = (cut(Api::TXN_OFFSET_COMMIT, Response), cut(Api::TXN_OFFSET_COMMIT, Request));
    scene.read_under("offsets", &[swallowed, answers, requests, cut(Api::ADD_OFFSETS_TO_TXN, Response)]);

    // Another broker is responsible for the group and the id, so this one says; a while later it is this one.
    let elsewhere = |api| Fault::new(api, Request, Answer(NOT_COORDINATOR)).times(3);
    let kinds = [Api::ADD_OFFSETS_TO_TXN, Api::TXN_OFFSET_COMMIT, Api::END_TXN, Api::HEARTBEAT];
    scene.read_under("a coordinator that moves", &kinds.map(elsewhere));

    // Later than any honest answer, but within every timeout: after each commit the producer is replaced.
    let late = |api, side, ms| Fault::new(api, side, Delay(Duration::from_millis(ms)));
    let commits = late(Api::END_TXN, Response, 150).times(5);
    let offsets = late(Api::TXN_OFFSET_COMMIT, Request, 200).every(3);
    let (records, reads) = (late(Api::PRODUCE, Response, 100).every(3), late(Api::FETCH, Response, 100).every(5));
    let count = |scene: &Scene| {
        let metric = |series: &str| scene.workers[0].metric(series).unwrap_or(0.0);
        let committed = metric("livesession_transactions_total{outcome=\"committed\"}");
        (metric("livesession_input_records_read_total"), committed)
    };
    let before = count(&scene);
    scene.read_under("slow answers", &[commits, offsets, records, reads]);
    let after = count(&scene);
    let (records, transactions) = (after.0 - before.0, after.1 - before.1);
    assert!(
        records >= 3.0 * transactions,
        "{records} records in {transactions} transactions: what is slow is not shared"
    );
    scene.end();
}

/// Requests of one transaction that arrive in the next one of the same id.
///
/// The broker would take them for that one's. Only another epoch of the producer helps.
fn late(broker: &Broker) {
    let mut scene = Scene::new(broker, 25, 2, "", "");
    // A commit whose repetition decided its transaction: it would publish what is written of the next one, a dead letter
    // without the offset behind it, so that it would be written again.
    let answer = scene.come_late(Api::END_TXN, Keep, Api::PRODUCE);
    assert!(answer > 0, "a late commit was taken");
    // Offsets, repeated with success: they would turn the group back behind those of the next transaction.
    let answer = scene.come_late(Api::TXN_OFFSET_COMMIT, Keep, Api::TXN_OFFSET_COMMIT);
    assert!(answer > 0, "late offsets were taken");
    // The same where nobody repeats them, and the transaction fails.
    let answer = scene.come_late(Api::TXN_OFFSET_COMMIT, Hold, Api::TXN_OFFSET_COMMIT);
    assert!(answer > 0, "late offsets of a failed transaction were taken");

    // A takeover of the id by a new producer, which a slow commit asks for. The broker does it again and fences the one
    // that works: as a twin would, but only once. Either answer says that the transaction is aborted.
    const CONCURRENT_TRANSACTIONS: i16 = 51;
    scene.proxy.inject(Fault::new(Api::END_TXN, Response, Delay(Duration::from_millis(150))).times(1));
    scene.refuse_one();
    let answer = scene.come_late(Api::INIT_PRODUCER_ID, Keep, Api::PRODUCE);
    assert!(matches!(answer, 0 | CONCURRENT_TRANSACTIONS), "a late takeover had no effect: {answer}");
    let log = scene.workers[0].log();
    assert!(log.contains("building the worker again"), "nobody was fenced: {log}");
    scene.end();
}

/// The first of these, and a worker that goes on with the same producer: the broker takes the late commit, and a worker
/// that dies then has published what it will read again.
fn stays(broker: &Broker) {
    let mut scene = Scene::new(broker, 25, 2, "", "producer_replacement");
    scene.keep_one(Api::END_TXN, Keep);
    // The commit comes when the next dead letter is written and its offset is not.
    scene.proxy.inject(Fault::new(Api::ADD_OFFSETS_TO_TXN, Request, Swallow).times(1));
    scene.proxy.inject(Fault::new(Api::PRODUCE, Response, Release).times(1));
    scene.deployment.produce(0, &[traffic::garbage()]);
    let mut answer = None;
    wait("the late commit", || {
        answer = scene.proxy.released();
        answer.is_some()
    });
    assert_eq!(answer, Some(0), "what is late is refused without another protection");
    scene.workers.remove(0).kill9();
    scene.proxy.heal();
    scene.workers.push(scene.deployment.start_ready("a"));
    scene.wait_read();
    scene.stop();
    let Audited { code, text } = audit::audit(&scene.deployment, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("refused twice: "), "{text}");
}

/// Nothing passes any more, and nobody is told: a firewall that forgot its connections.
fn half_open(broker: &Broker) {
    let mut scene = Scene::new(broker, 26, 3, SHORTER, "");
    let silenced = scene.proxy.silence();
    assert!(silenced >= 4, "consumer, producer and their coordinators have connections: {silenced}");
    scene.read_part();
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
    let mut scene = Scene::new(broker, 27, 3, "", "");
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
    scene.read_part();
    wait("a second worker that works", || scene.workers[1].get("/readyz").is_some_and(|(code, _)| code == 200));
    // A member is ready with no partition yet: the group gives it some, whose offsets it asks for, a rebalance later.
    wait("a partition that changes hands", || struck.iter().all(|(_, struck)| struck.count() > 0));
    assert_struck(struck);
    scene.end();
}
