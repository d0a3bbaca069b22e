//! Splice plans: which files to join, in which order, to get one film of a session.
//!
//! A plan is of one *rendition*, since only files of one format, template and bitrate can follow each other. It lists the
//! files in time order, with the silence or the overlap before each, and says how much to cut from the beginning of a file
//! so that nothing is shown twice. [`text`] writes it for the tools. Pure: values in, values out; a plan depends on the
//! session's record alone, so the same revision always gives the same plan.
//!
//! ```text
//! a ──────────          a           from its beginning
//! b       ─────────     b           without its first 3: they are in a
//! c           ──        left out    all of it is in b
//! d                ───  d           after a gap
//! ```
//!
//! # What a cut can promise
//!
//! Start and end are wall-clock times and a cut is a place in a file. They agree as long as the file has as much media as its
//! interval is long; a notification's `duration` may be up to 70 s below it (lost packets), and then a cut may take away
//! too much. There is no better source: the plan says where it cuts, and a person can look.
//!
//! # Why not otherwise
//!
//! Of two files that begin together the longer one is taken, and what lies inside another is left out: each seam costs
//! a jump in the picture, so fewer are better. Cutting the *end* of the earlier file instead would lose its last key
//! frame's pictures as well.

pub mod text;

use livesession_formats::session::SessionRecord;
use livesession_formats::session::record::{Rendition, Segment};
use livesession_grouping::time::{Millis, Timestamp};

/// The longest `SessionId` that VOD `EditMedia` takes, in characters.
///
/// Source: VOD API, `EditMedia`.
pub const MAX_REQUEST_ID: usize = 50;

/// What lies between a file and what was spliced before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seam {
    /// There is nothing before it.
    First,
    /// It begins where the one before it ends.
    Joined,
    /// Silence of that length.
    Gap(Millis),
    /// So much of it was there already; it is cut off.
    Overlap(Millis),
}

impl Seam {
    pub const fn as_str(self) -> &'static str {
        match self {
            Seam::First => "first",
            Seam::Joined => "joined",
            Seam::Gap(_) => "gap",
            Seam::Overlap(_) => "overlap",
        }
    }

    /// Returns the length of the gap or the overlap; zero if it is neither.
    pub const fn length(self) -> Millis {
        match self {
            Seam::First | Seam::Joined => Millis::ZERO,
            Seam::Gap(length) | Seam::Overlap(length) => length,
        }
    }
}

/// A file of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    pub segment: &'a Segment,
    pub before: Seam,
}

impl Item<'_> {
    /// Returns how much of the file's beginning is skipped.
    pub const fn inpoint(&self) -> Millis {
        match self.before {
            Seam::Overlap(length) => length,
            Seam::First | Seam::Joined | Seam::Gap(_) => Millis::ZERO,
        }
    }

    /// Returns the time at which what is shown of the file begins.
    pub fn shown_from(&self) -> Timestamp {
        self.segment.start + self.inpoint()
    }
}

/// Why a file is not in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All of it is in other files.
    Covered,
    /// It has no length.
    Empty,
    /// The overlap is longer than the media in it.
    MediaTooShort,
}

impl Why {
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Covered => "covered",
            Why::Empty => "empty",
            Why::MediaTooShort => "media_too_short",
        }
    }
}

/// A plan for one rendition of one revision of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'a> {
    pub session: &'a SessionRecord,
    /// Index into the session's renditions.
    pub rendition: usize,
    pub kind: &'a Rendition,
    /// In time order; each ends later than the one before it.
    pub items: Vec<Item<'a>>,
    /// The other files of the rendition.
    pub left_out: Vec<(&'a Segment, Why)>,
}

impl<'a> Plan<'a> {
    /// Plans the splicing of one rendition; `None` if the session has no such rendition.
    pub fn new(session: &'a SessionRecord, rendition: usize) -> Option<Plan<'a>> {
        let kind = session.renditions.get(rendition)?;
        let mut files: Vec<&Segment> =
            session.segments.iter().filter(|segment| segment.rendition == rendition).collect();
        // Of files that begin together the longest comes first and covers the others.
        files.sort_by(|a, b| (a.start, b.end, &a.file_id).cmp(&(b.start, a.end, &b.file_id)));
        let mut plan = Plan { session, rendition, kind, items: Vec::with_capacity(files.len()), left_out: Vec::new() };
        let mut reached: Option<Timestamp> = None;
        for segment in files {
            let before = match reached {
                None => Seam::First,
                Some(end) if segment.start == end => Seam::Joined,
                Some(end) if segment.start > end => Seam::Gap(segment.start.since(end)),
                Some(end) => Seam::Overlap(end.since(segment.start)),
            };
            let item = Item { segment, before };
            if segment.end == segment.start {
                plan.left_out.push((segment, Why::Empty));
            } else if reached.is_some_and(|end| segment.end <= end) {
                plan.left_out.push((segment, Why::Covered));
            } else if segment.media_ms.is_some_and(|media| item.inpoint().as_ms() >= media.max(1)) {
                plan.left_out.push((segment, Why::MediaTooShort));
            } else {
                plan.items.push(item);
                reached = Some(segment.end);
            }
        }
        Some(plan)
    }

    /// Plans every rendition, in their order.
    pub fn all(session: &'a SessionRecord) -> Vec<Plan<'a>> {
        (0..session.renditions.len()).filter_map(|rendition| Plan::new(session, rendition)).collect()
    }

    /// Returns a name for a request that carries out this plan, at most [`MAX_REQUEST_ID`] characters long.
    ///
    /// The same for the same session, revision and rendition, and for no other: the service refuses a name that it saw within
    /// three days, and so a request that is sent twice is carried out once. Numbers are hexadecimal because 32 + 1 + 8 + 1 + 8
    /// is exactly what fits.
    pub fn request_id(&self) -> String {
        let id: String = self.session.session_id.to_string().chars().filter(|c| *c != '-').collect();
        format!("{id}-{:x}-{:x}", self.session.revision, self.rendition as u32)
    }

    /// Returns whether there is silence between any two files.
    pub fn has_gaps(&self) -> bool {
        self.items.iter().any(|item| matches!(item.before, Seam::Gap(_)))
    }

    /// Returns whether the beginning of any file is cut off.
    pub fn has_cuts(&self) -> bool {
        self.items.iter().any(|item| item.inpoint() > Millis::ZERO)
    }
}

#[cfg(test)]
mod tests;
