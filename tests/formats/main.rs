//! Bytes in and out: notifications, session records, dead letters, changelogs of every version, damaged input.

mod contracts;
mod fuzz;
#[path = "../support/golden.rs"]
mod golden;
mod notifications;
mod upgrades;
