//! A deployment in one process: librdkafka's in-process broker, a worker, and readers of its topics.
//!
//! Notifications are played to the worker some thousand times faster than they happened. One thread takes turns: send what is
//! due, turn the worker, read its topics.
//!
//! The clock of the play is the wall clock here: it is an argument of the worker's loop, so the loop needs to know nothing of
//! it. Intervals (commits, idleness) stay real.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::settings::{Deployment, TopicFacts};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::worker::{self, Now, Worker};
use livesession_formats::dead_letter;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_kafka::in_process::InProcess;
use livesession_kafka::settings::Settings as KafkaSettings;
use livesession_kafka::tail::Tail;
use livesession_kafka::{Cause, Client, Header, Record};

/// How long the play goes on after its last session could close.
const AFTER: Millis = Millis::from_secs(20 * 60);

/// How long nothing has to happen, at the end, until there is nothing more to see.
const QUIET: Duration = Duration::from_secs(2);

/// How long connecting to a broker in this process may take.
const START: Duration = Duration::from_secs(30);

/// A notification and when it arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Timestamp,
    pub key: String,
    pub value: &'static str,
}

/// What happens during a play.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The notification of that number arrives.
    Notification(usize),
    /// A session record is published: its value.
    Session(&'a [u8]),
    /// A record is refused: its reason.
    DeadLetter(&'a str),
}

/// Plays notifications, in order of arrival, to a worker; `show` gets what happens and when, on the clock of the play.
///
/// # Errors
///
/// Exit 70 without a notification, 75 for anything that goes wrong between the clients of this process; that of `show`.
pub fn play(
    deployment: &Deployment,
    arrivals: &[Arrival],
    length: Duration,
    mut show: impl FnMut(Timestamp, Event<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (arrivals.first().map(|first| first.at), arrivals.last().map(|last| last.at))
    else {
        return Err(Failure::new(Exit::Software, "there is no notification to play"));
    };
    let settings = worker_settings(deployment);
    let topics = &settings.topics;
    let broker = InProcess::start(&[&topics.input, &topics.output, &topics.dead_letter, &topics.changelog])
        .map_err(|error| cannot("start the in-process broker", error))?;
    let mut kafka = KafkaSettings::new(&broker.bootstrap(), &settings.application_id, "demo");
    kafka.max_record_bytes = u32::try_from(deployment.config().output.max_record_bytes.0).unwrap_or(u32::MAX);
    let reader = |topic: &str| -> Result<Tail, Failure> {
        let tail = Tail::new(&kafka, topic).map_err(|error| cannot("read a topic", error))?;
        tail.start(&[(0, 0)]).map_err(|error| cannot("read a topic", error))?;
        Ok(tail)
    };
    let (sessions, dead_letters) = (reader(&topics.output)?, reader(&topics.dead_letter)?);
    let client = Client::connect(&kafka, &topics.input, &topics.changelog, START)
        .map_err(|error| cannot("connect to the in-process broker", error))?;
    let end = settings.policy.wait_bound(last, deployment.config().grouping.gap) + AFTER;
    let mut worker = Worker::new(&client, Arc::new(settings.clone()), Arc::new(deployment.metrics()));
    let origin = clock::instant();
    let now = |wall: Timestamp| Now { wall, elapsed: origin.elapsed() };
    let broken = |failure: worker::Failure| cannot("go on", failure);
    while !worker.is_member() || worker.restoring() > 0 {
        thread::park_timeout(worker.turn(now(first)).map_err(broken)?);
        if origin.elapsed() > START {
            return Err(Failure::new(Exit::TempFail, "the worker did not get its partition in time"));
        }
    }
    let play = Play { first, end, begun: clock::instant(), length };
    let mut due = arrivals.iter().enumerate().peekable();
    let mut quiet_since = clock::instant();
    while play.now() < end || quiet_since.elapsed() < QUIET {
        let wall = play.now();
        while let Some((number, arrival)) = due.next_if(|(_, next)| next.at <= wall) {
            show(arrival.at, Event::Notification(number))?;
            broker
                .produce(&topics.input, &arrival.key, arrival.value.as_bytes(), arrival.at.as_ms())
                .map_err(|error| cannot("send a notification", error))?;
        }
        thread::park_timeout(worker.turn(now(wall)).map_err(broken)?);
        while let Some(record) = poll(&sessions)? {
            show(wall, Event::Session(record.value().unwrap_or_default()))?;
            quiet_since = clock::instant();
        }
        while let Some(record) = poll(&dead_letters)? {
            show(wall, Event::DeadLetter(&reason(&record)))?;
            quiet_since = clock::instant();
        }
        if play.now() < end {
            quiet_since = clock::instant();
        }
    }
    worker.stop().map_err(broken)
}

/// Returns the settings of the worker: those of the deployment, with less patience for what is idle.
fn worker_settings(deployment: &Deployment) -> worker::Settings {
    let facts = TopicFacts {
        input_partitions: 1,
        output_partitions: 1,
        dead_letter_partitions: 1,
        max_dead_letter_bytes: usize::MAX,
    };
    // A real second is half an hour of the play.
    worker::Settings {
        idle_after: Duration::from_millis(500),
        commit_interval: Duration::from_millis(50),
        ..deployment.worker_settings(&facts)
    }
}

/// Returns why a dead letter was refused.
fn reason(record: &Record<'_>) -> String {
    let text = |header: &Header<'_>| header.1.map(|value| String::from_utf8_lossy(value).into_owned());
    let headers = record.headers();
    headers.iter().find(|(name, _)| *name == dead_letter::REASON.as_bytes()).and_then(text).unwrap_or_default()
}

/// Returns a record that is there, if one is.
fn poll(tail: &Tail) -> Result<Option<Record<'_>>, Failure> {
    tail.poll(Duration::from_millis(1)).map_err(|error| cannot("read a topic", error))
}

fn cannot(what: &str, error: impl Into<Cause>) -> Failure {
    Failure::caused_by(Exit::TempFail, format!("could not {what}"), error)
}

/// The clock of a play: from its first notification to its end in the time that it is given.
struct Play {
    first: Timestamp,
    end: Timestamp,
    begun: Instant,
    length: Duration,
}

impl Play {
    fn now(&self) -> Timestamp {
        self.at(self.begun.elapsed())
    }

    fn at(&self, real: Duration) -> Timestamp {
        let whole = i128::from(self.end.since(self.first).as_ms());
        let passed = whole * real.as_micros() as i128 / self.length.as_micros().max(1) as i128;
        let passed = i64::try_from(passed.min(whole)).ok().and_then(Millis::from_ms).unwrap_or_default();
        self.first + passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_play_stops_at_its_end() {
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        let play = Play { first: at(1_000), end: at(5_000), begun: clock::instant(), length: Duration::from_secs(4) };
        for (real, expected) in [(0, 1_000), (1_000, 2_000), (3_999, 4_999), (4_000, 5_000), (4_001, 5_000)] {
            assert_eq!(play.at(Duration::from_millis(real)), at(expected), "after {real} ms");
        }
    }
}
