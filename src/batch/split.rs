//! Where one record ends and the next begins, in bounded memory.
//!
//! [`Pieces`] looks at a window of the file that grows until it holds a whole record. Usually the record is lent from
//! that window and nothing is copied. A record longer than `keep` bytes is not held: its beginning is kept, the rest is
//! counted and let go, so a line of a gigabyte costs no more than `keep`.
//!
//! Lines end with a line feed, with or without a carriage return before it. JSON values end where their brackets close.
//! A value whose rest is missing would swallow all that follows; but where a line begins with `{` and no JSON can have
//! one, the value before it is broken off, so that damage costs one record.

use std::io::Read;

use memchr::{memchr, memchr_iter, memchr3};

use super::source::{Failure, Source};

/// The first size of the window: large enough that its few system calls do not count.
const WINDOW_BYTES: usize = 256 * 1_024;

/// A record's bytes, to be borrowed by [`Pieces::bytes`], and where they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes are there.
    length: usize,
    /// They are in `kept`, not in the window.
    is_kept: bool,
    /// Its whole length, if it was longer than what may be kept.
    pub cut: Option<u64>,
    /// The line on which it begins, from 1.
    pub line: u64,
}

/// The records of one file.
pub struct Pieces {
    source: Source,
    window: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    /// How much of the window belongs to the piece that was returned last.
    lent: usize,
    /// The beginning of a record that is longer than `keep`.
    kept: Vec<u8>,
    keep: usize,
    /// Line feeds before the window's start.
    lines: u64,
}

impl Pieces {
    /// Reads from `source`; of a longer record only `keep` bytes are held.
    pub fn new(source: Source, keep: usize) -> Pieces {
        let window = vec![0; WINDOW_BYTES];
        let kept = Vec::new();
        Pieces { source, window, start: 0, end: 0, at_end: false, lent: 0, kept, keep, lines: 0 }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the line on which what follows begins, from 1.
    pub fn line(&self) -> u64 {
        self.lines + 1
    }

    /// Reads until `length` bytes or the end of the file are in the window, and returns what is there.
    ///
    /// # Errors
    ///
    /// What had been read before is lost on an error: there was not enough of it to tell what it is.
    pub fn peek(&mut self, length: usize) -> Result<&[u8], Failure> {
        while self.end - self.start < length && self.more()? {}
        Ok(self.unread())
    }

    /// Passes over bytes that have been peeked at.
    pub fn skip(&mut self, length: usize) {
        self.start += length;
    }

    /// Changes how much of a record is held.
    pub fn keep(&mut self, keep: usize) {
        self.keep = keep;
    }

    /// Returns the bytes of the piece that was returned last.
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        if piece.is_kept { &self.kept } else { &self.unread()[..piece.length] }
    }

    /// Returns the next line without its end, or `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<Piece>, Failure> {
        self.take_back();
        let line = self.line();
        let mut scanned = 0;
        loop {
            let unread = self.unread();
            if let Some(more) = memchr(b'\n', &unread[scanned..]) {
                let length = scanned + more;
                self.lent = length + 1;
                self.lines += 1;
                return Ok(Some(self.line_piece(length, line)));
            }
            scanned = unread.len();
            if scanned > self.keep {
                return self.long_line(line).map(Some);
            }
            if !self.more()? {
                self.lent = scanned;
                return Ok((scanned > 0).then(|| self.line_piece(scanned, line)));
            }
        }
    }

    /// Returns the next JSON value, or `None` at the end of the file.
    ///
    /// What is no value is returned up to the end of its line.
    pub fn next_value(&mut self) -> Result<Option<Piece>, Failure> {
        self.take_back();
        loop {
            let unread = self.unread();
            let blanks = unread.len() - unread.trim_ascii_start().len();
            let is_blank = blanks == unread.len();
            self.lines += count_lines(&unread[..blanks]);
            self.start += blanks;
            if !is_blank {
                break;
            }
            if !self.more()? {
                return Ok(None);
            }
        }
        let line = self.line();
        let mut scanner = Scanner::default();
        let mut scanned = 0;
        loop {
            let unread = self.unread();
            let end = scanner.scan(&unread[scanned..]).map(|length| scanned + length);
            scanned = unread.len();
            if end.is_none() && scanned > self.keep {
                return self.long_value(scanner, line).map(Some);
            }
            // Nothing more is read once the value is whole: a pipe may have nothing to give for hours.
            let end = match end {
                Some(end) => Some(end),
                None if self.more()? => None,
                None => Some(scanned),
            };
            if let Some(end) = end {
                let value = &self.unread()[..end];
                let length = value.trim_ascii_end().len();
                self.lines += count_lines(value);
                self.lent = end;
                return Ok(Some(self.piece(length, line)));
            }
        }
    }

    fn unread(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    fn take_back(&mut self) {
        self.start += self.lent;
        self.lent = 0;
    }

    /// Returns a piece of the window's first bytes; a shorter one, if they are more than may be kept.
    fn piece(&self, length: usize, line: u64) -> Piece {
        let cut = (length > self.keep).then_some(length as u64);
        Piece { length: length.min(self.keep), is_kept: false, cut, line }
    }

    fn line_piece(&self, length: usize, line: u64) -> Piece {
        let has_return = self.unread()[..length].last() == Some(&b'\r');
        self.piece(length - usize::from(has_return), line)
    }

    /// Lets go of a line that is longer than may be kept.
    fn long_line(&mut self, line: u64) -> Result<Piece, Failure> {
        self.keep_beginning();
        let mut total = 0_u64;
        let mut last = 0;
        loop {
            let unread = self.unread();
            let found = memchr(b'\n', unread);
            let length = found.unwrap_or(unread.len());
            last = unread[..length].last().copied().unwrap_or(last);
            total += length as u64;
            self.start += length + usize::from(found.is_some());
            if found.is_some() {
                self.lines += 1;
                break;
            }
            if !self.more()? {
                break;
            }
        }
        let total = total - u64::from(last == b'\r');
        Ok(Piece { length: self.keep, is_kept: true, cut: Some(total), line })
    }

    /// Lets go of a value that is longer than may be kept; all of the window has been scanned.
    fn long_value(&mut self, mut scanner: Scanner, line: u64) -> Result<Piece, Failure> {
        self.keep_beginning();
        let mut total = self.unread().len() as u64;
        self.lines += count_lines(self.unread());
        self.start = self.end;
        while self.more()? {
            let unread = self.unread();
            let found = scanner.scan(unread);
            let length = found.unwrap_or(unread.len());
            total += length as u64;
            self.lines += count_lines(&unread[..length]);
            self.start += length;
            if found.is_some() {
                break;
            }
        }
        Ok(Piece { length: self.keep, is_kept: true, cut: Some(total), line })
    }

    fn keep_beginning(&mut self) {
        self.kept.clear();
        self.kept.extend_from_slice(&self.window[self.start..self.start + self.keep]);
    }

    /// Reads more of the file into the window; `false` at its end.
    fn more(&mut self) -> Result<bool, Failure> {
        if self.at_end {
            return Ok(false);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.window.len() {
            if self.start > 0 {
                self.window.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.window.resize(self.window.len() * 2, 0);
            }
        }
        let read = self.source.read(&mut self.window[self.end..]);
        let length = read.map_err(|error| self.source.failure(error))?;
        self.end += length;
        self.at_end = length == 0;
        Ok(!self.at_end)
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Finds the end of one JSON value, a part of the file at a time.
#[derive(Default)]
pub struct Scanner {
    state: State,
    depth: u32,
    /// Bit n: the container at depth n + 1 is an object. Deeper ones are not known.
    objects: u64,
    /// The last byte outside of strings that was not blank.
    last: u8,
    /// Nothing but blanks since a line feed.
    at_line_start: bool,
    /// A line began with an object where none can be: the value is not whole.
    pub is_broken_off: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Structure,
    Text,
    Escape,
    /// No object, array or string: ends with its line.
    Other,
}

impl Scanner {
    /// Goes on with `bytes`, which must not be blank at the value's start; returns how many of them still belong to it.
    pub fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            match self.state {
                State::Start => match byte {
                    b'{' | b'[' | b'"' => self.state = State::Structure,
                    _ => self.state = State::Other,
                },
                State::Text => {
                    let length = memchr3(b'"', b'\\', b'\n', &bytes[at..])?;
                    at += length + 1;
                    match bytes[at - 1] {
                        b'\\' => self.state = State::Escape,
                        b'"' if self.depth == 0 => return Some(at),
                        found => {
                            // No string goes on after a line feed: it was broken off.
                            self.state = State::Structure;
                            self.at_line_start = found == b'\n';
                            if self.depth == 0 {
                                return Some(at);
                            }
                        }
                    }
                }
                State::Escape => {
                    self.state = State::Text;
                    at += usize::from(byte != b'\n');
                }
                State::Other => return memchr(b'\n', &bytes[at..]).map(|length| at + length),
                State::Structure => {
                    match byte {
                        b'\n' => self.at_line_start = true,
                        b' ' | b'\t' | b'\r' => {}
                        _ => {
                            if byte == b'{' && self.at_line_start && !self.may_open() {
                                self.is_broken_off = true;
                                return Some(at);
                            }
                            if self.significant(byte) {
                                return Some(at + 1);
                            }
                        }
                    }
                    at += 1;
                }
            }
        }
        None
    }

    /// Takes a byte that is not blank; returns whether it ends the value.
    fn significant(&mut self, byte: u8) -> bool {
        self.at_line_start = false;
        self.last = byte;
        match byte {
            b'"' => self.state = State::Text,
            b'{' | b'[' => {
                if self.depth < u64::BITS {
                    self.objects &= !(1 << self.depth);
                    self.objects |= u64::from(byte == b'{') << self.depth;
                }
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// Returns whether an object can begin here in any JSON text.
    fn may_open(&self) -> bool {
        if self.depth == 0 || self.depth > u64::BITS {
            return true;
        }
        let in_object = self.objects & (1 << (self.depth - 1)) != 0;
        if in_object { self.last == b':' } else { matches!(self.last, b'[' | b',') }
    }
}
