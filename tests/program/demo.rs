//! `livesession demo`: what comes out of the worker is what `group` makes of the same evening in the order of arrival.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use livesession_formats::session::record;
use livesession_grouping::Status;

/// Returns the sessions that a command printed: by stream and start, their end and number of files.
fn sessions(arguments: &[&str]) -> BTreeMap<(String, String), (String, usize)> {
    let command = Command::new(env!("CARGO_BIN_EXE_livesession")).args(arguments).stderr(Stdio::inherit()).output();
    let output = command.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    let mut newest = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let session = record::decode(line).unwrap();
        newest.insert(session.session_id, session);
    }
    let current = newest.into_values().filter(|session| session.status != Status::Withdrawn);
    let place = |session: record::SessionRecord| {
        let ends = (session.end.to_string(), session.segments.len());
        ((session.stream.key, session.start.to_string()), ends)
    };
    current.map(place).collect()
}

fn demo_publishes_the_sessions_of_its_evening() {
    let evening = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/examples/evening.ndjson");
    let expected = sessions(&["group", "--arrival-order", "--close-all", evening]);
    assert_eq!(expected.len(), 6);
    assert_eq!(sessions(&["demo", "--json", "--seconds", "5"]), expected);
}

crate::tests! {
    demo_publishes_the_sessions_of_its_evening,
}
