//! The built program against a broker: a configuration of its own, its output, its exit code.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use livesession::config::Config;
use livesession::deployment::topics;
use livesession_kafka::admin::{Admin, Topic};
use livesession_kafka::settings::Settings;
use serde_json::Value;

use crate::kafka::support::broker::{Broker, temporary};
use crate::kafka::support::fixture::{PATIENCE, unique};

/// A deployment with names of its own, of which no topic exists yet.
pub struct Deployment {
    pub config: Config,
    file: PathBuf,
}

/// What a run of the program left behind.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Deployment {
    pub fn new(broker: &Broker) -> Deployment {
        Deployment::at(broker.bootstrap())
    }

    /// Returns a deployment on brokers that need not exist.
    pub fn at(brokers: &str) -> Deployment {
        let name = unique();
        let mut config = Config { application_id: name.clone(), ..Config::default() };
        config.kafka.brokers = vec![brokers.to_owned()];
        config.topics.input = format!("{name}-input");
        config.topics.output = format!("{name}-output");
        config.topics.latest = Some(format!("{name}-latest"));
        let file = temporary().join(format!("{name}.toml"));
        let text = format!(
            "application_id = {name:?}\n[topics]\ninput = \"{name}-input\"\noutput = \"{name}-output\"\n\
             latest = \"{name}-latest\"\n[kafka]\nbrokers = [{brokers:?}]\n"
        );
        fs::write(&file, text).unwrap();
        Deployment { config, file }
    }

    /// Returns a deployment whose topics exist, each with `partitions`.
    pub fn with_topics(broker: &Broker, partitions: u32) -> Deployment {
        let deployment = Deployment::new(broker);
        let count = partitions.to_string();
        deployment.ok(&["topics", "create", "--with-input", "--partitions", &count, "--replication", "1"]);
        deployment
    }

    pub fn settings(&self) -> Settings {
        Settings::new(&self.config.kafka.brokers.join(","), &self.config.application_id, "test")
    }

    pub fn admin(&self) -> Admin {
        Admin::new(&self.settings(), PATIENCE).unwrap()
    }

    /// Returns the topics that exist.
    pub fn topics(&self) -> Vec<Topic> {
        let admin = self.admin();
        topics::names(&self.config).iter().filter_map(|(_, name)| admin.topic(name).unwrap()).collect()
    }

    /// Returns a command to run or to spawn, with nothing in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
        command.args(arguments).arg("--config").arg(&self.file).env_clear().stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().unwrap();
        Run {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that has to succeed; returns what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
        run.stdout
    }

    /// Runs a command that has to succeed; returns the JSON objects that it printed.
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        self.ok(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        // A file that stays behind only takes space.
        let _ = fs::remove_file(&self.file);
    }
}
