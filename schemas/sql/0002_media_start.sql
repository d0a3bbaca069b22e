-- The index, version 2: the first presentation time stamp of each file.

PRAGMA user_version = 2;

ALTER TABLE segment ADD COLUMN media_start_ms INT; -- no wall clock; null also in rows from before
