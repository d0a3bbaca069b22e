//! The program under a low limit of open files, and a peer that opens more connections than that.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use livesession::clock;
use livesession_index::{Advance, Origin, Writer};

use super::support::{id, session};

crate::tests![half_heads_take_neither_probes_nor_the_index];

const OPEN_FILES: u64 = 512;
const CONNECTIONS: usize = 600;
/// What the bound is under that limit, with the indexer as the only loop.
const BOUND: f64 = 320.0;
/// Files that an attempt of the indexer opens while it lasts: the clients of librdkafka, their sockets, and the index.
const ATTEMPT: f64 = 40.0;
/// The time for a head.
const HEAD: Duration = Duration::from_secs(20);
/// For a probe: what a supervisor waits.
const PROBE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(40);

/// `livesession index` without a broker: it serves what is in the file, and opens the file every few seconds.
struct Program {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Program {
    fn start() -> Program {
        let folder = std::env::temp_dir().join(format!("livesession-crowd-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fill(&folder.join("index.db"));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "[kafka]\nbrokers = [\"{nobody}\"]\n[index]\npath = {:?}\n[http]\nlisten = \"{address}\"\n",
            folder.join("index.db")
        );
        fs::write(folder.join("livesession.toml"), text).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
        command.arg("index").arg("--config").arg(folder.join("livesession.toml")).env_clear();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let prepare = || {
            let limit = libc::rlimit { rlim_cur: OPEN_FILES, rlim_max: OPEN_FILES };
            // SAFETY: `limit` is valid for the call.
            let limited = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
            // SAFETY: no memory is involved.
            let dies = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            if limited == 0 && dies == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // SAFETY: between fork and exec only these system calls are made, which allocate nothing.
        unsafe { command.pre_exec(prepare) };
        Program { child: command.spawn().unwrap(), address, folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Asks for a path; `None` if there is no whole answer in time.
    fn get(&self, path: &str, timeout: Duration) -> Option<(u16, String)> {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.address, timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics", PATIENCE).unwrap_or_else(|| panic!("no metrics\n{}", self.log()));
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    /// Asks what supervisors, Prometheus and people ask; everything has to be answered soon.
    fn check(&self, when: &str) {
        for (path, status, part) in [
            ("/livez", 200, "ok"),
            // The index is open; that no broker answers is told by its lag.
            ("/readyz", 200, "ok"),
            ("/metrics", 200, "livesession_http_connections "),
            ("/api/v1/sessions", 200, id(1).as_str()),
            ("/", 200, "room-7"),
        ] {
            let begin = clock::instant();
            let answer = self.get(path, PROBE);
            let took = begin.elapsed();
            let is_right = answer.as_ref().is_some_and(|(code, body)| *code == status && body.contains(part));
            assert!(is_right && took < PROBE, "{when}: {path} after {took:?}: {answer:?}\n{}", self.log());
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn fill(path: &Path) {
    let defaults = livesession::config::Config::default();
    let origin = Origin { topic: defaults.topics.output, source_topic: defaults.topics.input };
    let records = [session(1, "room-7", &[(0, 9)])];
    let advance = Advance { topic_id: "t".to_owned(), partition: 0, from: None, to: 1 };
    Writer::open(path, &origin).unwrap().apply(&records, &[advance]).unwrap();
}

fn wait_until(what: &str, program: &Program, mut condition: impl FnMut() -> bool) {
    let deadline = clock::instant() + PATIENCE;
    while !condition() {
        assert!(clock::instant() < deadline, "not after {PATIENCE:?}: {what}\n{}", program.log());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Lets this process open enough files for its side of the connections.
fn allow_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

fn half_heads_take_neither_probes_nor_the_index() {
    allow_files();
    let mut program = Program::start();
    wait_until("it is ready", &program, || program.get("/readyz", PATIENCE).is_some_and(|(code, _)| code == 200));
    program.check("before");
    let own_files = program.metric("process_open_fds");
    let waits = |program: &Program| program.log().matches("indexer waits for Kafka").count();

    let mut half_heads = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect_timeout(&program.address, PATIENCE).unwrap();
        // One that has made room already may refuse it.
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: te");
        half_heads.push(stream);
        if number % 50 == 0 {
            program.check(&format!("with {number} connections"));
        }
    }
    let last = clock::instant();
    program.check("with all connections");
    let open = program.metric("livesession_http_connections");
    assert!(open > BOUND - 10.0 && open <= BOUND, "{open} are open");
    let files = program.metric("process_open_fds");
    assert!(files <= own_files + BOUND + ATTEMPT, "{files} files are open, {own_files} before");
    let made_room = program.metric("livesession_http_connections_closed_total{reason=\"room\"}");
    assert!(made_room >= CONNECTIONS as f64 - BOUND, "{made_room} made room");

    // Each attempt of the indexer opens the file: two more, while all connections are in use.
    let before = waits(&program);
    wait_until("the indexer opened the index twice more", &program, || waits(&program) >= before + 2);
    program.check("while the indexer opened the index");
    assert_eq!(program.child.try_wait().unwrap(), None, "{}", program.log());

    for mut stream in half_heads {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let read = stream.read(&mut [0; 64]);
        let is_closed =
            matches!(&read, Ok(0)) || matches!(&read, Err(error) if error.kind() == ErrorKind::ConnectionReset);
        assert!(is_closed, "{read:?} after {:?}", last.elapsed());
    }
    assert!(last.elapsed() < HEAD + Duration::from_secs(10), "the last was closed after {:?}", last.elapsed());
    program.check("after");
    assert_eq!(program.metric("livesession_http_connections"), 1.0, "only the one that asks");
    assert!(program.metric("process_open_fds") <= own_files + ATTEMPT);
    assert_eq!(program.child.try_wait().unwrap(), None, "{}", program.log());
}
