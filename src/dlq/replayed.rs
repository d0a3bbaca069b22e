//! The ranges of a partition of dead letters that have been replayed.
//!
//! A group's offset alone cannot say it: a replay of one reason passes over the others, and a later replay has to find
//! them. So the truth is a note that Kafka keeps beside the offset, in the transaction of the records themselves:
//!
//! ```text
//! offsets     0    1     2    3     4      a replay of `no_end` that read to offset 4 leaves    1 no_end=0-4
//! letters  no_end late no_end late no_end  one of `late` after it, up to 5                      1 late=0-5 no_end=0-4
//! ```
//!
//! For every reason: the stretches in which every dead letter of that reason is settled, sent back or never to be sent. A
//! replay reads without a gap and takes all letters of its reasons, so it settles one stretch, however many letters other
//! reasons have in between. Stretches that touch become one, and what retention has deleted is dropped. So a note is short
//! for ever, unless somebody replays many stretches of time that do not touch; that is refused before it is too long.
//!
//! Why not an offset per reason: `--since` begins in the middle, and what is before it must not be lost. Why not send what
//! was passed over to the end of the topic again: it would be newer than it is, and be listed twice.

use std::collections::BTreeMap;

use livesession_formats::notification::Reason;

/// The longest note. Source: the default of a broker's `offset.metadata.max.bytes`.
pub const MAX_NOTE_BYTES: usize = 4_096;
/// The first word of a note.
const VERSION: &str = "1";

/// The settled stretches of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By reason: stretches from an offset to before another, in order, not touching.
    settled: BTreeMap<Reason, Vec<(i64, i64)>>,
}

impl Ledger {
    /// Reads a note; an empty one says that nothing is settled.
    ///
    /// # Errors
    ///
    /// A text for people: somebody else wrote it, or a newer version did. Nothing may be guessed then.
    pub fn parse(note: &str) -> Result<Ledger, String> {
        let mut ledger = Ledger::default();
        let mut words = note.split_ascii_whitespace();
        match words.next() {
            None => return Ok(ledger),
            Some(VERSION) => {}
            Some(version) => return Err(format!("it begins with {version:?} and not with {VERSION}")),
        }
        for word in words {
            let unreadable = || format!("{word:?} is not reason=from-to");
            let (name, stretches) = word.split_once('=').ok_or_else(unreadable)?;
            let reason = Reason::parse(name).ok_or_else(unreadable)?;
            for stretch in stretches.split(',') {
                let (from, to) = stretch.split_once('-').ok_or_else(unreadable)?;
                let number = |text: &str| text.parse::<i64>().map_err(|_| unreadable());
                ledger.settle(reason, number(from)?, number(to)?);
            }
        }
        Ok(ledger)
    }

    /// Returns the note, which [`Ledger::parse`] reads.
    pub fn note(&self) -> String {
        let mut note = VERSION.to_owned();
        for (reason, stretches) in &self.settled {
            let texts: Vec<String> = stretches.iter().map(|(from, to)| format!("{from}-{to}")).collect();
            note.push_str(&format!(" {}={}", reason.as_str(), texts.join(",")));
        }
        note
    }

    /// Returns whether a dead letter of that reason is settled.
    pub fn is_settled(&self, reason: Reason, offset: i64) -> bool {
        let stretches = self.settled.get(&reason).map_or(&[][..], Vec::as_slice);
        stretches.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// Settles all dead letters of a reason from one offset to before another.
    pub fn settle(&mut self, reason: Reason, from: i64, to: i64) {
        if from >= to {
            return;
        }
        let stretches = self.settled.entry(reason).or_default();
        let (mut start, mut end) = (from, to);
        stretches.retain(|(other_start, other_end)| {
            let is_apart = *other_end < from || *other_start > to;
            if !is_apart {
                start = start.min(*other_start);
                end = end.max(*other_end);
            }
            is_apart
        });
        stretches.push((start, end));
        stretches.sort_unstable();
    }

    /// Drops what lies below the first offset that retention has left.
    pub fn forget_below(&mut self, first: i64) {
        for stretches in self.settled.values_mut() {
            stretches.retain(|(_, to)| *to > first);
        }
        self.settled.retain(|_, stretches| !stretches.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(stretches: &[(Reason, i64, i64)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (reason, from, to) in stretches {
            ledger.settle(*reason, *from, *to);
        }
        ledger
    }

    #[test]
    fn stretches_that_touch_become_one() {
        for (from, to, expected) in [
            (0, 9, "1 late=0-9,10-20"),
            (0, 10, "1 late=0-20"),
            (0, 11, "1 late=0-20"),
            (12, 15, "1 late=10-20"),
            (19, 30, "1 late=10-30"),
            (20, 30, "1 late=10-30"),
            (21, 30, "1 late=10-20,21-30"),
            (0, 40, "1 late=0-40"),
            (15, 15, "1 late=10-20"),
        ] {
            assert_eq!(ledger(&[(Reason::Late, 10, 20), (Reason::Late, from, to)]).note(), expected, "{from}-{to}");
        }
        let bridged = ledger(&[(Reason::Late, 0, 5), (Reason::Late, 10, 15), (Reason::Late, 5, 10)]);
        assert_eq!(bridged.note(), "1 late=0-15");
    }

    #[test]
    fn a_stretch_settles_its_own_reason_from_its_start_to_before_its_end() {
        let ledger = ledger(&[(Reason::NoEnd, 10, 20)]);
        for (offset, expected) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(ledger.is_settled(Reason::NoEnd, offset), expected, "{offset}");
            assert!(!ledger.is_settled(Reason::Late, offset));
        }
    }

    #[test]
    fn note_is_read_as_it_is_written() {
        let all: Vec<_> = Reason::ALL.iter().flat_map(|reason| [(*reason, 0, 7), (*reason, 9, i64::MAX)]).collect();
        for stretches in [&[][..], &all[..1], &all] {
            let ledger = ledger(stretches);
            assert_eq!(Ledger::parse(&ledger.note()), Ok(ledger));
        }
        assert_eq!(Ledger::parse(""), Ok(Ledger::default()));
        assert!(ledger(&all).note().len() < MAX_NOTE_BYTES / 2, "two stretches of every reason fit easily");
    }

    #[test]
    fn note_of_somebody_else_is_refused() {
        for note in ["2 late=0-1", "hello", "1 late", "1 tardy=0-1", "1 late=0", "1 late=a-b", "1 late=0-1,"] {
            assert!(Ledger::parse(note).is_err(), "{note:?}");
        }
    }

    #[test]
    fn what_retention_has_deleted_is_dropped() {
        let before = ledger(&[(Reason::Late, 0, 5), (Reason::Late, 8, 12), (Reason::NoEnd, 0, 4)]);
        for (first, expected) in [
            (3, "1 no_end=0-4 late=0-5,8-12"),
            (4, "1 late=0-5,8-12"),
            (5, "1 late=8-12"),
            (11, "1 late=8-12"),
            (12, "1"),
        ] {
            let mut after = before.clone();
            after.forget_below(first);
            assert_eq!(after.note(), expected, "{first}");
        }
    }
}
