//! HTML as text: escaping, the frame of a page, times and lengths for eyes.
//!
//! Every text that is not ours passes through [`escape`], which also shows control characters and those that turn the
//! direction of writing instead of obeying them. A URL becomes a link only if it is `http` or `https`.

use crate::http::api::ask::encode;
use crate::text::{self, count};
use livesession_grouping::time::Timestamp;
use livesession_index::Freshness;

/// Escapes a text for content and for attributes in double quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ if text::is_harmful(character) => escaped.push_str(&character.escape_unicode().to_string()),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Returns a text cut to `max` characters, with an ellipsis if there were more.
pub fn shortened(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Returns a link to a file, or its URL as text if it is none that a browser should follow.
pub fn file_link(url: Option<&str>) -> String {
    let Some(url) = url else { return "–".to_owned() };
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    let shown = escape(&shortened(url, 80));
    if lower.starts_with("http://") || lower.starts_with("https://") {
        format!("<a href=\"{}\" rel=\"noreferrer nofollow\">{shown}</a>", escape(url))
    } else {
        shown
    }
}

/// Returns the path of a session's page.
pub fn session_path(id: &str) -> String {
    format!("/sessions/{}", encode(id))
}

/// Returns the path of a stream's newest sessions.
pub fn stream_path(key: &str) -> String {
    format!("/?stream={}", encode(key))
}

/// Writes names and values; values are HTML.
pub fn facts(facts: &[(&str, String)]) -> String {
    let lines: String = facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n")).collect();
    format!("<dl>\n{lines}</dl>\n")
}

/// Writes a time for eyes, to the second: `2026-03-01 19:00:00`.
pub fn time(time: Timestamp) -> String {
    time.to_string()[..19].replace('T', " ")
}

/// Writes a length for eyes: `1:23:45`, with milliseconds below a minute if there are any.
pub fn length(ms: i64) -> String {
    let text = text::length(ms);
    if ms < 60_000 && ms % 1_000 != 0 { format!("{text}.{:03}", ms % 1_000) } else { text }
}

/// Says how many silences there are, and how long each is if they are few.
pub fn gaps(lengths: &[i64]) -> String {
    const FEW: usize = 5;
    let number = count(lengths.len(), "gap");
    if lengths.is_empty() || lengths.len() > FEW {
        return number;
    }
    let each: Vec<String> = lengths.iter().map(|ms| length(*ms)).collect();
    format!("{number} of {}", each.join(" and "))
}

/// Puts a page into its frame. `title` and `body` are HTML.
pub fn document(title: &str, freshness: &Freshness, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · livesession</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\n\
         </head>\n<body>\n<header><a href=\"/\">livesession</a>\
         <nav aria-label=\"Pages\"><a href=\"/recordings\">Find a file</a></nav>{}</header>\n<main>\n{body}</main>\n\
         <footer>Times are UTC. Machines ask <a href=\"/api/v1/\">/api/v1/</a>.</footer>\n</body>\n</html>\n",
        current(freshness)
    )
}

/// Says how far behind what is shown may be.
fn current(freshness: &Freshness) -> String {
    let commit = freshness.last_commit().map_or(String::new(), |at| format!(", last written {} UTC", time(at)));
    match freshness.lag_records() {
        None => format!("<span>Index of unknown age{commit}</span>"),
        Some(0) => format!("<span>Index up to date{commit}</span>"),
        Some(records) => {
            let records = count(records, "record");
            format!("<strong>Index {records} behind{commit}</strong>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text_and_control_characters_are_shown() {
        assert_eq!(escape("<a href='x' b=\"y\">&amp;"), "&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;amp;");
        assert_eq!(escape("a\u{202e}b\u{0}\n"), "a\\u{202e}b\\u{0}\\u{a}");
        assert_eq!(escape("a\u{2028}b\u{61c}"), "a\\u{2028}b\\u{61c}");
        assert_eq!(escape("房间 שלום"), "房间 שלום");
    }

    #[test]
    fn only_web_addresses_are_links() {
        for url in ["javascript:alert(1)", "data:text/html,x", "/etc/passwd", "", " https://x", "ﬃﬃﬃ"] {
            assert!(!file_link(Some(url)).contains("href"), "{url:?}");
        }
        assert!(file_link(Some("HTTPS://x/\"><script>")).contains("href=\"HTTPS://x/&quot;&gt;&lt;script&gt;\""));
    }

    #[test]
    fn lengths_show_milliseconds_where_they_matter() {
        for (ms, expected) in
            [(0, "0:00:00"), (1, "0:00:00.001"), (59_999, "0:00:59.999"), (60_001, "0:01:00"), (90_061_000, "25:01:01")]
        {
            assert_eq!(length(ms), expected);
        }
    }

    #[test]
    fn gaps_are_told_one_by_one_if_they_are_few() {
        assert_eq!(gaps(&[]), "0 gaps");
        assert_eq!(gaps(&[60_000]), "1 gap of 0:01:00");
        assert_eq!(gaps(&[60_000, 1_000]), "2 gaps of 0:01:00 and 0:00:01");
        assert_eq!(gaps(&[1; 6]), "6 gaps");
    }

    #[test]
    fn long_texts_are_cut_by_characters() {
        assert_eq!(shortened("房间房间", 4), "房间房间");
        assert_eq!(shortened("房间房间房", 4), "房间房…");
    }
}
