//! Readers of whole topics, outside of any group.

pub mod scan;
pub mod tail;
