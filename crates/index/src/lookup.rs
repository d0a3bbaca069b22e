//! From a file to its session.
//!
//! A file is in one session at a time, but the index can hold more rows for it: the same id in another stream, the id of
//! a file that was forgotten and came again, and the rows that a withdrawn session left behind. The last are followed
//! along `merged_into` to the survivor, so that there is an answer also in the moment between a withdrawal and the
//! survivor's next revision.

use rusqlite::params;

use super::error::{At, Error};
use super::query::{COLUMN_COUNT, COLUMNS, Summary, View, read_segment, read_summary};
use super::rows::Segment;

/// How many withdrawals are followed at most: survivors are older than what they take, so a chain is short, and a ring
/// (which would be a defect) ends here.
pub const MAX_MERGES: usize = 100;

/// One answer to *which session does this file belong to*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The session; withdrawn only if its survivor is not in the index.
    pub session: Summary,
    /// The file, as the session lists it or as the withdrawn one did.
    pub segment: Segment,
    /// The withdrawn sessions that led there, in the order in which they were followed.
    pub via: Vec<String>,
}

/// The rows of a file: closed ones first, then by change.
pub(super) fn by_file_sql() -> String {
    format!(
        "SELECT {COLUMNS}, g.file_id, g.url, g.format, g.task_id, g.template_id, g.bitrate_kbps, g.start_ms, g.end_ms,
           g.media_ms, g.size_bytes, g.anomalies, g.input_offset
         FROM segment g JOIN session s USING (session_no) JOIN stream t ON t.key = s.stream_key
         WHERE g.file_id = ?1 ORDER BY s.status = 'closed' DESC, s.change DESC LIMIT ?2"
    )
}

impl View<'_> {
    /// Returns the sessions that a file belongs to, at most `limit`, the newest first.
    ///
    /// More than one only if the file id occurs in several streams, or came again after it was forgotten.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn recordings(&self, file_id: &str, limit: usize) -> Result<Vec<Recording>, Error> {
        let mut found: Vec<Recording> = Vec::new();
        for (session, segment) in self.rows_of_file(file_id, limit).at(self.path)? {
            let recording = self.follow(session, segment)?;
            // What a withdrawn session left behind says nothing new once its survivor lists the file.
            if !found.iter().any(|known| known.session.session_no == recording.session.session_no) {
                found.push(recording);
            }
        }
        Ok(found)
    }

    fn rows_of_file(&self, file_id: &str, limit: usize) -> rusqlite::Result<Vec<(Summary, Segment)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.transaction.prepare_cached(&by_file_sql())?;
        let mut rows = statement.query(params![file_id, limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((read_summary(row)?, read_segment(row, COLUMN_COUNT)?));
        }
        Ok(found)
    }

    /// Follows `merged_into` as far as the index knows.
    fn follow(&self, first: Summary, segment: Segment) -> Result<Recording, Error> {
        let mut recording = Recording { session: first, segment, via: Vec::new() };
        while recording.via.len() < MAX_MERGES && recording.session.session.is_withdrawn() {
            let Some(survivor) = &recording.session.session.merged_into else { break };
            let Some(next) = self.session(survivor)? else { break };
            recording.via.push(recording.session.session.session_id.clone());
            recording.session = next;
        }
        Ok(recording)
    }
}
