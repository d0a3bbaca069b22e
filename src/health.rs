//! Liveness and readiness of this process, as values: `/livez`, `/readyz`, the watchdog and `livesession health` use the same.
//!
//! Loops write here and never wait: everything is an atomic. Callers pass the time. HTTP is in `http/health.rs`.
//!
//! # Model
//!
//! | check | holds if | otherwise |
//! | --- | --- | --- |
//! | live | every loop has turned within 120 s | a thread hangs: restart the process, the state is in Kafka |
//! | ready | every worker is in the group, nothing is restoring, the index is open, no shutdown has begun | wait |
//!
//! # Invariants
//!
//! * Liveness never depends on a broker or on lag: an outage of Kafka would restart every process that waits for it, and
//!   none would be there when it is back.
//! * A member without partitions is ready: there are more workers than partitions, and one of them is always spare.
//! * From the first signal on the process is not ready, whatever the loops say.
//!
//! A wall clock that is set forward by more than the limit fails liveness until each loop has turned once, which is well
//! before a supervisor probes a second time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::metrics::{Metrics, Turn};
use livesession_grouping::time::{Millis, Timestamp};

/// Longest time since a loop's latest turn, inclusive. Twice the default `max_poll_interval`, after which the group has long
/// removed the worker.
pub const TURN_LIMIT: Millis = Millis::from_secs(120);

/// The health of a process: fixed lists of loops, made before they start.
#[derive(Debug)]
pub struct Health {
    stopping: AtomicBool,
    workers: Vec<Arc<Worker>>,
    index: Option<Arc<Index>>,
}

/// The health of a worker. It outlives a rebuild of the worker.
#[derive(Debug)]
pub struct Worker {
    turn: Arc<Turn>,
    member: AtomicBool,
    restoring: AtomicUsize,
}

/// The health of the indexer.
#[derive(Debug)]
pub struct Index {
    turn: Arc<Turn>,
    open: AtomicBool,
}

/// One condition, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `worker-0`, `index`, `process`.
    pub name: String,
    pub holds: bool,
    /// What was found, for people.
    pub finding: String,
}

impl Health {
    /// Makes the health of a process with `workers` workers and, if `index`, an indexer, whose loops are about to start.
    pub fn new(metrics: &Metrics, workers: usize, index: bool, now: Timestamp) -> Health {
        let worker =
            || Worker { turn: metrics.add_turn(now), member: AtomicBool::new(false), restoring: AtomicUsize::new(0) };
        Health {
            stopping: AtomicBool::new(false),
            workers: (0..workers).map(|_| Arc::new(worker())).collect(),
            index: index.then(|| Arc::new(Index { turn: metrics.add_turn(now), open: AtomicBool::new(false) })),
        }
    }

    /// Returns what the worker of a slot writes to, or `None` if there is no such slot.
    pub fn worker(&self, slot: usize) -> Option<&Arc<Worker>> {
        self.workers.get(slot)
    }

    /// Returns what the indexer writes to, or `None` if none runs in this process.
    pub fn index(&self) -> Option<&Arc<Index>> {
        self.index.as_ref()
    }

    /// Records that a shutdown has begun. There is no way back.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Returns whether each loop has turned lately: one check for each.
    pub fn live(&self, now: Timestamp) -> Vec<Check> {
        let workers = self.workers.iter().enumerate().map(|(slot, worker)| (format!("worker-{slot}"), &worker.turn));
        let index = self.index.iter().map(|index| ("index".to_owned(), &index.turn));
        let check = |(name, turn): (String, &Arc<Turn>)| {
            let ago = now.since(turn.last());
            Check { name, holds: ago <= TURN_LIMIT, finding: format!("turned {ago} ago") }
        };
        workers.chain(index).map(check).collect()
    }

    /// Returns whether this process takes its part of the work: one check for each condition.
    pub fn ready(&self) -> Vec<Check> {
        let stopping = self.stopping.load(Ordering::Relaxed);
        let finding = if stopping { "stopping" } else { "running" };
        let mut checks = vec![Check { name: "process".to_owned(), holds: !stopping, finding: finding.to_owned() }];
        for (slot, worker) in self.workers.iter().enumerate() {
            let name = format!("worker-{slot}");
            let member = worker.member.load(Ordering::Relaxed);
            let restoring = worker.restoring.load(Ordering::Relaxed);
            let finding = match (member, restoring) {
                (false, _) => "not in the group".to_owned(),
                (true, 0) => "in the group".to_owned(),
                (true, partitions) => format!("restoring {partitions} partitions"),
            };
            checks.push(Check { name, holds: member && restoring == 0, finding });
        }
        if let Some(index) = &self.index {
            let open = index.open.load(Ordering::Relaxed);
            let finding = if open { "open" } else { "not open" };
            checks.push(Check { name: "index".to_owned(), holds: open, finding: finding.to_owned() });
        }
        checks
    }
}

impl Worker {
    /// Records a turn of the loop.
    pub fn turned(&self, now: Timestamp) {
        self.turn.turned(now);
    }

    /// Sets whether the worker is a member of the group, with or without partitions.
    pub fn set_member(&self, member: bool) {
        self.member.store(member, Ordering::Relaxed);
    }

    /// Sets how many of the worker's partitions are being restored.
    pub fn set_restoring(&self, partitions: usize) {
        self.restoring.store(partitions, Ordering::Relaxed);
    }
}

impl Index {
    /// Records a turn of the loop.
    pub fn turned(&self, now: Timestamp) {
        self.turn.turned(now);
    }

    /// Sets whether the index is open.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }
}

impl fmt::Display for Check {
    /// Writes a line of `?verbose`, without its end: `ok worker-0: turned 1s ago`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds { "ok" } else { "failed" };
        write!(f, "{word} {}: {}", self.name, self.finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Labels;

    const NOW: i64 = 1_000_000_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn health(workers: usize, index: bool) -> Health {
        Health::new(&Metrics::new(Labels::default()), workers, index, at(NOW))
    }

    fn lines(checks: &[Check]) -> Vec<String> {
        checks.iter().map(Check::to_string).collect()
    }

    fn all(checks: &[Check]) -> bool {
        checks.iter().all(|check| check.holds)
    }

    #[test]
    fn a_loop_is_alive_for_two_minutes_after_a_turn() {
        let health = health(1, false);
        let worker = health.worker(0).unwrap();
        worker.turned(at(NOW + 5));
        for (delta, expected) in [(-1, true), (0, true), (1, false)] {
            let asked = at(NOW + 5 + 120_000 + delta);
            assert_eq!(all(&health.live(asked)), expected, "{delta:+} ms");
        }
        assert!(all(&health.live(at(NOW - 3_600_000))), "a clock that was set back fails nothing");
    }

    #[test]
    fn a_loop_that_never_turned_is_alive_for_two_minutes_after_the_start() {
        let health = health(0, true);
        assert!(all(&health.live(at(NOW + 120_000))));
        assert_eq!(lines(&health.live(at(NOW + 121_000))), ["failed index: turned 2m 1s ago"]);
    }

    #[test]
    fn one_loop_that_hangs_is_enough() {
        let health = health(2, true);
        let later = at(NOW + 200_000);
        health.worker(1).unwrap().turned(later);
        health.index().unwrap().turned(later);
        assert_eq!(
            lines(&health.live(later)),
            ["failed worker-0: turned 3m 20s ago", "ok worker-1: turned 0s ago", "ok index: turned 0s ago"]
        );
    }

    #[test]
    fn neither_a_lost_group_nor_a_closed_index_nor_a_stop_fails_liveness() {
        let health = health(1, true);
        health.worker(0).unwrap().set_member(false);
        health.worker(0).unwrap().set_restoring(3);
        health.index().unwrap().set_open(false);
        health.stop();
        assert!(all(&health.live(at(NOW))));
    }

    #[test]
    fn ready_is_in_the_group_with_nothing_restoring_and_an_open_index() {
        let health = health(1, true);
        let (worker, index) = (health.worker(0).unwrap(), health.index().unwrap());
        assert_eq!(
            lines(&health.ready()),
            ["ok process: running", "failed worker-0: not in the group", "failed index: not open"]
        );
        worker.set_member(true);
        worker.set_restoring(1);
        index.set_open(true);
        assert_eq!(
            lines(&health.ready()),
            ["ok process: running", "failed worker-0: restoring 1 partitions", "ok index: open"]
        );
        worker.set_restoring(0);
        assert!(all(&health.ready()));
        worker.set_member(false);
        assert!(!all(&health.ready()));
        worker.set_member(true);
        health.stop();
        assert_eq!(lines(&health.ready()), ["failed process: stopping", "ok worker-0: in the group", "ok index: open"]);
    }

    #[test]
    fn a_process_asks_only_for_what_it_has() {
        assert!(all(&health(0, false).ready()));
        assert_eq!(health(0, true).ready().len(), 2);
        assert_eq!(health(2, false).ready().len(), 3);
    }
}
