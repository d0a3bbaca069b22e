//! Sessions as an evening of many streams gives them: four files each, a silence after the second.

use std::sync::Arc;

use livesession_formats::session::{SessionRecord, Source};
use livesession_grouping::session::silences;
use livesession_grouping::time::Timestamp;
use livesession_grouping::{CloseCause, NewSegment, Publication, Segment, SessionId, Status, Summary};

/// 2025-08-01T00:00:00Z.
pub const BEGIN_MS: i64 = 1_754_006_400_000;
/// A stream is on air every six hours, for an hour and three quarters.
const TURN_MS: i64 = 6 * 3_600_000;
const FILE_MS: i64 = 1_500_000;
const SILENCE_MS: i64 = 90_000;

/// Files of a session.
pub const FILES: u64 = 4;

/// Names of sessions, files and streams by number.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub streams: u64,
}

impl Sample {
    /// Returns the number of streams for an index of so many sessions: two thousand of each, at least a thousand streams.
    pub fn of(sessions: u64) -> Sample {
        Sample { streams: (sessions / 2_000).max(1_000) }
    }

    pub fn stream_key(self, session: u64) -> String {
        format!("push.example.com/live/room-{:06}", session % self.streams)
    }

    /// Returns a file id of the vendor's form. Scattered, since nothing says that they are handed out in order.
    pub fn file_id(self, session: u64, file: u64) -> String {
        let scattered = (session * FILES + file).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4;
        format!("{:019}", 5_000_000_000_000_000_000 + scattered)
    }

    pub fn start_ms(self, session: u64) -> i64 {
        let (turn, stream) = (session / self.streams, session % self.streams);
        BEGIN_MS + turn as i64 * TURN_MS + (stream as i64 * 7_919_000) % TURN_MS
    }

    pub fn session_id(self, session: u64) -> String {
        self.id(session).to_string()
    }

    fn id(self, session: u64) -> SessionId {
        let end = Timestamp::from_ms(self.start_ms(session) + FILE_MS).unwrap();
        SessionId::new(&self.stream_key(session), &self.file_id(session, 0), end)
    }

    /// Returns a session, in the order in which sessions close.
    pub fn record(self, session: u64) -> SessionRecord {
        let ms = |ms| Timestamp::from_ms(ms).unwrap();
        let start_ms = self.start_ms(session);
        let (mut segments, mut at) = (Vec::new(), start_ms);
        for file in 0..FILES {
            let file_id = self.file_id(session, file);
            let new = NewSegment {
                url: Some(&format!("http://1250000004.vod.example.com/cc33/{file_id}/f0.mp4")),
                format: Some("mp4"),
                task_id: Some("1818000000000000404"),
                media_ms: Some(FILE_MS - 80),
                size_bytes: Some(60_110_022),
                ..NewSegment::new(&file_id, ms(at), ms(at + FILE_MS))
            };
            segments.push(Arc::new(Segment::new((session * FILES + file) as i64, &new)));
            at += FILE_MS + if file == 1 { SILENCE_MS } else { 0 };
        }
        let (recorded, gaps) = silences(segments.iter().map(AsRef::as_ref));
        let (first_offset, last_offset) = (segments[0].offset(), segments[segments.len() - 1].offset());
        let summary = Summary {
            session_id: self.id(session),
            revision: 1,
            continues: None,
            close_cause: Some(CloseCause::Watermark),
            start: ms(start_ms),
            end: ms(at),
            recorded,
            first_offset,
            last_offset,
            watermark: ms(at + 8_280_001),
            seed_offset: first_offset,
            segments: FILES as u32,
        };
        let publication = Publication {
            stream: self.stream_key(session).into(),
            allowed_at: summary.watermark,
            summary,
            status: Status::Closed,
            merged_into: None,
            gaps,
            segments,
        };
        let source = Source { topic: "recording-notifications", partition: (session % 12) as i32 };
        SessionRecord::from_publication(&publication, source)
    }
}
