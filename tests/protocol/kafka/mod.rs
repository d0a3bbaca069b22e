//! Tests against a real Apache Kafka: of the adapter, also against librdkafka's mock, and of the built program.
//!
//! ```sh
//! cargo test --test protocol -- kafka                 # starts a broker: needs Java 17 and Maven
//! cargo test --test protocol -- kafka::adapter        # some of them
//! LIVESESSION_TEST_BROKERS=localhost:9092 cargo test --test protocol # against a broker that runs
//! LIVESESSION_REQUIRE_BROKER=1 cargo test --test protocol           # no broker is a failure
//! ```
//!
//! Without a broker a test is reported as ignored, with the reason: never as passed. Tests run one at a time, since they
//! share one broker and measure time; [`beside`] shares them out among processes. Each takes topics, groups and
//! transactional ids of its own.

mod adapter;
mod alerts;
mod chaos;
mod controls;
mod disk;
mod dlq;
// A release build has no failpoints.
#[cfg(debug_assertions)]
mod failpoints;
mod faults;
mod index_topic;
mod indexer;
mod inputs;
mod login;
mod mock;
mod online;
mod outage;
mod proxied;
mod readme;
mod refusals;
mod replay;
mod restore;
mod security;
mod support;
mod systemd;
mod topics;
mod topics_command;
mod worker;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use support::beside::{self, Beside, Part};
use support::broker;

/// A test, by name, with what it needs.
pub struct Test {
    pub name: &'static str,
    pub body: Body,
}

pub enum Body {
    /// Needs no broker.
    Plain(fn()),
    /// Uses the broker that all share.
    Shared(fn(&broker::Broker)),
    /// Stops and starts the broker, or puts a proxy before it.
    Owned(fn(&broker::Broker)),
    /// Starts brokers of its own. `Err`: why there are none.
    Launched(fn() -> Result<(), String>),
    /// Uses the shared broker and another program, which need not be there.
    With(&'static str, fn(&broker::Broker)),
    /// Uses the shared broker and may mount a small disk. `Err`: why it may not.
    Mounting(fn(&broker::Broker) -> Result<(), String>),
}

/// Returns whether this process is the one that Cargo started.
pub fn is_first_process() -> bool {
    beside::number() == 0
}

/// Runs the tests, in several processes if all are asked for. Returns whether they passed.
pub fn run(arguments: &Arguments) -> bool {
    let modules = [
        ("adapter", adapter::TESTS),
        ("restore", restore::TESTS),
        ("mock", mock::TESTS),
        ("outage", outage::TESTS),
        ("security", security::TESTS),
        ("topics", topics::TESTS),
        ("topics_command", topics_command::TESTS),
        ("worker", worker::TESTS),
        ("faults", faults::TESTS),
        ("proxied", proxied::TESTS),
        ("refusals", refusals::TESTS),
        ("inputs", inputs::TESTS),
        ("login", login::TESTS),
        ("dlq", dlq::TESTS),
        ("indexer", indexer::TESTS),
        ("online", online::TESTS),
        ("index_topic", index_topic::TESTS),
        ("disk", disk::TESTS),
        ("replay", replay::TESTS),
        ("controls", controls::TESTS),
        ("chaos", chaos::TESTS),
        ("alerts", alerts::TESTS),
        ("readme", readme::TESTS),
        ("systemd", systemd::TESTS),
    ];
    #[cfg(debug_assertions)]
    let modules = [&modules[..], &[("failpoints", failpoints::TESTS)]].concat();
    let part = Part::of(arguments);
    beside::check(&modules.iter().map(|(module, _)| *module).collect::<Vec<_>>());
    let others = Beside::start_all(part);
    let modules = modules.iter().filter(|(module, _)| part.has(module));
    let trials = modules.flat_map(|(module, tests)| tests.iter().map(|test| trial(module, test))).collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    broker::end_shared(conclusion.has_failed());
    // All of them: what each says has to be printed.
    let failed = others.into_iter().map(Beside::finish).filter(|has_passed| !has_passed).count();
    failed == 0 && !conclusion.has_failed()
}

fn trial(module: &str, test: &'static Test) -> Trial {
    let name = format!("kafka::{module}::{}", test.name);
    match test.body {
        Body::Plain(body) => Trial::test(name, move || {
            body();
            Ok(())
        }),
        Body::Shared(body) => Trial::ignorable_test(name, move || with_broker(false, body)),
        Body::Owned(body) => Trial::ignorable_test(name, move || with_broker(true, body)),
        Body::With(program, body) => Trial::ignorable_test(name, move || {
            let is_there = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .any(|folder| folder.join(program).is_file());
            if is_there { with_broker(false, body) } else { Ok(Completion::ignored_with(format!("no {program}"))) }
        }),
        Body::Mounting(body) => {
            Trial::ignorable_test(name, move || match broker::shared().map(|broker| body(&broker)) {
                Ok(Ok(())) => Ok(Completion::Completed),
                Ok(Err(reason)) => Ok(Completion::ignored_with(reason)),
                Err(reason) => without_broker(&reason),
            })
        }
        Body::Launched(body) => Trial::ignorable_test(name, move || match body() {
            Ok(()) => Ok(Completion::Completed),
            Err(reason) => without_broker(&reason),
        }),
    }
}

/// Runs a test against the broker, or says why it did not run.
fn with_broker(is_own: bool, body: fn(&broker::Broker)) -> Result<Completion, Failed> {
    let broker = match broker::shared() {
        Ok(broker) => broker,
        Err(reason) => return without_broker(&reason),
    };
    if is_own && !broker.is_ours() {
        return Ok(Completion::ignored_with("needs a broker of its own, and this one was given"));
    }
    body(&broker);
    Ok(Completion::Completed)
}

/// Reports that there is no broker: ignored, or failed where one is required.
fn without_broker(reason: &str) -> Result<Completion, Failed> {
    let text = format!("no broker: {reason}");
    match std::env::var(broker::REQUIRE) {
        Ok(value) if value == "1" => Err(text.into()),
        _ => Ok(Completion::ignored_with(text)),
    }
}
