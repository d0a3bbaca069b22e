//! Half of the tests in a second process, when all of them are asked for: they wait most of the time, for timeouts and for
//! brokers that start, and one process runs them one at a time.
//!
//! The second process has brokers and ports of its own. What it says is printed when both are done.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Arguments;

use crate::broker;

/// Tells a process that it is the second one.
const SECOND: &str = "LIVESESSION_TEST_BESIDE";

/// The modules whose tests the second process runs.
const MODULES: [&str; 7] = ["alerts", "chaos", "controls", "failpoints", "faults", "login", "proxied"];

/// Which tests a process runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    First,
    Second,
}

impl Part {
    /// Returns the part of this process: everything, if only some tests are asked for.
    pub fn of(arguments: &Arguments) -> Part {
        if is_second() {
            return Part::Second;
        }
        let is_whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
        if is_whole { Part::First } else { Part::All }
    }

    pub fn has(self, module: &str) -> bool {
        self == Part::All || MODULES.contains(&module) == (self == Part::Second)
    }
}

/// Returns whether this is the second process.
pub fn is_second() -> bool {
    std::env::var_os(SECOND).is_some()
}

/// The second process.
pub struct Beside {
    child: Child,
    said: PathBuf,
}

impl Beside {
    /// Starts it. Dies with us.
    pub fn start() -> Beside {
        // Once for both. Why it cannot be done is told by every test that wanted it.
        let _ = broker::jars();
        let said = broker::temporary().join(format!("beside-{}.log", std::process::id()));
        let output = File::create(&said).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(std::env::args_os().skip(1)).env(SECOND, "1").stdin(Stdio::null());
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
