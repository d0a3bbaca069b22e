//! `dlq list` and `dlq show`: looking, without changing anything.
//!
//! NDJSON is a contract: `partition offset written reason stage state replays source{topic partition offset time} group
//! bytes`, and for `--count` `reason state letters`. A reason is null if the letter is foreign.

use std::collections::BTreeMap;

use super::{Topic, ledgers, read_notes, stretch};
use crate::cli::io::output::{Output, tell};
use crate::cli::io::table::{Form, Rows, Style, json_line};
use crate::cli::progress::Lines;
use crate::deployment::startup::scan_failure;
use crate::dlq::record::{Letter, State};
use crate::exit::{Exit, Failure};
use crate::text::visible;
use livesession_formats::kcat;
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;
use livesession_kafka::Record;

/// Stands for the reason of a foreign letter in tables.
const NO_REASON: &str = "-";

/// Hands every selected letter to `visit`.
fn each(
    topic: &Topic,
    reasons: &[Reason],
    since: Option<Timestamp>,
    mut visit: impl FnMut(Letter),
) -> Result<(), Failure> {
    let scan = &topic.scan;
    let ledgers = ledgers(&topic.name, read_notes(scan, &topic.name, topic.partitions)?)?;
    let mut progress = Lines::default();
    for (partition, ledger) in &ledgers {
        let (from, end) = stretch(scan, &topic.name, *partition, since)?;
        scan.begin(&topic.name, *partition, from, end).map_err(scan_failure)?;
        while let Some(record) = scan.next().map_err(scan_failure)? {
            let (partition, offset) = (record.partition(), record.offset());
            progress.count(|read| format!("read {read} dead letters, now at {partition}/{offset}"));
            let letter = Letter::read(&record, ledger);
            if reasons.is_empty() || letter.reason.is_some_and(|reason| reasons.contains(&reason)) {
                visit(letter);
            }
        }
    }
    Ok(())
}

/// Writes the newest letters, oldest of them first.
pub fn list(
    topic: &Topic,
    reasons: &[Reason],
    since: Option<Timestamp>,
    limit: usize,
    style: &Style,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut newest = BTreeMap::new();
    let mut found = 0_u64;
    each(topic, reasons, since, |letter| {
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
pub fn count(
    topic: &Topic,
    reasons: &[Reason],
    since: Option<Timestamp>,
    style: &Style,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut counts: BTreeMap<(Option<Reason>, State), u64> = BTreeMap::new();
    each(topic, reasons, since, |letter| *counts.entry((letter.reason, letter.state)).or_default() += 1)?;
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
pub fn show(topic: &Topic, partition: i32, offset: i64, out: &mut Output) -> Result<Exit, Failure> {
    let none =
        || Failure::new(Exit::NotFound, format!("there is no dead letter at {partition}/{offset} in {}", topic.name));
    if !(0..topic.partitions).contains(&partition) {
        return Err(none());
    }
    let scan = &topic.scan;
    let ends = scan.ends(&topic.name, partition).map_err(scan_failure)?;
    if !(ends.start..ends.end).contains(&offset) {
        return Err(none());
    }
    scan.begin(&topic.name, partition, offset, offset + 1).map_err(scan_failure)?;
    let record = scan.next().map_err(scan_failure)?.ok_or_else(none)?;
    let line = line(&topic.name, &record);
    if out.is_terminal() {
        out.line(&visible(String::from_utf8_lossy(&line).trim_end()))?;
    } else {
        out.bytes(&line)?;
    }
    Ok(Exit::Ok)
}

fn line(topic: &str, record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    let timestamp = record.timestamp().and_then(Timestamp::from_ms);
    let place = (topic, record.partition(), record.offset());
    kcat::write(&mut line, place, timestamp, record.headers(), (record.key(), record.value()));
    line
}
