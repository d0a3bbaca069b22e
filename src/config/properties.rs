//! Settings of librdkafka that pass through, and the entries of `[[grouping.override]]`: what only a file can hold.
//!
//! Secrets are masked wherever they are shown. Which names librdkafka knows, their ranges, and which are not to be set by
//! hand is known to `livesession_kafka`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use livesession_grouping::policy::Override;
use livesession_grouping::time::Millis;
use secrecy::SecretString;
use toml::{Table, Value};

use super::problem::nearest;
use super::value::{Field, Kind};

/// Replacement for a secret.
pub const MASK: &str = "********";

/// Returns whether the value of a setting of librdkafka is a secret.
///
/// `sasl.oauthbearer.config` and `sasl.jaas.config` carry credentials inside a longer text.
pub fn is_secret(name: &str) -> bool {
    [
        "password",
        "secret",
        "token.value",
        "ssl.key.pem",
        "oauthbearer.config",
        "jaas",
        "credential",
        "assertion.private",
    ]
    .iter()
    .any(|part| name.contains(part))
}

/// Settings of librdkafka, by name. Neither `Debug` nor [`Field::shown`] reveals a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Iterates in the order of the names, secrets included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn insert(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds another set, whose values win.
    pub fn extend(&mut self, other: &Properties) {
        self.0.extend(other.0.clone());
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown())
    }
}

impl Field for Properties {
    const KIND: Kind = Kind::Section;

    fn parse(_text: &str) -> Result<Properties, String> {
        Err("can be set in a file only".to_owned())
    }

    /// Takes `"fetch.min.bytes" = 1` and also `fetch.min.bytes = 1`, which TOML reads as three sections.
    fn read(value: &Value) -> Result<Properties, String> {
        let Value::Table(entries) = value else {
            return Err(format!("expected a table, found {}", value.type_str()));
        };
        let mut properties = Properties::default();
        flatten("", entries, &mut properties)?;
        Ok(properties)
    }

    fn shown(&self) -> Value {
        let mask = |name: &str, value: &str| if is_secret(name) { MASK.to_owned() } else { value.to_owned() };
        Value::Table(self.iter().map(|(name, value)| (name.to_owned(), Value::String(mask(name, value)))).collect())
    }
}

fn flatten(prefix: &str, entries: &Table, into: &mut Properties) -> Result<(), String> {
    for (key, value) in entries {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&name, inner, into)?,
            Value::Array(_) => return Err(format!("`{name}` is an array: write one string, with commas")),
            Value::String(text) => into.insert(&name, text),
            other => into.insert(&name, &other.to_string()),
        }
    }
    Ok(())
}

/// A problem of a file of properties. Quotes no line: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("could not read {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}:{line} has no `=`", path.display())]
    Malformed { path: PathBuf, line: usize },
}

/// What the files hold that a configuration names, read once.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// What `kafka.password_file` holds, without its line end.
    pub password: Option<SecretString>,
    /// What `kafka.properties_file` holds.
    pub properties: Properties,
}

/// Reads a file in the format of `kcat -F`: `name=value` lines, blank lines, and comments that begin with `#`.
pub fn read_file(path: &Path) -> Result<Properties, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let mut properties = Properties::default();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let Some((name, value)) = trimmed.split_once('=') else {
            return Err(FileError::Malformed { path: path.to_owned(), line: index + 1 });
        };
        properties.insert(name.trim(), value.trim());
    }
    Ok(properties)
}

impl Field for Vec<Override> {
    const KIND: Kind = Kind::Section;

    fn parse(_text: &str) -> Result<Vec<Override>, String> {
        Err("can be set in a file only".to_owned())
    }

    fn read(value: &Value) -> Result<Vec<Override>, String> {
        let Value::Array(items) = value else {
            return Err("is an array of tables: write [[grouping.override]]".to_owned());
        };
        let mut overrides = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let entry = read_override(item).map_err(|problem| format!("entry {}: {problem}", index + 1))?;
            overrides.push(entry);
        }
        Ok(overrides)
    }

    fn shown(&self) -> Value {
        let table = |entry: &Override| {
            Table::from_iter([("streams".to_owned(), entry.streams.shown()), ("gap".to_owned(), entry.gap.shown())])
        };
        Value::Array(self.iter().map(table).map(Value::Table).collect())
    }
}

fn read_override(value: &Value) -> Result<Override, String> {
    let Value::Table(entries) = value else {
        return Err(format!("expected a table, found {}", value.type_str()));
    };
    let (mut streams, mut gap) = (None, None);
    for (key, inner) in entries {
        match key.as_str() {
            "streams" => streams = Some(String::read(inner).map_err(|problem| format!("`streams`: {problem}"))?),
            "gap" => gap = Some(Millis::read(inner).map_err(|problem| format!("`gap`: {problem}"))?),
            other => {
                let known = nearest(other, ["streams", "gap"]).unwrap_or("streams` or `gap");
                return Err(format!("unknown key `{other}`: did you mean `{known}`?"));
            }
        }
    }
    let streams = streams.ok_or_else(|| "`streams` is missing".to_owned())?;
    let gap = gap.ok_or_else(|| "`gap` is missing".to_owned())?;
    Ok(Override { streams, gap })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Value {
        Value::Table(toml::from_str(text).unwrap())
    }

    #[test]
    fn dotted_keys_with_and_without_quotes_mean_the_same() {
        let read = Properties::read(&table("\"fetch.min.bytes\" = 1")).unwrap();
        assert_eq!(read.get("fetch.min.bytes"), Some("1"));
        assert_eq!(Properties::read(&table("fetch.min.bytes = 1")), Ok(read));
        assert!(Properties::read(&table("a = []")).is_err());
    }

    #[test]
    fn every_scalar_is_passed_as_it_is_written() {
        let read = Properties::read(&table("a = true\nb = -7\nc = 0.5\nd = \"x y\"\ne = 1979-05-27")).unwrap();
        let expected = [("a", "true"), ("b", "-7"), ("c", "0.5"), ("d", "x y"), ("e", "1979-05-27")];
        assert_eq!(read.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn secrets_are_shown_neither_by_debug_nor_in_the_configuration() {
        let mut properties = Properties::default();
        for name in ["sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret", "ssl.key.pem"] {
            properties.insert(name, "hunter2");
        }
        properties.insert("client.rack", "a");
        let shown = format!("{properties:?} {}", properties.shown());
        assert!(!shown.contains("hunter2") && shown.contains("\"a\""), "{shown}");
        assert_eq!(properties.get("sasl.password"), Some("hunter2"));
    }

    #[test]
    fn overrides_need_both_keys_and_no_other() {
        let good = table("streams = \"a/*\"\ngap = \"10m\"");
        let read = Vec::<Override>::read(&Value::Array(vec![good])).unwrap();
        assert_eq!(read, [Override { streams: "a/*".to_owned(), gap: Millis::from_secs(600) }]);
        for (wrong, expected) in [
            ("streams = \"a\"", "entry 1: `gap` is missing"),
            ("gap = \"1m\"", "entry 1: `streams` is missing"),
            ("stream = \"a\"", "entry 1: unknown key `stream`: did you mean `streams`?"),
        ] {
            assert_eq!(Vec::<Override>::read(&Value::Array(vec![table(wrong)])), Err(expected.to_owned()));
        }
    }
}
