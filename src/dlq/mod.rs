//! The dead-letter topic: its records, what has been replayed of them, and the replay.

pub mod record;
pub mod replay;
pub mod replayed;
