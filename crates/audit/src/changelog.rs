//! The state that a worker would restore: the changelog reduced by key, compared with what it must be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::audit::Audit;
use crate::notification::Attributes;
use crate::record::{Record, integer, list, optional_text, text};
use crate::report::{Kind, Place};
use crate::state::{Marker, Remembered};

impl Audit {
    /// Takes the next record of the changelog.
    pub fn changelog(&mut self, record: Record) {
        let here = format!("{}/{}", self.told.changelog, record.place());
        let state = self.state.entry(record.partition).or_default();
        let Some(key) = record.key.and_then(|key| String::from_utf8(key).ok()) else {
            self.report.wrong(Kind::Unreadable, here, "its key is no text");
            return;
        };
        match record.value {
            Some(value) if key == "m" => {
                let parsed = serde_json::from_slice(&value).map_err(|error| error.to_string());
                match parsed.and_then(|value| Marker::read(&value)) {
                    Ok(marker) => state.marker = Some(marker),
                    Err(what) => self.report.wrong(Kind::Unreadable, here, what),
                }
            }
            None if key == "m" => state.marker = None,
            Some(value) => {
                state.values.insert(key, value);
            }
            None => {
                state.values.remove(&key);
            }
        }
    }

    /// Compares the state with what was accepted and published.
    pub fn finish_state(&mut self, groups: &[Remembered]) {
        let state = std::mem::take(&mut self.state);
        for (partition, state) in &state {
            let mut held: BTreeMap<i64, &str> = BTreeMap::new();
            for (key, value) in &state.values {
                let here = format!("{}/{partition} key {key}", self.told.changelog);
                let parsed = serde_json::from_slice(value).map_err(|error| error.to_string());
                let checked = parsed.and_then(|value: Value| match key.split_once('/') {
                    _ if value["version"] != 1 => Err(format!("version {}, should be 1", value["version"])),
                    Some(("b", first)) => self.check_batch(*partition, key, first, &value, &mut held),
                    Some(("p", id)) => self.check_head(*partition, id, &value),
                    Some(("h", stream)) => self.check_hints(*partition, stream),
                    _ => Err("a key of no known kind".to_owned()),
                });
                if let Err(what) = checked {
                    self.report.wrong(Kind::StateUnknown, here, what);
                }
            }
            let Some(marker) = &state.marker else { continue };
            let passed = |watermark: Option<i64>, bound: i64| watermark.is_some_and(|watermark| watermark > bound);
            let mut to_forget: BTreeSet<i64> = BTreeSet::new();
            for group in groups.iter().filter(|group| group.partition == *partition) {
                let Remembered { offsets, end, last, .. } = group;
                let after = marker.policy.gap_of(self.stream(group.stream)) + marker.policy.forget_after();
                if passed(marker.forgotten, last + after) {
                    to_forget.extend(offsets);
                }
                if passed(marker.watermark, end + after) {
                    continue;
                }
                for offset in offsets.iter().filter(|offset| !held.contains_key(offset)) {
                    let here = format!("{}/{partition}/{offset}", self.told.input);
                    let what = format!("accepted, not forgotten, and in no batch of {}", self.told.changelog);
                    self.report.wrong(Kind::StateLost, here, what);
                }
                self.check_heads_there(*partition, offsets, &state.values);
            }
            let mut kept: BTreeSet<&str> = BTreeSet::new();
            let mut batches: BTreeSet<&str> = BTreeSet::new();
            for (offset, batch) in &held {
                batches.insert(batch);
                if !to_forget.contains(offset) {
                    kept.insert(batch);
                }
            }
            for batch in batches.difference(&kept) {
                let here = format!("{}/{partition} key {batch}", self.told.changelog);
                self.report.wrong(Kind::StateUnknown, here, "all of its segments are forgotten: it should be deleted");
            }
        }
        self.report.count("keys in the changelog", state.values().map(|state| state.values.len()).sum());
        self.state = state;
    }

    /// Compares the segments of a batch with those that were accepted.
    fn check_batch<'a>(
        &mut self,
        partition: i32,
        key: &'a str,
        first: &str,
        value: &Value,
        held: &mut BTreeMap<i64, &'a str>,
    ) -> Result<(), String> {
        let streams = list(value, "streams")?;
        let rows = list(value, "segments")?;
        let begins = rows.first().and_then(|row| row[0][1].as_i64());
        if begins.map(|offset| offset.to_string()).as_deref() != Some(first) {
            return Err(format!("its first segment is that of offset {begins:?}"));
        }
        for row in rows {
            let number = |value: &Value| value.as_i64().ok_or_else(|| "a segment without its numbers".to_owned());
            let optional = |value: &Value| value.as_str().map(str::to_owned);
            let (place, texts, numbers) = (&row[0], &row[1], &row[2]);
            let offset = number(&place[1])?;
            let stream = place[0].as_u64().and_then(|index| streams.get(usize::try_from(index).ok()?)?.as_str());
            let anomalies = numbers[3].as_array().ok_or("a segment without anomalies")?;
            let attributes = Attributes {
                url: optional(&texts[1]),
                format: optional(&texts[2]),
                task_id: optional(&texts[3]),
                template_id: optional(&texts[4]),
                bitrate_kbps: numbers[0].as_i64(),
                media_ms: numbers[1].as_i64(),
                size_bytes: numbers[2].as_i64(),
                anomalies: anomalies.iter().filter_map(optional).collect(),
            };
            let stream = stream.ok_or("a segment without its stream")?;
            let interval = (number(&place[2])?, number(&place[3])?);
            let file = texts[0].as_str().ok_or("a segment without its file")?;
            let difference = self.difference(Place { partition, offset }, stream, file, interval, &attributes);
            if let Some(difference) = difference {
                return Err(format!("the segment of offset {offset} {difference}"));
            }
            if let Some(other) = held.insert(offset, key) {
                return Err(format!("the segment of offset {offset} is in {other} too"));
            }
        }
        Ok(())
    }

    /// Says in what a segment, read elsewhere, differs from the one that was accepted.
    pub fn difference(
        &self,
        place: Place,
        stream: &str,
        file: &str,
        interval: (i64, i64),
        attributes: &Attributes,
    ) -> Option<String> {
        if self.is_removed(place) {
            return None;
        }
        let Some(accepted) = self.accepted.get(&place) else {
            return Some(format!("was not accepted in {}/{place}", self.told.input));
        };
        let expected = (accepted.start, accepted.end);
        if self.stream(accepted.stream) != stream {
            Some(format!("is of {stream:?}, should be of {:?}", self.stream(accepted.stream)))
        } else if *accepted.file != *file {
            Some(format!("is file {file:?}, should be {:?}", accepted.file))
        } else if expected != interval {
            Some(format!("lasts from {} to {}, should from {} to {}", interval.0, interval.1, expected.0, expected.1))
        } else {
            let name = accepted.attributes.difference(attributes)?;
            Some(format!("has another {name} than its notification"))
        }
    }

    /// Compares what the state says was published of a session with the output.
    fn check_head(&self, partition: i32, id: &str, value: &Value) -> Result<(), String> {
        let Some(session) = self.sessions.get(id) else {
            if !self.trimmed.output.is_empty() {
                return Ok(());
            }
            return Err(format!("no session of that id is in {}", self.told.output));
        };
        if session.source_partition != partition {
            return Err(format!("the session is of partition {}", session.source_partition));
        }
        let head = &session.head;
        let found = [
            ("revision", integer(value, "revision")?, head.revision),
            ("start", integer(value, "start")?, head.start),
            ("end", integer(value, "end")?, head.end),
            ("recorded_ms", integer(value, "recorded_ms")?, head.recorded_ms),
            ("first_offset", integer(value, "first_offset")?, head.first_offset),
            ("last_offset", integer(value, "last_offset")?, head.last_offset),
            ("watermark", integer(value, "watermark")?, head.watermark),
            ("segments", integer(value, "segments")?, session.members.len() as i64),
        ];
        if let Some((name, found, published)) = found.into_iter().find(|(_, found, published)| found != published) {
            return Err(format!("{name} {found}, published was {published}"));
        }
        let same = text(value, "stream")? == session.stream
            && optional_text(value, "continues")? == head.continues
            && optional_text(value, "close_cause")? == head.close_cause;
        if same { Ok(()) } else { Err("stream, cause or predecessor is not what was published".to_owned()) }
    }

    fn check_hints(&self, partition: i32, stream: &str) -> Result<(), String> {
        if self.trimmed.input.contains_key(&partition) {
            return Ok(());
        }
        let number = self.stream_numbers.get(stream);
        let has_hints =
            number.zip(self.partitions.get(&partition)).is_some_and(|(number, of)| of.hinted.contains(number));
        if has_hints { Ok(()) } else { Err("no hint of that stream is in the partition".to_owned()) }
    }

    /// Checks that the state knows what was published of remembered segments.
    fn check_heads_there(&mut self, partition: i32, offsets: &[i64], values: &BTreeMap<String, Vec<u8>>) {
        let ids: BTreeSet<&String> =
            offsets.iter().filter_map(|offset| self.in_session.get(&Place { partition, offset: *offset })).collect();
        let missing: Vec<String> = ids
            .into_iter()
            .filter(|id| !values.contains_key(&format!("p/{id}")))
            .map(|id| format!("{}/{partition} key p/{id}", self.told.changelog))
            .collect();
        for here in missing {
            self.report.wrong(Kind::StateLost, here, "published, not forgotten, and unknown to the state");
        }
    }
}
