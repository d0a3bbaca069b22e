//! The program at a shell, without a broker: what it says of wrong arguments and of brokers that are not there.

use std::process::{Command, Output};

fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_livesession-audit")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_command_line_is_usage() {
    for (arguments, text) in [
        (&["--gap", "soon"][..], "--gap"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--property", "no-equals-sign"], "\"no-equals-sign\" is not NAME=VALUE"),
        (&["--config", "/no/such/file.toml"], "/no/such/file.toml"),
    ] {
        let output = audit(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(text), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn brokers_that_are_not_there_are_a_reason_to_try_again() {
    let output = audit(&["--brokers", "127.0.0.1:1", "--patience", "1s"]);
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    assert!(said(&output).contains("could not audit"), "{}", said(&output));
}
