//! `livesession demo`: the worker at work, without a Kafka.
//!
//! A sample evening is played to the real worker ([`demo::play`]). What goes in and what comes out is printed as it happens.

use std::time::Duration;

use super::io::flags::GroupingSettings;
use super::io::output::Output;
use crate::deployment::Deployment;
use crate::deployment::demo::{self, Event};
use crate::exit::{Exit, Failure};
use crate::text::count;
use livesession_formats::notification::{Decoder, Notification, Rules};
use livesession_formats::session::record::{self, SessionRecord};
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{HintKind, Status};

const EVENING: &str = include_str!("../../schemas/examples/evening.ndjson");

/// Files are announced some seconds after their end.
const DELAY: Millis = Millis::from_secs(5);

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

/// A notification of the evening.
struct Arrival {
    arrival: demo::Arrival,
    /// What it says, for people.
    words: String,
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(args.settings.load()?)?;
    let (arrivals, words): (Vec<_>, Vec<_>) =
        evening(deployment.rules()).into_iter().map(|Arrival { arrival, words }| (arrival, words)).unzip();
    let mut show = Show { out, json: args.json, sessions: 0, refused: 0 };
    show.line(NOTICE)?;
    demo::play(&deployment, &arrivals, Duration::from_secs(args.seconds.into()), |now, event| match event {
        Event::Notification(number) => show.notification(now, &words[number]),
        Event::Session(value) => show.session(value, now),
        Event::DeadLetter(reason) => show.dead_letter(reason, now),
    })?;
    show.summary(arrivals.len())?;
    Ok(Exit::Ok)
}

/// Returns the sample evening in order of arrival.
fn evening(rules: Rules) -> Vec<Arrival> {
    let mut decoder = Decoder::new(rules);
    let mut arrivals: Vec<Arrival> = Vec::new();
    for line in EVENING.lines() {
        // What has no time of its own arrives with the one before it.
        let before = arrivals.last().map_or(Timestamp::MIN, |before| before.arrival.at);
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
        arrivals.push(Arrival { arrival: demo::Arrival { at: at.max(before), key, value: line }, words });
    }
    // Those before the first time, if any, arrive with it.
    let first = arrivals.iter().map(|notification| notification.arrival.at).find(|at| *at > Timestamp::MIN);
    for Arrival { arrival, .. } in &mut arrivals {
        arrival.at = arrival.at.max(first.unwrap_or(Timestamp::MIN));
    }
    arrivals
}

/// Prints what happens.
struct Show<'a> {
    out: &'a mut Output,
    json: bool,
    sessions: u32,
    refused: u32,
}

impl Show<'_> {
    fn notification(&mut self, now: Timestamp, words: &str) -> Result<(), Failure> {
        self.line(&format!("{} > {words}", time_of_day(now)))
    }

    fn session(&mut self, value: &[u8], now: Timestamp) -> Result<(), Failure> {
        let session = record::decode(value)
            .map_err(|error| Failure::caused_by(Exit::TempFail, "could not read a session", error))?;
        self.sessions += 1;
        if self.json {
            self.out.bytes(value)?;
            self.out.bytes(b"\n")?;
            return self.out.flush();
        }
        self.line(&format!("{} = {}", time_of_day(now), in_words(&session)))
    }

    fn dead_letter(&mut self, reason: &str, now: Timestamp) -> Result<(), Failure> {
        self.refused += 1;
        self.line(&format!("{} ! dead letter: {reason}", time_of_day(now)))
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
        let times: Vec<Timestamp> = evening.iter().map(|notification| notification.arrival.at).collect();
        assert!(times.is_sorted());
        assert!(times[0] > Timestamp::MIN);
    }
}
