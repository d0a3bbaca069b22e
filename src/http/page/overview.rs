//! The sessions of a window, on a timeline and in a table.

use crate::text::count;
use livesession_formats::time::parse_timestamp;
use std::collections::BTreeMap;

use super::html::{escape, gaps, length, session_path, shortened, stream_path, time};
use super::timeline::{self, Bar, Row, Window};
use crate::http::api::answers::MAX_SEGMENTS;
use crate::http::api::ask::{Asked, encode};
use crate::http::api::cursor;
use crate::http::api::problem::Problem;
use livesession_formats::session::{SessionRecord, StreamListed};
use livesession_grouping::time::Timestamp;
use livesession_grouping::{SessionId, Status};
use livesession_index::{Position, Select, StatusFilter, View};

/// Sessions of a page at most.
const MAX_SESSIONS: usize = 200;

/// The window of all streams, if none is asked for.
const DAY_MS: i64 = 86_400_000;

/// The window of one stream, if none is asked for.
const WEEK_MS: i64 = 7 * DAY_MS;

/// Characters of a stream's key in the table at most: the whole is on its session's page.
const MAX_KEY: usize = 80;

/// Streams that are offered at most where the one that is asked for is not there.
const MAX_OFFERED: usize = 20;

/// The shortest window.
const MIN_WINDOW_MS: i64 = 1_000;

/// What a page shows.
pub struct Found {
    /// `None` if there is nothing to show a window of.
    window: Option<Window>,
    sessions: Vec<SessionRecord>,
    /// The cursor of the next page.
    next: Option<String>,
    /// Streams that have in their key what was asked for, if there is no session to show.
    offered: Vec<StreamListed>,
}

/// Reads the sessions of the window that is asked for; without one, of the day or week that ends with the last session.
pub fn read(view: &View<'_>, asked: &Asked) -> Result<Found, Problem> {
    let stream = asked.filled("stream");
    let Some(window) = window(view, asked, stream)? else {
        let offered = offer(view, stream)?;
        return Ok(Found { window: None, sessions: Vec::new(), next: None, offered });
    };
    let generation = view.generation()?;
    let after = match cursor::read(asked, &generation)? {
        Some(text) => Some(position(&text)?),
        None => None,
    };
    let (from_ms, to_ms) = (Some(window.from_ms), Some(window.to_ms));
    let select = Select { stream, from_ms, to_ms, status: StatusFilter::Current, after, limit: MAX_SESSIONS + 1 };
    let rows = view.sessions(&select)?;
    let (mut sessions, mut segments, mut next) = (Vec::new(), 0, None);
    let mut last: Option<(Timestamp, SessionId)> = None;
    for row in rows {
        let record = view.with_lists(row)?;
        segments += record.segments.len();
        let is_full = sessions.len() == MAX_SESSIONS || segments > MAX_SEGMENTS;
        if let Some((start, id)) = last.as_ref().filter(|_| is_full) {
            next = Some(cursor::write(asked, &generation, &format!("{}:{id}", start.as_ms())));
            break;
        }
        last = Some((record.start, record.session_id));
        sessions.push(record);
    }
    let offered = if sessions.is_empty() { offer(view, stream)? } else { Vec::new() };
    Ok(Found { window: Some(window), sessions, next, offered })
}

/// Returns streams for somebody who typed a part of a key, such as the room.
fn offer(view: &View<'_>, stream: Option<&str>) -> Result<Vec<StreamListed>, Problem> {
    match stream {
        Some(part) => Ok(view.streams_with(part, MAX_OFFERED)?),
        None => Ok(Vec::new()),
    }
}

fn position(text: &str) -> Result<Position, Problem> {
    let parts = text.split_once(':').and_then(|(start, id)| Some((start.parse().ok()?, id)));
    let (start_ms, id) = parts.ok_or_else(|| Problem::parameter("cursor", "the cursor is not one of this page"))?;
    Ok(Position { start_ms, session_id: id.to_owned() })
}

fn window(view: &View<'_>, asked: &Asked, stream: Option<&str>) -> Result<Option<Window>, Problem> {
    let (from, to) = (page_time(asked, "from")?, page_time(asked, "to")?);
    let width = if stream.is_some() { WEEK_MS } else { DAY_MS };
    let (from_ms, to_ms) = match (from, to) {
        (Some(from), Some(to)) if from > to => return Err(Problem::parameter("to", "`to` is before `from`")),
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => (from, from + width),
        (None, Some(to)) => (to - width, to),
        (None, None) => {
            let Some(last) = view.last_session(stream)? else { return Ok(None) };
            // To the full minute after the end, so that the last bar does not touch the edge.
            let to = (last.summary.end.as_ms() / 60_000 + 1) * 60_000;
            (to - width.max(last.summary.duration_ms), to)
        }
    };
    Ok(Some(Window { from_ms: from_ms.max(0), to_ms: to_ms.max(from_ms.max(0) + MIN_WINDOW_MS) }))
}

/// Reads a time as the API does, or as people type it: UTC without an offset, a blank between day and time, parts left out.
fn page_time(asked: &Asked, name: &'static str) -> Result<Option<i64>, Problem> {
    let typed = asked.filled(name).and_then(|text| {
        let text = text.trim();
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            16 => format!("{text}:00Z"),
            _ => format!("{text}Z"),
        };
        parse_timestamp(&whole.replacen(' ', "T", 1))
    });
    match typed {
        Some(time) => Ok(Some(time.as_ms())),
        None => asked.time(name),
    }
}

/// Returns the title of the page.
pub fn title(asked: &Asked) -> String {
    asked.filled("stream").map_or("Live sessions".to_owned(), escape)
}

/// Draws what is in the frame of the page.
pub fn draw(asked: &Asked, found: &Found) -> String {
    let mut body = String::from("<h1>Live sessions</h1>\n");
    body.push_str(&form_with(asked, found.window));
    if let Some(window) = found.window {
        body.push_str(&heading(asked, window, found));
        body.push_str(&links(asked, window));
    }
    if found.sessions.is_empty() {
        body.push_str(&nothing(asked, found));
    }
    if let Some(window) = found.window.filter(|_| !found.sessions.is_empty()) {
        body.push_str(&timeline::draw(window, &rows(asked, window, &found.sessions)));
        body.push_str(&table(asked, window, &found.sessions));
    }
    if let Some(next) = &found.next {
        let href = escape(&address(asked, asked.filled("stream"), None, Some(next)));
        body.push_str(&format!("<p>There are more in this window: <a href=\"{href}\">the next sessions</a>.</p>\n"));
    }
    body.push_str(MISSING);
    body
}

/// What to do about a show that is not there.
pub const MISSING: &str = "<details><summary>A show is missing</summary>\n<p>A session appears once it is closed: when its \
    partition has heard of a later time than its end, gap, recording interval and notification_delay together, or sooner if the platform said \
    that the push ended. <code>livesession sessions open</code> lists those that are still open, and says why and until when. \
    A notification that was refused is in <code>livesession dlq list</code>.</p></details>\n";

/// Says that there is no session, and where there may be one.
fn nothing(asked: &Asked, found: &Found) -> String {
    let Some(stream) = asked.filled("stream") else {
        let text = if found.window.is_some() { "No session in this window." } else { "There is no session yet." };
        return format!("<p>{text}</p>\n");
    };
    let link = |listed: &StreamListed| {
        let key = &listed.stream.key;
        let last = listed.last_start.map_or(String::new(), |start| format!(", last on air {}", time(start)));
        format!("<li><a href=\"{}\"><bdi>{}</bdi></a>{last}</li>\n", stream_path(key), escape(key))
    };
    let offered: String = found.offered.iter().map(link).collect();
    let text = match found.offered.as_slice() {
        [] => "No stream has this in its key.",
        [one] if one.stream.key == stream => "This stream has no session in this window.",
        _ => "There is no session of a stream of just this key. Streams that have it in their key:",
    };
    if offered.is_empty() { format!("<p>{text}</p>\n") } else { format!("<p>{text}</p>\n<ul>\n{offered}</ul>\n") }
}

/// Returns the form as it was filled in.
pub fn form(asked: &Asked) -> String {
    form_with(asked, None)
}

fn form_with(asked: &Asked, window: Option<Window>) -> String {
    let value = |name: &str, ms: Option<i64>| {
        let sent = asked.filled(name).map(str::to_owned);
        escape(&ms.map(|ms| time(clamped(ms))).or(sent).unwrap_or_default())
    };
    // Times are typed as they are shown: a browser's own field would show them in the habits of its user's country.
    format!(
        "<form action=\"/\" method=\"get\" role=\"search\" aria-label=\"Sessions\">\n\
         <label>Stream key, or a part<input name=\"stream\" value=\"{}\" autocomplete=\"off\" dir=\"auto\"></label>\n\
         <label>From (UTC)<input name=\"from\" value=\"{}\" placeholder=\"2026-03-01 19:00\" autocomplete=\"off\"></label>\n\
         <label>To (UTC)<input name=\"to\" value=\"{}\" placeholder=\"2026-03-02\" autocomplete=\"off\"></label>\n\
         <button>Show</button>\n</form>\n",
        escape(asked.text("stream").unwrap_or_default()),
        value("from", window.map(|window| window.from_ms)),
        value("to", window.map(|window| window.to_ms)),
    )
}

fn heading(asked: &Asked, window: Window, found: &Found) -> String {
    let of = asked.filled("stream").map_or(String::new(), |stream| format!(" of <bdi>{}</bdi>", escape(stream)));
    let part = match (asked.filled("cursor"), &found.next) {
        (None, None) => "",
        (None, Some(_)) => "The first ",
        (Some(_), Some(_)) => "The next ",
        (Some(_), None) => "The last ",
    };
    format!(
        "<h2>{part}{}{of}, {} to {} UTC</h2>\n",
        count(found.sessions.len(), "session"),
        time(clamped(window.from_ms)),
        time(clamped(window.to_ms))
    )
}

fn links(asked: &Asked, window: Window) -> String {
    let (stream, width) = (asked.filled("stream"), window.to_ms - window.from_ms);
    let mut out = String::from("<nav aria-label=\"Window\">");
    let mut link = |text: &str, from_ms: i64, to_ms: i64| {
        let window = Window { from_ms: from_ms.max(0), to_ms };
        out.push_str(&format!("<a href=\"{}\">{text}</a>", escape(&address(asked, stream, Some(window), None))));
    };
    link("Earlier", window.from_ms - width, window.from_ms.max(MIN_WINDOW_MS));
    link("Later", window.to_ms, window.to_ms + width);
    link("Zoom out", window.from_ms - width / 2, window.to_ms + width / 2);
    link("Zoom in", window.from_ms + width / 4, window.to_ms - width / 4);
    for (text, days) in [("1 day", 1), ("7 days", 7), ("30 days", 30)] {
        link(text, window.to_ms - days * DAY_MS, window.to_ms);
    }
    if let Some(stream) = stream {
        out.push_str(&format!("<a href=\"{}\">Its last week</a>", stream_path(stream)));
        out.push_str(&format!("<a href=\"{}\">All streams</a>", escape(&address(asked, None, Some(window), None))));
    }
    out.push_str("<a href=\"/\">All streams, last day</a></nav>\n");
    out
}

/// Returns the address of this page with another stream or window, or with the cursor of the next page.
fn address(asked: &Asked, stream: Option<&str>, window: Option<Window>, cursor: Option<&str>) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(stream) = stream {
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
    format!("/?{}", parts.join("&"))
}

/// Returns a time that has a text form.
fn clamped(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms.max(0)).unwrap_or(Timestamp::MAX)
}

/// Returns a row per stream, by key, and its sessions in time order.
fn rows(asked: &Asked, window: Window, sessions: &[SessionRecord]) -> Vec<Row> {
    let mut streams: BTreeMap<&str, Row> = BTreeMap::new();
    for session in sessions {
        let row = streams.entry(&session.stream.key).or_default();
        if row.label.is_empty() {
            row.label = session.stream.key.clone();
            row.link = Some(address(asked, Some(&session.stream.key), Some(window), None));
        }
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

fn table(asked: &Asked, window: Window, sessions: &[SessionRecord]) -> String {
    let mut out = String::from(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Sessions\" tabindex=\"0\">\n<table>\n\
         <caption>The same sessions, by start.</caption>\n\
         <thead><tr><th scope=\"col\">Stream</th><th scope=\"col\">Start</th><th scope=\"col\">End</th>\
         <th scope=\"col\">Duration</th><th scope=\"col\">Recorded</th><th scope=\"col\">Segments</th>\
         <th scope=\"col\">Gaps</th><th scope=\"col\">Status</th></tr></thead>\n<tbody>\n",
    );
    for session in sessions {
        let silent: i64 = session.gaps.iter().map(|gap| gap.duration_ms).sum();
        let gaps = match session.gaps.len() {
            0 => "none".to_owned(),
            gaps => format!("{gaps}, together {}", length(silent)),
        };
        out.push_str(&format!(
            "<tr><td class=\"text\"><a href=\"{}\"><bdi>{}</bdi></a></td><td><a href=\"{}\">{}</a></td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{gaps}</td><td>{}</td></tr>\n",
            escape(&address(asked, Some(&session.stream.key), Some(window), None)),
            escape(&shortened(&session.stream.key, MAX_KEY)),
            session_path(&session.session_id.to_string()),
            time(session.start),
            time(session.end),
            length(session.duration_ms),
            length(session.recorded_ms),
            session.segments.len(),
            session.status.as_str()
        ));
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    out
}
