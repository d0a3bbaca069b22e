//! Cursors: where a list goes on, as an opaque text.
//!
//! A cursor is bound to its question and to the filling of the index. Its fingerprint covers all parameters of the list but
//! `limit`: with another stream or interval it would skip rows without anybody noticing, so that is an error. It is no
//! signature, and need not be: a forged one can only ask for what may be asked for anyway.

use super::ask::Asked;
use super::problem::{Problem, other_index};

/// Writes the cursor of a page that ends at `position`.
pub fn write(asked: &Asked, generation: &str, position: &str) -> String {
    let text = format!("{:016x}{generation}.{position}", fingerprint(asked, generation, position));
    base64url(text.as_bytes())
}

/// Reads the position from a cursor of the same question.
///
/// # Errors
///
/// A problem of the parameter `cursor` if it is not one of ours or is of another question, and [`other_index`] if it is of
/// another filling.
pub fn read(asked: &Asked, generation: &str) -> Result<Option<String>, Problem> {
    let Some(cursor) = asked.text("cursor") else { return Ok(None) };
    let bad = || {
        Problem::parameter(
            "cursor",
            "the cursor is not one of this list: take `next` as it is, with the same parameters",
        )
    };
    let text = from_base64url(cursor).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
    let (found, rest) = text.split_at_checked(16).ok_or_else(bad)?;
    let (its_generation, position) = rest.split_once('.').ok_or_else(bad)?;
    if found != format!("{:016x}", fingerprint(asked, its_generation, position)) {
        return Err(bad());
    }
    if its_generation != generation {
        return Err(other_index());
    }
    Ok(Some(position.to_owned()))
}

/// FNV-1a over what a cursor is bound to, each part ended by a byte that no text has.
fn fingerprint(asked: &Asked, generation: &str, position: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |part: &str| {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    add(asked.list());
    for (name, value) in asked.all().filter(|(name, _)| !matches!(*name, "cursor" | "limit")) {
        add(name);
        add(value);
    }
    add(generation);
    add(position);
    hash
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes bytes as base64url without padding.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for (place, letter) in chunk.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == letter)?;
            bits |= u32::try_from(value).ok()? << (18 - 6 * place);
        }
        // One letter alone is less than a byte.
        if chunk.len() == 1 {
            return None;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::problem::Kind;
    use super::*;

    const KNOWN: [&str; 4] = ["stream", "from", "limit", "cursor"];

    fn asked(query: &str) -> Asked {
        Asked::read("sessions", Some(query), &KNOWN).unwrap()
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        for length in 0..300_usize {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 % 256) as u8).collect();
            assert_eq!(from_base64url(&base64url(&bytes)), Some(bytes));
        }
        assert_eq!(base64url(b"\xfb\xff?"), "-_8_");
        for text in ["A", "AAAAA", "A=", "A+A", "é", "\0\0"] {
            assert_eq!(from_base64url(text), None, "{text:?}");
        }
    }

    #[test]
    fn cursor_goes_on_in_its_own_list_only() {
        let cursor = write(&asked("stream=a&from=b&limit=5"), "gen1", "17:id");
        let read_with = |query: &str| read(&asked(&format!("{query}&cursor={cursor}")), "gen1");
        assert_eq!(read_with("stream=a&from=b"), Ok(Some("17:id".to_owned())));
        assert_eq!(read_with("from=b&limit=9&stream=a"), Ok(Some("17:id".to_owned())), "order and limit do not matter");
        for query in ["stream=a", "stream=b&from=b", "stream=ab&from=", "stream=b&from=a", "limit=5"] {
            assert_eq!(read_with(query).unwrap_err().param, Some("cursor"), "{query}");
        }
        let elsewhere = Asked::read("streams", Some(&format!("stream=a&from=b&cursor={cursor}")), &KNOWN).unwrap();
        assert_eq!(read(&elsewhere, "gen1").unwrap_err().kind, Kind::BadParameter);
        let same = asked(&format!("stream=a&from=b&cursor={cursor}"));
        assert_eq!(read(&same, "gen2").unwrap_err().kind, Kind::OtherIndex);
        assert_eq!(read(&asked("stream=a"), "gen1"), Ok(None));
    }

    #[test]
    fn text_that_is_no_cursor_is_refused() {
        let good = write(&asked("stream=a"), "gen1", "17:id");
        let mut broken: Vec<String> = (0..good.len()).map(|end| good[..end].to_owned()).collect();
        broken.extend(["", "x", "AAAA", "%20", "../../etc", "🦀"].map(str::to_owned));
        broken.push(base64url(b"0000000000000000gen1.17:id"));
        broken.push(base64url("éééééééé0gen1.x".as_bytes()));
        for text in broken {
            let outcome = read(&asked(&format!("stream=a&cursor={text}")), "gen1");
            assert_eq!(outcome.unwrap_err().param, Some("cursor"), "{text:?}");
        }
    }
}
