//! Reading the parameters of a question.
//!
//! Strict, because a misspelt parameter that is ignored gives an answer to another question: unknown and repeated names are
//! errors, so is a value that cannot be meant. Own decoding of the query, since an error has to name its parameter.

use super::problem::{Problem, quoted};
use livesession_formats::time::parse_timestamp;
use livesession_grouping::Status;
use livesession_index::StatusFilter;

/// Rows of a page unless told.
pub const DEFAULT_LIMIT: usize = 100;

/// Rows of a page at most.
pub const MAX_LIMIT: usize = 1_000;

/// Bytes of a query at most: a stream key is at most 18 KiB, written in percent three times that. Hyper reads no address of
/// more than 64 KiB, and answers 414 by itself.
const MAX_QUERY: usize = 60 * 1024;

/// The parameters of one question, decoded and in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    list: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Asked {
    /// Reads the query of a question about `list`, which may have the parameters `known`.
    ///
    /// # Errors
    ///
    /// A problem for the first name or value that cannot be used.
    pub fn read(list: &'static str, query: Option<&str>, known: &[&'static str]) -> Result<Asked, Problem> {
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(Problem::new(
                super::problem::Kind::BadParameter,
                format!("the query is longer than {MAX_QUERY} bytes"),
            ));
        }
        let mut values: Vec<(&'static str, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
            let sent = decode(raw_name).unwrap_or_else(|| raw_name.to_owned());
            let Some(name) = known.iter().find(|name| **name == sent) else {
                let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::new(
                    super::problem::Kind::BadParameter,
                    format!("there is no parameter {}; there are: {expected}", quoted(&sent)),
                ));
            };
            let Some(value) = decode(raw_value) else {
                return Err(Problem::parameter(name, "the value is not percent-encoded UTF-8"));
            };
            if value.contains(char::is_control) {
                return Err(Problem::parameter(name, "the value has a control character, which nothing here has"));
            }
            if values.iter().any(|(other, _)| other == name) {
                return Err(Problem::parameter(name, "the parameter is given more than once"));
            }
            values.push((name, value));
        }
        values.sort_unstable_by_key(|(name, _)| *name);
        Ok(Asked { list, values })
    }

    /// Returns the name of the list.
    pub fn list(&self) -> &'static str {
        self.list
    }

    /// Returns names and values, by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Returns a value as it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    /// Returns a value that must not be empty: an empty one is a form field that was left blank, and means nothing.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|value| !value.is_empty())
    }

    /// Returns the size of a page.
    ///
    /// # Errors
    ///
    /// A problem if it is not a number from 1 to [`MAX_LIMIT`].
    pub fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit") else { return Ok(DEFAULT_LIMIT) };
        match text.parse::<usize>() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(Problem::parameter("limit", format!("{} is not a number from 1 to {MAX_LIMIT}", quoted(text)))),
        }
    }

    /// Returns a number, if it was given.
    ///
    /// # Errors
    ///
    /// A problem if it is not a whole number that is not negative.
    pub fn number(&self, name: &'static str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let fault = || Problem::parameter(name, format!("{} is not a whole number from 0", quoted(text)));
        text.parse().map(Some).map_err(|_| fault())
    }

    /// Returns a time in milliseconds, if it was given.
    ///
    /// # Errors
    ///
    /// A problem if it is not RFC 3339, which says so when a `+` became a blank on the way.
    pub fn time(&self, name: &'static str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        if let Some(time) = parse_timestamp(text) {
            return Ok(Some(time.as_ms()));
        }
        let with_plus = text.rsplit_once(' ').map(|(time, offset)| format!("{time}+{offset}"));
        let detail = if with_plus.is_some_and(|text| parse_timestamp(&text).is_some()) {
            format!("{} has a blank before its offset: a + in a query means a blank, write %2B or use Z", quoted(text))
        } else {
            format!(
                "{} is not a time of RFC 3339 in the years 1970 to 9999, such as 2026-03-01T19:00:00Z",
                quoted(text)
            )
        };
        Err(Problem::parameter(name, detail))
    }

    /// Returns the interval `[from, to)`.
    ///
    /// # Errors
    ///
    /// A problem if either is no time, or they are the wrong way round.
    pub fn interval(&self) -> Result<(Option<i64>, Option<i64>), Problem> {
        let (from, to) = (self.time("from")?, self.time("to")?);
        match (from, to) {
            (Some(from), Some(to)) if from > to => Err(Problem::parameter("to", "`to` is before `from`")),
            bounds => Ok(bounds),
        }
    }

    /// Returns which statuses are asked for.
    ///
    /// # Errors
    ///
    /// A problem if there is no such status.
    pub fn status(&self) -> Result<StatusFilter, Problem> {
        let Some(asked) = self.filled("status") else { return Ok(StatusFilter::Current) };
        if asked == "any" {
            return Ok(StatusFilter::Any);
        }
        Status::parse(asked).map(StatusFilter::Is).ok_or_else(|| {
            let detail = format!("{} is not one of closed, withdrawn, open, any", quoted(asked));
            Problem::parameter("status", detail)
        })
    }

    /// Returns whether sessions are to come with their lists.
    ///
    /// # Errors
    ///
    /// A problem if it is not `segments`.
    pub fn with_segments(&self) -> Result<bool, Problem> {
        match self.filled("include") {
            None => Ok(false),
            Some("segments") => Ok(true),
            Some(other) => Err(Problem::parameter("include", format!("{} is not segments", quoted(other)))),
        }
    }
}

/// Decodes a part of a query: `+` is a blank, `%xx` a byte. `None` if that makes no UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a text for a query or a part of a path.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Asked, Problem> {
        Asked::read("x", Some(query), &["a", "b", "limit", "from", "to", "status", "include"])
    }

    #[test]
    fn values_are_decoded_and_encoded() {
        assert_eq!(decode("a%2Fb+c%E6%88%BF"), Some("a/b c房".to_owned()));
        for text in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        for text in ["", "a/b c", "房间", "%&=+#?", "\u{10ffff}"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn misspelt_repeated_and_broken_parameters_are_named() {
        assert_eq!(read("a=1&b=2&").unwrap().text("b"), Some("2"));
        assert_eq!(read("").unwrap().text("a"), None);
        for (query, param) in [
            ("c=1", None),
            ("A=1", None),
            ("a=1&a=1", Some("a")),
            ("a=%ff", Some("a")),
            ("a=%00", Some("a")),
            ("a=%1B%5B2J", Some("a")),
        ] {
            assert_eq!(read(query).unwrap_err().param, param, "{query}");
        }
        assert!(read(&format!("a={}", "x".repeat(MAX_QUERY))).is_err());
    }

    #[test]
    fn limits_are_from_1_to_1000() {
        for (text, expected) in
            [("1", Some(1)), ("1000", Some(1_000)), ("0", None), ("1001", None), ("-1", None), ("", None)]
        {
            assert_eq!(read(&format!("limit={text}")).unwrap().limit().ok(), expected, "{text:?}");
        }
        assert!(read("limit=99999999999999999999").unwrap().limit().is_err());
        assert_eq!(read("").unwrap().limit(), Ok(DEFAULT_LIMIT));
    }

    #[test]
    fn plus_that_became_a_blank_is_told() {
        let fault = |query: &str| read(query).unwrap().time("from").unwrap_err().detail;
        assert!(fault("from=2026-03-01T19:00:00+08:00").contains("write %2B"));
        assert!(!fault("from=yesterday+evening").contains("%2B"));
        let time = |query: &str| read(query).unwrap().time("from").unwrap();
        assert_eq!(time("from=2026-03-01T19:00:00%2B08:00"), time("from=2026-03-01T11:00:00Z"));
        assert_eq!(time("from="), None);
    }

    #[test]
    fn interval_may_be_a_point_but_not_inverted() {
        let interval = |from: &str, to: &str| read(&format!("from={from}&to={to}")).unwrap().interval();
        let (early, late) = ("2026-03-01T19:00:00Z", "2026-03-01T19:00:00.001Z");
        assert!(interval(early, late).is_ok() && interval(early, early).is_ok());
        assert_eq!(interval(late, early).unwrap_err().param, Some("to"));
    }
}
