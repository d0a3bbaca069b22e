//! Plays `tests/scenarios/*.txt` (their format: `tests/rules/oracle/scenario.rs`).
//!
//! Each file is played by the replay of the rules, so that its expectations and the oracle check each other, and by the
//! program: straight, and again with the state thrown away after every line and restored from the changelog.

use std::fs;
use std::path::Path;

use crate::oracle::model::{Model, Placement};
use crate::oracle::scenario::{Outcome, Scenario, Writer, parse};
use crate::oracle::worker::{Slices, Worker, refusal};
use crate::oracle::world::Input;

/// Something that takes a line of input and says what it caused.
trait Player {
    fn play(&mut self, input: &Input) -> Vec<Outcome>;

    /// Goes on from what is stored, with empty memory.
    fn restart(&mut self) {}
}

/// Plays every scenario and reports all that differ at once.
fn play_all(name: &str, restart: bool, start: impl Fn(&Scenario) -> Box<dyn Player>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut report = String::new();
    for path in &files {
        let file = path.file_name().unwrap().to_string_lossy();
        let scenario = parse(&fs::read_to_string(path).unwrap());
        assert!(!scenario.idea.is_empty(), "{file}: has no idea");
        let mut player = start(&scenario);
        let mut writer = Writer::default();
        let mut differs = false;
        for step in &scenario.steps {
            let lines = writer.lines(&player.play(&step.input));
            if lines != step.expected {
                if !differs {
                    report.push_str(&format!("\n{file}:{}", scenario.idea));
                }
                differs = true;
                report.push_str(&format!("\n  line {}: {}\n", step.number, step.line));
                step.expected.iter().for_each(|line| report.push_str(&format!("    expected => {line}\n")));
                lines.iter().for_each(|line| report.push_str(&format!("    {name:>8} => {line}\n")));
            }
            if restart {
                player.restart();
            }
        }
    }
    assert!(files.len() >= 30, "only {} scenarios found", files.len());
    assert!(report.is_empty(), "{report}");
}

/// The rules, replayed by the oracle, with those rules of acceptance in front of it that scenarios use.
struct Replay {
    model: Model,
    max_segment: i64,
    max_clock_skew: i64,
}

impl Player for Replay {
    fn play(&mut self, input: &Input) -> Vec<Outcome> {
        let rejected = |reason: &str| vec![Outcome::Refused(format!("rejected {reason}"))];
        let ahead = |at: i64, timestamp: Option<i64>| timestamp.is_some_and(|from| at > from + self.max_clock_skew);
        let placement = match input {
            Input::Segment { seg, .. } if seg.start > seg.end => return rejected("inverted_interval"),
            Input::Segment { seg, .. } if seg.end - seg.start > self.max_segment => {
                return rejected("interval_too_long");
            }
            Input::Segment { seg, written } if ahead(seg.end, written.timestamp) => return rejected("ahead_of_clock"),
            Input::Hint { at, written, .. } if ahead(*at, written.timestamp) => return rejected("ahead_of_clock"),
            Input::Segment { seg, written } => self.model.accept(seg, *written),
            Input::Hint { stream, kind, push, at, written, .. } => {
                self.model.hint(stream, *kind, push.as_deref(), *at, *written);
                Placement::Accepted
            }
            Input::Idle { now } => {
                self.model.punctuate(*now);
                Placement::Accepted
            }
        };
        let refused = match placement {
            Placement::Accepted => None,
            Placement::Duplicate => Some("duplicate"),
            Placement::Conflict => Some("conflict"),
            Placement::Late => Some("late"),
            Placement::Rejected => unreachable!("rejected above"),
        };
        let mut outcomes: Vec<Outcome> = refused.map(|why| Outcome::Refused(why.to_owned())).into_iter().collect();
        outcomes.extend(self.model.publish_due().into_iter().map(Box::new).map(Outcome::Published));
        outcomes
    }
}

#[test]
fn scenarios_agree_with_the_replay_of_the_rules() {
    play_all("replay", false, |scenario| {
        let (max_segment, max_clock_skew) = (scenario.rules.max_segment, scenario.max_clock_skew);
        Box::new(Replay { model: Model::new(scenario.rules.clone()), max_segment, max_clock_skew })
    });
}

/// The program, one transaction for each line.
struct Program {
    worker: Worker,
}

impl Player for Program {
    fn play(&mut self, input: &Input) -> Vec<Outcome> {
        let done = self.worker.transaction(std::slice::from_ref(input), Slices::All { most: usize::MAX });
        let refused = done.outcomes.into_iter().filter_map(refusal).map(Outcome::Refused);
        refused.chain(done.published.into_iter().map(Box::new).map(Outcome::Published)).collect()
    }

    fn restart(&mut self) {
        self.worker.restart();
    }
}

fn program(scenario: &Scenario) -> Box<dyn Player> {
    Box::new(Program { worker: Worker::new(&scenario.rules, scenario.max_clock_skew) })
}

#[test]
fn scenarios_come_out_as_written() {
    play_all("program", false, program);
}

#[test]
fn scenarios_come_out_the_same_when_restored_after_every_line() {
    play_all("restored", true, program);
}
