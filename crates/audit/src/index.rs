//! The index: its rows against the newest revisions. Read with SQL, as any tool would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use crate::audit::Audit;
use crate::notification::Attributes;
use crate::report::{Kind, Place};

const SESSIONS: &str = "SELECT session_no, session_id, revision, status, merged_into, continues, close_cause, stream_key, \
     start_ms, end_ms, recorded_ms, source_partition, first_offset, last_offset, watermark_ms FROM session";
const SEGMENTS: &str = "SELECT input_offset, file_id, start_ms, end_ms, url, format, task_id, template_id, bitrate_kbps, \
     media_ms, size_bytes, anomalies FROM segment WHERE session_no = ?1 ORDER BY seq";

type Text = Option<String>;

/// A row of `session`.
struct Found {
    number: i64,
    id: String,
    status: String,
    stream: String,
    partition: i32,
    /// In the order of [`NAMES`].
    numbers: [i64; 7],
    merged_into: Text,
    continues: Text,
    close_cause: Text,
}

const NAMES: [&str; 7] =
    ["revision", "start_ms", "end_ms", "recorded_ms", "first_offset", "last_offset", "watermark_ms"];

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Found> {
        Ok(Found {
            number: row.get(0)?,
            id: row.get(1)?,
            status: row.get(3)?,
            stream: row.get(7)?,
            partition: row.get(11)?,
            numbers: [row.get(2)?, row.get(8)?, row.get(9)?, row.get(10)?, row.get(12)?, row.get(13)?, row.get(14)?],
            merged_into: row.get(4)?,
            continues: row.get(5)?,
            close_cause: row.get(6)?,
        })
    }
}

impl Audit {
    /// Compares an index with what was published.
    ///
    /// # Errors
    ///
    /// What SQLite said: the file cannot be audited.
    pub fn index(&mut self, path: &Path) -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        let mut missing: BTreeSet<String> = self.sessions.keys().cloned().collect();
        let mut statement = connection.prepare(SESSIONS)?;
        for found in statement.query_map([], Found::read)? {
            let found = found?;
            missing.remove(&found.id);
            let here = format!("{} session {}", path.display(), found.id);
            if let Some(what) = self.row_difference(&connection, &found)? {
                self.report.wrong(Kind::Index, here, what);
            }
        }
        for id in missing {
            let published = self.sessions[&id].place;
            let what = format!("no row, but revisions up to {}/{published}", self.told.output);
            self.report.wrong(Kind::Index, format!("{} session {id}", path.display()), what);
        }
        let mut statement = connection.prepare("SELECT partition, next FROM topic_offset")?;
        let mut next: BTreeMap<i32, i64> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        // The log may go on with markers of transactions, which are no records.
        for (partition, end) in &self.output_next {
            let found = next.remove(partition);
            if found.unwrap_or(0) < *end {
                let here = format!("{} partition {partition}", path.display());
                self.report.wrong(Kind::Index, here, format!("read up to {found:?}, should be {end}"));
            }
        }
        Ok(())
    }

    fn row_difference(&self, connection: &Connection, found: &Found) -> rusqlite::Result<Text> {
        let Some(session) = self.sessions.get(&found.id) else {
            if !self.trimmed.output.is_empty() {
                return Ok(None);
            }
            return Ok(Some(format!("no such session is in {}", self.told.output)));
        };
        let head = &session.head;
        let numbers = [
            head.revision,
            head.start,
            head.end,
            head.recorded_ms,
            head.first_offset,
            head.last_offset,
            head.watermark,
        ];
        for ((name, found), expected) in NAMES.iter().zip(found.numbers).zip(numbers) {
            if found != expected {
                return Ok(Some(format!("{name} {found}, should be {expected}")));
            }
        }
        let status = if session.withdrawn { "withdrawn" } else { "closed" };
        let same = found.status == status
            && found.stream == session.stream
            && found.partition == session.source_partition
            && found.merged_into == session.merged_into
            && found.continues == head.continues
            && found.close_cause == head.close_cause;
        if !same {
            return Ok(Some("status, stream, partition, survivor, predecessor or cause is another".to_owned()));
        }
        let mut statement = connection.prepare_cached(SEGMENTS)?;
        let mut rows = statement.query([found.number])?;
        let mut offsets = Vec::new();
        while let Some(row) = rows.next()? {
            let offset: i64 = row.get(0)?;
            let anomalies: String = row.get(11)?;
            let attributes = Attributes {
                url: row.get(4)?,
                format: row.get(5)?,
                task_id: row.get(6)?,
                template_id: row.get(7)?,
                bitrate_kbps: row.get(8)?,
                media_ms: row.get(9)?,
                size_bytes: row.get(10)?,
                anomalies: serde_json::from_str(&anomalies).unwrap_or_default(),
            };
            let (file, interval): (String, (i64, i64)) = (row.get(1)?, (row.get(2)?, row.get(3)?));
            let place = Place { partition: found.partition, offset };
            if let Some(difference) = self.difference(place, &found.stream, &file, interval, &attributes) {
                return Ok(Some(format!("the segment of offset {offset} {difference}")));
            }
            offsets.push(offset);
        }
        Ok((offsets != session.members).then(|| {
            format!("{} segments, should be the {} that were published", offsets.len(), session.members.len())
        }))
    }
}
