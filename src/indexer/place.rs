//! The starting offsets of an indexer: those in the file, compared with what the topic has.
//!
//! Compares values and asks nobody.

use std::collections::btree_map::BTreeMap;

use livesession_kafka::LogEnds;

/// Where one partition is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    /// The next offset as the file has it, `None` if it has none: what a compare-and-set starts from.
    pub stored: Option<i64>,
    /// The next offset to read.
    pub next: i64,
}

/// Why index and topic do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("topic {topic:?} does not exist: make it with `livesession topics create`, or correct topics.output")]
    Missing { topic: String },

    #[error(
        "topic {topic:?} was deleted and made again: it has the id {found}, and the index is of {stored}. \
         `livesession index rebuild` fills the index from the topic as it is now; sessions that only the index has are lost then"
    )]
    Recreated { topic: String, stored: String, found: String },

    #[error(
        "retention cut {lost} records of partition {partition} of topic {topic:?} that are not in the index: it was to go on at \
         offset {next}, and the log begins at {start}. `livesession index rebuild --yes` fills the index with what the topic \
         still has"
    )]
    Cut { topic: String, partition: i32, next: i64, start: i64, lost: i64 },

    #[error(
        "partition {partition} of topic {topic:?} has lost its end: the index is at offset {next}, and the log ends at {end}. \
         `livesession index rebuild` fills the index from the topic as it is now"
    )]
    Shortened { topic: String, partition: i32, next: i64, end: i64 },
}

/// Returns where each partition of the topic is read on. `ends` has every partition of the topic.
///
/// At equality with either end all is well: nothing was lost.
///
/// # Errors
///
/// [`Misfit`]: stop, and write nothing.
pub fn places(
    topic: &str,
    id: &str,
    stored: &[(String, i32, i64)],
    ends: &BTreeMap<i32, LogEnds>,
) -> Result<Vec<Place>, Misfit> {
    let own: BTreeMap<i32, i64> =
        stored.iter().filter(|(of, ..)| of == id).map(|(_, partition, next)| (*partition, *next)).collect();
    if let (true, Some((other, ..))) = (own.is_empty(), stored.first()) {
        let topic = topic.to_owned();
        return Err(Misfit::Recreated { topic, stored: other.clone(), found: id.to_owned() });
    }
    let mut places = Vec::with_capacity(ends.len());
    for (partition, ends) in ends {
        let stored = own.get(partition).copied();
        let next = stored.unwrap_or(ends.start);
        fits(topic, *partition, next, *ends)?;
        places.push(Place { partition: *partition, stored, next });
    }
    Ok(places)
}

/// Checks that a log still has everything from `next` on.
pub(super) fn fits(topic: &str, partition: i32, next: i64, ends: LogEnds) -> Result<(), Misfit> {
    let LogEnds { start, end } = ends;
    let topic = || topic.to_owned();
    if next < start {
        return Err(Misfit::Cut { topic: topic(), partition, next, start, lost: start - next });
    }
    if next > end {
        return Err(Misfit::Shortened { topic: topic(), partition, next, end });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: LogEnds = LogEnds { start: 100, end: 200 };

    fn stored(id: &str, partition: i32, next: i64) -> (String, i32, i64) {
        (id.to_owned(), partition, next)
    }

    fn ask(stored: &[(String, i32, i64)]) -> Result<Vec<Place>, Misfit> {
        places("t", "id", stored, &[(0, ENDS), (1, ENDS)].into())
    }

    fn at(partition: i32, stored: Option<i64>, next: i64) -> Place {
        Place { partition, stored, next }
    }

    #[test]
    fn an_empty_index_begins_with_what_the_log_has() {
        assert_eq!(ask(&[]), Ok(vec![at(0, None, 100), at(1, None, 100)]));
    }

    #[test]
    fn a_partition_that_is_new_begins_with_what_the_log_has() {
        assert_eq!(ask(&[stored("id", 0, 150)]), Ok(vec![at(0, Some(150), 150), at(1, None, 100)]));
    }

    #[test]
    fn the_next_offset_lies_between_both_ends_inclusive() {
        for (next, expected) in [(99, false), (100, true), (101, true), (199, true), (200, true), (201, false)] {
            assert_eq!(ask(&[stored("id", 0, next)]).is_ok(), expected, "next {next}");
        }
        let cut = ask(&[stored("id", 1, 97)]).unwrap_err();
        assert_eq!(cut, Misfit::Cut { topic: "t".to_owned(), partition: 1, next: 97, start: 100, lost: 3 });
        assert!(cut.to_string().contains("livesession index rebuild"));
        let shortened = ask(&[stored("id", 1, 201)]).unwrap_err();
        assert_eq!(shortened, Misfit::Shortened { topic: "t".to_owned(), partition: 1, next: 201, end: 200 });
    }

    #[test]
    fn another_topic_id_is_another_topic() {
        let found = ask(&[stored("before", 0, 150)]).unwrap_err();
        assert!(matches!(&found, Misfit::Recreated { stored, found, .. } if stored == "before" && found == "id"));
        let both = [stored("before", 0, 7), stored("id", 0, 150)];
        assert_eq!(ask(&both), Ok(vec![at(0, Some(150), 150), at(1, None, 100)]));
    }
}
