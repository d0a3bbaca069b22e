//! The state of an audit, and the order in which it is filled.
//!
//! ```text
//! changelog ──▶ policy, state ─┐
//! dead letters ──▶ refused ────┼─▶ input ──▶ accepted ──▶ output ──▶ published ──▶ finish: compare all with all
//! ```
//!
//! Records are taken one by one, so that only what was accepted stays in memory: of the output the newest revisions, as
//! offsets of their segments.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::notification::{Attributes, Rules};
use crate::record::Record;
use crate::report::{Place, Report};
use crate::state::{Policy, Session, State};

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Told {
    pub input: String,
    pub output: String,
    pub dead_letters: String,
    pub changelog: String,
    pub group: String,
    pub max_clock_skew: i64,
    /// What the gap has to be; `None`: whatever the changelog says.
    pub gap: Option<i64>,
    /// No partition has ever rested for `idle_after`: watermarks come from records alone.
    pub never_idle: bool,
    /// Other settings than the gap were changed since the first record: when something closed is not judged.
    pub settings_changed: bool,
}

/// What retention has removed. Nothing can be said of it, and nothing of what it may have touched.
#[derive(Clone, Debug, Default)]
pub struct Trimmed {
    /// Where the input begins, of partitions that do not begin at 0.
    pub input: BTreeMap<i32, i64>,
    /// Partitions of the output that do not begin at 0.
    pub output: BTreeSet<i32>,
}

/// A segment that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub stream: u32,
    pub file: Box<str>,
    pub start: i64,
    pub end: i64,
    pub attributes: Box<Attributes>,
}

/// What the input says of a partition.
#[derive(Debug, Default)]
pub struct Partition {
    /// Greatest end and hint time.
    pub reached: Option<i64>,
    /// Least end of what was accepted: at first the watermark was no further than `allowed_lateness` beyond it.
    pub least_end: Option<i64>,
    /// The last accepted segment of a file: stream, file, offset.
    pub known: HashMap<(u32, Box<str>), i64>,
    /// Streams with hints of pushes, and those with hints of any kind.
    pub pushed: HashSet<u32>,
    pub hinted: HashSet<u32>,
    /// The offset after the last record.
    pub next: i64,
}

pub struct Audit {
    pub told: Told,
    pub trimmed: Trimmed,
    pub report: Report,
    pub state: BTreeMap<i32, State>,
    pub letters: HashMap<Place, Record>,
    pub streams: Vec<String>,
    pub stream_numbers: HashMap<String, u32>,
    pub accepted: HashMap<Place, Accepted>,
    pub partitions: BTreeMap<i32, Partition>,
    pub sessions: BTreeMap<String, Session>,
    /// The session, by id, that a segment stands in.
    pub in_session: HashMap<Place, String>,
    /// Every segment that was ever in a session.
    pub published: HashSet<Place>,
    /// Input records by what became of them.
    pub outcomes: BTreeMap<&'static str, usize>,
    pub revisions: usize,
    /// The offset after the last record of the output, by partition.
    pub output_next: BTreeMap<i32, i64>,
}

impl Audit {
    pub fn new(told: Told, trimmed: Trimmed) -> Audit {
        Audit {
            told,
            trimmed,
            report: Report::default(),
            state: BTreeMap::new(),
            letters: HashMap::new(),
            streams: Vec::new(),
            stream_numbers: HashMap::new(),
            accepted: HashMap::new(),
            partitions: BTreeMap::new(),
            sessions: BTreeMap::new(),
            in_session: HashMap::new(),
            published: HashSet::new(),
            outcomes: BTreeMap::new(),
            revisions: 0,
            output_next: BTreeMap::new(),
        }
    }

    /// Returns the settings that the changelog names for a partition.
    pub fn policy(&self, partition: i32) -> Option<&Policy> {
        self.state.get(&partition)?.marker.as_ref().map(|marker| &marker.policy)
    }

    pub fn rules(&self, partition: i32) -> Option<Rules> {
        let policy = self.policy(partition)?;
        Some(Rules {
            only_stream_id: policy.only_stream_id,
            max_segment: policy.max_segment,
            max_clock_skew: self.told.max_clock_skew,
        })
    }

    pub fn watermark(&self, partition: i32) -> Option<i64> {
        self.state.get(&partition)?.marker.as_ref()?.watermark
    }

    /// Returns whether retention has removed a record of the input.
    pub fn is_removed(&self, place: Place) -> bool {
        self.trimmed.input.get(&place.partition).is_some_and(|begin| place.offset < *begin)
    }

    /// Returns up to when segments may have ended whose notifications are removed.
    pub fn horizon(&self, partition: i32) -> Option<i64> {
        let policy = self.policy(partition).filter(|_| self.trimmed.input.contains_key(&partition))?;
        Some(self.partitions.get(&partition)?.least_end? + policy.allowed_lateness)
    }

    pub fn stream_number(&mut self, stream: &str) -> u32 {
        if let Some(number) = self.stream_numbers.get(stream) {
            return *number;
        }
        let number = u32::try_from(self.streams.len()).expect("fewer streams than fit in memory");
        self.streams.push(stream.to_owned());
        self.stream_numbers.insert(stream.to_owned(), number);
        number
    }

    pub fn stream(&self, number: u32) -> &str {
        &self.streams[number as usize]
    }
}

/// What a committed read of the cluster gives beside records.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The group's offset, by partition.
    pub committed: BTreeMap<i32, i64>,
    /// The next offset of the input's log, by partition.
    pub input: BTreeMap<i32, i64>,
}
