//! The page of one session: its renditions on a timeline, its files, its silences, its splice plans.

use std::collections::BTreeMap;

use super::html::{self, escape, file_link, length, session_path, stream_path, time};
use super::timeline::{self, Bar, Row, Window};
use crate::splice::form::{Form, Gaps};
use crate::splice::notes::notes;
use crate::splice::{Plan, Seam};
use crate::text::count;
use livesession_formats::named::Named;
use livesession_formats::session::SessionRecord;
use livesession_formats::session::record::Rendition;
use livesession_grouping::Status;

/// Rows of a table at most: beyond that a browser is slow, and a person asks the API.
const MAX_ROWS: usize = 500;

/// Draws what is in the frame of the page.
pub fn draw(session: &SessionRecord) -> String {
    let id = session.session_id.to_string();
    let mut body = format!("<h1>Session of <bdi>{}</bdi></h1>\n", escape(&session.stream.key));
    if let (Named::Known(Status::Withdrawn), Some(survivor)) = (session.status, session.merged_into) {
        let survivor = survivor.to_string();
        body.push_str(&format!(
            "<p class=\"problem\">Withdrawn: another file joined it to <a href=\"{}\">session {survivor}</a>, which has its files.</p>\n",
            session_path(&survivor)
        ));
    }
    body.push_str(&facts(session, &id));
    let plans = Plan::all(session);
    if !session.segments.is_empty() {
        let window =
            Window { from_ms: session.start.as_ms(), to_ms: session.end.as_ms().max(session.start.as_ms() + 1) };
        body.push_str("<h2>Renditions</h2>\n");
        body.push_str(&timeline::draw(window, &rows(session)));
        body.push_str(&splice(session, &plans, &id));
        body.push_str(&gaps(session));
        body.push_str(&segments(session, &plans, &id));
    }
    body
}

fn facts(session: &SessionRecord, id: &str) -> String {
    let cause = session.close_cause.map_or(String::new(), |cause| format!(" ({})", cause.as_str()));
    let key = &session.stream.key;
    let mut facts = vec![
        ("Stream", format!("<a href=\"{}\"><bdi>{}</bdi></a>", stream_path(key), escape(key))),
        ("Session id", id.to_owned()),
        ("Status", format!("{}{cause}, revision {}", session.status.as_str(), session.revision)),
        ("Start", format!("{} UTC", time(session.start))),
        ("End", format!("{} UTC", time(session.end))),
        ("Duration", length(session.duration_ms)),
        ("Recorded", length(session.recorded_ms)),
    ];
    if let Some(before) = session.continues {
        let before = before.to_string();
        let link = format!("<a href=\"{}\">session {before}</a>, which a limit cut off", session_path(&before));
        facts.push(("Continues", link));
    }
    facts.push(("As JSON", format!("<a href=\"/api/v1{}\">/api/v1{0}</a>", session_path(id))));
    let encode = |time: livesession_grouping::time::Timestamp| crate::http::api::ask::encode(&time.to_string());
    let (from, to) = (encode(session.start - DAY), encode(session.end + DAY));
    format!(
        "{}<nav aria-label=\"Around this session\"><a href=\"{}&amp;from={from}&amp;to={to}\">This stream around that \
         time</a><a href=\"/?from={from}&amp;to={to}\">All streams around that time</a></nav>\n",
        html::facts(&facts),
        stream_path(key)
    )
}

const DAY: livesession_grouping::time::Millis = livesession_grouping::time::Millis::from_secs(86_400);

/// A row per rendition, with its own silences.
fn rows(session: &SessionRecord) -> Vec<Row> {
    let row = |(number, kind): (usize, &Rendition)| {
        let files = || session.segments.iter().filter(move |segment| segment.rendition == number);
        let (mut reached, mut silences) = (None::<i64>, Vec::new());
        for file in files() {
            let (start, end) = (file.start.as_ms(), file.end.as_ms());
            silences.extend(reached.filter(|reached| start > *reached).map(|reached| (reached, start)));
            reached = Some(reached.map_or(end, |reached| reached.max(end)));
        }
        let label = describe(number, kind);
        let lengths: Vec<i64> = silences.iter().map(|(start, end)| end - start).collect();
        let bar = Bar {
            start_ms: files().map(|file| file.start.as_ms()).min().unwrap_or_default(),
            end_ms: reached.unwrap_or_default(),
            name: format!("{label}, recorded {}, {}", length(kind.recorded_ms), html::gaps(&lengths)),
            ticks: files().map(|file| file.start.as_ms()).collect(),
            gaps: silences,
            ..Bar::default()
        };
        Row { label, link: None, bars: vec![bar] }
    };
    session.renditions.iter().enumerate().map(row).collect()
}

fn describe(number: usize, kind: &Rendition) -> String {
    let bitrate = match kind.bitrate_kbps {
        None => String::new(),
        Some(0) => ", original".to_owned(),
        Some(kbps) => format!(", {kbps} kbps"),
    };
    let template = kind.template_id.as_ref().map_or(String::new(), |template| format!(", template {template}"));
    let format = kind.format.as_deref().unwrap_or("unknown format");
    let segments = usize::try_from(kind.segments).unwrap_or(usize::MAX);
    format!("{number}: {format}{template}{bitrate}, {}", count(segments, "segment"))
}

fn splice(session: &SessionRecord, plans: &[Plan<'_>], id: &str) -> String {
    let mut out = String::from("<h2>Splice plans</h2>\n<ul>\n");
    for (plan, kind) in plans.iter().zip(&session.renditions) {
        let label = escape(&describe(plan.rendition, kind));
        let left_out = match plan.left_out.len() {
            0 => String::new(),
            number => format!(", {number} left out"),
        };
        out.push_str(&format!("<li><bdi>{label}</bdi>: {} to join{left_out}. ", count(plan.items.len(), "file")));
        for form in Form::ALL {
            let name = form.as_str();
            match form.write(plan, Gaps::Close) {
                Ok(_) => out.push_str(&format!(
                    "<a href=\"/api/v1{}/splice?as={name}&amp;rendition={}\">{name} of rendition {1}</a> ",
                    session_path(id),
                    plan.rendition
                )),
                Err(error) => {
                    out.push_str(&format!("<span class=\"note\">No {name}: {}.</span> ", escape(&error.to_string())))
                }
            }
        }
        for note in notes(plan) {
            out.push_str(&format!("<br><span class=\"note\">Note: {}.</span>", escape(&note)));
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
    out
}

fn gaps(session: &SessionRecord) -> String {
    if session.gaps.is_empty() {
        return "<h2>Gaps</h2>\n<p>None.</p>\n".to_owned();
    }
    let mut out = table_head(
        "Gaps",
        "Silences in which nothing was recorded in any rendition. Times are UTC.",
        &["Start", "End", "Length"],
    );
    for gap in session.gaps.iter().take(MAX_ROWS) {
        let (start, end) = (time(gap.start), time(gap.end));
        out.push_str(&format!("<tr><td>{start}</td><td>{end}</td><td>{}</td></tr>\n", length(gap.duration_ms)));
    }
    out.push_str(&table_end(session.gaps.len(), &session.session_id.to_string()));
    out
}

fn segments(session: &SessionRecord, plans: &[Plan<'_>], id: &str) -> String {
    let columns = ["Start", "End", "Duration", "Rendition", "In the plan", "File id", "Anomalies", "URL"];
    let mut out = table_head("Segments", "Recorded files by start. Times are UTC.", &columns);
    let places = places(plans);
    for segment in session.segments.iter().take(MAX_ROWS) {
        let place = places.get(&std::ptr::from_ref(segment)).map(String::as_str).unwrap_or_default();
        let anomalies = if segment.anomalies.is_empty() { "none".to_owned() } else { segment.anomalies.join(", ") };
        out.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{place}</td><td class=\"text\">{}</td><td>{}</td><td class=\"text\">{}</td></tr>\n",
            time(segment.start),
            time(segment.end),
            length(segment.duration_ms),
            segment.rendition,
            escape(&segment.file_id),
            escape(&anomalies),
            file_link(segment.url.as_deref())
        ));
    }
    out.push_str(&table_end(session.segments.len(), id));
    out
}

/// Says for each segment where it is in its rendition's plan.
fn places<'a>(plans: &[Plan<'a>]) -> BTreeMap<*const livesession_formats::session::record::Segment, String> {
    let mut places = BTreeMap::new();
    for plan in plans {
        for item in &plan.items {
            let mut place = match item.before {
                Seam::First => "first".to_owned(),
                Seam::Joined => "joins".to_owned(),
                Seam::Gap(gap) => format!("after a gap of {}", length(gap.as_ms())),
                Seam::Overlap(overlap) => format!("after an overlap of {}", length(overlap.as_ms())),
            };
            if item.outpoint.is_some() {
                place.push_str(&format!(", without its last {}", length(item.cut().as_ms())));
            }
            places.insert(std::ptr::from_ref(item.segment), place);
        }
        for (segment, why) in &plan.left_out {
            places.insert(std::ptr::from_ref(*segment), format!("left out: {}", why.as_str().replace('_', " ")));
        }
    }
    places
}

fn table_head(title: &str, caption: &str, columns: &[&str]) -> String {
    let cells: String = columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>")).collect();
    format!(
        "<h2>{title}</h2>\n<div class=\"scroll\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\">\n<table>\n\
         <caption>{caption}</caption>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n"
    )
}

fn table_end(rows: usize, id: &str) -> String {
    let rest = if rows > MAX_ROWS {
        format!(
            "<p class=\"note\">The first {MAX_ROWS} of {rows}; <a href=\"/api/v1{}\">all as JSON</a>.</p>\n",
            session_path(id)
        )
    } else {
        String::new()
    };
    format!("</tbody>\n</table>\n</div>\n{rest}")
}
