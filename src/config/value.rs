//! Types of settings: reading each from a file or from text, and showing it.
//!
//! [`Field`] is implemented once for each type of setting, so that the table of settings needs no parser of its own. An
//! error is a text for people without the name of the setting, which the caller knows. Settings that are one of a few words
//! are read in any case, because Kafka's own documents write `SASL_SSL`, and shown in ours.
//!
//! Text (environment, flags) and file values are read by two functions: `workers = "4"` in a file is a mistake that says
//! so, while in the environment everything is text.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::partition::Start;
use livesession_formats::notification::KeyParts;
use livesession_formats::time::parse_span;
use livesession_grouping::time::Millis;
use toml::Value;

/// The kind of a setting, for help texts, completions and the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Strings; separated by commas in the environment and in a flag.
    List,
    Duration,
    Size,
    Count,
    Switch,
    Choice(&'static [&'static str]),
    Path,
    Address,
    /// Has a structure that only a file can hold.
    Section,
}

/// A type that a setting can have.
pub trait Field: Sized {
    const KIND: Kind;

    /// Reads the value from the environment or from a flag.
    fn parse(text: &str) -> Result<Self, String>;

    /// Reads the value from a file.
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::parse(text),
            other => Err(format!("expected a string, found {}", other.type_str())),
        }
    }

    /// Returns the value as a file would say it, secrets masked.
    fn shown(&self) -> Value;
}

/// A size in bytes, written `768KiB`, `1MiB` or as plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl fmt::Display for Bytes {
    /// Writes the greatest unit that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        match whole {
            Some((unit, size)) if *size > 1 => write!(f, "{}{unit}", self.0 / size),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Field for Bytes {
    const KIND: Kind = Kind::Size;

    fn parse(text: &str) -> Result<Bytes, String> {
        let trimmed = text.trim();
        let unit = UNITS.iter().find_map(|(unit, size)| Some((trimmed.strip_suffix(unit)?, *size)));
        let (digits, size) = unit.unwrap_or((trimmed, 1));
        let repair = || format!("cannot read {text:?} as a size (write 1048576, 768KiB or 1MiB)");
        let number: u64 = digits.trim_end().parse().map_err(|_| repair())?;
        number.checked_mul(size).filter(|bytes| i64::try_from(*bytes).is_ok()).map(Bytes).ok_or_else(repair)
    }

    fn read(value: &Value) -> Result<Bytes, String> {
        match value {
            Value::String(text) => Bytes::parse(text),
            Value::Integer(number) => u64::try_from(*number).map(Bytes).map_err(|_| format!("{number} is negative")),
            other => Err(format!("expected a size such as \"768KiB\", found {}", other.type_str())),
        }
    }

    fn shown(&self) -> Value {
        let text = self.to_string();
        match i64::try_from(self.0) {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Value::Integer(number),
            _ => Value::String(text),
        }
    }
}

impl Field for Millis {
    const KIND: Kind = Kind::Duration;

    fn parse(text: &str) -> Result<Millis, String> {
        if text.trim() == "0" {
            return Ok(Millis::ZERO);
        }
        parse_span(text).map_err(|problem| format!("cannot read {text:?} as a duration: {problem}"))
    }

    /// Takes no integer but 0: seconds and milliseconds are too easily confused.
    fn read(value: &Value) -> Result<Millis, String> {
        match value {
            Value::String(text) => parse_span(text).map_err(|problem| format!("cannot read {text:?}: {problem}")),
            Value::Integer(0) => Ok(Millis::ZERO),
            Value::Integer(number) => Err(format!("{number} has no unit (write \"{number}s\" or \"{number}ms\")")),
            other => Err(format!("expected a duration such as \"3m\", found {}", other.type_str())),
        }
    }

    fn shown(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl Field for u32 {
    const KIND: Kind = Kind::Count;

    fn parse(text: &str) -> Result<u32, String> {
        text.trim().parse().map_err(|_| format!("cannot read {text:?} as a number from 0 to {}", u32::MAX))
    }

    fn read(value: &Value) -> Result<u32, String> {
        match value {
            Value::Integer(number) => {
                u32::try_from(*number).map_err(|_| format!("{number} is not between 0 and {}", u32::MAX))
            }
            other => Err(format!("expected an integer, found {}", other.type_str())),
        }
    }

    fn shown(&self) -> Value {
        Value::Integer(i64::from(*self))
    }
}

impl Field for bool {
    const KIND: Kind = Kind::Switch;

    fn parse(text: &str) -> Result<bool, String> {
        match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("cannot read {text:?} as true or false")),
        }
    }

    fn read(value: &Value) -> Result<bool, String> {
        match value {
            Value::Boolean(on) => Ok(*on),
            other => Err(format!("expected a boolean, found {}", other.type_str())),
        }
    }

    fn shown(&self) -> Value {
        Value::Boolean(*self)
    }
}

impl Field for String {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn shown(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Field for PathBuf {
    const KIND: Kind = Kind::Path;

    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
    }

    fn shown(&self) -> Value {
        Value::String(self.display().to_string())
    }
}

impl Field for SocketAddr {
    const KIND: Kind = Kind::Address;

    fn parse(text: &str) -> Result<SocketAddr, String> {
        text.trim().parse().map_err(|_| {
            format!("cannot read {text:?} as an address and a port (write 127.0.0.1:9464 or [::1]:9464; names are not looked up)")
        })
    }

    fn shown(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// An empty text stands for a setting that is not set.
impl<T: Field> Field for Option<T> {
    const KIND: Kind = T::KIND;

    fn parse(text: &str) -> Result<Option<T>, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn read(value: &Value) -> Result<Option<T>, String> {
        match value {
            Value::String(text) if text.is_empty() => Ok(None),
            other => T::read(other).map(Some),
        }
    }

    fn shown(&self) -> Value {
        self.as_ref().map_or(Value::String(String::new()), T::shown)
    }
}

impl Field for Vec<String> {
    const KIND: Kind = Kind::List;

    fn parse(text: &str) -> Result<Vec<String>, String> {
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    /// Takes a string with commas too: `brokers = "a:9092,b:9092"` is a likely mistake.
    fn read(value: &Value) -> Result<Vec<String>, String> {
        match value {
            Value::String(text) => Vec::parse(text),
            Value::Array(items) => {
                let mut texts = Vec::new();
                for item in items {
                    texts.push(String::read(item)?);
                }
                Ok(texts)
            }
            other => Err(format!("expected an array of strings, found {}", other.type_str())),
        }
    }

    fn shown(&self) -> Value {
        Value::Array(self.iter().cloned().map(Value::String).collect())
    }
}

/// Defines a setting that is one of a few words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$variant),+];

            /// Returns the word that stands for it in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        words!($name);
    };
}

/// Makes a setting of an enum that lists its values in `ALL` and their words in `as_str`.
macro_rules! words {
    ($name:ident) => {
        impl Field for $name {
            const KIND: Kind = Kind::Choice(&{
                let mut words = [""; $name::ALL.len()];
                let mut index = 0;
                while index < words.len() {
                    words[index] = $name::ALL[index].as_str();
                    index += 1;
                }
                words
            });

            fn parse(text: &str) -> Result<$name, String> {
                let found = $name::ALL.into_iter().find(|value| value.as_str().eq_ignore_ascii_case(text.trim()));
                found.ok_or_else(|| format!("{text:?} is none of {}", $name::ALL.map($name::as_str).join(", ")))
            }

            fn shown(&self) -> Value {
                Value::String(self.as_str().to_owned())
            }
        }
    };
}

// Enums of the modules that are told them.
words!(KeyParts);
words!(Start);

choice! {
    /// Format of log lines.
    LogFormat {
        /// Text on a terminal, else JSON.
        Auto = "auto",
        Json = "json",
        Text = "text",
    }
}

choice! {
    /// Encryption and login of connections to brokers.
    SecurityProtocol {
        Plaintext = "plaintext",
        Ssl = "ssl",
        SaslPlaintext = "sasl_plaintext",
        SaslSsl = "sasl_ssl",
    }
}

choice! {
    /// SASL mechanism of a login.
    SaslMechanism {
        Plain = "PLAIN",
        ScramSha256 = "SCRAM-SHA-256",
        ScramSha512 = "SCRAM-SHA-512",
        OAuthBearer = "OAUTHBEARER",
    }
}

impl SecurityProtocol {
    /// Returns whether connections are encrypted.
    pub fn uses_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    /// Returns whether a client logs in.
    pub fn uses_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

impl SaslMechanism {
    /// Returns whether the login is a name and a password.
    pub fn needs_password(self) -> bool {
        !matches!(self, SaslMechanism::OAuthBearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn sizes_are_read_as_they_are_shown() {
        for (written, bytes) in [("768KiB", 786_432), ("2MiB", 2_097_152), ("1GiB", 1 << 30), ("1025", 1_025), ("0", 0)]
        {
            assert_eq!(Bytes::parse(written), Ok(Bytes(bytes)), "{written}");
            assert_eq!(Bytes(bytes).to_string(), written);
            assert_eq!(Bytes::read(&Bytes(bytes).shown()), Ok(Bytes(bytes)));
        }
        assert_eq!(Bytes::parse(" 12 B "), Ok(Bytes(12)));
        for wrong in ["", "KiB", "1.5MiB", "-1", "1MB", "9223372036854775808", "99999999999GiB"] {
            assert!(Bytes::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Bytes::read(&Value::Integer(-1)).is_err());
    }

    #[test]
    fn durations_need_a_unit_unless_they_are_zero() {
        assert_eq!(Millis::read(&text("1h 30m")), Ok(Millis::from_secs(5_400)));
        assert_eq!(Millis::read(&Value::Integer(0)), Ok(Millis::ZERO));
        assert_eq!(parse_span("0"), Ok(Millis::ZERO));
        assert!(Millis::read(&Value::Integer(3)).unwrap_err().contains("\"3s\""));
        assert!(parse_span("3").is_err());
    }

    #[test]
    fn a_number_in_quotes_is_refused_in_a_file_and_read_from_the_environment() {
        assert_eq!(u32::parse("4"), Ok(4));
        assert!(u32::read(&text("4")).is_err());
        assert!(bool::read(&text("true")).is_err());
        assert_eq!(u32::read(&Value::Integer(i64::from(u32::MAX))), Ok(u32::MAX));
        for wrong in [-1, i64::from(u32::MAX) + 1] {
            assert!(u32::read(&Value::Integer(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_text_unsets_and_commas_make_lists() {
        assert_eq!(Option::<String>::parse(""), Ok(None));
        assert_eq!(Option::<PathBuf>::read(&text("")), Ok(None));
        let both = vec!["a:9092".to_owned(), "b:9092".to_owned()];
        assert_eq!(Vec::parse("a:9092, b:9092,"), Ok(both.clone()));
        assert_eq!(Vec::read(&both.shown()), Ok(both));
    }

    #[test]
    fn choices_are_read_in_any_case() {
        assert_eq!(SecurityProtocol::parse("SASL_SSL"), Ok(SecurityProtocol::SaslSsl));
        assert_eq!(SaslMechanism::parse("scram-sha-512"), Ok(SaslMechanism::ScramSha512));
        assert_eq!(Start::parse("newest"), Err("\"newest\" is none of earliest, latest".to_owned()));
    }

    #[test]
    fn only_the_protocols_that_say_so_encrypt_and_log_in() {
        for (protocol, tls, sasl) in [
            (SecurityProtocol::Plaintext, false, false),
            (SecurityProtocol::Ssl, true, false),
            (SecurityProtocol::SaslPlaintext, false, true),
            (SecurityProtocol::SaslSsl, true, true),
        ] {
            assert_eq!((protocol.uses_tls(), protocol.uses_sasl()), (tls, sasl), "{}", protocol.as_str());
        }
    }
}
