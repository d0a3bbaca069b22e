//! Faults can be injected into the program that is tested, and into no other build of it.
//!
//! `crates/kafka/src/fault/mod.rs` says what it takes: a feature, which only `[dev-dependencies]` enable, and debug assertions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FEATURE: &str = "fault-injection";

/// The only file that reads the environment for faults.
const READER: &str = "crates/kafka/src/fault/environment.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the features of the Kafka crate in a build of the whole workspace with these dependencies.
fn features(edges: &str) -> Vec<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--offline", "--locked", "--workspace", "--prefix", "none", "--format", "{lib} {f}"]);
    let output = cargo.args(["--edges", edges]).current_dir(root()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = text.lines().find_map(|line| line.strip_prefix("livesession_kafka "));
    found.expect("the program depends on the Kafka crate").split(',').map(str::to_owned).collect()
}

/// Returns the Rust files of the program and its crates.
fn sources() -> Vec<PathBuf> {
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
    let mut found = Vec::new();
    for folder in ["src", "crates"] {
        walk(&root().join(folder), &mut found);
    }
    found
}

#[test]
fn faults_are_a_feature_of_tests_alone() {
    let normal = features("no-dev");
    assert!(!normal.iter().any(|feature| feature == FEATURE), "a normal build can inject faults: {normal:?}");
    let tested = features("all");
    assert!(tested.iter().any(|feature| feature == FEATURE), "the tested program cannot inject faults: {tested:?}");
}

/// With the two below this shows what a build without the feature holds, without such a build, which would take minutes.
#[test]
fn variables_are_named_only_where_the_feature_compiles_them() {
    for variable in ["LIVESESSION_FAILPOINTS", "LIVESESSION_WEAKNESSES", "LIVESESSION_HOLD"] {
        let literal = format!("\"{variable}");
        let named = |path: &&PathBuf| fs::read_to_string(path).unwrap().contains(&literal);
        let files = sources();
        assert_eq!(files.iter().filter(named).collect::<Vec<_>>(), [&root().join(READER)], "{variable}");
    }
    let module = fs::read_to_string(root().join("crates/kafka/src/fault/mod.rs")).unwrap();
    let condition = format!("#[cfg(all(feature = \"{FEATURE}\", debug_assertions))]\nmod environment;");
    assert_eq!(module.matches("mod environment;").count(), 1);
    assert!(module.contains(&condition), "nowhere {condition:?}");
}

/// The profile decides, too: debug assertions in it would let the feature in.
#[test]
fn release_profile_has_no_debug_assertions() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let release = manifest["profile"]["release"].as_table().unwrap();
    assert!(!release.contains_key("debug-assertions"), "{release:?}");
}

#[test]
fn every_place_is_reached_once_in_the_program() {
    let mut reached: Vec<String> = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let places = text.split("fault::reach(\"").skip(1);
        reached.extend(places.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
    }
    reached.sort();
    let mut known: Vec<&str> = livesession_kafka::fault::failpoint::PLACES.to_vec();
    known.sort_unstable();
    assert_eq!(reached, known);
}
