//! Queries of the HTTP side and the cursors in them. Promise: a cursor or a time that is accepted says the same when it is
//! written again, and no value holds a control character.

use livesession::http::api::ask::Asked;
use livesession::http::api::cursor;
use livesession_formats::time::parse_timestamp;

use crate::fuzz::mutate::{corpus, run};

const KNOWN: [&str; 5] = ["stream", "from", "to", "limit", "cursor"];
const GENERATION: &str = "0123456789abcdef";

fn ask(query: &str) -> Option<Asked> {
    Asked::read("sessions", Some(query), &KNOWN).ok()
}

#[test]
fn mutated_queries_are_understood_or_refused() {
    let mut inputs = corpus("query");
    // Good cursors, which nobody can write down by hand.
    for (query, position) in [("stream=a", "17:id"), ("from=2026-03-01T00:00:00Z&limit=5", ""), ("", "\u{1f600}.x")] {
        let cursor = cursor::write(&ask(query).unwrap(), GENERATION, position);
        inputs.push(format!("{query}&cursor={cursor}").into_bytes());
    }
    run("query", 1, &inputs, |query| {
        let Some(asked) = std::str::from_utf8(query).ok().and_then(ask) else { return Ok(false) };
        if asked.all().any(|(_, value)| value.contains(char::is_control)) {
            return Err("a control character in a value".to_owned());
        }
        for time in asked.all().filter_map(|(_, value)| parse_timestamp(value)) {
            let mut written = Vec::new();
            time.write_rfc3339(&mut written);
            let again = parse_timestamp(&String::from_utf8_lossy(&written));
            if again != Some(time) {
                return Err(format!("{time:?} when written again is {again:?}"));
            }
        }
        // Values that nobody can mean are refused one by one, each by whoever asks for it.
        let is_meant = asked.interval().is_ok() & asked.limit().is_ok();
        let Ok(Some(position)) = cursor::read(&asked, GENERATION) else { return Ok(is_meant) };
        let again = cursor::write(&asked, GENERATION, &position);
        let others: String = asked
            .all()
            .filter(|(name, _)| *name != "cursor")
            .map(|(name, value)| format!("{name}={}&", encode(value)))
            .collect();
        let asked = ask(&format!("{others}cursor={again}")).ok_or("its own cursor is no parameter")?;
        match cursor::read(&asked, GENERATION) {
            Ok(Some(found)) if found == position => Ok(is_meant),
            other => Err(format!("{position:?} when written again is {other:?}")),
        }
    });
}

fn encode(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
