//! `livesession dlq`: the dead letters, listed, shown and sent back.
//!
//! `list` and `show` read; only `replay` writes. Values are printed by `show` alone, because they may hold push secrets.
//!
//! NDJSON is a contract: `partition offset written reason stage state replays source{topic partition offset time} group
//! bytes`, and for `--count` `reason state letters`. A reason is null if the letter is foreign.

use std::collections::BTreeMap;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::io::flags::AllSettings;
use super::io::output::{Output, tell};
use super::io::table::{Form, Rows, Style, json_line};
use super::io::time::Offset;
use super::progress::Lines;
use crate::clock;
use crate::deployment::Deployment;
use crate::dlq::record::{Letter, State};
use crate::dlq::replay::{self, LetterOutcome, Replayed};
use crate::dlq::topic::DeadLetterTopic;
use crate::exit::{Exit, Failure};
use crate::text::visible;
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;

/// Stands for the reason of a foreign letter in tables.
const NO_REASON: &str = "-";

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
        /// Maximum number of dead letters, the newest; 0: all
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
        /// Maximum number of dead letters
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
            let topic = open(&settings)?;
            let since = selection.since(style.tz)?;
            if count {
                count_letters(&topic, &selection.reasons, since, &style, out)?;
            } else {
                list(&topic, &selection.reasons, since, limit, &style, out)?;
            }
        }
        Action::Show { partition, offset, settings } => {
            show(&open(&settings)?, partition, offset, out)?;
        }
        Action::Replay { dry_run, limit, selection, style, settings } => {
            let since = selection.since(style.tz)?;
            let request = replay::Request { reasons: selection.reasons, since, limit, dry_run };
            let deployment = Deployment::new(settings.load()?)?;
            let replayed = replay::replay(&deployment, &request, progress())?;
            // What was sent before a failure is wanted too.
            write_replayed(&replayed, request.dry_run, &style, out)?;
            replayed.ended?;
        }
    }
    Ok(Exit::Ok)
}

fn open(settings: &AllSettings) -> Result<DeadLetterTopic, Failure> {
    DeadLetterTopic::open(&Deployment::new(settings.load()?)?)
}

/// Returns what reports how far the topic is read.
fn progress() -> impl FnMut(i32, i64) {
    let mut lines = Lines::default();
    move |partition, offset| lines.count(|read| format!("read {read} dead letters, now at {partition}/{offset}"))
}

/// Writes the newest letters, oldest of them first.
fn list(
    topic: &DeadLetterTopic,
    reasons: &[Reason],
    since: Option<Timestamp>,
    limit: usize,
    style: &Style,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut newest = BTreeMap::new();
    let mut found = 0_u64;
    topic.each(reasons, since, progress(), |letter| {
        found += 1;
        newest.insert((letter.written, letter.partition, letter.offset), letter);
        if limit > 0 && newest.len() > limit {
            newest.pop_first();
        }
    })?;
    let form = style.form(out);
    let header = ["written", "at", "reason", "state", "replays", "from", "bytes"];
    let mut rows = Rows::new(form, &header);
    for letter in newest.values() {
        if form == Form::Ndjson {
            json_line(&object(letter), out)?;
        } else {
            rows.push(row(letter, style));
        }
    }
    rows.write(out)?;
    if found > newest.len() as u64 {
        out.flush()?;
        tell(&format!("{} of {found} dead letters; --limit 0 lists all", newest.len()));
    }
    Ok(())
}

fn object(letter: &Letter) -> serde_json::Value {
    let (topic, partition, offset) = &letter.source;
    serde_json::json!({
        "partition": letter.partition,
        "offset": letter.offset,
        "written": letter.written.map(|time| time.to_string()),
        "reason": letter.reason.map(Reason::as_str),
        "stage": letter.reason.map(Reason::stage),
        "state": letter.state.as_str(),
        "replays": letter.replays,
        "source": {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "time": letter.source_time.map(|time| time.to_string()),
        },
        "group": letter.group,
        "bytes": letter.bytes,
    })
}

fn row(letter: &Letter, style: &Style) -> Vec<String> {
    let (topic, partition, offset) = &letter.source;
    let number = |value: Option<i64>| value.map_or("?".to_owned(), |known| known.to_string());
    vec![
        letter.written.map_or("?".to_owned(), |time| style.tz.show(time)),
        format!("{}/{}", letter.partition, letter.offset),
        letter.reason.map_or(NO_REASON, Reason::as_str).to_owned(),
        letter.state.as_str().to_owned(),
        letter.replays.to_string(),
        format!("{topic}/{}/{}", number(partition.map(i64::from)), number(*offset)),
        letter.bytes.to_string(),
    ]
}

/// Writes how many letters there are of each reason and state.
fn count_letters(
    topic: &DeadLetterTopic,
    reasons: &[Reason],
    since: Option<Timestamp>,
    style: &Style,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut counts: BTreeMap<(Option<Reason>, State), u64> = BTreeMap::new();
    topic.each(reasons, since, progress(), |letter| *counts.entry((letter.reason, letter.state)).or_default() += 1)?;
    let form = style.form(out);
    let mut rows = Rows::new(form, &["reason", "state", "letters"]);
    for ((reason, state), letters) in counts {
        let name = reason.map(Reason::as_str);
        if form == Form::Ndjson {
            let object = serde_json::json!({ "reason": name, "state": state.as_str(), "letters": letters });
            json_line(&object, out)?;
        } else {
            rows.push(vec![name.unwrap_or(NO_REASON).to_owned(), state.as_str().to_owned(), letters.to_string()]);
        }
    }
    rows.write(out)
}

/// Writes one letter whole.
fn show(topic: &DeadLetterTopic, partition: i32, offset: i64, out: &mut Output) -> Result<(), Failure> {
    let Some(line) = topic.find(partition, offset)? else {
        let message = format!("there is no dead letter at {partition}/{offset} in {}", topic.name());
        return Err(Failure::new(Exit::NotFound, message));
    };
    if out.is_terminal() { out.line(&visible(String::from_utf8_lossy(&line).trim_end())) } else { out.bytes(&line) }
}

/// Writes a line for every reason that there was.
fn write_replayed(replayed: &Replayed, dry_run: bool, style: &Style, out: &mut Output) -> Result<(), Failure> {
    let counts = &replayed.counts;
    let sent = if dry_run { "would_replay" } else { "replayed" };
    let columns = [
        (sent, LetterOutcome::Sent),
        ("earlier", LetterOutcome::Earlier),
        ("exhausted", LetterOutcome::Exhausted),
        ("cut", LetterOutcome::Cut),
        ("not_asked", LetterOutcome::NotAsked),
    ];
    let form = style.form(out);
    let header: Vec<&'static str> = std::iter::once("reason").chain(columns.map(|(name, _)| name)).collect();
    let mut rows = Rows::new(form, &header);
    let mut reasons: Vec<Option<Reason>> = counts.keys().map(|(reason, _)| *reason).collect();
    reasons.dedup();
    for reason in reasons {
        let name = reason.map(Reason::as_str);
        let numbers = columns.map(|(column, outcome)| (column, counts.get(&(reason, outcome)).copied().unwrap_or(0)));
        if form == Form::Ndjson {
            let mut object = serde_json::Map::from_iter([("reason".to_owned(), name.into())]);
            object.extend(numbers.map(|(column, number)| (column.to_owned(), number.into())));
            json_line(&object, out)?;
        } else {
            let cells = std::iter::once(name.unwrap_or(NO_REASON).to_owned());
            rows.push(cells.chain(numbers.map(|(_, number)| number.to_string())).collect());
        }
    }
    rows.write(out)
}
