//! Splice plans: which files to join, in which order, to get one film of a session.
//!
//! A plan is of one *rendition*, since only files of one format, template and bitrate can follow each other. It lists the
//! files in time order, with the silence or the overlap before each, and says where to stop in a file so that nothing is
//! shown twice. [`text`] writes it for the tools, [`notes`] says what its user has to know. Pure: values in, values out; a
//! plan depends on the session's record alone, so the same revision always gives the same plan.
//!
//! ```text
//! a ──────────          a           without its last 3: they are in b
//! b       ─────────     b           whole
//! c           ──        left out    all of it is in b
//! d                ───  d           after a gap
//! ```
//!
//! # What a file holds
//!
//! Start and end are wall-clock times and a cut is a place in a file. They agree as long as the file has as much media as its
//! interval is long. A file with [`MEDIA_SLACK`] less is taken to hold the last of its interval: ends are announced as they
//! happen, and starts are not. A silence is one of the intervals, whatever the media: less media than time is no proof of
//! silence, for packets are lost.
//!
//! # Cuts
//!
//! An overlap is cut at the end of the earlier file. A tool that copies without encoding can stop at any picture, and can
//! begin at a key frame only; the later file begins with one. As the files follow each other by what they hold, the end of
//! the earlier file can always be cut.
//!
//! Times are often whole seconds, so files of one push may overlap by up to [`ROUNDING`] although nothing was recorded twice. If their
//! media say so, nothing is cut.
//!
//! # Why not otherwise
//!
//! Of two files that begin together the longer one is taken, and what lies inside others is left out: each seam costs
//! a jump in the picture, so fewer are better.

pub mod address;
mod ffconcat;
pub mod form;
pub mod notes;
pub mod text;

use std::cmp::Reverse;

use self::address::{Addresses, Fault};
use livesession_formats::session::SessionRecord;
use livesession_formats::session::record::{Rendition, Segment};
use livesession_grouping::time::{Millis, Timestamp};

/// The longest `SessionId` that VOD `EditMedia` takes, in characters.
///
/// Source: VOD API, `EditMedia`.
pub const MAX_REQUEST_ID: usize = 50;

/// How much media may be missing before a file counts as shorter than its interval; exclusive.
///
/// Interval and media are measured by different clocks, and both are often rounded to seconds.
pub const MEDIA_SLACK: Millis = Millis::from_secs(5);

/// The longest overlap that two rounded times can make of files that follow each other; inclusive.
pub const ROUNDING: Millis = Millis::from_secs(2);

/// What lies between a file and what was spliced before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seam {
    /// There is nothing before it.
    First,
    /// It follows the one before it.
    Joined,
    /// Silence of that length.
    Gap(Millis),
    /// So much of it is in the file before it too, which is cut there.
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
    /// The time at which what is shown of the file begins.
    pub from: Timestamp,
    /// Where to stop, counted from the beginning of the file; `None` for its end.
    pub outpoint: Option<Millis>,
}

impl Item<'_> {
    /// Returns the time at which what is shown of the file ends; exclusive.
    pub fn until(&self) -> Timestamp {
        self.outpoint.map_or(self.segment.end, |outpoint| held_from(self.segment) + outpoint)
    }

    /// Returns how much media the file has: what the notification says, or the length of its interval.
    pub fn length(&self) -> Millis {
        media(self.segment).unwrap_or(interval(self.segment))
    }

    /// Returns how much of the file's end is not shown.
    pub fn cut(&self) -> Millis {
        self.segment.end.since(self.until())
    }
}

/// Why a file is not in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All of it is in other files.
    Covered,
    /// It has no length.
    Empty,
    /// The form names files by their address, and cannot name this one.
    Address(Fault),
}

impl Why {
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Covered => "covered",
            Why::Empty => "empty",
            Why::Address(_) => "address",
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
    /// Which addresses its forms may name.
    pub addresses: Addresses,
    /// In time order; each ends later than the one before it.
    pub items: Vec<Item<'a>>,
    /// The other files of the rendition.
    pub left_out: Vec<(&'a Segment, Why)>,
}

impl<'a> Plan<'a> {
    /// Plans the splicing of one rendition; `None` if the session has no such rendition.
    pub fn new(session: &'a SessionRecord, rendition: usize) -> Option<Plan<'a>> {
        let kind = session.renditions.get(rendition)?;
        let plan =
            Plan { session, rendition, kind, addresses: Addresses::Web, items: Vec::new(), left_out: Vec::new() };
        Some(plan.filled(|_| None))
    }

    /// Plans every rendition, in their order.
    pub fn all(session: &'a SessionRecord) -> Vec<Plan<'a>> {
        (0..session.renditions.len()).filter_map(|rendition| Plan::new(session, rendition)).collect()
    }

    /// Returns the plan of the files that have an address which can be named.
    ///
    /// Planned again, since a file that is left out covers no other.
    pub fn addressable(&self) -> Plan<'a> {
        let plan = Plan { items: Vec::new(), left_out: Vec::new(), ..*self };
        let addresses = self.addresses;
        plan.filled(|segment| address::read(segment.url.as_deref(), addresses).err().map(Why::Address))
    }

    /// Fills an empty plan with the files of its rendition, but for those that `refuse` gives a reason for.
    fn filled(mut self, refuse: impl Fn(&Segment) -> Option<Why>) -> Plan<'a> {
        let mut files: Vec<&Segment> = Vec::new();
        for segment in self.session.segments.iter().filter(|segment| segment.rendition == self.rendition) {
            let why = if segment.start == segment.end { Some(Why::Empty) } else { refuse(segment) };
            match why {
                Some(why) => self.left_out.push((segment, why)),
                None => files.push(segment),
            }
        }
        // Of files that begin together the longest comes first and covers the others.
        files.sort_by_key(|file| (held_from(file), Reverse(file.end), &file.file_id));
        let mut chain: Vec<&Segment> = Vec::with_capacity(files.len());
        for file in files {
            if chain.last().is_some_and(|last| file.end <= last.end) {
                self.left_out.push((file, Why::Covered));
                continue;
            }
            // Between two files that overlap by themselves. A shorter overlap may be rounding, and then this holds what lies between.
            while let [.., before, last] = chain.as_slice()
                && before.end > held_from(file) + ROUNDING
            {
                self.left_out.push((last, Why::Covered));
                chain.pop();
            }
            chain.push(file);
        }
        self.items = join(&chain);
        self
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

    /// Returns whether the end of any file is cut off.
    pub fn has_cuts(&self) -> bool {
        self.items.iter().any(|item| item.outpoint.is_some())
    }

    /// Returns whether the format of the rendition has this name, in upper or lower case.
    pub fn is_format(&self, name: &str) -> bool {
        self.kind.format.as_deref().is_some_and(|format| format.eq_ignore_ascii_case(name))
    }
}

/// Puts files one behind the other, each ending later than the one before it.
fn join<'a>(chain: &[&'a Segment]) -> Vec<Item<'a>> {
    let mut items: Vec<Item<'a>> = Vec::with_capacity(chain.len());
    for segment in chain {
        let held = held_from(segment);
        let (before, from) = match items.last_mut() {
            None => (Seam::First, segment.start),
            Some(last) => {
                let reached = last.segment.end;
                // Where the earlier file would be cut; meaningful if it holds this one's beginning.
                let outpoint = held.since(held_from(last.segment));
                if segment.start > reached {
                    (Seam::Gap(segment.start.since(reached)), segment.start)
                } else if held >= reached {
                    (Seam::Joined, reached)
                } else if media(last.segment).is_some_and(|media| media <= outpoint)
                    || is_rounding(last.segment, segment)
                {
                    (Seam::Joined, held)
                } else {
                    last.outpoint = Some(outpoint);
                    (Seam::Overlap(reached.since(held)), held)
                }
            }
        };
        items.push(Item { segment, before, from, outpoint: None });
    }
    items
}

/// Returns whether the overlap of two files is only one of their rounded times.
///
/// It is if their media make up the time that both span, rather than that time and the overlap once more.
fn is_rounding(earlier: &Segment, later: &Segment) -> bool {
    let (Some(first), Some(second)) = (media(earlier), media(later)) else {
        return false;
    };
    let overlap = earlier.end.since(held_from(later));
    let span = later.end.since(held_from(earlier));
    overlap <= ROUNDING && 2 * ((first + second).as_ms() - span.as_ms()) <= overlap.as_ms()
}

/// Returns the time from which on a file holds its interval.
fn held_from(segment: &Segment) -> Timestamp {
    match media(segment) {
        Some(media) if media + MEDIA_SLACK < interval(segment) => segment.end - media,
        _ => segment.start,
    }
}

/// Returns how much media the notification gives the file.
///
/// Zero says nothing: producers write it for what they do not know, and a file without any media is not announced.
fn media(segment: &Segment) -> Option<Millis> {
    segment.media_ms.filter(|ms| *ms > 0).and_then(Millis::from_ms)
}

fn interval(segment: &Segment) -> Millis {
    segment.end.since(segment.start)
}

/// Returns whether a file has so much less media than its interval that it counts as the last of it.
pub fn is_short(segment: &Segment) -> bool {
    held_from(segment) > segment.start
}

#[cfg(test)]
mod tests;
