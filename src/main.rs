use std::process::ExitCode;

fn main() -> ExitCode {
    livesession::cli::main(std::env::args_os()).into()
}
