//! `livesession` turns recording notifications into live sessions. (The essay follows.)

pub mod cli;
pub mod clock;
pub mod config;
pub mod grouping;
pub mod health;
pub mod http;
pub mod index;
pub mod indexer;
pub mod kafka;
pub mod metrics;
pub mod partition;
pub mod projection;
pub mod splice;
pub mod time;
pub mod wire;
pub mod worker;
