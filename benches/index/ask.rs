//! Questions to a large file: alone, and from eight readers while the writer writes at full speed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use livesession::clock;
use livesession_index::{Reader, Select};

use super::Ours;
use super::sample::{FILES, Sample};
use livesession::indexer::MAX_RECORDS;
use livesession_formats::session::SessionRecord;

const READERS: u64 = 8;
/// Sessions that the writer writes beside readers.
const BESIDE: u64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// What is asked.
const KINDS: [&str; 4] = ["by session id", "by file id", "by stream and time", "session with its lists"];

/// SplitMix64: the same questions every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Asks one question about a session that is there, and checks the answer.
fn ask(reader: &mut Reader, kind: usize, sample: Sample, session: u64) -> Duration {
    let (id, file) = (sample.session_id(session), sample.file_id(session, session % FILES));
    let (stream, start) = (sample.stream_key(session), sample.start_ms(session));
    let begin = clock::instant();
    let view = reader.view().unwrap();
    match kind {
        0 => assert_eq!(view.session(&id).unwrap().unwrap().summary.session_id.to_string(), id),
        1 => assert_eq!(view.recordings(&file, 10).unwrap()[0].session.session_id.to_string(), id),
        2 => {
            let (from_ms, to_ms) = (Some(start), Some(start + DAY_MS));
            let select = Select { stream: Some(&stream), from_ms, to_ms, ..Select::default() };
            assert_eq!(view.sessions(&select).unwrap()[0].summary.session_id.to_string(), id);
        }
        _ => {
            let entry = view.session(&id).unwrap().unwrap();
            let record = view.with_lists(entry).unwrap();
            assert_eq!((record.segments.len() as u64, record.gaps.len()), (FILES, 1), "half a session");
        }
    }
    begin.elapsed()
}

/// Returns the time below which `part` of the times are, in microseconds.
fn quantile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let at = ((times.len() as f64 * part) as usize).min(times.len() - 1);
    times[at].as_secs_f64() * 1e6
}

fn show(kind: &str, times: &mut [Duration]) {
    let [half, most] = [0.5, 0.99].map(|part| quantile(times, part));
    let worst = quantile(times, 1.0);
    println!("  {kind:<24} median {half:>7.0} µs  p99 {most:>8.0} µs  worst {worst:>8.0} µs  of {}", times.len());
}

/// One reader, random sessions, a file that nobody writes to.
pub fn alone(path: &Path, sample: Sample, sessions: u64) {
    println!("look-ups alone, at random");
    let (mut reader, mut random) = (Reader::open(path).unwrap(), Random(7));
    for (kind, name) in KINDS.iter().enumerate() {
        let mut times: Vec<Duration> =
            (0..5_000).map(|_| ask(&mut reader, kind, sample, random.below(sessions))).collect();
        show(name, &mut times);
    }
}

/// The writer at full speed: by itself, with readers that ask without a pause, with readers that pause between questions.
pub fn beside_a_writer(path: &Path, sample: Sample, sessions: u64) {
    let written = AtomicU64::new(sessions);
    let alone = write_more(path, &made_up(sample, &written), &written);
    println!("writer by itself              {alone:>9.0} sessions/s");
    for (pause, what) in [(Duration::ZERO, "ask without a pause"), (Duration::from_millis(10), "pause for 10 ms")] {
        let records = made_up(sample, &written);
        let stop = AtomicBool::new(false);
        let (mut times, rate) = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS)
                .map(|seed| {
                    scope.spawn({
                        let (written, stop) = (&written, &stop);
                        move || read(path, sample, written, stop, seed, pause)
                    })
                })
                .collect();
            let rate = write_more(path, &records, &written);
            stop.store(true, Ordering::Relaxed);
            let mut times = vec![Vec::new(); KINDS.len()];
            for reader in readers {
                for (all, some) in times.iter_mut().zip(reader.join().unwrap()) {
                    all.extend(some);
                }
            }
            (times, rate)
        });
        println!("{READERS} readers that {what}: writer {rate:.0} sessions/s, {:.2} of by itself", rate / alone);
        for (kind, times) in KINDS.iter().zip(&mut times) {
            show(kind, times);
        }
    }
}

/// Makes up the sessions that follow, so that the writer has nothing else to do.
fn made_up(sample: Sample, written: &AtomicU64) -> Vec<SessionRecord> {
    let first = written.load(Ordering::Relaxed);
    (first..first + BESIDE).map(|session| sample.record(session)).collect()
}

/// Writes batch after batch; returns how many sessions a second.
fn write_more(path: &Path, records: &[SessionRecord], written: &AtomicU64) -> f64 {
    let mut writer = Ours::open(path);
    let begin = clock::instant();
    for batch in records.chunks(MAX_RECORDS) {
        writer.write(batch);
        written.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }
    records.len() as f64 / begin.elapsed().as_secs_f64()
}

/// Asks until told to stop: half of the questions are about what was written last.
fn read(
    path: &Path,
    sample: Sample,
    written: &AtomicU64,
    stop: &AtomicBool,
    seed: u64,
    pause: Duration,
) -> Vec<Vec<Duration>> {
    let (mut reader, mut random) = (Reader::open(path).unwrap(), Random(seed));
    let mut times = vec![Vec::new(); KINDS.len()];
    while !stop.load(Ordering::Relaxed) {
        let (kind, there) = (random.below(KINDS.len() as u64) as usize, written.load(Ordering::Relaxed));
        let reach = if random.below(2) == 0 { there } else { there.min(10_000) };
        let back = random.below(reach);
        times[kind].push(ask(&mut reader, kind, sample, there - 1 - back));
        if pause > Duration::ZERO {
            std::thread::park_timeout(pause);
        }
    }
    times
}
