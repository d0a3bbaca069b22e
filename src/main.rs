//! The entry point: arguments in, exit code out. Nothing testable lives here: see `livesession::cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The system's would scatter what belongs together, and a worker that has run for long waits for memory: see
/// `docs/decisions.md`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    livesession::cli::main(std::env::args_os()).into()
}
