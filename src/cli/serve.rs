//! A service: loops on threads of their own, and HTTP, signals and systemd on this one.
//!
//! Shared by `run` and `index`, which differ in their loops. If one loop cannot go on all of them stop: a process that works
//! in part would hide it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::exit::{Exit, Failure};
use crate::clock;
use crate::health::Health;
use crate::http;
use crate::metrics::Metrics;
use crate::time::Millis;

/// How often health is told to systemd.
const BEAT: Duration = Duration::from_secs(1);

/// A loop and the name of its thread.
pub struct Loop {
    pub name: String,
    /// Returns when it was told to stop, or cannot go on.
    pub run: Box<dyn FnOnce() -> Result<(), Failure> + Send>,
}

/// What a service is made of.
pub struct Service {
    pub listen: SocketAddr,
    pub shutdown_timeout: Millis,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// The query API and the page, if there is something to ask.
    pub site: Option<Router>,
    /// What every loop looks at.
    pub stop: Arc<AtomicBool>,
    pub loops: Vec<Loop>,
}

impl Service {
    /// Serves until a signal comes or a loop cannot go on; returns when all loops have ended.
    ///
    /// # Errors
    ///
    /// The failure of the first loop that had one; exit 75 if stopping took too long.
    pub fn run(self) -> Result<Exit, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::caused_by(Exit::Later, "cannot start the runtime", error))?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Result<Exit, Failure> {
        let Service { listen, shutdown_timeout, metrics, health, site, stop, loops } = self;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            Failure::caused_by(Exit::Config, format!("cannot listen on http.listen {listen}"), error)
        })?;
        let mut terminate = listen_for(SignalKind::terminate())?;
        let mut interrupt = listen_for(SignalKind::interrupt())?;
        let (report, mut reports) = mpsc::unbounded_channel();
        let mut working = loops.len();
        for Loop { name, run } in loops {
            let report = report.clone();
            std::thread::Builder::new()
                .name(name)
                .spawn(move || {
                    // Nobody listens only when the process is ending anyway.
                    let _ = report.send(run());
                })
                .map_err(|error| Failure::caused_by(Exit::Later, "cannot start a thread", error))?;
        }
        let router = http::health::router(Arc::clone(&health), Arc::clone(&metrics));
        let router = router.merge(site.unwrap_or_default());
        let router = http::measure::measured(router, Arc::clone(&metrics));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        info!(%listen, loops = working, "started");
        let mut beat = tokio::time::interval(BEAT);
        let mut is_ready = false;
        let mut failed: Option<Failure> = None;
        let mut deadline: Option<tokio::time::Instant> = None;
        while working > 0 {
            let is_stopping = deadline.is_some();
            tokio::select! {
                ended = reports.recv() => {
                    working -= 1;
                    if let Some(Err(failure)) = ended {
                        failed.get_or_insert(failure);
                    }
                    stop.store(true, Ordering::Relaxed);
                    deadline.get_or_insert_with(|| tokio::time::Instant::now() + patience(shutdown_timeout));
                }
                () = told_to_stop(&mut terminate, &mut interrupt) => {
                    if is_stopping {
                        return Err(Failure::new(Exit::Later, "stopped at once by a second signal; nothing is lost"));
                    }
                    info!("stopping");
                    health.stop();
                    stop.store(true, Ordering::Relaxed);
                    deadline = Some(tokio::time::Instant::now() + patience(shutdown_timeout));
                    notify(&[NotifyState::Stopping]);
                }
                _ = beat.tick() => tell_systemd(&health, &mut is_ready),
                () = wait_until(deadline), if is_stopping => {
                    error!(loops = working, "loops did not stop in time");
                    let message = "stopping took longer than shutdown_timeout; nothing is lost";
                    return Err(Failure::new(Exit::Later, message));
                }
            }
        }
        server.abort();
        failed.map_or(Ok(Exit::Ok), Err)
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::caused_by(Exit::Later, "cannot wait for signals", error))
}

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn wait_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Tells systemd that the service is ready, once, and that it is alive, as long as it is.
fn tell_systemd(health: &Health, is_ready: &mut bool) {
    if !*is_ready && health.ready().iter().all(|check| check.holds) {
        *is_ready = true;
        notify(&[NotifyState::Ready]);
        info!("ready");
    }
    if health.live(clock::now()).iter().all(|check| check.holds) {
        notify(&[NotifyState::Watchdog]);
    }
}

/// Without systemd this does nothing.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "could not tell systemd");
    }
}

fn patience(span: Millis) -> Duration {
    Duration::from_millis(span.as_ms().unsigned_abs())
}
