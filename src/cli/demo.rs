//! `livesession demo`: the worker at work, without a Kafka.
//!
//! A sample evening is played to the real worker through librdkafka's in-process broker, some thousand times faster than it
//! was. What goes in and what comes out is printed as it happens. One thread takes turns: send what is due, turn the
//! worker, read its topics.
//!
//! The evening's clock is the wall clock here: it is an argument of the worker's loop, so the loop needs to know nothing of
//! it. Intervals (commits, idleness) stay real.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::io::flags::GroupingSettings;
use super::io::output::Output;
use super::run;
use crate::clock;
use crate::config::Config;
use crate::deployment::startup::TopicFacts;
use crate::exit::{Exit, Failure};
use crate::text::count;
use crate::worker::{self, Now, Worker};
use livesession_formats::dead_letter;
use livesession_formats::notification::{Decoder, HintKind, Notification, Rules};
use livesession_formats::session::record::{self, SessionRecord, Status};
use livesession_grouping::time::{Millis, Timestamp};
use livesession_kafka::client::Client;
use livesession_kafka::in_process::InProcess;
use livesession_kafka::settings::Settings as KafkaSettings;
use livesession_kafka::tail::Tail;
use livesession_kafka::{Cause, Header, Record};

const EVENING: &str = include_str!("../../schemas/examples/evening.ndjson");

/// Files are announced some seconds after their end.
const DELAY: Millis = Millis::from_secs(5);

/// How long the evening goes on after its last session could close.
const AFTER: Millis = Millis::from_secs(20 * 60);

/// How long nothing has to happen, at the end, until there is nothing more to see.
const QUIET: Duration = Duration::from_secs(2);

/// How long connecting to a broker in this process may take.
const START: Duration = Duration::from_secs(30);

const NOTICE: &str = "\
This broker lives in the process, keeps nothing, and proves nothing about exactly-once: it is here to show the work.
The rest is what runs in production: notifications go in (>), sessions come out (=), refused records become dead letters (!).
";

/// Plays a sample evening to a worker and shows the sessions that come out; needs no Kafka.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How long the evening takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(2..=600))]
    seconds: u32,

    /// Print the session records as they are on the topic, and nothing else
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: GroupingSettings,
}

/// A notification of the evening and when it arrives.
struct Arrival {
    at: Timestamp,
    key: String,
    line: &'static str,
    /// What it says, for people.
    words: String,
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let config = args.settings.load()?.config;
    let settings = worker_settings(&config)?;
    let topics = &settings.topics;
    let broker = InProcess::start(&[&topics.input, &topics.output, &topics.dead_letter, &topics.changelog])
        .map_err(|error| cannot("start the in-process broker", error))?;
    let mut kafka = KafkaSettings::new(&broker.bootstrap(), &settings.application_id, "demo");
    kafka.max_record_bytes = u32::try_from(config.output.max_record_bytes.0).unwrap_or(u32::MAX);
    let reader = |topic: &str| -> Result<Tail, Failure> {
        let tail = Tail::new(&kafka, topic).map_err(|error| cannot("read a topic", error))?;
        tail.start(&[(0, 0)]).map_err(|error| cannot("read a topic", error))?;
        Ok(tail)
    };
    let mut show = Show { out, json: args.json, sessions: 0, refused: 0 };
    show.notice()?;
    let (sessions, dead_letters) = (reader(&topics.output)?, reader(&topics.dead_letter)?);
    let client = Client::connect(&kafka, &topics.input, &topics.changelog, START)
        .map_err(|error| cannot("connect to the in-process broker", error))?;
    let metrics = Arc::new(run::metrics(&config));
    let mut evening = evening(settings.rules);
    let (Some(first), Some(last)) = (evening.front().map(|first| first.at), evening.back().map(|last| last.at)) else {
        return Err(Failure::new(Exit::Software, "the sample evening is empty"));
    };
    let end = settings.policy.wait_bound(last, config.grouping.gap) + AFTER;
    let mut worker = Worker::new(&client, Arc::new(settings.clone()), metrics);
    let origin = clock::instant();
    let now = |wall: Timestamp| Now { wall, elapsed: origin.elapsed() };
    let broken = |failure: worker::Failure| cannot("go on", failure);
    while !worker.is_member() || worker.restoring() > 0 {
        thread::park_timeout(worker.turn(now(first)).map_err(broken)?);
        if origin.elapsed() > START {
            return Err(Failure::new(Exit::TempFail, "the worker did not get its partition in time"));
        }
    }
    let play = Play { first, end, begun: clock::instant(), length: Duration::from_secs(args.seconds.into()) };
    let read = evening.len();
    let mut quiet_since = clock::instant();
    while play.now() < end || quiet_since.elapsed() < QUIET {
        let wall = play.now();
        while let Some(due) = evening.pop_front_if(|next| next.at <= wall) {
            show.notification(&due)?;
            broker
                .produce(&topics.input, &due.key, due.line.as_bytes(), due.at.as_ms())
                .map_err(|error| cannot("send a notification", error))?;
        }
        thread::park_timeout(worker.turn(now(wall)).map_err(broken)?);
        while let Some(record) = poll(&sessions)? {
            show.session(&record, wall)?;
            quiet_since = clock::instant();
        }
        while let Some(record) = poll(&dead_letters)? {
            show.dead_letter(&record, wall)?;
            quiet_since = clock::instant();
        }
        if play.now() < end {
            quiet_since = clock::instant();
        }
    }
    worker.stop().map_err(broken)?;
    show.summary(read)?;
    Ok(Exit::Ok)
}

/// The evening's clock: from its first notification to its end in the time that it is given.
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

/// Returns the settings of the worker: the defaults, the rules as asked for, and less patience with what is idle.
fn worker_settings(config: &Config) -> Result<worker::Settings, Failure> {
    let facts = TopicFacts {
        input_partitions: 1,
        output_partitions: 1,
        dead_letter_partitions: 1,
        max_dead_letter_bytes: usize::MAX,
    };
    let settings = run::worker_settings(config, &facts)?;
    // A real second is half an hour of the evening.
    Ok(worker::Settings {
        idle_after: Duration::from_millis(500),
        commit_interval: Duration::from_millis(50),
        ..settings
    })
}

/// Returns the sample evening in order of arrival.
fn evening(rules: Rules) -> VecDeque<Arrival> {
    let mut decoder = Decoder::new(rules);
    let mut arrivals: VecDeque<Arrival> = VecDeque::new();
    for line in EVENING.lines() {
        // What has no time of its own arrives with the one before it.
        let before = arrivals.back().map_or(Timestamp::MIN, |before| before.at);
        let (at, key, words) = match decoder.decode(Some(line.as_bytes()), None) {
            Notification::Segment { stream, segment } => {
                let (start, end) = (time_of_day(segment.start), time_of_day(segment.end));
                let format = segment.format.unwrap_or("?");
                (segment.end + DELAY, stream.to_owned(), format!("{stream}  {format} file {start}–{end}"))
            }
            Notification::Hint { stream, kind, at, .. } => {
                let words = match kind {
                    HintKind::PushStarted => "push started",
                    HintKind::PushEnded => "push ended",
                    HintKind::RecordEnded => "recording task ended",
                };
                (at, stream.to_owned(), format!("{stream}  {words}"))
            }
            Notification::Other => (before, String::new(), "another event".to_owned()),
            Notification::Refused(_) => (before, String::new(), "a notification that cannot be used".to_owned()),
        };
        arrivals.push_back(Arrival { at: at.max(before), key, line, words });
    }
    // Those before the first time, if any, arrive with it.
    let first = arrivals.iter().map(|arrival| arrival.at).find(|at| *at > Timestamp::MIN);
    for arrival in &mut arrivals {
        arrival.at = arrival.at.max(first.unwrap_or(Timestamp::MIN));
    }
    arrivals
}

/// Returns a record that is there, if one is.
fn poll(tail: &Tail) -> Result<Option<Record<'_>>, Failure> {
    tail.poll(Duration::from_millis(1)).map_err(|error| cannot("read a topic", error))
}

fn cannot(what: &str, error: impl Into<Cause>) -> Failure {
    Failure::caused_by(Exit::TempFail, format!("could not {what}"), error)
}

/// Prints what happens.
struct Show<'a> {
    out: &'a mut Output,
    json: bool,
    sessions: u32,
    refused: u32,
}

impl Show<'_> {
    fn notice(&mut self) -> Result<(), Failure> {
        self.line(NOTICE)
    }

    fn notification(&mut self, arrival: &Arrival) -> Result<(), Failure> {
        self.line(&format!("{} > {}", time_of_day(arrival.at), arrival.words))
    }

    fn session(&mut self, record: &Record<'_>, now: Timestamp) -> Result<(), Failure> {
        let value = record.value().unwrap_or_default();
        let session = record::decode(value).map_err(|error| cannot("read a session", error))?;
        self.sessions += 1;
        if self.json {
            self.out.bytes(value)?;
            self.out.bytes(b"\n")?;
            return self.out.flush();
        }
        self.line(&format!("{} = {}", time_of_day(now), in_words(&session)))
    }

    fn dead_letter(&mut self, record: &Record<'_>, now: Timestamp) -> Result<(), Failure> {
        self.refused += 1;
        let text = |header: &Header<'_>| header.1.map(|value| String::from_utf8_lossy(value).into_owned());
        let headers = record.headers();
        let reason = headers.iter().find(|(name, _)| *name == dead_letter::REASON.as_bytes()).and_then(text);
        self.line(&format!("{} ! dead letter: {}", time_of_day(now), reason.unwrap_or_default()))
    }

    fn summary(&mut self, read: usize) -> Result<(), Failure> {
        let (sessions, refused) = (self.sessions, self.refused);
        self.line(&format!("\n{read} notifications: {sessions} session records, {refused} dead letters."))
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.out.line(text)?;
        self.out.flush()
    }
}

fn in_words(session: &SessionRecord) -> String {
    let (stream, revision) = (&session.stream.key, session.revision);
    if session.status == Status::Withdrawn {
        return format!("{stream}  session withdrawn: it is part of another one now (revision {revision})");
    }
    let (files, gaps) = (count(session.segments.len(), "file"), count(session.gaps.len(), "gap"));
    let (start, end) = (time_of_day(session.start), time_of_day(session.end));
    let cause = session.close_cause.map_or("", |cause| cause.as_str());
    let amended = if revision > 1 { format!(", revision {revision}") } else { String::new() };
    format!("{stream}  SESSION {start}–{end}  {files}, {gaps}  ({cause}{amended})")
}

/// Returns `19:04:05`, in UTC.
fn time_of_day(time: Timestamp) -> String {
    time.to_string().get(11..19).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evening_arrives_in_order_and_each_notification_after_its_end() {
        let evening = evening(Rules::default());
        assert_eq!(evening.len(), EVENING.lines().count());
        let times: Vec<Timestamp> = evening.iter().map(|arrival| arrival.at).collect();
        assert!(times.is_sorted());
        assert!(times[0] > Timestamp::MIN);
    }

    #[test]
    fn the_clock_of_the_evening_stops_at_its_end() {
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        let play = Play { first: at(1_000), end: at(5_000), begun: clock::instant(), length: Duration::from_secs(4) };
        for (real, expected) in [(0, 1_000), (1_000, 2_000), (3_999, 4_999), (4_000, 5_000), (4_001, 5_000)] {
            assert_eq!(play.at(Duration::from_millis(real)), at(expected), "after {real} ms");
        }
    }
}
