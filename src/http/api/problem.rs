//! Error responses (RFC 9457).
//!
//! The kinds are a closed list, each with one status: programs compare `type`, people read `detail`. Described by
//! `schemas/problem.v1.schema.json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use livesession_index as index;

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadParameter,
    CannotSplice,
    NoSuchPath,
    NoSuchSession,
    NoSuchRecording,
    Withdrawn,
    NoSuchMethod,
    OtherIndex,
    IndexUnavailable,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::BadParameter,
        Kind::CannotSplice,
        Kind::NoSuchPath,
        Kind::NoSuchSession,
        Kind::NoSuchRecording,
        Kind::Withdrawn,
        Kind::NoSuchMethod,
        Kind::OtherIndex,
        Kind::IndexUnavailable,
    ];

    /// Returns the name behind `urn:livesession:problem:`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::BadParameter => "bad-parameter",
            Kind::CannotSplice => "cannot-splice",
            Kind::NoSuchPath => "no-such-path",
            Kind::NoSuchSession => "no-such-session",
            Kind::NoSuchRecording => "no-such-recording",
            Kind::Withdrawn => "withdrawn",
            Kind::NoSuchMethod => "no-such-method",
            Kind::OtherIndex => "other-index",
            Kind::IndexUnavailable => "index-unavailable",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Kind::BadParameter => "A parameter cannot be used",
            Kind::CannotSplice => "The plan cannot be written in this form",
            Kind::NoSuchPath => "There is nothing at this path",
            Kind::NoSuchSession => "There is no such session",
            Kind::NoSuchRecording => "No session has this file",
            Kind::Withdrawn => "The session was withdrawn",
            Kind::NoSuchMethod => "The path has no such method",
            Kind::OtherIndex => "The list was made from another index",
            Kind::IndexUnavailable => "The index cannot answer now",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Kind::BadParameter | Kind::CannotSplice => StatusCode::BAD_REQUEST,
            Kind::NoSuchPath | Kind::NoSuchSession | Kind::NoSuchRecording | Kind::Withdrawn => StatusCode::NOT_FOUND,
            Kind::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Kind::OtherIndex => StatusCode::GONE,
            Kind::IndexUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    /// The parameter at fault.
    pub param: Option<&'static str>,
}

/// The longest part of a user's text that a detail repeats, in characters.
const MAX_QUOTED: usize = 80;

/// Quotes what a user sent: shortened, and with control characters escaped.
pub fn quoted(text: &str) -> String {
    let short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), param: None }
    }

    /// Makes the problem of a parameter.
    pub fn parameter(param: &'static str, detail: impl Into<String>) -> Problem {
        Problem { kind: Kind::BadParameter, detail: detail.into(), param: Some(param) }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'static str>,
}

/// Seconds after which a client may ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let body = Body {
            r#type: format!("urn:livesession:problem:{}", self.kind.name()),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: &self.detail,
            param: self.param,
        };
        let json = serde_json::to_string(&body).expect("a struct of texts and a number can always be written");
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl From<index::Error> for Problem {
    /// The words of the error are for the log; who asks cannot do anything about a disk.
    fn from(error: index::Error) -> Problem {
        match error {
            index::Error::OtherGeneration { .. } => other_index(),
            index::Error::Interrupted { seconds, .. } => Problem::new(
                Kind::IndexUnavailable,
                format!("it took longer than {seconds} s: ask for less at a time, by stream or by time"),
            ),
            index::Error::Unreadable { path, source } => {
                tracing::warn!(path = %path.display(), error = %source, "could not answer from index");
                Problem::new(Kind::IndexUnavailable, "it has a row that no indexer of ours wrote: rebuild it")
            }
            other => {
                tracing::warn!(error = %other, cause = ?std::error::Error::source(&other), "could not answer from index");
                Problem::new(Kind::IndexUnavailable, "the file is not there yet, or it cannot be read; try again")
            }
        }
    }
}

/// The list that a cursor or a change number belongs to is no more.
pub fn other_index() -> Problem {
    Problem::new(Kind::OtherIndex, "the index was filled anew since: start again without this cursor")
}
