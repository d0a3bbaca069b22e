//! Tests of the index, by what they are about; helpers that more than one of them uses.

mod crash;
mod faults;
mod maintenance;
mod model;
mod paging;
mod plans;
mod readers;
mod records;
mod rules;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use livesession_formats::session::SessionRecord;
use livesession_formats::session::record::{Gap, Rendition, Segment, SourceRange, Stream, VERSION};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{CloseCause, SessionId, Status};

use super::{Advance, Origin, Reader, Writer};

/// A directory of its own, removed when dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("livesession-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// SplitMix64: ten lines, and the same worlds on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.below(u64::try_from(high - low).unwrap())).unwrap()
    }
}

pub(super) fn origin() -> Origin {
    Origin { topic: "live-sessions".to_owned(), source_topic: "recording-notifications".to_owned() }
}

pub(super) fn writer(path: &Path) -> Writer {
    Writer::open(path, &origin()).unwrap()
}

pub(super) fn reader(path: &Path) -> Reader {
    Reader::open(path).unwrap()
}

/// Returns the session id that a test calls `name`; ids are ordered as their names are.
pub(super) fn id(name: &str) -> SessionId {
    assert!(name.len() <= 16, "{name} is longer than an id");
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    SessionId::parse(&format!("{hex:0<32}")).unwrap()
}

/// Returns what tests call a session id.
pub(super) fn name(id: SessionId) -> String {
    let hex = id.to_string().replace('-', "");
    let bytes = (0..16).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
    String::from_utf8(bytes.take_while(|byte| *byte != 0).collect()).unwrap()
}

pub(super) fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

pub(super) fn stream(id: &str) -> Stream {
    Stream::from_key(&format!("push.example.com/live/{id}"))
}

/// A closed session of one segment per file, end to end, all of the same length.
pub(super) fn record(
    name: &str,
    revision: u32,
    stream_id: &str,
    start_ms: i64,
    end_ms: i64,
    files: &[&str],
) -> SessionRecord {
    let duration_ms = end_ms - start_ms;
    let segments: Vec<Segment> = files
        .iter()
        .enumerate()
        .map(|(index, file)| Segment {
            file_id: (*file).to_owned(),
            url: Some(format!("https://vod.example.com/{file}.mp4")),
            format: Some("mp4".to_owned()),
            task_id: None,
            rendition: 0,
            start: ms(start_ms),
            end: ms(end_ms),
            duration_ms,
            media_ms: Some(duration_ms),
            size_bytes: None,
            anomalies: if index == 0 { vec![] } else { vec!["time_scaled".to_owned(), "url_as_id".to_owned()] },
            offset: i64::try_from(index).unwrap(),
        })
        .collect();
    let rendition = Rendition {
        format: Some("mp4".to_owned()),
        template_id: None,
        bitrate_kbps: None,
        segments: u32::try_from(files.len()).unwrap(),
        recorded_ms: duration_ms,
        size_bytes: None,
    };
    SessionRecord {
        version: VERSION,
        session_id: id(name),
        revision,
        status: Status::Closed.into(),
        merged_into: None,
        continues: None,
        close_cause: Some(CloseCause::Watermark.into()),
        stream: stream(stream_id),
        start: ms(start_ms),
        end: ms(end_ms),
        duration_ms,
        recorded_ms: duration_ms,
        gaps: vec![Gap::new(ms(start_ms), ms(start_ms))],
        renditions: if files.is_empty() { vec![] } else { vec![rendition] },
        segments,
        source: SourceRange {
            topic: origin().source_topic,
            partition: 3,
            first_offset: 0,
            last_offset: i64::try_from(files.len()).unwrap(),
        },
        watermark: ms(end_ms.saturating_add(1).min(Timestamp::MAX.as_ms())),
    }
}

pub(super) fn withdrawn(mut from: SessionRecord, into: &str) -> SessionRecord {
    from.revision += 1;
    from.status = Status::Withdrawn.into();
    from.merged_into = Some(id(into));
    from.close_cause = None;
    from.segments.clear();
    from.renditions.clear();
    from.gaps.clear();
    from
}

pub(super) fn advance(from: Option<i64>, to: i64) -> Advance {
    Advance { topic_id: "t-1".to_owned(), partition: 0, from, to }
}
