//! `livesession group` at a shell: the binary, its output, its exit codes.

pub mod answers;
pub mod bad_input;
pub mod evening;
pub mod forms;
pub mod index;
pub mod long_line;
pub mod modes;
pub mod progress;
pub mod support;
