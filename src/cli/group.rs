//! `livesession group`: notifications from files to sessions, without Kafka.
//!
//! The same decoder and the same core as the worker's, fed from files: for a first try, for back-fills, and as the batch
//! answer that the worker's newest revisions are compared with.
//!
//! | | a *set* (default) | `--arrival-order` |
//! | --- | --- | --- |
//! | order of records | means nothing; of two with one file id the first stands | as Kafka would have delivered them |
//! | late | nothing | as in the worker |
//! | limits (rule: limits) | cut in time order, at the end | cut as segments come |
//! | memory | all of it | what is alive |
//! | printed | at the end: closed under the last watermark, else `open` | once a session is final; at the end what is left |
//!
//! With `--all-revisions` every publication is printed, as it would stand in the output topic. The worker decides five
//! times a second what is due, this after every record: it never publishes less.
//!
//! # Exit codes
//!
//! 0 also if records were refused; 1 if there is nothing to explain; 2 if a file is missing, is a directory or may not be
//! opened: the arguments are wrong, and nothing has been read; 65 if a file is damaged (everything before the damage has
//! been grouped and printed) and, with `--strict`, if a record was refused; 74 if a device fails. A closed pipe ends quietly.

pub mod args;
pub mod sink;

use std::io::{self, IsTerminal};

pub use args::{Args, Form, Format};

use super::io::output::{Output, tell};
use crate::batch::dead_letters::DeadLetters;
use crate::batch::input::{self, Input};
use crate::batch::replay::{Mode, Replay};
use crate::cli::progress::Progress;
use crate::config::{Config, StreamKey};
use crate::exit::{Exit, Failure};
use livesession_formats::notification::{KeyParts, Rules};
use livesession_grouping::Policy;
use sink::Sink;

/// What the command has to know of the configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    pub rules: Rules,
    pub policy: Policy,
    /// The topic that raw records and values are said to come from.
    pub input_topic: String,
    pub dead_letter_topic: String,
    /// The topic that sessions would have been published to.
    pub output_topic: String,
    pub application_id: String,
}

impl Setup {
    /// Takes what is needed from a configuration that has been checked.
    pub fn new(config: &Config) -> Result<Setup, Failure> {
        let policy = Policy::new(config.grouping_settings()).map_err(|problems| {
            let texts: Vec<_> = problems.iter().map(|problem| problem.to_string()).collect();
            Failure::new(Exit::Config, texts.join("; "))
        })?;
        let key_parts = match config.input.stream_key {
            StreamKey::Full => KeyParts::AppAppnameStreamId,
            StreamKey::StreamId => KeyParts::StreamId,
        };
        let max_segment = config.grouping.max_segment;
        Ok(Setup {
            rules: Rules { key_parts, max_segment, max_clock_skew: config.grouping.max_clock_skew },
            policy,
            input_topic: config.topics.input.clone(),
            dead_letter_topic: config.dead_letter_topic(),
            output_topic: config.topics.output.clone(),
            application_id: config.application_id.clone(),
        })
    }
}

/// Runs the command: sessions to standard output, everything else to standard error.
///
/// Whatever goes wrong with the input, all that could be done has been done then: sessions and summary are out.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let setup = Setup::new(&args.settings.load()?.config)?;
    let policy = setup.policy.clone();
    let keep = if args.dead_letters.is_some() { input::KEEP_BYTES } else { input::KEEP_BYTES_UNSEEN };
    let mut input = Input::new(args.files.clone(), args.form(), keep).map_err(input_failure)?;
    if args.files.is_empty() && io::stdin().is_terminal() {
        tell("reading notifications from the terminal; Ctrl-D ends them");
    }
    let mode = args.mode();
    let total_bytes = input.total_bytes();
    let is_live = mode != Mode::Set && total_bytes.is_none();
    let is_shared = mode != Mode::Set && out.is_terminal();
    let mut progress = Progress::new(total_bytes, io::stderr().is_terminal(), is_shared);
    let sink = Sink::new(&args, &setup, out, is_live)?;
    let dead_letters = args.dead_letters.as_deref().map(DeadLetters::create).transpose()?;
    let mut replay = Replay::new(setup, mode, sink, dead_letters);

    let ended = loop {
        match input.next_record() {
            Ok(Some(record)) => replay.take(&record)?,
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
        if progress.is_due() {
            progress.show(input.bytes_read(), replay.tally().read());
        }
    };
    progress.finish();
    // What follows a damage is not known, so nothing is closed because of it.
    let close_all = args.close_all && ended.is_none();
    let (sink, tally) = replay.finish(close_all)?;
    let answer = sink.finish(&args, &policy)?;
    let mut lines = input.take_notes();
    lines.extend(tally.notes());
    lines.extend(tally.lines());
    lines.iter().for_each(|line| tell(line));
    match (ended, tally.refused()) {
        (Some(error), _) => Err(input_failure(error)),
        (None, refused @ 1..) if args.strict => {
            Err(Failure::new(Exit::DataErr, format!("refused {refused} of {} records (--strict)", tally.read())))
        }
        _ => answer,
    }
}

fn input_failure(error: input::Error) -> Failure {
    let message = error.to_string();
    match error {
        input::Error::Unusable(unusable) => match unusable.into_source() {
            Some(source) => Failure::caused_by(Exit::Usage, message, source),
            None => Failure::new(Exit::Usage, message),
        },
        input::Error::Data { .. } => Failure::new(Exit::DataErr, message),
        input::Error::Device { source, .. } => Failure::caused_by(Exit::IoErr, message, source),
    }
}
