-- The index, version 1: the newest revision of every session of the output topic.
--
-- Times are UTC milliseconds, intervals are half-open. Never edit this file once it is released: write the next one.

PRAGMA application_id = 1280526680; -- 'LSIX': tells our files from other SQLite files
PRAGMA user_version = 1;

-- topic, source_topic: what this is an index of. generation: another file, or another filling, has another one.
-- change: the last number given to a session row. max_duration_ms: of any session ever; only grows.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES
  ('generation', lower(hex(randomblob(8)))),
  ('change', 0),
  ('max_duration_ms', 0);

-- The next offset to read, moved by compare-and-set in the transaction that writes the rows. By topic id and not by
-- name: a topic that was deleted and made again starts from 0 and is not the same.
CREATE TABLE topic_offset (
  topic_id  TEXT,
  partition INT,
  next      INT NOT NULL,
  PRIMARY KEY (topic_id, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE stream (
  key             TEXT PRIMARY KEY,
  app             TEXT NOT NULL,
  appname         TEXT NOT NULL,
  stream_id       TEXT NOT NULL,
  max_duration_ms INT NOT NULL -- longest session ever: only grows
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
  session_no       INTEGER PRIMARY KEY,
  session_id       TEXT NOT NULL UNIQUE,
  revision         INT NOT NULL,
  status           TEXT NOT NULL, -- closed, withdrawn
  merged_into      TEXT,
  continues        TEXT,
  close_cause      TEXT,
  stream_key       TEXT NOT NULL REFERENCES stream,
  start_ms         INT NOT NULL,
  end_ms           INT NOT NULL CHECK (end_ms >= start_ms),
  recorded_ms      INT NOT NULL, -- a union, not a sum
  source_partition INT NOT NULL,
  first_offset     INT NOT NULL,
  last_offset      INT NOT NULL,
  watermark_ms     INT NOT NULL,
  change           INT NOT NULL UNIQUE -- counter in meta, for syncing
) STRICT;

-- Start first, then all that a page has to compare: rows outside of the interval are skipped inside the index.
CREATE INDEX session_by_stream ON session (stream_key, start_ms, session_id, end_ms, status);
CREATE INDEX session_by_time ON session (start_ms, session_id, end_ms, status);

-- A withdrawn session keeps its rows here, so that a look-up by file can follow merged_into until the survivor is here.
CREATE TABLE segment (
  session_no   INT NOT NULL REFERENCES session ON DELETE CASCADE,
  seq          INT NOT NULL, -- by start, end, file id
  file_id      TEXT NOT NULL, -- unique within a stream, not beyond
  url          TEXT,
  format       TEXT,
  task_id      TEXT,
  template_id  TEXT,
  bitrate_kbps INT, -- 0: original
  start_ms     INT NOT NULL,
  end_ms       INT NOT NULL,
  media_ms     INT,
  size_bytes   INT,
  anomalies    TEXT NOT NULL CHECK (json_valid(anomalies)),
  input_offset INT NOT NULL,
  PRIMARY KEY (session_no, seq)
) STRICT;

CREATE INDEX segment_by_file ON segment (file_id);

CREATE TABLE gap (
  session_no INT REFERENCES session ON DELETE CASCADE,
  seq        INT,
  start_ms   INT NOT NULL,
  end_ms     INT NOT NULL,
  PRIMARY KEY (session_no, seq)
) STRICT, WITHOUT ROWID;

-- For people and for tools such as Datasette: the same rows with times as text.
CREATE VIEW session_text AS
SELECT
  session_id,
  revision,
  status,
  stream_key,
  strftime('%Y-%m-%dT%H:%M:%fZ', start_ms / 1000.0, 'unixepoch') AS start,
  strftime('%Y-%m-%dT%H:%M:%fZ', end_ms / 1000.0, 'unixepoch') AS "end",
  end_ms - start_ms AS duration_ms,
  recorded_ms,
  (SELECT count(*) FROM segment WHERE segment.session_no = session.session_no) AS segments,
  (SELECT count(*) FROM gap WHERE gap.session_no = session.session_no) AS gaps,
  close_cause,
  merged_into,
  continues,
  change
FROM session;

CREATE VIEW segment_text AS
SELECT
  session.session_id,
  session.status,
  session.stream_key,
  segment.seq,
  segment.file_id,
  segment.format,
  segment.template_id,
  segment.bitrate_kbps,
  strftime('%Y-%m-%dT%H:%M:%fZ', segment.start_ms / 1000.0, 'unixepoch') AS start,
  strftime('%Y-%m-%dT%H:%M:%fZ', segment.end_ms / 1000.0, 'unixepoch') AS "end",
  segment.end_ms - segment.start_ms AS duration_ms,
  segment.size_bytes,
  segment.url
FROM segment JOIN session USING (session_no);
