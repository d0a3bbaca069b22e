//! The supervisor of a loop: run, back off, run again, give up. One policy for the worker and the indexer.
//!
//! | the run ended because | then |
//! | --- | --- |
//! | it was told to stop | return |
//! | another run helps | pause, run again |
//! | the other side did not answer | pause, run again; give up [`PATIENCE`] after the last run that worked |
//! | another process took over | pause, run again; give up if that happens twice within [`TAKEOVERS_APART`] |
//! | another run does not help | give up |

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::clock;
use crate::text::chain;

/// How long a loop tries to reach the other side before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Two takeovers within this time, exclusive, are two processes that use one identity: no fencing war.
pub const TAKEOVERS_APART: Duration = Duration::from_secs(60);

/// The pauses between attempts: doubled from the first to the last.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a pause looks whether it is time to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the end of a run means for the next one.
#[derive(Debug)]
pub enum Verdict<F> {
    /// Another run helps.
    Again { why: &'static str },
    /// The other side did not answer.
    Unanswered(F),
    /// Another process took over.
    TakenOver(F),
    /// Another run does not help.
    GiveUp(F),
}

/// The end of a run that was not told to stop.
#[derive(Debug)]
pub struct Ended<F> {
    pub verdict: Verdict<F>,
    /// Whether the run got as far as working: patience and pauses begin again.
    pub worked: bool,
}

/// What the log says before another run.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// The other side did not answer.
    pub unanswered: &'static str,
    /// For any other reason.
    pub again: &'static str,
}

/// Pauses that double.
#[derive(Clone, Copy, Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(BACKOFF.0)
    }
}

impl Backoff {
    /// Returns the next pause.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(BACKOFF.1);
        pause
    }
}

/// What decides whether another run helps: how the runs before ended.
#[derive(Debug, Default)]
struct History {
    backoff: Backoff,
    /// Since when no run worked.
    unanswered_since: Option<Instant>,
    taken_over_at: Option<Instant>,
}

impl History {
    /// Returns the pause before another run, and logs why there is one.
    ///
    /// # Errors
    ///
    /// The failure that another run would not repair.
    fn next<F: Error + 'static>(&mut self, ended: Ended<F>, now: Instant, messages: Messages) -> Result<Duration, F> {
        if ended.worked {
            (self.backoff, self.unanswered_since) = (Backoff::default(), None);
        }
        match ended.verdict {
            Verdict::Again { why } => warn!(why, "{}", messages.again),
            Verdict::Unanswered(failure) => {
                let since = *self.unanswered_since.get_or_insert(now);
                if now.duration_since(since) > PATIENCE {
                    return Err(failure);
                }
                // Without the failure's own text, which says how a loop ends that has given up.
                let why = failure.source().map_or_else(|| failure.to_string(), chain);
                warn!(error = why, "{}", messages.unanswered);
            }
            Verdict::TakenOver(failure) => {
                if self.taken_over_at.is_some_and(|before| now.duration_since(before) < TAKEOVERS_APART) {
                    return Err(failure);
                }
                self.taken_over_at = Some(now);
                warn!(error = chain(&failure), "{}", messages.again);
            }
            Verdict::GiveUp(failure) => return Err(failure),
        }
        Ok(self.backoff.next_pause())
    }
}

/// Runs a loop again and again until it is told to stop, or gives up.
pub struct Supervisor<'a> {
    /// Whether the process is stopping.
    pub stop: &'a AtomicBool,
    /// Reports that the loop is alive; called before each run and during pauses.
    pub alive: &'a dyn Fn(),
}

impl Supervisor<'_> {
    /// Runs until told to stop.
    ///
    /// # Errors
    ///
    /// The failure that another run would not repair.
    pub fn run<F: Error + 'static>(
        &self,
        messages: Messages,
        mut run: impl FnMut() -> Result<(), Box<Ended<F>>>,
    ) -> Result<(), F> {
        let mut history = History::default();
        while !self.is_stopping() {
            (self.alive)();
            let Err(ended) = run() else { return Ok(()) };
            let pause = history.next(*ended, clock::instant(), messages)?;
            self.wait(pause);
        }
        Ok(())
    }

    /// Returns whether the process is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for a pause, or until told to stop.
    pub fn wait(&self, pause: Duration) {
        let until = clock::instant() + pause;
        while !self.is_stopping() && clock::instant() < until {
            std::thread::park_timeout(LOOK_EVERY);
            (self.alive)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Debug, PartialEq, Eq, thiserror::Error)]
    #[error("{0}")]
    struct Failure(&'static str);

    const MESSAGES: Messages = Messages { unanswered: "waiting", again: "running again" };

    fn unanswered(worked: bool) -> Ended<Failure> {
        Ended { verdict: Verdict::Unanswered(Failure("no answer")), worked }
    }

    fn taken_over() -> Ended<Failure> {
        Ended { verdict: Verdict::TakenOver(Failure("fenced")), worked: true }
    }

    fn pause(history: &mut History, ended: Ended<Failure>, now: Instant) -> Duration {
        history.next(ended, now, MESSAGES).unwrap()
    }

    #[test]
    fn pauses_grow_until_a_run_could_work() {
        let (mut history, now) = (History::default(), clock::instant());
        let pauses: Vec<u128> = (0..8).map(|_| pause(&mut history, unanswered(false), now).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(pause(&mut history, unanswered(true), now), BACKOFF.0);
        assert_eq!(pause(&mut history, unanswered(false), now), BACKOFF.0 * 2);
    }

    #[test]
    fn patience_counts_from_the_last_run_that_could_work() {
        let (mut history, start) = (History::default(), clock::instant());
        pause(&mut history, unanswered(false), start);
        pause(&mut history, unanswered(false), start + PATIENCE);
        pause(&mut history, unanswered(true), start + PATIENCE * 2);
        pause(&mut history, unanswered(false), start + PATIENCE * 3);
        let late = start + PATIENCE * 3 + Duration::from_millis(1);
        assert_eq!(history.next(unanswered(false), late, MESSAGES), Err(Failure("no answer")));
    }

    #[test]
    fn two_takeovers_in_a_minute_are_a_twin() {
        let (mut history, start) = (History::default(), clock::instant());
        pause(&mut history, taken_over(), start);
        pause(&mut history, taken_over(), start + TAKEOVERS_APART);
        let soon = start + TAKEOVERS_APART * 2 - Duration::from_millis(1);
        assert_eq!(history.next(taken_over(), soon, MESSAGES), Err(Failure("fenced")));
    }

    #[test]
    fn what_another_run_does_not_repair_ends_it() {
        let ended = Ended { verdict: Verdict::GiveUp(Failure("wrong password")), worked: true };
        assert_eq!(History::default().next(ended, clock::instant(), MESSAGES), Err(Failure("wrong password")));
    }

    #[test]
    fn what_another_run_always_helps_is_run_again_for_ever() {
        let (mut history, start) = (History::default(), clock::instant());
        for hour in 0..100 {
            let ended = Ended::<Failure> { verdict: Verdict::Again { why: "moved" }, worked: false };
            assert!(pause(&mut history, ended, start + PATIENCE * hour) <= BACKOFF.1);
        }
    }

    #[test]
    fn loop_runs_again_until_it_ends_or_is_told_to_stop() {
        let (stop, alive) = (AtomicBool::new(false), Cell::new(0));
        let count = || alive.set(alive.get() + 1);
        let supervisor = Supervisor { stop: &stop, alive: &count };
        let mut runs = 0;
        let ended: Result<(), Failure> = supervisor.run(MESSAGES, || {
            runs += 1;
            if runs == 2 { Ok(()) } else { Err(Box::new(unanswered(false))) }
        });
        assert_eq!((ended, runs), (Ok(()), 2));
        assert!(alive.get() > 2, "a pause reports that the loop is alive");
        let ended = supervisor.run(MESSAGES, || {
            stop.store(true, Ordering::Relaxed);
            Err(Box::new(unanswered(false)))
        });
        assert_eq!(ended, Ok(()));
        let refused = supervisor.run(MESSAGES, || Err(Box::new(unanswered(false))));
        assert_eq!(refused, Ok(()), "nothing runs while the process stops");
    }
}
