//! Answers of the index on the screen, in a pipe, or in a spreadsheet.
//!
//! NDJSON is a contract: what the output topic and the HTTP side give, a line each, times in UTC. A table is for eyes and may
//! change. CSV has a header line and RFC 4180 quotes.
//!
//! Texts come from notifications. On a terminal their control characters are shown and not obeyed, or a stream id could
//! clear the screen; in JSON and CSV they are data, as they are.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::output::Output;
use super::time::Offset;
use crate::config::{self, DEFAULT_FILE, Scope, Sources};
use crate::deployment;
use crate::exit::{Exit, Failure};
use crate::text::visible;
use livesession_index as index;
use livesession_index::Reader;

/// Where the index is.
#[derive(clap::Args, Clone, Debug)]
pub struct IndexFile {
    /// The index [default: `index.path` of the configuration]
    #[arg(long = "index", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    index: Option<PathBuf>,
    /// Configuration file to take `index.path` from [env: LIVESESSION_CONFIG]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
}

impl IndexFile {
    /// Returns the path of the index, without looking at it.
    ///
    /// Of the configuration only that one line counts: a question to a file does not need a broker that is right.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        match &self.index {
            Some(path) => Ok(path.clone()),
            None => Ok(self.settings()?.index.path),
        }
    }

    /// Returns the configuration, of which `[index]` counts.
    pub fn settings(&self) -> Result<config::Config, Failure> {
        let sources = Sources {
            file: self.config.clone(),
            default_file: Some(PathBuf::from(DEFAULT_FILE)),
            environment: std::env::vars_os().collect(),
            flags: Vec::new(),
        };
        Ok(deployment::load(&sources, Scope::Index)?.config)
    }

    /// Opens the index for reading.
    pub fn open(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(&self.path()?)?)
    }
}

/// How to write an answer.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Style {
    /// A JSON object per line, also on a terminal
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values with a header line
    #[arg(long)]
    csv: bool,
    /// Offset of times in tables and CSV, and of times that are typed without one; JSON is always UTC
    #[arg(long, value_name = "OFFSET", value_parser = Offset::parse, default_value = "Z", allow_hyphen_values = true)]
    pub tz: Offset,
}

/// A form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Ndjson,
    Csv,
    Table,
}

impl Style {
    /// Returns the form: what was asked for, else a table for a terminal and NDJSON for a program.
    pub fn form(&self, out: &Output) -> Form {
        match (self.json, self.csv) {
            (true, _) => Form::Ndjson,
            (false, true) => Form::Csv,
            (false, false) if out.is_terminal() => Form::Table,
            (false, false) => Form::Ndjson,
        }
    }
}

/// Rows under a header, written when they are all there: a table has to know its widest cell.
pub struct Rows {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    form: Form,
}

impl Rows {
    pub fn new(form: Form, header: &[&'static str]) -> Rows {
        Rows { header: header.to_vec(), rows: Vec::new(), form }
    }

    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Writes what there is; an empty table has no header either, an empty CSV has one.
    pub fn write(self, out: &mut Output) -> Result<(), Failure> {
        match self.form {
            Form::Csv => {
                out.line(&self.header.join(","))?;
                for row in &self.rows {
                    out.line(&row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(","))?;
                }
                Ok(())
            }
            Form::Table | Form::Ndjson if self.rows.is_empty() => Ok(()),
            Form::Table | Form::Ndjson => {
                let mut table = Table::new();
                table.load_style(presets::NOTHING).set_header(self.header);
                for row in self.rows {
                    table.add_row(row.iter().map(|cell| visible(cell)).collect::<Vec<_>>());
                }
                out.line(&table.trim_fmt())
            }
        }
    }
}

/// Writes a value as a line of JSON.
pub fn json_line<T: Serialize>(value: &T, out: &mut Output) -> Result<(), Failure> {
    let line = serde_json::to_string(value)
        .map_err(|source| Failure::caused_by(Exit::Software, "cannot write answer as JSON", source))?;
    out.line(&line)
}

/// Quotes a cell of CSV if it needs it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

impl From<index::Error> for Failure {
    /// Says what went wrong with the index, and how the command ends.
    fn from(error: index::Error) -> Failure {
        use index::Error;
        let exit = match &error {
            Error::Busy { .. } | Error::Interrupted { .. } => Exit::TempFail,
            Error::Full { .. }
            | Error::ReadOnly { .. }
            | Error::Unopenable { .. }
            | Error::Io { .. }
            | Error::File { .. }
            | Error::Corrupt { .. } => Exit::IoErr,
            Error::Missing { .. }
            | Error::NotAnIndex { .. }
            | Error::NotSqlite { .. }
            | Error::Newer { .. }
            | Error::Older { .. }
            | Error::OtherTopic { .. }
            | Error::Twin { .. } => Exit::Config,
            Error::OtherGeneration { .. } => Exit::NotFound,
            Error::Exists { .. } => Exit::Usage,
            Error::Backwards { .. } | Error::Sql { .. } => Exit::Software,
            Error::Unreadable { .. } => {
                return Failure::caused_by(Exit::DataErr, "the index has a row that no indexer of ours wrote", error);
            }
        };
        Failure::caused_by(exit, "the index query failed", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_csv_are_quoted_when_they_need_it() {
        for (cell, expected) in [("a", "a"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\""), ("", "")]
        {
            assert_eq!(quoted(cell), expected);
        }
    }
}
