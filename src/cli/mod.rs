//! The command line: one file per command.
//!
//! A command is a module with `pub struct Args` and `pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure>`, and two
//! lines here: a variant of [`Command`] and an arm of [`dispatch`]. It reads its configuration by
//! [`io::flags::AllSettings::load`] or [`io::flags::GroupingSettings::load`], writes to `out` and nowhere else, and prints no
//! error: [`main`] does, once, for all of them.

pub mod completions;
pub mod config;
pub mod demo;
pub mod dlq;
pub mod group;
pub mod health;
pub mod index;
pub mod io;
pub mod man;
pub mod progress;
pub mod recordings;
pub mod run;
pub mod schema;
pub mod sessions;
pub mod topics;
pub mod version;

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

pub use crate::exit::{Exit, Failure};
pub use io::output::{Output, tell};

/// The program's name in help, completions and manual pages.
pub const NAME: &str = "livesession";

/// Turns recording notifications on a Kafka topic into live sessions, each published exactly once.
#[derive(Parser, Debug)]
#[command(name = NAME, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Group(group::Args),
    Sessions(sessions::Args),
    Recordings(recordings::Args),
    Index(index::Args),
    Config(config::Args),
    Topics(topics::Args),
    Dlq(dlq::Args),
    Health(health::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
    Version(version::Args),
}

fn dispatch(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(args, out),
        Command::Demo(args) => demo::run(args, out),
        Command::Group(args) => group::run(args, out),
        Command::Sessions(args) => sessions::run(args, out),
        Command::Recordings(args) => recordings::run(args, out),
        Command::Index(args) => index::run(args, out),
        Command::Config(args) => config::run(args, out),
        Command::Topics(args) => topics::run(args, out),
        Command::Dlq(args) => dlq::run(args, out),
        Command::Health(args) => health::run(args, out),
        Command::Schema(args) => schema::run(args, out),
        Command::Completions(args) => completions::run(args, out),
        Command::Man(args) => man::run(args, out),
        Command::Version(args) => version::run(args, out),
    }
}

/// Returns the arguments of the program, for completions and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the arguments name, prints what went wrong, and returns how the process is to exit.
pub fn main(arguments: impl Iterator<Item = OsString>) -> Exit {
    let mut out = Output::stdout();
    let result = match Cli::try_parse_from(arguments) {
        Ok(cli) => dispatch(cli.command, &mut out),
        Err(error) if error.use_stderr() => {
            tell(error.render().to_string().trim_end());
            Ok(Exit::Usage)
        }
        Err(help) => out.text(&help.render().to_string()).map(|()| Exit::Ok),
    };
    // What a command wrote before it failed is wanted too; the first failure is the one to tell.
    let flushed = out.flush();
    match result.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => exit,
        Err(failure) => {
            if !failure.is_quiet() {
                tell(&failure.to_string());
            }
            failure.exit
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn arguments_of_all_commands_fit_together() {
        super::command().debug_assert();
    }
}
