//! Lines of `kcat -J`. Promise: nothing grows, and a line that is JSON is read as a JSON parser reads it.

use std::borrow::Cow;

use livesession_formats::kcat::Line;
use serde_json::Value;

use crate::fuzz::mutate::{corpus, run};

#[test]
fn mutated_kcat_lines_are_read_as_json_or_refused() {
    run("kcat", 1, &corpus("kcat"), |line| match Line::parse(line) {
        Err(error) if error.at > line.len() => Err(format!("an error beyond the line: {error}")),
        Err(_) => Ok(false),
        Ok(read) => promise(line, &read).map(|()| true),
    });
}

fn promise(line: &[u8], read: &Line<'_>) -> Result<(), String> {
    let length = |text: &Option<Cow<'_, [u8]>>| text.as_ref().map_or(0, |text| text.len());
    let headers: usize = read.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    let text = read.topic.len() + length(&read.key) + length(&read.value) + headers;
    if text > line.len() {
        return Err(format!("{text} bytes from {}", line.len()));
    }
    // Not every line is JSON: kcat writes the bytes of a payload as they are.
    let Ok(Value::Object(json)) = serde_json::from_slice(line) else { return Ok(()) };
    // Of members that are there twice a parser may take either.
    let is_doubled = |name: &str| memchr::memmem::find_iter(line, name.as_bytes()).count() > 1;
    if ["topic", "partition", "offset", "key", "payload", "\\u"].into_iter().any(is_doubled) {
        return Ok(());
    }
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::as_bytes);
    // `-0` is a whole number to the one and a fraction to the other.
    let number = |name: &str| json[name].as_i64().unwrap_or(0);
    let same = json["topic"] == *read.topic
        && number("partition") == i64::from(read.partition)
        && number("offset") == read.offset
        && text("key") == read.key.as_deref()
        && text("payload") == read.value.as_deref();
    if same { Ok(()) } else { Err(format!("not what JSON says: {read:?}")) }
}
