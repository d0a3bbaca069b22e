//! The HTTP server: accepts connections within bounds, and answers while a peer holds all that it can.
//!
//! A peer costs a file and some memory before it has said anything, so nothing here waits for ever and nothing grows without
//! a bound ([`Limits`]):
//!
//! | what | bound | then |
//! | --- | --- | --- |
//! | open connections | [`Limits::connections`], from the process's limit of open files | the oldest makes room |
//! | time for the head of a request, and between two requests | [`Limits::head`] | the connection is closed |
//! | time for a whole answer, until the peer has taken it | [`Limits::answer`] | the connection is closed |
//! | bytes of a head | [`MAX_HEAD_BYTES`] | 431 |
//!
//! # Room for probes
//!
//! A full server does not refuse the newest connection, which may be a probe. It closes the one in which nothing has begun or
//! ended for longest. Refusing would let a peer that holds every connection answer for the process; this way a probe is
//! answered unless as many connections as there may be are opened between its connect and its request.

mod connection;
mod limits;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::warn;

pub use self::connection::MAX_HEAD_BYTES;
use self::connection::Phase;
pub use self::limits::Limits;
use crate::metrics::{HttpClose, Metrics};

/// The pause after a connection could not be accepted. It stays in the kernel's queue, and to ask at once would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// The least time between two warnings that there is no room.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Serves until `stop` comes, then lets the requests that have begun end, however long that takes.
///
/// Dropping the future closes every connection at once.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) {
    let (stopping, _) = watch::channel(false);
    let mut open =
        Open { router, limits, metrics, stopping, connections: Vec::new(), tasks: JoinSet::new(), warned: None };
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => open.add(stream).await,
            Err(error) => open.not_accepted(&error).await,
        }
    }
    drop(listener);
    open.drain().await;
}

/// The open connections.
struct Open {
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    stopping: watch::Sender<bool>,
    connections: Vec<Connection>,
    tasks: JoinSet<()>,
    /// When it was last said that there is no room.
    warned: Option<Instant>,
}

/// A connection as the server sees it.
struct Connection {
    task: AbortHandle,
    phase: watch::Receiver<Phase>,
}

impl Open {
    /// Serves a connection, closing the oldest if there is no room for one more.
    async fn add(&mut self, stream: TcpStream) {
        self.forget_ended();
        if self.connections.len() >= self.limits.connections {
            if self.may_warn() {
                let connections = self.connections.len();
                warn!(connections, "all HTTP connections are in use: closing the oldest for each new one");
            }
            self.close_oldest().await;
        }
        let phase = watch::Sender::new(Phase::new(Instant::now()));
        let (router, limits, metrics) = (self.router.clone(), self.limits, Arc::clone(&self.metrics));
        let shown = phase.subscribe();
        let task = connection::serve(stream, router, limits, metrics, phase, self.stopping.subscribe());
        self.connections.push(Connection { task: self.tasks.spawn(task), phase: shown });
    }

    /// Says why a connection was not accepted, and pauses if it was not the peer's fault.
    ///
    /// Where the process or the machine has no file left a connection gives back its own: the next one may be a probe, and
    /// the index may need one.
    async fn not_accepted(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        self.forget_ended();
        if self.may_warn() {
            let connections = self.connections.len();
            warn!(%error, connections, "cannot accept an HTTP connection: closing the oldest for each new one");
        }
        self.close_oldest().await;
        tokio::time::sleep(PAUSE).await;
    }

    fn forget_ended(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.connections.retain(|connection| !connection.task.is_finished());
    }

    /// Closes the connection in which nothing has begun or ended for longest, and returns when its file is free.
    async fn close_oldest(&mut self) {
        let since = |connection: &Connection| connection.phase.borrow().since();
        let oldest = self.connections.iter().enumerate().min_by_key(|(_, connection)| since(connection));
        let Some((index, _)) = oldest else { return };
        let closed = self.connections.swap_remove(index);
        closed.task.abort();
        self.metrics.http_connection_closed(HttpClose::Room);
        // What ended meanwhile is returned first.
        while !closed.task.is_finished() && self.tasks.join_next().await.is_some() {}
    }

    /// Returns whether it is time to say that there is no room, and notes that it was said.
    fn may_warn(&mut self) -> bool {
        let now = Instant::now();
        let may_warn = self.warned.is_none_or(|at| now.duration_since(at) >= BETWEEN_WARNINGS);
        if may_warn {
            self.warned = Some(now);
        }
        may_warn
    }

    /// Lets the requests that have begun end, and closes connections as soon as they have none.
    async fn drain(&mut self) {
        self.stopping.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
