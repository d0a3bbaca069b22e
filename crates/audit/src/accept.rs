//! Acceptance: the input, read with the dead letters beside it.
//!
//! Whether a segment is late depends on a watermark that nobody has written down for every record. Bounds on it are known:
//! it is at least what earlier records reached, and, because it never goes back, at most what the marker says in the end.
//! Between the two the dead letters are believed; outside of them they are checked.

use std::fmt::Display;

use crate::audit::{Accepted, Audit, Partition};
use crate::notification::{self, Notification, Segment};
use crate::record::{Header, Record};
use crate::report::{Kind, Place};

/// Headers that a dead letter adds to those of its record, and how often the record went round.
const ADDED: [&[u8]; 11] = [
    b"__dlq.errors.topic",
    b"__dlq.errors.partition",
    b"__dlq.errors.offset",
    b"__dlq.errors.group",
    b"__dlq.errors.message",
    b"livesession-dlq-reason",
    b"livesession-dlq-stage",
    b"livesession-dlq-version",
    b"livesession-dlq-timestamp",
    b"livesession-dlq-replays",
    CUT,
];
/// The header of a letter that lacks its value, and maybe more.
const CUT: &[u8] = b"livesession-dlq-cut";

/// The last header of a name, as text.
fn header<'a>(record: &'a Record, name: &[u8]) -> Option<&'a str> {
    let (_, value) = record.headers.iter().rev().find(|(known, _)| known == name)?;
    str::from_utf8(value.as_deref()?).ok()
}

impl Audit {
    /// Takes the next record of the dead letters.
    pub fn dead_letter(&mut self, record: Record) {
        let here = format!("{}/{}", self.told.dead_letters, record.place());
        let is_ours = header(&record, b"__dlq.errors.topic") == Some(&*self.told.input)
            && header(&record, b"__dlq.errors.group") == Some(&*self.told.group);
        if !is_ours {
            // Of another deployment that shares the topic.
            return;
        }
        let partition = header(&record, b"__dlq.errors.partition").and_then(|text| text.parse().ok());
        let offset = header(&record, b"__dlq.errors.offset").and_then(|text| text.parse().ok());
        let Some((partition, offset)) = partition.zip(offset) else {
            self.report.wrong(Kind::RefusedNothing, here, "it does not say of which record it is");
            return;
        };
        let origin = Place { partition, offset };
        if let Some(earlier) = self.letters.insert(origin, record) {
            let input = &self.told.input;
            let what = format!("the second dead letter of {input}/{origin}, after {}", earlier.place());
            self.report.wrong(Kind::RefusedTwice, here, what);
        }
    }

    /// Takes the next record of the input.
    pub fn input(&mut self, record: &Record) {
        let place = record.place();
        self.partitions.entry(place.partition).or_default().next = place.offset + 1;
        let letter = self.letters.remove(&place);
        let reason = letter.as_ref().map(|letter| {
            self.check_letter(record, letter);
            header(letter, b"livesession-dlq-reason").unwrap_or("none").to_owned()
        });
        let Some(rules) = self.rules(place.partition) else {
            // Nothing of this partition was ever committed; `finish` says so.
            return;
        };
        let outcome = match notification::read(record.value.as_deref(), record.timestamp, &rules) {
            Notification::Refused(expected) => {
                match reason.as_deref() {
                    Some(found) if found == expected => {}
                    Some(found) => self.wrong(place, Kind::WronglyRefused, format!("as {found}, should be {expected}")),
                    None => self.wrong(place, Kind::NotRefused, format!("should be a dead letter, reason {expected}")),
                }
                "refused"
            }
            Notification::Segment(segment) => self.segment(place, segment, reason.as_deref()),
            other => {
                if let Some(reason) = reason {
                    self.wrong(place, Kind::WronglyRefused, format!("as {reason}, should be no dead letter"));
                }
                match other {
                    Notification::Hint { stream, kind, at } => {
                        let number = self.stream_number(&stream);
                        let partition = self.partition(place.partition);
                        partition.reached = partition.reached.max(Some(at));
                        partition.hinted.insert(number);
                        if kind != "record_ended" {
                            partition.pushed.insert(number);
                        }
                        "hints"
                    }
                    _ => "other events",
                }
            }
        };
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    fn partition(&mut self, number: i32) -> &mut Partition {
        self.partitions.entry(number).or_default()
    }

    /// Says that something is wrong with a record of the input.
    fn wrong(&mut self, place: Place, kind: Kind, what: impl Display) {
        let here = format!("{}/{place}", self.told.input);
        self.report.wrong(kind, here, what);
    }

    /// Judges a segment against what came before it, in this order: late, known, new.
    fn segment(&mut self, place: Place, segment: Segment, reason: Option<&str>) -> &'static str {
        let policy = self.policy(place.partition).expect("there are rules because there is a policy");
        let (allowed_lateness, remembered) =
            (policy.allowed_lateness, policy.gap_of(&segment.stream) + policy.forget_after());
        let last = self.watermark(place.partition);
        let is_trimmed = self.trimmed.input.contains_key(&place.partition);
        let never_idle = self.told.never_idle && !is_trimmed;
        let stream = self.stream_number(&segment.stream);
        let partition = self.partition(place.partition);
        let reached = partition.reached;
        let highest = if never_idle { reached } else { last.max(reached) };
        let known = partition.known.get(&(stream, segment.file.as_str().into())).copied();
        let passed = |watermark: Option<i64>, bound: i64| watermark.is_some_and(|watermark| watermark > bound);

        let is_late = passed(reached, segment.end + allowed_lateness);
        let may_be_late = passed(highest, segment.end + allowed_lateness);
        let known = known.map(|offset| &self.accepted[&Place { offset, ..place }]);
        let is_same = known.is_some_and(|known| (known.start, known.end) == (segment.start, segment.end));
        let may_be_forgotten = known.is_some_and(|known| passed(highest, known.end + remembered));
        let is_known = known.is_some();

        match reason {
            Some("late") => {
                if !may_be_late {
                    let what = format!("as late, ends at {}, and the watermark is {highest:?} at most", segment.end);
                    self.wrong(place, Kind::WronglyRefused, what);
                }
                "refused"
            }
            _ if is_late => {
                let what = format!("late: ends at {}, after the watermark reached {reached:?}", segment.end);
                self.wrong(place, if reason.is_some() { Kind::WronglyRefused } else { Kind::NotRefused }, what);
                "refused"
            }
            Some("conflict") => {
                if is_same || !is_known && !is_trimmed {
                    self.wrong(place, Kind::WronglyRefused, "as a conflict, but no such file has other times");
                }
                "refused"
            }
            Some(reason) => {
                self.wrong(place, Kind::WronglyRefused, format!("as {reason}, should be accepted or a duplicate"));
                "refused"
            }
            None if is_same => "duplicates",
            None if is_known && !may_be_forgotten => {
                self.wrong(place, Kind::NotRefused, "should be a dead letter, reason conflict");
                "refused"
            }
            None => {
                let file: Box<str> = segment.file.into();
                let partition = self.partition(place.partition);
                partition.reached = partition.reached.max(Some(segment.end));
                partition.least_end = Some(partition.least_end.map_or(segment.end, |least| least.min(segment.end)));
                partition.known.insert((stream, file.clone()), place.offset);
                let Segment { start, end, attributes, .. } = segment;
                self.accepted.insert(place, Accepted { stream, file, start, end, attributes: attributes.into() });
                "accepted"
            }
        }
    }

    /// Compares a dead letter with its record, byte for byte.
    fn check_letter(&mut self, record: &Record, letter: &Record) {
        let own = |headers: &[Header]| -> Vec<Header> {
            headers.iter().filter(|(name, _)| !ADDED.contains(&&**name)).cloned().collect()
        };
        let differs = if let Some(length) = header(letter, CUT) {
            let is_cut = length.parse() == Ok(record.value.as_ref().map_or(0, Vec::len)) && letter.value.is_none();
            (!is_cut).then_some("value, which was left out,")
        } else if letter.value != record.value {
            Some("value")
        } else if letter.key != record.key {
            Some("key")
        } else if own(&letter.headers) != own(&record.headers) {
            Some("headers")
        } else {
            None
        };
        if let Some(part) = differs {
            let here = format!("{}/{}", self.told.dead_letters, letter.place());
            let what = format!("its {part} should be as in {}/{}", self.told.input, record.place());
            self.report.wrong(Kind::RefusedAltered, here, what);
        }
    }

    /// Says which dead letters no record of the input belongs to, once all have been taken.
    pub fn finish_letters(&mut self) {
        let mut left: Vec<(Place, Place)> = self.letters.drain().map(|(of, letter)| (of, letter.place())).collect();
        left.retain(|(origin, _)| !self.is_removed(*origin));
        left.sort_unstable();
        for (origin, letter) in left {
            let here = format!("{}/{letter}", self.told.dead_letters);
            self.report.wrong(Kind::RefusedNothing, here, format!("{}/{origin} is not there", self.told.input));
        }
    }
}
