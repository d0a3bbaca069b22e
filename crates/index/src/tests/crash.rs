//! A writer that is killed in the middle of its work, again and again.
//!
//! The writing runs in another process, which is this test binary asked for one test, since only a process can be killed
//! without a chance to clean up.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::Select;

const PATH: &str = "LIVESESSION_TEST_INDEX";
/// Sessions in a batch: enough pages that a kill hits the middle of one.
const BATCH: i64 = 20;

fn batch(number: i64) -> Vec<SessionRecord> {
    (0..BATCH)
        .map(|n| {
            let files: Vec<String> = (0..5).map(|file| format!("f-{number}-{n}-{file}")).collect();
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            record(&format!("s-{number:06}-{n:03}"), 1, "room-7", number * 100 + n, number * 100 + n + 9, &files)
        })
        .collect()
}

#[test]
#[ignore = "the child of killed_writer_leaves_whole_batches, which starts and kills it"]
fn writes_until_killed() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else { return };
    let mut writer = writer(&path);
    let mut next = writer.offsets().unwrap().first().map(|(_, _, next)| *next);
    loop {
        let number = next.unwrap_or(0);
        writer.apply(&batch(number), &[advance(next, number + 1)]).unwrap();
        next = Some(number + 1);
        println!("\ncommitted {number}");
    }
}

#[test]
fn killed_writer_leaves_whole_batches() {
    let scratch = Scratch::new("crash");
    let path = scratch.path("index.db");
    let mut last = -1;
    for round in 1..=6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::writes_until_killed", "--ignored", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut committed = lines.filter_map(|line| line.strip_prefix("committed ")?.parse::<i64>().ok());
        // A different number of batches each time, then the axe, with the next batch under way.
        last = committed.by_ref().nth(round * 3).unwrap().max(last);
        child.kill().unwrap();
        child.wait().unwrap();
        last = committed.last().unwrap_or(last);

        let mut reader = reader(&path);
        let view = reader.view().unwrap();
        let check: String = view.transaction.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let next = view.offsets().unwrap()[0].2;
        assert!(next > last, "batch {last} was committed, and the offset is {next}");
        assert!(next <= last + 2, "one batch more than was reported, at most");
        let page = view.sessions(&Select { limit: usize::MAX, ..Select::default() }).unwrap();
        assert_eq!(page.len(), usize::try_from(next * BATCH).unwrap(), "whole batches, and no other");
        assert_eq!(view.last_change().unwrap(), next * BATCH);
        let published = (0..next).flat_map(batch);
        view.verify(published, |difference| panic!("{difference:?}")).unwrap();
    }
}
