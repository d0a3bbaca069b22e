//! The worker's real loop in simulated worlds: see [`world`] for how one runs and [`checker`] for what must be true of it.
//!
//! `SIM_SEED=17 cargo test --test protocol simulation` runs that world alone and prints what happened in it;
//! `SIM_SEEDS=1000000` runs so many.

mod audited;
mod chance;
mod checker;
mod client;
mod cluster;
mod faults;
mod group;
mod log;
mod settings;
mod traffic;
mod world;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use livesession::metrics::Metrics;

use faults::Weakness;
use world::{Setup, World};

/// How many worlds the build runs.
const SEEDS: u64 = 10_000;

/// How the problem of a world begins that ended in a panic.
const PANIC: &str = "panic: ";

/// Runs the world of a seed. Returns what was wrong, and what happened if that is wanted.
fn run(
    seed: u64,
    weakness: Option<Weakness>,
    metrics: &Arc<Metrics>,
    has_trace: bool,
) -> (Result<(), String>, Vec<String>) {
    let (setup, chance) = Setup::new(seed, weakness);
    let world = World::new(&setup, chance, Arc::clone(metrics), has_trace);
    let result = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("{PANIC}{}", text.unwrap_or_default()))
    });
    (result, world.take_trace())
}

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn newest_revisions_are_what_a_batch_job_finds_whatever_happens() {
    if let Some(seed) = number_from_environment("SIM_SEED") {
        let (result, trace) = run(seed, None, &Arc::new(settings::metrics()), true);
        trace.iter().for_each(|line| eprintln!("{line}"));
        return assert_eq!(result, Ok(()));
    }
    let seeds = number_from_environment("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failures: Vec<String> = thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let metrics = Arc::new(settings::metrics());
                    let mut failures = Vec::new();
                    while failures.len() < 5 {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            break;
                        }
                        if let (Err(problem), _) = run(seed, None, &metrics, false) {
                            failures
                                .push(format!("SIM_SEED={seed} cargo test --test protocol simulation\n  {problem}"));
                        }
                    }
                    failures
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread of the simulation")).collect()
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn same_seed_gives_the_same_run() {
    let metrics = Arc::new(settings::metrics());
    for seed in 0..20 {
        assert_eq!(run(seed, None, &metrics, true), run(seed, None, &metrics, true), "seed {seed}");
    }
}

fn every_protection_is_missed_when_it_is_gone() {
    const WITHIN: u64 = 4_000;
    let metrics = Arc::new(settings::metrics());
    for weakness in Weakness::ALL {
        // A panic may be our own, and is no sign that anybody has noticed.
        let problem = |seed| run(seed, Some(weakness), &metrics, false).0.err().filter(|text| !text.starts_with(PANIC));
        let is_enough = |problem: &String| !weakness.shows_in_topics() || problem.contains(audited::FOUND);
        let found = (0..WITHIN).find_map(|seed| problem(seed).filter(is_enough).map(|problem| (seed, problem)));
        let Some((seed, problem)) = found else { panic!("{weakness:?}: not noticed in {WITHIN} worlds") };
        println!("{weakness:?}: noticed in world {seed}: {}", problem.chars().take(120).collect::<String>());
    }
}

/// The tests, by name.
pub const TESTS: &[(&str, fn())] = &[
    (
        "newest_revisions_are_what_a_batch_job_finds_whatever_happens",
        newest_revisions_are_what_a_batch_job_finds_whatever_happens,
    ),
    ("same_seed_gives_the_same_run", same_seed_gives_the_same_run),
    ("every_protection_is_missed_when_it_is_gone", every_protection_is_missed_when_it_is_gone),
];
