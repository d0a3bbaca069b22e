//! The arguments of `group`; what a policy flag does is told in `config`.

use livesession_formats::time::parse_span;
use std::path::PathBuf;

use crate::batch::input;
use crate::batch::replay::Mode;
use crate::cli::io::flags::GroupingSettings;
use livesession_grouping::time::Millis;

/// Groups notifications from files into sessions, without Kafka.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Files of notifications, plain, .gz or .zst; none or -: standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,

    /// How notifications are written: a line each, JSON values one after another, or lines of `kcat -J`
    #[arg(long, value_enum, default_value_t = Form::Auto, value_name = "FORM")]
    pub from: Form,

    /// How sessions are written [default: table on a terminal, else ndjson]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,

    /// Write refused records to this new file, as lines of `kcat -J`
    #[arg(long, value_name = "FILE")]
    pub dead_letters: Option<PathBuf>,

    /// Write closed sessions to a new SQLite index instead of standard output
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub index: Option<PathBuf>,

    /// Close what is still open at the end of input
    #[arg(long)]
    pub close_all: bool,

    /// Replay the input as the worker would read it: with lateness, and memory for what is alive only
    #[arg(long)]
    pub arrival_order: bool,

    /// Print every publication, not only final ones; implies --arrival-order
    #[arg(long)]
    pub all_revisions: bool,

    /// Exit with 65 if a record was refused
    #[arg(long)]
    pub strict: bool,

    /// Print why a session, or each session of a stream, has its bounds
    #[arg(long, value_name = "SESSION|STREAM", conflicts_with_all = ["arrival_order", "all_revisions", "index", "format"])]
    pub explain: Option<String>,

    /// Print how many sessions other gaps would give, and what would change
    #[arg(long, value_name = "gap=1m,3m,…", value_parser = parse_gaps, conflicts_with_all = ["explain", "arrival_order", "all_revisions", "index", "format"])]
    pub what_if: Option<Gaps>,

    #[command(flatten)]
    pub settings: GroupingSettings,
}

/// How notifications are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// By the beginning of each file
    #[default]
    Auto,
    /// One notification a line
    Raw,
    /// JSON values one after another, on one line or on many
    Json,
    /// Lines of `kcat -J`
    Kcat,
}

/// How sessions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One session a line, as in the output topic
    Ndjson,
    /// For people; may change
    Table,
}

/// The gaps to try, in the order of the argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gaps(pub Vec<Millis>);

impl Args {
    /// Returns the form that was asked for; `None`: each file tells its own.
    pub fn form(&self) -> Option<input::Form> {
        match self.from {
            Form::Auto => None,
            Form::Raw => Some(input::Form::Raw),
            Form::Json => Some(input::Form::Json),
            Form::Kcat => Some(input::Form::Kcat),
        }
    }

    pub fn mode(&self) -> Mode {
        match (self.arrival_order, self.all_revisions) {
            (_, true) => Mode::AllRevisions,
            (true, false) => Mode::ArrivalOrder,
            (false, false) => Mode::Set,
        }
    }
}

fn parse_gaps(text: &str) -> Result<Gaps, String> {
    let list = text.strip_prefix("gap=").ok_or("write gap=1m,3m,5m: only the gap can be tried")?;
    let gaps = list.split(',').map(|gap| parse_span(gap).map_err(|error| format!("{gap:?}: {error}")));
    gaps.collect::<Result<_, _>>().map(Gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_to_try_are_a_list_of_spans() {
        let span = |text| parse_span(text).unwrap();
        assert_eq!(parse_gaps("gap=1m,90s").unwrap().0, [span("1m"), span("90s")]);
        for text in ["", "gap=", "1m", "notification_delay=1m", "gap=1m,", "gap=1"] {
            assert!(parse_gaps(text).is_err(), "{text}");
        }
    }
}
