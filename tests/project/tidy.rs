//! Rules of the layout: allowed imports, lengths of files, one word for each idea.
//!
//! Each rule has its reason beside it, and says where it was broken. What the compiler can enforce is in `clippy.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// A library that stops at a module of the program, and why it does. At which crate one stops, Cargo knows.
const STOPS: [(&str, &[&str], &str); 4] = [
    ("prometheus", &["metrics/"], "the rest counts"),
    ("axum", &["http/", "deployment/", "service/"], "HTTP never touches the data path"),
    ("hyper", &["http/"], "what serves is bounded in one place"),
    ("clap", &["cli/"], "commands are not called by anything"),
];

/// What a module of the program must not know, and why. What a crate must not know, its `Cargo.toml` says.
const DIRECTIONS: [(&str, &[&str], &str); 12] = [
    ("partition", &["livesession_kafka", "livesession_index", "crate::"], "a partition is a value"),
    ("metrics/", &["livesession_formats", "livesession_kafka", "crate::worker", "crate::cli"], "metrics is a leaf"),
    ("config/", &["livesession_kafka", "livesession_index", "crate::worker", "crate::cli"], "configuration is a leaf"),
    ("cli/", &["livesession_kafka"], "a command parses, calls one function and prints"),
    ("batch/", &["crate::cli", "livesession_kafka"], "the engine knows no command, and files need no broker"),
    ("dlq/", &["crate::cli"], "the engine knows no command"),
    ("deployment/", &["crate::cli", "crate::batch", "crate::dlq"], "what runs is told, and tells nothing"),
    ("service/", &["crate::cli", "crate::deployment", "crate::worker", "crate::indexer"], "a service runs any loop"),
    ("exit.rs", &["crate::cli", "crate::config", "livesession_"], "everything that can fail has an exit code"),
    ("clock.rs", &["crate::", "livesession_kafka", "livesession_index"], "the clock is a leaf"),
    ("splice", &["livesession_kafka", "livesession_index", "crate::"], "a plan is a value"),
    (
        "worker/",
        &["crate::cli", "crate::config", "livesession_index", "crate::http"],
        "the worker reads no configuration",
    ),
];

/// What the core must not contain although it could: without the standard library it has no clock, file, socket or thread.
const IMPURE: [(&str, &str); 2] = [("async ", "no async"), ("f64", "no floats: they do not add up the same way twice")];

/// Words that have another meaning elsewhere, and the word that is meant.
const WORDS: [(&str, &str); 5] = [
    ("camera", "stream"),
    ("evict", "forget"),
    ("timed window", "session"),
    ("error queue", "dead letters"),
    ("overlay", "undo log"),
];

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
    for folder in ["src", "crates", "tests", "benches"] {
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
                if code.contains(other) {
                    broken.push(format!("src/{name} knows {other}: {reason}"));
                }
            }
        }
    }
    assert_none(broken);
}

#[test]
fn a_module_with_files_of_its_own_is_a_folder_with_mod_rs() {
    let files = rust_files("src");
    let mut broken = Vec::new();
    for (name, text) in &files {
        let folder = format!("{}/", name.trim_end_matches(".rs"));
        if files.iter().any(|(other, _)| other.starts_with(&folder)) {
            broken.push(format!("src/{name} stands beside its folder: call it {folder}mod.rs"));
        }
        // What unit tests share with the other tests is not a module of the program.
        if text.lines().any(|line| line.contains("#[path") && !line.contains("tests/support/")) {
            broken.push(format!("src/{name} has a path attribute: name the file as the module"));
        }
    }
    assert_none(broken);
}

#[test]
fn the_core_is_pure() {
    let mut broken = Vec::new();
    for (name, text) in rust_files("crates/grouping/src") {
        if is_test(&name) {
            continue;
        }
        let code = code(&text);
        for (word, reason) in IMPURE {
            if code.contains(word) {
                broken.push(format!("crates/grouping/src/{name} contains {word:?}: {reason}"));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn every_file_of_the_program_says_what_lives_there() {
    let mut broken = Vec::new();
    for folder in ["src", "crates"] {
        let silent = rust_files(folder).into_iter().filter(|(name, text)| !is_test(name) && !text.starts_with("//! "));
        broken.extend(silent.map(|(name, _)| format!("{folder}/{name} does not begin with what lives there")));
    }
    assert_none(broken);
}

#[test]
fn one_word_means_one_idea() {
    let mut broken = Vec::new();
    for folder in ["src", "crates"] {
        for (name, text) in rust_files(folder) {
            for (line, text) in text.lines().enumerate() {
                let lower = text.to_lowercase();
                for (word, meant) in WORDS.iter().filter(|(word, _)| lower.contains(word)) {
                    broken.push(format!("{folder}/{name}:{}: {word:?}; the word is {meant:?}", line + 1));
                }
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
            in_dependencies = line == "[workspace.dependencies]";
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
