//! A real Apache Kafka for tests: one KRaft node on loopback, in a directory of its own, gone with the test run.
//!
//! The jars come through Maven into `target/broker`, once. Ports are taken below the range from which the system gives
//! ports to outgoing connections: a client that reconnects to a killed broker would else, now and then, be given that
//! very port and connect to itself, and the broker could never bind it again.
//!
//! The process is killed by its id when the [`Broker`] is dropped, and by the kernel when the test program dies.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use livesession::clock;

use crate::kafka::support::beside;
use crate::kafka::support::proxy::Proxy;

/// `host:port` of a broker to use instead of one of our own.
pub const GIVEN: &str = "LIVESESSION_TEST_BROKERS";
/// `1`: a broker that cannot be started is a failure, not a reason to ignore the test.
pub const REQUIRE: &str = "LIVESESSION_REQUIRE_BROKER";

const KAFKA_VERSION: &str = "4.3.1";
/// Any 16 bytes in base64: the node is alone.
const CLUSTER_ID: &str = "bGl2ZXNlc3Npb24tdGVzdA";
/// A start takes 2 to 4 s, after `kill -9` up to 12 s on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const MAVEN_POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>livesession</groupId>
  <artifactId>test-broker</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
"#;

/// A broker that tests can stop and start.
pub struct Broker {
    bootstrap: String,
    /// Lines that each start appends to the properties of the node.
    extra: String,
    ports: Ports,
    directory: PathBuf,
    log: PathBuf,
    node: Mutex<Option<Child>>,
    given: bool,
}

#[derive(Clone, Copy)]
struct Ports {
    clients: u16,
    controller: u16,
    /// Where clients connect that are told to come back to `advertised`.
    proxied: u16,
    /// Where a test may put a proxy to `proxied`; else nobody listens.
    advertised: u16,
}

/// The broker that all tests of a run share.
static SHARED: OnceLock<Result<Mutex<Broker>, String>> = OnceLock::new();

/// Returns the shared broker, running; the first one that asks starts it.
///
/// # Errors
///
/// Why there is none: no Java, no Maven, or a node that does not start.
pub fn shared() -> Result<MutexGuard<'static, Broker>, String> {
    let shared = SHARED.get_or_init(|| match std::env::var(GIVEN) {
        Ok(bootstrap) => Ok(Mutex::new(Broker::given(bootstrap))),
        Err(_) => Broker::launch("", &[]).map(Mutex::new),
    });
    let broker = shared.as_ref().map_err(Clone::clone)?.lock().unwrap_or_else(PoisonError::into_inner);
    if broker.is_ours() && broker.child().is_none() {
        // A test failed while it had stopped the node.
        broker.try_start()?;
    }
    Ok(broker)
}

/// Stops the shared broker, if it was started; says where its log is if `failed`, else removes it.
///
/// A static is never dropped, so the end of the run has to do it.
pub fn end_shared(failed: bool) {
    if let Some(Ok(broker)) = SHARED.get() {
        let broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.end();
        if failed {
            eprintln!("broker log: {}", broker.log().display());
        } else if broker.is_ours() {
            // A log that stays behind only takes space.
            let _ = fs::remove_file(broker.log());
        }
    }
}

impl Broker {
    fn given(bootstrap: String) -> Broker {
        Broker {
            bootstrap,
            extra: String::new(),
            ports: Ports { clients: 0, controller: 0, proxied: 0, advertised: 0 },
            directory: PathBuf::new(),
            log: PathBuf::from("(a broker that was given: see its own log)"),
            node: Mutex::new(None),
            given: true,
        }
    }

    /// Starts a node with `extra` lines in its properties, `format_arguments` for its storage.
    ///
    /// `{clients}` and `{controller}` in `extra` stand for the ports, `{directory}` for the node's own directory.
    pub fn launch(extra: &str, format_arguments: &[&str]) -> Result<Broker, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        jars()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kafka-{}-{number}", std::process::id());
        let directory = temporary().join(&name);
        fs::create_dir_all(&directory).map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
        let ports =
            Ports { clients: free_port()?, controller: free_port()?, proxied: free_port()?, advertised: free_port()? };
        let broker = Broker {
            bootstrap: format!("127.0.0.1:{}", ports.clients),
            extra: extra.to_owned(),
            ports,
            log: temporary().join(format!("{name}.log")),
            directory,
            node: Mutex::new(None),
            given: false,
        };
        broker.format(format_arguments)?;
        broker.try_start()?;
        Ok(broker)
    }

    /// Starts a controller, and a broker that is nothing else; returns them in this order.
    ///
    /// A node that is both works from old metadata for a while after it was killed, until its controller half has put it
    /// out: whatever transaction is decided meanwhile may stay without markers for ever ("likely deleted already and hence
    /// can be skipped"). A controller that lives on puts a dead broker out at once.
    pub fn launch_apart(extra: &str) -> Result<(Broker, Broker), String> {
        let controller = "process.roles=controller\n\
                          node.id=2\n\
                          listeners=CTL://127.0.0.1:{clients}\n\
                          advertised.listeners=CTL://127.0.0.1:{clients}\n\
                          controller.quorum.bootstrap.servers=127.0.0.1:{clients}\n";
        let controller = Broker::launch(controller, &[])?;
        let broker = format!(
            "process.roles=broker\n\
             listeners=CLIENTS://127.0.0.1:{{clients}},PROXIED://127.0.0.1:{{proxied}}\n\
             controller.quorum.bootstrap.servers={}\n{extra}",
            controller.bootstrap()
        );
        Ok((controller, Broker::launch(&broker, &[])?))
    }

    /// Returns `host:port` for `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Puts a proxy between the broker and whoever uses [`Proxy::bootstrap`], until it is dropped.
    pub fn proxy(&self) -> Proxy {
        assert!(self.is_ours(), "a broker that was given advertises no port of ours");
        Proxy::start(self.ports.advertised, self.ports.proxied)
    }

    /// Returns whether tests may stop it.
    pub fn is_ours(&self) -> bool {
        !self.given
    }

    /// Returns where the node's log is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Kills the node as a power cut would. Returns when it is gone.
    pub fn kill9(&self) {
        assert!(self.is_ours(), "a broker that was given is not killed");
        if let Some(mut child) = self.child().take() {
            signal(child.id(), libc::SIGKILL);
            child.wait().expect("the child is ours");
        }
    }

    /// Stops the node in order (SIGTERM). Returns when it is gone.
    pub fn stop(&self) {
        assert!(self.is_ours(), "a broker that was given is not stopped");
        if let Some(mut child) = self.child().take() {
            signal(child.id(), libc::SIGTERM);
            child.wait().expect("the child is ours");
        }
    }

    /// Starts the node again, on the same ports and data. Returns when it takes connections.
    pub fn start(&self) {
        self.try_start().expect("the node started before");
    }

    /// Kills the node and removes its data.
    fn end(&self) {
        if self.is_ours() {
            self.kill9();
            // A directory that stays behind only takes space.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn format(&self, arguments: &[&str]) -> Result<(), String> {
        let properties = self.directory.join("server.properties");
        fs::write(&properties, self.properties()).map_err(|error| format!("cannot write properties: {error}"))?;
        let mut command = java();
        command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&properties);
        if !self.extra.starts_with("process.roles=broker\n") {
            command.arg("--standalone");
        }
        run(command.args(arguments), "format the storage")
    }

    fn properties(&self) -> String {
        let Ports { clients, controller, proxied, advertised } = self.ports;
        let data = self.directory.join("data");
        let mut extra = self.extra.clone();
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             listeners=CLIENTS://127.0.0.1:{clients},PROXIED://127.0.0.1:{proxied},CTL://127.0.0.1:{controller}\n\
             advertised.listeners=CLIENTS://127.0.0.1:{clients},PROXIED://127.0.0.1:{advertised}\n\
             listener.security.protocol.map=CLIENTS:PLAINTEXT,PROXIED:PLAINTEXT,CTL:PLAINTEXT\n\
             inter.broker.listener.name=CLIENTS\n\
             controller.listener.names=CTL\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=4\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
             log.cleaner.backoff.ms=1000\n\
             broker.session.timeout.ms=2000\n\
             broker.heartbeat.interval.ms=300\n",
            data.display()
        );
        // A later line wins.
        let directory = self.directory.display().to_string();
        for (name, value) in [
            ("{clients}", &clients.to_string()),
            ("{proxied}", &proxied.to_string()),
            ("{controller}", &controller.to_string()),
            ("{directory}", &directory),
        ] {
            extra = extra.replace(name, value);
        }
        text + &extra
    }

    fn try_start(&self) -> Result<(), String> {
        let mut child = self.child();
        assert!(child.is_none(), "the node is running");
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| format!("cannot open {}: {error}", self.log.display()))?;
        let errors = log.try_clone().map_err(|error| format!("cannot share the log: {error}"))?;
        let mut command = java();
        command.args(["-Dlog4j2.level=info", "kafka.Kafka"]).arg(self.directory.join("server.properties"));
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        die_with_parent(&mut command);
        let started = command.spawn().map_err(|error| format!("cannot start Java: {error}"))?;
        let node = child.insert(started);
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports.clients));
        let mut exit = None;
        let open = wait_until(START_TIMEOUT, || {
            exit = node.try_wait().ok().flatten();
            exit.is_some() || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
        match (open, exit) {
            (true, None) => Ok(()),
            (true, Some(status)) => Err(format!("the broker ended with {status}: see {}", self.log.display())),
            (false, _) => Err(format!("no connection after {START_TIMEOUT:?}: see {}", self.log.display())),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until `condition` holds; returns whether it did before `timeout`.
///
/// Looks every 20 ms: what is waited for here (another process, a broker's background work) cannot notify us.
pub fn wait_until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = clock::instant() + timeout;
    loop {
        if condition() {
            return true;
        }
        if clock::instant() >= deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Fetches the jars, once.
pub fn jars() -> Result<(), String> {
    run(Command::new("java").arg("-version"), "run Java")?;
    let directory = target().join("broker");
    if directory.join(format!("kafka_2.13-{KAFKA_VERSION}.jar")).exists() {
        return Ok(());
    }
    let pom = target().join("test-broker-pom.xml");
    fs::write(&pom, MAVEN_POM).map_err(|error| format!("cannot write {}: {error}", pom.display()))?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    run(maven.arg(format!("-DoutputDirectory={}", directory.display())), "fetch Kafka with Maven")
}

fn java() -> Command {
    let mut command = Command::new("java");
    command.args(["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{}/*", target().join("broker").display()));
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command, what: &str) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot {what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("cannot {what}: {last}"))
}

/// Returns the directory of build products, wherever it is.
fn target() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).to_owned()
}

/// Returns the directory in which tests keep what they write.
pub fn temporary() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Returns a port below the range of outgoing connections that nobody listens on, never the same twice.
pub fn free_port() -> Result<u16, String> {
    const COUNT: u32 = 12_000 / beside::PROCESSES as u32;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // A killed broker comes back to its port, which nobody else may have taken meanwhile.
    let first = 20_000 + beside::number() as u32 * COUNT;
    for _ in 0..COUNT {
        // Programs that run at the same time begin at different places.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = first + (std::process::id().wrapping_mul(31) + step) % COUNT;
        let port = u16::try_from(port).expect("32,000 fits");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(format!("no free port from {first} on"))
}

/// Sends a signal to a child that was not waited for.
pub fn signal(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).expect("a process id fits");
    // SAFETY: takes two integers. The process is a child that was not waited for, so the id is still its own.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "cannot signal process {pid}: {}", io::Error::last_os_error());
}

/// Makes the kernel kill the child when the thread that starts it ends, however that happens.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only this system call is made, which allocates nothing.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}
