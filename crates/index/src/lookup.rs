//! Look-ups: from a file to its session.
//!
//! A file is in one session at a time, but the index can hold more rows for it: the same id in another stream, the id of
//! a file that was forgotten and came again, and the rows that a withdrawn session left behind. The last are followed
//! along `merged_into` to the survivor, so that there is an answer also in the moment between a withdrawal and the
//! survivor's next revision.

use livesession_formats::session::{Recording, Summary};
use livesession_grouping::Status;
use rusqlite::params;

use super::error::{At, Error};
use super::query::View;
use super::records::{ENTRY, ENTRY_COLUMNS, File, SEGMENT, read_entry, read_file};

/// How many withdrawals are followed at most: survivors are older than what they take, so a chain is short, and a ring
/// (which would be a defect) ends here.
pub const MAX_MERGES: usize = 100;

/// The rows of a file: closed ones first, then by change.
pub(super) fn by_file_sql() -> String {
    format!(
        "SELECT {ENTRY}, {SEGMENT}
         FROM segment g JOIN session s USING (session_no) JOIN stream t ON t.key = s.stream_key
         WHERE g.file_id = ?1 ORDER BY s.status = '{}' DESC, s.change DESC LIMIT ?2",
        Status::Closed.as_str()
    )
}

impl View<'_> {
    /// Returns the sessions that a file belongs to, at most `limit`, the newest first.
    ///
    /// More than one only if the file id occurs in several streams, or came again after it was forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] for a row that no indexer wrote; else what SQLite said.
    pub fn recordings(&self, file_id: &str, limit: usize) -> Result<Vec<Recording>, Error> {
        let mut found: Vec<Recording> = Vec::new();
        for (session, file) in self.rows_of_file(file_id, limit).at(self.path)? {
            let (session, via) = self.follow(session)?;
            // What a withdrawn session left behind says nothing new once its survivor lists the file.
            if !found.iter().any(|known| known.session.session_id == session.session_id) {
                found.push(file.into_recording(session, via));
            }
        }
        Ok(found)
    }

    fn rows_of_file(&self, file_id: &str, limit: usize) -> rusqlite::Result<Vec<(Summary, File)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let topic = self.topic_of_sources()?;
        self.rows(&by_file_sql(), params![file_id, limit], |row| {
            let session = read_entry(row, topic)?.summary;
            let file = read_file(row, ENTRY_COLUMNS, &session.session_id)?;
            Ok((session, file))
        })
    }

    /// Follows `merged_into` as far as the index knows, and returns the last session and the withdrawn ones before it.
    ///
    /// The last one is withdrawn only if its survivor is not in the index.
    fn follow(&self, first: Summary) -> Result<(Summary, Vec<String>), Error> {
        let (mut session, mut via) = (first, Vec::new());
        while via.len() < MAX_MERGES && session.status == Status::Withdrawn {
            let Some(survivor) = session.merged_into else { break };
            let Some(next) = self.session(&survivor.to_string())? else { break };
            via.push(session.session_id.to_string());
            session = next.summary;
        }
        Ok((session, via))
    }
}
