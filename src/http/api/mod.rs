//! The query API: the index over HTTP, read only, JSON out.
//!
//! Described for machines by `schemas/openapi.yaml`, which a test holds against the running server. Routes and parameters
//! are here, reading them in [`ask`], answers in [`answers`], errors in [`problem`].
//!
//! # Invariants
//!
//! * A question changes nothing: every connection is read-only, every text of a user is a bound parameter or is compared.
//! * Every answer is bounded: rows by `limit`, segments by [`answers::MAX_SEGMENTS`], time by the view, questions at once by
//!   the store.
//! * Whatever is sent, the answer is JSON of a documented form; there is no login and no CORS: keep it private.

pub mod answers;
pub mod ask;
pub mod cursor;
pub mod problem;
pub mod store;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use ask::Asked;
use problem::{Kind, Problem};
pub use store::Store;

/// The OpenAPI description as JSON; a test compares it with `schemas/openapi.yaml`.
const OPENAPI: &str = include_str!("../../../schemas/openapi.json");

const JSON: &str = "application/json";

/// Returns the routes below `/api/v1`. Paths that nobody has are answered in [`super::site`].
pub fn router(store: Store) -> Router {
    Router::new()
        .route("/api/v1/", get(show_root))
        .route("/api/v1/openapi.json", get(show_openapi))
        .route("/api/v1/streams", get(list_streams))
        .route("/api/v1/sessions", get(list_sessions))
        .route("/api/v1/sessions/{id}", get(show_session))
        .route("/api/v1/sessions/{id}/splice", get(show_splice))
        .route("/api/v1/recordings/{file_id}", get(show_recordings))
        .route("/api/v1/changes", get(list_changes))
        .method_not_allowed_fallback(no_such_method)
        .with_state(store)
}

/// Answers a path that nobody has.
pub async fn no_such_path() -> Problem {
    Problem::new(Kind::NoSuchPath, "see /api/v1/ for what there is")
}

/// Answers a method that a path does not have.
pub async fn no_such_method() -> Problem {
    Problem::new(Kind::NoSuchMethod, "everything here is read with GET")
}

async fn show_root(RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Asked::read("root", query.as_deref(), &[])?;
    let links = serde_json::json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "links": {
            "openapi": "/api/v1/openapi.json",
            "streams": "/api/v1/streams{?prefix,limit,cursor}",
            "sessions": "/api/v1/sessions{?stream,from,to,status,include,limit,cursor}",
            "session": "/api/v1/sessions/{id}",
            "splice": "/api/v1/sessions/{id}/splice{?as,rendition,gaps}",
            "recordings": "/api/v1/recordings/{file_id}",
            "changes": "/api/v1/changes{?after,include,limit}",
        },
    });
    Ok(send(JSON, links.to_string()))
}

async fn show_openapi(RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Asked::read("openapi", query.as_deref(), &[])?;
    Ok(send(JSON, OPENAPI.to_owned()))
}

async fn list_streams(State(store): State<Store>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::read("streams", query.as_deref(), &["prefix", "limit", "cursor"])?;
    let shared = store.clone();
    let body = store.ask(move |view| answers::streams(view, &asked, shared.freshness())).await?;
    Ok(send(JSON, body))
}

async fn list_sessions(State(store): State<Store>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let known = ["stream", "from", "to", "status", "include", "limit", "cursor"];
    let asked = Asked::read("sessions", query.as_deref(), &known)?;
    let shared = store.clone();
    let body = store.ask(move |view| answers::sessions(view, &asked, shared.freshness())).await?;
    Ok(send(JSON, body))
}

async fn list_changes(State(store): State<Store>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::read("changes", query.as_deref(), &["after", "include", "limit"])?;
    let shared = store.clone();
    let body = store.ask(move |view| answers::changes(view, &asked, shared.freshness())).await?;
    Ok(send(JSON, body))
}

async fn show_session(
    State(store): State<Store>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = part("id", path)?.to_ascii_lowercase();
    Asked::read("session", query.as_deref(), &[])?;
    let record = store.ask(move |view| answers::session(view, &id)).await?;
    let tag = format!("\"{}:{}\"", record.session_id, record.revision);
    let mut response = if is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        send(JSON, answers::json(&record)?)
    };
    // An id and a number: no character that a header cannot have.
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}

/// Returns whether the client has this very revision (`If-None-Match`).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(|list| list.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

async fn show_splice(
    State(store): State<Store>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = part("id", path)?.to_ascii_lowercase();
    let asked = Asked::read("splice", query.as_deref(), &["as", "rendition", "gaps"])?;
    let shared = store.clone();
    let (media_type, body) = store.ask(move |view| answers::splice(view, &id, &asked, shared.freshness())).await?;
    Ok(send(media_type, body))
}

async fn show_recordings(
    State(store): State<Store>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let file_id = part("file_id", path)?;
    Asked::read("recordings", query.as_deref(), &[])?;
    let shared = store.clone();
    let body = store.ask(move |view| answers::recordings(view, &file_id, shared.freshness())).await?;
    Ok(send(JSON, body))
}

/// Returns the decoded part of a path.
pub fn part(name: &'static str, path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    match path {
        Ok(Path(text)) if text.contains(char::is_control) => {
            Err(Problem::parameter(name, "the value has a control character, which nothing here has"))
        }
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(Problem::parameter(name, "the value is not percent-encoded UTF-8")),
    }
}

fn send(media_type: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}
