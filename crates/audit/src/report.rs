//! The findings of an audit: each says where, what is wrong there, and what it should be.

use std::collections::BTreeMap;
use std::fmt;

/// How many findings of a kind are printed; they are all counted.
const SHOWN: usize = 20;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A record of the input that was refused and should not have been, or for another reason.
    WronglyRefused,
    /// A record of the input that should be in a dead letter and is not.
    NotRefused,
    /// A second dead letter of one record.
    RefusedTwice,
    /// A dead letter of a record that is not there or was not read.
    RefusedNothing,
    /// A dead letter without the bytes of its record.
    RefusedAltered,
    /// A record of the output that cannot be what the worker writes.
    Unreadable,
    /// A revision that was published again.
    PublishedTwice,
    /// A revision before which another is missing.
    RevisionMissing,
    /// A session that came back after it was withdrawn, or was withdrawn into nothing.
    Withdrawal,
    /// A session that is not named after the segment that was accepted first.
    WrongName,
    /// A published segment that is not the one that was accepted.
    WrongSegment,
    /// Times, gaps or offsets that do not follow from the segments.
    WrongContent,
    /// A revision that was published before its session could close.
    ClosedEarly,
    /// A session that a batch job finds and nobody has published.
    NotPublished,
    /// Sessions that a batch job would cut elsewhere.
    GroupedOtherwise,
    /// A file in two sessions, or in none after it had been in one.
    Misplaced,
    /// The group's offset is not the end of the input.
    NotRead,
    /// The marker of the changelog disagrees with group or input.
    Marker,
    /// The changelog does not hold what it should.
    StateLost,
    /// The changelog holds what it should not.
    StateUnknown,
    /// The index does not hold what was published.
    Index,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::WronglyRefused => "wrongly refused",
            Kind::NotRefused => "not refused",
            Kind::RefusedTwice => "refused twice",
            Kind::RefusedNothing => "dead letter of nothing",
            Kind::RefusedAltered => "dead letter altered",
            Kind::Unreadable => "unreadable",
            Kind::PublishedTwice => "published twice",
            Kind::RevisionMissing => "revision missing",
            Kind::Withdrawal => "withdrawn wrongly",
            Kind::WrongName => "wrong session id",
            Kind::WrongSegment => "wrong segment",
            Kind::WrongContent => "wrong content",
            Kind::ClosedEarly => "closed early",
            Kind::NotPublished => "not published",
            Kind::GroupedOtherwise => "grouped otherwise",
            Kind::Misplaced => "file misplaced",
            Kind::NotRead => "not read",
            Kind::Marker => "wrong marker",
            Kind::StateLost => "state lost",
            Kind::StateUnknown => "state unknown",
            Kind::Index => "index differs",
        })
    }
}

/// A record, by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

#[derive(Debug, Default)]
pub struct Report {
    findings: BTreeMap<Kind, Vec<String>>,
    counts: Vec<(String, u64)>,
}

impl Report {
    /// Notes what is wrong at `place`, which is `topic/partition/offset` where it is a record.
    pub fn wrong(&mut self, kind: Kind, place: impl fmt::Display, what: impl fmt::Display) {
        self.findings.entry(kind).or_default().push(format!("{place}: {what}"));
    }

    /// Notes how many there were of something.
    pub fn count(&mut self, name: &str, count: usize) {
        self.counts.push((name.to_owned(), count as u64));
    }

    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns the kinds of what is wrong.
    pub fn kinds(&self) -> Vec<Kind> {
        self.findings.keys().copied().collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.counts {
            writeln!(f, "{count:>12} {name}")?;
        }
        for (kind, findings) in &self.findings {
            for finding in findings.iter().take(SHOWN) {
                writeln!(f, "WRONG  {kind}: {finding}")?;
            }
            if findings.len() > SHOWN {
                writeln!(f, "WRONG  {kind}: {} more", findings.len() - SHOWN)?;
            }
        }
        match self.findings.values().map(Vec::len).sum::<usize>() {
            0 => writeln!(f, "nothing lost, nothing twice, nothing wrong"),
            count => writeln!(f, "{count} findings"),
        }
    }
}
