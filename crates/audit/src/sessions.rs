//! The output: every revision on its own, and each session's newest one kept.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::audit::Audit;
use crate::name::session_id;
use crate::notification::Attributes;
use crate::record::{Record, integer, optional_integer, optional_text, text};
use crate::report::{Kind, Place};
use crate::state::{Head, Revision, Session, time};

impl Audit {
    /// Takes the next record of the output.
    pub fn session(&mut self, record: &Record) {
        let place = record.place();
        self.output_next.insert(place.partition, place.offset + 1);
        let here = format!("{}/{place}", self.told.output);
        let read = record.value.as_deref().ok_or("a null value".to_owned());
        let parsed = read.and_then(|value| serde_json::from_slice(value).map_err(|error| error.to_string()));
        let revision = match parsed.and_then(|value| self.revision(&value, place)) {
            Ok(revision) => revision,
            Err(what) => return self.report.wrong(Kind::Unreadable, here, what),
        };
        self.revisions += 1;
        let Revision { id, mut session, gaps } = revision;
        if record.key.as_deref() != Some(session.stream.as_bytes()) {
            self.report.wrong(Kind::WrongContent, &here, "the key should be the stream's");
        }
        let number = session.head.revision;
        let name = format!("{id}:{number}");
        let named = record.headers.iter().find(|(header, _)| header == b"ce_id");
        if named.is_some_and(|(_, value)| value.as_deref() != Some(name.as_bytes())) {
            self.report.wrong(Kind::WrongContent, &here, format!("the header ce_id should be {name}"));
        }
        let before = self.sessions.remove(&id);
        let expected = before.as_ref().map_or(0, |before| before.head.revision) + 1;
        // The first one that is left, of a log of which the beginning is removed.
        let is_first_left = before.is_none() && self.trimmed.output.contains(&place.partition);
        if number < expected {
            let earlier = before.as_ref().map_or(place, |before| before.place);
            let what = format!("session {id} revision {number}, after revision {} at {earlier}", expected - 1);
            self.report.wrong(Kind::PublishedTwice, &here, what);
        } else if number > expected && !is_first_left {
            let what = format!("session {id} revision {number}, should be {expected}");
            self.report.wrong(Kind::RevisionMissing, &here, what);
        }
        if let Some(before) = &before {
            if before.withdrawn {
                let what = format!("session {id} comes back after it was withdrawn at {}", before.place);
                self.report.wrong(Kind::Withdrawal, &here, what);
            }
            if before.place.partition != place.partition {
                let what = format!("session {id} is on partition {} too", before.place.partition);
                self.report.wrong(Kind::WrongContent, &here, what);
            }
        } else if session.withdrawn && !is_first_left {
            self.report.wrong(Kind::Withdrawal, &here, format!("session {id} was never published"));
        }
        if session.withdrawn {
            if let Some(before) = before {
                session.members = before.members;
            }
        } else {
            self.check_segments(&here, &id, &session, &gaps);
            if let Some(before) = before.filter(|before| !before.withdrawn) {
                let now: BTreeSet<&i64> = session.members.iter().collect();
                if let Some(lost) = before.members.iter().find(|offset| !now.contains(offset)) {
                    let what =
                        format!("session {id} lost the segment of offset {lost}, which it had at {}", before.place);
                    self.report.wrong(Kind::Misplaced, &here, what);
                }
            }
            let partition = session.source_partition;
            self.published.extend(session.members.iter().map(|offset| Place { partition, offset: *offset }));
        }
        self.sessions.insert(id, session);
    }

    /// Reads a revision, and checks each of its segments against the accepted one.
    fn revision(&mut self, value: &Value, place: Place) -> Result<Revision, String> {
        if value["version"] != 1 {
            return Err(format!("version {}, should be 1", value["version"]));
        }
        let id = text(value, "session_id")?;
        let status = text(value, "status")?;
        let source = &value["source"];
        if source["topic"].as_str() != Some(&self.told.input) {
            return Err(format!("session {id} is of topic {}, should be {}", source["topic"], self.told.input));
        }
        let withdrawn = match &*status {
            "closed" => false,
            "withdrawn" => true,
            _ => return Err(format!("session {id} has status {status:?}")),
        };
        let stream = text(&value["stream"], "key")?;
        let source_partition = i32::try_from(integer(source, "partition")?).map_err(|error| error.to_string())?;
        let head = Head {
            revision: integer(value, "revision")?,
            start: time(value, "start")?,
            end: time(value, "end")?,
            recorded_ms: integer(value, "recorded_ms")?,
            first_offset: integer(source, "first_offset")?,
            last_offset: integer(source, "last_offset")?,
            watermark: time(value, "watermark")?,
            continues: optional_text(value, "continues")?,
            close_cause: optional_text(value, "close_cause")?,
        };
        if integer(value, "duration_ms")? != head.end - head.start {
            return Err(format!("session {id} has duration_ms {}", value["duration_ms"]));
        }
        let list = |name: &str| value[name].as_array().ok_or_else(|| format!("session {id} has no {name}"));
        let (segments, renditions) = (list("segments")?, list("renditions")?);
        let span = |value: &Value| Ok((time(value, "start")?, time(value, "end")?));
        let gaps = list("gaps")?.iter().map(span).collect::<Result<Vec<_>, String>>()?;
        let merged_into = optional_text(value, "merged_into")?;
        if withdrawn && (!segments.is_empty() || merged_into.is_none()) {
            return Err(format!("session {id} is withdrawn and has segments, or no survivor"));
        }
        let mut members = Vec::with_capacity(segments.len());
        for segment in segments {
            let offset = integer(segment, "offset")?;
            let rendition =
                segment["rendition"].as_u64().and_then(|index| renditions.get(usize::try_from(index).ok()?));
            let rendition = rendition.ok_or_else(|| format!("session {id} has a segment of no rendition"))?;
            let texts = |list: &Value| {
                let list = list.as_array().ok_or_else(|| format!("session {id} has a segment without anomalies"))?;
                Ok::<_, String>(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            };
            let attributes = Attributes {
                url: optional_text(segment, "url")?,
                format: optional_text(segment, "format")?,
                task_id: optional_text(segment, "task_id")?,
                template_id: optional_text(rendition, "template_id")?,
                bitrate_kbps: optional_integer(rendition, "bitrate_kbps")?,
                media_ms: optional_integer(segment, "media_ms")?,
                size_bytes: optional_integer(segment, "size_bytes")?,
                anomalies: texts(&segment["anomalies"])?,
            };
            let accepted = Place { partition: source_partition, offset };
            let file = text(segment, "file_id")?;
            let interval = span(segment)?;
            if let Some(difference) = self.difference(accepted, &stream, &file, interval, &attributes) {
                let here = format!("{}/{place}", self.told.output);
                let what = format!("session {id}: the segment of offset {offset} {difference}");
                self.report.wrong(Kind::WrongSegment, here, what);
                continue;
            }
            members.push(offset);
        }
        let session = Session { stream, source_partition, withdrawn, merged_into, head, members, place };
        Ok(Revision { id, session, gaps })
    }

    /// Checks what follows from the segments of a revision, and whether it could close.
    fn check_segments(&mut self, here: &str, id: &str, session: &Session, gaps: &[(i64, i64)]) {
        let partition = session.source_partition;
        if session.members.iter().any(|offset| self.is_removed(Place { partition, offset: *offset })) {
            return;
        }
        let mut spans: Vec<(i64, i64, &str)> = Vec::new();
        for offset in &session.members {
            let accepted = &self.accepted[&Place { partition, offset: *offset }];
            spans.push((accepted.start, accepted.end, &accepted.file));
        }
        let Some(seed) = session.members.iter().min() else {
            return self.report.wrong(
                Kind::WrongContent,
                here,
                format!("session {id} has no segment that was accepted"),
            );
        };
        let first = &self.accepted[&Place { partition, offset: *seed }];
        let expected = session_id(&session.stream, &first.file, first.end);
        let (recorded, silences) = sweep(&spans);
        let head = &session.head;
        let in_order = spans.is_sorted();
        let content = [
            ("start", Some(head.start), spans.iter().map(|span| span.0).min()),
            ("end", Some(head.end), spans.iter().map(|span| span.1).max()),
            ("recorded_ms", Some(head.recorded_ms), Some(recorded)),
            ("first_offset", Some(head.first_offset), session.members.iter().min().copied()),
            ("last_offset", Some(head.last_offset), session.members.iter().max().copied()),
        ];
        if expected != id {
            let what = format!("session {id} should be {expected}, after the segment of offset {seed}");
            self.report.wrong(Kind::WrongName, here, what);
        }
        if !in_order {
            self.report.wrong(Kind::WrongContent, here, format!("session {id}: segments are not in order"));
        }
        if silences != gaps {
            self.report.wrong(Kind::WrongContent, here, format!("session {id}: gaps {gaps:?}, should be {silences:?}"));
        }
        for (name, found, expected) in content.into_iter().filter(|(_, found, expected)| found != expected) {
            self.report.wrong(
                Kind::WrongContent,
                here,
                format!("session {id}: {name} {found:?}, should be {expected:?}"),
            );
        }
        let Some(policy) = self.policy(partition).filter(|_| !self.told.settings_changed) else { return };
        let gap = policy.gap_of(&session.stream);
        let bound = match head.close_cause.as_deref() {
            Some("watermark") => head.end + gap + policy.close_after(),
            Some("push_ended") => head.end + gap + policy.notification_delay,
            Some("max_hold") => head.end + policy.max_hold,
            Some("limit") => return,
            other => {
                let what = format!("session {id}: no worker closes because of {other:?}");
                return self.report.wrong(Kind::WrongContent, here, what);
            }
        };
        if head.watermark <= bound {
            let what = format!("session {id} under watermark {}, should have waited for {bound}", head.watermark);
            self.report.wrong(Kind::ClosedEarly, here, what);
        }
    }
}

/// Returns the recorded time and the silences of segments in order of their start.
fn sweep(spans: &[(i64, i64, &str)]) -> (i64, Vec<(i64, i64)>) {
    let (mut recorded, mut silences) = (0, Vec::new());
    let mut reach: Option<i64> = None;
    for (start, end, _) in spans {
        let from = match reach {
            Some(reach) if *start <= reach => reach,
            Some(reach) => {
                silences.push((reach, *start));
                *start
            }
            None => *start,
        };
        recorded += (end - from).max(0);
        reach = Some(reach.map_or(*end, |reach| reach.max(*end)));
    }
    (recorded, silences)
}
