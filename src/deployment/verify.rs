//! Comparing the index with the topic, session by session.
//!
//! The index is compared with the topic *as far as the index has read it*: its own offsets are the bound, so the answer is
//! exact beside a running indexer too. How far that is behind is told, and is no difference.
//!
//! Reads the topic twice: first which revision of each session is the newest, then these. Keeps an id and a number for each
//! session, not the sessions.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::settings::Deployment;
use super::topic::Topic;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::indexer::{self, Batch, Read};
use livesession_formats::session::SessionRecord;
use livesession_grouping::SessionId;
use livesession_grouping::time::Millis;
use livesession_index::{Difference, Reader};

/// Where one partition is compared: from, and to before.
type Stretch = (i32, i64, i64);

/// What a comparison found.
#[derive(Debug)]
pub struct Verified {
    pub compared: usize,
    pub differences: Vec<Difference>,
    /// How many offsets of the topic the index has not read yet.
    pub behind: i64,
    /// Sessions of the index that the topic may have had before retention cut it: they are not compared.
    pub beyond_topic: u64,
}

/// Compares the index with the topic; `progress` is called for each record of the first reading.
///
/// # Errors
///
/// Exit 1 if the index is not of this topic; those of the topic and of the index.
pub fn verify(deployment: &Deployment, progress: impl FnMut()) -> Result<Verified, Failure> {
    let config = deployment.config();
    let mut reader = Reader::open(&config.index.path)?;
    let view = reader.long_view()?;
    view.check(&deployment.origin())?;
    // After the view: the ends of the topic are then behind all that it can show, however fast an indexer runs.
    let topic = Topic::open(deployment, &deployment.topics().output)?;
    let places = indexer::places(&topic.name, &topic.id, &view.offsets()?, &topic.ends)
        .map_err(|misfit| Failure::caused_by(Exit::NotFound, "the index is not of this topic as it is now", misfit))?;
    let stretches: Vec<Stretch> = places
        .iter()
        .filter_map(|place| Some((place.partition, topic.ends.get(&place.partition)?.start, place.next)))
        .collect();
    let newest = newest_revisions(&topic, &stretches, progress)?;
    let kept = config.index.retention;
    let kept_from = (kept != Millis::ZERO).then(|| clock::now() - kept);
    // Sessions that ended so long ago that the index need not have them any more.
    let old = RefCell::new(HashSet::new());
    let mut failed = None;
    let mut records = Newest { topic: &topic, stretches: stretches.into_iter(), is_reading: false, newest };
    let records = std::iter::from_fn(|| match records.next() {
        Ok(record) => {
            let is_old = |record: &&SessionRecord| kept_from.is_some_and(|from| record.end < from);
            if let Some(record) = record.as_ref().filter(is_old) {
                old.borrow_mut().insert(record.session_id.to_string());
            }
            record
        }
        Err(failure) => {
            failed = Some(failure);
            None
        }
    });
    let mut differences = Vec::new();
    let mut beyond_topic = 0;
    let compared = view.verify(records, |difference| match &difference {
        Difference::Missing { session_id, .. } if old.borrow().contains(session_id) => {}
        Difference::Extra { .. } if topic.is_cut() => beyond_topic += 1,
        _ => differences.push(difference),
    })?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let behind = places.iter().filter_map(|place| Some(topic.ends.get(&place.partition)?.end - place.next)).sum();
    Ok(Verified { compared, differences, behind, beyond_topic })
}

/// Returns the newest revision of each session.
fn newest_revisions(
    topic: &Topic,
    stretches: &[Stretch],
    mut progress: impl FnMut(),
) -> Result<HashMap<SessionId, u32>, Failure> {
    let mut newest: HashMap<SessionId, u32> = HashMap::new();
    for (partition, from, end) in stretches {
        topic.begin(*partition, *from, *end)?;
        while let Some(record) = topic.next(|read, _| session(topic, read))? {
            let session = record?;
            let revision = newest.entry(session.session_id).or_default();
            *revision = session.revision.max(*revision);
            progress();
        }
    }
    Ok(newest)
}

/// Reads the newest record of each session, once.
struct Newest<'a> {
    topic: &'a Topic,
    stretches: std::vec::IntoIter<Stretch>,
    is_reading: bool,
    newest: HashMap<SessionId, u32>,
}

impl Newest<'_> {
    fn next(&mut self) -> Result<Option<SessionRecord>, Failure> {
        loop {
            if !self.is_reading {
                let Some((partition, from, end)) = self.stretches.next() else { return Ok(None) };
                self.topic.begin(partition, from, end)?;
                self.is_reading = true;
            }
            let topic = self.topic;
            let Some(record) = topic.next(|read, _| session(topic, read))? else {
                self.is_reading = false;
                continue;
            };
            let record = record?;
            let id = record.session_id;
            if self.newest.get(&id) == Some(&record.revision) {
                self.newest.remove(&id);
                return Ok(Some(record));
            }
        }
    }
}

fn session(topic: &Topic, read: Read<'_>) -> Result<SessionRecord, Failure> {
    Batch::read(&topic.name, read).map_err(Failure::from)
}
