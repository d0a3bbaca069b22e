//! Runs the binary, and makes input for it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub const EVENING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/examples/evening.ndjson");

/// 2026-03-01T18:00:00Z.
pub const SIX: i64 = 1_772_388_000;

pub fn evening() -> Vec<String> {
    fs::read_to_string(EVENING).unwrap().lines().map(str::to_owned).collect()
}

/// A directory of its own for each test, removed with it.
pub struct Files(PathBuf);

impl Files {
    pub fn new(test: &str) -> Files {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("group-{}-{test}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Files(directory)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn add(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("LIVESESSION"));
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command.arg("group").args(arguments);
    command
}

/// How the command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The sessions that were printed.
    pub fn sessions(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Each session in short: status, stream id, start, end, files.
    pub fn in_short(&self) -> Vec<String> {
        self.sessions().iter().map(in_short).collect()
    }

    #[track_caller]
    pub fn succeeded(self) -> Ended {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }
}

pub fn in_short(session: &Value) -> String {
    let files: Vec<_> =
        session["segments"].as_array().unwrap().iter().map(|file| file["file_id"].as_str().unwrap()).collect();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!(
        "{} {} {} {}..{} {}",
        text(&session["status"]),
        text(&session["close_cause"]),
        text(&session["stream"]["stream_id"]),
        &text(&session["start"])[11..19],
        &text(&session["end"])[11..19],
        files.join(",")
    )
}

pub fn run(arguments: &[&str]) -> Ended {
    run_with(arguments, b"")
}

pub fn run_with(arguments: &[&str], stdin: &[u8]) -> Ended {
    let mut command = command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // The command may end before it has read everything, and may print before it has.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    ended(output)
}

pub fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A recording notification; times in seconds after [`SIX`].
pub fn segment(stream: &str, file: &str, start: i64, end: i64) -> String {
    format!(
        r#"{{"event_type":100,"stream_id":"{stream}","file_id":"{file}","start_time":{},"end_time":{}}}"#,
        SIX + start,
        SIX + end
    )
}

/// A line of kcat around a value.
pub fn kcat(partition: i32, offset: i64, timestamp: i64, value: &str) -> String {
    serde_json::json!({"topic": "recording-notifications", "partition": partition, "offset": offset, "tstype": "create",
        "ts": timestamp, "broker": 1, "headers": ["trace", "7"], "key": "k", "payload": value})
    .to_string()
}
