//! Generated session records: random publications, encoded, validated and read again.

use std::collections::BTreeSet;

use livesession_formats::session::{SessionRecord, decode};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{Anomaly, CloseCause, NewSegment, Publication, SessionId, Status};
use proptest::prelude::*;

use crate::contracts::{SOURCE, assert_valid, closed, encoded, json, ms, validator, withdrawn};

/// What a segment is made of, with its texts owned.
#[derive(Clone, Debug)]
struct Owned {
    start: i64,
    length: i64,
    url: Option<String>,
    format: Option<String>,
    task_id: Option<String>,
    template_id: Option<String>,
    numbers: [Option<i64>; 3],
    anomalies: Vec<Anomaly>,
}

/// Texts with quotes, backslashes, control characters and everything that is not ASCII.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9:/._-]{1,20}",
        1 => proptest::collection::vec(any::<char>(), 1..8).prop_map(String::from_iter),
        1 => "[\\x00-\\x1f\"\\\\\\x7f/]{1,6}",
    ]
}

fn number() -> impl Strategy<Value = Option<i64>> {
    proptest::option::of(prop_oneof![Just(0), Just(i64::MAX), 0..=i64::MAX, 0..5_000_i64])
}

fn segment(start: BoxedStrategy<i64>) -> impl Strategy<Value = Owned> {
    // Few kinds of file, so that several segments share one.
    let format = proptest::option::of(prop_oneof![Just("mp4".to_owned()), Just("hls".to_owned()), text()]);
    let template = proptest::option::weighted(0.2, text());
    let texts = (proptest::option::of(text()), format, proptest::option::of(text()), template);
    let numbers = (proptest::option::of(0..3_i64), number(), number());
    let anomalies = proptest::sample::subsequence(Anomaly::ALL.to_vec(), 0..=5);
    (start, prop_oneof![Just(0), 1..20_i64, 0..86_400_000_i64], texts, numbers, anomalies).prop_map(
        |(start, length, (url, format, task_id, template_id), (bitrate, media, size), anomalies)| Owned {
            start,
            length,
            url,
            format,
            task_id,
            template_id,
            numbers: [bitrate, media, size],
            anomalies,
        },
    )
}

fn key() -> impl Strategy<Value = String> {
    let part = |least: usize| {
        proptest::collection::vec(
            prop_oneof![Just("%25".to_owned()), Just("%2F".to_owned()), "[^/%\\p{Cc}]".prop_map(String::from)],
            least..6,
        )
        .prop_map(|pieces| pieces.concat())
    };
    (part(0), part(0), part(1)).prop_map(|(app, appname, stream_id)| format!("{app}/{appname}/{stream_id}"))
}

fn publication() -> impl Strategy<Value = Publication> {
    let base = prop_oneof![Just(0), Just(1_754_042_400_000), Just(Timestamp::MAX.as_ms() - 200_000_000)];
    let segments =
        base.prop_flat_map(|base| proptest::collection::vec(segment((base..=base + 100_000_000).boxed()), 1..12));
    let rest = (proptest::sample::select(CloseCause::ALL.to_vec()), 0..3_u8, 1..u32::MAX, any::<bool>());
    (key(), segments, rest).prop_map(|(key, segments, (cause, kind, revision, continues))| {
        let ids: Vec<_> = (0..segments.len()).map(|index| format!("f-{index}")).collect();
        let members: Vec<_> = segments
            .iter()
            .zip(&ids)
            .zip(1_000..)
            .map(|((owned, file_id), offset)| {
                let end = (owned.start + owned.length).min(Timestamp::MAX.as_ms());
                let new = NewSegment {
                    file_id,
                    start: ms(owned.start),
                    end: ms(end),
                    url: owned.url.as_deref(),
                    format: owned.format.as_deref(),
                    task_id: owned.task_id.as_deref(),
                    template_id: owned.template_id.as_deref(),
                    bitrate_kbps: owned.numbers[0],
                    media_ms: owned.numbers[1],
                    size_bytes: owned.numbers[2],
                    anomalies: owned.anomalies.iter().copied().collect(),
                };
                (offset, new)
            })
            .collect();
        let other = SessionId::new(&key, "other", ms(1));
        let mut publication = closed(&key, &members);
        publication.summary.close_cause = Some(cause);
        publication.summary.revision = revision;
        publication.summary.continues = continues.then_some(other);
        match kind {
            0 => withdrawn(&publication, other, ms(5)),
            1 => {
                publication.summary.close_cause = None;
                Publication { status: Status::Open, ..publication }
            }
            _ => publication,
        }
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Asserts field by field that the reader got what the publication says, without going through JSON.
fn assert_same(record: &SessionRecord, publication: &Publication) {
    let summary = &publication.summary;
    assert_eq!(record.session_id, summary.session_id);
    assert_eq!(record.revision, summary.revision);
    assert_eq!(record.status.as_str(), publication.status.as_str());
    assert_eq!(record.merged_into, publication.merged_into);
    assert_eq!(record.continues, summary.continues);
    assert_eq!(record.close_cause.map(|cause| cause.as_str()), summary.close_cause.map(|cause| cause.as_str()));
    assert_eq!(record.stream.key.as_str(), publication.stream.as_ref());
    assert_eq!((record.start, record.end, record.watermark), (summary.start, summary.end, summary.watermark));
    assert_eq!(record.duration_ms, summary.end.as_ms() - summary.start.as_ms());
    assert_eq!(record.recorded_ms, summary.recorded.as_ms());
    assert_eq!((record.source.first_offset, record.source.last_offset), (summary.first_offset, summary.last_offset));
    let gaps: Vec<_> = record.gaps.iter().map(|gap| (gap.start, gap.end)).collect();
    assert_eq!(gaps, publication.gaps.iter().map(|gap| (gap.start, gap.end)).collect::<Vec<_>>());
    assert_eq!(record.segments.len(), publication.segments.len());
    for (read, written) in record.segments.iter().zip(&publication.segments) {
        // Template and bitrate stand in the rendition only.
        let rendition = &record.renditions[read.rendition];
        assert_eq!(rendition.format, read.format);
        let new = NewSegment {
            file_id: &read.file_id,
            start: read.start,
            end: read.end,
            url: read.url.as_deref(),
            format: read.format.as_deref(),
            task_id: read.task_id.as_deref(),
            template_id: rendition.template_id.as_deref(),
            bitrate_kbps: rendition.bitrate_kbps,
            media_ms: read.media_ms,
            size_bytes: read.size_bytes,
            anomalies: read.anomalies.iter().map(|name| Anomaly::parse(name).unwrap()).collect(),
        };
        assert_eq!(new, written.view());
        assert_eq!(read.offset, written.offset());
    }
}

/// Asserts what holds for the lists of every record that has them.
fn assert_lists(record: &SessionRecord) {
    let silent: i64 = record.gaps.iter().map(|gap| gap.duration_ms).sum();
    assert_eq!(record.duration_ms, record.recorded_ms + silent);
    let kind = |index: usize| {
        let rendition = &record.renditions[index];
        (rendition.format.clone(), rendition.template_id.clone(), rendition.bitrate_kbps)
    };
    for index in 1..record.renditions.len() {
        assert!(kind(index - 1) < kind(index), "renditions {} and {index}", index - 1);
    }
    for (index, rendition) in record.renditions.iter().enumerate() {
        let members: Vec<_> = record.segments.iter().filter(|segment| segment.rendition == index).collect();
        assert_eq!(rendition.segments as usize, members.len());
        let sizes: Option<Vec<_>> = members.iter().map(|segment| segment.size_bytes).collect();
        let sum = sizes.map(|sizes| sizes.into_iter().fold(0, i64::saturating_add));
        assert_eq!(rendition.size_bytes, sum);
        assert!(rendition.recorded_ms <= record.recorded_ms);
    }
    assert!(record.segments.is_sorted_by_key(|segment| (segment.start, segment.end, segment.file_id.clone())));
}

#[test]
fn written_record_is_valid_and_is_read_as_it_was_written() {
    let validator = validator("session.v1.schema.json");
    proptest!(config(300), |(publication in publication())| {
        let bytes = encoded(&publication);
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_valid(&validator, &json(text));
        let record = decode(&bytes).unwrap();
        assert_same(&record, &publication);
        if publication.status != Status::Withdrawn {
            assert_lists(&record);
        }
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let direct = SessionRecord::from_publication(&publication, SOURCE);
        prop_assert_eq!(serde_json::to_string(&direct).unwrap(), text, "without bytes in between");
        prop_assert_eq!(direct, record);
    });
}

/// Draws the segments on a grid of milliseconds and reads recorded time and silences off it.
fn oracle(segments: &[(usize, usize)]) -> (i64, Vec<(i64, i64)>) {
    let start = segments.iter().map(|(start, _)| *start).min().unwrap();
    let end = segments.iter().map(|(_, end)| *end).max().unwrap();
    let covered = |column: usize| segments.iter().any(|(start, end)| *start <= column && column < *end);
    let points: BTreeSet<usize> = segments.iter().filter(|(start, end)| start == end).map(|(at, _)| *at).collect();
    let mut recorded = 0;
    let mut gaps: Vec<(i64, i64)> = Vec::new();
    for column in start..end {
        let at = i64::try_from(column).unwrap();
        if covered(column) {
            recorded += 1;
            continue;
        }
        match gaps.last_mut() {
            Some(last) if last.1 == at && !points.contains(&column) => last.1 = at + 1,
            _ => gaps.push((at, at + 1)),
        }
    }
    (recorded, gaps)
}

#[test]
fn recorded_time_and_silences_are_those_on_a_grid_of_milliseconds() {
    let segments = proptest::collection::vec((0..40_usize, prop_oneof![2 => 0..6_usize, 1 => Just(0)]), 1..12);
    proptest!(config(500), |(segments in segments)| {
        let spans: Vec<_> = segments.iter().map(|(start, length)| (*start, start + length)).collect();
        let ids: Vec<_> = (0..spans.len()).map(|index| format!("f-{index}")).collect();
        let members: Vec<_> = spans
            .iter()
            .zip(&ids)
            .zip(0..)
            .map(|(((start, end), file_id), offset)| {
                let (start, end) = (ms(i64::try_from(*start).unwrap()), ms(i64::try_from(*end).unwrap()));
                (offset, NewSegment::new(file_id, start, end))
            })
            .collect();
        let record = decode(&encoded(&closed("//grid", &members))).unwrap();
        let (recorded, gaps) = oracle(&spans);
        assert_eq!(record.recorded_ms, recorded);
        let found: Vec<_> = record.gaps.iter().map(|gap| (gap.start.as_ms(), gap.end.as_ms())).collect();
        assert_eq!(found, gaps);
        assert_eq!(record.duration_ms, record.recorded_ms + gaps.iter().map(|(start, end)| end - start).sum::<i64>());
        // One rendition, so the same union.
        assert_eq!(record.renditions[0].recorded_ms, recorded);
    });
}
