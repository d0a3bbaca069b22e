//! The output contract, held together from three sides: what the code writes, what `schemas/` says, what a reader gets.
//!
//! * `session`: golden records of one evening, headers, what decoding refuses;
//! * `generated`: the same for records that nobody would think of, and gaps against an oracle on a grid;
//! * `schema`: the schemas refuse what they should, list what the code has, and describe every field;
//! * `size`: the bound on a record's size holds and is no waste;
//! * `dead_letter`: the golden dead letter.
//!
//! `UPDATE=1 cargo test --test formats contracts` rewrites `schemas/examples/`: then read the difference, since readers of the
//! topic will.

mod dead_letter;
mod evening;
mod generated;
mod schema;
mod session;
mod size;

use livesession_formats::time::parse_timestamp;
use std::path::PathBuf;
use std::sync::Arc;

use livesession_formats::session::{Source, encode};
use livesession_grouping::session::{silences, sort};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{CloseCause, NewSegment, Publication, Segment, SessionId, Status, Summary};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("schemas/{name}: {error}"))
}

/// Asserts that `schemas/examples/<name>` holds exactly `text`, or rewrites it if asked to.
#[track_caller]
fn check_golden(name: &str, text: &str) {
    crate::golden::check(&format!("schemas/examples/{name}"), text);
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn validator(schema: &str) -> jsonschema::Validator {
    jsonschema::draft202012::new(&json(&read(schema))).unwrap()
}

/// Asserts that `value` is valid, and says all that is wrong if it is not.
#[track_caller]
fn assert_valid(validator: &jsonschema::Validator, value: &Value) {
    let problems: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}\n{value:#}");
}

fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

fn at(text: &str) -> Timestamp {
    parse_timestamp(text).unwrap()
}

const SOURCE: Source<'_> = Source { topic: "recording-notifications", partition: 0 };

fn encoded(publication: &Publication) -> Vec<u8> {
    let mut out = Vec::new();
    encode(publication, SOURCE, &mut out);
    out
}

/// A closed session of `members`, each with its offset; the fields that depend on arrival are to be overwritten.
fn closed(stream: &str, members: &[(i64, NewSegment<'_>)]) -> Publication {
    let mut segments: Vec<_> = members.iter().map(|(offset, new)| Arc::new(Segment::new(*offset, new))).collect();
    sort(&mut segments);
    let (recorded, gaps) = silences(segments.iter().map(AsRef::as_ref));
    let seed = segments.iter().min_by_key(|segment| segment.offset()).unwrap();
    let end = segments.iter().map(|segment| segment.end()).max().unwrap();
    let summary = Summary {
        session_id: SessionId::new(stream, seed.file_id(), seed.end()),
        revision: 1,
        continues: None,
        close_cause: Some(CloseCause::Watermark),
        start: segments[0].start(),
        end,
        recorded,
        first_offset: seed.offset(),
        last_offset: segments.iter().map(|segment| segment.offset()).max().unwrap(),
        watermark: end,
        seed_offset: seed.offset(),
        segments: u32::try_from(segments.len()).unwrap(),
    };
    let allowed_at = end;
    Publication {
        stream: stream.into(),
        summary,
        status: Status::Closed,
        merged_into: None,
        gaps,
        segments,
        allowed_at,
    }
}

/// The withdrawal of what `last` published.
fn withdrawn(last: &Publication, into: SessionId, watermark: Timestamp) -> Publication {
    let summary = Summary { revision: last.summary.revision + 1, close_cause: None, watermark, ..last.summary.clone() };
    Publication {
        summary,
        status: Status::Withdrawn,
        merged_into: Some(into),
        gaps: vec![],
        segments: vec![],
        ..last.clone()
    }
}
