//! `livesession dlq`: the dead letters, listed, shown and sent back.
//!
//! `list` and `show` read; only `replay` writes. What has been replayed is remembered by Kafka, in the group
//! `<application_id>-dlq-replay`: for each reason, the stretches of the topic that are settled ([`crate::dlq::replayed`] says why). So
//!
//! * a filter passes over what it does not select, and a later replay finds it;
//! * a replay that is killed and repeated sends nothing twice, because records and note are one transaction;
//! * of two at once one goes on, and the other one stops with an error;
//! * `list` says what waits.
//!
//! Brokers forget a group that has been still for a week (`offsets.retention.minutes`), and everything waits again. A
//! notification that was accepted is then a duplicate, or late: no session changes.
//!
//! Values are printed by `show` alone, because they may hold push secrets.

mod list;

use std::collections::BTreeMap;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::io::flags::AllSettings;
use super::io::output::Output;
use super::io::table::Style;
use super::io::time::Offset;
use crate::cli::topics::{self, ANSWER_TIMEOUT};
use crate::clock;
use crate::config::Config;
use crate::deployment::startup::scan_failure;
use crate::deployment::{clients, startup};
use crate::dlq::replay;
use crate::dlq::replayed::Ledger;
use crate::exit::{Exit, Failure};
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;
use livesession_kafka::scan::Scan;
use livesession_kafka::settings::Settings;

/// Lists, shows and replays dead letters.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Lists the newest dead letters, without what they hold.
    List {
        /// Count by reason and state instead
        #[arg(long)]
        count: bool,
        /// At most so many, the newest; 0: all
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        style: Style,
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Prints one dead letter with its headers and its value, as `kcat -J` does.
    Show {
        partition: i32,
        offset: i64,
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Sends dead letters back to the input, each once, and counts them by reason.
    ///
    /// Without --reason all but `late`, which would be late again. Never sent: a letter that has been replayed three times,
    /// or that has lost its value. What a filter passes over is found by a later replay. It may be killed and repeated at
    /// any time: records are sent and remembered in one transaction, by the group <application_id>-dlq-replay. Do not reset
    /// that group's offsets: everything would wait again.
    Replay {
        /// Count what would be sent, and send nothing
        #[arg(long)]
        dry_run: bool,
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        style: Style,
        #[command(flatten)]
        settings: AllSettings,
    },
}

/// Which dead letters.
#[derive(clap::Args, Clone, Debug)]
struct Selection {
    /// Only of this reason; several by repeating it
    #[arg(long = "reason", value_name = "REASON", value_parser = reason_parser())]
    reasons: Vec<Reason>,
    /// From the first that was refused at this time or later: RFC 3339, a day, or 24h for that long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

fn reason_parser() -> impl TypedValueParser<Value = Reason> {
    let names = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str));
    names.try_map(|name| Reason::parse(&name).ok_or("is no reason"))
}

impl Selection {
    fn since(&self, offset: Offset) -> Result<Option<Timestamp>, Failure> {
        let read = |text: &String| offset.read(text, clock::now());
        self.since.as_ref().map(read).transpose().map_err(|text| Failure::new(Exit::Usage, format!("--since: {text}")))
    }
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    match args.action {
        Action::List { count, limit, selection, style, settings } => {
            let topic = Topic::open(&settings.load()?.config)?;
            let since = selection.since(style.tz)?;
            if count {
                list::count(&topic, &selection.reasons, since, &style, out)?;
            } else {
                list::list(&topic, &selection.reasons, since, limit, &style, out)?;
            }
        }
        Action::Show { partition, offset, settings } => {
            return list::show(&Topic::open(&settings.load()?.config)?, partition, offset, out);
        }
        Action::Replay { dry_run, limit, selection, style, settings } => {
            let since = selection.since(style.tz)?;
            let request = replay::Request { reasons: selection.reasons, since, limit, dry_run };
            replay::run(settings.load()?.config, request, &style, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// The dead-letter topic and its reader.
pub struct Topic {
    name: String,
    partitions: i32,
    scan: Scan,
}

impl Topic {
    fn open(config: &Config) -> Result<Topic, Failure> {
        let name = config.dead_letter_topic();
        let partitions = count_partitions(config, &name, "topics.dead_letter")?;
        let scan = Scan::new(&replay_settings(config)?, ANSWER_TIMEOUT).map_err(scan_failure)?;
        Ok(Topic { name, partitions, scan })
    }
}

/// Returns how many partitions a topic has, which has to exist.
pub fn count_partitions(config: &Config, name: &str, setting: &str) -> Result<i32, Failure> {
    let found = topics::connect(config)?.topic(name).map_err(startup::admin_failure)?;
    let missing = || {
        let text = format!("topic {name} ({setting}) does not exist: correct it, or run livesession topics create");
        Failure::new(Exit::Config, text)
    };
    Ok(i32::try_from(found.ok_or_else(missing)?.partitions).unwrap_or(i32::MAX))
}

/// Returns the settings of the clients that read dead letters: with a group and a transactional id of their own.
pub fn replay_settings(config: &Config) -> Result<Settings, Failure> {
    let mut settings = clients::settings(config, 0)?;
    settings.group = format!("{}-dlq-replay", config.application_id);
    settings.transactional_id.clone_from(&settings.group);
    settings.group_instance_id = None;
    Ok(settings)
}

/// Returns what the notes say has been replayed, by partition.
pub fn ledgers(topic: &str, notes: impl IntoIterator<Item = (i32, String)>) -> Result<BTreeMap<i32, Ledger>, Failure> {
    let mut ledgers = BTreeMap::new();
    for (partition, note) in notes {
        let ledger = Ledger::parse(&note).map_err(|problem| {
            let text = format!(
                "cannot read what has been replayed of {topic}/{partition}: {problem}; to begin anew, delete the group \
                 with kafka-consumer-groups --delete"
            );
            Failure::new(Exit::Config, text)
        })?;
        ledgers.insert(partition, ledger);
    }
    Ok(ledgers)
}

/// Reads what the group has noted, for somebody who only looks.
pub fn read_notes(scan: &Scan, topic: &str, partitions: i32) -> Result<BTreeMap<i32, String>, Failure> {
    let all: Vec<i32> = (0..partitions).collect();
    let committed = scan.committed(topic, &all).map_err(scan_failure)?;
    Ok(committed.into_iter().map(|(partition, held)| (partition, held.note)).collect())
}

/// Returns from where to where a partition is to be read.
pub fn stretch(scan: &Scan, topic: &str, partition: i32, since: Option<Timestamp>) -> Result<(i64, i64), Failure> {
    let ends = scan.ends(topic, partition).map_err(scan_failure)?;
    let from = match since {
        None => ends.start,
        Some(time) => scan.offset_at(topic, partition, time.as_ms()).map_err(scan_failure)?.unwrap_or(ends.end),
    };
    Ok((from.max(ends.start), ends.end))
}
