//! Sessions as an evening of many streams gives them: four files each, a silence after the second.

use livesession_formats::session::SessionRecord;
use livesession_formats::session::record::{Gap, Rendition, Segment, SourceRange, Stream, VERSION};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{CloseCause, SessionId, Status};

/// 2025-08-01T00:00:00Z.
pub const BEGIN_MS: i64 = 1_754_006_400_000;
/// A stream is on air every six hours, for an hour and three quarters.
const TURN_MS: i64 = 6 * 3_600_000;
const FILE_MS: i64 = 1_500_000;
const SILENCE_MS: i64 = 90_000;
/// Bytes of a file.
const SIZE: i64 = 60_110_022;

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
        let mut segments = Vec::new();
        let mut at = start_ms;
        for file in 0..FILES {
            let file_id = self.file_id(session, file);
            segments.push(Segment {
                url: Some(format!("http://1250000004.vod.example.com/cc33/{file_id}/f0.mp4")),
                file_id,
                format: Some("mp4".to_owned()),
                task_id: Some("1818000000000000404".to_owned()),
                rendition: 0,
                start: ms(at),
                end: ms(at + FILE_MS),
                duration_ms: FILE_MS,
                media_ms: Some(FILE_MS - 80),
                size_bytes: Some(SIZE),
                anomalies: Vec::new(),
                offset: (session * FILES + file) as i64,
            });
            at += FILE_MS + if file == 1 { SILENCE_MS } else { 0 };
        }
        let silence = start_ms + 2 * FILE_MS;
        let recorded_ms = FILES as i64 * FILE_MS;
        SessionRecord {
            version: VERSION,
            session_id: self.id(session),
            revision: 1,
            status: Status::Closed.into(),
            merged_into: None,
            continues: None,
            close_cause: Some(CloseCause::Watermark.into()),
            stream: Stream::from_key(&self.stream_key(session)),
            start: ms(start_ms),
            end: ms(at),
            duration_ms: at - start_ms,
            recorded_ms,
            gaps: vec![Gap::new(ms(silence), ms(silence + SILENCE_MS))],
            renditions: vec![Rendition {
                format: Some("mp4".to_owned()),
                template_id: None,
                bitrate_kbps: None,
                segments: FILES as u32,
                recorded_ms,
                size_bytes: Some(FILES as i64 * SIZE),
            }],
            segments,
            source: SourceRange {
                topic: "recording-notifications".to_owned(),
                partition: (session % 12) as i32,
                first_offset: (session * FILES) as i64,
                last_offset: (session * FILES + FILES - 1) as i64,
            },
            watermark: ms(at + 8_280_001),
        }
    }
}
