//! The progress of long input: a bar on a terminal, nothing in a file.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::group::support::{command, segment};

/// Returns both ends of a new terminal, 80 columns wide: ours, the program's.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the numbers are written on success; a name and settings are not asked for.
    let result = unsafe { libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null(), &size) };
    assert_eq!(result, 0);
    // SAFETY: both are open and nobody else's.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// Starts grouping from a pipe, with a terminal as standard error.
fn start() -> (Child, ChildStdin, File) {
    let (screen, theirs) = terminal();
    let mut child = command(&[]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(theirs).spawn().unwrap();
    let pipe = child.stdin.take().unwrap();
    (child, pipe, screen)
}

/// Adds to `shown` what the program says until it ends, or until it has said `what`.
fn read_until(screen: &mut File, shown: &mut String, what: Option<&str>) {
    let mut bytes = [0; 1_024];
    while what.is_none_or(|what| !shown.contains(what)) {
        // A terminal whose program has gone is an error to read from, not an end.
        let Ok(length @ 1..) = screen.read(&mut bytes) else { return };
        shown.push_str(str::from_utf8(&bytes[..length]).unwrap());
    }
}

fn long_input_shows_a_bar_that_goes_away() {
    let (mut child, mut pipe, mut screen) = start();
    let (seen, is_seen) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        let mut number = 0;
        // The bar comes after a second, at the next of so many records.
        while is_seen.recv_timeout(Duration::from_millis(100)).is_err() {
            for _ in 0..4_096 {
                let line = segment("room", &format!("f-{number}"), number, number + 1);
                writeln!(pipe, "{line}").unwrap();
                number += 1;
            }
        }
        number
    });
    let mut shown = String::new();
    read_until(&mut screen, &mut shown, Some(" records"));
    seen.send(()).unwrap();
    let number = writer.join().unwrap();
    assert!(shown.contains("MiB, ") && !shown.contains(" 0 B"), "{shown:?}");
    read_until(&mut screen, &mut shown, None);
    assert!(child.wait().unwrap().success());
    // The line is cleared before the summary, which stays.
    let (_, summary) = shown.rsplit_once("\u{1b}[2K").unwrap();
    assert!(summary.starts_with(&format!("read {number} = {number} accepted")), "{shown:?}");
}

fn short_input_shows_no_bar() {
    let (mut child, mut pipe, mut screen) = start();
    writeln!(pipe, "{}", segment("room", "f", 0, 1)).unwrap();
    drop(pipe);
    let mut shown = String::new();
    read_until(&mut screen, &mut shown, None);
    assert!(child.wait().unwrap().success());
    assert!(shown.starts_with("read 1 = 1 accepted") && !shown.contains('\u{1b}'), "{shown:?}");
}

crate::tests! {
    long_input_shows_a_bar_that_goes_away,
    short_input_shows_no_bar,
}
