//! Readers of whole topics, outside of any group.

pub(crate) mod failure;
pub mod log_ends;
pub mod scan;
pub mod tail;
