//! The routes that ask the index, put together: the query API and the page.
//!
//! Metrics and health are merged beside them ([`super::health::router`]); they have to answer when the index cannot. Every
//! answer of this router says that it must not be framed, sniffed or kept.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;

use super::api::{self, Store};
use super::page;

/// What nothing here needs, a browser is told to refuse; a page that needs more has its own.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");

/// Returns the query API and the page, with an answer for every path that nobody has.
pub fn router(store: Store) -> Router {
    api::router(store.clone()).merge(page::router(store)).fallback(api::no_such_path).layer(from_fn(guard))
}

/// Adds the headers that every answer has.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed: [(HeaderName, HeaderValue); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    for (name, value) in fixed {
        headers.insert(name, value);
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    response
}
