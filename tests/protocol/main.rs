//! The protocol: the worker's loop over a model of Kafka, then the program against a real Apache Kafka.
//!
//! A harness of its own: a test whose broker is missing is reported as ignored, with the reason, and never as passed.

mod kafka;
mod simulation;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The kernel kills the broker with the *thread* that started it, and only the main thread lives long enough. The
    // simulation has threads of its own.
    arguments.test_threads = Some(1);
    // Before any broker runs: the tests against one measure time.
    let simulated = if kafka::is_first_process() {
        let trials = simulation::TESTS.iter().map(|(name, body)| {
            Trial::test(format!("simulation::{name}"), || {
                body();
                Ok(())
            })
        });
        libtest_mimic::run(&arguments, trials.collect()).has_failed()
    } else {
        false
    };
    let is_ok = kafka::run(&arguments);
    if is_ok && !simulated { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
