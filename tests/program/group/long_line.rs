//! Memory does not grow with a line, nor with a replay.
//!
//! `LIVESESSION_LONG_LINE_MB=1024 cargo test --test program group::long_line` tries a gigabyte.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use super::support::{Files, command, ended, segment};

const DAY: i64 = 86_400;

fn long_line_mb() -> usize {
    std::env::var("LIVESESSION_LONG_LINE_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

/// The greatest memory that a process has had so far.
fn peak_kb(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Feeds a replay with `write`, then waits for the session of a last notification; returns the peak and the end.
fn feed(arguments: &[&str], write: impl FnOnce(&mut dyn Write) + Send + 'static) -> (u64, super::support::Ended) {
    let arguments = [arguments, &["--all-revisions"]].concat();
    let mut child =
        command(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        write(&mut stdin);
        let last = 1_000 * DAY;
        writeln!(stdin, "{}\n{}", segment("last", "1", last, last), segment("last", "2", last + DAY, last + DAY))
            .unwrap();
        stdin
    });
    // All that was fed has been read once the session of the last notification but one is here, while the input is open.
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(r#""stream_id":"last""#) {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
    }
    let peak = peak_kb(&child);
    drop(writer.join().unwrap());
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    (peak, ended(child.wait_with_output().unwrap()))
}

fn long_line(out: &mut dyn Write) {
    let block = [b'x'; 1 << 20];
    (0..long_line_mb()).for_each(|_| out.write_all(&block).unwrap());
    out.write_all(b"\r\n").unwrap();
}

fn long_line_is_not_held() {
    for form in ["raw", "json"] {
        let (peak, ended) = feed(&["--from", form], long_line);
        assert!(ended.stderr.contains("refused: 1 too_large"), "{}", ended.stderr);
        assert!(peak < 48 * 1_024, "{form}: {peak} kB");
    }
}

fn long_line_is_a_dead_letter_with_its_beginning_and_its_length() {
    let files = Files::new("long-line");
    let dead = files.path("dead");
    let (peak, ended) = feed(&["--dead-letters", &dead], long_line);
    assert!(ended.stderr.contains("refused: 1 too_large"), "{}", ended.stderr);
    assert!(peak < 160 * 1_024, "{peak} kB");
    let text = fs::read_to_string(&dead).unwrap();
    assert!(text.contains(&format!(r#""livesession-dlq-cut","{}""#, long_line_mb() << 20)));
    assert_eq!(text.matches('x').count(), 16 << 20);
}

fn replay_holds_what_is_alive() {
    let (peak, ended) = feed(&[], |out| {
        // A year of a stream with a session an hour: eight hundred kilobytes a week, if it were kept.
        for hour in 0..24 * 365 * 2 {
            let file = format!("{hour}-{}", "y".repeat(1_000));
            writeln!(out, "{}", segment("a", &file, hour * 3_600, hour * 3_600 + 600)).unwrap();
        }
    });
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(peak < 40 * 1_024, "{peak} kB");
}

crate::tests! {
    long_line_is_not_held,
    long_line_is_a_dead_letter_with_its_beginning_and_its_length,
    replay_holds_what_is_alive,
}
