//! `livesession group`: notifications from files to sessions, without Kafka.

pub mod input;
mod source;
mod split;
