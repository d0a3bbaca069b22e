//! The oracle: the expected result of every input, computed the slow way.
//!
//! Nothing here is shared with `src/`: not the grouping, not the names of sessions, not even the type of a time. Times are
//! plain milliseconds, a session is a list of segments, and each answer is computed again from the whole input. Two parts:
//!
//! * this file, **the batch oracle**: given the set of accepted segments, sort and sweep, which it shares with the audit. It knows no watermark, no
//!   revision and no order of arrival, so it is what `docs/rules.md` calls the batch job;
//! * [`model`], **the replay**: the rules of grouping read aloud, one after another, over lists. It says which segments are
//!   accepted, and what each step publishes.
//!
//! [`world`] makes input, [`reader`] watches output as a consumer would.

#![allow(dead_code, reason = "each test program uses the part that it needs")]

pub mod adapter;
pub mod model;
pub mod reader;
pub mod scenario;
pub mod worker;
pub mod world;

use std::collections::BTreeMap;
use std::fmt;

use livesession_audit::name;
use livesession_audit::sweep::sweep;

/// The durations and limits of the rules, in milliseconds.
#[derive(Clone, Debug)]
pub struct Rules {
    pub gap: i64,
    /// Streams, by their exact names, with a gap of their own.
    pub overrides: Vec<(String, i64)>,
    pub recording_interval: i64,
    pub max_segment: i64,
    pub notification_delay: i64,
    pub allowed_lateness: i64,
    pub max_hold: i64,
    pub max_session_duration: i64,
    pub max_session_segments: usize,
    pub max_session_bytes: u64,
}

impl Rules {
    pub fn gap(&self, stream: &str) -> i64 {
        self.overrides.iter().find(|(name, _)| name == stream).map_or(self.gap, |(_, gap)| *gap)
    }
}

/// A segment with the stream and the offset at which it came.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seg {
    pub start: i64,
    pub end: i64,
    pub file: String,
    pub offset: i64,
    pub stream: String,
    pub format: Option<&'static str>,
    pub url: Option<String>,
}

impl fmt::Debug for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start - world::EPOCH, self.end - world::EPOCH);
        write!(f, "{}: {} {} {start}..{end} ({} bytes)", self.offset, self.stream, self.file, self.bytes())
    }
}

impl Seg {
    /// What the segment counts towards `max_session_bytes`: all its texts once, the format twice. Worlds use no text that
    /// JSON would escape.
    pub fn bytes(&self) -> u64 {
        let url = self.url.as_ref().map_or(0, String::len);
        let format = self.format.map_or(0, str::len);
        (self.file.len() + url + 2 * format) as u64
    }
}

/// Whether two intervals overlap or are within `gap` of each other.
pub fn touch(a: (i64, i64), b: (i64, i64), gap: i64) -> bool {
    b.0 - a.1 <= gap && a.0 - b.1 <= gap
}

/// First start and last end.
pub fn hull(segments: &[Seg]) -> (i64, i64) {
    let start = segments.iter().map(|seg| seg.start).min().expect("a session has a segment");
    let end = segments.iter().map(|seg| seg.end).max().expect("a session has a segment");
    (start, end)
}

/// Groups the segments of one stream.
pub fn group(segments: Vec<Seg>, gap: i64) -> Vec<Vec<Seg>> {
    sweep(segments, gap, |seg| (seg.start, seg.end))
}

/// Groups a whole partition.
pub fn group_all(segments: &[Seg], rules: &Rules) -> Vec<Vec<Seg>> {
    let mut streams: BTreeMap<&str, Vec<Seg>> = BTreeMap::new();
    for seg in segments {
        streams.entry(&seg.stream).or_default().push(seg.clone());
    }
    streams.into_iter().flat_map(|(stream, members)| group(members, rules.gap(stream))).collect()
}

/// The member that was accepted first.
pub fn seed(session: &[Seg]) -> &Seg {
    session.iter().min_by_key(|seg| seg.offset).expect("a session has a segment")
}

/// The recorded time as a union, and the silences, both by marking every boundary and asking who covers the span between
/// two neighbours.
pub fn silences(session: &[Seg]) -> (i64, Vec<(i64, i64)>) {
    let mut marks: Vec<i64> = session.iter().flat_map(|seg| [seg.start, seg.end]).collect();
    marks.sort_unstable();
    marks.dedup();
    let mut recorded = 0;
    let mut gaps = Vec::new();
    for pair in marks.windows(2) {
        if session.iter().any(|seg| seg.start <= pair[0] && pair[1] <= seg.end) {
            recorded += pair[1] - pair[0];
        } else {
            gaps.push((pair[0], pair[1]));
        }
    }
    (recorded, gaps)
}

/// The name of the session of `seed` (rule: identity).
pub fn session_id(seed: &Seg) -> String {
    name::session_id(&seed.stream, &seed.file, seed.end)
}

/// A record of the output topic in plain values, comparable between the program and the oracle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub stream: String,
    pub id: String,
    pub revision: u32,
    pub withdrawn: bool,
    pub merged_into: Option<String>,
    pub continues: Option<String>,
    pub cause: Option<&'static str>,
    pub start: i64,
    pub end: i64,
    pub recorded: i64,
    pub first_offset: i64,
    pub last_offset: i64,
    pub seed_offset: i64,
    pub segments: u32,
    pub watermark: i64,
    pub gaps: Vec<(i64, i64)>,
    pub files: Vec<Seg>,
}

impl Record {
    /// What a first publication of `session` says, as far as the set decides it.
    pub fn of(session: &[Seg]) -> Record {
        let mut files = session.to_vec();
        files.sort();
        let (start, end) = hull(session);
        let (recorded, gaps) = silences(session);
        let offsets = || session.iter().map(|seg| seg.offset);
        Record {
            stream: session[0].stream.clone(),
            id: session_id(seed(session)),
            revision: 1,
            withdrawn: false,
            merged_into: None,
            continues: None,
            cause: None,
            start,
            end,
            recorded,
            first_offset: offsets().min().expect("a session has a segment"),
            last_offset: offsets().max().expect("a session has a segment"),
            seed_offset: seed(session).offset,
            segments: u32::try_from(session.len()).expect("few segments"),
            watermark: 0,
            gaps,
            files,
        }
    }

    /// The same without what depends on the order of arrival.
    pub fn content(&self) -> Record {
        Record { revision: 0, continues: None, cause: None, watermark: 0, ..self.clone() }
    }
}
