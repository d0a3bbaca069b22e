//! Splice plans, played as they say themselves, by the real `ffmpeg`.
//!
//! Makes films with a real encoder, has them grouped and planned by the program, runs the command that stands in the plan, and
//! counts pictures and seconds of sound. Where `ffmpeg`, `ffprobe` or the encoder is missing every test is reported as ignored,
//! by name: a plan that was never played is not known to work.

mod evening;
mod films;
mod host;
mod played;

use std::process::Command;

use libtest_mimic::Trial;

/// Returns the tests that play a plan.
pub fn trials() -> Vec<Trial> {
    let missing = missing();
    if let Some(tool) = missing {
        eprintln!("{tool} is not installed: the tests that play a plan are ignored");
    }
    let trial = |test: &'static crate::Test| {
        let name = test.name.rsplit_once("::").map_or(test.name, |(_, name)| name);
        let body = || {
            (test.body)();
            Ok(())
        };
        Trial::test(format!("ffmpeg::{name}"), body).with_ignored_flag(missing.is_some())
    };
    played::TESTS.iter().map(trial).collect()
}

/// Returns what the tests need and this machine lacks.
fn missing() -> Option<&'static str> {
    if let Some(tool) =
        ["ffmpeg", "ffprobe"].into_iter().find(|tool| Command::new(tool).arg("-version").output().is_err())
    {
        return Some(tool);
    }
    let encoders = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).output().ok()?;
    let has_encoder = String::from_utf8_lossy(&encoders.stdout).contains(" libx264 ");
    if has_encoder { None } else { Some("ffmpeg with libx264") }
}
