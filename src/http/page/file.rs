//! The page of one file: the sessions that it belongs to.

use super::html::{self, escape, file_link, length, session_path, stream_path, time};
use livesession_formats::session::Recording;

/// The question.
pub fn form(file_id: &str) -> String {
    format!(
        "<form action=\"/recordings\" method=\"get\" role=\"search\" aria-label=\"Files\">\n\
         <label>File id<input name=\"file_id\" value=\"{}\" autocomplete=\"off\" dir=\"auto\" required></label>\n\
         <button>Find its session</button>\n</form>\n",
        escape(file_id)
    )
}

/// Draws the answer; `found` is not empty.
pub fn draw(file_id: &str, found: &[Recording]) -> String {
    let mut body = format!("<h1>File <bdi>{}</bdi></h1>\n", escape(file_id));
    if found.len() > 1 {
        body.push_str("<p>Several sessions have a file of this id: it occurs in several streams, or came again.</p>\n");
    }
    for recording in found {
        body.push_str(&one(recording));
    }
    body.push_str(&format!("<h2>Another file</h2>\n{}", form("")));
    body
}

fn one(recording: &Recording) -> String {
    let session = &recording.session;
    let (id, key) = (session.session_id.to_string(), &session.stream.key);
    let mut facts: Vec<(&str, String)> = vec![
        ("Stream", format!("<a href=\"{}\"><bdi>{}</bdi></a>", stream_path(key), escape(key))),
        ("Session", format!("<a href=\"{}\">{id}</a>", session_path(&id))),
        ("On air", format!("{} to {} UTC, {}", time(session.start), time(session.end), length(session.duration_ms))),
        ("Status", format!("{}, revision {}", session.status.as_str(), session.revision)),
        (
            "File",
            format!("{} to {} UTC, {}", time(recording.start), time(recording.end), length(recording.duration_ms)),
        ),
        (
            "Into it",
            format!("begins {} after the session", length(recording.start.since(session.start).as_ms().max(0))),
        ),
        ("URL", file_link(recording.url.as_deref())),
    ];
    if !recording.via.is_empty() {
        let via: Vec<String> =
            recording.via.iter().map(|id| format!("<a href=\"{}\">{}</a>", session_path(id), escape(id))).collect();
        facts.push(("Before", format!("it was in {}, withdrawn since", via.join(", then "))));
    }
    html::facts(&facts)
}
