//! Stream keys: what a stream is called in Kafka keys, in the changelog and in the index (rule: stream-key).
//!
//! The three parts are joined by `/`, and `%` and `/` inside a part are written `%25` and `%2F`, so that different
//! parts never make the same key, and a key reads like the push URL. In [`KeyParts::StreamId`] mode the first two are
//! empty, so that a key has the same form, and is split in the same way, in every deployment.

use std::borrow::Cow;

/// Which fields make the stream key (setting `stream_key` of the input).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyParts {
    /// Push domain, push path and stream id.
    #[default]
    AppAppnameStreamId,
    /// The stream id alone, for topics in which some notifications lack the other two.
    StreamId,
}

impl KeyParts {
    pub const ALL: [KeyParts; 2] = [KeyParts::AppAppnameStreamId, KeyParts::StreamId];

    pub const fn as_str(self) -> &'static str {
        match self {
            KeyParts::AppAppnameStreamId => "app/appname/stream_id",
            KeyParts::StreamId => "stream_id",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<KeyParts> {
        KeyParts::ALL.into_iter().find(|parts| parts.as_str() == text)
    }
}

/// Appends the stream key of three parts, absent ones empty.
pub fn write_stream_key(out: &mut String, app: &str, appname: &str, stream_id: &str) {
    write_part(out, app);
    out.push('/');
    write_part(out, appname);
    out.push('/');
    write_part(out, stream_id);
}

fn write_part(out: &mut String, part: &str) {
    let mut rest = part;
    while let Some(at) = memchr::memchr2(b'%', b'/', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        out.push_str(if rest.as_bytes()[at] == b'%' { "%25" } else { "%2F" });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Splits a stream key into `(app, appname, stream_id)`, undoing `%25` and `%2F`.
///
/// A text with fewer slashes is read from its end, since the stream id is the part that always exists. Any other `%`
/// stays.
pub fn split_stream_key(key: &str) -> (Cow<'_, str>, Cow<'_, str>, Cow<'_, str>) {
    let mut parts = key.rsplitn(3, '/').map(read_part);
    let stream_id = parts.next().unwrap_or_default();
    let appname = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), appname, stream_id)
}

fn read_part(part: &str) -> Cow<'_, str> {
    if part.contains('%') {
        // Slashes first: undoing `%25` makes new percent signs, undoing `%2F` does not.
        Cow::Owned(part.replace("%2F", "/").replace("%25", "%"))
    } else {
        Cow::Borrowed(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(app: &str, appname: &str, stream_id: &str) -> String {
        let mut key = String::new();
        write_stream_key(&mut key, app, appname, stream_id);
        key
    }

    #[test]
    fn key_is_the_parts_with_slash_and_percent_escaped() {
        assert_eq!(key("push.example.com", "live", "room-7"), "push.example.com/live/room-7");
        assert_eq!(key("", "", "room-7"), "//room-7");
        assert_eq!(key("a/b", "100%", "/"), "a%2Fb/100%25/%2F");
    }

    // rule: stream-key
    #[test]
    fn key_is_split_into_what_it_was_made_of() {
        let parts = ["", "a", "/", "%", "%2F", "%25", "%252F", "a/b%c", "//", "%%", "é/ü", "25", "2F"];
        let mut keys = std::collections::BTreeSet::new();
        for app in parts {
            for appname in parts {
                for stream_id in parts {
                    let made = key(app, appname, stream_id);
                    assert_eq!(split_stream_key(&made), (app.into(), appname.into(), stream_id.into()), "{made}");
                    assert!(keys.insert(made), "two streams with one key");
                }
            }
        }
    }

    #[test]
    fn shorter_text_is_read_from_its_end() {
        assert_eq!(split_stream_key("room-7"), ("".into(), "".into(), "room-7".into()));
        assert_eq!(split_stream_key("live/room-7"), ("".into(), "live".into(), "room-7".into()));
    }

    #[test]
    fn key_parts_are_read_as_they_are_written() {
        for parts in KeyParts::ALL {
            assert_eq!(KeyParts::parse(parts.as_str()), Some(parts));
        }
        assert_eq!(KeyParts::parse("app"), None);
        assert_eq!(KeyParts::default().as_str(), "app/appname/stream_id");
    }
}
