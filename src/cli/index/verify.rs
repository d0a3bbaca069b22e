//! `livesession index verify`: compares the index with the topic, session by session.
//!
//! The index is compared with the topic *as far as the index has read it*: its own offsets are the bound, so the answer is
//! exact beside a running indexer too. How far that is behind is told, and is no difference.
//!
//! Reads the topic twice: first which revision of each session is the newest, then these. Keeps an id and a number for each
//! session, not the sessions.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::cli::io::flags::AllSettings;
use crate::cli::io::output::{Output, tell};
use crate::cli::io::table::{Form, Rows, Style, json_line};
use crate::cli::progress::Lines;
use crate::clock;
use crate::deployment::Deployment;
use crate::deployment::topic::Topic;
use crate::exit::{Exit, Failure};
use crate::indexer::{self, Batch, Read};
use livesession_formats::session::SessionRecord;
use livesession_grouping::SessionId;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_index::{Difference, Reader};

/// A difference as it is printed.
#[derive(Serialize)]
struct Found<'a> {
    difference: &'static str,
    session_id: &'a str,
    detail: String,
}

/// Where one partition is compared: from, and to before.
type Stretch = (i32, i64, i64);

/// Runs the command: exit 1 if there is any difference.
pub fn run(settings: &AllSettings, style: &Style, out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(settings.load()?)?;
    let config = deployment.config();
    let mut reader = Reader::open(&config.index.path)?;
    let view = reader.long_view()?;
    view.check(&deployment.origin())?;
    // After the view: the ends of the topic are then behind all that it can show, however fast an indexer runs.
    let topic = Topic::open(&deployment, &deployment.topics().output)?;
    let places = indexer::places(&topic.name, &topic.id, &view.offsets()?, &topic.ends)
        .map_err(|misfit| Failure::caused_by(Exit::NotFound, "the index is not of this topic as it is now", misfit))?;
    let stretches: Vec<Stretch> = places
        .iter()
        .filter_map(|place| Some((place.partition, topic.ends.get(&place.partition)?.start, place.next)))
        .collect();
    let newest = newest_revisions(&topic, &stretches)?;
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
    print(&differences, style, out)?;
    let behind: i64 = places.iter().filter_map(|place| Some(topic.ends.get(&place.partition)?.end - place.next)).sum();
    tell(&format!("compared {compared} sessions, found {} differences", differences.len()));
    if behind > 0 {
        tell(&format!("the index is {behind} offsets behind the topic"));
    }
    if beyond_topic > 0 {
        tell(&format!(
            "{beyond_topic} sessions are not compared: retention cut the topic, and they may have been there"
        ));
    }
    Ok(if differences.is_empty() { Exit::Ok } else { Exit::NotFound })
}

/// Returns the newest revision of each session.
fn newest_revisions(topic: &Topic, stretches: &[Stretch]) -> Result<HashMap<SessionId, u32>, Failure> {
    let mut newest: HashMap<SessionId, u32> = HashMap::new();
    let mut progress = Lines::default();
    for (partition, from, end) in stretches {
        topic.begin(*partition, *from, *end)?;
        while let Some(record) = topic.next(|read, _| session(topic, read))? {
            let session = record?;
            let revision = newest.entry(session.session_id).or_default();
            *revision = session.revision.max(*revision);
            progress.count(|records| format!("comparing the index, first reading: {records} records"));
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

fn print(differences: &[Difference], style: &Style, out: &mut Output) -> Result<(), Failure> {
    let form = style.form(out);
    let mut table = Rows::new(form, &["difference", "session_id", "detail"]);
    for difference in differences {
        let found = describe(difference, style);
        if form == Form::Ndjson {
            json_line(&found, out)?;
        } else {
            table.push(vec![found.difference.to_owned(), found.session_id.to_owned(), found.detail]);
        }
    }
    if form != Form::Ndjson {
        table.write(out)?;
    }
    out.flush()
}

fn describe<'a>(difference: &'a Difference, style: &Style) -> Found<'a> {
    let found = |difference, session_id, detail| Found { difference, session_id, detail };
    match difference {
        Difference::Missing { session_id, revision } => {
            found("missing", session_id, format!("the topic has revision {revision}"))
        }
        Difference::Differs { session_id, what } => found("differs", session_id, (*what).to_owned()),
        Difference::Extra { session_id, end_ms } => {
            let end = Timestamp::from_ms(*end_ms).map_or_else(|| end_ms.to_string(), |end| style.tz.show(end));
            found("extra", session_id, format!("not in the topic; ended at {end}"))
        }
    }
}
