//! A web server for files, as small as ffmpeg needs it: GET, percent escapes, ranges.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Serves a directory on a port of its own until the process ends, and returns where.
pub fn serve(directory: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let directory = directory.clone();
            // A reader that has seen enough hangs up.
            std::thread::spawn(move || connection.and_then(|connection| answer(&connection, &directory)));
        }
    });
    address
}

fn answer(mut connection: &TcpStream, directory: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut from = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.split('-').next().and_then(|first| first.parse::<usize>().ok());
        }
    }
    let words: Vec<&str> = request.split(' ').collect();
    // A blank in an address makes four words of the line, which is no request.
    let [_, path, _] = words.as_slice() else {
        return connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let Ok(body) = std::fs::read(directory.join(decoded(path).trim_start_matches('/'))) else {
        return connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let (status, first) = match from {
        Some(from) if from < body.len() => ("206 Partial Content", from),
        Some(_) => ("416 Range Not Satisfiable", body.len()),
        None => ("200 OK", 0),
    };
    let (last, all) = (body.len().saturating_sub(1), body.len());
    let range = format!("Content-Range: bytes {first}-{last}/{all}\r\n");
    let range = if from.is_some() { range } else { String::new() };
    let head = format!(
        "HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n",
        all - first
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(&body[first..])
}

fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
