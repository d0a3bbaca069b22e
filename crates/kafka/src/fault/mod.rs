//! Faults that a test injects: places to fail at, protections to take away.

pub mod failpoint;
pub mod weakness;
