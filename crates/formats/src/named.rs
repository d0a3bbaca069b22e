//! Enums of the core as readers get them: by name, with names that this version does not know.

use std::fmt;
use std::marker::PhantomData;

use livesession_grouping::{CloseCause, Status};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// An enum of the core that is written as a name.
pub trait Name: Copy {
    /// Returns the name.
    fn as_str(self) -> &'static str;

    /// Returns the value with that name, `None` if no value has it.
    fn parse(name: &str) -> Option<Self>;
}

impl Name for Status {
    fn as_str(self) -> &'static str {
        Status::as_str(self)
    }

    fn parse(name: &str) -> Option<Status> {
        Status::parse(name)
    }
}

impl Name for CloseCause {
    fn as_str(self) -> &'static str {
        CloseCause::as_str(self)
    }

    fn parse(name: &str) -> Option<CloseCause> {
        CloseCause::parse(name)
    }
}

/// A value that was read by name.
///
/// Version 1 of a format only gains names, so a reader takes one that it does not know as [`Named::Other`]. The core
/// matches its own enum, which has no such value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<T> {
    Known(T),
    /// A name that this version does not know; written as `other`.
    Other,
}

impl<T: Name> Named<T> {
    /// Returns the value with that name, [`Named::Other`] if no value has it.
    pub fn parse(name: &str) -> Named<T> {
        T::parse(name).map_or(Named::Other, Named::Known)
    }

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Named::Known(value) => value.as_str(),
            Named::Other => "other",
        }
    }
}

impl<T> From<T> for Named<T> {
    fn from(value: T) -> Named<T> {
        Named::Known(value)
    }
}

impl<T: PartialEq> PartialEq<T> for Named<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Named::Known(value) if value == other)
    }
}

impl<T: Name> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Name> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named<T>, D::Error> {
        struct NameVisitor<T>(PhantomData<T>);
        impl<T: Name> Visitor<'_> for NameVisitor<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Named<T>, E> {
                Ok(Named::parse(name))
            }
        }
        deserializer.deserialize_str(NameVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_read_as_they_are_written() {
        for status in [Status::Closed, Status::Withdrawn, Status::Open] {
            let json = serde_json::to_string(&Named::Known(status)).unwrap();
            assert_eq!(json, format!("\"{}\"", status.as_str()));
            assert_eq!(serde_json::from_str::<Named<Status>>(&json).unwrap(), status);
        }
    }

    #[test]
    fn unknown_name_is_other_and_stays_other() {
        for json in ["\"archived\"", "\"Closed\"", "\"\"", "\"other\"", "\"\\u0063losed\\u0000\""] {
            let read: Named<Status> = serde_json::from_str(json).unwrap();
            assert_eq!(read, Named::Other, "{json}");
            assert_ne!(read, Status::Closed, "{json}");
            assert_eq!(serde_json::to_string(&read).unwrap(), "\"other\"");
        }
        assert_eq!(serde_json::from_str::<Named<Status>>("\"\\u0063losed\"").unwrap(), Status::Closed, "escaped");
        for json in ["null", "1", "{\"closed\":null}", "[\"closed\"]"] {
            assert!(serde_json::from_str::<Named<Status>>(json).is_err(), "{json}");
        }
    }
}
