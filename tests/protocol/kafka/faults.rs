//! `livesession run` when processes and brokers die, freeze, and are there twice: the result is that of a run without
//! faults, which is that of a batch job.

use std::time::Duration;

use livesession::clock;

use crate::kafka::support::audit::{self, NEVER_IDLE};
use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::deployment::{Deployment, wait};
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic::{self, RULES, Random, Traffic};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "kill_at_random_moments_changes_nothing", body: Body::Shared(killed) },
    Test { name: "frozen_worker_doubles_nothing_when_it_wakes", body: Body::Shared(frozen) },
    Test { name: "peer_that_holds_every_connection_changes_nothing", body: Body::Shared(crowded) },
    Test { name: "twin_stops_one_of_the_two", body: Body::Shared(twin) },
    Test { name: "broker_killed_in_the_middle_changes_nothing", body: Body::Launched(restarted) },
    Test { name: "broker_away_for_longer_than_a_transaction_changes_nothing", body: Body::Launched(away) },
];

/// Open files of a worker, and the connections that a peer opens to it.
const OPEN_FILES: u64 = 512;
const CONNECTIONS: usize = 600;

/// Names the seed of the moments at which a worker is killed: `LIVESESSION_TEST_SEED=7 cargo test --test protocol -- kafka::faults`.
const SEED: &str = "LIVESESSION_TEST_SEED";

/// Short, so that a group notices soon that a member is gone.
const SHORT: &str = r#"
    kafka.transaction_timeout = "3s"
    kafka.session_timeout = "4s"
    kafka.max_poll_interval = "6s"
"#;

/// Small transactions, so that there are many between which something can happen.
const SMALL: &str = r#"
    kafka.commit_max_records = 10
    kafka.commit_interval = "20ms"
"#;

/// Transactions that stay open long enough to be met in the middle.
const LONG: &str = r#"
    kafka.commit_interval = "1s"
"#;

fn killed(broker: &Broker) {
    const LIVES: usize = 5;
    let seed = std::env::var(SEED)
        .map_or_else(|_| clock::now().as_ms().unsigned_abs() % 100_000, |seed| seed.parse().unwrap());
    eprint!("{SEED}={seed} ");
    let mut random = Random::new(seed);
    let traffic = Traffic::generate(5, 4, 60);
    let mut deployment = Deployment::new(broker, 4);
    deployment.settings = deployment.settings.with(RULES).with(SHORT).with(SMALL);
    // A worker that is killed stays in the group until its session times out.
    deployment.settings = deployment.settings.with("kafka.session_timeout = \"3s\"");
    traffic.produce(&deployment);
    for life in 0..LIVES {
        let mut worker = deployment.start("a");
        if life == 1 {
            // While it starts, joins or restores.
            let moment = Duration::from_millis(random.below(1_500));
            assert!(!wait_until(moment, || worker.has_ended()), "nobody has killed it yet");
        } else {
            // In the middle of reading: a few records more are read while this is noticed.
            let share = traffic.records() as u64 / (2 * LIVES as u64);
            let records = 1 + random.below(share) as usize;
            worker.wait_metric("livesession_input_records_read_total", |read| read >= records as f64);
        }
        worker.kill9();
        assert!(!deployment.is_read(), "life {life}: everything was read before it was killed");
    }
    let mut worker = deployment.start_ready("a");
    deployment.wait_read(&mut worker);
    worker.stop();
    assert_result(&traffic, &deployment);
}

/// Waits until a transaction is open in which records are already in the log.
///
/// Dead letters are written as they arise; until the commit only a reader of uncommitted records sees that they are.
fn wait_in_the_middle(deployment: &Deployment, worker: &mut Worker) {
    let before = deployment.committed();
    let ends = deployment.ends(&deployment.dead_letter);
    deployment.produce(0, &[traffic::garbage()]);
    worker.wait_for("a dead letter that is not committed", PATIENCE, |_| {
        deployment.ends(&deployment.dead_letter) != ends
    });
    assert_eq!(deployment.committed(), before, "the transaction was to be open still");
}

/// Asleep for longer than the session timeout, with a transaction open: the zombie.
fn frozen(broker: &Broker) {
    const ASLEEP: Duration = Duration::from_secs(6);
    let mut traffic = Traffic::generate(6, 4, 30);
    let mut deployment = Deployment::new(broker, 4);
    deployment.settings = deployment.settings.with(RULES).with(SHORT).with(LONG);
    let mut zombie = deployment.start_ready("a");
    traffic.produce_part(&deployment, 0, 3);
    deployment.wait_read(&mut zombie);
    wait_in_the_middle(&deployment, &mut zombie);
    zombie.freeze();
    let since = clock::instant();
    traffic.count("rejected");

    let mut other = deployment.start("b");
    other.wait_metric("livesession_assigned_partitions", |value| value == 4.0);
    other.wait_ready();
    traffic.produce_part(&deployment, 1, 3);
    deployment.wait_read(&mut other);
    wait("the end of its sleep", || since.elapsed() >= ASLEEP);
    zombie.thaw();

    traffic.produce_part(&deployment, 2, 3);
    zombie.wait_metric("livesession_assigned_partitions", |value| value == 2.0);
    other.wait_metric("livesession_assigned_partitions", |value| value == 2.0);
    zombie.wait_ready();
    deployment.wait_read(&mut zombie);
    zombie.stop();
    other.stop();
    assert_result(&traffic, &deployment);
}

/// Checks the result twice: against what the traffic was made to give, and by an audit that does not know that.
fn assert_result(traffic: &Traffic, deployment: &Deployment) {
    traffic.assert_result(deployment);
    audit::assert_clean(deployment, &[NEVER_IDLE, "--gap", "3m"]);
}

/// Half a head on each connection: the worker works on, and is seen to.
fn crowded(broker: &Broker) {
    let traffic = Traffic::generate(11, 4, 60);
    let mut deployment = Deployment::new(broker, 4);
    deployment.settings = deployment.settings.with(RULES).with(SMALL);
    let mut worker = Worker::start_with_files("a", &deployment.settings_of("a"), OPEN_FILES);
    worker.wait_ready();
    let half_heads: Vec<_> = (0..CONNECTIONS).map(|_| worker.send_half_a_head()).collect();
    traffic.produce(&deployment);

    deployment.wait_read(&mut worker);
    let held = worker.metric("livesession_http_connections").unwrap();
    assert!(held >= 100.0 && held < OPEN_FILES as f64, "{held} connections are open");
    for path in ["/livez", "/readyz", "/metrics"] {
        let begin = clock::instant();
        let code = worker.get(path).map(|(code, _)| code);
        assert!(
            code == Some(200) && begin.elapsed() < Duration::from_secs(2),
            "{path}: {code:?}, {:?}",
            begin.elapsed()
        );
    }
    worker.stop();
    drop(half_heads);
    assert_result(&traffic, &deployment);
}

/// Two processes under one transactional id fence each other, until one of them sees that it is no accident.
fn twin(broker: &Broker) {
    let mut traffic = Traffic::generate(7, 2, 20);
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(RULES).with(SHORT);
    traffic.produce(&deployment);
    let mut twins = [deployment.start_ready("a"), deployment.start("a")];
    wait("the end of one of the twins", || {
        for partition in 0..2 {
            traffic.count("rejected");
            deployment.produce(partition, &[traffic::garbage()]);
        }
        twins.iter_mut().any(Worker::has_ended)
    });
    let [mut stopped, mut survivor] = twins;
    if !stopped.has_ended() {
        std::mem::swap(&mut stopped, &mut survivor);
    }
    assert_eq!(stopped.wait_exit(PATIENCE), 78, "{}", stopped.log());
    let named = format!("another producer uses transactional id \"{}-a-0\"", deployment.name);
    assert!(stopped.log().contains(&named), "{}", stopped.log());
    deployment.wait_read(&mut survivor);
    survivor.wait_ready();
    survivor.stop();
    assert_result(&traffic, &deployment);
}

fn restarted() -> Result<(), String> {
    let (_controller, broker) = Broker::launch_apart(DEFAULT_SWEEP)?;
    outage(&broker, "", Duration::ZERO);
    Ok(())
}

fn away() -> Result<(), String> {
    let (_controller, broker) = Broker::launch_apart(DEFAULT_SWEEP)?;
    outage(&broker, SHORT, Duration::from_secs(5));
    Ok(())
}

/// How often the coordinator looks for transactions that have timed out: Kafka's default, not the 1 s of the shared broker.
///
/// Together with [`Broker::launch_apart`] it keeps a defect of Kafka 4.3.1 away that no client can help: a coordinator that
/// works from old metadata takes partitions for deleted, and notes a transaction as ended without having written a marker.
/// Whoever sweeps every second decides the most transactions in such moments.
pub const DEFAULT_SWEEP: &str = "transaction.abort.timed.out.transaction.cleanup.interval.ms=10000\n";

/// Kills the broker while a transaction is open, and starts it again after `pause`.
fn outage(broker: &Broker, timeouts: &str, pause: Duration) {
    let mut traffic = Traffic::generate(8, 2, 30);
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(RULES).with(timeouts).with(LONG);
    let mut worker = deployment.start_ready("a");
    traffic.produce_part(&deployment, 0, 2);
    deployment.wait_read(&mut worker);
    wait_in_the_middle(&deployment, &mut worker);
    traffic.count("rejected");
    broker.kill9();
    let since = clock::instant();
    wait("the pause", || since.elapsed() >= pause);
    broker.start();
    traffic.produce_part(&deployment, 1, 2);
    deployment.wait_read(&mut worker);
    worker.wait_ready();
    worker.stop();
    assert_result(&traffic, &deployment);
}
