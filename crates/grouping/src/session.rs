//! Publications of a session: its bounds, its silences, its renditions, its name.
//!
//! All of it is a function of the session's segments, whatever the order in which they came. Nothing here depends on a
//! clock or on chance (rule: identity), so a replay publishes the same bytes.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use uuid::Uuid;

use crate::segment::{Offset, Segment};
use crate::time::{Millis, Timestamp};

/// The namespace of session ids (rule: identity).
const NAMESPACE: Uuid = Uuid::from_u128(0x5b0c3a52_8d0e_5c7e_9b43_0f2f6a1d7e64);

/// The name of a session: version 5, from the stream and the session's seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Names the session of `stream` whose seed is the file `seed_file_id` that ends at `seed_end`.
    ///
    /// The end is part of the name because a file id may come back after it was forgotten.
    pub fn new(stream: &str, seed_file_id: &str, seed_end: Timestamp) -> SessionId {
        let name = format!("{stream}\0{seed_file_id}\0{}", seed_end.as_ms());
        SessionId(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<SessionId> {
        Uuid::try_parse(text).ok().map(SessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The status of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Closed,
    /// Another session took its place (rule: bridge).
    Withdrawn,
    /// Not closed yet: from `group` and `sessions open` only, never on the topic.
    Open,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Closed => "closed",
            Status::Withdrawn => "withdrawn",
            Status::Open => "open",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Status> {
        [Status::Closed, Status::Withdrawn, Status::Open].into_iter().find(|status| status.as_str() == text)
    }
}

/// The reason why a session was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// Its next file would have been here (rule: close).
    Watermark,
    /// The stream was off air (rule: hints).
    PushEnded,
    /// A push held it open for as long as one may (rule: hints).
    MaxHold,
    /// The next segment would have exceeded a limit (rule: limits).
    Limit,
    /// `group --close-all`: there is no more input.
    EndOfInput,
}

impl CloseCause {
    pub const ALL: [CloseCause; 5] =
        [CloseCause::Watermark, CloseCause::PushEnded, CloseCause::MaxHold, CloseCause::Limit, CloseCause::EndOfInput];

    pub const fn as_str(self) -> &'static str {
        match self {
            CloseCause::Watermark => "watermark",
            CloseCause::PushEnded => "push_ended",
            CloseCause::MaxHold => "max_hold",
            CloseCause::Limit => "limit",
            CloseCause::EndOfInput => "end_of_input",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<CloseCause> {
        CloseCause::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

/// A half-open interval of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Interval {
    pub fn duration(&self) -> Millis {
        self.end.since(self.start)
    }
}

/// A publication without its lists.
///
/// Enough to publish the next revision, or to withdraw it, after its segments have been joined to another session's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub session_id: SessionId,
    pub revision: u32,
    pub continues: Option<SessionId>,
    pub close_cause: Option<CloseCause>,
    pub start: Timestamp,
    pub end: Timestamp,
    /// The union of the segments, not their sum.
    pub recorded: Millis,
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// The watermark when it was decided to publish.
    pub watermark: Timestamp,
    /// The input offset of the seed: the member that was accepted first.
    pub seed_offset: Offset,
    /// The number of its segments. A session only grows, so another number means that it has changed since.
    pub segments: u32,
}

/// A record of the output topic, as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The stream's key: the three parts joined by `/`, with `%` and `/` inside a part written as `%25` and `%2F`.
    pub stream: Arc<str>,
    pub summary: Summary,
    pub status: Status,
    /// The survivor of a withdrawn session.
    pub merged_into: Option<SessionId>,
    /// Silences, in time order; empty if withdrawn.
    pub gaps: Vec<Interval>,
    /// Members by start, end and file id; empty if withdrawn.
    pub segments: Vec<Arc<Segment>>,
    /// The bound that the watermark had to pass for this to be published: for measuring delay, not published.
    pub allowed_at: Timestamp,
}

/// One kind of file of a session: format, template and bitrate together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition<'a> {
    pub format: Option<&'a str>,
    pub template_id: Option<&'a str>,
    pub bitrate_kbps: Option<i64>,
    pub segments: u32,
    /// The union of its segments.
    pub recorded: Millis,
    /// `None` if the size of any is unknown.
    pub size_bytes: Option<i64>,
}

/// Sorts segments as they are published: by start, end, file id.
pub fn sort(segments: &mut [Arc<Segment>]) {
    segments.sort_unstable_by(|a, b| (a.start(), a.end(), a.file_id()).cmp(&(b.start(), b.end(), b.file_id())));
}

/// Returns the recorded time of segments sorted by start, as a union, and the silences between them.
///
/// Every silence counts, however short: `gap` only says which of them end a session. A segment of zero length inside a
/// silence splits it in two.
pub fn silences<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> (Millis, Vec<Interval>) {
    union(segments.into_iter().map(RecordedFile::interval))
}

/// Returns the length of the union of intervals sorted by start, and the silences between them.
fn union(intervals: impl Iterator<Item = Interval>) -> (Millis, Vec<Interval>) {
    let mut recorded = Millis::ZERO;
    let mut gaps = Vec::new();
    let mut reached: Option<Timestamp> = None;
    for interval in intervals {
        match reached {
            Some(end) if interval.start > end => {
                gaps.push(Interval { start: end, end: interval.start });
                recorded = recorded + interval.duration();
                reached = Some(interval.end);
            }
            Some(end) => {
                recorded = recorded + interval.end.since(end);
                reached = Some(end.max(interval.end));
            }
            None => {
                recorded = interval.duration();
                reached = Some(interval.end);
            }
        }
    }
    (recorded, gaps)
}

/// The attributes of a file that decide its rendition, and what its rendition adds up.
///
/// The core counts the renditions of its segments, the index those of the rows that it reads back.
pub trait RecordedFile {
    /// Returns format, template id and bitrate in kbit/s: files that agree in all three are one rendition.
    fn kind(&self) -> (Option<&str>, Option<&str>, Option<i64>);

    fn interval(&self) -> Interval;

    fn size_bytes(&self) -> Option<i64>;
}

impl RecordedFile for Segment {
    fn kind(&self) -> (Option<&str>, Option<&str>, Option<i64>) {
        (self.format(), self.template_id(), self.bitrate_kbps())
    }

    fn interval(&self) -> Interval {
        Interval { start: self.start(), end: self.end() }
    }

    fn size_bytes(&self) -> Option<i64> {
        self.size_bytes()
    }
}

impl<T: RecordedFile> RecordedFile for Arc<T> {
    fn kind(&self) -> (Option<&str>, Option<&str>, Option<i64>) {
        T::kind(self)
    }

    fn interval(&self) -> Interval {
        T::interval(self)
    }

    fn size_bytes(&self) -> Option<i64> {
        T::size_bytes(self)
    }
}

/// Returns the renditions of files sorted by start, and for each file the index of its rendition.
///
/// Renditions are ordered by format, template and bitrate, null first.
pub fn renditions<T: RecordedFile>(files: &[T]) -> (Vec<Rendition<'_>>, Vec<usize>) {
    // Most sessions have one to three renditions; sorting indices by kind is the same work for any number.
    let mut order: Vec<usize> = (0..files.len()).collect();
    let kind = |index: usize| files[index].kind();
    order.sort_unstable_by(|a, b| (kind(*a), *a).cmp(&(kind(*b), *b)));
    let mut renditions = Vec::new();
    let mut index_of = vec![0; files.len()];
    for run in order.chunk_by(|a, b| kind(*a) == kind(*b)) {
        let (format, template_id, bitrate_kbps) = kind(run[0]);
        let members = || run.iter().map(|index| &files[*index]);
        let (recorded, _) = union(members().map(T::interval));
        let size_bytes = members().map(T::size_bytes).try_fold(0_i64, |sum, size| Some(sum.saturating_add(size?)));
        run.iter().for_each(|index| index_of[*index] = renditions.len());
        renditions.push(Rendition {
            format,
            template_id,
            bitrate_kbps,
            segments: u32::try_from(run.len()).unwrap_or(u32::MAX),
            recorded,
            size_bytes,
        });
    }
    (renditions, index_of)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::string::ToString;

    use super::*;
    use crate::NewSegment;

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn new(file_id: &str, start: i64, end: i64) -> NewSegment<'_> {
        NewSegment::new(file_id, ms(start), ms(end))
    }

    fn sorted(news: &[NewSegment<'_>]) -> Vec<Arc<Segment>> {
        let mut segments: Vec<_> = (0..).zip(news).map(|(offset, new)| Arc::new(Segment::new(offset, new))).collect();
        sort(&mut segments);
        segments
    }

    /// Reads a timeline: a column is 1 ms, a run of a letter is a file; a row each for what overlaps.
    fn timeline(rows: &[&str]) -> Vec<Arc<Segment>> {
        let mut news = Vec::new();
        for row in rows {
            for letter in ('a'..='z').map(String::from).filter(|letter| row.contains(letter.as_str())) {
                let (start, end) = (row.find(&letter).unwrap(), row.rfind(&letter).unwrap() + 1);
                news.push((letter, i64::try_from(start).unwrap(), i64::try_from(end).unwrap()));
            }
        }
        sorted(&news.iter().map(|(letter, start, end)| new(letter, *start, *end)).collect::<Vec<_>>())
    }

    /// Asserts the silences of `rows`, drawn with `#` on the same columns, and that all the rest is recorded.
    #[track_caller]
    fn check(rows: &[&str], expected: &str) {
        let segments = timeline(rows);
        let (recorded, gaps) = silences(segments.iter().map(AsRef::as_ref));
        let mut drawn = vec!['.'; expected.len()];
        for gap in &gaps {
            drawn[gap.start.as_ms() as usize..gap.end.as_ms() as usize].fill('#');
        }
        assert_eq!(drawn.iter().collect::<String>(), expected, "{rows:?}");
        let start = segments[0].start();
        let end = segments.iter().map(|segment| segment.end()).max().unwrap();
        let silent: i64 = gaps.iter().map(|gap| gap.duration().as_ms()).sum();
        assert_eq!(recorded.as_ms() + silent, end.since(start).as_ms(), "{rows:?}");
    }

    #[test]
    fn silence_is_what_no_segment_covers() {
        check(&["aabb"], "....");
        check(&["aa.bb"], "..#..");
        check(&["aa..bb"], "..##..");
        check(&["..aa..bb"], "....##..");
        check(&["aa.bb...cc"], "..#..###..");
        check(&["aaa..cc", "..bb..."], "....#..");
        check(&["aaa...cc", "..bbb..."], ".....#..");
        // A short file inside a long one does not end what the long one covers.
        check(&["aaaaaa.cc", ".bb......"], "......#..");
        check(&["aaaaaa...", ".bb....cc"], "......#..");
        // Two formats of the same minutes are recorded once.
        check(&["aa..cc", "bb..dd"], "..##..");
    }

    #[test]
    fn one_segment_has_no_silence_and_none_has_nothing() {
        check(&["aaa"], "...");
        assert_eq!(silences([]), (Millis::ZERO, vec![]));
    }

    #[test]
    fn segment_of_zero_length_splits_a_silence() {
        let gaps = |at: i64| {
            let segments = sorted(&[new("a", 0, 10), new("z", at, at), new("b", 20, 30)]);
            let (recorded, gaps) = silences(segments.iter().map(AsRef::as_ref));
            assert_eq!(recorded.as_ms(), 20);
            gaps.iter().map(|gap| (gap.start.as_ms(), gap.end.as_ms())).collect::<Vec<_>>()
        };
        assert_eq!(gaps(9), [(10, 20)]);
        assert_eq!(gaps(10), [(10, 20)]);
        assert_eq!(gaps(11), [(10, 11), (11, 20)]);
        assert_eq!(gaps(19), [(10, 19), (19, 20)]);
        assert_eq!(gaps(20), [(10, 20)]);
        assert_eq!(gaps(21), [(10, 20)]);
    }

    // rule: zero-length
    #[test]
    fn session_of_zero_length_has_neither_record_nor_silence() {
        let segments = sorted(&[new("z", 5, 5), new("y", 5, 5)]);
        assert_eq!(silences(segments.iter().map(AsRef::as_ref)), (Millis::ZERO, vec![]));
    }

    #[test]
    fn segments_are_published_by_start_then_end_then_file_id() {
        let segments = sorted(&[
            new("f-10", 0, 9),
            new("f-2", 0, 9),
            new("c", 0, 8),
            new("b", 1, 2),
            new("a", 1, 1),
            new("z", 0, 0),
        ]);
        let ids: Vec<_> = segments.iter().map(|segment| segment.file_id()).collect();
        assert_eq!(ids, ["z", "c", "f-10", "f-2", "a", "b"]);
    }

    #[test]
    fn renditions_are_ordered_by_format_template_and_bitrate_null_first() {
        let kinds = [
            (Some("mp4"), Some("t1"), Some(800)),
            (Some("mp4"), Some("t1"), Some(0)),
            (Some("mp4"), Some("t1"), None),
            (Some("mp4"), None, Some(9)),
            (Some("hls"), Some("t2"), None),
            (None, Some("t3"), Some(1)),
            (None, None, None),
        ];
        let names: Vec<_> = (0..kinds.len()).map(|index| format!("f{index}")).collect();
        let news: Vec<_> = kinds
            .iter()
            .zip(&names)
            .map(|((format, template_id, bitrate_kbps), name)| NewSegment {
                format: *format,
                template_id: *template_id,
                bitrate_kbps: *bitrate_kbps,
                ..new(name, 0, 10)
            })
            .collect();
        let segments = sorted(&news);
        let (renditions, index_of) = renditions(&segments);
        let found: Vec<_> = renditions.iter().map(|one| (one.format, one.template_id, one.bitrate_kbps)).collect();
        assert_eq!(found, kinds.iter().rev().copied().collect::<Vec<_>>());
        assert_eq!(index_of, [6, 5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn rendition_counts_its_own_segments_only_and_as_a_union() {
        let mp4 =
            |file_id, start, end| NewSegment { format: Some("mp4"), size_bytes: Some(5), ..new(file_id, start, end) };
        let hls = |file_id, start, end| NewSegment { format: Some("hls"), ..new(file_id, start, end) };
        let segments = sorted(&[mp4("a", 0, 10), hls("h", 0, 40), mp4("b", 8, 20), mp4("c", 30, 40)]);
        let (renditions, index_of) = renditions(&segments);
        let found: Vec<_> = renditions.iter().map(|one| (one.format, one.segments, one.recorded.as_ms())).collect();
        assert_eq!(found, [(Some("hls"), 1, 40), (Some("mp4"), 3, 30)]);
        assert_eq!(renditions[1].size_bytes, Some(15));
        assert_eq!(index_of, [1, 0, 1, 1]);
    }

    #[test]
    fn size_of_a_rendition_is_null_if_any_is_unknown() {
        let sizes = |sizes: [Option<i64>; 3]| {
            let named = |file_id, size_bytes| NewSegment { size_bytes, ..new(file_id, 0, 1) };
            let segments = sorted(&[named("a", sizes[0]), named("b", sizes[1]), named("c", sizes[2])]);
            renditions(&segments).0[0].size_bytes
        };
        assert_eq!(sizes([Some(1), Some(2), Some(3)]), Some(6));
        assert_eq!(sizes([Some(0), Some(0), Some(0)]), Some(0));
        assert_eq!(sizes([None, Some(2), Some(3)]), None);
        assert_eq!(sizes([Some(1), Some(2), None]), None);
        // Sizes are what a sender says: a nonsense sum must not wrap.
        assert_eq!(sizes([Some(i64::MAX), Some(1), Some(1)]), Some(i64::MAX));
    }

    // rule: identity
    #[test]
    fn session_id_is_the_one_that_any_implementation_of_version_5_gives() {
        // Computed elsewhere from namespace and name, NUL bytes included.
        let id = SessionId::new("//room-7", "f-0002", ms(1_754_044_870_000));
        assert_eq!(id.to_string(), "0823958c-d705-56e9-a737-449bff2c0459");
        assert_eq!(SessionId::parse("0823958c-d705-56e9-a737-449bff2c0459"), Some(id));
        assert_eq!(format!("{id:?}"), "0823958c-d705-56e9-a737-449bff2c0459");
    }

    #[test]
    fn session_id_depends_on_stream_seed_and_its_end() {
        let ids = [
            SessionId::new("//a", "f", ms(1)),
            SessionId::new("//b", "f", ms(1)),
            SessionId::new("//a", "g", ms(1)),
            SessionId::new("//a", "f", ms(2)),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{index}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for status in [Status::Closed, Status::Withdrawn, Status::Open] {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for cause in CloseCause::ALL {
            assert_eq!(CloseCause::parse(cause.as_str()), Some(cause));
        }
        assert_eq!(Status::parse("Closed"), None);
        assert_eq!(CloseCause::parse(""), None);
        assert_eq!(SessionId::parse("room-7"), None);
    }
}
