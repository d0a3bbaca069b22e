//! Log lines on standard error: text for people, JSON for machines.
//!
//! Standard output belongs to what a command was asked for. Set up once, by the commands that log, after their configuration
//! has been read: what goes wrong before is an error message, not a log line.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::exit::{Exit, Failure};
use crate::config::LogFormat;

/// Begins to log.
///
/// # Errors
///
/// Exit 78 for a filter that is none (which `config check` finds too), 70 if it has been called before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), Failure> {
    let is_terminal = io::stderr().is_terminal();
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| Failure::caused_by(Exit::Config, format!("cannot read log_filter {filter:?}"), error))?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(io::stderr);
    let result = if is_json(format, is_terminal) {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        builder.with_ansi(is_terminal && !no_color).try_init()
    };
    result.map_err(|error| Failure::caused_by(Exit::Defect, "could not begin to log", error))
}

/// Returns whether lines are JSON.
fn is_json(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    }
}

/// Returns what is wrong with a filter, or `None`.
pub fn filter_fault(filter: &str) -> Option<String> {
    EnvFilter::try_new(filter).err().map(|error| format!("cannot read {filter:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_get_json_unless_told_otherwise() {
        for (format, is_terminal, expected) in [
            (LogFormat::Auto, true, false),
            (LogFormat::Auto, false, true),
            (LogFormat::Json, true, true),
            (LogFormat::Text, false, false),
        ] {
            assert_eq!(is_json(format, is_terminal), expected, "{}", format.as_str());
        }
    }

    #[test]
    fn a_filter_is_read_or_refused() {
        assert_eq!(filter_fault("info,livesession=debug"), None);
        assert!(filter_fault("livesession=loud").is_some());
    }
}
