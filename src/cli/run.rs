//! `livesession run`: the worker, as a service.
//!
//! Threads: one for each worker, and this one, which serves HTTP, waits for signals and for the workers, and talks to
//! systemd. If one worker cannot go on, all of them stop: a process that works in part would hide it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::exit::{Exit, Failure};
use super::output::Output;
use super::settings::AllSettings;
use super::startup::{self, TopicFacts};
use super::{clients, logging};
use crate::clock;
use crate::config::{self, Config};
use crate::grouping::{Anomaly, Cause, Policy};
use crate::health::Health;
use crate::http;
use crate::kafka::{self, admin};
use crate::metrics::{Identity, Labels, Metrics};
use crate::time::Millis;
use crate::wire::notification::{KeyParts, Reason, Rules};
use crate::worker::{self, thread};

/// How often health is told to systemd.
const BEAT: Duration = Duration::from_secs(1);

/// How long the start-up questions may take, together with waiting for a broker that is not there yet.
const STARTUP: Duration = Duration::from_secs(30);

/// Returns the names of an enum's members.
macro_rules! names {
    ($all:expr) => {{
        let mut names = [""; $all.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = $all[index].as_str();
            index += 1;
        }
        names
    }};
}

/// Reads notifications from Kafka and publishes live sessions, each exactly once.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    settings: AllSettings,
}

/// Runs the command.
pub fn run(args: Args, _out: &mut Output) -> Result<Exit, Failure> {
    let config = args.settings.load()?.config;
    logging::init(config.log_format, &config.log_filter)?;
    let kafka = clients::settings(&config, 0)?;
    let admin = admin::Admin::new(&kafka, STARTUP).map_err(startup::admin_failure)?;
    let facts = startup::check_topics(&config, &admin)?;
    drop(admin);
    let metrics = Arc::new(metrics(&config));
    metrics.input_partitions(usize::try_from(facts.input_partitions).unwrap_or(0));
    let settings = Arc::new(worker_settings(&config, &facts)?);
    let health = Arc::new(Health::new(&metrics, config.workers as usize, false, clock::now()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused_by(Exit::Later, "cannot start the runtime", error))?;
    runtime.block_on(serve(&config, &settings, &metrics, &health))
}

/// Serves until a signal comes or a worker cannot go on; returns when all workers have ended.
async fn serve(
    config: &Config,
    settings: &Arc<worker::Settings>,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> Result<Exit, Failure> {
    let listen = config.http.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Failure::caused_by(Exit::Config, format!("cannot listen on http.listen {listen}"), error))?;
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let stop = Arc::new(AtomicBool::new(false));
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut working = 0;
    for slot in 0..config.workers {
        let Some(shown) = health.worker(slot as usize) else { continue };
        let thread = thread::Thread {
            settings: Arc::clone(settings),
            kafka: clients::settings(config, slot)?,
            metrics: Arc::clone(metrics),
            health: Arc::clone(shown),
            stop: Arc::clone(&stop),
        };
        let report = report.clone();
        std::thread::Builder::new()
            .name(format!("worker-{slot}"))
            .spawn(move || {
                // Nobody listens only when the process is ending anyway.
                let _ = report.send(thread.run());
            })
            .map_err(|error| Failure::caused_by(Exit::Later, "cannot start a worker thread", error))?;
        working += 1;
    }
    let router = http::health::router(Arc::clone(health), Arc::clone(metrics));
    let router = http::measure::measured(router, Arc::clone(metrics));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    info!(%listen, workers = working, input = settings.topics.input, output = settings.topics.output, "started");
    let mut beat = tokio::time::interval(BEAT);
    let mut is_ready = false;
    let mut failed: Option<worker::Failure> = None;
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
                deadline.get_or_insert_with(|| tokio::time::Instant::now() + patience(config.shutdown_timeout));
            }
            () = told_to_stop(&mut terminate, &mut interrupt) => {
                if is_stopping {
                    return Err(Failure::new(Exit::Later, "stopped at once by a second signal; nothing is lost"));
                }
                info!("stopping");
                health.stop();
                stop.store(true, Ordering::Relaxed);
                deadline = Some(tokio::time::Instant::now() + patience(config.shutdown_timeout));
                notify(&[NotifyState::Stopping]);
            }
            _ = beat.tick() => tell_systemd(health, &mut is_ready),
            () = wait_until(deadline), if is_stopping => {
                error!(workers = working, "workers did not stop in time");
                return Err(Failure::new(Exit::Later, "stopping took longer than shutdown_timeout; nothing is lost"));
            }
        }
    }
    server.abort();
    match failed {
        None => Ok(Exit::Ok),
        Some(failure) => Err(exit_of(failure)),
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

fn metrics(config: &Config) -> Metrics {
    const REASONS: [&str; Reason::ALL.len()] = names!(Reason::ALL);
    const ANOMALIES: [&str; Anomaly::ALL.len()] = names!(Anomaly::ALL);
    const CAUSES: [&str; Cause::ALL.len()] = names!(Cause::ALL);
    let metrics = Metrics::new(Labels { reasons: &REASONS, anomalies: &ANOMALIES, causes: &CAUSES });
    metrics.identify(Identity {
        librdkafka: &kafka::version::library(),
        sqlite: "",
        application_id: &config.application_id,
        input: &config.topics.input,
        output: &config.topics.output,
    });
    metrics
}

/// Returns the settings of a worker.
pub fn worker_settings(config: &Config, facts: &TopicFacts) -> Result<worker::Settings, Failure> {
    let policy = Policy::new(config.grouping_settings()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Config, format!("cannot use [grouping]: {}", problems.join("; ")))
    })?;
    let key_parts = KeyParts::parse(config.input.stream_key.as_str()).unwrap_or_default();
    let rules =
        Rules { key_parts, max_segment: config.grouping.max_segment, max_clock_skew: config.grouping.max_clock_skew };
    Ok(worker::Settings {
        application_id: config.application_id.clone(),
        topics: worker::Topics {
            input: config.topics.input.clone(),
            output: config.topics.output.clone(),
            dead_letter: config.dead_letter_topic(),
            changelog: config.changelog_topic(),
            latest: config.topics.latest.clone(),
        },
        policy,
        rules,
        start: match config.input.start {
            config::Start::Earliest => worker::Start::Earliest,
            config::Start::Latest => worker::Start::Latest,
        },
        commit_interval: patience(config.kafka.commit_interval),
        commit_max_records: config.kafka.commit_max_records as usize,
        commit_timeout: patience(config.kafka.transaction_timeout),
        idle_after: patience(config.grouping.idle_after),
        cloudevents: config.output.cloudevents,
        schema_guid: config.output.schema_guid.clone().unwrap_or_default(),
        dead_letter_partitions: facts.dead_letter_partitions.max(1),
        max_dead_letter_bytes: facts.max_dead_letter_bytes,
    })
}

/// Returns how the process ends when a worker could not go on.
fn exit_of(failure: worker::Failure) -> Failure {
    let exit = match failure {
        worker::Failure::Away { .. } | worker::Failure::Rebuild { .. } => Exit::Kafka,
        worker::Failure::Fenced { .. } | worker::Failure::Refused { .. } => Exit::Config,
        worker::Failure::Restore { ref source, .. } if is_unsafe_change(source) => Exit::Config,
        worker::Failure::Input { .. }
        | worker::Failure::State { .. }
        | worker::Failure::Restore { .. }
        | worker::Failure::Defect { .. } => Exit::Defect,
    };
    Failure::caused_by(exit, "worker stopped", failure)
}

fn is_unsafe_change(error: &crate::partition::RestoreError) -> bool {
    matches!(error, crate::partition::RestoreError::UnsafeChange(_))
}
