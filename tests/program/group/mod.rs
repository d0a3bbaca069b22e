//! `livesession group`, as somebody at a shell sees it: the binary, its output, its exit codes.

pub mod answers;
pub mod bad_input;
pub mod evening;
pub mod forms;
pub mod index;
pub mod long_line;
pub mod modes;
pub mod progress;
pub mod support;
