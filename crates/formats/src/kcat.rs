//! Lines as `kcat -J` prints them: a Kafka record as one JSON object.
//!
//! Works on bytes, not on text: kcat writes the bytes of a payload into a JSON string as they are, so a payload that is
//! not UTF-8 makes a line that is no JSON, and a JSON parser refuses exactly the records that somebody wants to look at.
//! Here such a line is read back to the bytes that were in Kafka.
//!
//! `headers` is a flat array, `[name, value, name, value]`; `payload` and `key` are strings or null; `ts` is in
//! milliseconds, and means nothing when `tstype` is `unknown`. Members that are not listed here are passed over. What
//! kcat writes with `-s` (numbers and objects as payload) is refused: it is no longer what was in Kafka.
//!
//! A line is bad data if it cannot be read, and not a refused record: its file is not what it is said to be.

use memchr::{memchr2, memchr2_iter};

use livesession_grouping::time::Timestamp;

/// What is wrong with a line, and at which byte of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at} of the line")]
pub struct Error {
    pub problem: &'static str,
    /// From 0.
    pub at: usize,
}

/// A record, borrowed from the [`Parser`] that read it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<Timestamp>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of a record, in their order; names may repeat.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    text: &'a [u8],
    /// A name and a value by turns.
    spans: &'a [Option<Span>],
}

/// A part of the parser's unescaped text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

impl<'a> Headers<'a> {
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let Headers { text, spans } = *self;
        let part = move |span: Span| &text[span.start..span.end];
        spans.chunks_exact(2).map(move |pair| (pair[0].map(part).unwrap_or_default(), pair[1].map(part)))
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} headers", self.spans.len() / 2)
    }
}

/// Reads lines one after another; keeps its buffers, so that a line allocates nothing.
#[derive(Default)]
pub struct Parser {
    text: Vec<u8>,
    headers: Vec<Option<Span>>,
}

/// Which of the members of a line have been seen.
#[derive(Default)]
struct Members {
    topic: Option<Span>,
    partition: Option<i32>,
    offset: Option<i64>,
    ts: Option<i64>,
    ts_unknown: bool,
    key: Option<Span>,
    /// Present, and perhaps null.
    payload: Option<Option<Span>>,
}

impl Parser {
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Reads one line. White space around the object is allowed.
    ///
    /// # Errors
    ///
    /// The line is not what `kcat -J` prints.
    pub fn parse(&mut self, line: &[u8]) -> Result<Line<'_>, Error> {
        self.text.clear();
        self.headers.clear();
        let mut cursor = Cursor { bytes: line, at: 0 };
        let mut members = Members::default();
        cursor.skip_blanks();
        cursor.expect(b'{', "expected an object")?;
        cursor.skip_blanks();
        if cursor.peek() == Some(b'}') {
            cursor.at += 1;
        } else {
            loop {
                self.member(&mut cursor, &mut members)?;
                cursor.skip_blanks();
                match cursor.next() {
                    Some(b',') => {}
                    Some(b'}') => break,
                    _ => return Err(cursor.error_before("expected a comma or the object's end")),
                }
            }
        }
        cursor.skip_blanks();
        if cursor.at < line.len() {
            return Err(cursor.error("unexpected text after the object"));
        }
        let missing = |problem| Error { problem, at: line.len() };
        let topic = members.topic.ok_or(missing("no `topic`"))?;
        let partition = members.partition.ok_or(missing("no `partition`"))?;
        let offset = members.offset.ok_or(missing("no `offset`"))?;
        let value = members.payload.ok_or(missing("no `payload`"))?;
        let timestamp = if members.ts_unknown { None } else { members.ts.and_then(Timestamp::from_ms) };
        let text = self.text.as_slice();
        let part = |span: Span| &text[span.start..span.end];
        let topic = std::str::from_utf8(part(topic)).map_err(|_| missing("`topic` is not UTF-8"))?;
        let headers = Headers { text, spans: &self.headers };
        Ok(Line { topic, partition, offset, timestamp, key: members.key.map(part), value: value.map(part), headers })
    }

    fn member(&mut self, cursor: &mut Cursor<'_>, members: &mut Members) -> Result<(), Error> {
        cursor.skip_blanks();
        let name = self.string(cursor)?;
        cursor.skip_blanks();
        cursor.expect(b':', "expected a colon")?;
        cursor.skip_blanks();
        // The name is not needed any more: its bytes are dropped again.
        let known = Member::of(&self.text[name.start..name.end]);
        self.text.truncate(name.start);
        match known {
            Member::Topic => members.topic = Some(self.string(cursor)?),
            Member::Partition => {
                let at = cursor.at;
                let number = i32::try_from(cursor.integer()?).ok().filter(|number| *number >= 0);
                members.partition = Some(number.ok_or(Error { problem: "`partition` is out of range", at })?);
            }
            Member::Offset => {
                let at = cursor.at;
                let number = cursor.integer()?;
                if number < 0 {
                    return Err(Error { problem: "`offset` is negative", at });
                }
                members.offset = Some(number);
            }
            Member::TsType => {
                let kind = self.nullable(cursor)?;
                members.ts_unknown = kind.is_none_or(|span| &self.text[span.start..span.end] == b"unknown");
            }
            Member::Ts => members.ts = if cursor.null() { None } else { Some(cursor.integer()?) },
            Member::Key => members.key = self.nullable(cursor)?,
            Member::Payload => members.payload = Some(self.nullable(cursor)?),
            Member::Headers => self.header_list(cursor)?,
            Member::Other => cursor.skip_value()?,
        }
        Ok(())
    }

    fn header_list(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Error> {
        self.headers.clear();
        if cursor.null() {
            return Ok(());
        }
        cursor.expect(b'[', "`headers` is not an array")?;
        cursor.skip_blanks();
        if cursor.peek() == Some(b']') {
            cursor.at += 1;
            return Ok(());
        }
        loop {
            cursor.skip_blanks();
            let is_name = self.headers.len().is_multiple_of(2);
            let part = if is_name { Some(self.string(cursor)?) } else { self.nullable(cursor)? };
            self.headers.push(part);
            cursor.skip_blanks();
            match cursor.next() {
                Some(b',') => {}
                Some(b']') => break,
                _ => return Err(cursor.error_before("expected a comma or the end of `headers`")),
            }
        }
        if self.headers.len().is_multiple_of(2) { Ok(()) } else { Err(cursor.error("a header has no value")) }
    }

    fn nullable(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Span>, Error> {
        if cursor.null() { Ok(None) } else { self.string(cursor).map(Some) }
    }

    /// Appends a string's bytes, unescaped, to `text`.
    fn string(&mut self, cursor: &mut Cursor<'_>) -> Result<Span, Error> {
        cursor.expect(b'"', "expected a string")?;
        let start = self.text.len();
        loop {
            let rest = &cursor.bytes[cursor.at..];
            let Some(length) = memchr2(b'"', b'\\', rest) else {
                cursor.at = cursor.bytes.len();
                return Err(cursor.error("a string does not end"));
            };
            self.text.extend_from_slice(&rest[..length]);
            cursor.at += length + 1;
            if rest[length] == b'"' {
                return Ok(Span { start, end: self.text.len() });
            }
            let escaped = match cursor.next() {
                Some(byte @ (b'"' | b'\\' | b'/')) => byte,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'b') => 0x08,
                Some(b'f') => 0x0c,
                Some(b'u') => {
                    let letter = cursor.unicode_escape()?;
                    self.text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(cursor.error_before("unknown escape")),
            };
            self.text.push(escaped);
        }
    }
}

/// The members that are read.
#[derive(Clone, Copy)]
enum Member {
    Topic,
    Partition,
    Offset,
    TsType,
    Ts,
    Key,
    Payload,
    Headers,
    Other,
}

impl Member {
    fn of(name: &[u8]) -> Member {
        match name {
            b"topic" => Member::Topic,
            b"partition" => Member::Partition,
            b"offset" => Member::Offset,
            b"tstype" => Member::TsType,
            b"ts" => Member::Ts,
            b"key" => Member::Key,
            b"payload" => Member::Payload,
            b"headers" => Member::Headers,
            _ => Member::Other,
        }
    }
}

/// A place in a line.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn error(&self, problem: &'static str) -> Error {
        Error { problem, at: self.at.min(self.bytes.len()) }
    }

    /// An error at the byte that was read last.
    fn error_before(&self, problem: &'static str) -> Error {
        Error { problem, at: (self.at - 1).min(self.bytes.len()) }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), Error> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.error(problem))
        }
    }

    /// Passes over `null`, if it is next.
    fn null(&mut self) -> bool {
        let is_null = self.bytes[self.at..].starts_with(b"null");
        self.at += if is_null { 4 } else { 0 };
        is_null
    }

    fn integer(&mut self) -> Result<i64, Error> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let ends = matches!(self.peek(), None | Some(b',' | b'}' | b' ' | b'\t' | b'\r'));
        let digits = std::str::from_utf8(&self.bytes[start..self.at]).ok();
        let number = digits.and_then(|digits| digits.parse().ok()).filter(|_| ends);
        number.ok_or(Error { problem: "expected an integer", at: start })
    }

    /// Reads what follows `\u`; a pair of surrogates is one letter.
    fn unicode_escape(&mut self) -> Result<char, Error> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(self.error("half a surrogate pair"));
        }
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return Err(self.error("half a surrogate pair"));
        }
        self.at += 2;
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(self.error("half a surrogate pair"));
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(self.error("no letter"))
    }

    fn hex(&mut self) -> Result<u32, Error> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += if number.is_some() { 4 } else { 0 };
        number.ok_or(self.error("expected four hexadecimal digits"))
    }

    /// Passes over a value that nobody reads: only its end matters.
    fn skip_value(&mut self) -> Result<(), Error> {
        let start = self.at;
        let mut depth = 0_u32;
        loop {
            match self.next() {
                Some(b'"') => self.skip_string()?,
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') if depth > 0 => depth -= 1,
                Some(b',' | b'}' | b']') if depth == 0 => {
                    self.at -= 1;
                    return if self.at > start { Ok(()) } else { Err(self.error("expected a value")) };
                }
                Some(_) => {}
                None => return Err(self.error("a value does not end")),
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), Error> {
        let start = self.at;
        let mut escaped_at = None;
        for index in memchr2_iter(b'"', b'\\', &self.bytes[start..]) {
            if escaped_at == Some(index) {
                continue;
            }
            if self.bytes[start + index] == b'"' {
                self.at = start + index + 1;
                return Ok(());
            }
            escaped_at = Some(index + 1);
        }
        self.at = self.bytes.len();
        Err(self.error("a string does not end"))
    }
}

/// Returns whether `start`, the beginning of a file, is the beginning of a line of `kcat -J`.
///
/// It need not hold the whole line: the members before the payload and the payload's name are enough.
pub fn looks_like(start: &[u8]) -> bool {
    let mut cursor = Cursor { bytes: start, at: 0 };
    let mut seen = [false; 3];
    cursor.skip_blanks();
    if cursor.next() != Some(b'{') {
        return false;
    }
    loop {
        cursor.skip_blanks();
        let name_start = cursor.at + 1;
        if cursor.next() != Some(b'"') || cursor.skip_string().is_err() {
            return false;
        }
        match Member::of(&start[name_start..cursor.at - 1]) {
            Member::Topic => seen[0] = true,
            Member::Partition => seen[1] = true,
            Member::Payload => seen[2] = true,
            _ => {}
        }
        if seen == [true; 3] {
            return true;
        }
        cursor.skip_blanks();
        if cursor.next() != Some(b':') || cursor.skip_value().is_err() || cursor.next() != Some(b',') {
            return false;
        }
    }
}

/// Appends the line, with its line feed, that [`Parser::parse`] reads back to the same record.
pub fn write<'h>(
    out: &mut Vec<u8>,
    (topic, partition, offset): (&str, i32, i64),
    timestamp: Option<Timestamp>,
    headers: impl IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
) {
    out.extend_from_slice(b"{\"topic\":");
    write_string(out, topic.as_bytes());
    out.extend_from_slice(format!(",\"partition\":{partition},\"offset\":{offset}").as_bytes());
    let (kind, ms) = timestamp.map_or(("unknown", -1), |timestamp| ("create", timestamp.as_ms()));
    out.extend_from_slice(format!(",\"tstype\":\"{kind}\",\"ts\":{ms},\"headers\":[").as_bytes());
    for (index, (name, text)) in headers.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b',');
        write_nullable(out, text);
    }
    out.extend_from_slice(b"],\"key\":");
    write_nullable(out, key);
    out.extend_from_slice(b",\"payload\":");
    write_nullable(out, value);
    out.extend_from_slice(b"}\n");
}

fn write_nullable(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a JSON string; bytes that are not UTF-8 stay as they are.
fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut written = 0;
    for (index, byte) in text.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text[written..index]);
        if escaped.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escaped);
        }
        written = index + 1;
    }
    out.extend_from_slice(&text[written..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
