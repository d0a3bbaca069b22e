//! Failpoints and weaknesses are in the program that is tested, and in no release build.
//!
//! To build the whole program twice would cost minutes, so `failpoint.rs` and `weakness.rs` of the Kafka crate, which need nothing
//! but the standard library, are compiled alone: as `cargo build` does, and as `cargo build --release` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Meets a place, and asks for protections, as the protocol does.
const PROGRAM: &str = r#"
    #[allow(dead_code, unused_macros, unused_imports)]
    mod fault {
        #[path = "FAILPOINT"]
        pub mod failpoint;
        #[path = "WEAKNESS"]
        pub mod weakness;
    }
    use fault::{failpoint, weakness};

    fn commit() -> Result<(), Box<dyn std::error::Error>> {
        weakness::hold(0);
        if weakness::lacks("guard") || !weakness::keeps(0, 0) {
            return Err("weak".into());
        }
        failpoint::reach!("commit.before");
        Ok(())
    }

    fn main() {
        match commit() {
            Ok(()) => println!("committed"),
            Err(error) => println!("{error}"),
        }
    }
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compile(name: &str, arguments: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join(format!("{name}.rs")), folder.join(name));
    let module = |name: &str| root().join("crates/kafka/src/fault").join(name).display().to_string();
    let text = PROGRAM.replace("FAILPOINT", &module("failpoint.rs")).replace("WEAKNESS", &module("weakness.rs"));
    fs::write(&source, text).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let status = rustc.args(["--edition", "2024"]).args(arguments).arg("-o").arg(&program).arg(&source).status();
    assert!(status.unwrap().success(), "{name} does not compile");
    program
}

fn run(program: &Path, rules: &str) -> Output {
    Command::new(program).env("LIVESESSION_FAILPOINTS", rules).output().unwrap()
}

fn contains(program: &Path, text: &str) -> bool {
    memchr::memmem::find(&fs::read(program).unwrap(), text.as_bytes()).is_some()
}

#[test]
fn release_build_has_neither_failpoints_nor_weaknesses() {
    let debug = compile("release-debug", &["-C", "debug-assertions=on"]);
    let release = compile("release-release", &["-C", "opt-level=3"]);
    for (program, is_there) in [(&debug, true), (&release, false)] {
        assert_eq!(run(program, "").stdout, b"committed\n");
        for text in ["LIVESESSION_FAILPOINTS", "commit.before", "LIVESESSION_WEAKNESSES", "LIVESESSION_HOLD"] {
            assert_eq!(contains(program, text), is_there, "{text} in {}", program.display());
        }
        let is_killed = run(program, "commit.before=kill").status.code().is_none();
        assert_eq!(is_killed, is_there, "{}", program.display());
        let fails = run(program, "commit.before=abort").stdout != b"committed\n";
        assert_eq!(fails, is_there, "{}", program.display());
        let is_weak =
            Command::new(program).env("LIVESESSION_WEAKNESSES", "marker,guard").output().unwrap().stdout == b"weak\n";
        assert_eq!(is_weak, is_there, "{}", program.display());
    }
}

#[test]
fn rule_that_means_nothing_is_refused() {
    let program = compile("release-rules", &["-C", "debug-assertions=on"]);
    for rule in ["commit", "commit.never=kill", "commit.before=explode", "commit.before=kill@", "commit.before=delay:x"]
    {
        let output = run(&program, rule);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("is no rule"), "{rule}: {text}");
    }
    assert!(run(&program, "commit.before=delay:1@2,begin.after=kill").status.success(), "neither is reached");
}

/// The profile decides; debug assertions in it would bring the places back.
#[test]
fn release_profile_has_no_debug_assertions() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let release = manifest["profile"]["release"].as_table().unwrap();
    assert!(!release.contains_key("debug-assertions"), "{release:?}");
}

#[test]
fn every_place_is_reached_once_in_the_program() {
    let mut reached: Vec<String> = Vec::new();
    for folder in ["crates/kafka/src", "src/worker"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let places = text.split("failpoint::reach!(\"").skip(1);
            reached.extend(places.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    reached.sort();
    let mut known: Vec<&str> = livesession_kafka::fault::failpoint::PLACES.to_vec();
    known.sort_unstable();
    assert_eq!(reached, known);
}
