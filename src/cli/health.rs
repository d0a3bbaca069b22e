//! `livesession health`: asks the process on this host whether it is alive.
//!
//! For images without a shell and without curl. It speaks just enough HTTP for one question, since a client library would
//! be the largest part of this program that is never used otherwise.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::io::flags::AllSettings;
use super::io::output::Output;
use crate::exit::{Exit, Failure};
use crate::http::health::LIVEZ;

/// How long connecting, and each read and write, may take. Supervisors give a probe some seconds in all.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that is read. One line for each loop is far less.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Asks the process on this host whether it is alive: exit 0 if it is, 1 if not or if nobody answers.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Configuration file, for `http.listen` [env: LIVESESSION_CONFIG; default: /etc/livesession/livesession.toml, if it
    /// exists]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,

    /// Where to ask. With it no configuration is read
    #[arg(long = "http.listen", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let listen = match args.listen {
        Some(listen) => listen,
        None => AllSettings::without_flags(args.config).load()?.config.http.listen,
    };
    let address = reachable(listen);
    let answer = ask(address, LIVEZ)
        .map_err(|error| Failure::caused_by(Exit::NotFound, format!("could not ask {LIVEZ} at {address}"), error))?;
    out.text(&answer.body)?;
    Ok(if answer.status == 200 { Exit::Ok } else { Exit::NotFound })
}

/// Returns where to ask a process that listens at `listen`: "everywhere" is no address, so the loopback of its family.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, listen.port())
}

/// What was answered.
struct Answer {
    status: u16,
    body: String,
}

fn ask(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // 1.0: the answer comes in one piece, and its end is the end of the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    match (status, text.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok(Answer { status, body: body.to_owned() }),
        _ => Err(io::Error::other("answer is not HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one question with `answer`, and returns what the command made of it.
    fn exit_of(answer: &'static str) -> Result<Exit, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            let mut byte = [0];
            while !question.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                question.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(question).unwrap()
        });
        let result = run(Args { config: None, listen: Some(listen) }, &mut Output::to(io::sink()));
        let question = server.join().unwrap();
        assert!(question.starts_with("GET /livez HTTP/1.0\r\nHost: 127.0.0.1:"), "{question}");
        result
    }

    #[test]
    fn only_200_is_healthy() {
        assert_eq!(exit_of("HTTP/1.1 200 OK\r\n\r\nok\n").unwrap(), Exit::Ok);
        assert_eq!(exit_of("HTTP/1.1 503 Service Unavailable\r\n\r\nfailed\n").unwrap(), Exit::NotFound);
        assert_eq!(exit_of("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Exit::NotFound);
    }

    #[test]
    fn something_else_on_the_port_is_not_healthy() {
        for answer in ["", "SSH-2.0-something\r\n", "HTTP/1.1 200 OK\r\n"] {
            let failure = exit_of(answer).unwrap_err();
            assert_eq!(failure.exit, Exit::NotFound, "{answer:?}");
            assert!(failure.to_string().contains("caused by: answer is not HTTP"), "{failure}");
        }
    }

    #[test]
    fn nobody_there_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        let failure = run(Args { config: None, listen: Some(listen) }, &mut Output::to(io::sink())).unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.to_string().starts_with(&format!("error: could not ask /livez at {listen}")), "{failure}");
    }

    #[test]
    fn a_process_that_listens_everywhere_is_asked_at_its_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
