//! Session records, as the indexer and every other reader gets them. Promise: what is accepted is written and read again
//! as the same, and the index keeps all of it.

use std::path::PathBuf;

use livesession_formats::session::record::{self, SessionRecord};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{SessionId, Status};
use livesession_index::{Difference, Origin, Reader, Writer};

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
    let mut index = Index::new();
    run("session", 3, &inputs, |value| match record::decode(value) {
        Err(_) => Ok(false),
        Ok(read) => {
            promise(&read)?;
            index.keep(read);
            Ok(true)
        }
    });
    index.check();
    assert!(index.kept > 0, "nothing was kept");
}

fn promise(read: &SessionRecord) -> Result<(), String> {
    let written = serde_json::to_vec(read).map_err(|error| error.to_string())?;
    match record::decode(&written) {
        Ok(again) if again == *read => Ok(()),
        Ok(_) => Err("another record when written and read again".to_owned()),
        Err(error) => Err(format!("refused when written and read again: {error}")),
    }
}

/// An index of every accepted record.
struct Index {
    directory: PathBuf,
    writer: Writer,
    /// Not written yet.
    waiting: Vec<SessionRecord>,
    kept: u64,
}

impl Index {
    /// Records of one transaction.
    const BATCH: usize = 1_000;

    fn new() -> Index {
        let directory = std::env::temp_dir().join(format!("livesession-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let origin = Origin { topic: "live-sessions".to_owned(), source_topic: "topic".to_owned() };
        let writer = Writer::open(&directory.join("index.db"), &origin).unwrap();
        Index { directory, writer, waiting: Vec::new(), kept: 0 }
    }

    /// Keeps a record as a session and a stream of its own: most mutations change neither id nor revision.
    fn keep(&mut self, mut record: SessionRecord) {
        // A withdrawal is published without lists, and the index gives none back.
        if record.status == Status::Withdrawn && !(record.segments.is_empty() && record.gaps.is_empty()) {
            return;
        }
        self.kept += 1;
        record.session_id = SessionId::new("fuzz", &self.kept.to_string(), Timestamp::MIN);
        record.stream.key.push_str(&format!("#{}", self.kept));
        self.waiting.push(record);
        if self.waiting.len() == Index::BATCH {
            self.check();
        }
    }

    /// Writes what waits, and compares it with what is read back.
    fn check(&mut self) {
        let records = std::mem::take(&mut self.waiting);
        assert_eq!(self.writer.apply(&records, &[]).unwrap().stored, records.len());
        let mut reader = Reader::open(self.writer.path()).unwrap();
        let view = reader.long_view().unwrap();
        let show = |id: &str| {
            let lost = records.iter().find(|record| record.session_id.to_string() == id);
            lost.map(|record| serde_json::to_string(record).unwrap())
        };
        let lost = |difference: Difference| match &difference {
            // Of the batches before.
            Difference::Extra { .. } => {}
            Difference::Missing { session_id, .. } | Difference::Differs { session_id, .. } => {
                panic!("the index does not keep what it got: {difference:?} of {:?}", show(session_id))
            }
        };
        view.verify(records.iter().cloned(), lost).unwrap();
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
