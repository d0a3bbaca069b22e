//! How far long input has been read: a bar on a terminal, else a line per ten seconds.
//!
//! Says nothing in the first second: most input is shorter than that.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock;

/// How many records lie between two looks at the clock.
const RECORDS_PER_LOOK: u32 = 4_096;
const FIRST_AFTER: Duration = Duration::from_secs(1);
const REDRAW_AFTER: Duration = Duration::from_millis(200);
const LINE_AFTER: Duration = Duration::from_secs(10);

pub struct Progress {
    records: u32,
    begun: Instant,
    next: Instant,
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
        let begun = clock::instant();
        Progress { records: 0, begun, next: begun + wait, total_bytes, style, bar: None }
    }

    /// Returns whether it is time to [`Progress::show`].
    pub fn is_due(&mut self) -> bool {
        self.records += 1;
        if self.records < RECORDS_PER_LOOK {
            return false;
        }
        self.records = 0;
        self.style != Style::Silent && clock::instant() >= self.next
    }

    pub fn show(&mut self, bytes: u64, records: u64) {
        if self.style == Style::Lines {
            self.next = clock::instant() + LINE_AFTER;
            let percent = self.total_bytes.map(|total| format!(", {} %", bytes * 100 / total.max(1)));
            let line = format!("read {records} records, {} MB{}", bytes / 1_000_000, percent.unwrap_or_default());
            // Nobody can be told that standard error is gone.
            let _ = writeln!(std::io::stderr(), "{line}");
            return;
        }
        self.next = clock::instant() + REDRAW_AFTER;
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
