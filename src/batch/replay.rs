//! Records to sessions: the worker's steps without Kafka, one state of the core for each partition.

use super::dead_letters::DeadLetters;
use super::finals::Finals;
use super::input::{self, Input, InputRecord};
use super::limits::Recut;
use super::tally::Tally;
use crate::deployment::Deployment;
use crate::exit::Failure;
use crate::partition;
use livesession_formats::notification::Decoder;
use livesession_formats::session::Source;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Grouper, Outcome, Policy, Publication, Settings};

/// How many sessions are taken from the core at once: enough to amortise, too few to count in memory.
const SLICE: usize = 1_000;

/// What the order of records means, and what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Set,
    ArrivalOrder,
    AllRevisions,
}

/// The input partition of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
}

impl Origin {
    pub fn as_source(&self) -> Source<'_> {
        Source { topic: &self.topic, partition: self.partition }
    }
}

/// Everything between the input and the output. `S` takes each session as it stands at the end, or each publication.
pub struct Replay<'d, S> {
    decoder: Decoder,
    mode: Mode,
    /// The policy that a state is made with; for a set without limits, which are applied at the end.
    state_policy: Policy,
    recut: Recut,
    deployment: &'d Deployment,
    partitions: Vec<Partition>,
    /// Of the record before: nearly always that of the next one.
    last: usize,
    sink: S,
    dead_letters: Option<DeadLetters>,
    tally: Tally,
}

struct Partition {
    origin: Origin,
    grouper: Grouper,
    finals: Finals,
}

impl<'d, S: FnMut(&Publication, &Origin) -> Result<(), Failure>> Replay<'d, S> {
    /// Makes a replay under the rules of a deployment, whose names records without a topic get.
    pub fn new(deployment: &'d Deployment, mode: Mode, dead_letters: Option<DeadLetters>, sink: S) -> Replay<'d, S> {
        let policy = deployment.policy();
        Replay {
            decoder: Decoder::new(deployment.rules()),
            mode,
            state_policy: if mode == Mode::Set { without_limits(policy) } else { policy.clone() },
            recut: Recut::new(policy.clone()),
            deployment,
            partitions: Vec::new(),
            last: 0,
            sink,
            dead_letters,
            tally: Tally::default(),
        }
    }

    /// Takes all records of the input; `progress` is called after each, with their number. Returns why the input ended early.
    ///
    /// # Errors
    ///
    /// That of the sink, or of the dead letters.
    pub fn read(
        &mut self,
        input: &mut Input,
        mut progress: impl FnMut(&Input, u64),
    ) -> Result<Option<input::Error>, Failure> {
        loop {
            match input.next_record() {
                Ok(Some(record)) => self.take(&record)?,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            }
            progress(input, self.tally.read());
        }
    }

    fn take(&mut self, record: &InputRecord<'_>) -> Result<(), Failure> {
        self.tally.count_read();
        let index = self.partition(record);
        let partition = &mut self.partitions[index];
        let input =
            partition::Record { offset: record.offset, timestamp: record.timestamp, value: record.value.as_deref() };
        // Only punctuation looks at the wall time, and there is none here.
        let now = record.timestamp.unwrap_or(Timestamp::MIN);
        let notification = self.decoder.decode(input.value, input.timestamp);
        let applied = partition::apply(&mut partition.grouper, input, notification, now);
        self.tally.count(applied, record);
        match applied {
            Ok(Outcome::Accepted | Outcome::Hint) if self.mode != Mode::Set => self.publish_due(index),
            Ok(_) => Ok(()),
            Err(reason) => match &mut self.dead_letters {
                Some(dead_letters) => dead_letters.write(self.deployment, &partition.origin.topic, record, reason),
                None => Ok(()),
            },
        }
    }

    /// Ends the input: prints what is left.
    ///
    /// # Errors
    ///
    /// Dead letters or sessions could not be written.
    pub fn finish(mut self, close_all: bool) -> Result<Tally, Failure> {
        let mut order: Vec<usize> = (0..self.partitions.len()).collect();
        order.sort_by(|a, b| self.partitions[*a].origin.cmp(&self.partitions[*b].origin));
        for index in order {
            match self.mode {
                Mode::Set => self.finish_set(index, close_all)?,
                Mode::ArrivalOrder | Mode::AllRevisions => self.finish_replay(index, close_all)?,
            }
        }
        if let Some(dead_letters) = &mut self.dead_letters {
            dead_letters.finish()?;
        }
        // The process is about to end: giving back millions of small pieces first takes a fifth of a long run.
        std::mem::forget(self.partitions);
        Ok(self.tally)
    }

    /// Publishes what is due under the partition's watermark, and prints what is final.
    fn publish_due(&mut self, index: usize) -> Result<(), Failure> {
        let Replay { mode, partitions, sink, tally, .. } = self;
        let Partition { origin, grouper, finals } = &mut partitions[index];
        for publication in grouper.publish_due(usize::MAX) {
            if *mode == Mode::AllRevisions {
                put(sink, tally, &publication, origin)?;
            } else if let Some(last) = finals.publish(publication, grouper.policy()) {
                put(sink, tally, &last, origin)?;
            }
        }
        if *mode == Mode::ArrivalOrder {
            while let Some(publication) = finals.next(grouper) {
                put(sink, tally, &publication, origin)?;
            }
        }
        Ok(())
    }

    fn finish_set(&mut self, index: usize, close_all: bool) -> Result<(), Failure> {
        let Replay { partitions, sink, tally, recut, .. } = self;
        let Partition { origin, grouper, .. } = &mut partitions[index];
        let mut print = |publication: Publication| -> Result<(), Failure> {
            for part in recut.parts(publication) {
                put(sink, tally, &part, origin)?;
            }
            Ok(())
        };
        loop {
            let slice = grouper.publish_due(SLICE);
            if slice.is_empty() {
                break;
            }
            slice.into_iter().try_for_each(&mut print)?;
        }
        if close_all {
            grouper.close_all().into_iter().try_for_each(&mut print)
        } else {
            grouper.open_sessions().try_for_each(&mut print)
        }
    }

    fn finish_replay(&mut self, index: usize, close_all: bool) -> Result<(), Failure> {
        let Replay { mode, partitions, sink, tally, .. } = self;
        let Partition { origin, grouper, finals } = &mut partitions[index];
        let mut left: Vec<Publication> = Vec::new();
        if close_all {
            for publication in grouper.close_all() {
                if *mode == Mode::AllRevisions {
                    left.push(publication);
                } else {
                    left.extend(finals.publish(publication, grouper.policy()));
                }
            }
        }
        left.extend(finals.rest(grouper));
        left.extend(grouper.open_sessions());
        if *mode == Mode::ArrivalOrder {
            left.sort_by(|a, b| (&a.stream, a.summary.start).cmp(&(&b.stream, b.summary.start)));
        }
        left.iter().try_for_each(|publication| put(sink, tally, publication, origin))
    }

    /// Returns the number of the record's partition.
    fn partition(&mut self, record: &InputRecord<'_>) -> usize {
        let topic = record.topic.as_deref().unwrap_or(&self.deployment.topics().input);
        let is_it =
            |partition: &Partition| partition.origin.partition == record.partition && partition.origin.topic == topic;
        if self.partitions.get(self.last).is_some_and(is_it) {
            return self.last;
        }
        self.last = self.partitions.iter().position(is_it).unwrap_or_else(|| {
            let origin = Origin { topic: topic.to_owned(), partition: record.partition };
            let policy = self.state_policy.clone();
            let grouper = if self.mode == Mode::Set { Grouper::for_set(policy) } else { Grouper::new(policy) };
            self.partitions.push(Partition { origin, grouper, finals: Finals::default() });
            self.partitions.len() - 1
        });
        self.last
    }
}

fn put<S: FnMut(&Publication, &Origin) -> Result<(), Failure>>(
    sink: &mut S,
    tally: &mut Tally,
    publication: &Publication,
    origin: &Origin,
) -> Result<(), Failure> {
    tally.count_session(publication.status);
    sink(publication, origin)
}

/// Returns the policy under which nothing is frozen.
fn without_limits(policy: &Policy) -> Policy {
    let settings = Settings {
        max_session_duration: Millis::MAX,
        max_session_segments: u32::MAX,
        max_session_bytes: u64::MAX,
        ..policy.settings().clone()
    };
    Policy::new(settings).expect("raising a limit breaks no rule")
}
