//! The sessions of a window, on a timeline and in a table.

use std::collections::BTreeMap;

use super::html::{count, document, escape, gaps, length, session_path, time};
use super::timeline::{self, Bar, Row, Window};
use crate::http::api::answers::MAX_SEGMENTS;
use crate::http::api::ask::{Asked, encode};
use crate::http::api::cursor;
use crate::http::api::problem::Problem;
use crate::index::{Freshness, Position, Select, StatusFilter, View};
use crate::projection;
use crate::time::Timestamp;
use crate::wire::session::SessionRecord;
use crate::wire::session::record::Status;

/// Sessions of a page at most.
const MAX_SESSIONS: usize = 200;

/// The window if none is asked for.
const DAY_MS: i64 = 86_400_000;

/// The shortest window.
const MIN_WINDOW_MS: i64 = 1_000;

/// What a page shows.
pub struct Found {
    /// `None` if there is nothing to show a window of.
    window: Option<Window>,
    sessions: Vec<SessionRecord>,
    /// The cursor of the next page.
    next: Option<String>,
}

/// Reads the sessions of the window that is asked for; without one, of the day that ends with the last session.
pub fn read(view: &View<'_>, asked: &Asked) -> Result<Found, Problem> {
    let stream = asked.filled("stream");
    let Some(window) = window(view, asked, stream)? else {
        return Ok(Found { window: None, sessions: Vec::new(), next: None });
    };
    let generation = view.generation()?;
    let after = match cursor::read(asked, &generation)? {
        Some(text) => Some(position(&text)?),
        None => None,
    };
    let (from_ms, to_ms) = (Some(window.from_ms), Some(window.to_ms));
    let select = Select { stream, from_ms, to_ms, status: StatusFilter::Current, after, limit: MAX_SESSIONS + 1 };
    let rows = view.sessions(&select)?;
    let topic = view.source_topic()?.unwrap_or_default();
    let (mut sessions, mut segments, mut next) = (Vec::new(), 0, None);
    let mut last: Option<(i64, String)> = None;
    for row in rows {
        let at = (row.session.start_ms, row.session.session_id.clone());
        let record = projection::to_record(&view.with_lists(row)?, &topic)?;
        segments += record.segments.len();
        let is_full = sessions.len() == MAX_SESSIONS || segments > MAX_SEGMENTS;
        if let Some((start, id)) = last.as_ref().filter(|_| is_full) {
            next = Some(cursor::write(asked, &generation, &format!("{start}:{id}")));
            break;
        }
        last = Some(at);
        sessions.push(record);
    }
    Ok(Found { window: Some(window), sessions, next })
}

fn position(text: &str) -> Result<Position, Problem> {
    let parts = text.split_once(':').and_then(|(start, id)| Some((start.parse().ok()?, id)));
    let (start_ms, id) = parts.ok_or_else(|| Problem::parameter("cursor", "the cursor is not one of this page"))?;
    Ok(Position { start_ms, session_id: id.to_owned() })
}

fn window(view: &View<'_>, asked: &Asked, stream: Option<&str>) -> Result<Option<Window>, Problem> {
    let (from, to) = (page_time(asked, "from")?, page_time(asked, "to")?);
    let (from_ms, to_ms) = match (from, to) {
        (Some(from), Some(to)) if from > to => return Err(Problem::parameter("to", "`to` is before `from`")),
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => (from, from + DAY_MS),
        (None, Some(to)) => (to - DAY_MS, to),
        (None, None) => {
            let Some(last) = view.last_session(stream)? else { return Ok(None) };
            // To the full minute after the end, so that the last bar does not touch the edge.
            let to = (last.session.end_ms / 60_000 + 1) * 60_000;
            (to - DAY_MS.max(last.session.duration_ms()), to)
        }
    };
    Ok(Some(Window { from_ms: from_ms.max(0), to_ms: to_ms.max(from_ms.max(0) + MIN_WINDOW_MS) }))
}

/// Reads a time as the API does, or as a form field has it: without an offset, which is UTC here.
fn page_time(asked: &Asked, name: &'static str) -> Result<Option<i64>, Problem> {
    let in_utc = asked.filled(name).and_then(|text| {
        let whole = if text.len() == 16 { format!("{text}:00Z") } else { format!("{text}Z") };
        Timestamp::parse_rfc3339(&whole)
    });
    match in_utc {
        Some(time) => Ok(Some(time.as_ms())),
        None => asked.time(name),
    }
}

/// Draws the page.
pub fn draw(asked: &Asked, found: &Found, freshness: &Freshness) -> String {
    let mut body = String::from("<h1>Live sessions</h1>\n");
    body.push_str(&form_with(asked, found.window));
    match found.window {
        None => body.push_str("<p>There is no session yet. Sessions appear here once they are closed.</p>\n"),
        Some(window) => {
            body.push_str(&heading(asked, window, found.sessions.len()));
            body.push_str(&links(asked, window));
            if found.sessions.is_empty() {
                body.push_str("<p>No session in this window.</p>\n");
            } else {
                body.push_str(&timeline::draw(window, &rows(&found.sessions)));
                body.push_str(&table(&found.sessions));
            }
            if let Some(next) = &found.next {
                let href = address(asked, None, Some(next));
                body.push_str(&format!(
                    "<p>There are more in this window: <a href=\"{href}\">the next sessions</a>.</p>\n"
                ));
            }
        }
    }
    body.push_str(&current(freshness));
    document("Live sessions", &body)
}

/// Returns the form as it was filled in.
pub fn form(asked: &Asked) -> String {
    form_with(asked, None)
}

fn form_with(asked: &Asked, window: Option<Window>) -> String {
    let value = |name: &str, ms: Option<i64>| {
        let sent = asked.filled(name).map(str::to_owned);
        let shown = ms.map(|ms| clamped(ms).to_string()[..19].to_owned());
        escape(&shown.or(sent).unwrap_or_default())
    };
    format!(
        "<form action=\"/\" method=\"get\">\n\
         <label>Stream key<input name=\"stream\" value=\"{}\" autocomplete=\"off\" dir=\"auto\"></label>\n\
         <label>From (UTC)<input type=\"datetime-local\" step=\"1\" name=\"from\" value=\"{}\"></label>\n\
         <label>To (UTC)<input type=\"datetime-local\" step=\"1\" name=\"to\" value=\"{}\"></label>\n\
         <button>Show</button>\n</form>\n",
        escape(asked.text("stream").unwrap_or_default()),
        value("from", window.map(|window| window.from_ms)),
        value("to", window.map(|window| window.to_ms)),
    )
}

fn heading(asked: &Asked, window: Window, sessions: usize) -> String {
    let of = asked.filled("stream").map_or(String::new(), |stream| format!(" of <bdi>{}</bdi>", escape(stream)));
    format!(
        "<h2>{}{of}, {} to {} UTC</h2>\n",
        count(sessions, "session"),
        time(clamped(window.from_ms)),
        time(clamped(window.to_ms))
    )
}

fn links(asked: &Asked, window: Window) -> String {
    let width = window.to_ms - window.from_ms;
    let to = |from_ms: i64, to_ms: i64| address(asked, Some(Window { from_ms: from_ms.max(0), to_ms }), None);
    format!(
        "<nav aria-label=\"Window\"><a href=\"{}\">Earlier</a><a href=\"{}\">Later</a><a href=\"{}\">Zoom out</a>\
         <a href=\"/\">All streams, last day</a></nav>\n",
        to(window.from_ms - width, window.from_ms.max(MIN_WINDOW_MS)),
        to(window.to_ms, window.to_ms + width),
        to(window.from_ms - width / 2, window.to_ms + width / 2)
    )
}

/// Returns the address of this page with another window, or with the cursor of the next page.
fn address(asked: &Asked, window: Option<Window>, cursor: Option<&str>) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(stream) = asked.filled("stream") {
        parts.push(format!("stream={}", encode(stream)));
    }
    match window {
        Some(window) => {
            parts.push(format!("from={}", encode(&clamped(window.from_ms).to_string())));
            parts.push(format!("to={}", encode(&clamped(window.to_ms).to_string())));
        }
        // A cursor is of the parameters as they were sent.
        None => {
            for name in ["from", "to"] {
                parts.extend(asked.text(name).map(|value| format!("{name}={}", encode(value))));
            }
        }
    }
    parts.extend(cursor.map(|cursor| format!("cursor={cursor}")));
    format!("/?{}", parts.join("&amp;"))
}

/// Returns a time that has a text form.
fn clamped(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms.max(0)).unwrap_or(Timestamp::MAX)
}

/// Returns a row per stream, by key, and its sessions in time order.
fn rows(sessions: &[SessionRecord]) -> Vec<Row> {
    let mut streams: BTreeMap<&str, Row> = BTreeMap::new();
    for session in sessions {
        let row = streams.entry(&session.stream.key).or_default();
        row.label = session.stream.key.clone();
        row.bars.push(Bar {
            start_ms: session.start.as_ms(),
            end_ms: session.end.as_ms(),
            link: Some(session_path(&session.session_id.to_string())),
            name: name(session),
            open: session.status == Status::Open,
            ticks: session.segments.iter().map(|segment| segment.start.as_ms()).collect(),
            gaps: session.gaps.iter().map(|gap| (gap.start.as_ms(), gap.end.as_ms())).collect(),
        });
    }
    streams.into_values().collect()
}

/// Says in words what a bar shows.
fn name(session: &SessionRecord) -> String {
    format!(
        "{}, {} to {} UTC, {}, {}, {}, {}",
        session.stream.key,
        time(session.start),
        time(session.end),
        length(session.duration_ms),
        session.status.as_str(),
        count(session.segments.len(), "segment"),
        gaps(&session.gaps.iter().map(|gap| gap.duration_ms).collect::<Vec<_>>())
    )
}

fn table(sessions: &[SessionRecord]) -> String {
    let mut out = String::from(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Sessions\" tabindex=\"0\">\n<table>\n\
         <caption>The same sessions, by start. Times are UTC.</caption>\n\
         <thead><tr><th scope=\"col\">Start</th><th scope=\"col\">End</th><th scope=\"col\">Duration</th>\
         <th scope=\"col\">Recorded</th><th scope=\"col\">Stream</th><th scope=\"col\">Segments</th>\
         <th scope=\"col\">Gaps</th><th scope=\"col\">Status</th></tr></thead>\n<tbody>\n",
    );
    for session in sessions {
        let silent: i64 = session.gaps.iter().map(|gap| gap.duration_ms).sum();
        let gaps = match session.gaps.len() {
            0 => "none".to_owned(),
            gaps => format!("{gaps}, together {}", length(silent)),
        };
        out.push_str(&format!(
            "<tr><td><a href=\"{}\">{}</a></td><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}</td><td>{}</td>\
             <td>{gaps}</td><td>{}</td></tr>\n",
            session_path(&session.session_id.to_string()),
            time(session.start),
            time(session.end),
            length(session.duration_ms),
            length(session.recorded_ms),
            escape(&session.stream.key),
            session.segments.len(),
            session.status.as_str()
        ));
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    out
}

fn current(freshness: &Freshness) -> String {
    let lag = match freshness.lag_records() {
        None => "how far the index is behind is not known".to_owned(),
        Some(0) => "the index is up to date".to_owned(),
        Some(records) => format!("the index is {records} records behind"),
    };
    let commit = freshness.last_commit().map_or(String::new(), |at| format!(", last written {} UTC", time(at)));
    format!("<p class=\"note\">{lag}{commit}. Machines ask <a href=\"/api/v1/\">/api/v1/</a>.</p>\n")
}
