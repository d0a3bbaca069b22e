//! The built program as a process: started from a TOML file, watched over HTTP, stopped, frozen, killed.
//!
//! Nothing is waited for by time alone: every wait names what it waits for and has a deadline. When a test fails, the log
//! of each worker that it had started is printed; whatever happens, the process is gone when its [`Worker`] is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::kafka::support::broker::{self, wait_until};

/// Long enough for every step that ends at all, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// How much of a log a failure prints.
const LOG_LINES: usize = 60;

/// A configuration file to be: names of settings, and their values as TOML writes them.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Adds settings as TOML lines, `name = value`. A later one replaces an earlier one.
    pub fn with(mut self, lines: &str) -> Settings {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line:?} is no setting"));
            self.0.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Returns the text of the file.
    pub fn toml(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
    }
}

/// A process of `livesession run`, or of another command that serves.
pub struct Worker {
    name: String,
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Worker {
    /// Starts the program; it is not waited for. `name` is for people.
    pub fn start(name: &str, settings: &Settings) -> Worker {
        Worker::start_as(name, "run", settings, &[])
    }

    /// Starts a command of the program that serves, with `environment` and nothing else; it is not waited for.
    pub fn start_as(name: &str, subcommand: &str, settings: &Settings, environment: &[(&str, &str)]) -> Worker {
        Worker::spawn(name, settings, |command| {
            command.arg(subcommand).env_clear().envs(environment.iter().copied());
        })
    }

    /// Starts the program with a limit of open files; it is not waited for.
    pub fn start_with_files(name: &str, settings: &Settings, open_files: u64) -> Worker {
        Worker::spawn(name, settings, |command| {
            command.arg("run").env_clear();
            let limit = move || {
                let limit = libc::rlimit { rlim_cur: open_files, rlim_max: open_files };
                // SAFETY: `limit` is valid for the call.
                match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            };
            // SAFETY: between fork and exec only this system call is made, which allocates nothing.
            unsafe { command.pre_exec(limit) };
        })
    }

    fn spawn(name: &str, settings: &Settings, prepare: impl FnOnce(&mut Command)) -> Worker {
        let port = broker::free_port().unwrap();
        let folder = broker::temporary().join("workers");
        fs::create_dir_all(&folder).unwrap();
        let path = |suffix: &str| folder.join(format!("{}-{port}.{suffix}", std::process::id()));
        let settings = settings.clone().with(&format!("http.listen = \"127.0.0.1:{port}\""));
        let (file, log) = (path("toml"), path("log"));
        fs::write(&file, settings.toml()).unwrap();
        let output = File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
        prepare(&mut command);
        command.arg("--config").arg(&file);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        broker::die_with_parent(&mut command);
        let child = command.spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Worker { name: name.to_owned(), child, address, log, ended: None }
    }

    /// Returns what the process has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until `condition` holds. Panics if it does not before `timeout`, or if the process ends.
    pub fn wait_for(&mut self, what: &str, timeout: Duration, mut condition: impl FnMut(&Worker) -> bool) {
        let mut ended = None;
        let held = wait_until(timeout, || {
            ended = self.status();
            ended.is_some() || condition(self)
        });
        assert!(ended.is_none(), "worker {} ended with {ended:?} while a test waited for: {what}", self.name);
        assert!(held, "worker {}: not after {timeout:?}: {what}\n{}", self.name, self.counted());
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&mut self) {
        self.wait_for("being ready", PATIENCE, |worker| worker.get("/readyz").is_some_and(|(code, _)| code == 200));
    }

    /// Waits until a series of `/metrics`, named as there, has a value that `holds`.
    pub fn wait_metric(&mut self, series: &str, holds: impl Fn(f64) -> bool) {
        self.wait_for(series, PATIENCE, |worker| worker.metric(series).is_some_and(&holds));
    }

    /// Opens a connection and sends half the head of a request.
    pub fn send_half_a_head(&self) -> TcpStream {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        // The server may have closed it already, to make room for another one.
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: te");
        stream
    }

    /// Asks for a path. `None`: nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Returns `/metrics`; empty if nobody answers.
    pub fn metrics(&self) -> String {
        self.get("/metrics").map(|(_, body)| body).unwrap_or_default()
    }

    /// Returns the value of a series. `None`: there is no such series.
    pub fn metric(&self, series: &str) -> Option<f64> {
        value_of(&self.metrics(), series)
    }

    /// Returns the sum over all series of a metric.
    pub fn sum(&self, metric: &str) -> f64 {
        let metrics = self.metrics();
        let lines = metrics.lines().filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{')));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Returns the series that are not 0, without histograms, for people.
    fn counted(&self) -> String {
        let metrics = self.metrics();
        let lines = metrics.lines().filter(|line| line.starts_with("livesession_") && !line.ends_with(" 0"));
        lines.filter(|line| !line.contains("_bucket{")).collect::<Vec<_>>().join("\n")
    }

    /// Stops it in order; returns the exit code.
    pub fn terminate(&mut self) -> i32 {
        self.signal(libc::SIGTERM);
        self.wait_exit(PATIENCE)
    }

    /// Stops it in order; it must say that all is well.
    pub fn stop(&mut self) {
        assert_eq!(self.terminate(), 0, "worker {} was told to stop", self.name);
    }

    /// Kills it as a power cut would. Returns when it is gone.
    pub fn kill9(&mut self) {
        if self.status().is_none() {
            self.signal(libc::SIGKILL);
            self.ended = Some(self.child.wait().unwrap());
        }
    }

    /// Stops its time: it neither runs nor notices that it does not.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets its time go on.
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Waits until it ends by itself; returns the exit code.
    pub fn wait_exit(&mut self, timeout: Duration) -> i32 {
        let ended = wait_until(timeout, || self.status().is_some());
        assert!(ended, "worker {} still runs after {timeout:?}", self.name);
        let status = self.status().expect("it ended");
        status.code().unwrap_or_else(|| panic!("worker {} was killed by signal {:?}", self.name, status.signal()))
    }

    /// Waits until a signal ends it; returns which.
    pub fn wait_signal(&mut self, timeout: Duration) -> i32 {
        let ended = wait_until(timeout, || self.status().is_some());
        assert!(ended, "worker {} still runs after {timeout:?}", self.name);
        let status = self.status().expect("it ended");
        status.signal().unwrap_or_else(|| panic!("worker {} ended with code {:?}", self.name, status.code()))
    }

    /// Returns whether it has ended, without waiting.
    pub fn has_ended(&mut self) -> bool {
        self.status().is_some()
    }

    fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    fn signal(&self, signal: i32) {
        assert!(self.ended.is_none(), "worker {} has ended", self.name);
        broker::signal(self.child.id(), signal);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(LOG_LINES);
            let last: Vec<&str> = log.lines().skip(skipped).collect();
            eprintln!("--- worker {}, {:?}, log {} ---", self.name, self.ended, self.log.display());
            eprintln!("{}", last.join("\n"));
        } else {
            // Files that stay behind only take space.
            let _ = fs::remove_file(&self.log);
            let _ = fs::remove_file(self.log.with_extension("toml"));
        }
    }
}

/// Returns the value of a series in a text of metrics.
pub fn value_of(metrics: &str, series: &str) -> Option<f64> {
    let rest = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    rest.trim().parse().ok()
}
