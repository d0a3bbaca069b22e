//! The speed of the grouping core, and the memory of an open segment.
//!
//! `cargo bench --bench core`. One thread, no I/O. The baseline of each figure is measured in the same run: a table of
//! sets that remembers each file id of each stream, which is the least that recognising duplicates needs. Figures are
//! medians of alternating rounds; compare ratios, not times.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use livesession::clock;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Arrival, Grouper, NewSegment, Outcome, Policy, Settings};
use mimalloc::MiMalloc;

/// Counts what is allocated while it is asked to, so that memory is measured and not guessed.
struct Counting;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

fn count(change: fn(&AtomicUsize, usize, Ordering) -> usize, size: usize) {
    if IS_COUNTING.load(Ordering::Relaxed) {
        change(&ALLOCATED, size, Ordering::Relaxed);
    }
}

// SAFETY: passes every call on to the allocator of the program, and counts sizes only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(AtomicUsize::fetch_add, layout.size());
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(AtomicUsize::fetch_sub, layout.size());
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(AtomicUsize::fetch_sub, layout.size());
        count(AtomicUsize::fetch_add, size);
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ZERO: i64 = 1_754_000_000_000;
const ROUNDS: usize = 5;

struct Traffic {
    streams: Vec<String>,
    /// Stream, file id, start and end in seconds.
    segments: Vec<(usize, String, i64, i64)>,
}

/// Every stream records files of half an hour, back to back, with an hour of silence after every fourth.
fn shows(streams: usize, segments: usize) -> Traffic {
    let streams: Vec<String> = (0..streams).map(|stream| format!("push.example.com/live/room-{stream:06}")).collect();
    let mut list = Vec::with_capacity(segments);
    for index in 0..segments {
        let (turn, stream) = ((index / streams.len()) as i64, index % streams.len());
        let start = turn * 1_800 + turn / 4 * 3_600 + (stream % 1_800) as i64;
        list.push((stream, format!("5285000000{index:09}"), start, start + 1_799));
    }
    Traffic { streams, segments: list }
}

fn segment<'a>(file_id: &'a str, start: i64, end: i64) -> NewSegment<'a> {
    let at = |second| Timestamp::from_ms(ZERO + second * 1_000).expect("in range");
    NewSegment {
        url: Some("http://vod.example.com/aa11/5285000000000004001/f0.mp4"),
        format: Some("mp4"),
        task_id: Some("1818000000000000404"),
        bitrate_kbps: Some(0),
        media_ms: Some(1_799_000),
        size_bytes: Some(60_110_022),
        ..NewSegment::new(file_id, at(start), at(end))
    }
}

fn settings() -> Settings {
    Settings {
        max_session_segments: u32::MAX,
        max_session_bytes: u64::MAX,
        max_session_duration: Millis::MAX,
        ..Settings::default()
    }
}

fn feed(grouper: &mut Grouper, traffic: &Traffic, transaction: usize) -> usize {
    let now = Timestamp::from_ms(ZERO).expect("in range");
    let mut published = 0;
    for (number, chunk) in traffic.segments.chunks(transaction).enumerate() {
        grouper.begin();
        for (index, (stream, file_id, start, end)) in chunk.iter().enumerate() {
            let offset = (number * transaction + index) as i64;
            let arrival = Arrival { stream: &traffic.streams[*stream], offset, timestamp: None, now };
            assert_eq!(grouper.accept(arrival, &segment(file_id, *start, *end)), Outcome::Accepted);
        }
        published += grouper.publish_due(usize::MAX).len();
        black_box(grouper.take_changes());
        grouper.commit();
    }
    published
}

fn baseline(traffic: &Traffic) -> usize {
    let mut files: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (stream, file_id, _, _) in &traffic.segments {
        files.entry(&traffic.streams[*stream]).or_default().insert(file_id);
    }
    files.len()
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = clock::instant();
    let result = black_box(work());
    (start.elapsed(), result)
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations[durations.len() / 2]
}

fn throughput(name: &str, traffic: &Traffic) {
    let (mut core, mut bare) = (Vec::new(), Vec::new());
    let mut sessions = 0;
    for _ in 0..ROUNDS {
        bare.push(timed(|| baseline(traffic)).0);
        let mut grouper = Grouper::new(Policy::new(settings()).expect("valid"));
        core.push(timed(|| feed(&mut grouper, traffic, 10_000)).0);
        sessions = grouper.sessions();
    }
    let (core, bare) = (median(core), median(bare));
    let rate = traffic.segments.len() as f64 / core.as_secs_f64() / 1e6;
    let ratio = core.as_secs_f64() / bare.as_secs_f64();
    println!(
        "{name:<44} {rate:>6.2} M segments/s  {ratio:>5.2} x the baseline's time  ({sessions} sessions at the end)"
    );
}

fn memory() {
    for (name, streams, segments) in
        [("one segment a session", 1_000_000, 1_000_000), ("four segments a session", 250_000, 1_000_000)]
    {
        let traffic = shows(streams, segments);
        let texts: usize = traffic
            .segments
            .iter()
            .map(|(_, file_id, start, end)| segment(file_id, *start, *end).text_bytes() as usize)
            .sum::<usize>()
            - segments * 3
            + traffic.streams.iter().map(String::len).sum::<usize>();
        IS_COUNTING.store(true, Ordering::Relaxed);
        let before = ALLOCATED.load(Ordering::Relaxed);
        let mut grouper = Grouper::new(Policy::new(settings()).expect("valid"));
        feed(&mut grouper, &traffic, 10_000);
        let used = ALLOCATED.load(Ordering::Relaxed) - before;
        IS_COUNTING.store(false, Ordering::Relaxed);
        assert_eq!(grouper.segments(), segments);
        let each = (used - texts) / segments;
        println!(
            "memory, {name:<34} {each:>6} bytes and its texts per open segment (estimate {})",
            grouper.state_bytes() as usize / segments - texts / segments
        );
    }
}

fn append() {
    let settings = Settings { allowed_lateness: Millis::MAX, ..settings() };
    let mut costs = Vec::new();
    for members in [10, 10_000] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            // As many segments either way: many small sessions, or few large ones.
            let streams = 200_000 / members;
            let mut grouper = Grouper::new(Policy::new(settings.clone()).expect("valid"));
            let traffic = |from: usize, each: usize| {
                let mut list = Vec::new();
                for index in 0..streams * each {
                    let (stream, turn) = (index % streams, (from + index / streams) as i64);
                    list.push((stream, format!("{stream}-{turn}"), turn * 60, turn * 60 + 59));
                }
                Traffic { streams: (0..streams).map(|stream| format!("//room-{stream}")).collect(), segments: list }
            };
            feed(&mut grouper, &traffic(0, members), usize::MAX);
            let more = traffic(members, members / 10);
            rounds.push(timed(|| feed(&mut grouper, &more, usize::MAX)).0 / more.segments.len() as u32);
        }
        costs.push(median(rounds));
    }
    let ratio = costs[1].as_secs_f64() / costs[0].as_secs_f64();
    println!("append to a session of 10,000                {ratio:>6.2} x the cost of one to a session of 10");
}

fn main() {
    throughput("5,000 streams", &shows(5_000, 2_000_000));
    throughput("1,000,000 sessions open", &shows(1_000_000, 2_000_000));
    memory();
    append();
}
