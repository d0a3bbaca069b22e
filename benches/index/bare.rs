//! The least that writing these rows to SQLite takes: the same schema and settings, one prepared insert per table.
//!
//! Looks nothing up, compares no revision, moves no offset, counts no change. In bulk it also leaves the indexes to the end and
//! does not wait for the disk, to make a file of many millions in minutes.

use std::collections::HashSet;
use std::path::Path;

use livesession_formats::named::Named;
use livesession_formats::session::SessionRecord;
use rusqlite::{Connection, Statement, params};

const SCHEMA: &str = include_str!("../../schemas/sql/0001_sessions.sql");

/// A file that is written by plain inserts.
pub struct Bare {
    connection: Connection,
    streams: HashSet<String>,
    sessions: i64,
}

impl Bare {
    pub fn create(path: &Path) -> Bare {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                 PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF;
                 PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000;",
            )
            .unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection.set_prepared_statement_cache_capacity(8);
        Bare { connection, streams: HashSet::new(), sessions: 0 }
    }

    /// Creates a file that is to be filled in bulk.
    pub fn create_bulk(path: &Path) -> Bare {
        let bare = Bare::create(path);
        bare.connection
            .execute_batch(
                "PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000;
                 DROP INDEX segment_by_file; DROP INDEX session_by_stream; DROP INDEX session_by_time;",
            )
            .unwrap();
        bare
    }

    /// Makes of a file that was filled in bulk what the indexer would have made.
    pub fn finish_bulk(self) {
        let indexes = SCHEMA.lines().filter(|line| line.starts_with("CREATE INDEX"));
        self.connection.execute_batch(&indexes.collect::<String>()).unwrap();
        self.connection
            .execute_batch(
                "UPDATE meta SET value = (SELECT max(change) FROM session) WHERE key = 'change';
                 UPDATE meta SET value = (SELECT max(max_duration_ms) FROM stream) WHERE key = 'max_duration_ms';
                 PRAGMA wal_checkpoint(TRUNCATE);",
            )
            .unwrap();
    }

    /// Writes a batch in one transaction.
    pub fn write(&mut self, records: &[SessionRecord]) {
        let transaction = self.connection.transaction().unwrap();
        {
            let prepare = |sql| transaction.prepare_cached(sql).unwrap();
            let mut stream = prepare("INSERT INTO stream VALUES (?1, ?2, ?3, ?4, ?5)");
            let mut session = prepare(
                "INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?1)",
            );
            let mut segment =
                prepare("INSERT INTO segment VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, '[]', ?13)");
            let mut gap = prepare("INSERT INTO gap VALUES (?1, ?2, ?3, ?4)");
            for record in records {
                let of = &record.stream;
                if self.streams.insert(of.key.clone()) {
                    stream.execute(params![of.key, of.app, of.appname, of.stream_id, record.duration_ms]).unwrap();
                }
                self.sessions += 1;
                insert(&mut session, &mut segment, &mut gap, self.sessions, record);
            }
        }
        transaction.commit().unwrap();
    }
}

fn insert(
    session: &mut Statement<'_>,
    segment: &mut Statement<'_>,
    gap: &mut Statement<'_>,
    number: i64,
    record: &SessionRecord,
) {
    session
        .execute(params![
            number,
            record.session_id.to_string(),
            record.revision,
            record.status.as_str(),
            record.merged_into.map(|id| id.to_string()),
            record.continues.map(|id| id.to_string()),
            record.close_cause.map(Named::as_str),
            record.stream.key,
            record.start.as_ms(),
            record.end.as_ms(),
            record.recorded_ms,
            record.source.partition,
            record.source.first_offset,
            record.source.last_offset,
            record.watermark.as_ms()
        ])
        .unwrap();
    for (seq, row) in (0_i64..).zip(&record.segments) {
        let rendition = &record.renditions[row.rendition];
        segment
            .execute(params![
                number,
                seq,
                row.file_id,
                row.url,
                row.format,
                row.task_id,
                rendition.template_id,
                rendition.bitrate_kbps,
                row.start.as_ms(),
                row.end.as_ms(),
                row.media_ms,
                row.size_bytes,
                row.offset
            ])
            .unwrap();
    }
    for (seq, row) in (0_i64..).zip(&record.gaps) {
        gap.execute(params![number, seq, row.start.as_ms(), row.end.as_ms()]).unwrap();
    }
}
