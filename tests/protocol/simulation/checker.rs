//! The checker: the properties of every world at its end.
//!
//! Knows what was written to the input and what a reader of committed records finds elsewhere; nothing of what the workers
//! did. The accepted set follows from input and dead letters; grouping it is sort and sweep, which it shares with the
//! audit. It stays beside the audit because it knows the world that made the input: of the controls in `faults.rs` it
//! notices five that the topics alone do not show (`Weakness::shows_in_topics`).

use std::collections::{BTreeMap, BTreeSet};

use livesession_formats::changelog::{Reduced, Reducer};
use livesession_formats::session::{self, SessionRecord};
use livesession_grouping::Status;

use livesession_audit::name;
use livesession_audit::sweep::sweep;

use super::cluster::Cluster;
use super::traffic::{
    ALLOWED_LATENESS, EPOCH, GAP, Incoming, Kind, MAX_SEGMENT, NOTIFICATION_DELAY, RECORDING_INTERVAL,
};
use super::world::Setup;

/// A segment that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Accepted {
    start: i64,
    end: i64,
    file: String,
    offset: i64,
    stream: String,
    partition: usize,
}

/// The name of a refused record, by where it is in the input.
type DeadLetters = BTreeMap<(usize, i64), String>;

/// What was published of a session, newest revision last.
struct Published {
    records: Vec<SessionRecord>,
}

impl Published {
    fn newest(&self) -> &SessionRecord {
        self.records.last().expect("a session is there because of its first revision")
    }

    fn is_withdrawn(&self) -> bool {
        self.newest().status == Status::Withdrawn
    }
}

/// Checks what is published and refused, when every session has closed.
pub fn check_output(setup: &Setup, cluster: &Cluster) -> Result<(), String> {
    let accepted = accepted(setup, cluster)?;
    let published = published(cluster)?;
    let expected: BTreeSet<Vec<Accepted>> = group(accepted).into_iter().collect();
    let mut found = BTreeSet::new();
    for (id, session) in &published {
        let newest = session.newest();
        if session.is_withdrawn() {
            let survivor = newest.merged_into.map(|id| id.to_string());
            if !survivor.is_some_and(|survivor| published.contains_key(&survivor)) {
                return Err(format!("session {id} is withdrawn into one that was not published"));
            }
            continue;
        }
        let members = members(newest);
        let seed = members.iter().min_by_key(|member| member.offset).ok_or(format!("session {id} is empty"))?;
        if *id != session_id(seed) {
            return Err(format!("session {id} is not named after its seed {seed:?}"));
        }
        if !found.insert(members) {
            return Err(format!("session {id} was published under two names"));
        }
    }
    let limit = limit(setup);
    // What a limit has cut is put together again: each part within the limit, all of them what a batch job finds.
    let (whole, cut): (BTreeSet<_>, BTreeSet<_>) = expected.into_iter().partition(|members| members.len() <= limit);
    for members in cut {
        let parts: Vec<_> = found.extract_if(.., |part| members.contains(&part[0])).collect();
        if let Some(long) = parts.iter().find(|part| part.len() > limit) {
            return Err(format!("longer than {limit} segments: {long:?}"));
        }
        let mut joined: Vec<Accepted> = parts.into_iter().flatten().collect();
        joined.sort();
        if joined != members {
            return Err(format!("its parts are not what a batch job finds: {members:?}, but {joined:?}"));
        }
    }
    if let Some(missing) = whole.difference(&found).next() {
        return Err(format!("not published as a batch job finds it: {missing:?}"));
    }
    if let Some(extra) = found.difference(&whole).next() {
        return Err(format!("published, but no batch job finds it: {extra:?}"));
    }
    if let Some((partition, from, to)) = cluster.group.went_back.first() {
        return Err(format!("the committed offset of partition {partition} went back from {from} to {to}"));
    }
    Ok(())
}

/// How many segments a session may have.
fn limit(setup: &Setup) -> usize {
    setup.settings.policy.settings().max_session_segments as usize
}

/// Checks the changelogs against group, input and output, when everything has been read and nothing is under way.
pub fn check_state(setup: &Setup, cluster: &Cluster) -> Result<(), String> {
    let accepted = accepted(setup, cluster)?;
    let published = published(cluster)?;
    let with_hints: BTreeSet<String> = streams_with_hints(setup);
    for partition in 0..setup.partitions {
        let reduced = reduce(cluster, partition)?;
        let committed = cluster.group.offset(partition as i32);
        let marker = reduced.marker.as_ref().ok_or(format!("partition {partition} has no marker"))?;
        if Some(marker.next_offset) != committed {
            return Err(format!("partition {partition}: marker at {}, group at {committed:?}", marker.next_offset));
        }
        let watermark = marker.clock.map(|clock| clock.watermark.as_ms());
        let own: Vec<Accepted> = accepted.iter().filter(|segment| segment.partition == partition).cloned().collect();
        let remembered: BTreeSet<Accepted> = remembered(&reduced, partition);
        if let Some(unknown) = remembered.iter().find(|segment| !own.contains(segment)) {
            return Err(format!("the changelog holds a segment that was not accepted: {unknown:?}"));
        }
        let saved: BTreeMap<String, u32> = reduced
            .saved
            .sessions
            .iter()
            .map(|saved| (saved.last_published.session_id.to_string(), saved.last_published.revision))
            .collect();
        for (id, revision) in &saved {
            let newest = published.get(id).map(|session| session.newest().revision);
            if newest != Some(*revision) {
                return Err(format!("the changelog has revision {revision} of session {id}, the output {newest:?}"));
            }
        }
        // The parts of what a limit has cut close and are forgotten each by itself.
        for members in group(own).into_iter().filter(|members| members.len() <= limit(setup)) {
            let end = members.iter().map(|member| member.end).max().unwrap_or_default();
            let passed = |bound: i64| watermark.is_some_and(|watermark| watermark > bound);
            let standing = published.iter().find(|(_, session)| self::members(session.newest()) == members);
            if !passed(end + GAP + MAX_SEGMENT + ALLOWED_LATENESS) {
                if let Some(missing) = members.iter().find(|member| !remembered.contains(member)) {
                    return Err(format!("the changelog has lost {missing:?}"));
                }
                if standing.is_some_and(|(id, _)| !saved.contains_key(id)) {
                    return Err(format!("the changelog does not know that it published {members:?}"));
                }
            }
            let is_plain = !with_hints.contains(&members[0].stream);
            if is_plain && passed(end + GAP + RECORDING_INTERVAL + NOTIFICATION_DELAY) && standing.is_none() {
                return Err(format!("may close under {watermark:?}, and has not been published: {members:?}"));
            }
        }
    }
    Ok(())
}

/// Whether nothing is left in any changelog but its marker.
///
/// Punctuation leaves the hints of streams without a session: that alone does not move a clock.
pub fn is_all_forgotten(setup: &Setup, cluster: &Cluster) -> bool {
    cluster.changelog.iter().all(|log| {
        let mut newest = BTreeMap::new();
        for (_, record) in log.committed() {
            newest.insert(&record.key, record.value.is_some());
        }
        newest.into_iter().all(|(key, is_there)| key == b"m" || setup.punctuates && key.starts_with(b"h/") || !is_there)
    })
}

fn streams_with_hints(setup: &Setup) -> BTreeSet<String> {
    let is_hint = |incoming: &&Incoming| matches!(incoming.kind, Kind::Hint { .. });
    let stream = |incoming: &Incoming| {
        let value: serde_json::Value = serde_json::from_slice(incoming.value.as_deref()?).ok()?;
        Some(format!("//{}", value["stream_id"].as_str()?))
    };
    setup.traffic.iter().filter(is_hint).filter_map(stream).collect()
}

fn reduce(cluster: &Cluster, partition: usize) -> Result<Reduced, String> {
    let mut reducer = Reducer::default();
    for (_, record) in cluster.changelog[partition].committed() {
        reducer.apply(&record.key, record.value.as_deref()).map_err(|error| error.to_string())?;
    }
    reducer.finish().map_err(|error| error.to_string())
}

fn remembered(reduced: &Reduced, partition: usize) -> BTreeSet<Accepted> {
    let segments = reduced.saved.segments.iter().map(|(stream, segment)| Accepted {
        start: segment.start().as_ms(),
        end: segment.end().as_ms(),
        file: segment.file_id().to_owned(),
        offset: segment.offset(),
        stream: stream.to_string(),
        partition,
    });
    segments.collect()
}

/// Works out the accepted set, and checks that each record was accounted for as it must be.
fn accepted(setup: &Setup, cluster: &Cluster) -> Result<Vec<Accepted>, String> {
    let refused = dead_letters(setup, cluster)?;
    let mut all = Vec::new();
    for (partition, log) in cluster.input.iter().enumerate() {
        let read = cluster.group.offset(partition as i32).unwrap_or(0);
        let began = cluster.group.began.get(&(partition as i32)).copied().unwrap_or(0);
        // What event time has reached, leaving aside what the wall clock did to it.
        let mut reached = i64::MIN;
        let mut own: Vec<Accepted> = Vec::new();
        for (offset, number) in log.committed().filter(|(offset, _)| (began..read).contains(offset)) {
            let incoming = &setup.traffic[*number];
            let reason = refused.get(&(partition, offset)).map(String::as_str);
            let wrong = |what: &str| Err(format!("{what}: {reason:?}, offset {offset} of {partition}, {incoming:?}"));
            match &incoming.kind {
                Kind::Bad(expected) if reason != Some(*expected) => return wrong("refused for another reason"),
                Kind::Bad(_) => {}
                Kind::Hint { .. } | Kind::Other if reason.is_some() => return wrong("refused without a reason"),
                Kind::Other => {}
                Kind::Hint { at } => reached = reached.max(*at),
                Kind::Segment { stream, file, start, end } => {
                    let late_by = reached.saturating_sub(*end);
                    let known = own.iter().rev().find(|known| known.stream == *stream && known.file == *file);
                    let is_same = known.is_some_and(|known| (known.start, known.end) == (*start, *end));
                    let may_be_forgotten = known.is_some_and(|known| {
                        setup.punctuates || reached > known.end + GAP + MAX_SEGMENT + ALLOWED_LATENESS
                    });
                    // A clock that is right goes no further than the wall, while nothing waits to be read.
                    let wall = EPOCH + cluster.arrivals[*number] as i64;
                    let may_be_late = match (setup.punctuates, setup.has_true_clocks) {
                        (false, _) => late_by > ALLOWED_LATENESS,
                        (true, true) => late_by > ALLOWED_LATENESS || wall > end + ALLOWED_LATENESS,
                        (true, false) => true,
                    };
                    match reason {
                        Some("late") if !may_be_late => return wrong("not late"),
                        Some("late") => {}
                        _ if late_by > ALLOWED_LATENESS => return wrong("late"),
                        Some("conflict") if known.is_none() || is_same => return wrong("no conflict"),
                        Some("conflict") => {}
                        Some(_) => return wrong("refused for another reason"),
                        None if is_same => {}
                        None if known.is_some() && !may_be_forgotten => return wrong("a conflict"),
                        None => {
                            reached = reached.max(*end);
                            own.push(Accepted {
                                start: *start,
                                end: *end,
                                file: file.clone(),
                                offset,
                                stream: stream.clone(),
                                partition,
                            });
                        }
                    }
                }
            }
        }
        all.extend(own);
    }
    Ok(all)
}

/// Reads the dead letters: each of a committed record of the input, once, with its bytes.
fn dead_letters(setup: &Setup, cluster: &Cluster) -> Result<DeadLetters, String> {
    let mut found = BTreeMap::new();
    for (_, letter) in cluster.dead_letters.committed() {
        let header = |name: &str| {
            let value = letter.headers.iter().find(|(known, _)| known == name.as_bytes());
            let text = value.and_then(|(_, value)| value.as_deref()).map(String::from_utf8_lossy);
            text.map(|text| text.into_owned()).ok_or(format!("a dead letter has no header {name}"))
        };
        let partition: usize = header("__dlq.errors.partition")?.parse().map_err(|_| "no partition")?;
        let offset: i64 = header("__dlq.errors.offset")?.parse().map_err(|_| "no offset")?;
        let origin = cluster.input[partition].committed().find(|(known, _)| *known == offset);
        let Some((_, number)) = origin else { return Err(format!("dead letter of no record, offset {offset}")) };
        let incoming = &setup.traffic[*number];
        if offset < cluster.group.began.get(&(partition as i32)).copied().unwrap_or(0) {
            return Err(format!("dead letter from before the start, offset {offset} of partition {partition}"));
        }
        if letter.value != incoming.value || letter.key != incoming.key {
            return Err(format!("dead letter with other bytes than {incoming:?}"));
        }
        if found.insert((partition, offset), header("livesession-dlq-reason")?).is_some() {
            return Err(format!("two dead letters of offset {offset} of partition {partition}"));
        }
    }
    Ok(found)
}

/// Reads the output: revisions from 1 on, each once, in order, nothing after a withdrawal.
fn published(cluster: &Cluster) -> Result<BTreeMap<String, Published>, String> {
    let mut sessions: BTreeMap<String, Published> = BTreeMap::new();
    for (_, written) in cluster.output.committed() {
        let value = written.value.as_deref().ok_or("a session without a value")?;
        let record = session::decode(value).map_err(|error| error.to_string())?;
        if written.key != record.stream.key.as_bytes() {
            return Err(format!("session {} under another key", record.session_id));
        }
        let id = record.session_id.to_string();
        let session = sessions.entry(id.clone()).or_insert_with(|| Published { records: Vec::new() });
        let expected = session.records.len() as u32 + 1;
        if record.revision != expected {
            return Err(format!("session {id} has revision {} where {expected} comes next", record.revision));
        }
        if expected > 1 && session.is_withdrawn() {
            return Err(format!("session {id} came back after it was withdrawn"));
        }
        session.records.push(record);
    }
    Ok(sessions)
}

fn members(record: &SessionRecord) -> Vec<Accepted> {
    let mut members: Vec<Accepted> = record
        .segments
        .iter()
        .map(|segment| Accepted {
            start: segment.start.as_ms(),
            end: segment.end.as_ms(),
            file: segment.file_id.clone(),
            offset: segment.offset,
            stream: record.stream.key.clone(),
            partition: record.source.partition as usize,
        })
        .collect();
    members.sort();
    members
}

/// Groups the segments of all streams.
fn group(segments: Vec<Accepted>) -> Vec<Vec<Accepted>> {
    let mut streams: BTreeMap<String, Vec<Accepted>> = BTreeMap::new();
    for segment in segments {
        streams.entry(segment.stream.clone()).or_default().push(segment);
    }
    streams.into_values().flat_map(|own| sweep(own, GAP, |segment| (segment.start, segment.end))).collect()
}

fn session_id(seed: &Accepted) -> String {
    name::session_id(&seed.stream, &seed.file, seed.end)
}
