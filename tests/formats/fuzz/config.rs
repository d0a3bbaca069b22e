//! Configuration files and properties files. Promise: every problem is reported with its place, and never with a secret.

use std::fs;
use std::path::PathBuf;

use livesession::config::{self, Scope, Sources};
use livesession_kafka::properties;

use crate::fuzz::mutate::{corpus, run};

/// Stands in the corpus where a password would.
const SECRET: &str = "hunter2";

#[test]
fn mutated_configuration_files_are_read_or_refused() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}.toml", std::process::id()));
    let mut inputs = corpus("config");
    inputs.push(include_bytes!("../../../deploy/livesession.toml").to_vec());
    run("config", 40, &inputs, |text| {
        fs::write(&path, text).unwrap();
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        match config::check(&sources, Scope::All).finish() {
            Ok(loaded) if format!("{:?}", loaded.config).contains(SECRET) => Err("a secret is shown".to_owned()),
            Ok(_) => Ok(true),
            Err(problems) if problems.0.is_empty() => Err("refused without a problem".to_owned()),
            Err(problems) => {
                // Damage can make a secret of anything, so only problems of the settings that hold one count.
                let of_secrets = problems.0.iter().filter(|problem| problem.setting.contains("password"));
                match of_secrets.map(ToString::to_string).find(|text| text.contains(SECRET)) {
                    Some(text) => Err(format!("a secret is quoted: {text}")),
                    None => Ok(false),
                }
            }
        }
    });
    fs::remove_file(&path).unwrap();
}

#[test]
fn mutated_properties_files_are_read_or_refused() {
    run("properties", 1, &corpus("properties"), |text| {
        let text = String::from_utf8_lossy(text);
        match properties::parse_properties(&text) {
            Ok(read) => {
                let written: String = read.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
                match properties::parse_properties(&written) {
                    Ok(again) if again == read => Ok(true),
                    other => Err(format!("{read:?} is read again as {other:?}")),
                }
            }
            Err(problems) if problems.is_empty() => Err("refused without a problem".to_owned()),
            Err(_) => Ok(false),
        }
    });
}
