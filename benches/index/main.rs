//! How fast is the index filled, beside a bare loop of prepared inserts of the same rows, and how fast does it answer, with a
//! large file and while the writer writes at full speed?
//!
//! ```sh
//! cargo bench --bench index                     # 1,000,000 sessions in the large file, 1.3 GB below the target directory
//! SESSIONS=10000000 cargo bench --bench index   # ten times that
//! SESSIONS=200000 cargo bench --bench index     # few enough that the file is written as the indexer does, and not in bulk
//! ```
//!
//! Sessions of four files and one silence. Writing is measured in alternating rounds on new files of [`ROUND`] sessions, in
//! transactions of as many as the indexer's, without the time it takes to make up the sessions; figures are medians, and ratios
//! to the bare loop. `indexed` begins with the bytes of the topic's records, as the indexer does. Processor time is of the
//! writing thread, and is what to look at on a machine that others use too. Compare ratios, not times.

mod ask;
mod bare;
mod sample;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use livesession::clock;
use livesession::indexer::{Batch, MAX_RECORDS, Read};
use livesession_formats::session::SessionRecord;
use livesession_index::{Advance, Origin, Writer};
use rusqlite::Connection;

use bare::Bare;
use sample::Sample;

const TOPIC: &str = "live-sessions";
/// Rounds of writing; each does all three.
const ROUNDS: usize = 5;
/// Sessions of a file that a round writes.
const ROUND: u64 = 50_000;
/// Sessions of the large file, unless told.
const LARGE: u64 = 1_000_000;
/// Sessions of a large file at most that is written as the indexer does.
const MAX_INDEXED: u64 = 200_000;

/// A file that is gone when it is dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(directory).unwrap();
        let file = File(directory.join(format!("bench-{name}-{}.db", std::process::id())));
        file.remove();
        file
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm"] {
            // One that is not there need not be removed.
            let _ = fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A writer that moves an offset with each batch, as the indexer does.
struct Ours {
    writer: Writer,
    next: Option<i64>,
}

impl Ours {
    fn open(path: &Path) -> Ours {
        let origin = Origin { topic: TOPIC.to_owned(), source_topic: "recording-notifications".to_owned() };
        let writer = Writer::open(path, &origin).unwrap();
        let next = writer.offsets().unwrap().first().map(|(_, _, next)| *next);
        Ours { writer, next }
    }

    fn write(&mut self, records: &[SessionRecord]) {
        let to = self.next.unwrap_or(0) + records.len() as i64;
        let advance = Advance { topic_id: "t".to_owned(), partition: 0, from: self.next, to };
        let applied = self.writer.apply(records, &[advance]).unwrap();
        assert_eq!(applied.stored, records.len());
        self.next = Some(to);
    }

    /// Reads records as the topic has them, and writes them.
    fn index(&mut self, values: &[Vec<u8>]) {
        let mut batch = Batch::default();
        for (offset, value) in (0..).zip(values) {
            batch.push(TOPIC, Read { partition: 0, offset, value: Some(value) }).unwrap();
        }
        self.write(batch.records());
    }
}

/// Returns the values that the topic has of these sessions.
fn encode(records: Vec<SessionRecord>) -> Vec<Vec<u8>> {
    records.iter().map(|record| serde_json::to_vec(record).unwrap()).collect()
}

/// What writing took.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

/// Returns the processor time of this thread.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(outcome, 0);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Returns what `write` takes for all batches of sessions, which are made up and prepared before.
fn timed<T>(
    sample: Sample,
    sessions: std::ops::Range<u64>,
    prepare: impl Fn(Vec<SessionRecord>) -> T,
    mut write: impl FnMut(&T),
) -> Spent {
    let mut spent = Spent::default();
    let mut from = sessions.start;
    while from < sessions.end {
        let to = (from + MAX_RECORDS as u64).min(sessions.end);
        let prepared = prepare((from..to).map(|session| sample.record(session)).collect());
        let (begin, used) = (clock::instant(), cpu());
        write(&prepared);
        spent.wall += begin.elapsed();
        spent.cpu += cpu() - used;
        from = to;
    }
    spent
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn writing() {
    let sample = Sample::of(ROUND);
    let (mut bare, mut applied, mut indexed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let file = File::new("bare");
        let mut writer = Bare::create(&file.0);
        bare.push(timed(sample, 0..ROUND, |records| records, |records| writer.write(records)));
        drop((writer, file));
        let file = File::new("applied");
        let mut writer = Ours::open(&file.0);
        applied.push(timed(sample, 0..ROUND, |records| records, |records| writer.write(records)));
        drop((writer, file));
        let file = File::new("indexed");
        let mut writer = Ours::open(&file.0);
        indexed.push(timed(sample, 0..ROUND, encode, |values| writer.index(values)));
    }
    println!("writing {ROUND} sessions to a new file, {ROUNDS} rounds, medians");
    for (name, rounds) in [("bare inserts", &bare), ("applied (values)", &applied), ("indexed (records)", &indexed)] {
        let rate = median(rounds.iter().map(|spent| ROUND as f64 / spent.wall.as_secs_f64()).collect());
        let cpu = median(rounds.iter().map(|spent| spent.cpu.as_secs_f64() * 1e6 / ROUND as f64).collect());
        let ratio = |of: fn(&Spent) -> Duration| {
            median(
                rounds.iter().zip(&bare).map(|(ours, bare)| of(bare).as_secs_f64() / of(ours).as_secs_f64()).collect(),
            )
        };
        let (wall, used) = (ratio(|spent| spent.wall), ratio(|spent| spent.cpu));
        println!(
            "  {name:<20} {rate:>8.0} sessions/s, {wall:.2} of bare; {cpu:>5.1} µs of processor each, {used:.2} of bare"
        );
    }
}

/// Writes the large file, and says how fast each part of it went.
fn fill(path: &Path, sample: Sample, sessions: u64) {
    let is_bulk = sessions > MAX_INDEXED;
    let part = (sessions / 5).max(1);
    println!(
        "filling a file with {sessions} sessions of {} streams{}",
        sample.streams,
        if is_bulk { ", in bulk" } else { "" }
    );
    let (mut ours, mut bare) =
        if is_bulk { (None, Some(Bare::create_bulk(path))) } else { (Some(Ours::open(path)), None) };
    let mut from = 0;
    while from < sessions {
        let to = (from + part).min(sessions);
        let spent = timed(
            sample,
            from..to,
            |records| records,
            |records| match (&mut ours, &mut bare) {
                (Some(ours), _) => ours.write(records),
                (_, Some(bare)) => bare.write(records),
                (None, None) => unreachable!("one of them is there"),
            },
        );
        let (rate, cpu) = ((to - from) as f64 / spent.wall.as_secs_f64(), spent.cpu.as_secs_f64() * 1e6);
        println!("  up to {to:>10}  {rate:>8.0} sessions/s; {:>5.1} µs of processor each", cpu / (to - from) as f64);
        from = to;
    }
    if let Some(ours) = ours {
        ours.writer.close().unwrap();
    }
    if let Some(bare) = bare {
        bare.finish_bulk();
    }
}

/// Says what takes the space.
fn sizes(path: &Path, sessions: u64) {
    let bytes = fs::metadata(path).unwrap().len();
    println!("size: {} MB, {:.0} bytes per session", bytes / 1_000_000, bytes as f64 / sessions as f64);
    let connection = Connection::open(path).unwrap();
    let mut parts = connection
        .prepare("SELECT name, sum(pgsize) FROM dbstat WHERE aggregate = TRUE GROUP BY name ORDER BY 2 DESC LIMIT 8")
        .unwrap();
    let mut rows = parts.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (name, bytes): (String, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
        println!("  {name:<32} {:>6.0}", bytes as f64 / sessions as f64);
    }
}

fn main() {
    let asked = std::env::var("SESSIONS").ok().map(|text| text.parse().expect("SESSIONS is a number"));
    let sessions = asked.unwrap_or(LARGE);
    writing();
    let (file, sample) = (File::new("large"), Sample::of(sessions));
    fill(&file.0, sample, sessions);
    sizes(&file.0, sessions);
    ask::alone(&file.0, sample, sessions);
    ask::beside_a_writer(&file.0, sample, sessions);
}
