//! Short texts for people that several modules write: chains of errors, counts, durations, harmless characters.

use std::error::Error;

/// Returns an error and its causes in one line: `outer: inner: innermost`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}

/// Returns an error, then its cause, and so on.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source())
}

/// Returns a number with its noun: `1 gap`, `2 gaps`.
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns a duration in whole hours, minutes and seconds: `1:23:45`. What is left of a second is cut off.
pub fn length(ms: i64) -> String {
    let seconds = ms / 1_000;
    format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Returns whether a character changes what stands around it instead of showing itself.
///
/// These are control characters, the characters that end a line or a paragraph, and those that have Unicode's property
/// `Bidi_Control`. A stream id of a notification may contain any of them.
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Returns a text in which harmful characters are shown instead of obeyed: `\u{1b}` for the escape character.
pub fn visible(text: &str) -> String {
    if !text.contains(is_harmful) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_harmful(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn chain_names_every_cause() {
        assert_eq!(chain(&Outer(std::io::Error::other("inner"))), "outer: inner");
        assert_eq!(chain(&std::io::Error::other("alone")), "alone");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| count(number, "gap")), ["0 gaps", "1 gap", "2 gaps"]);
    }

    #[test]
    fn lengths_are_hours_minutes_seconds() {
        for (ms, expected) in [(0, "0:00:00"), (999, "0:00:00"), (3_599_999, "0:59:59"), (360_000_000, "100:00:00")] {
            assert_eq!(length(ms), expected);
        }
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(visible("房间 7 שלום"), "房间 7 שלום");
        assert_eq!(visible("\u{1b}[2J\u{202e}x\u{2028}"), "\\u{1b}[2J\\u{202e}x\\u{2028}");
        assert_eq!(visible("a\u{61c}\u{200f}\u{2066}\u{85}"), "a\\u{61c}\\u{200f}\\u{2066}\\u{85}");
    }
}
