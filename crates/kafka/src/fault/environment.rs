//! The faults that the environment of this process asks for, read once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use super::Safeguards;
use super::failpoint::{Injected, PLACES};

const FAILPOINTS: &str = "LIVESESSION_FAILPOINTS";
const WEAKNESSES: &str = "LIVESESSION_WEAKNESSES";
const HOLD: &str = "LIVESESSION_HOLD";

/// Reaches a place, and does what the rules say about it.
///
/// # Errors
///
/// If a rule says so.
///
/// # Panics
///
/// If a rule cannot be parsed: an ignored rule would prove nothing.
pub fn reach(place: &'static str) -> Result<(), Injected> {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let text = std::env::var(FAILPOINTS).unwrap_or_default();
        parse_rules(&text).unwrap_or_else(|rule| panic!("{FAILPOINTS}: {rule:?} is not a rule"))
    });
    apply(&RULES, place)
}

/// Returns all safeguards but those that the environment names.
///
/// # Panics
///
/// If it names one that does not exist.
pub fn safeguards() -> Safeguards {
    static SAFEGUARDS: LazyLock<Safeguards> = LazyLock::new(|| {
        let text = std::env::var(WEAKNESSES).unwrap_or_default();
        parse_safeguards(&text).unwrap_or_else(|name| panic!("{WEAKNESSES}: there is no safeguard {name:?}"))
    });
    *SAFEGUARDS
}

/// Waits before a commit of so many input records, while the file exists, and tells so by creating a second file, `.held`.
///
/// If the file says `idle`, only commits without input records wait. If `.held` cannot be created the commit goes on, and
/// the test that waits for it fails.
pub fn hold(records: usize) {
    static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os(HOLD).map(PathBuf::from));
    let Some(file) = FILE.as_ref() else { return };
    let Ok(which) = std::fs::read_to_string(file) else { return };
    if which == "idle" && records > 0 {
        return;
    }
    if std::fs::write(file.with_extension("held"), "").is_ok() {
        while file.exists() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Returns whether the offset of a partition differs from the one of the last call.
pub fn has_moved(partition: i32, offset: i64) -> bool {
    static LAST: Mutex<BTreeMap<i32, i64>> = Mutex::new(BTreeMap::new());
    LAST.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset) != Some(offset)
}

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
    /// The visit at which it applies, counted from 1.
    at: u64,
    visits: AtomicU64,
}

fn apply(rules: &[Rule], place: &'static str) -> Result<(), Injected> {
    // Every rule counts the visit, also those behind one that returns an error.
    let is_due = |rule: &&Rule| rule.place == place && rule.visits.fetch_add(1, Ordering::Relaxed) + 1 == rule.at;
    let due: Vec<&Rule> = rules.iter().filter(is_due).collect();
    for rule in due {
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

/// Parses rules; returns the first that is none.
fn parse_rules(text: &str) -> Result<Vec<Rule>, &str> {
    text.split(',').filter(|rule| !rule.is_empty()).map(|rule| parse_rule(rule).ok_or(rule)).collect()
}

fn parse_rule(rule: &str) -> Option<Rule> {
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
    Some(Rule { place, action, at: at.parse().ok()?, visits: AtomicU64::new(0) })
}

/// Parses names of safeguards and removes them; returns the first name that is none.
fn parse_safeguards(text: &str) -> Result<Safeguards, &str> {
    let mut safeguards = Safeguards::ALL;
    for name in text.split(',').filter(|name| !name.is_empty()) {
        match name {
            "fencing_guard" => safeguards.fencing_guard = false,
            "group_metadata" => safeguards.group_metadata = false,
            "unmoved_offsets" => safeguards.unmoved_offsets = false,
            "log_end" => safeguards.log_end = false,
            "producer_replacement" => safeguards.producer_replacement = false,
            "marker" => safeguards.marker = false,
            unknown => return Err(unknown),
        }
    }
    Ok(safeguards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_applies_once_at_the_visit_that_it_names() {
        let rules = parse_rules("commit.before=abort@2,commit.before=rebuild@3,send.after=delay:1").unwrap();
        let results: Vec<Option<bool>> =
            (0..4).map(|_| apply(&rules, "commit.before").err().map(|injected| injected.is_abort)).collect();
        assert_eq!(results, [None, Some(true), Some(false), None]);
        assert!(apply(&rules, "send.after").is_ok() && apply(&rules, "init.before").is_ok());
    }

    #[test]
    fn rule_that_means_nothing_is_refused() {
        for rule in
            ["commit", "commit.never=kill", "commit.before=explode", "commit.before=kill@", "commit.before=delay:x"]
        {
            assert_eq!(parse_rules(&format!("send.after=abort,{rule}")).err(), Some(rule));
        }
    }

    #[test]
    fn safeguards_are_removed_by_name() {
        assert_eq!(parse_safeguards(""), Ok(Safeguards::ALL));
        let left = parse_safeguards("marker,fencing_guard").unwrap();
        assert_eq!(left, Safeguards { marker: false, fencing_guard: false, ..Safeguards::ALL });
        assert!(!left.marker() && !left.fencing_guard() && left.group_metadata());
        assert_eq!(parse_safeguards("marker,guard"), Err("guard"));
    }
}
