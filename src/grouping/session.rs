//! What is published of a session: its bounds, its silences, its renditions, its name.
//!
//! All of it is a function of the session's segments, whatever the order in which they came. Nothing here depends on a
//! clock or on chance (rule 8), so a replay publishes the same bytes.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::segment::{Offset, Segment};
use crate::time::{Millis, Timestamp};

/// The namespace of session ids (rule 8).
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

/// Whether a session is complete, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Closed,
    /// Another session took its place (rule 7).
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

/// Why a session was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Rule 4: its next file would have been here.
    Watermark,
    /// Rule 5: the stream was off air.
    PushEnded,
    /// Rule 5: a push held it open for as long as one may.
    MaxHold,
    /// Rule 10: the next segment would have exceeded a limit.
    Limit,
    /// `group --close-all`: there is no more input.
    EndOfInput,
}

impl Cause {
    pub const ALL: [Cause; 5] = [Cause::Watermark, Cause::PushEnded, Cause::MaxHold, Cause::Limit, Cause::EndOfInput];

    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Watermark => "watermark",
            Cause::PushEnded => "push_ended",
            Cause::MaxHold => "max_hold",
            Cause::Limit => "limit",
            Cause::EndOfInput => "end_of_input",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.as_str() == text)
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

/// What was last published of a session, without its lists.
///
/// Enough to publish the next revision, or to withdraw it, after its segments have been joined to another session's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub session_id: SessionId,
    pub revision: u32,
    pub continues: Option<SessionId>,
    pub close_cause: Option<Cause>,
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
    /// How many segments were published. A session only grows, so another number means that it has changed since.
    pub segments: u32,
}

/// A record of the output topic, as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The stream's key: the three parts joined by `/`, with `%` and `/` inside a part written as `%25` and `%2F`.
    pub stream: Arc<str>,
    pub head: Head,
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
    let mut recorded = Millis::ZERO;
    let mut gaps = Vec::new();
    let mut reached: Option<Timestamp> = None;
    for segment in segments {
        match reached {
            Some(end) if segment.start() > end => {
                gaps.push(Interval { start: end, end: segment.start() });
                recorded = recorded + segment.end().since(segment.start());
                reached = Some(segment.end());
            }
            Some(end) => {
                recorded = recorded + segment.end().since(end);
                reached = Some(end.max(segment.end()));
            }
            None => {
                recorded = segment.end().since(segment.start());
                reached = Some(segment.end());
            }
        }
    }
    (recorded, gaps)
}

/// Returns the renditions of segments sorted by start, and for each segment the index of its rendition.
///
/// Renditions are ordered by format, template and bitrate, null first.
pub fn renditions(segments: &[Arc<Segment>]) -> (Vec<Rendition<'_>>, Vec<usize>) {
    // Most sessions have one to three renditions; sorting indices by kind is the same work for any number.
    let mut order: Vec<usize> = (0..segments.len()).collect();
    let kind = |index: usize| {
        let segment = &segments[index];
        (segment.format(), segment.template_id(), segment.bitrate_kbps())
    };
    order.sort_unstable_by(|a, b| (kind(*a), *a).cmp(&(kind(*b), *b)));
    let mut renditions = Vec::new();
    let mut index_of = vec![0; segments.len()];
    for run in order.chunk_by(|a, b| kind(*a) == kind(*b)) {
        let first = &segments[run[0]];
        let members = || run.iter().map(|index| segments[*index].as_ref());
        let (recorded, _) = silences(members());
        let size_bytes =
            members().map(Segment::size_bytes).try_fold(0_i64, |sum, size| Some(sum.saturating_add(size?)));
        run.iter().for_each(|index| index_of[*index] = renditions.len());
        renditions.push(Rendition {
            format: first.format(),
            template_id: first.template_id(),
            bitrate_kbps: first.bitrate_kbps(),
            segments: u32::try_from(run.len()).unwrap_or(u32::MAX),
            recorded,
            size_bytes,
        });
    }
    (renditions, index_of)
}
