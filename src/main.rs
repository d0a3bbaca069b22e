//! Arguments in, exit code out. Nothing testable lives here: see `livesession::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    livesession::cli::main(std::env::args_os()).into()
}
