//! Eight readers while the writer writes: nobody waits, and nobody sees half of anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::Select;

const READERS: usize = 8;
const SESSIONS: u32 = 5;
const BATCHES: u32 = 200;

/// All sessions at one revision, which shows in how many files each has and in their names.
fn batch(revision: u32) -> Vec<SessionRecord> {
    let files: Vec<String> = (0..=revision % 7).map(|file| format!("{revision}-{file}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    (0..SESSIONS).map(|n| record(&format!("s-{n}"), revision, "room-7", 0, 10, &files)).collect()
}

/// Reads everything in one view; returns the revision that all of it is of.
fn read(reader: &mut Reader) -> u32 {
    let view = reader.view().unwrap();
    let sessions = view.sessions(&Select::default()).unwrap();
    assert_eq!(sessions.len(), SESSIONS as usize);
    let revision = sessions[0].summary.revision;
    let expected = batch(revision);
    for (entry, expected) in sessions.into_iter().zip(expected) {
        let found = view.with_lists(entry).unwrap();
        assert_eq!(found, expected, "all of one revision, and of one batch");
    }
    assert_eq!(view.last_change().unwrap(), i64::from(revision * SESSIONS));
    assert_eq!(view.offsets().unwrap()[0].2, i64::from(revision), "rows and offset are of one transaction");
    revision
}

#[test]
fn readers_and_the_writer_do_not_wait_for_each_other_and_see_whole_batches() {
    let scratch = Scratch::new("readers");
    let path = scratch.path("index.db");
    let mut writer = writer(&path);
    writer.apply(&batch(1), &[advance(None, 1)]).unwrap();
    // Whoever had to wait would fail.
    writer.connection.busy_timeout(Duration::ZERO).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut reader, mut seen) = (reader(&path), 0);
                    while !is_done.load(Ordering::Relaxed) {
                        let revision = read(&mut reader);
                        assert!(revision >= seen, "nothing goes back: {revision} after {seen}");
                        seen = revision;
                    }
                    read(&mut reader)
                })
            })
            .collect();
        let written = (2..=BATCHES).try_for_each(|revision| {
            let offset = i64::from(revision);
            writer.apply(&batch(revision), &[advance(Some(offset - 1), offset)]).map(drop)
        });
        // Before anything can panic: the readers would go on for ever.
        is_done.store(true, Ordering::Relaxed);
        written.unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), BATCHES);
        }
    });
}
