//! The tests in several processes side by side, when all of them are asked for: they wait most of the time, for timeouts and
//! for brokers that start, and one process runs them one at a time.
//!
//! Each process has brokers and ports of its own. What the others say is printed when they are done.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Arguments;

use crate::kafka::support::broker;

/// Tells a process which one it is, counted from 1; the one that starts the others is not told.
const NUMBER: &str = "LIVESESSION_TEST_BESIDE";

/// The modules whose tests the other processes run: each of them takes about as long as what is left for the first.
const MODULES: [&[&str]; PROCESSES - 1] = [
    &["chaos", "dlq", "failpoints", "faults"],
    &["alerts", "controls", "login", "outage", "proxied", "refusals", "security"],
];

/// How many processes share the tests.
pub const PROCESSES: usize = 3;

/// Which tests a process runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    One(usize),
}

impl Part {
    /// Returns the part of this process: everything, if only some tests are asked for.
    pub fn of(arguments: &Arguments) -> Part {
        if number() > 0 {
            return Part::One(number());
        }
        let is_whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
        if is_whole { Part::One(0) } else { Part::All }
    }

    pub fn has(self, module: &str) -> bool {
        let other = MODULES.iter().position(|modules| modules.contains(&module)).map_or(0, |index| index + 1);
        self == Part::All || self == Part::One(other)
    }
}

/// Asserts that there is every module that another process is to run.
pub fn check(modules: &[&str]) {
    for module in MODULES.iter().copied().flatten() {
        assert!(modules.contains(module) || cfg!(not(debug_assertions)), "there is no module {module}");
    }
}

/// Returns which process this is; 0 is the one that was started first, or alone.
pub fn number() -> usize {
    std::env::var(NUMBER).map_or(0, |text| text.parse().expect("a number of a process"))
}

/// Another process.
pub struct Beside {
    child: Child,
    said: PathBuf,
}

impl Beside {
    /// Starts all of them, if this process is the first of a whole run. They die with us.
    pub fn start_all(part: Part) -> Vec<Beside> {
        if part != Part::One(0) {
            return Vec::new();
        }
        // Once for all. Why it cannot be done is told by every test that wanted it.
        let _ = broker::jars();
        (1..PROCESSES).map(Beside::start).collect()
    }

    fn start(number: usize) -> Beside {
        let said = broker::temporary().join(format!("beside-{}-{number}.log", std::process::id()));
        let output = File::create(&said).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(std::env::args_os().skip(1)).env(NUMBER, number.to_string()).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        broker::die_with_parent(&mut command);
        Beside { child: command.spawn().unwrap(), said }
    }

    /// Waits for its end and prints what it said; returns whether all its tests passed.
    pub fn finish(mut self) -> bool {
        let status = self.child.wait().unwrap();
        println!("{}", fs::read_to_string(&self.said).unwrap());
        let _ = fs::remove_file(&self.said);
        status.success()
    }
}
