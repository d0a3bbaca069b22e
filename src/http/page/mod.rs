//! The page: sessions on a timeline and in a table, drawn by the server.
//!
//! For a person who asks *was it recorded, where are the holes, which files make it up*. No script, no cookie, no request to
//! anywhere else: the content security policy allows a stylesheet and an icon of our own. Reads the index as the API
//! does, with its limits.
//!
//! | path | shows |
//! | --- | --- |
//! | `/?stream=&from=&to=` | the sessions of a window: a row per stream, and a table with the same sessions |
//! | `/sessions/{id}` | one session: renditions, files, silences, splice plans |
//! | `/recordings?file_id=` | the session that a file belongs to |

mod detail;
mod file;
mod html;
mod overview;
mod timeline;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::api::ask::Asked;
use super::api::problem::{Kind, Problem};
use super::api::{self, Store, answers};

/// What a page may load: our stylesheet and our icon; where its form may go: here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

/// Returns the routes of the page.
pub fn router(store: Store) -> Router {
    Router::new()
        .route("/", get(show_overview))
        .route("/sessions/{id}", get(show_session))
        .route("/recordings", get(show_recordings))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .route("/icon.svg", get(|| async { ([(header::CONTENT_TYPE, "image/svg+xml")], ICON) }))
        .method_not_allowed_fallback(api::no_such_method)
        .with_state(store)
}

async fn show_overview(State(store): State<Store>, RawQuery(query): RawQuery) -> Response {
    let asked = match Asked::read("page", query.as_deref(), &["stream", "from", "to", "cursor"]) {
        Ok(asked) => asked,
        Err(problem) => return refuse(&store, &problem, ""),
    };
    let question = asked.clone();
    match store.ask(move |view| overview::read(view, &question)).await {
        Ok(found) => send(&store, StatusCode::OK, &overview::title(&asked), &overview::draw(&asked, &found)),
        Err(problem) => refuse(&store, &problem, &overview::form(&asked)),
    }
}

async fn show_session(
    State(store): State<Store>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let id = match api::part("id", path) {
        Ok(id) => id.to_ascii_lowercase(),
        Err(problem) => return refuse(&store, &problem, ""),
    };
    if let Err(problem) = Asked::read("session", query.as_deref(), &[]) {
        return refuse(&store, &problem, "");
    }
    match store.ask(move |view| answers::session(view, &id)).await {
        Ok(record) => {
            let title = format!("Session of {}", html::escape(&record.stream.key));
            send(&store, StatusCode::OK, &title, &detail::draw(&record))
        }
        Err(problem) => refuse(&store, &problem, ""),
    }
}

async fn show_recordings(State(store): State<Store>, RawQuery(query): RawQuery) -> Response {
    let asked = match Asked::read("recordings", query.as_deref(), &["file_id"]) {
        Ok(asked) => asked,
        Err(problem) => return refuse(&store, &problem, &file::form("")),
    };
    let Some(file_id) = asked.filled("file_id").map(str::to_owned) else {
        return send(&store, StatusCode::OK, "Find a file", &format!("<h1>Find a file</h1>\n{}", file::form("")));
    };
    let question = file_id.clone();
    match store.ask(move |view| answers::find_file(view, &question)).await {
        Ok(found) => {
            let title = format!("File {}", html::escape(&file_id));
            send(&store, StatusCode::OK, &title, &file::draw(&file_id, &found))
        }
        Err(problem) => refuse(&store, &problem, &file::form(&file_id)),
    }
}

/// Sends a page about a problem, with the form as it was filled in.
fn refuse(store: &Store, problem: &Problem, form: &str) -> Response {
    let title = match problem.kind {
        Kind::IndexUnavailable => "The index cannot answer now",
        Kind::NoSuchSession => "No such session",
        Kind::NoSuchRecording => "No session has this file",
        _ => "This cannot be shown",
    };
    let hint = match problem.kind {
        Kind::NoSuchRecording => overview::MISSING,
        _ => "",
    };
    let param = problem.param.map_or(String::new(), |param| format!("{param}: "));
    let body = format!(
        "<h1>{title}</h1>\n{form}<p class=\"problem\">{param}{}</p>\n{hint}<p><a href=\"/\">All sessions</a></p>\n",
        html::escape(&problem.detail)
    );
    send(store, problem.kind.status(), title, &body)
}

fn send(store: &Store, status: StatusCode, title: &str, body: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (status, headers, html::document(title, store.freshness(), body)).into_response()
}
