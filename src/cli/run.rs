//! `livesession run`: the worker, as a service, with the index and its HTTP side unless they are switched off.

use super::io::flags::AllSettings;
use super::io::output::Output;
use crate::deployment::{Deployment, assembly};
use crate::exit::{Exit, Failure};
use crate::service::{logging, serve};

/// Reads notifications from Kafka and publishes live sessions, each exactly once.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    settings: AllSettings,
}

/// Runs the command.
pub fn run(args: Args, _out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(args.settings.load()?)?;
    logging::init(deployment.config().log_format, &deployment.config().log_filter)?;
    serve::run(move || assembly::workers(&deployment))
}
