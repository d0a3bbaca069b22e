//! Session records, as the indexer and every other reader gets them. Promise: what is accepted is written and read again
//! as the same, and the index keeps all of it.

use livesession::projection;
use livesession_formats::session::record::{self, SessionRecord};

use crate::fuzz::mutate::{corpus, run};

#[test]
fn mutated_session_records_survive_a_round_trip_or_are_refused() {
    let mut inputs = corpus("session");
    inputs.extend(
        [
            include_str!("../../../schemas/examples/session-closed.json"),
            include_str!("../../../schemas/examples/session-open.json"),
            include_str!("../../../schemas/examples/session-withdrawn.json"),
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    run("session", 3, &inputs, |value| match record::decode(value) {
        Err(_) => Ok(false),
        Ok(read) => promise(&read).map(|()| true),
    });
}

fn promise(read: &SessionRecord) -> Result<(), String> {
    let written = serde_json::to_vec(read).map_err(|error| error.to_string())?;
    match record::decode(&written) {
        Ok(again) if again == *read => {}
        Ok(_) => return Err("another record when written and read again".to_owned()),
        Err(error) => return Err(format!("refused when written and read again: {error}")),
    }
    let rows = projection::to_rows(read);
    if rows.segments.len() != read.segments.len() || rows.gaps.len() != read.gaps.len() {
        return Err("the index drops a segment or a gap".to_owned());
    }
    match projection::to_record(&rows, "topic") {
        Ok(given) if given.session_id != read.session_id => Err("the index gives back another session".to_owned()),
        // What the index derives anew (renditions, gaps) may be refused there: nobody of ours has written it.
        Ok(_) | Err(_) => Ok(()),
    }
}
