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
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::clock;
use crate::exit::{Exit, Failure};
use crate::health::Health;
use crate::http::server::{self, Limits};
use crate::http::{health as probes, measure};
use crate::metrics::Metrics;
use livesession_grouping::time::Millis;

/// How often health is told to systemd.
const BEAT: Duration = Duration::from_secs(1);

/// How long requests that have begun may take when everything else has ended.
const DRAIN: Duration = Duration::from_secs(2);

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

/// Prepares a service and serves until a signal comes or a loop cannot go on; returns when all loops have ended.
///
/// A signal ends the preparation too: the first process of a container gets no signal that it does not listen for.
///
/// # Errors
///
/// That of `prepare`, else the failure of the first loop that had one; exit 75 if stopping took too long.
pub fn run(prepare: impl FnOnce() -> Result<Service, Failure> + Send + 'static) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused_by(Exit::TempFail, "cannot start the runtime", error))?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let prepared = tokio::task::spawn_blocking(prepare);
        tokio::select! {
            prepared = prepared => match prepared {
                Ok(service) => service?.serve(signals).await,
                Err(error) => Err(Failure::caused_by(Exit::Software, "cannot start", error)),
            },
            () = signals.told_to_stop() => {
                info!("stopped before it had started");
                Ok(Exit::Ok)
            }
        }
    });
    // A question to Kafka that nobody waits for any more.
    runtime.shutdown_background();
    ended
}

/// The signals that stop a service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, Failure> {
        let listen_for =
            |kind| signal(kind).map_err(|error| Failure::caused_by(Exit::TempFail, "cannot wait for signals", error));
        Ok(Signals { terminate: listen_for(SignalKind::terminate())?, interrupt: listen_for(SignalKind::interrupt())? })
    }

    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Service {
    async fn serve(self, mut signals: Signals) -> Result<Exit, Failure> {
        let Service { listen, shutdown_timeout, metrics, health, site, stop, loops } = self;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            Failure::caused_by(Exit::Config, format!("cannot listen on http.listen {listen}"), error)
        })?;
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
                .map_err(|error| Failure::caused_by(Exit::TempFail, "cannot start a thread", error))?;
        }
        let router = probes::router(Arc::clone(&health), Arc::clone(&metrics));
        let router = router.merge(site.unwrap_or_default());
        let router = measure::measured(router, Arc::clone(&metrics));
        let limits = Limits::of_process(working);
        let (end, ended) = oneshot::channel::<()>();
        let server = tokio::spawn(server::serve(listener, router, limits, metrics, async {
            // An error is the end as well: the sender is gone.
            let _ = ended.await;
        }));
        info!(%listen, loops = working, connections = limits.connections, "started");
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
                    deadline.get_or_insert_with(|| tokio::time::Instant::now() + Duration::from(shutdown_timeout));
                }
                () = signals.told_to_stop() => {
                    if is_stopping {
                        return Err(Failure::new(Exit::TempFail, "stopped at once by a second signal; nothing is lost"));
                    }
                    info!("stopping");
                    health.stop();
                    stop.store(true, Ordering::Relaxed);
                    deadline = Some(tokio::time::Instant::now() + Duration::from(shutdown_timeout));
                    notify(&[NotifyState::Stopping]);
                }
                _ = beat.tick() => tell_systemd(&health, &mut is_ready),
                () = wait_until(deadline), if is_stopping => {
                    error!(loops = working, "loops did not stop in time");
                    let message = "stopping took longer than shutdown_timeout; nothing is lost";
                    return Err(Failure::new(Exit::TempFail, message));
                }
            }
        }
        drop(end);
        let drained = deadline.map(|deadline| deadline.min(tokio::time::Instant::now() + DRAIN));
        tokio::select! {
            _ = server => {}
            () = wait_until(drained) => info!("cut off HTTP requests that did not end in time"),
        }
        failed.map_or(Ok(Exit::Ok), Err)
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
