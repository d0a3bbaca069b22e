//! Failpoints: places of the protocol at which a test lets the program die, fail or wait.
//!
//! ```sh
//! LIVESESSION_FAILPOINTS='commit.before=kill@3,seek.after=delay:200' livesession run
//! ```
//!
//! A rule is `place=action`, or `place=action@n`: it holds once, when the place is reached for the n-th time, by default
//! the first. Several rules may name one place.
//!
//! | action | what happens there |
//! | --- | --- |
//! | `kill` | the process ends as by `kill -9`: nothing is flushed, closed or taken leave of |
//! | `abort` | an error that says: nothing was committed. A lie after a commit |
//! | `rebuild` | an error that says: the outcome is unknown, or the client of no more use |
//! | `delay:<ms>` | so much time passes |
//!
//! Exists where debug assertions do. A release build has neither the variable nor the places: [`reach`] is nothing there,
//! and a test compiles this file both ways to show it. Knows nothing but the standard library, for that test.

/// Every place, in the order in which a transaction meets them.
pub const PLACES: &[&str] = &[
    // A producer takes the transactional id over.
    "init.before",
    "init.after",
    // A partition is restored: its offset is known, then its log end; a record is read; all are.
    "restore.before",
    "restore.offset",
    "restore.end",
    "restore.record",
    "restore.after",
    // Records of a partition flow from an offset on.
    "seek.before",
    "seek.after",
    "begin.before",
    "begin.after",
    "send.before",
    "send.after",
    "offsets.before",
    // The offsets are in the transaction, and the queue drains.
    "offsets.after",
    // The queue is empty.
    "commit.before",
    "commit.after",
    "abort.before",
    "abort.after",
    // Partitions are asked back; the last commit is done; they are given away.
    "revoke.before",
    "revoke.after",
    "leave.after",
];

/// Reaches a place: `failpoint::reach!("commit.before");`. Returns from the function with an error if a rule says so.
#[cfg(debug_assertions)]
#[macro_export]
macro_rules! reach {
    ($place:literal) => {
        $crate::fault::failpoint::strike($place)?
    };
}

/// Reaches a place: nothing, in a release build.
#[cfg(not(debug_assertions))]
#[macro_export]
macro_rules! reach {
    ($place:literal) => {};
}

pub use crate::reach;

/// An error that a rule asked for.
#[derive(Clone, Copy, Debug)]
pub struct Injected {
    pub place: &'static str,
    /// Whether it says that nothing was committed.
    pub is_abort: bool,
}

impl std::fmt::Display for Injected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failpoint {}", self.place)
    }
}

impl std::error::Error for Injected {}

#[cfg(debug_assertions)]
pub use rules::strike;

#[cfg(debug_assertions)]
mod rules {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{Injected, PLACES};

    /// Holds the rules.
    const VARIABLE: &str = "LIVESESSION_FAILPOINTS";

    #[derive(Clone, Copy, Debug)]
    enum Action {
        Kill,
        Abort,
        Rebuild,
        Delay(Duration),
    }

    struct Rule {
        place: &'static str,
        action: Action,
        at: u64,
        reached: AtomicU64,
    }

    /// Does what the rules say of a place.
    ///
    /// # Errors
    ///
    /// If a rule says so.
    ///
    /// # Panics
    ///
    /// If the variable is not readable: a rule that is ignored would prove nothing.
    pub fn strike(place: &'static str) -> Result<(), Injected> {
        static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
        let rules = RULES.get_or_init(|| {
            let text = std::env::var(VARIABLE).unwrap_or_default();
            let rules = text.split(',').filter(|rule| !rule.is_empty());
            rules.map(|rule| parse(rule).unwrap_or_else(|| panic!("{VARIABLE}: {rule:?} is no rule"))).collect()
        });
        for rule in rules.iter().filter(|rule| rule.place == place) {
            if rule.reached.fetch_add(1, Ordering::Relaxed) + 1 != rule.at {
                continue;
            }
            eprintln!("failpoint {place}: {:?} at {}", rule.action, rule.at);
            match rule.action {
                Action::Kill => std::process::abort(),
                Action::Abort => return Err(Injected { place, is_abort: true }),
                Action::Rebuild => return Err(Injected { place, is_abort: false }),
                Action::Delay(time) => std::thread::park_timeout(time),
            }
        }
        Ok(())
    }

    fn parse(rule: &str) -> Option<Rule> {
        let (place, action) = rule.split_once('=')?;
        let (action, at) = action.split_once('@').unwrap_or((action, "1"));
        let action = match action.split_once(':') {
            Some(("delay", ms)) => Action::Delay(Duration::from_millis(ms.parse().ok()?)),
            Some(_) => return None,
            None if action == "kill" => Action::Kill,
            None if action == "abort" => Action::Abort,
            None if action == "rebuild" => Action::Rebuild,
            None => return None,
        };
        let place = PLACES.iter().find(|known| **known == place)?;
        Some(Rule { place, action, at: at.parse().ok()?, reached: AtomicU64::new(0) })
    }
}
