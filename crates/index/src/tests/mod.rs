//! Tests of the index, by what they are about; helpers that more than one of them uses.

mod crash;
mod faults;
mod maintenance;
mod model;
mod paging;
mod plans;
mod readers;
mod rules;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::rows::{Gap, Record, Segment, Session, Stream};
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

pub(super) fn stream(id: &str) -> Stream {
    Stream {
        key: format!("push.example.com/live/{id}"),
        app: "push.example.com".to_owned(),
        appname: "live".to_owned(),
        stream_id: id.to_owned(),
    }
}

/// A closed session of one segment per file, end to end, all of the same length.
pub(super) fn record(id: &str, revision: u32, stream_id: &str, start_ms: i64, end_ms: i64, files: &[&str]) -> Record {
    let segments: Vec<Segment> = files
        .iter()
        .enumerate()
        .map(|(index, file)| Segment {
            file_id: (*file).to_owned(),
            url: Some(format!("https://vod.example.com/{file}.mp4")),
            format: Some("mp4".to_owned()),
            start_ms,
            end_ms,
            media_ms: Some(end_ms - start_ms),
            anomalies: if index == 0 { vec![] } else { vec!["time_scaled".to_owned(), "url_as_id".to_owned()] },
            input_offset: i64::try_from(index).unwrap(),
            ..Segment::default()
        })
        .collect();
    let session = Session {
        session_id: id.to_owned(),
        revision,
        status: super::CLOSED.to_owned(),
        close_cause: Some("watermark".to_owned()),
        stream: stream(stream_id),
        start_ms,
        end_ms,
        recorded_ms: end_ms - start_ms,
        source_partition: 3,
        last_offset: i64::try_from(files.len()).unwrap(),
        watermark_ms: end_ms + 1,
        ..Session::default()
    };
    Record { session, segments, gaps: vec![Gap { start_ms, end_ms: start_ms }] }
}

pub(super) fn withdrawn(mut from: Record, into: &str) -> Record {
    from.session.revision += 1;
    from.session.status = super::WITHDRAWN.to_owned();
    from.session.merged_into = Some(into.to_owned());
    from.session.close_cause = None;
    from.segments.clear();
    from.gaps.clear();
    from
}

pub(super) fn advance(from: Option<i64>, to: i64) -> Advance {
    Advance { topic_id: "t-1".to_owned(), partition: 0, from, to }
}
