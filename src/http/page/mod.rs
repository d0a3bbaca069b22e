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

mod detail;
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
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .route("/icon.svg", get(|| async { ([(header::CONTENT_TYPE, "image/svg+xml")], ICON) }))
        .method_not_allowed_fallback(api::no_such_method)
        .with_state(store)
}

async fn show_overview(State(store): State<Store>, RawQuery(query): RawQuery) -> Response {
    let asked = match Asked::read("page", query.as_deref(), &["stream", "from", "to", "cursor"]) {
        Ok(asked) => asked,
        Err(problem) => return refuse(&problem, None),
    };
    let question = asked.clone();
    let shared = store.clone();
    match store.ask(move |view| overview::read(view, &question)).await {
        Ok(found) => send(StatusCode::OK, overview::draw(&asked, &found, shared.freshness())),
        Err(problem) => refuse(&problem, Some(&asked)),
    }
}

async fn show_session(
    State(store): State<Store>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let id = match path {
        Ok(Path(id)) => id.to_ascii_lowercase(),
        Err(_) => return refuse(&Problem::parameter("id", "the value is not percent-encoded UTF-8"), None),
    };
    if let Err(problem) = Asked::read("session", query.as_deref(), &[]) {
        return refuse(&problem, None);
    }
    match store.ask(move |view| answers::session(view, &id)).await {
        Ok(record) => send(StatusCode::OK, detail::draw(&record)),
        Err(problem) => refuse(&problem, None),
    }
}

/// Sends a page about a problem, with the form as it was filled in if it was the form's.
fn refuse(problem: &Problem, asked: Option<&Asked>) -> Response {
    let status = problem.kind.status();
    let title = match problem.kind {
        Kind::IndexUnavailable => "The index cannot answer now",
        Kind::NoSuchSession => "No such session",
        _ => "This cannot be shown",
    };
    let param = problem.param.map_or(String::new(), |param| format!("{param}: "));
    let body = format!(
        "<h1>{title}</h1>\n{}<p class=\"problem\">{param}{}</p>\n<p><a href=\"/\">All sessions</a></p>\n",
        asked.map(overview::form).unwrap_or_default(),
        html::escape(&problem.detail)
    );
    send(status, html::document(title, &body))
}

fn send(status: StatusCode, page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (status, headers, page).into_response()
}
