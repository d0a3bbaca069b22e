//! Progress of a long read on standard error: lines, or a bar on a terminal.
//!
//! A line appears every ten seconds, the bar after the first second: most input is shorter than that.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::io::output::tell;
use crate::clock;

/// How many records lie between two looks at the clock.
const RECORDS_PER_LOOK: u64 = 1_024;
const FIRST_AFTER: Duration = Duration::from_secs(1);
const REDRAW_AFTER: Duration = Duration::from_millis(200);
const LINE_AFTER: Duration = Duration::from_secs(10);

/// Counts records, and finds out now and then whether it is time to report.
struct Pace {
    records: u64,
    next: Instant,
}

impl Pace {
    fn new(first_after: Duration) -> Pace {
        Pace { records: 0, next: clock::instant() + first_after }
    }

    /// Counts a record; returns whether a report is due.
    fn count(&mut self) -> bool {
        self.records += 1;
        self.records.is_multiple_of(RECORDS_PER_LOOK) && clock::instant() >= self.next
    }

    fn wait(&mut self, pause: Duration) {
        self.next = clock::instant() + pause;
    }
}

/// A line of progress every ten seconds, so that a long read does not look like a stuck one.
pub struct Lines(Pace);

impl Default for Lines {
    fn default() -> Lines {
        Lines(Pace::new(LINE_AFTER))
    }
}

impl Lines {
    /// Counts a record. `line` makes the report from the number of records so far.
    pub fn count(&mut self, line: impl FnOnce(u64) -> String) {
        if self.0.count() {
            self.0.wait(LINE_AFTER);
            tell(&line(self.0.records));
        }
    }

    /// Returns how many records were counted.
    pub fn records(&self) -> u64 {
        self.0.records
    }
}

/// Progress through files: a bar, or lines.
pub struct Progress {
    pace: Pace,
    begun: Instant,
    total_bytes: Option<u64>,
    style: Style,
    bar: Option<ProgressBar>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    /// Sessions appear on the same terminal: they show the progress, and a bar would run into them.
    Silent,
}

impl Progress {
    /// `total_bytes` is unknown for a pipe; `is_shared`: sessions appear meanwhile on a terminal.
    pub fn new(total_bytes: Option<u64>, is_terminal: bool, is_shared: bool) -> Progress {
        let (style, wait) = match (is_terminal, is_shared) {
            (true, true) => (Style::Silent, LINE_AFTER),
            (true, false) => (Style::Bar, FIRST_AFTER),
            (false, _) => (Style::Lines, LINE_AFTER),
        };
        Progress { pace: Pace::new(wait), begun: clock::instant(), total_bytes, style, bar: None }
    }

    /// Counts a record; returns whether it is time to [`Progress::show`].
    pub fn is_due(&mut self) -> bool {
        self.pace.count() && self.style != Style::Silent
    }

    pub fn show(&mut self, bytes: u64, records: u64) {
        if self.style == Style::Lines {
            self.pace.wait(LINE_AFTER);
            let percent = self.total_bytes.map(|total| format!(", {} %", bytes * 100 / total.max(1)));
            let line = format!("read {records} records, {} MB{}", bytes / 1_000_000, percent.unwrap_or_default());
            tell(&line);
            return;
        }
        self.pace.wait(REDRAW_AFTER);
        let message = format!("{records} records");
        match &self.bar {
            Some(bar) => {
                bar.set_message(message);
                bar.set_position(bytes);
            }
            // Each setter draws: the first picture has to have everything.
            None => {
                let bar = new_bar(self.total_bytes).with_elapsed(self.begun.elapsed());
                let bar = self.bar.insert(bar.with_message(message).with_position(bytes));
                bar.tick();
            }
        }
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(total_bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::stderr());
    let template = match total_bytes {
        Some(_) => "{bar:40} {percent} % of {total_bytes}, {msg}, {eta} left",
        None => "{bytes}, {msg}, {elapsed}",
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
