//! One connection: its state, since when, and when that has lasted too long.
//!
//! hyper has a time limit for heads of its own. It also runs while an answer is being taken, and would cut off a peer that
//! reads slowly; so both limits are kept here, by one clock.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use super::Limits;
use crate::metrics::{HttpClose, Metrics};

/// Bytes of a request's head at most; more than the longest URI, 64 KiB, which has an answer of its own.
pub const MAX_HEAD_BYTES: usize = 128 * 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Waiting for the head of a request.
    Head { since: Instant },
    /// Working on a request, or sending its answer. `is_answered`: the answer is made, and may not have been taken.
    Answer { since: Instant, is_answered: bool },
}

impl Phase {
    pub(super) fn new(now: Instant) -> Phase {
        Phase::Head { since: now }
    }

    /// Returns when something has last begun or ended.
    pub(super) fn since(self) -> Instant {
        match self {
            Phase::Head { since } | Phase::Answer { since, .. } => since,
        }
    }

    /// Returns when the phase has lasted too long.
    fn deadline(self, limits: &Limits) -> Instant {
        match self {
            Phase::Head { since } => since + limits.head,
            Phase::Answer { since, .. } => since + limits.answer,
        }
    }

    fn request(&mut self, now: Instant) {
        // Of pipelined requests the next one is read while the answer before is being taken: their time is one.
        let since = if let Phase::Answer { since, .. } = *self { since } else { now };
        *self = Phase::Answer { since, is_answered: false };
    }

    fn answered(&mut self) {
        if let Phase::Answer { is_answered, .. } = self {
            *is_answered = true;
        }
    }

    /// Notes that everything written so far was taken; returns whether that was the end of an answer.
    fn flushed(&mut self, now: Instant) -> bool {
        let is_end = matches!(self, Phase::Answer { is_answered: true, .. });
        if is_end {
            *self = Phase::Head { since: now };
        }
        is_end
    }
}

/// Serves a connection until it ends, takes too long, or has nothing left to do while the server stops.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    mut stopping: watch::Receiver<bool>,
) {
    let _counted = Counted::new(Arc::clone(&metrics));
    let mut shown = phase.subscribe();
    let phase = Arc::new(phase);
    let router = TowerToHyperService::new(router);
    let noted = Arc::clone(&phase);
    let service = service_fn(move |request: Request<Incoming>| {
        noted.send_modify(|phase| phase.request(Instant::now()));
        let (answer, noted) = (router.call(request), Arc::clone(&noted));
        async move {
            let answer = answer.await;
            noted.send_modify(Phase::answered);
            answer
        }
    });
    let io = Watched { io: TokioIo::new(stream), phase };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES).header_read_timeout(None::<Duration>);
    let mut connection = pin!(builder.serve_connection(io, service));
    loop {
        let current = *shown.borrow_and_update();
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "an HTTP connection broke");
                }
                return;
            }
            // Its sender is in the connection, which has not ended.
            _ = shown.changed() => {}
            () = tokio::time::sleep_until(current.deadline(&limits)) => {
                metrics.http_connection_closed(match current {
                    Phase::Head { .. } => HttpClose::Head,
                    Phase::Answer { .. } => HttpClose::Answer,
                });
                return;
            }
            Ok(()) = stopping.changed() => match current {
                Phase::Head { .. } => return,
                Phase::Answer { .. } => connection.as_mut().graceful_shutdown(),
            },
        }
    }
}

/// Counts a connection as open for as long as it lives.
struct Counted {
    metrics: Arc<Metrics>,
}

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Counted {
        metrics.http_connection_opened();
        Counted { metrics }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.http_connection_ended();
    }
}

/// A socket that says when an answer was taken. hyper flushes it when it has written all that it has.
struct Watched {
    io: TokioIo<TcpStream>,
    phase: Arc<watch::Sender<Phase>>,
}

impl Read for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.phase.send_if_modified(|phase| phase.flushed(Instant::now()));
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
