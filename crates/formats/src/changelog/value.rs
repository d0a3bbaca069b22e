//! Values of the changelog as JSON: reading of any version, and the checks that all of them share.

use serde::{Deserialize, Serialize};

use super::{Error, VERSION};
use livesession_grouping::time::{Millis, Timestamp};

/// Appends a value as JSON. Writing numbers and texts to memory cannot fail.
pub(super) fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "numbers, texts and lists of them can be written");
}

/// Returns a value as JSON.
pub(super) fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    write_json(&mut bytes, value);
    bytes
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a value of this version.
pub(super) fn read<'a, T: Deserialize<'a>>(key: &str, value: &'a [u8]) -> Result<T, Error> {
    let unreadable = |source| Error::Unreadable { key: key.to_owned(), source };
    let read = serde_json::from_slice(value);
    // A newer value may lack fields: its version explains more than they do.
    let Versioned { version } = match &read {
        Ok(_) if value.starts_with(br#"{"version":1,"#) => return read.map_err(unreadable),
        _ => serde_json::from_slice(value).map_err(unreadable)?,
    };
    if version > VERSION {
        return Err(Error::Newer { key: key.to_owned(), version });
    }
    read.map_err(unreadable)
}

pub(super) fn time(key: &str, ms: i64) -> Result<Timestamp, Error> {
    Timestamp::from_ms(ms).ok_or_else(|| Error::OutOfRange { key: key.to_owned(), what: "a time" })
}

pub(super) fn optional_time(key: &str, ms: Option<i64>) -> Result<Option<Timestamp>, Error> {
    ms.map(|ms| time(key, ms)).transpose()
}

pub(super) fn span(key: &str, ms: i64) -> Result<Millis, Error> {
    Millis::from_ms(ms).ok_or_else(|| Error::OutOfRange { key: key.to_owned(), what: "a span of time" })
}
