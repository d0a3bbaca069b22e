//! `livesession config check --online`: what only a broker can tell about a configuration.
//!
//! Login, topics, and a sample of the input: its newest records, evenly over the partitions, decoded as the worker would.
//! Joins no group, commits nothing, prints no value of a record. Everything is asked before anything is told, so that one
//! run shows all that is wrong.
//!
//! | found | is |
//! | --- | --- |
//! | a topic that is missing or not what it has to be | a problem |
//! | a stream on two partitions | a problem: two workers would each see a part of its sessions |
//! | more than half of the sample refused | a problem: another topic, or another kind of record, was meant |
//! | a state that forbids the settings ([`super::state`]) | a problem |
//! | fewer refused; partitions and workers; what the state will cost ([`super::capacity`]) | told |
//!
//! Whether a segment is late, a duplicate or a conflict depends on the state of its partition and is not known here.

use std::collections::BTreeMap;

use super::capacity::{Rate, estimate};
use super::check::{self, Problem};
use super::clients::{self, ANSWER_TIMEOUT, read_failure};
use super::settings::Deployment;
use super::state;
use super::topics::Role;
use crate::exit::Failure;
use crate::text::count;
use livesession_formats::notification::{Decoder, Notification, Reason};
use livesession_grouping::time::Timestamp;
use livesession_kafka::ReadError;
use livesession_kafka::scan::Scan;

/// How many of the input's newest records are looked at, over all partitions.
const SAMPLE: i64 = 1_000;
/// The fewest of a partition, however many partitions there are.
const FEWEST_OF_A_PARTITION: i64 = 10;

/// Checks a configuration against its brokers; `tell` gets what was found, line by line.
///
/// # Errors
///
/// Exit 69 if nobody answers, 78 with every problem at once if there is any; that of `tell`.
pub fn check_online(deployment: &Deployment, mut tell: impl FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    let config = deployment.config();
    let found = check::look(config, &clients::connect(deployment)?).map_err(read_failure)?;
    let mut problems = check::problems(config, &found);
    for entry in &found {
        if let Some(topic) = &entry.topic {
            let (partitions, replicas) = (count(topic.partitions, "partition"), count(topic.replicas, "replica"));
            tell(&format!("{} {}: {partitions}, {replicas}", entry.role.setting(), entry.name))?;
        }
    }
    if problems.is_empty() {
        problems.extend(state::problems(deployment)?);
    }
    if let Some(input) = check::topic(&found, Role::Input) {
        tell(&capacity(input.partitions, config.workers))?;
        match sample(deployment, input.partitions) {
            Ok(sample) => {
                tell(&sample.summary())?;
                tell(&estimate(deployment.policy(), &sample.rates).to_string())?;
                problems.extend(sample.problems(&config.topics.input));
            }
            Err(error) if problems.is_empty() => return Err(error),
            // What is wrong with the topics is wanted too, and comes first.
            Err(error) => problems.push(Problem {
                topic: format!("topic {} (topics.input)", config.topics.input),
                text: format!("could not be sampled: {error}"),
                repair: "repair the others, and run this again".to_owned(),
            }),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(check::topics_failure(&problems)) }
}

/// Says how far more workers would help.
fn capacity(partitions: u32, workers: u32) -> String {
    let here = count(workers, "worker");
    if workers > partitions {
        return format!("capacity: {here} here, and {} of them idle: a partition has one worker", workers - partitions);
    }
    format!("capacity: {here} here; more than {partitions} in all processes would stand idle")
}

/// Where a record is: partition and offset.
type Place = (i32, i64);

/// What a sample of the input consists of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sample {
    segments: u64,
    hints: u64,
    other: u64,
    refused: BTreeMap<Reason, u64>,
    /// Where each stream was seen first.
    streams: BTreeMap<String, Place>,
    /// Streams that were seen on another partition too, with one place on each.
    split: BTreeMap<String, (Place, Place)>,
    /// How often segments come, by partition.
    rates: Vec<Rate>,
}

/// Reads the newest records of the input.
fn sample(deployment: &Deployment, partitions: u32) -> Result<Sample, Failure> {
    let scan = Scan::new(&clients::settings(deployment, 0)?, ANSWER_TIMEOUT).map_err(read_failure)?;
    let input = deployment.topics().input.as_str();
    let share = (SAMPLE / i64::from(partitions.max(1))).max(FEWEST_OF_A_PARTITION);
    let mut decoder = Decoder::new(deployment.rules());
    let mut sample = Sample::default();
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        sample.read(&scan, &mut decoder, (input, partition), share).map_err(read_failure)?;
    }
    Ok(sample)
}

impl Sample {
    /// Adds the newest records of a partition; `share` counts offsets, of which markers take some.
    fn read(
        &mut self,
        scan: &Scan,
        decoder: &mut Decoder,
        (topic, partition): (&str, i32),
        share: i64,
    ) -> Result<(), ReadError> {
        let ends = scan.ends(topic, partition)?;
        scan.begin(topic, partition, ends.start.max(ends.end - share), ends.end)?;
        let mut rate = Rate::default();
        while let Some(record) = scan.next()? {
            let timestamp = record.timestamp().and_then(Timestamp::from_ms);
            let notification = decoder.decode(record.value(), timestamp);
            if let Notification::Segment { segment, .. } = &notification {
                rate.count(segment.end);
            }
            self.count((partition, record.offset()), &notification);
        }
        self.rates.push(rate);
        Ok(())
    }

    fn count(&mut self, place: Place, notification: &Notification<'_>) {
        let stream = match notification {
            Notification::Segment { stream, .. } => {
                self.segments += 1;
                *stream
            }
            Notification::Hint { stream, .. } => {
                self.hints += 1;
                *stream
            }
            Notification::Other => {
                self.other += 1;
                return;
            }
            Notification::Refused(reason) => {
                *self.refused.entry(*reason).or_default() += 1;
                return;
            }
        };
        match self.streams.get(stream) {
            None => {
                self.streams.insert(stream.to_owned(), place);
            }
            Some(first) if first.0 != place.0 => {
                self.split.entry(stream.to_owned()).or_insert((*first, place));
            }
            Some(_) => {}
        }
    }

    fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    fn total(&self) -> u64 {
        self.segments + self.hints + self.other + self.refusals()
    }

    fn summary(&self) -> String {
        if self.total() == 0 {
            return "sample: the input is empty".to_owned();
        }
        format!(
            "sample: {} newest records of {}: {}, {}, {}, {} refused{}",
            self.total(),
            count(self.streams.len() as u64, "stream"),
            count(self.segments, "segment"),
            count(self.hints, "hint"),
            count(self.other, "other event"),
            self.refusals(),
            self.reasons()
        )
    }

    /// Returns the refusals by reason with their share, the most frequent first.
    fn reasons(&self) -> String {
        let mut reasons: Vec<(Reason, u64)> = self.refused.iter().map(|(reason, count)| (*reason, *count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let text = |(reason, count): (Reason, u64)| {
            // In tenths, so that one in a thousand is not nothing.
            let tenths = count * 1_000 / self.total().max(1);
            format!("{} {count}, {}.{} %", reason.as_str(), tenths / 10, tenths % 10)
        };
        let texts: Vec<String> = reasons.into_iter().map(text).collect();
        if texts.is_empty() { String::new() } else { format!(" ({})", texts.join("; ")) }
    }

    fn problems(&self, topic: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |text: String, repair: &str| {
            let topic = format!("topic {topic} (topics.input)");
            problems.push(Problem { topic, text, repair: repair.to_owned() });
        };
        if let Some(((one, at), (other, also_at))) = self.split.values().next() {
            add(
                format!(
                    "has {} of {} streams on more than one partition, for instance at {one}/{at} and {other}/{also_at}",
                    self.split.len(),
                    self.streams.len()
                ),
                "let producers key their records by stream; after partitions were added, begin with a new input topic",
            );
        }
        if self.refusals() * 2 > self.total() {
            add(
                format!("holds records of which more than half would be refused{}", self.reasons()),
                "compare topics.input, input.stream_key and [grouping] with what is written there",
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livesession_grouping::{Anomalies, HintKind};

    fn hint(stream: &str) -> Notification<'_> {
        let at = Timestamp::MIN;
        Notification::Hint { stream, kind: HintKind::PushStarted, push_id: None, at, anomalies: Anomalies::NONE }
    }

    #[test]
    fn stream_on_two_partitions_is_a_problem() {
        let mut sample = Sample::default();
        for (place, stream) in [((0, 1), "a"), ((0, 2), "a"), ((1, 7), "b"), ((1, 8), "b")] {
            sample.count(place, &hint(stream));
        }
        assert_eq!(sample.problems("in"), []);
        sample.count((1, 9), &hint("a"));
        sample.count((2, 5), &hint("a"));
        let texts: Vec<_> = sample.problems("in").into_iter().map(|problem| problem.text).collect();
        assert_eq!(texts, ["has 1 of 2 streams on more than one partition, for instance at 0/1 and 1/9"]);
    }

    #[test]
    fn more_than_half_refused_is_a_problem() {
        for (refused, expected) in [(9, 0), (10, 0), (11, 1)] {
            let mut sample = Sample::default();
            (0..10).for_each(|_| sample.count((0, 0), &Notification::Other));
            (0..refused).for_each(|_| sample.count((0, 0), &Notification::Refused(Reason::NoEnd)));
            assert_eq!(sample.problems("in").len(), expected, "{refused} of {}", sample.total());
        }
    }

    #[test]
    fn summary_counts_everything_and_names_the_reasons() {
        let mut sample = Sample::default();
        assert_eq!(sample.summary(), "sample: the input is empty");
        assert_eq!(sample.problems("in"), []);
        (0..996).for_each(|_| sample.count((0, 0), &hint("a")));
        sample.count((0, 1), &Notification::Other);
        sample.count((0, 2), &Notification::Refused(Reason::NotJson));
        (0..2).for_each(|_| sample.count((0, 3), &Notification::Refused(Reason::NoEnd)));
        let expected = "sample: 1000 newest records of 1 stream: 0 segments, 996 hints, 1 other event, 3 refused \
                        (no_end 2, 0.2 %; not_json 1, 0.1 %)";
        assert_eq!(sample.summary(), expected);
    }

    #[test]
    fn workers_beyond_the_partitions_are_told() {
        assert_eq!(capacity(4, 1), "capacity: 1 worker here; more than 4 in all processes would stand idle");
        assert_eq!(capacity(4, 4), "capacity: 4 workers here; more than 4 in all processes would stand idle");
        assert_eq!(capacity(4, 5), "capacity: 5 workers here, and 1 of them idle: a partition has one worker");
    }
}
