//! `/metrics`, `/livez`, `/readyz`: what supervisors and Prometheus ask.
//!
//! | path | 200 | 503 |
//! | --- | --- | --- |
//! | `/metrics` | the text format 0.0.4 | |
//! | `/livez` | every loop turned lately | a loop hangs |
//! | `/readyz` | the process takes its part of the work | not yet, or not any more |
//!
//! The answer is `ok`, or the conditions that fail, a line each; with `?verbose` all of them, as Kubernetes does it. The
//! conditions are in `crate::health`. Answers are texts: this is read by people in a hurry.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::clock;
use crate::health::{Check, Health};
use crate::metrics::Metrics;

pub const METRICS: &str = "/metrics";
pub const LIVEZ: &str = "/livez";
pub const READYZ: &str = "/readyz";

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the handlers read.
#[derive(Clone, Debug)]
struct Observed {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// Returns the three routes.
pub fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route(METRICS, get(show_metrics))
        .route(LIVEZ, get(show_live))
        .route(READYZ, get(show_ready))
        .with_state(Observed { health, metrics })
}

async fn show_metrics(State(observed): State<Observed>) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS)], observed.metrics.render()).into_response()
}

async fn show_live(State(observed): State<Observed>, RawQuery(query): RawQuery) -> Response {
    answer(&observed.health.live(clock::now()), is_verbose(query.as_deref()))
}

async fn show_ready(State(observed): State<Observed>, RawQuery(query): RawQuery) -> Response {
    answer(&observed.health.ready(), is_verbose(query.as_deref()))
}

/// Returns whether the query asks for every condition: `verbose`, with or without a value.
fn is_verbose(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| pair.split('=').next() == Some("verbose"))
}

fn answer(checks: &[Check], verbose: bool) -> Response {
    let well = checks.iter().all(|check| check.holds);
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    for check in checks.iter().filter(|check| verbose || !check.holds) {
        text.push_str(&format!("{check}\n"));
    }
    text.push_str(if well { "ok\n" } else { "failed\n" });
    // A proxy that remembers the answer of a minute ago would hide the failure of now.
    (code, [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::measure;
    use crate::metrics::Labels;
    use livesession_grouping::time::Timestamp;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    const LABELS: Labels = Labels { reasons: &["late"], anomalies: &[], causes: &[] };

    /// Serves on a loopback port while `asks` runs.
    fn serve(health: Arc<Health>, metrics: Arc<Metrics>, asks: impl FnOnce(SocketAddr) + Send) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = measure::measured(router(health, Arc::clone(&metrics)), metrics);
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // Dropped when the questions are done, and when one of them panics.
                let _done = done;
                asks(address);
            });
            runtime.block_on(async {
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served.unwrap(),
                    _ = wait => {}
                }
            });
        });
    }

    /// Asks for a path and returns status, headers and body.
    fn ask(address: SocketAddr, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    fn process(started: Timestamp) -> (Arc<Health>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new(LABELS));
        (Arc::new(Health::new(&metrics, 1, true, started)), metrics)
    }

    #[test]
    fn a_process_is_live_at_once_ready_when_it_works_and_unready_when_it_stops() {
        let (health, metrics) = process(clock::now());
        let shown = Arc::clone(&health);
        serve(shown, metrics, |address| {
            let (status, head, body) = ask(address, LIVEZ);
            assert_eq!((status, body.as_str()), (200, "ok\n"));
            assert!(head.contains("cache-control: no-store"), "{head}");
            let (status, _, body) = ask(address, READYZ);
            let failing = "failed worker-0: not in the group\nfailed index: not open\nfailed\n";
            assert_eq!((status, body.as_str()), (503, failing));

            health.worker(0).unwrap().set_member(true);
            health.index().unwrap().set_open(true);
            assert_eq!(ask(address, READYZ).0, 200);
            let (status, _, body) = ask(address, "/readyz?verbose");
            let all = "ok process: running\nok worker-0: in the group\nok index: open\nok\n";
            assert_eq!((status, body.as_str()), (200, all));

            health.stop();
            let (status, _, body) = ask(address, READYZ);
            assert_eq!((status, body.as_str()), (503, "failed process: stopping\nfailed\n"));
            assert_eq!(ask(address, LIVEZ).0, 200);
        });
    }

    #[test]
    fn a_loop_that_hangs_fails_liveness_and_is_named() {
        let (health, metrics) = process(Timestamp::MIN);
        let shown = Arc::clone(&health);
        serve(shown, metrics, |address| {
            health.index().unwrap().turned(clock::now());
            let (status, _, body) = ask(address, LIVEZ);
            assert_eq!(status, 503);
            assert!(body.starts_with("failed worker-0: turned "), "{body}");
            assert!(!body.contains("index"), "{body}");
            let (_, _, all) = ask(address, "/livez?verbose=1");
            assert!(all.contains("\nok index: turned "), "{all}");
        });
    }

    #[test]
    fn metrics_are_text_and_count_the_questions_by_route() {
        let (health, metrics) = process(clock::now());
        serve(health, metrics, |address| {
            ask(address, READYZ);
            ask(address, "/readyz?verbose");
            ask(address, "/nothing/here");
            let (status, head, body) = ask(address, METRICS);
            assert_eq!(status, 200);
            assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
            assert!(body.contains("livesession_http_requests_total{code=\"503\",route=\"/readyz\"} 2\n"), "{body}");
            assert!(body.contains("livesession_http_requests_total{code=\"404\",route=\"none\"} 1\n"), "{body}");
            assert!(body.contains("livesession_http_request_duration_seconds_count{route=\"/readyz\"} 2\n"), "{body}");
            assert!(!body.contains("nothing"), "{body}");
        });
    }

    #[test]
    fn verbose_is_a_word_of_the_query() {
        for (query, expected) in [
            (None, false),
            (Some(""), false),
            (Some("verbose"), true),
            (Some("a=1&verbose=true"), true),
            (Some("verbosely"), false),
            (Some("a=verbose"), false),
        ] {
            assert_eq!(is_verbose(query), expected, "{query:?}");
        }
    }
}
