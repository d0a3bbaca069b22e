//! The format of `tests/scenarios/*.txt`: an input and what it causes, line by line.
//!
//! ```text
//! # The idea, in the sentence that a failure prints.
//! # rules: close, forget                                     the rules of docs/rules.md that it shows
//! gap=10 recording_interval=60 notification_delay=5 allowed_lateness=500      settings; what is not named has its default
//! cam1 b 40..60                                              stream, file, start..end
//! => cam1 b r1 40..60 b                                      stream, seed, revision, start..end, files in order
//! => cam1 a r2 withdrawn into b
//! => duplicate                                               or: conflict, late, rejected <reason>
//! ```
//!
//! Times are seconds, with up to three decimals, and count from a moment of this era; negative ones come before it. `=>`
//! lines list *all* that the line above caused, in any order: a file without any says that nothing happens.
//!
//! Settings are those of the grouping and `max_clock_skew`; `gap:NAME=30` is another gap for the stream NAME, in which
//! `*` stands for any text.
//!
//! Inputs: a segment, with `format=mp4` after it if it matters; `cam1 push-started 30`, `cam1 push-ended 60`,
//! `cam1 record-ended 60`, with the name of the push after it; `idle 200`, which punctuates when the wall clock reads 200
//! and nothing has come since the last line.
//!
//! A record is written and read when its segment ends, or the wall clock's last reading if that is later. `@90` says that
//! it was written and read at 90, `@90/100` that it was written at 90 and read at 100, `@-/100` that it has no timestamp.
//!
//! After a publication, where it applies: `continues <seed>`, then `by <cause>` unless the cause is the watermark.

use std::collections::BTreeMap;

use super::model::{HintKind, Written};
use super::world::{EPOCH, Input};
use super::{Record, Rules, Seg};

pub struct Scenario {
    pub idea: String,
    pub rules: Rules,
    pub max_clock_skew: i64,
    pub steps: Vec<Step>,
}

/// A line of input and the lines that it causes, sorted.
pub struct Step {
    pub number: usize,
    pub line: String,
    pub input: Input,
    pub expected: Vec<String>,
}

/// What a line caused.
#[derive(Clone, Debug)]
pub enum Outcome {
    Published(Box<Record>),
    /// `duplicate`, `conflict`, `late` or `rejected <reason>`.
    Refused(String),
}

/// Reads a scenario.
///
/// # Panics
///
/// At the first line that it does not understand, with its number.
pub fn parse(text: &str) -> Scenario {
    const HOUR: i64 = 3_600_000;
    let rules = Rules {
        gap: 180_000,
        overrides: Vec::new(),
        recording_interval: 2 * HOUR,
        max_segment: 24 * HOUR,
        notification_delay: 900_000,
        allowed_lateness: 24 * HOUR,
        max_hold: 24 * HOUR,
        max_session_duration: 24 * HOUR,
        max_session_segments: 2_000,
        max_session_bytes: 768 << 10,
    };
    let mut scenario = Scenario { idea: String::new(), rules, max_clock_skew: HOUR, steps: Vec::new() };
    let (mut offset, mut wall) = (0, i64::MIN);
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bad = || -> ! { panic!("line {}: cannot read {line:?}", index + 1) };
        match words.as_slice() {
            [] => {}
            ["#", ..] if scenario.idea.is_empty() => scenario.idea.push_str(line.trim_start_matches('#')),
            // `tests/rules/names.rs` reads the citation.
            ["#", "rule:" | "rules:", ..] => {}
            ["=>", ..] => {
                let step = scenario.steps.last_mut().unwrap_or_else(|| bad());
                step.expected.push(words[1..].join(" "));
                step.expected.sort();
            }
            [first, ..] if first.contains('=') => {
                assert!(scenario.steps.is_empty(), "line {}: settings come first", index + 1);
                words.iter().for_each(|word| set(&mut scenario, word));
            }
            _ => {
                let input = input(&words, offset, &mut wall).unwrap_or_else(|| bad());
                offset += i64::from(!matches!(input, Input::Idle { .. }));
                scenario.steps.push(Step { number: index + 1, line: line.to_owned(), input, expected: Vec::new() });
            }
        }
    }
    let rules = &mut scenario.rules;
    if rules.max_hold == 24 * HOUR {
        // The default, which shorter windows do not allow.
        rules.max_hold = rules.max_hold.min(rules.max_segment + rules.allowed_lateness);
    }
    scenario
}

fn set(scenario: &mut Scenario, word: &str) {
    let (name, value) = word.split_once('=').expect("name=value");
    let rules = &mut scenario.rules;
    let span = || seconds(value).unwrap_or_else(|| panic!("{word}: not a number of seconds"));
    let count = || value.parse::<u32>().unwrap_or_else(|_| panic!("{word}: not a number"));
    match name {
        "gap" => rules.gap = span(),
        "recording_interval" => rules.recording_interval = span(),
        "max_segment" => rules.max_segment = span(),
        "notification_delay" => rules.notification_delay = span(),
        "allowed_lateness" => rules.allowed_lateness = span(),
        "max_hold" => rules.max_hold = span(),
        "max_session_duration" => rules.max_session_duration = span(),
        "max_session_segments" => rules.max_session_segments = count() as usize,
        "max_session_bytes" => rules.max_session_bytes = u64::from(count()),
        "max_clock_skew" => scenario.max_clock_skew = span(),
        _ => match name.strip_prefix("gap:") {
            Some(stream) => rules.overrides.push((format!("//{stream}"), span())),
            None => panic!("unknown setting {name}"),
        },
    }
}

/// Reads `60.001` as 60,001.
fn seconds(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let fraction: i64 = if fraction.len() <= 3 { format!("{fraction:0<3}").parse().ok()? } else { return None };
    Some(sign * (whole.parse::<i64>().ok()? * 1_000 + fraction))
}

fn moment(text: &str) -> Option<i64> {
    seconds(text).map(|ms| EPOCH + ms)
}

fn input(words: &[&str], offset: i64, wall: &mut i64) -> Option<Input> {
    if let ["idle", now] = words {
        *wall = (*wall).max(moment(now)?);
        return Some(Input::Idle { now: moment(now)? });
    }
    let (stamp, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('@'));
    let (format, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("format="));
    let mut written = |at: i64| -> Option<Written> {
        let (timestamp, now) = match stamp.first().map(|stamp| &stamp[1..]) {
            None => (Some((*wall).max(at)), (*wall).max(at)),
            Some(stamp) => match stamp.split_once('/') {
                Some(("-", now)) => (None, moment(now)?),
                Some((timestamp, now)) => (Some(moment(timestamp)?), moment(now)?),
                None => (Some(moment(stamp)?), moment(stamp)?),
            },
        };
        *wall = (*wall).max(now);
        Some(Written { timestamp, now })
    };
    let stream = format!("//{}", words.first()?);
    let kind = match *words.get(1)? {
        "push-started" => Some(HintKind::PushStarted),
        "push-ended" => Some(HintKind::PushEnded),
        "record-ended" => Some(HintKind::RecordEnded),
        _ => None,
    };
    match (kind, &words[2..]) {
        (Some(kind), [at, push @ ..]) if push.len() <= 1 => {
            let at = moment(at)?;
            let push = push.first().map(|push| (*push).to_owned());
            Some(Input::Hint { stream, kind, push, at, offset, written: written(at)? })
        }
        (None, [interval]) => {
            let (start, end) = interval.split_once("..")?;
            let format = match format.first() {
                None => None,
                Some(&"format=mp4") => Some("mp4"),
                Some(&"format=flv") => Some("flv"),
                Some(&"format=hls") => Some("hls"),
                Some(_) => return None,
            };
            let (start, end, file) = (moment(start)?, moment(end)?, words[1].to_owned());
            let seg = Seg { start, end, file, offset, stream, format, url: None };
            Some(Input::Segment { written: written(end)?, seg })
        }
        _ => None,
    }
}

/// Writes outcomes as the lines of a scenario; remembers which seed a session id stands for.
#[derive(Default)]
pub struct Writer {
    seeds: BTreeMap<String, String>,
}

impl Writer {
    /// Returns the lines of one step, sorted.
    pub fn lines(&mut self, outcomes: &[Outcome]) -> Vec<String> {
        for outcome in outcomes {
            if let Outcome::Published(record) = outcome
                && let Some(seed) = record.files.iter().find(|seg| seg.offset == record.seed_offset)
            {
                self.seeds.insert(record.id.clone(), seed.file.clone());
            }
        }
        let mut lines: Vec<String> = outcomes.iter().map(|outcome| self.line(outcome)).collect();
        lines.sort();
        lines
    }

    fn seed(&self, id: &str) -> &str {
        self.seeds.get(id).map_or("(never published)", String::as_str)
    }

    fn line(&self, outcome: &Outcome) -> String {
        let record = match outcome {
            Outcome::Refused(why) => return why.clone(),
            Outcome::Published(record) => record,
        };
        let stream = record.stream.trim_start_matches('/');
        let mut line = format!("{stream} {} r{}", self.seed(&record.id), record.revision);
        if record.withdrawn {
            let survivor = record.merged_into.as_deref().map_or("nothing", |id| self.seed(id));
            return format!("{line} withdrawn into {survivor}");
        }
        line.push_str(&format!(" {}..{}", text(record.start - EPOCH), text(record.end - EPOCH)));
        record.files.iter().for_each(|seg| line.push_str(&format!(" {}", seg.file)));
        if let Some(id) = &record.continues {
            line.push_str(&format!(" continues {}", self.seed(id)));
        }
        match record.cause {
            Some("watermark") => {}
            cause => line.push_str(&format!(" by {}", cause.unwrap_or("nothing"))),
        }
        line
    }
}

fn text(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let (whole, fraction) = (ms.abs() / 1_000, ms.abs() % 1_000);
    if fraction == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{}", format!("{fraction:03}").trim_end_matches('0'))
    }
}
