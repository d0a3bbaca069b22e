//! The answers: from parameters and a view of the index to JSON.
//!
//! No HTTP here but for problems: each function runs on a thread for blocking work and returns what is to be sent.

use serde::Serialize;

use super::ask::Asked;
use super::cursor;
use super::problem::{Kind, Problem, other_index, quoted};
use crate::splice::Plan;
use crate::splice::form::{Form, Gaps};
use crate::splice::text::{self, PlanJson};
use livesession_formats::session::{Recording, SessionRecord, Summary};
use livesession_grouping::Status;
use livesession_index::{Entry, Freshness, Position, Select, View};

/// Segments of a page at most, but for its first session: a thousand large sessions would be a gigabyte.
pub const MAX_SEGMENTS: usize = 20_000;

/// Rows that are looked at for one file id.
const MAX_FILE_ROWS: usize = 1_000;

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct List<T> {
    items: Vec<T>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
    indexed: Indexed,
}

/// How current the answer is.
#[derive(Debug, Serialize)]
pub struct Indexed {
    lag_records: Option<u64>,
    last_commit: Option<String>,
}

impl From<&Freshness> for Indexed {
    fn from(freshness: &Freshness) -> Indexed {
        let last_commit = freshness.last_commit().map(|time| time.to_string());
        Indexed { lag_records: freshness.lag_records(), last_commit }
    }
}

/// A session in a list: whole if asked for.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Item {
    Summary(Box<Summary>),
    Record(Box<SessionRecord>),
}

/// A change: its number and what the session is since.
#[derive(Debug, Serialize)]
struct Change {
    change: i64,
    session: Item,
}

pub fn streams(view: &View<'_>, asked: &Asked, freshness: &Freshness) -> Result<String, Problem> {
    let (limit, generation) = (asked.limit()?, view.generation()?);
    let after = cursor::read(asked, &generation)?;
    let mut rows = view.streams(asked.text("prefix").unwrap_or_default(), after.as_deref(), limit + 1)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| cursor::write(asked, &generation, &last.stream.key));
    json(&List { items: rows, next, indexed: freshness.into() })
}

pub fn sessions(view: &View<'_>, asked: &Asked, freshness: &Freshness) -> Result<String, Problem> {
    let (limit, generation) = (asked.limit()?, view.generation()?);
    let (from_ms, to_ms) = asked.interval()?;
    let after = cursor::read(asked, &generation)?.map(|text| position(&text)).transpose()?;
    let select =
        Select { stream: asked.filled("stream"), from_ms, to_ms, status: asked.status()?, after, limit: limit + 1 };
    let rows = view.sessions(&select)?;
    let page = fill(view, rows, limit, asked.with_segments()?)?;
    let next = page.last.filter(|_| page.more).map(|last| {
        let at = format!("{}:{}", last.summary.start.as_ms(), last.summary.session_id);
        cursor::write(asked, &generation, &at)
    });
    let items: Vec<Item> = page.items.into_iter().map(|(_, item)| item).collect();
    json(&List { items, next, indexed: freshness.into() })
}

fn position(text: &str) -> Result<Position, Problem> {
    let parts = text.split_once(':').and_then(|(start, id)| Some((start.parse().ok()?, id)));
    let (start_ms, id) = parts.ok_or_else(|| Problem::parameter("cursor", "the cursor is not one of this list"))?;
    Ok(Position { start_ms, session_id: id.to_owned() })
}

/// Rows of a page, with how it ends.
struct Page {
    /// With their change numbers.
    items: Vec<(i64, Item)>,
    last: Option<Entry>,
    more: bool,
}

/// Takes up to `limit` rows, with their lists if asked for, and fewer if those get long.
fn fill(view: &View<'_>, rows: Vec<Entry>, limit: usize, with_segments: bool) -> Result<Page, Problem> {
    let mut page = Page { items: Vec::with_capacity(rows.len()), last: None, more: rows.len() > limit };
    let mut segments = 0;
    for entry in rows.into_iter().take(limit) {
        let item = if with_segments {
            let record = view.with_lists(entry.clone())?;
            segments += record.segments.len();
            if segments > MAX_SEGMENTS && !page.items.is_empty() {
                page.more = true;
                break;
            }
            Item::Record(Box::new(record))
        } else {
            Item::Summary(Box::new(entry.summary.clone()))
        };
        page.items.push((entry.change, item));
        page.last = Some(entry);
    }
    Ok(page)
}

/// Changes after a token, `<generation>.<number>`; `next` is always there, for the next time.
pub fn changes(view: &View<'_>, asked: &Asked, freshness: &Freshness) -> Result<String, Problem> {
    let (limit, generation) = (asked.limit()?, view.generation()?);
    let after = match asked.filled("after") {
        None => 0,
        Some(token) => change_number(token, &generation)?,
    };
    // A number from the future is of another file with the same name: nobody was ever given it.
    if after > view.last_change()? {
        return Err(other_index());
    }
    let rows = view.changes(&generation, after, limit + 1)?;
    let page = fill(view, rows, limit, asked.with_segments()?)?;
    let last = page.last.map_or(after, |last| last.change);
    let items: Vec<Change> = page.items.into_iter().map(|(change, session)| Change { change, session }).collect();
    json(&List { items, next: Some(format!("{generation}.{last}")), indexed: freshness.into() })
}

fn change_number(token: &str, generation: &str) -> Result<i64, Problem> {
    let bad = || Problem::parameter("after", format!("{} is not a `next` of this list", quoted(token)));
    let (its_generation, number) = token.rsplit_once('.').ok_or_else(bad)?;
    let number = number.parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(bad)?;
    if its_generation == generation { Ok(number) } else { Err(other_index()) }
}

/// Returns a session with its lists.
pub fn session(view: &View<'_>, id: &str) -> Result<SessionRecord, Problem> {
    let Some(entry) = view.session(id)? else {
        return Err(Problem::new(Kind::NoSuchSession, format!("no session has the id {}", quoted(id))));
    };
    Ok(view.with_lists(entry)?)
}

pub fn recordings(view: &View<'_>, file_id: &str, freshness: &Freshness) -> Result<String, Problem> {
    json(&List { items: find_file(view, file_id)?, next: None, indexed: freshness.into() })
}

/// Returns the sessions that a file belongs to: at least one.
pub fn find_file(view: &View<'_>, file_id: &str) -> Result<Vec<Recording>, Problem> {
    let found = view.recordings(file_id, MAX_FILE_ROWS)?;
    if found.is_empty() {
        return Err(Problem::new(Kind::NoSuchRecording, format!("no session has the file {}", quoted(file_id))));
    }
    Ok(found)
}

/// Returns media type and text of the splice plans of a session.
pub fn splice(
    view: &View<'_>,
    id: &str,
    asked: &Asked,
    freshness: &Freshness,
) -> Result<(&'static str, String), Problem> {
    let record = session(view, id)?;
    if record.status == Status::Withdrawn {
        let survivor = record.merged_into.map(|id| id.to_string()).unwrap_or_default();
        return Err(Problem::new(Kind::Withdrawn, format!("its files are in session {survivor}")));
    }
    let plans = match asked.number("rendition")? {
        None => Plan::all(&record),
        Some(number) => vec![Plan::new(&record, number).ok_or_else(|| no_rendition(&record, number))?],
    };
    let gaps = match asked.filled("gaps") {
        None | Some("close") => Gaps::Close,
        Some("keep") => Gaps::Keep,
        Some(other) => return Err(Problem::parameter("gaps", format!("{} is not close or keep", quoted(other)))),
    };
    let form = match asked.filled("as") {
        None | Some("json") => {
            let items: Vec<PlanJson<'_>> = plans.iter().map(text::plan_json).collect();
            return Ok(("application/json", json(&List { items, next: None, indexed: freshness.into() })?));
        }
        Some(name) => Form::parse(name).ok_or_else(|| {
            Problem::parameter("as", format!("{} is not one of json, ffconcat, edit-request, m3u8", quoted(name)))
        })?,
    };
    let [plan] = plans.as_slice() else {
        let count = plans.len();
        return Err(Problem::parameter("rendition", format!("a plan is of one rendition; there are {count}, from 0")));
    };
    let written = form.write(plan, gaps).map_err(|error| Problem {
        kind: Kind::CannotSplice,
        detail: error.to_string(),
        param: Some("as"),
    })?;
    Ok((form.media_type(), written))
}

fn no_rendition(record: &SessionRecord, number: usize) -> Problem {
    let count = record.renditions.len();
    Problem::parameter("rendition", format!("there is no rendition {number}; there are {count}, from 0"))
}

/// Writes an answer as JSON.
pub fn json<T: Serialize>(answer: &T) -> Result<String, Problem> {
    serde_json::to_string(answer).map_err(|error| {
        tracing::error!(%error, "could not write answer");
        Problem::new(Kind::IndexUnavailable, "the answer could not be written")
    })
}
