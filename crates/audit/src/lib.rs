//! The audit of a deployment: what its topics hold, compared with what they should hold.
//!
//! Shares no code with the program that it audits, which its `Cargo.toml` shows: it has its own decoder, its own batch job,
//! its own names of sessions and its own reader of the changelog, all written from the description of the formats. The
//! simulation runs it over simulated topics, and operators run it as a program over real ones.

pub mod accept;
pub mod arguments;
pub mod audit;
pub mod changelog;
pub mod cluster;
pub mod finish;
pub mod index;
pub mod name;
pub mod notification;
pub mod record;
pub mod report;
pub mod sessions;
pub mod state;
pub mod sweep;
#[cfg(test)]
mod tests;
