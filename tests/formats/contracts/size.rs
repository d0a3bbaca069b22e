//! The size of the largest session record.

use livesession_formats::session::{Source, encode, headers, worst_case_bytes};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{Anomaly, CloseCause, NewSegment, Publication, SessionId, Settings};

use crate::contracts::{closed, ms};

/// Puts a text into some of a segment's fields.
type Texts = fn(&str) -> NewSegment<'_>;

/// Returns the bytes of the whole record: value, key and headers.
fn record_bytes(publication: &Publication) -> u64 {
    let topic = "t".repeat(249);
    let mut value = Vec::new();
    encode(publication, Source { topic: &topic, partition: i32::MAX }, &mut value);
    let headers = headers(publication, &"a".repeat(249));
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    (value.len() + publication.stream.len() + headers) as u64
}

/// The largest session that keeps the limits: every segment with its own rendition and a silence before it, the longest
/// numbers, all anomalies, a key that is all escapes, and as much text as is allowed, in `texts` of each segment.
fn worst(segments: u32, text_bytes: u64, texts: Texts) -> Publication {
    let count = i64::from(segments);
    let step = Timestamp::MAX.as_ms() / count;
    // Control characters: one byte in memory, six in the record.
    let plain = |text: &str| texts(text).text_bytes();
    let per_character = plain("\u{1}\u{1}") - plain("\u{1}");
    let fixed = plain("\u{1}") - per_character;
    let characters = (text_bytes / u64::from(segments) - fixed) / per_character;
    let text = "\u{1}".repeat(characters as usize);
    let members: Vec<_> = (0..count)
        .map(|index| {
            let start = Timestamp::MAX.as_ms() - (count - index) * step;
            let new = NewSegment {
                start: ms(start),
                end: ms(start + step / 2),
                bitrate_kbps: Some(i64::MAX - index),
                media_ms: Some(i64::MAX),
                size_bytes: Some(i64::MAX),
                anomalies: Anomaly::ALL.into_iter().collect(),
                ..texts(&text)
            };
            (i64::MAX - index, new)
        })
        .collect();
    let key = format!("{part}/{part}/{part}", part = "%25".repeat(2_048));
    let mut publication = closed(&key, &members);
    publication.summary.revision = u32::MAX;
    publication.summary.close_cause = Some(CloseCause::EndOfInput);
    publication.summary.continues = Some(SessionId::new("", "", ms(0)));
    let used: u64 = publication.segments.iter().map(|segment| segment.text_bytes()).sum();
    assert!(used <= text_bytes && used * 10 > text_bytes * 9, "{used} of {text_bytes} bytes of text");
    publication
}

fn only_url(text: &str) -> NewSegment<'_> {
    NewSegment { url: Some(text), ..NewSegment::new("f", ms(0), ms(0)) }
}

fn all_texts(text: &str) -> NewSegment<'_> {
    NewSegment { format: Some(text), task_id: Some(text), template_id: Some(text), ..only_url(text) }
}

// rule: limits
#[test]
fn record_of_a_session_within_the_limits_is_within_the_bound() {
    let Settings { max_session_segments, max_session_bytes, .. } = Settings::default();
    // A template counts twice among the texts and is written once, in its rendition: the bound is looser there.
    for (texts, percent) in [(only_url as Texts, 104), (all_texts as Texts, 130)] {
        for segments in [1, 2, 100, max_session_segments] {
            let publication = worst(segments, max_session_bytes, texts);
            let used: u64 = publication.segments.iter().map(|segment| segment.text_bytes()).sum();
            // What the texts leave of their limit could be filled with more text.
            let bytes = record_bytes(&publication) + max_session_bytes - used;
            let bound = worst_case_bytes(segments, max_session_bytes);
            assert!(bytes <= bound, "{segments} segments: {bytes} bytes, bound {bound}");
            assert!(bound * 100 <= bytes * percent, "{segments} segments: {bytes} bytes, bound {bound}");
        }
    }
}

#[test]
fn default_limits_need_more_than_one_mebibyte_and_fit_in_two() {
    let Settings { max_session_segments, max_session_bytes, .. } = Settings::default();
    let bytes = record_bytes(&worst(max_session_segments, max_session_bytes, only_url));
    assert!(bytes > 1_048_576, "{bytes}");
    let bound = worst_case_bytes(max_session_segments, max_session_bytes);
    assert!(bound <= 2_097_152, "{bound}");
}

#[test]
fn usual_record_of_the_largest_session_fits_in_one_mebibyte() {
    // A format and a bitrate in common, addresses of 60 bytes, silences between all: about what 2,000 files look like.
    let url = format!("http://1250000004.vod.example.com/{}.mp4", "0".repeat(22));
    let ids: Vec<_> = (0..2_000).map(|index| format!("52850000000000{index:05}")).collect();
    let members: Vec<_> = (0..)
        .zip(&ids)
        .map(|(index, file_id)| {
            let start = 1_754_042_400_000 + index * 40_000;
            let new = NewSegment {
                file_id,
                start: ms(start),
                end: ms(start + 30_000),
                format: Some("mp4"),
                task_id: Some("1807000000000000007"),
                media_ms: Some(30_000),
                size_bytes: Some(20_000_000),
                ..only_url(&url)
            };
            (index, new)
        })
        .collect();
    let publication = closed("push.example.com/live/room-7", &members);
    let mut value = Vec::new();
    encode(&publication, Source { topic: "recording-notifications", partition: 0 }, &mut value);
    assert!((700_000..1_048_576).contains(&value.len()), "{}", value.len());
}

#[test]
fn segment_alone_is_bounded_whatever_the_limit() {
    // A notification of 256 KiB that is nearly all format, which is written twice: once all escapes, once all letters
    // that are longer in lower case.
    for format in ["\u{1}".repeat(262_144 / 6), "\u{23a}".repeat(262_144 / 2).to_lowercase()] {
        let publication = closed("//room-7", &[(0, NewSegment { url: None, format: Some(&format), ..only_url("") })]);
        let bytes = record_bytes(&publication);
        assert!((500_000..=worst_case_bytes(1, 0)).contains(&bytes), "{bytes}");
    }
}

#[test]
fn lower_case_makes_no_character_more_than_half_as_long_again() {
    for character in '\0'..=char::MAX {
        let lower: usize = character.to_lowercase().map(char::len_utf8).sum();
        assert!(lower * 2 <= character.len_utf8() * 3, "{character:?}");
    }
}

#[test]
fn bound_does_not_wrap() {
    assert_eq!(worst_case_bytes(u32::MAX, u64::MAX), u64::MAX);
}
