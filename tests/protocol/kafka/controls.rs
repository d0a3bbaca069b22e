//! Negative controls: protections are taken away from the built program, and the audit has to notice.
//!
//! A worker is frozen at the first step of a commit, taken out of the group, and goes on when another has done its work.
//! Two protections stand in its way, and each suffices: the guard asks before the commit, the group's coordinator checks
//! generation and member. So a control takes away the guard and shows that nothing is lost, then takes away the other one
//! too and shows that the audit finds it.

use std::fs;
use std::path::PathBuf;

use livesession::clock;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

use crate::kafka::support::audit::{self, Audited};
use crate::kafka::support::broker::{self, Broker};
use crate::kafka::support::deployment::{Deployment, wait};
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic::{self, RULES, Traffic};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "zombie_is_stopped_by_the_coordinator_and_noticed_without_it", body: Body::Launched(zombie) },
    Test { name: "restore_that_stops_at_an_open_transaction_is_noticed", body: Body::Launched(cut_short) },
    Test { name: "state_beside_the_groups_offset_is_noticed_if_nobody_compares", body: Body::Shared(skipped) },
];

/// Nobody sweeps while a worker sleeps: its transaction is to be refused for who it is, not for its age.
const NO_SWEEP: &str = "transaction.abort.timed.out.transaction.cleanup.interval.ms=600000\n";

/// Short, so that a frozen member is soon put out.
const SHORT: &str = r#"
    kafka.transaction_timeout = "3s"
    kafka.session_timeout = "3s"
    kafka.max_poll_interval = "6s"
"#;

/// What closes a session by the clock alone, a few seconds after its end.
const QUICK: &str = r#"
    grouping.gap = "2s"
    grouping.recording_interval = "2s"
    grouping.notification_delay = "2s"
    grouping.max_segment = "1h"
    grouping.allowed_lateness = "1h"
    grouping.max_hold = "1h"
    grouping.idle_after = "1s"
"#;

/// The file that holds a worker up at its next commit.
struct Hold(PathBuf);

impl Hold {
    fn new(deployment: &Deployment) -> Hold {
        Hold(broker::temporary().join(format!("{}.hold", deployment.name)))
    }

    fn start(&self, deployment: &Deployment, weaknesses: &str) -> Worker {
        let settings = deployment.settings.clone().with(&format!("transactional_id = \"{}-a\"", deployment.name));
        let hold = self.0.to_str().unwrap();
        let environment = [("LIVESESSION_WEAKNESSES", weaknesses), ("LIVESESSION_HOLD", hold)];
        Worker::start_as("a", "run", &settings, &environment)
    }

    /// Holds up each commit, or with `idle` each of what the clock alone has done.
    fn set(&self, which: &str) {
        fs::write(&self.0, which).unwrap();
    }

    fn holds(&self) -> bool {
        self.0.with_extension("held").exists()
    }

    fn release(&self) {
        fs::remove_file(&self.0).unwrap();
        fs::remove_file(self.0.with_extension("held")).unwrap();
    }
}

fn zombie() -> Result<(), String> {
    let broker = Broker::launch(NO_SWEEP, &[])?;
    for (what, protection, twice, gap) in [
        (After::Records, "group_metadata", "refused twice: ", "3m"),
        (After::Silence, "unmoved_offsets", "published twice: ", "2s"),
    ] {
        let (deployment, committed) = asleep(&broker, what, "fencing_guard");
        assert!(!committed, "without the guard the coordinator refuses what a zombie does");
        audit::assert_clean(&deployment, &["--gap", gap]);

        let (deployment, committed) = asleep(&broker, what, &format!("fencing_guard,{protection}"));
        assert!(committed, "without {protection} nobody refuses it");
        let Audited { code, text } = audit::audit(&deployment, &["--gap", gap]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(twice), "without {protection}: nowhere {twice:?}\n{text}");
    }
    Ok(())
}

/// What the transaction holds over which a worker falls asleep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Records,
    /// Only what the clock has closed: no offset moves.
    Silence,
}

/// Freezes a worker before a commit until another has done the same work, then lets it go on.
///
/// Returns whether its commit succeeded. All workers have ended then.
fn asleep(broker: &Broker, what: After, weaknesses: &str) -> (Deployment, bool) {
    let mut deployment = Deployment::new(broker, 2);
    let traffic = Traffic::generate(31, 2, 20);
    deployment.settings = deployment.settings.with(SHORT).with(if what == After::Records { RULES } else { QUICK });
    let hold = Hold::new(&deployment);
    let mut sleeper = hold.start(&deployment, weaknesses);
    sleeper.wait_ready();
    match what {
        After::Records => {
            traffic.produce_part(&deployment, 0, 2);
            deployment.wait_read(&mut sleeper);
            hold.set("");
            deployment.produce(0, &[traffic::garbage()]);
            traffic.produce_part(&deployment, 1, 2);
        }
        After::Silence => {
            // Where the partitions begin is committed without a record too.
            wait("the first commits", || deployment.committed() == [Some(0), Some(0)]);
            hold.set("idle");
            let now = clock::now().as_ms();
            for partition in 0..2 {
                let file = format!("f-{partition}");
                deployment.produce(partition, &[traffic::segment(&format!("s-{partition}"), &file, now - 60_000, now)]);
            }
        }
    }
    wait("a commit that is held up", || hold.holds());
    let before = deployment.ends(&deployment.output);
    sleeper.freeze();
    let mut other = deployment.start_ready("b");
    other.wait_metric("livesession_assigned_partitions", |partitions| partitions == 2.0);
    deployment.wait_read(&mut other);
    other.wait_for("both partitions published", PATIENCE, |_| what == After::Records || published(&deployment) == 2);
    assert_ne!(deployment.ends(&deployment.output), before);

    let said = sleeper.log().len();
    hold.release();
    sleeper.thaw();
    let mut committed = false;
    wait("the end of what it had begun", || {
        let log = sleeper.log();
        committed = log[said..].contains(" committed");
        committed || sleeper.has_ended() || log[said..].contains("transaction failed")
    });
    if committed {
        // Before it notices that state and offset are no longer those of its own.
        sleeper.kill9();
    } else {
        // Nobody else would end its transaction.
        sleeper.stop();
    }
    other.stop();
    (deployment, committed)
}

/// Returns how many sessions were published.
fn published(deployment: &Deployment) -> usize {
    deployment.read(&deployment.output).len()
}

/// A worker dies over a transaction whose records are in the changelog already; the next one commits behind it, and the
/// one after that has to see this although the transaction is open still.
fn cut_short() -> Result<(), String> {
    const BEGIN: i64 = 1_772_323_200_000;
    const MINUTE: i64 = 60_000;
    let broker = Broker::launch(NO_SWEEP, &[])?;
    for weaknesses in ["log_end", "log_end,marker"] {
        let mut deployment = Deployment::new(&broker, 1);
        deployment.settings = deployment.settings.with(SHORT).with(RULES);
        let start = |name: &str, environment: &[(&str, &str)]| {
            let own = format!("transactional_id = \"{}-{name}\"", deployment.name);
            Worker::start_as(name, "run", &deployment.settings.clone().with(&own), environment)
        };
        // The first commit says where the partition begins, the second waits between its records and its offsets.
        let mut dead = start("a", &[("LIVESESSION_FAILPOINTS", "offsets.before=delay:600000@2")]);
        wait("the first commit", || deployment.committed() == [Some(0)]);
        let before = deployment.ends(&deployment.changelog);
        deployment.produce(0, &[traffic::segment("s", "f-0", BEGIN, BEGIN + MINUTE)]);
        wait("records of an open transaction", || deployment.ends(&deployment.changelog) > before);
        dead.kill9();

        let weak = [("LIVESESSION_WEAKNESSES", weaknesses)];
        let mut next = start("b", &weak);
        deployment.wait_read(&mut next);
        next.stop();
        let segment = traffic::segment("s", "f-1", BEGIN + MINUTE, BEGIN + 2 * MINUTE);
        deployment.produce(0, &[segment, traffic::hint(BEGIN + 600 * MINUTE)]);
        let mut last = start("c", &weak);
        if weaknesses == "log_end" {
            assert_eq!(last.wait_exit(PATIENCE), 70, "{}", last.log());
            continue;
        }
        deployment.wait_read(&mut last);
        last.stop();
        // Whoever takes its id over ends what the dead one had begun. A worker would go on, and repair the rest as well.
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &deployment.bootstrap);
        config.set("transactional.id", format!("{}-a-0", deployment.name));
        let heir: BaseProducer = config.create().unwrap();
        heir.init_transactions(PATIENCE).unwrap();
        let Audited { code, text } = audit::audit(&deployment, &[]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("not published: "), "{text}");
    }
    Ok(())
}

/// An operator sets the group's offset forward: a worker that does not compare it with its state loses records.
fn skipped(broker: &Broker) {
    for weakness in ["", "marker"] {
        let mut deployment = Deployment::new(broker, 1);
        let traffic = Traffic::generate(32, 1, 20);
        deployment.settings = deployment.settings.with(RULES);
        let hold = Hold::new(&deployment);
        traffic.produce_part(&deployment, 0, 2);
        let mut worker = hold.start(&deployment, weakness);
        worker.wait_ready();
        deployment.wait_read(&mut worker);
        worker.stop();
        traffic.produce_part(&deployment, 1, 2);
        deployment.reset_offset(0, deployment.end(&deployment.input, 0) - 3);

        let mut worker = hold.start(&deployment, weakness);
        if weakness.is_empty() {
            assert_eq!(worker.wait_exit(PATIENCE), 70, "{}", worker.log());
            continue;
        }
        deployment.wait_read(&mut worker);
        worker.stop();
        let Audited { code, text } = audit::audit(&deployment, &[]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("not published: ") && text.contains("state lost: "), "{text}");
    }
}
