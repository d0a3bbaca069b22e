//! The layout shows the design: what may know what, how long a file may be, which words mean what.
//!
//! Each rule has its reason beside it, and says where it was broken. What the compiler can enforce is in `clippy.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// A library that stops at a module, and why it does.
const STOPS: [(&str, &[&str], &str); 6] = [
    ("chrono", &["time.rs"], "calendars are a detail of Timestamp"),
    ("rdkafka", &["kafka/"], "the rest speaks bytes and offsets, so that a model broker can stand in"),
    ("rusqlite", &["index/"], "the rest speaks rows"),
    ("prometheus", &["metrics/"], "the rest counts"),
    ("axum", &["http/", "cli/"], "HTTP never touches the data path"),
    ("clap", &["cli/"], "commands are not called by anything"),
];

/// What a module must not know, and why.
const DIRECTIONS: [(&str, &[&str], &str); 11] = [
    ("time.rs", &["grouping", "wire", "kafka", "worker", "cli", "config", "clock"], "time is the bottom"),
    (
        "grouping/",
        &["wire", "partition", "kafka", "index", "worker", "cli", "config", "clock", "metrics"],
        "the core is pure",
    ),
    (
        "wire/",
        &["partition", "kafka", "index", "worker", "cli", "config", "clock", "metrics"],
        "bytes and values, nothing else",
    ),
    ("partition", &["kafka", "index", "worker", "cli", "config", "clock", "metrics"], "a partition is a value"),
    (
        "kafka/",
        &["grouping", "wire", "partition", "index", "worker", "cli", "config", "metrics"],
        "Kafka speaks bytes and offsets",
    ),
    ("index/", &["grouping", "partition", "kafka", "worker", "cli", "config", "metrics"], "the index speaks rows"),
    ("metrics/", &["grouping", "wire", "partition", "kafka", "index", "worker", "cli", "config"], "metrics is a leaf"),
    ("config/", &["wire", "partition", "kafka", "index", "worker", "cli", "metrics"], "configuration is a leaf"),
    (
        "clock.rs",
        &["grouping", "wire", "partition", "kafka", "index", "worker", "cli", "config", "metrics"],
        "the clock is a leaf",
    ),
    ("splice", &["kafka", "index", "worker", "cli", "config", "clock", "metrics"], "a plan is a value"),
    ("worker/", &["cli", "config", "index", "http"], "the worker is told, and reads no configuration"),
];

/// What the core must not contain.
const IMPURE: [(&str, &str); 11] = [
    ("tracing", "the core logs nothing: it returns values"),
    ("std::fs", "no I/O"),
    ("std::io", "no I/O"),
    ("std::net", "no I/O"),
    ("std::thread", "no threads"),
    ("async ", "no async"),
    ("serde", "serde stops in wire/"),
    ("SystemTime", "time is an argument"),
    ("Instant", "time is an argument"),
    ("f64", "no floats: they do not add up the same way twice"),
    ("collections::Hash", "the order of a hash map would leak into what is published"),
];

/// Words of the design's "not" column, and the word that is meant.
const WORDS: [(&str, &str); 4] =
    [("camera", "stream"), ("evict", "forget"), ("timed window", "session"), ("error queue", "dead letters")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the Rust files below a folder, with their paths from it.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let folder = root().join(folder);
    let mut paths = Vec::new();
    walk(&folder, &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Returns the code of a file: without comments, and without unit tests, which may know more.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("tests/")
}

/// Panics with every place where a rule is broken.
fn assert_none(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn files_stay_under_500_lines() {
    let mut broken = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for (name, text) in rust_files(folder) {
            let lines = text.lines().count();
            if lines >= 500 {
                broken.push(format!("{folder}/{name} has {lines} lines: split it where its subject does"));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn libraries_stop_where_they_should() {
    let mut broken = Vec::new();
    for (name, text) in rust_files("src") {
        let code = code(&text);
        for (library, homes, reason) in STOPS {
            let uses = [format!("use {library}::"), format!(" {library}::"), format!("({library}::")];
            let is_home = homes.iter().any(|home| name.starts_with(home));
            if !is_home && !is_test(&name) && uses.iter().any(|form| code.contains(form.as_str())) {
                broken.push(format!("src/{name} uses {library}, which stops in {homes:?}: {reason}"));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn modules_know_only_what_is_below_them() {
    let mut broken = Vec::new();
    for (name, text) in rust_files("src") {
        let code = code(&text);
        for (module, forbidden, reason) in DIRECTIONS {
            if !name.starts_with(module) || is_test(&name) {
                continue;
            }
            for other in forbidden {
                if code.contains(&format!("crate::{other}")) {
                    broken.push(format!("src/{name} knows {other}: {reason}"));
                }
            }
        }
    }
    assert_none(broken);
}

#[test]
fn the_core_is_pure() {
    let mut broken = Vec::new();
    for (name, text) in rust_files("src").into_iter().filter(|(name, _)| name.starts_with("grouping/")) {
        if is_test(&name) {
            continue;
        }
        let code = code(&text);
        for (word, reason) in IMPURE {
            if code.contains(word) {
                broken.push(format!("src/{name} contains {word:?}: {reason}"));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn every_file_of_the_program_says_what_lives_there() {
    let broken = rust_files("src").into_iter().filter(|(name, text)| !is_test(name) && !text.starts_with("//! "));
    assert_none(broken.map(|(name, _)| format!("src/{name} does not begin with what lives there")).collect());
}

#[test]
fn the_audit_shares_no_code_with_what_it_audits() {
    let files = rust_files("tests/audit").into_iter();
    let users = files.filter(|(_, text)| code(text).contains("livesession::") || text.contains("../src"));
    assert_none(users.map(|(name, _)| format!("tests/audit/{name} uses the program that it is to check")).collect());
}

#[test]
fn one_word_means_one_idea() {
    let mut broken = Vec::new();
    for (name, text) in rust_files("src") {
        for (line, text) in text.lines().enumerate() {
            let lower = text.to_lowercase();
            for (word, meant) in WORDS.iter().filter(|(word, _)| lower.contains(word)) {
                broken.push(format!("src/{name}:{}: {word:?}; the word is {meant:?}", line + 1));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn dependencies_say_what_they_are_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut broken = Vec::new();
    let mut in_dependencies = false;
    let mut is_explained = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line == "[dependencies]" || line == "[dev-dependencies]";
        } else if line.starts_with('#') {
            is_explained = true;
        } else {
            if in_dependencies && line.contains(" = ") && !is_explained {
                broken.push(format!("Cargo.toml: no comment before `{line}`"));
            }
            is_explained = false;
        }
    }
    assert_none(broken);
}
