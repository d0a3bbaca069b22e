//! `livesession group`, as somebody at a shell sees it: the binary, its output, its exit codes.

mod answers;
mod bad_input;
mod evening;
mod forms;
mod index;
mod long_line;
mod modes;
mod progress;
mod support;
