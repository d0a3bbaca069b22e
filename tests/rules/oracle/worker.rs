//! One partition as the worker drives it, in bytes: notifications in, publications and changelog records out.
//!
//! The changelog is a map from key to value, as compaction leaves it; a restart knows nothing but that map.

use std::collections::BTreeMap;

use livesession::partition::{self, Partition};
use livesession_formats::changelog::Reducer;
use livesession_formats::notification::{Decoder, KeyParts, Reason, Rules as Decoding};
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Clock, Offset, Outcome};

use super::adapter::{open_record, policy, record, timestamp};
use super::model::{HintKind, Placement};
use super::reader::Reader;
use super::world::Input;
use super::{Record, Rules};

/// How a transaction publishes.
#[derive(Clone, Copy, Debug)]
pub enum Slices {
    /// `publish_due(most)` until nothing is left.
    All { most: usize },
    /// `publish_due(most)` so many times, but once at least: what froze has to be published with the segment that froze it.
    Some { most: usize, times: usize },
}

pub struct Worker {
    rules: Rules,
    max_clock_skew: i64,
    /// Whether the settings have changed since the first transaction.
    changed: bool,
    decoder: Decoder,
    pub partition: Partition,
    pub changelog: BTreeMap<String, Vec<u8>>,
    pub reader: Reader,
    /// What became of each segment, and what each transaction published.
    pub placements: Vec<Placement>,
    pub transactions: Vec<Vec<Record>>,
}

/// What can be seen of the state of a partition.
#[derive(Debug, PartialEq)]
struct Fingerprint {
    next_offset: Offset,
    clock: Option<Clock>,
    remembered: Vec<Offset>,
    open: Vec<Record>,
}

/// What became of a record, or why it was refused.
pub type Applied = Result<Outcome, Reason>;

/// What a transaction did: what became of each record, and what was published.
pub struct Done {
    pub outcomes: Vec<Applied>,
    pub published: Vec<Record>,
}

impl Worker {
    pub fn new(rules: &Rules, max_clock_skew: i64) -> Worker {
        Worker {
            rules: rules.clone(),
            max_clock_skew,
            changed: false,
            decoder: decoder(rules, max_clock_skew),
            partition: Partition::new(policy(rules), KeyParts::AppAppnameStreamId, 0),
            changelog: BTreeMap::new(),
            reader: Reader::default(),
            placements: Vec::new(),
            transactions: Vec::new(),
        }
    }

    fn play(&mut self, inputs: &[Input], slices: Slices) -> Done {
        self.partition.begin();
        let mut outcomes = Vec::new();
        for input in inputs {
            let (offset, written) = match input {
                Input::Segment { seg, written } => (seg.offset, written),
                Input::Hint { offset, written, .. } => (*offset, written),
                Input::Idle { now } => {
                    let useful = self.partition.would_punctuate(timestamp(*now));
                    assert_eq!(self.partition.punctuate(timestamp(*now)), useful, "it does what it says");
                    continue;
                }
            };
            let value = notification(input);
            let timestamp_of_record = written.timestamp.map(timestamp);
            let record = partition::Record { offset, timestamp: timestamp_of_record, value: Some(value.as_bytes()) };
            outcomes.push(self.partition.read(&mut self.decoder, record, timestamp(written.now)));
            assert_eq!(self.partition.next_offset(), offset + 1);
            self.partition.grouper().check_invariants();
        }
        let (most, times) = match slices {
            Slices::All { most } => (most, usize::MAX),
            Slices::Some { most, times } => (most, times),
        };
        let mut published = Vec::new();
        for _ in 0..times {
            let publications = self.partition.publish_due(most);
            if publications.is_empty() {
                assert!(!self.partition.has_due(), "settled and more is due");
                break;
            }
            published.extend(publications.iter().map(record));
            assert!(published.len() < 10_000, "publish_due never ends");
        }
        self.partition.grouper().check_invariants();
        Done { outcomes, published }
    }

    /// One committed transaction.
    pub fn transaction(&mut self, inputs: &[Input], slices: Slices) -> Done {
        let done = self.play(inputs, slices);
        for (key, value) in self.partition.prepare() {
            match value {
                Some(value) => self.changelog.insert(key, value),
                None => self.changelog.remove(&key),
            };
        }
        self.partition.committed();
        self.reader.read(&done.published);
        self.transactions.push(done.published.clone());
        let segments = inputs.iter().filter(|input| !matches!(input, Input::Idle { .. })).zip(&done.outcomes);
        let segments = segments.filter(|(input, _)| matches!(input, Input::Segment { .. }));
        self.placements.extend(segments.map(|(_, outcome)| placement(*outcome)));
        done
    }

    /// One transaction that is aborted, before or after its changelog records were made: nothing of it may be left.
    pub fn aborted(&mut self, inputs: &[Input], slices: Slices, prepared: bool) {
        let before = self.fingerprint();
        self.play(inputs, slices);
        if prepared {
            self.partition.prepare();
        }
        self.partition.rolled_back();
        self.partition.grouper().check_invariants();
        assert_eq!(self.fingerprint(), before, "a rollback takes back everything");
    }

    /// Goes on from the changelog with empty memory.
    pub fn restart(&mut self) {
        let before = self.fingerprint();
        // What the last transaction had no time to forget, or what other settings have put out of reach since, may go.
        let may_forget = self.changed || self.partition.has_due();
        let mut reducer = Reducer::default();
        for (key, value) in &self.changelog {
            reducer.apply(key.as_bytes(), Some(value)).unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        let restored = Partition::restore(policy(&self.rules), KeyParts::AppAppnameStreamId, reducer);
        let restored = restored.unwrap_or_else(|error| panic!("{error}: {:#?}", self.keys()));
        let fresh = || Partition::new(policy(&self.rules), KeyParts::AppAppnameStreamId, 0);
        self.partition = restored.unwrap_or_else(fresh);
        self.partition.grouper().check_invariants();
        let after = self.fingerprint();
        if may_forget {
            let (Fingerprint { remembered: less, .. }, Fingerprint { remembered: more, .. }) = (&after, &before);
            assert!(less.iter().all(|offset| more.contains(offset)), "a restore invents nothing");
            assert_eq!((&after.open, after.clock), (&before.open, before.clock), "a restore brings back what is open");
        } else {
            assert_eq!(after, before, "a restore brings back everything");
        }
    }

    /// The same, with other settings from now on.
    pub fn restart_with(&mut self, rules: &Rules) {
        self.changed = true;
        self.rules = rules.clone();
        self.decoder = decoder(rules, self.max_clock_skew);
        self.restart();
    }

    /// What can be seen of the state.
    fn fingerprint(&self) -> Fingerprint {
        let grouper = self.partition.grouper();
        Fingerprint {
            next_offset: self.partition.next_offset(),
            clock: grouper.clock(),
            remembered: grouper.remembered_offsets(),
            open: grouper.open_sessions().map(|open| open_record(&open)).collect(),
        }
    }

    pub fn keys(&self) -> Vec<&str> {
        self.changelog.keys().map(String::as_str).collect()
    }

    pub fn watermark(&self) -> Option<i64> {
        self.partition.watermark().map(Timestamp::as_ms)
    }
}

fn decoder(rules: &Rules, max_clock_skew: i64) -> Decoder {
    let span = |ms| Millis::from_ms(ms).expect("a span");
    Decoder::new(Decoding {
        key_parts: KeyParts::AppAppnameStreamId,
        max_segment: span(rules.max_segment),
        max_clock_skew: span(max_clock_skew),
    })
}

fn placement(applied: Applied) -> Placement {
    match applied {
        Ok(Outcome::Accepted) => Placement::Accepted,
        Ok(Outcome::Duplicate) => Placement::Duplicate,
        Err(Reason::Late) => Placement::Late,
        Err(Reason::Conflict) => Placement::Conflict,
        Err(_) => Placement::Rejected,
        Ok(other) => panic!("a segment became {other:?}"),
    }
}

/// The word of an outcome in a scenario, if it is not simply accepted.
pub fn refusal(applied: Applied) -> Option<String> {
    match applied {
        Ok(Outcome::Accepted | Outcome::Hint) => None,
        Ok(passed) => Some(passed.as_str().to_owned()),
        Err(reason @ (Reason::Late | Reason::Conflict)) => Some(reason.as_str().to_owned()),
        Err(reason) => Some(format!("rejected {}", reason.as_str())),
    }
}

/// The notification as the live service writes it: seconds, with the rest in a field of its own.
fn notification(input: &Input) -> String {
    let mut fields: Vec<String> = Vec::new();
    let mut number = |name: &str, value: i64| fields.push(format!("\"{name}\":{value}"));
    let mut texts: Vec<(&str, &str)> = Vec::new();
    match input {
        Input::Segment { seg, .. } => {
            number("event_type", 100);
            for (name, usec, at) in
                [("start_time", "start_time_usec", seg.start), ("end_time", "end_time_usec", seg.end)]
            {
                number(name, at.div_euclid(1_000));
                number(usec, at.rem_euclid(1_000) * 1_000);
            }
            texts.extend([("stream_id", seg.stream.trim_start_matches('/')), ("file_id", &seg.file)]);
            texts.extend(seg.format.map(|format| ("file_format", format)));
            texts.extend(seg.url.as_deref().map(|url| ("video_url", url)));
        }
        Input::Hint { stream, kind, push, at, .. } => {
            // Hints know seconds only; milliseconds are understood by their size.
            number("event_time", if at % 1_000 == 0 { at / 1_000 } else { *at });
            texts.push(("stream_id", stream.trim_start_matches('/')));
            texts.extend(push.as_deref().map(|push| ("sequence", push)));
            match kind {
                HintKind::PushStarted => number("event_type", 1),
                HintKind::PushEnded => number("event_type", 0),
                HintKind::RecordEnded => {
                    number("event_type", 332);
                    texts.push(("record_event", "record_ended"));
                }
            }
        }
        Input::Idle { .. } => unreachable!("the absence of notifications"),
    }
    fields.extend(texts.iter().map(|(name, text)| format!("\"{name}\":\"{text}\"")));
    format!("{{{}}}", fields.join(","))
}
