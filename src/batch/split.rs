//! The splitter: the bounds of each record of a file, in bounded memory.
//!
//! Of a record longer than `keep` bytes the beginning is kept and the rest is counted, so a line of a gigabyte costs no
//! more than `keep`.
//!
//! Lines end with a line feed, with or without a carriage return before it. JSON values end where serde_json says. A value
//! whose rest is missing would swallow all that follows, so a broken one ends where the next record's object begins: damage
//! costs one record.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use memchr::{memchr, memchr_iter};
use serde::de::IgnoredAny;
use serde_json::Deserializer;

use super::source::Source;

/// How much is read at once: enough that few values lie across two reads, and that system calls do not count.
const BUFFER_BYTES: usize = 256 * 1_024;

/// A record, whose bytes [`Pieces::bytes`] returns, and where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its whole length, if it was longer than what may be kept.
    pub cut: Option<u64>,
    /// The line on which it begins, from 1.
    pub line: u64,
}

/// The records of one file.
pub struct Pieces {
    /// What was looked at before the first record, and the rest of the file.
    reader: Chain<Cursor<Vec<u8>>, BufReader<Source>>,
    /// The piece that was returned last, or its beginning.
    piece: Vec<u8>,
    keep: usize,
    /// Line feeds that have been passed.
    lines: u64,
}

/// Returns a buffered reader, to be looked at before [`Pieces::new`] takes it.
pub fn buffered(source: Source) -> BufReader<Source> {
    BufReader::with_capacity(BUFFER_BYTES, source)
}

impl Pieces {
    /// Reads `head`, then `rest`; of a longer record only `keep` bytes are held.
    pub fn new(head: Vec<u8>, rest: BufReader<Source>, keep: usize) -> Pieces {
        Pieces { reader: Cursor::new(head).chain(rest), piece: Vec::new(), keep, lines: 0 }
    }

    pub fn source(&self) -> &Source {
        self.reader.get_ref().1.get_ref()
    }

    /// Returns the line on which what follows begins, from 1.
    pub fn line(&self) -> u64 {
        self.lines + 1
    }

    /// Returns the bytes of the piece that was returned last.
    pub fn bytes(&self) -> &[u8] {
        &self.piece
    }

    /// Returns the next line without its end, or `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// Those of [`Source`]; what had been read of the line is lost.
    pub fn next_line(&mut self) -> io::Result<Option<Piece>> {
        let line = self.line();
        self.piece.clear();
        let (mut length, mut last) = (0, 0);
        loop {
            let unread = self.reader.fill_buf()?;
            if unread.is_empty() && length == 0 {
                return Ok(None);
            }
            let found = memchr(b'\n', unread);
            let part = &unread[..found.unwrap_or(unread.len())];
            let is_end = found.is_some() || part.is_empty();
            let used = part.len() + usize::from(found.is_some());
            length += part.len();
            last = part.last().copied().unwrap_or(last);
            self.piece.extend_from_slice(&part[..part.len().min(self.keep - self.piece.len())]);
            self.reader.consume(used);
            self.lines += u64::from(found.is_some());
            if is_end {
                return Ok(Some(self.finish(length - usize::from(last == b'\r'), line)));
            }
        }
    }

    /// Returns the next JSON value, or `None` at the end of the file.
    ///
    /// What begins like no object, array or string is returned up to the end of its line.
    ///
    /// # Errors
    ///
    /// Those of [`Source`]; what had been read of the value is lost.
    pub fn next_value(&mut self) -> io::Result<Option<Piece>> {
        let first = loop {
            let unread = self.reader.fill_buf()?;
            if unread.is_empty() {
                return Ok(None);
            }
            let text = unread.trim_ascii_start();
            let (blanks, first) = (unread.len() - text.len(), text.first().copied());
            self.lines += count_lines(&unread[..blanks]);
            self.reader.consume(blanks);
            if let Some(first) = first {
                break first;
            }
        };
        if !matches!(first, b'{' | b'[' | b'"') {
            return self.next_line();
        }
        let line = self.line();
        self.piece.clear();
        let unread = self.reader.fill_buf()?;
        let mut values = Deserializer::from_slice(unread).into_iter::<IgnoredAny>();
        if let Some(Ok(_)) = values.next() {
            let length = values.byte_offset();
            self.piece.extend_from_slice(&unread[..length.min(self.keep)]);
            self.lines += count_lines(&unread[..length]);
            self.reader.consume(length);
            return Ok(Some(self.finish(length, line)));
        }
        // It is broken, or does not end in what has been read.
        let mut bytes = Bytes::of(self);
        let value = Deserializer::from_reader(&mut bytes).into_iter::<IgnoredAny>().next();
        match value {
            Some(Err(error)) if error.is_io() => return Err(error.into()),
            Some(Err(error)) if !error.is_eof() => bytes.pass_broken()?,
            _ => bytes.accept(),
        }
        let length = bytes.length;
        Ok(Some(self.finish(length, line)))
    }

    fn finish(&mut self, length: usize, line: u64) -> Piece {
        self.piece.truncate(length);
        Piece { cut: (length > self.keep).then_some(length as u64), line }
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Lends bytes to a parser one by one; those that follow a value stay where they are.
struct Bytes<'p> {
    pieces: &'p mut Pieces,
    /// Lent last, and not accepted yet.
    lent: Option<u8>,
    accepted: usize,
    /// Accepted bytes up to the last one that is not blank.
    length: usize,
    /// The last accepted byte that is not blank.
    last: u8,
    /// Nothing but blanks has been accepted since a line feed.
    at_line_start: bool,
}

impl<'p> Bytes<'p> {
    fn of(pieces: &'p mut Pieces) -> Bytes<'p> {
        Bytes { pieces, lent: None, accepted: 0, length: 0, last: 0, at_line_start: false }
    }

    /// Accepts the byte that was lent last.
    fn accept(&mut self) {
        let Some(byte) = self.lent.take() else { return };
        self.pieces.reader.consume(1);
        self.pieces.lines += u64::from(byte == b'\n');
        if self.pieces.piece.len() < self.pieces.keep {
            self.pieces.piece.push(byte);
        }
        self.accepted += 1;
        if byte == b'\n' {
            self.at_line_start = true;
        } else if !byte.is_ascii_whitespace() {
            self.at_line_start = false;
            self.last = byte;
            self.length = self.accepted;
        }
    }

    /// Accepts the rest of a broken value, from where the parser gave up to the object that is the next record.
    ///
    /// That object begins a line or follows another object, and is no member of an array or of an object. Where the parser
    /// gave up no member can begin, whatever precedes it.
    fn pass_broken(&mut self) -> io::Result<()> {
        self.last = 0;
        loop {
            let is_member = matches!(self.last, b'[' | b',' | b':');
            if self.lent == Some(b'{') && !is_member && (self.at_line_start || self.last == b'}') {
                return Ok(());
            }
            if self.read(&mut [0])? == 0 {
                return Ok(());
            }
        }
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.accept();
        self.lent = self.pieces.reader.fill_buf()?.first().copied();
        match (self.lent, buffer) {
            (Some(byte), [first, ..]) => {
                *first = byte;
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}
