//! The input of `group`: files or standard input, as records like those that the worker reads from Kafka.
//!
//! | form | a record is | partition, offset |
//! | --- | --- | --- |
//! | raw | a line that is not blank | 0, the line's number from 0, going on from file to file |
//! | json | a JSON value, on one line or on many | 0, the value's number from 0, going on from file to file |
//! | kcat | a line that is not blank, of `kcat -J` | as the line says |
//!
//! Raw records and values have no topic, timestamp, key or headers. A byte-order mark at the beginning of a file belongs
//! to the file. Nothing is decoded here: a record that is garbage is handed on, and refused by who decodes it. But a line
//! of kcat that cannot be read, or a file that is damaged, ends the input: what would follow is not known to be what was
//! meant, and sessions with a hole in them look like sessions. All records before have been handed on.
//!
//! A record longer than any notification may be is not held in memory; see [`KEEP_BYTES`].

use std::borrow::Cow;
use std::io::BufRead;

use serde::de::IgnoredAny;
use serde_json::Deserializer;

use crate::batch::source::{self, Failure, OpenError, Source, Unusable};
use crate::batch::split::{self, Piece, Pieces};
use livesession_formats::kcat;
use livesession_grouping::time::Timestamp;

/// How much of a record is kept when refused records are written down. More of it is cut off.
pub const KEEP_BYTES: usize = 16 * 1_024 * 1_024;

/// How much of a record is kept when nobody will see it again: enough to know that it is too large.
pub const KEEP_BYTES_UNSEEN: usize = 262_144 + 1;

/// The longest line of kcat: a larger record would need a broker set up for it.
const KCAT_LINE_BYTES: usize = 64 * 1_024 * 1_024;

/// How much of a file is looked at to recognise its form.
const LOOK_BYTES: usize = 1_024 * 1_024;

/// May begin a file of UTF-8 text, and is no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How records are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Raw,
    Json,
    Kcat,
}

impl Form {
    pub const fn as_str(self) -> &'static str {
        match self {
            Form::Raw => "raw",
            Form::Json => "json",
            Form::Kcat => "kcat",
        }
    }
}

/// Where a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub file: &'a str,
    /// From 1; of a value on several lines the first.
    pub line: u64,
}

/// A record as Kafka would have handed it on.
#[derive(Clone, Debug)]
pub struct InputRecord<'a> {
    pub topic: Option<Cow<'a, str>>,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<Timestamp>,
    pub key: Option<Cow<'a, [u8]>>,
    pub headers: kcat::Headers<'a>,
    /// `None` is a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
    /// The whole length of a value of which only the beginning is here.
    pub cut: Option<u64>,
    pub place: Place<'a>,
}

/// Why the input ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be used at all: the arguments are wrong.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The data is not what it should be.
    #[error("{file}: {problem}; nothing after line {lines} was read")]
    Data { file: String, problem: String, lines: u64 },
    /// The device failed.
    #[error("{file}: could not read on after line {lines}")]
    Device { file: String, lines: u64, source: std::io::Error },
}

/// All records of all files, one after another.
pub struct Input {
    files: Vec<String>,
    /// The form that was asked for; else each file tells its own.
    form: Option<Form>,
    keep: usize,
    opened: usize,
    current: Option<Current>,
    /// Of the next raw record or value.
    next_offset: i64,
    /// Bytes of the files before the current one.
    bytes_before: u64,
    notes: Vec<String>,
}

struct Current {
    pieces: Pieces,
    form: Form,
}

impl Input {
    /// Checks that all of `files` can be used. None at all stands for standard input.
    ///
    /// # Errors
    ///
    /// [`Error::Unusable`] for the first file that cannot be.
    pub fn new(mut files: Vec<String>, form: Option<Form>, keep: usize) -> Result<Input, Error> {
        if files.is_empty() {
            files.push("-".to_owned());
        }
        source::check(&files)?;
        Ok(Input { files, form, keep, opened: 0, current: None, next_offset: 0, bytes_before: 0, notes: Vec::new() })
    }

    /// Returns how many bytes of the files, packed as they are, have been read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_before + self.current.as_ref().map_or(0, |current| current.pieces.source().position())
    }

    /// Returns how many bytes the files have, if all of them have a size.
    pub fn total_bytes(&self) -> Option<u64> {
        source::total_bytes(&self.files)
    }

    /// Takes what somebody should know about files that are not quite what they seem.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Returns the next record, or `None` after the last.
    ///
    /// # Errors
    ///
    /// The input ends here; all records before have been returned.
    pub fn next_record(&mut self) -> Result<Option<InputRecord<'_>>, Error> {
        let Some((piece, offset)) = self.next_piece()? else { return Ok(None) };
        let Some(current) = &self.current else { return Ok(None) };
        let place = Place { file: current.pieces.source().name(), line: piece.line };
        let bytes = current.pieces.bytes();
        if current.form != Form::Kcat {
            return Ok(Some(InputRecord {
                topic: None,
                partition: 0,
                offset,
                timestamp: None,
                key: None,
                headers: Vec::new(),
                value: Some(bytes.into()),
                cut: piece.cut,
                place,
            }));
        }
        let line = match piece.cut {
            None => kcat::Line::parse(bytes).map_err(|error| error.to_string()),
            Some(length) => Err(format!("{length} bytes, longer than any record of Kafka")),
        };
        let line = line.map_err(|problem| {
            let problem = format!("line {}: not a line of kcat -J: {problem}", place.line);
            Error::Data { file: place.file.to_owned(), problem, lines: place.line - 1 }
        })?;
        let kcat::Line { topic, partition, offset, timestamp, key, value, headers } = line;
        let topic = Some(topic);
        Ok(Some(InputRecord { topic, partition, offset, timestamp, key, headers, value, cut: None, place }))
    }

    /// Returns the next piece that is not blank, and the offset that it has unless it says another itself.
    fn next_piece(&mut self) -> Result<Option<(Piece, i64)>, Error> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None if self.opened == self.files.len() => return Ok(None),
                None => {
                    let current = open(&self.files[self.opened], self.form, self.keep)?;
                    self.notes.extend(current.pieces.source().note().map(str::to_owned));
                    self.opened += 1;
                    self.current.insert(current)
                }
            };
            let piece = match current.form {
                Form::Json => current.pieces.next_value(),
                Form::Raw | Form::Kcat => current.pieces.next_line(),
            };
            let piece = piece.map_err(|failure| {
                let source = current.pieces.source();
                error(source.name(), source.failure(failure), current.pieces.line() - 1)
            })?;
            match piece {
                None => {
                    self.bytes_before += current.pieces.source().position();
                    self.current = None;
                }
                Some(piece) => {
                    let offset = self.next_offset;
                    self.next_offset += 1;
                    if !current.pieces.bytes().trim_ascii().is_empty() || piece.cut.is_some() {
                        return Ok(Some((piece, offset)));
                    }
                }
            }
        }
    }
}

fn open(file: &str, form: Option<Form>, keep: usize) -> Result<Current, Error> {
    let name = source::display_name(file);
    let source = Source::open(file).map_err(|problem| match problem {
        OpenError::Unusable(unusable) => Error::Unusable(unusable),
        OpenError::Failure(failure) => error(name, failure, 0),
    })?;
    let mut rest = split::buffered(source);
    // Looks no further than it must: a pipe may be slow, and may be a terminal.
    let mut head = Vec::new();
    let form = loop {
        let more = match rest.fill_buf() {
            Ok(more) => more,
            Err(failure) => return Err(error(name, rest.get_ref().failure(failure), 0)),
        };
        let length = more.len();
        head.extend_from_slice(more);
        rest.consume(length);
        let is_all = length == 0 || head.len() >= LOOK_BYTES;
        if is_all || head.len() >= BYTE_ORDER_MARK.len() {
            let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&head).trim_ascii_start();
            if let Some(form) = form.or_else(|| form_of(text, is_all)) {
                break form;
            }
        }
    };
    if head.starts_with(BYTE_ORDER_MARK) {
        head.drain(..BYTE_ORDER_MARK.len());
    }
    let keep = if form == Form::Kcat { KCAT_LINE_BYTES } else { keep };
    Ok(Current { pieces: Pieces::new(head, rest, keep), form })
}

fn error(file: &str, failure: Failure, lines: u64) -> Error {
    let file = file.to_owned();
    match failure {
        Failure::Device { source, .. } => Error::Device { file, lines, source },
        damaged @ Failure::Damaged { .. } => Error::Data { file, problem: damaged.to_string(), lines },
    }
}

/// Returns the form of a file that begins with this text, or `None` if more of it is needed.
///
/// `is_all` says that there is no more of it, or that as much has been looked at as may be.
fn form_of(text: &[u8], is_all: bool) -> Option<Form> {
    match text.first() {
        Some(b'[') => return Some(Form::Json),
        Some(b'{') => {}
        None if !is_all => return None,
        _ => return Some(Form::Raw),
    }
    let mut lines = text.split(|byte| *byte == b'\n');
    let first_line = lines.next().unwrap_or_default();
    let of_lines = if kcat::looks_like(first_line) { Form::Kcat } else { Form::Raw };
    let mut values = Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    let goes_on = match values.next() {
        Some(Err(error)) if error.is_eof() => return (is_all || of_lines == Form::Kcat).then_some(of_lines),
        // A value that is broken off ends inside of a string, or where a line begins with the next record.
        Some(Err(error)) if error.line() > 1 => {
            let line = lines.nth(error.line() - 2).unwrap_or_default();
            let object = line.trim_ascii_start();
            !object.starts_with(b"{") || error.column() > line.len() - object.len() + 1
        }
        Some(Err(_)) => false,
        _ => values.byte_offset() > first_line.len(),
    };
    Some(if goes_on { Form::Json } else { of_lines })
}

#[cfg(test)]
mod tests;
