//! The replay: dead letters back to the input, each once.
//!
//! ```text
//! for every partition:
//!   read ledger ─▶ read letters from the first to the end of now ─┬─ waiting, of an asked reason ─▶ send
//!                                                                  └─ anything else ─▶ count, pass over
//!   every 500 letters, and at the end: settle the asked reasons up to here, in the transaction of what was sent
//! ```
//!
//! The end is taken before the first letter is read: what is refused again while this runs does not circle. A letter goes
//! back with its own headers and a count of replays, and with the present as its Kafka time: a notification that was ahead
//! of a clock is judged anew, and retention does not take it at once. Its partition follows from its key; without a key it
//! goes where it came from, since a stream has to stay in one partition.

use std::collections::BTreeMap;
use std::time::Instant;

use super::record::{Letter, State};
use super::replayed::{Ledger, MAX_NOTE_BYTES};
use super::topic::{count_partitions, ledgers, read_notes, replay_settings, stretch};
use crate::clock;
use crate::deployment::Deployment;
use crate::deployment::clients::{ANSWER_TIMEOUT, read_failure};
use crate::exit::{Exit, Failure};
use crate::worker::Topics;
use livesession_formats::dead_letter;
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;
use livesession_kafka::replay::{self, Replay};
use livesession_kafka::scan::Scan;
use livesession_kafka::{Outgoing, Record, TransactionError};

/// A transaction that has sent as many letters, or bytes, is committed.
const BATCH_LETTERS: usize = 500;
const BATCH_BYTES: usize = 4 << 20;

/// What is to be replayed.
pub struct Request {
    /// Empty: all but late.
    pub reasons: Vec<Reason>,
    pub since: Option<Timestamp>,
    pub limit: Option<u64>,
    pub dry_run: bool,
}

/// What became of a letter in this replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LetterOutcome {
    Sent,
    /// An earlier replay sent it.
    Earlier,
    Exhausted,
    Cut,
    /// Of a reason that was not asked for, or of none, or of another application, which replays its own: the one that
    /// reads the same input under a new name has refused the same records.
    NotAsked,
}

/// What a replay has done.
pub struct Replayed {
    /// Dead letters that were sent and committed, or passed over, by reason.
    pub counts: BTreeMap<(Option<Reason>, LetterOutcome), u64>,
    /// How it ended; what was committed before a failure stays, and is counted.
    pub ended: Result<(), Failure>,
}

/// Replays dead letters; `progress` gets partition and offset of each record that was read.
///
/// # Errors
///
/// Nothing was replayed: exit 69 if Kafka does not answer, 78 if a topic is missing or another replay has taken over.
pub fn replay(deployment: &Deployment, request: &Request, progress: impl FnMut(i32, i64)) -> Result<Replayed, Failure> {
    let Topics { input, dead_letter: topic, .. } = deployment.topics();
    let partitions = count_partitions(deployment, topic, "topics.dead_letter")?;
    let input_partitions = count_partitions(deployment, input, "topics.input")?;
    let settings = replay_settings(deployment)?;
    let reasons = match request.reasons.as_slice() {
        [] => Reason::ALL.into_iter().filter(|reason| *reason != Reason::Late).collect(),
        asked => asked.to_vec(),
    };
    let mut pass = Pass {
        topic,
        application_id: &deployment.config().application_id,
        input,
        input_partitions,
        reasons,
        since: request.since,
        left: request.limit.unwrap_or(u64::MAX),
        counts: BTreeMap::new(),
        progress,
    };
    let ended = if request.dry_run {
        let scan = Scan::new(&settings, ANSWER_TIMEOUT).map_err(read_failure)?;
        let notes = read_notes(&scan, topic, partitions)?;
        pass.run(&scan, None, notes)
    } else {
        let replay = Replay::connect(&settings, topic, ANSWER_TIMEOUT).map_err(replay_failure)?;
        let all: Vec<i32> = (0..partitions).collect();
        let notes = replay.metadata(&all).map_err(replay_failure)?;
        let ended = pass.run(replay.scan(), Some(&replay), notes);
        if ended.is_err() {
            // Readers of the input wait for an open transaction. That it could not be aborted adds nothing to the first
            // failure: the broker, or the next replay, does it.
            let _ = replay.abort();
        }
        ended
    };
    Ok(Replayed { counts: pass.counts, ended })
}

/// One pass over all partitions.
struct Pass<'a, P> {
    topic: &'a str,
    application_id: &'a str,
    input: &'a str,
    input_partitions: i32,
    reasons: Vec<Reason>,
    since: Option<Timestamp>,
    /// How many may still be sent.
    left: u64,
    /// Of what was committed, or only passed over.
    counts: BTreeMap<(Option<Reason>, LetterOutcome), u64>,
    progress: P,
}

/// What an open transaction has sent.
#[derive(Default)]
struct Batch {
    counts: BTreeMap<Reason, u64>,
    letters: usize,
    bytes: usize,
    /// When the transaction was begun; `None`: there is none.
    begun: Option<Instant>,
}

impl Batch {
    fn is_full(&self) -> bool {
        // Half of the shortest time after which a broker gives a transaction up.
        const AGE: std::time::Duration = std::time::Duration::from_millis(500);
        let is_old = |begun: Instant| clock::instant().saturating_duration_since(begun) >= AGE;
        self.letters >= BATCH_LETTERS || self.bytes >= BATCH_BYTES || self.begun.is_some_and(is_old)
    }
}

impl<P: FnMut(i32, i64)> Pass<'_, P> {
    /// Replays all partitions; without `replay` it only counts.
    fn run(&mut self, scan: &Scan, replay: Option<&Replay>, notes: BTreeMap<i32, String>) -> Result<(), Failure> {
        for (partition, ledger) in ledgers(self.topic, notes)? {
            if self.left > 0 {
                self.partition(scan, replay, partition, ledger)?;
            }
        }
        Ok(())
    }

    fn partition(
        &mut self,
        scan: &Scan,
        replay: Option<&Replay>,
        partition: i32,
        mut ledger: Ledger,
    ) -> Result<(), Failure> {
        let (from, end) = stretch(scan, self.topic, partition, self.since)?;
        ledger.forget_below(scan.ends(self.topic, partition).map_err(read_failure)?.start);
        self.check_note(partition, &ledger, from, end)?;
        scan.begin(self.topic, partition, from, end).map_err(read_failure)?;
        let mut batch = Batch::default();
        while let Some(record) = scan.next().map_err(read_failure)? {
            (self.progress)(partition, record.offset());
            let letter = Letter::read(&record, &ledger);
            let outcome = self.outcome(&letter);
            let next = record.offset() + 1;
            match (outcome, letter.reason, replay) {
                (LetterOutcome::Sent, Some(reason), Some(replay)) => {
                    self.send(replay, &record, &letter, reason, &mut batch)?;
                    self.left -= 1;
                }
                (LetterOutcome::Sent, ..) => {
                    self.count(letter.reason, outcome, 1);
                    self.left -= 1;
                }
                _ => self.count(letter.reason, outcome, 1),
            }
            if let Some(replay) = replay.filter(|_| batch.is_full()) {
                self.commit(replay, partition, &mut ledger, (from, next), &mut batch)?;
            }
            if self.left == 0 {
                return match replay {
                    Some(replay) => self.commit(replay, partition, &mut ledger, (from, next), &mut batch),
                    None => Ok(()),
                };
            }
        }
        match replay {
            Some(replay) => self.commit(replay, partition, &mut ledger, (from, end), &mut batch),
            None => Ok(()),
        }
    }

    fn outcome(&self, letter: &Letter) -> LetterOutcome {
        let is_asked =
            letter.reason.is_some_and(|reason| self.reasons.contains(&reason)) && letter.group == self.application_id;
        match letter.state {
            _ if !is_asked => LetterOutcome::NotAsked,
            State::Waiting => LetterOutcome::Sent,
            State::Replayed => LetterOutcome::Earlier,
            State::Exhausted => LetterOutcome::Exhausted,
            State::Cut => LetterOutcome::Cut,
            State::Foreign => LetterOutcome::NotAsked,
        }
    }

    /// Refuses to begin what could not be remembered.
    fn check_note(&self, partition: i32, ledger: &Ledger, from: i64, end: i64) -> Result<(), Failure> {
        let mut after = ledger.clone();
        self.settle(&mut after, from, end);
        let bytes = after.note().len();
        if bytes <= MAX_NOTE_BYTES {
            return Ok(());
        }
        let text = format!(
            "what has been replayed of {}/{partition} would need {bytes} bytes to be remembered, and brokers keep \
             {MAX_NOTE_BYTES}: replay without --since once, so that the stretches become one",
            self.topic
        );
        Err(Failure::new(Exit::Config, text))
    }

    fn settle(&self, ledger: &mut Ledger, from: i64, to: i64) {
        for reason in &self.reasons {
            ledger.settle(*reason, from, to);
        }
    }

    fn send(
        &self,
        replay: &Replay,
        record: &Record<'_>,
        letter: &Letter,
        reason: Reason,
        batch: &mut Batch,
    ) -> Result<(), Failure> {
        if batch.begun.is_none() {
            replay.begin(record.partition()).map_err(replay_failure)?;
            batch.begun = Some(clock::instant());
        }
        let headers = record.headers();
        let (_, others) = dead_letter::split(&headers);
        let count = [dead_letter::replayed(&headers)];
        let headers = dead_letter::join(others, &count);
        let original = letter.source.1.filter(|partition| (0..self.input_partitions).contains(partition));
        let sent = replay.send(&Outgoing {
            topic: self.input,
            partition: original.filter(|_| record.key().is_none()),
            key: record.key(),
            value: record.value(),
            headers: &headers,
            timestamp: None,
        });
        sent.map_err(replay_failure)?;
        *batch.counts.entry(reason).or_default() += 1;
        batch.letters += 1;
        batch.bytes += letter.bytes;
        Ok(())
    }

    /// Commits what was sent, if anything was, and settles the stretch up to there.
    fn commit(
        &mut self,
        replay: &Replay,
        partition: i32,
        ledger: &mut Ledger,
        (from, to): (i64, i64),
        batch: &mut Batch,
    ) -> Result<(), Failure> {
        if batch.begun.is_none() {
            return Ok(());
        }
        self.settle(ledger, from, to);
        replay.commit(partition, to, &ledger.note()).map_err(replay_failure)?;
        for (reason, letters) in std::mem::take(batch).counts {
            self.count(Some(reason), LetterOutcome::Sent, letters);
        }
        Ok(())
    }

    fn count(&mut self, reason: Option<Reason>, outcome: LetterOutcome, letters: u64) {
        *self.counts.entry((reason, outcome)).or_default() += letters;
    }
}

/// Returns how a replay ends that could not go on; what was committed before stays.
fn replay_failure(error: replay::Error) -> Failure {
    use TransactionError as Write;
    const TAKEN: &str = "another replay of this application has taken over";
    let (exit, text) = match error {
        replay::Error::Read(error) => return read_failure(error),
        replay::Error::Taken { .. } => (Exit::Config, TAKEN),
        replay::Error::Write(Write::Abort { .. }) => {
            (Exit::TempFail, "could not replay: run it again, nothing is sent twice")
        }
        replay::Error::Write(Write::Rebuild { .. }) => {
            (Exit::Unavailable, "could not replay: run it again, nothing is sent twice")
        }
        replay::Error::Write(Write::Fenced { .. }) => (Exit::Config, TAKEN),
        replay::Error::Write(Write::Refused { .. }) => (Exit::Config, "Kafka rejected the request"),
        replay::Error::Write(Write::Stop { .. }) => (Exit::Software, "cannot replay"),
    };
    Failure::caused_by(exit, text, error)
}
