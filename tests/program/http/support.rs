//! A server over an index, and a client that sends what it is told, however wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use livesession::clock;
use livesession::health::Health;
use livesession::http::api::Store;
use livesession::http::server::{self, Limits};
use livesession::http::{health as probes, site};
use livesession::metrics::{Labels, Metrics};
use livesession_formats::session::{SessionRecord, decode};
use livesession_index::{Advance, Freshness, Origin, Writer};
use serde_json::{Value, json};

/// A server that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub freshness: Arc<Freshness>,
    pub metrics: Arc<Metrics>,
    directory: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Server {
    /// Serves an index of `records`; without any there is no file either.
    pub fn new(name: &str, records: &[SessionRecord]) -> Server {
        Server::within(Limits::of_process(1), name, records)
    }

    /// The same, within other limits than those of a process.
    pub fn within(limits: Limits, name: &str, records: &[SessionRecord]) -> Server {
        let directory = std::env::temp_dir().join(format!("livesession-http-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let freshness = Arc::new(Freshness::default());
        let store = Store::new(directory.join("index.db"), Arc::clone(&freshness));
        let metrics = Arc::new(Metrics::new(Labels::default()));
        let health = Arc::new(Health::new(&metrics, 0, true, clock::now()));
        let router = probes::router(health, Arc::clone(&metrics)).merge(site::router(store));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let counted = Arc::clone(&metrics);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = server::serve(listener, router, limits, counted, std::future::pending()) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().unwrap();
        let server = Server { address, freshness, metrics, directory, stop: Some(stop), thread: Some(thread) };
        if !records.is_empty() {
            server.index(records);
        }
        server
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join("index.db")
    }

    /// Adds records to the index.
    pub fn index(&self, records: &[SessionRecord]) {
        let origin = Origin { topic: "live-sessions".to_owned(), source_topic: "recording-notifications".to_owned() };
        let mut writer = Writer::open(&self.path(), &origin).unwrap();
        let from = writer.offsets().unwrap().first().map(|(_, _, next)| *next);
        let to = from.unwrap_or(0) + i64::try_from(records.len()).unwrap();
        writer.apply(records, &[Advance { topic_id: "t".to_owned(), partition: 0, from, to }]).unwrap();
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    /// Sends a request line as it is; `headers` are whole lines.
    pub fn send(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.try_send(method, path, headers).unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// The same; `None` if the connection was cut.
    pub fn try_send(&self, method: &str, path: &str, headers: &str) -> Option<Answer> {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
        let text = String::from_utf8(self.exchange(request.as_bytes(), false)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Answer { status, headers, body: body.to_owned() })
    }

    /// Sends bytes as they are and says that there are no more.
    pub fn send_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.exchange(bytes, true)
    }

    /// Sends bytes and returns what comes until the connection ends.
    fn exchange(&self, bytes: &[u8], is_all: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let mut answer = Vec::new();
        // The server may answer, and cut the connection, before it has read everything.
        let mut sent = stream.write_all(bytes);
        if is_all {
            sent = sent.and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        }
        let read = stream.read_to_end(&mut answer);
        assert!(sent.is_err() || read.is_ok() || !answer.is_empty(), "{read:?}");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Returns the id of a test session.
pub fn id(number: u32) -> String {
    format!("00000000-0000-5000-8000-{number:012}")
}

/// Makes a closed session of a stream, from one second of 2026-03-01 to another, with a file for each pair.
pub fn session(number: u32, stream_id: &str, files: &[(i64, i64)]) -> SessionRecord {
    let (start, end) = (files.iter().map(|file| file.0).min().unwrap(), files.iter().map(|file| file.1).max().unwrap());
    let mut gaps = Vec::new();
    let mut reached = start;
    for (from, to) in files {
        if *from > reached {
            gaps.push(json!({"start": time(reached), "end": time(*from), "duration_ms": (from - reached) * 1_000}));
        }
        reached = reached.max(*to);
    }
    let silent: i64 = gaps.iter().map(|gap| gap["duration_ms"].as_i64().unwrap()).sum();
    let segments: Vec<Value> = files
        .iter()
        .enumerate()
        .map(|(index, (from, to))| {
            json!({
                "file_id": format!("{number}-{index}"), "url": format!("https://vod.example.com/{number}-{index}.mp4"),
                "format": "mp4", "task_id": null, "rendition": 0, "start": time(*from), "end": time(*to),
                "duration_ms": (to - from) * 1_000, "media_ms": null, "size_bytes": 1_000, "anomalies": [],
                "offset": index
            })
        })
        .collect();
    let key = |part: &str| part.replace('%', "%25").replace('/', "%2F");
    let record = json!({
        "version": 1, "session_id": id(number), "revision": 1, "status": "closed", "merged_into": null, "continues": null,
        "close_cause": "watermark",
        "stream": {"key": format!("a/b/{}", key(stream_id)), "app": "a", "appname": "b", "stream_id": stream_id},
        "start": time(start), "end": time(end), "duration_ms": (end - start) * 1_000,
        "recorded_ms": (end - start) * 1_000 - silent, "gaps": gaps,
        "renditions": [{"format": "mp4", "template_id": null, "bitrate_kbps": null, "segments": files.len(),
            "recorded_ms": (end - start) * 1_000 - silent, "size_bytes": 1_000 * files.len()}],
        "segments": segments,
        "source": {"topic": "recording-notifications", "partition": 0, "first_offset": 0, "last_offset": 9},
        "watermark": time(end)
    });
    decode(record.to_string().as_bytes()).unwrap()
}

/// Returns the same session of files of another format.
pub fn with_format(mut record: SessionRecord, format: &str) -> SessionRecord {
    for rendition in &mut record.renditions {
        rendition.format = Some(format.to_owned());
    }
    for segment in &mut record.segments {
        segment.format = Some(format.to_owned());
    }
    record
}

/// Returns the same session as withdrawn into another.
pub fn withdrawn(mut record: SessionRecord, into: u32) -> SessionRecord {
    let mut value = serde_json::to_value(&record).unwrap();
    value["revision"] = json!(record.revision + 1);
    value["status"] = json!("withdrawn");
    value["merged_into"] = json!(id(into));
    value["close_cause"] = Value::Null;
    for list in ["gaps", "renditions", "segments"] {
        value[list] = json!([]);
    }
    record = decode(value.to_string().as_bytes()).unwrap();
    record
}

/// Returns a second of 2026-03-01, or of a day after or before it.
pub fn time(second: i64) -> String {
    const DAY_MS: i64 = 1_772_323_200_000;
    livesession_grouping::time::Timestamp::from_ms(DAY_MS + second * 1_000).unwrap().to_string()
}
