//! Input and output that commands share: flags and times in, text and tables out.

pub mod flags;
pub mod output;
pub mod table;
pub mod time;
