//! Damaged examples: nothing panics, and what is accepted keeps the promises that the rest of the program builds on.

use std::collections::BTreeMap;

use livesession_formats::notification::{Decoder, KeyParts, Notification, Rules, split_stream_key};
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{Anomaly, HintKind};
use serde_json::value::RawValue;

use crate::fuzz::mutate::{NASTY_LITERALS, Random, begin, damage};
use crate::notifications::support::{examples, fields_of, ms, object_with};

#[test]
fn mutated_notifications_never_break_an_invariant() {
    let (mut random, rounds) = begin("notification", 1);
    let examples = examples();
    let objects: Vec<_> = examples.iter().filter_map(|example| fields_of(&example.input)).collect();
    let literals: Vec<String> =
        objects.iter().flat_map(|fields| fields.values().map(|raw| raw.get().to_owned())).collect();
    let timestamps: Vec<_> = examples.iter().map(|example| example.timestamp).collect();
    let rules = [
        Rules::default(),
        Rules { key_parts: KeyParts::StreamId, max_segment: Millis::from_secs(1_800), max_clock_skew: Millis::ZERO },
    ];
    let mut decoders = rules.map(Decoder::new);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();

    for round in 0..rounds {
        let mut value = if random.below(2) == 0 {
            random.pick(&examples).input.clone().into_bytes()
        } else {
            swapped(&mut random, &objects, &literals).into_bytes()
        };
        for _ in 0..random.below(3) {
            damage(&mut random, &mut value);
        }
        let timestamp = *random.pick(&timestamps);
        for (decoder, rules) in decoders.iter_mut().zip(&rules) {
            let found = decoder.decode(Some(&value), timestamp);
            let broken = broken_invariant(&found, rules, timestamp);
            assert!(broken.is_none(), "{broken:?} in round {round}: {}", String::from_utf8_lossy(&value));
            *kinds.entry(kind(&found)).or_default() += 1;
        }
    }
    println!("{kinds:?}");
    // A run that only finds broken JSON would prove nothing.
    for kind in ["segment", "hint", "other", "not_json", "bad_id", "no_end"] {
        assert!(kinds.get(kind).is_some_and(|count| count * 1_000 > rounds), "too few of {kind}: {kinds:?}");
    }
}

fn kind(found: &Notification<'_>) -> &'static str {
    match found {
        Notification::Segment { .. } => "segment",
        Notification::Hint { .. } => "hint",
        Notification::Other => "other",
        Notification::Refused(reason) => reason.as_str(),
    }
}

/// An example with literals of others in some of its fields.
fn swapped(random: &mut Random, objects: &[BTreeMap<String, Box<RawValue>>], literals: &[String]) -> String {
    let fields = random.pick(objects);
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    let base: Vec<_> = fields.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
    let mut changes = Vec::new();
    for _ in 0..=random.below(3) {
        let literal = if random.below(2) == 0 { random.pick(NASTY_LITERALS) } else { random.pick(literals).as_str() };
        changes.push((*random.pick(&names), literal));
    }
    object_with(&base, &changes)
}

/// Says which invariant an outcome breaks.
fn broken_invariant(found: &Notification<'_>, rules: &Rules, timestamp: Option<Timestamp>) -> Option<&'static str> {
    let clean_id = |text: &str| {
        !text.is_empty() && text.trim_ascii() == text && text.len() <= 2_048 && !text.chars().any(char::is_control)
    };
    let clean_stream = |stream: &str| {
        let (app, appname, stream_id) = split_stream_key(stream);
        let prefix_clean = [&app, &appname].iter().all(|part| part.is_empty() || clean_id(part));
        let bare = rules.key_parts == KeyParts::AppAppnameStreamId || (app.is_empty() && appname.is_empty());
        stream.matches('/').count() == 2 && clean_id(&stream_id) && prefix_clean && bare
    };
    let clean_text = |text: &Option<&str>| text.is_none_or(|text| !text.is_empty() && text.trim_ascii() == text);
    let in_time = |at: Timestamp| {
        at >= ms(946_684_800_000) && timestamp.is_none_or(|timestamp| at <= timestamp + rules.max_clock_skew)
    };
    let first_broken = |checks: &[(bool, &'static str)]| checks.iter().find(|(holds, _)| !holds).map(|(_, name)| *name);
    match found {
        Notification::Segment { stream, segment } => first_broken(&[
            (clean_stream(stream), "stream"),
            (clean_id(segment.file_id) && segment.file_id != "0" || segment.url == Some("0"), "file id"),
            (segment.start <= segment.end, "start after end"),
            (segment.end.since(segment.start) <= rules.max_segment, "too long"),
            (in_time(segment.end), "end out of time"),
            (clean_text(&segment.url) && clean_text(&segment.format), "url or format"),
            (clean_text(&segment.task_id) && clean_text(&segment.template_id), "task or template"),
            (segment.format.is_none_or(|format| format.to_lowercase() == format), "format not in lower case"),
            (
                [segment.bitrate_kbps, segment.media_ms, segment.size_bytes].iter().flatten().all(|n| *n >= 0),
                "negative",
            ),
            (segment.anomalies.contains(Anomaly::UrlAsId) <= (segment.url == Some(segment.file_id)), "url as id"),
        ]),
        Notification::Hint { stream, kind, push_id, at, .. } => first_broken(&[
            (clean_stream(stream), "stream"),
            (in_time(*at), "out of time"),
            (clean_text(push_id), "push id"),
            (*kind != HintKind::RecordEnded || push_id.is_none(), "push of a record task"),
        ]),
        Notification::Refused(reason) => first_broken(&[(reason.stage() == "decode", "reason of acceptance")]),
        Notification::Other => None,
    }
}
