//! Headers of dead letters and the notes of replays, which anybody may have written. Promise: a note that is accepted is
//! written and read again as the same; a replay counts once and keeps the record's own headers.

use livesession::dlq::record::Letter;
use livesession::dlq::replayed::Ledger;
use livesession_formats::dead_letter;
use livesession_kafka::Record;

use crate::fuzz::mutate::{corpus, run};

#[test]
fn mutated_notes_of_replays_survive_a_round_trip_or_are_refused() {
    run("note", 1, &corpus("note"), |note| {
        let Ok(ledger) = Ledger::parse(&String::from_utf8_lossy(note)) else { return Ok(false) };
        match Ledger::parse(&ledger.note()) {
            Ok(again) if again == ledger => Ok(true),
            other => Err(format!("{:?} is read as {other:?}", ledger.note())),
        }
    });
}

/// Lines `name=value`, or `name` for a header whose value is null.
#[test]
fn mutated_headers_of_dead_letters_are_read_whatever_they_say() {
    run("headers", 1, &corpus("headers"), |text| {
        let lines = text.split(|byte| *byte == b'\n').map(|line| match memchr::memchr(b'=', line) {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        });
        let headers: Vec<_> = lines.collect();
        let (ours, others) = dead_letter::split(&headers);
        if ours.len() + others.len() != headers.len() {
            return Err("a header was dropped".to_owned());
        }
        let replays = dead_letter::replays(&ours).unwrap_or(0);
        let count = [dead_letter::replayed(&headers)];
        let replayed = dead_letter::join(others.clone(), &count);
        let (_, again) = dead_letter::split(&replayed);
        let count = dead_letter::replays(&replayed);
        if again != others || count != Some(replays.saturating_add(1)) {
            return Err(format!("a replay makes {count:?} of {replays}"));
        }
        let record = Record::from_parts((0, 7), Some(1), (None, Some(b"value")), headers);
        let letter = Letter::read(&record, &Ledger::default());
        Ok(letter.reason.is_some())
    });
}
