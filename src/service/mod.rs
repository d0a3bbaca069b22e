//! A process that serves: loops on threads, signals, systemd, HTTP, log lines.

pub mod logging;
pub mod serve;
pub mod supervisor;
