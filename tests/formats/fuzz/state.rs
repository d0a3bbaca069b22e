//! Records of the changelog: batches, published sessions, hints, the marker. Promise: what is accepted is written and
//! read again as the same; a partition either starts from a damaged changelog or says why not. It cannot notice everything:
//! what somebody has written that could have been written by a worker is believed.

use std::sync::Arc;

use livesession::partition::Partition;
use livesession_formats::changelog::{self, Reduced, Reducer};
use livesession_formats::notification::KeyParts;
use livesession_grouping::Policy;
use serde_json::Value;

use crate::fuzz::mutate::{corpus, run};

const CHANGELOG: &str = include_str!("../../fixtures/changelog/v1/changelog.ndjson");

/// Records of the fixture, key and value; `None` deletes.
fn records() -> Vec<(String, Option<String>)> {
    let read = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        (record["key"].as_str().unwrap().to_owned(), record["payload"].as_str().map(str::to_owned))
    };
    CHANGELOG.lines().map(read).collect()
}

/// The records with a value, as inputs.
fn inputs(records: &[(String, Option<String>)]) -> Vec<Vec<u8>> {
    let input = |(key, value): &(String, Option<String>)| Some(format!("{key}\n{}", value.as_ref()?).into_bytes());
    records.iter().filter_map(input).collect()
}

/// An input is a key, a line end, and the value.
fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(b'\n', input).unwrap_or(input.len());
    (&input[..at], input.get(at + 1..).unwrap_or_default())
}

fn reduce<'a>(records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Reduced, changelog::Error> {
    let mut reducer = Reducer::default();
    for (key, value) in records {
        reducer.apply(key, Some(value))?;
    }
    reducer.finish()
}

#[test]
fn mutated_changelog_records_survive_a_round_trip_or_are_refused() {
    let mut records = inputs(&records());
    records.extend(corpus("changelog"));
    run("changelog_records", 3, &records, |input| {
        let Ok(reduced) = reduce([split(input)]) else { return Ok(false) };
        let before = format!("{:?} {:?}", reduced.saved, reduced.marker);
        let segments = reduced.saved.segments.into_iter();
        let accepted: Vec<_> = segments.map(|(stream, segment)| (stream, Arc::new(segment))).collect();
        let mut written: Vec<changelog::Record> = Vec::new();
        written.extend(changelog::encode_batches(&accepted).into_iter().map(|(record, _, _)| record));
        written.extend(reduced.saved.sessions.iter().map(changelog::encode_published));
        written.extend(reduced.saved.hints.iter().map(|(stream, hints)| changelog::encode_hints(stream, hints)));
        written.extend(reduced.marker.iter().map(changelog::encode_marker));
        let again = reduce(written.iter().map(|(key, value)| (key.as_bytes(), value.as_deref().unwrap_or_default())));
        let again = again.map_err(|error| format!("refused when written and read again: {error}"))?;
        let after = format!("{:?} {:?}", again.saved, again.marker);
        if after == before { Ok(true) } else { Err(format!("{before} becomes {after}")) }
    });
}

/// One record of a whole changelog is damaged.
#[test]
fn partition_starts_from_a_damaged_changelog_or_says_why_not() {
    let records = records();
    let reducer = || {
        let mut reducer = Reducer::default();
        for (key, value) in &records {
            reducer.apply(key.as_bytes(), value.as_deref().map(str::as_bytes)).unwrap();
        }
        reducer
    };
    // The rules under which it was written: under others it is not restored.
    let settings = reducer().finish().unwrap().marker.expect("the fixture has a marker").settings;
    run("changelog_restore", 6, &inputs(&records), |damaged| {
        let mut reducer = reducer();
        let (key, value) = split(damaged);
        if reducer.apply(key, Some(value)).is_err() {
            return Ok(false);
        }
        let policy = Policy::new(settings.clone()).unwrap();
        let Ok(Some(mut partition)) = Partition::restore(policy, KeyParts::AppAppnameStreamId, reducer) else {
            return Ok(false);
        };
        partition.begin();
        let published = partition.publish_due(usize::MAX);
        partition.prepare();
        if published.iter().all(|publication| publication.summary.revision > 0) {
            Ok(true)
        } else {
            Err("revision 0".to_owned())
        }
    });
}
