//! The state in the changelog, for commands that own no partition, and whether a configuration fits it.
//!
//! A worker restores the partitions that it is given, one after the other, and refuses settings that a partition's segments
//! forbid. By then it has joined its group, and another partition may have begun under these settings and forbid the old
//! ones. So all partitions are asked first, by whoever starts.

use super::check::Problem;
use super::settings::Deployment;
use super::topic::Topic;
use crate::exit::{Exit, Failure};
use crate::partition::{self, Partition, RestoreError};
use livesession_formats::changelog::{self, MARKER_KEY, Marker, Reducer};
use livesession_grouping::{Clock, PendingSession};
use livesession_kafka::LogEnds;

/// How many of the newest offsets are looked through for a marker first: it ends each transaction.
const LOOK_BACK: i64 = 16;

/// Reads the changelog of a partition whole.
///
/// A worker may be committing meanwhile. What it writes to a partition in one transaction ends with the marker, so records
/// behind the last marker are part of a transaction that was not read whole, and are left out.
///
/// # Errors
///
/// As those of [`Topic`]; exit 70 for a record that cannot be read.
fn reduce(topic: &Topic, partition: i32) -> Result<Reducer, Failure> {
    let mut reducer = Reducer::default();
    let Some(ends) = topic.ends.get(&partition) else { return Ok(reducer) };
    topic.begin(partition, ends.start, ends.end)?;
    let mut transaction: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let keep = |value: Option<&[u8]>, key: Option<&[u8]>| (key.unwrap_or_default().to_vec(), value.map(<[u8]>::to_vec));
    while let Some(record) = topic.next(|read, key| keep(read.value, key))? {
        let is_last = record.0 == MARKER_KEY.as_bytes();
        transaction.push(record);
        if is_last {
            for (key, value) in transaction.drain(..) {
                reducer.apply(&key, value.as_deref()).map_err(|error| unreadable(topic, partition, error))?;
            }
        }
    }
    Ok(reducer)
}

fn unreadable(topic: &Topic, partition: i32, error: changelog::Error) -> Failure {
    Failure::caused_by(
        Exit::Software,
        format!("cannot read the state of partition {partition} in {}", topic.name),
        error,
    )
}

/// Builds the state of a partition; `None` if it has none.
fn restore(topic: &Topic, partition: i32, deployment: &Deployment) -> Result<Option<Partition>, Failure> {
    let unreadable = |error: RestoreError| {
        let exit = if matches!(error, RestoreError::UnsafeChange(_)) { Exit::Config } else { Exit::Software };
        Failure::caused_by(exit, format!("cannot read the state of partition {partition} in {}", topic.name), error)
    };
    let key_parts = deployment.rules().key_parts;
    Partition::restore(deployment.policy().clone(), key_parts, reduce(topic, partition)?).map_err(unreadable)
}

/// Returns why the configuration cannot go on with what the changelog holds, by partition.
///
/// A partition whose newest marker has the same settings costs a look at its end; another one is read whole, which is the
/// case once after each change.
///
/// # Errors
///
/// As [`reduce`].
pub fn problems(deployment: &Deployment) -> Result<Vec<Problem>, Failure> {
    let (policy, key_parts) = (deployment.policy(), deployment.rules().key_parts);
    let topic = Topic::open(deployment, &deployment.topics().changelog)?;
    let mut problems = Vec::new();
    for (partition, ends) in &topic.ends {
        let Some(marker) = newest_marker(&topic, *partition, *ends)? else { continue };
        if (&marker.settings, marker.stream_key.as_str()) == (policy.settings(), key_parts.as_str()) {
            continue;
        }
        // A log that is compacted while it is read makes no sense now and then, which is the worker's to look at again.
        if let Err(RestoreError::UnsafeChange(change)) =
            Partition::restore(policy.clone(), key_parts, reduce(&topic, *partition)?)
        {
            problems.push(Problem {
                topic: format!("topic {} (topics.changelog)", topic.name),
                text: format!("forbids a change in partition {partition}: {change}"),
                repair: partition::UNSAFE_CHANGE_REPAIR.to_owned(),
            });
        }
    }
    Ok(problems)
}

/// An open session, and what it waits for.
pub struct Open {
    pub partition: i32,
    /// The clock of the partition; `None` if it has not begun.
    pub clock: Option<Clock>,
    pub pending: PendingSession,
}

/// Returns the open sessions of every partition, or of one stream, as the workers have committed them.
///
/// Each state is built as a worker would build it. Joins no group, so it disturbs nobody.
///
/// # Errors
///
/// As [`reduce`]; exit 78 for a state that forbids the settings.
pub fn open_sessions(deployment: &Deployment, stream: Option<&str>) -> Result<Vec<Open>, Failure> {
    let topic = Topic::open(deployment, &deployment.topics().changelog)?;
    let mut open = Vec::new();
    for partition in topic.ends.keys().copied() {
        let Some(state) = restore(&topic, partition, deployment)? else { continue };
        let wanted = |pending: &PendingSession| stream.is_none_or(|stream| *pending.session.stream == *stream);
        let sessions = state.grouper().pending_sessions().into_iter().filter(wanted);
        open.extend(sessions.map(|pending| Open { partition, clock: state.clock(), pending }));
    }
    Ok(open)
}

/// Returns the newest marker of a partition; `None` if it has none.
fn newest_marker(topic: &Topic, partition: i32, ends: LogEnds) -> Result<Option<Marker>, Failure> {
    let mut look_back = LOOK_BACK;
    loop {
        let from = ends.start.max(ends.end.saturating_sub(look_back));
        topic.begin(partition, from, ends.end)?;
        let mut newest = None;
        let value = |key: Option<&[u8]>, value: Option<&[u8]>| {
            (key == Some(MARKER_KEY.as_bytes())).then(|| value.map(<[u8]>::to_vec))
        };
        while let Some(found) = topic.next(|read, key| value(key, read.value))? {
            newest = found.or(newest);
        }
        if let Some(value) = newest {
            let mut reducer = Reducer::default();
            let read = reducer.apply(MARKER_KEY.as_bytes(), value.as_deref()).and_then(|()| reducer.finish());
            return Ok(read.map_err(|error| unreadable(topic, partition, error))?.marker);
        }
        if from == ends.start {
            return Ok(None);
        }
        look_back = look_back.saturating_mul(LOOK_BACK);
    }
}
