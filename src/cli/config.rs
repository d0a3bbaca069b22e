//! `livesession config`: what the configuration is, and what is wrong with it.
//!
//! `show` writes TOML that could be a configuration file, with the origin of each value behind it, so that there is one
//! notation to learn. Secrets are masked by the settings themselves.

use super::io::flags::AllSettings;
use super::io::output::Output;
use crate::config::{Loaded, SETTINGS};
use crate::deployment::{Deployment, clients, sample};
use crate::exit::{Exit, Failure};
use crate::text::visible;

/// Shows or checks the configuration.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Prints every setting with its value and its origin.
    Show {
        /// A JSON object per setting instead of TOML.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Says what is wrong, all at once; exit 78 if anything is. Talks to a broker only when asked.
    Check {
        /// Ask the brokers too: login, topics, and the newest records of the input
        #[arg(long)]
        online: bool,
        #[command(flatten)]
        settings: AllSettings,
    },
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    match args.action {
        Action::Show { json, settings } => {
            let loaded = settings.load()?;
            if json { show_json(&loaded, out)? } else { show_toml(&loaded, out)? }
        }
        Action::Check { online: is_online, settings } => {
            let deployment = Deployment::new(settings.load()?)?;
            clients::check(&deployment)?;
            if is_online {
                sample::check_online(&deployment, |line| out.line(line))?;
            }
            out.line(if is_online { "no problems" } else { "no problems in the configuration" })?;
        }
    }
    Ok(Exit::Ok)
}

fn show_toml(loaded: &Loaded, out: &mut Output) -> Result<(), Failure> {
    let mut section = "";
    for setting in SETTINGS {
        if setting.section() != section {
            section = setting.section();
            out.line(&format!("[{section}]"))?;
        }
        let value = setting.shown(&loaded.config);
        out.line(&format!(
            "{} = {value} # {}",
            setting.short_name(),
            // A path can have control characters, and a comment cannot.
            visible(&loaded.origin(setting.name).to_string())
        ))?;
    }
    Ok(())
}

fn show_json(loaded: &Loaded, out: &mut Output) -> Result<(), Failure> {
    for setting in SETTINGS {
        let line = serde_json::json!({
            "setting": setting.name,
            "value": setting.shown(&loaded.config),
            "origin": loaded.origin(setting.name).to_string(),
        });
        out.line(&line.to_string())?;
    }
    Ok(())
}
