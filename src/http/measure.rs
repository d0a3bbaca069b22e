//! Counts and times requests, by the template of their route.
//!
//! Never by the path that was asked for: paths hold ids, and anybody can invent one.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::clock;
use crate::metrics::Metrics;

/// The label of requests that no route matches.
const NONE: &str = "none";

/// Returns the router with every request counted, those that match nothing included. Wrapped around the whole router, once.
pub fn measured(router: Router, metrics: Arc<Metrics>) -> Router {
    router.layer(from_fn_with_state(metrics, measure))
}

async fn measure(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let begin = clock::instant();
    let response = next.run(request).await;
    let route = matched.as_ref().map_or(NONE, MatchedPath::as_str);
    metrics.record_http_request(route, response.status().as_u16(), begin.elapsed());
    response
}
