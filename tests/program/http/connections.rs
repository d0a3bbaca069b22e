//! Time limits of connections that are silent, slow or open for long.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use livesession::clock;
use livesession::http::server::Limits;

use super::support::{Server, session};

crate::tests![
    slow_head_is_given_up_however_steadily_it_comes,
    silent_connection_is_closed_before_its_first_request_and_after,
    body_that_never_comes_holds_nothing,
    answer_that_is_not_taken_is_given_up,
    answer_that_is_taken_late_is_whole,
    pipelined_requests_are_answered_in_order,
    oldest_connection_makes_room_for_a_probe,
    unread_answers_make_room_for_a_probe,
];

const HEAD: Duration = Duration::from_millis(400);
const LIMITS: Limits = Limits { connections: 8, head: HEAD, answer: Duration::from_secs(60) };

/// For what is over in a moment, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than a socket takes that nobody reads.
const PIPELINED: usize = 40;

fn server(name: &str, limits: Limits) -> Server {
    let files: Vec<(i64, i64)> = (0..4_000).map(|n| (n * 10, n * 10 + 9)).collect();
    Server::within(limits, &format!("connections-{name}"), &[session(1, "room-7", &files)])
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(stream: &mut TcpStream, bytes: &str) {
    stream.write_all(bytes.as_bytes()).unwrap();
}

/// Reads one answer with a `Content-Length`, and returns its head and body.
fn read_answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

/// Waits until the other side has closed the connection, and returns what it still sent.
fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("not closed after {PATIENCE:?}: {error}"),
        _ => rest,
    }
}

/// Returns a series of the server's metrics.
fn metric(server: &Server, series: &str) -> f64 {
    let text = server.metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

fn closed(server: &Server, reason: &str) -> f64 {
    metric(server, &format!("livesession_http_connections_closed_total{{reason=\"{reason}\"}}"))
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::instant() + PATIENCE;
    while !condition() {
        assert!(clock::instant() < deadline, "not after {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A peer that sends a byte now and then would never be idle.
fn slow_head_is_given_up_however_steadily_it_comes() {
    let server = server("slow-head", LIMITS);
    let mut stream = connect(&server);
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let begin = clock::instant();
    send(&mut stream, "GET /livez HTTP/1.1\r\nx: ");
    loop {
        let sent = stream.write_all(b"x");
        match stream.read(&mut [0; 64]) {
            Ok(0) => break,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            other => panic!("{other:?}, {sent:?}"),
        }
        assert!(begin.elapsed() < PATIENCE, "still open");
    }
    assert!(begin.elapsed() >= HEAD, "{:?} is too soon", begin.elapsed());
    assert_eq!(closed(&server, "head"), 1.0);
}

fn silent_connection_is_closed_before_its_first_request_and_after() {
    let server = server("silent", LIMITS);
    let begin = clock::instant();
    let (mut silent, mut used) = (connect(&server), connect(&server));
    for _ in 0..3 {
        send(&mut used, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(read_answer(&mut used).1, b"ok\n", "a connection is used again");
    }
    let idle: Instant = clock::instant();
    assert_eq!(read_to_close(&mut silent), b"");
    assert!(begin.elapsed() >= HEAD, "{:?} is too soon", begin.elapsed());
    assert_eq!(read_to_close(&mut used), b"");
    assert!(idle.elapsed() >= HEAD / 2, "{:?} is too soon", idle.elapsed());
    wait_until("the gauge is back at 0", || metric(&server, "livesession_http_connections") == 0.0);
    assert_eq!(closed(&server, "head"), 2.0);
}

fn body_that_never_comes_holds_nothing() {
    let server = server("slow-body", LIMITS);
    for method in ["GET", "POST"] {
        let mut stream = connect(&server);
        send(&mut stream, &format!("{method} /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx"));
        let (head, _) = read_answer(&mut stream);
        assert!(head.starts_with(if method == "GET" { "http/1.1 200" } else { "http/1.1 405" }), "{head}");
        assert_eq!(read_to_close(&mut stream), b"");
    }
    wait_until("nothing is open", || metric(&server, "livesession_http_connections") == 0.0);
}

/// Sends more requests than a socket can hold answers of.
fn ask_for_much(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    let request = "GET /api/v1/sessions?include=segments HTTP/1.1\r\nHost: x\r\n\r\n";
    send(&mut stream, &request.repeat(PIPELINED));
    stream
}

fn answer_that_is_not_taken_is_given_up() {
    let limits = Limits { answer: Duration::from_millis(600), ..LIMITS };
    let server = server("unread", limits);
    let mut stream = ask_for_much(&server);
    wait_until("the connection is given up", || closed(&server, "answer") == 1.0);
    assert_eq!(metric(&server, "livesession_http_connections"), 0.0);
    let got = read_to_close(&mut stream).len();
    let whole = server.get("/api/v1/sessions?include=segments").body.len() * PIPELINED;
    assert!(got < whole, "{got} bytes of {whole} were kept for a peer that does not read");
}

/// The limit for a head does not run while an answer is being taken.
fn answer_that_is_taken_late_is_whole() {
    let server = server("late", LIMITS);
    let mut stream = ask_for_much(&server);
    // The first answers were taken by the socket, so the rest waits for us. Two others are idle for the limit meanwhile.
    for _ in 0..2 {
        assert_eq!(read_to_close(&mut connect(&server)), b"");
    }
    assert_eq!(closed(&server, "head"), 2.0);
    for number in 0..PIPELINED {
        let (head, body) = read_answer(&mut stream);
        assert!(head.starts_with("http/1.1 200") && body.ends_with(b"}"), "answer {number}: {head}");
        assert!(body.len() > 500_000, "{} bytes are too few for this test", body.len());
    }
    assert_eq!(closed(&server, "answer"), 0.0);
}

fn pipelined_requests_are_answered_in_order() {
    let server = server("pipelined", LIMITS);
    let mut stream = connect(&server);
    let paths = ["/livez", "/api/v1/", "/nothing", "/readyz", "/livez"];
    send(&mut stream, &paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).concat());
    let codes = paths.map(|_| read_answer(&mut stream).0[9..12].to_owned());
    assert_eq!(codes, ["200", "200", "404", "503", "200"]);
}

fn oldest_connection_makes_room_for_a_probe() {
    let server = server("room", Limits { head: PATIENCE, ..LIMITS });
    let half_heads: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = connect(&server);
            send(&mut stream, "GET /livez HTTP/1.1\r\nHo");
            stream
        })
        .collect();
    for probe in 1..=5 {
        assert_eq!(server.get("/livez").status, 200);
        assert_eq!(server.get("/metrics").status, 200);
        assert!(metric(&server, "livesession_http_connections") <= 8.0, "probe {probe}");
    }
    // Of 20 and 10 probes those are left that fit; probes leave the room that they made.
    let left = half_heads.into_iter().map(|mut stream| {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut [0; 9]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    });
    let left: Vec<bool> = left.collect();
    assert_eq!(left, [[false; 13].as_slice(), &[true; 7]].concat(), "the oldest have made room");
    assert_eq!(closed(&server, "room"), 13.0);
}

fn unread_answers_make_room_for_a_probe() {
    let server = server("unread-room", Limits { connections: 4, ..LIMITS });
    let greedy: Vec<TcpStream> = (0..12).map(|_| ask_for_much(&server)).collect();
    for _ in 0..3 {
        let begin = clock::instant();
        assert_eq!(server.get("/livez").status, 200);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
    assert!(metric(&server, "livesession_http_connections") <= 4.0);
    assert!(closed(&server, "room") >= 8.0);
    drop(greedy);
}
