//! A checked configuration and what it means to each part; whether a cluster fits it.

pub mod capacity;
pub mod check;
pub mod clients;
pub mod indexing;
pub mod sample;
pub mod startup;
pub mod state;
pub mod topic;
pub mod topics;
