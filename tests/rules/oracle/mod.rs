//! What the program should have done, worked out the slow way.
//!
//! Nothing here is shared with `src/`: not the grouping, not the names of sessions, not even the type of a time. Times are
//! plain milliseconds, a session is a list of segments, and each answer is computed again from the whole input. Two parts:
//!
//! * this file, **the batch oracle**: given the set of accepted segments, sort and sweep. It knows no watermark, no
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

/// Groups the segments of one stream: sort by start, sweep, cut where the silence is longer than `gap`.
pub fn group(mut segments: Vec<Seg>, gap: i64) -> Vec<Vec<Seg>> {
    segments.sort();
    let mut sessions: Vec<Vec<Seg>> = Vec::new();
    let mut reach = 0;
    for seg in segments {
        match sessions.last_mut() {
            Some(session) if seg.start - reach <= gap => {
                reach = reach.max(seg.end);
                session.push(seg);
            }
            _ => {
                reach = seg.end;
                sessions.push(vec![seg]);
            }
        }
    }
    sessions
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
    let namespace = *b"\x5b\x0c\x3a\x52\x8d\x0e\x5c\x7e\x9b\x43\x0f\x2f\x6a\x1d\x7e\x64";
    let mut bytes = namespace.to_vec();
    bytes.extend_from_slice(format!("{}\0{}\0{}", seed.stream, seed.file, seed.end).as_bytes());
    let mut uuid = sha1(&bytes)[..16].to_vec();
    uuid[6] = uuid[6] & 0x0f | 0x50;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// SHA-1 as FIPS 180-4 writes it.
fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut w: Vec<u32> =
            block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().expect("four bytes"))).collect();
        for t in 16..80 {
            let word: u32 = w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16];
            w.push(word.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in w.iter().enumerate() {
            let (f, k) = match t {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_agrees_with_the_examples_of_the_standard() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&sha1(two_blocks)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    }
}
