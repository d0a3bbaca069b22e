//! Between the program's values and the oracle's: the only file here that knows both.

use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{NewSegment, Policy, Publication, Settings, Status, policy};

use super::{Record, Rules, Seg};

pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).expect("a time of this era")
}

fn millis(ms: i64) -> Millis {
    Millis::from_ms(ms).expect("a span")
}

/// The program's form of the rules.
pub fn policy(rules: &Rules) -> Policy {
    let overrides = rules.overrides.iter();
    let overrides = overrides.map(|(streams, gap)| policy::Override { streams: streams.clone(), gap: millis(*gap) });
    let settings = Settings {
        gap: millis(rules.gap),
        recording_interval: millis(rules.recording_interval),
        max_segment: millis(rules.max_segment),
        notification_delay: millis(rules.notification_delay),
        allowed_lateness: millis(rules.allowed_lateness),
        max_hold: millis(rules.max_hold),
        max_session_duration: millis(rules.max_session_duration),
        max_session_segments: u32::try_from(rules.max_session_segments).expect("few segments"),
        max_session_bytes: rules.max_session_bytes,
        overrides: overrides.collect(),
    };
    Policy::new(settings).expect("worlds keep what the proofs need")
}

pub fn segment(seg: &Seg) -> NewSegment<'_> {
    NewSegment {
        url: seg.url.as_deref(),
        format: seg.format,
        ..NewSegment::new(&seg.file, timestamp(seg.start), timestamp(seg.end))
    }
}

/// A publication in plain values.
pub fn record(publication: &Publication) -> Record {
    assert_ne!(publication.status, Status::Open, "open sessions are not published");
    open_record(publication)
}

/// The same for a session that is not published yet.
pub fn open_record(publication: &Publication) -> Record {
    let summary = &publication.summary;
    let known = [None, Some("flv"), Some("mp4"), Some("hls")];
    let files = publication.segments.iter().map(|segment| Seg {
        start: segment.start().as_ms(),
        end: segment.end().as_ms(),
        file: segment.file_id().to_owned(),
        offset: segment.offset(),
        stream: publication.stream.to_string(),
        format: known.into_iter().find(|format| *format == segment.format()).expect("a format of the worlds"),
        url: segment.url().map(str::to_owned),
    });
    Record {
        stream: publication.stream.to_string(),
        id: summary.session_id.to_string(),
        revision: summary.revision,
        withdrawn: publication.status == Status::Withdrawn,
        merged_into: publication.merged_into.map(|id| id.to_string()),
        continues: summary.continues.map(|id| id.to_string()),
        cause: summary.close_cause.map(|cause| cause.as_str()),
        start: summary.start.as_ms(),
        end: summary.end.as_ms(),
        recorded: summary.recorded.as_ms(),
        first_offset: summary.first_offset,
        last_offset: summary.last_offset,
        seed_offset: summary.seed_offset,
        segments: summary.segments,
        watermark: summary.watermark.as_ms(),
        gaps: publication.gaps.iter().map(|gap| (gap.start.as_ms(), gap.end.as_ms())).collect(),
        files: files.collect(),
    }
}
