//! The speed of `group`, against a bare loop that only reads and decodes the lines.
//!
//! The baseline reads the same file through a buffer, line by line, and lets serde_json borrow the fields that every segment
//! has; it groups nothing and prints nothing. `group` is the whole command: process, grouping, sessions written to a null
//! device. Both run in alternating rounds and the medians are compared. `cargo bench --bench group`; run as a test it does one short round.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use livesession::clock;
use serde::Deserialize;

const STREAMS: u64 = 500;

#[derive(Deserialize)]
struct Bare<'a> {
    event_type: i64,
    #[serde(borrow)]
    app: Option<&'a str>,
    appname: Option<&'a str>,
    stream_id: &'a str,
    file_id: &'a str,
    file_format: Option<&'a str>,
    start_time: i64,
    end_time: i64,
    duration: Option<i64>,
    file_size: Option<i64>,
    video_url: Option<&'a str>,
}

/// Writes notifications as they arrive from streams that record half hours, with an hour's pause after every fifth.
fn write_input(path: &Path, records: u64) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    for number in 0..records {
        let (stream, index) = (number % STREAMS, number / STREAMS);
        let start = 1_772_388_000 + stream + index * 1_800 + index / 5 * 3_600;
        let (end, file) = (start + 1_799, 5_285_890_000_000_000_000 + number);
        writeln!(
            out,
            concat!(
                r#"{{"app":"push.example.com","appid":1250000004,"appname":"live","callback_ext":"{{\"video_codec\":\"h264\"}}","#,
                r#""channel_id":"room-{stream}","duration":1799,"end_time":{end},"end_time_usec":500000,"event_type":100,"#,
                r#""file_format":"mp4","file_id":"{file}","file_size":{size},"media_start_time":80,"record_bps":0,"#,
                r#""record_file_id":"{file}","sign":"2fe45059e46cc7326c8bf400358d578b","start_time":{start},"#,
                r#""start_time_usec":250000,"stream_id":"room-{stream}","stream_param":"","t":{expires},"#,
                r#""task_id":"1818000000000000404","video_url":"http://1250000004.vod.example.com/cc33/{file}/f0.mp4"}}"#
            ),
            stream = stream,
            end = end,
            file = file,
            size = 60_110_022 + number,
            start = start,
            expires = end + 605,
        )
        .unwrap();
    }
    out.flush().unwrap();
}

fn bare(path: &Path) -> u64 {
    let mut lines = BufReader::with_capacity(1 << 18, File::open(path).unwrap());
    let (mut line, mut records) = (Vec::new(), 0);
    while lines.read_until(b'\n', &mut line).unwrap() > 0 {
        let found: Bare<'_> = serde_json::from_slice(&line).unwrap();
        assert!(found.event_type == 100 && found.end_time >= found.start_time);
        black_box((found.app, found.appname, found.stream_id, found.file_id, found.file_format));
        black_box((found.duration, found.file_size, found.video_url));
        records += 1;
        line.clear();
    }
    records
}

fn group(path: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
    command.arg("group").arg(path).args(["--format", "ndjson"]).args(arguments);
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn timed(work: impl FnOnce()) -> f64 {
    let begin = clock::instant();
    work();
    begin.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Removes the file whatever happens.
struct Input(PathBuf);

impl Drop for Input {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn main() {
    let thorough = std::env::args().any(|argument| argument == "--bench");
    let (rounds, records) = if thorough { (5, 2_000_000) } else { (1, 5_000) };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("group-bench-{}.ndjson", std::process::id()));
    let input = Input(path);
    write_input(&input.0, records);
    let bytes = fs::metadata(&input.0).unwrap().len() / records;
    let modes = [("set", &[][..]), ("arrival order", &["--arrival-order"])];
    let (mut base, mut ours) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        base.push(timed(|| assert_eq!(bare(&input.0), records)));
        for ((_, arguments), times) in modes.iter().zip(&mut ours) {
            times.push(timed(|| group(&input.0, arguments)));
        }
    }
    let base = median(&mut base);
    println!("{records} records of {bytes} bytes: bare loop {base:.2} s");
    for ((name, _), times) in modes.iter().zip(&mut ours) {
        let spread = times.iter().copied().fold(f64::MIN, f64::max) - times.iter().copied().fold(f64::MAX, f64::min);
        let ours = median(times);
        println!("group as {name}: {ours:.2} s (spread {spread:.2}), speed ratio {:.2}", base / ours);
    }
}
