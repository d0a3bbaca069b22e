//! Log lines on standard error: text for people, JSON for machines.
//!
//! Standard output belongs to what a command was asked for. Set up once, by the commands that log, after their configuration
//! has been read: what goes wrong before is an error message, not a log line.

use std::io::{self, IsTerminal};

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogFormat;
use crate::exit::{Exit, Failure};

/// Begins to log.
///
/// # Errors
///
/// Exit 78 for a filter that is none (which `config check` finds too), 70 if it has been called before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), Failure> {
    let is_terminal = io::stderr().is_terminal();
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| Failure::caused_by(Exit::Config, format!("cannot read log_filter {filter:?}"), error))?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dispatch = dispatch(is_json(format, is_terminal), is_terminal && !no_color, parsed, io::stderr);
    tracing::dispatcher::set_global_default(dispatch)
        .map_err(|error| Failure::caused_by(Exit::Software, "could not initialize logging", error))
}

/// Returns what writes log lines.
fn dispatch<W>(json: bool, color: bool, filter: EnvFilter, writer: W) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if json {
        Dispatch::new(builder.json().flatten_event(true).with_current_span(false).finish())
    } else {
        Dispatch::new(builder.with_ansi(color).finish())
    }
}

/// Returns whether lines are JSON.
fn is_json(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;

    /// Returns what is written at the filter `info`.
    fn logged(json: bool, color: bool) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let dispatch = dispatch(json, color, EnvFilter::try_new("info").unwrap(), Arc::new(writer));
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(partition = 7, "restored partition");
            tracing::debug!("not written");
        });
        drop(dispatch);
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        written
    }

    #[test]
    fn lines_are_json_with_fields_or_text_with_or_without_color() {
        let json: serde_json::Value = serde_json::from_str(&logged(true, true)).unwrap();
        assert_eq!((&json["level"], &json["partition"]), (&"INFO".into(), &7.into()));
        assert_eq!(json["message"], "restored partition");
        let plain = logged(false, false);
        assert!(plain.ends_with("restored partition partition=7\n") && !plain.contains('\x1b'), "{plain:?}");
        assert!(logged(false, true).contains('\x1b'));
    }

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
}
