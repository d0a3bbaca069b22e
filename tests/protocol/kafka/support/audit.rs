//! The audit as a process: the program of `crates/audit`, which shares no code with the one that it looks at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::kafka::support::broker;
use crate::kafka::support::deployment::Deployment;

/// What an audit said.
#[derive(Debug)]
pub struct Audited {
    pub code: i32,
    pub text: String,
}

/// For deployments in which no partition has ever been idle: the audit then knows every watermark.
pub const NEVER_IDLE: &str = "--never-idle";

/// Audits a deployment whose workers have all ended.
pub fn audit(deployment: &Deployment, more: &[&str]) -> Audited {
    let mut command = Command::new(program());
    command.args(["--brokers", &deployment.bootstrap, "--group", &deployment.name, "--input", &deployment.input]);
    command.args(["--output", &deployment.output, "--dead-letters", &deployment.dead_letter]);
    run(command.args(["--changelog", &deployment.changelog]).args(more))
}

/// Audits a deployment of which it is told nothing but the workers' own configuration.
pub fn audit_by_file(deployment: &Deployment, more: &[&str]) -> Audited {
    let file = broker::temporary().join(format!("{}-audit.toml", deployment.name));
    fs::write(&file, deployment.settings.toml()).unwrap();
    let audited = run(Command::new(program()).arg("--config").arg(&file).args(more));
    fs::remove_file(&file).unwrap();
    audited
}

fn run(command: &mut Command) -> Audited {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Audited { code: output.status.code().expect("ended by itself"), text: String::from_utf8(text).unwrap() }
}

/// Audits a deployment that has to be clean. Returns what the audit counted.
pub fn assert_clean(deployment: &Deployment, more: &[&str]) -> String {
    let audited = audit(deployment, more);
    assert_eq!(audited.code, 0, "{}", audited.text);
    audited.text
}

/// Returns the audit, built if need be: Cargo builds it for a whole test run, not for a single test program.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(Path::parent).expect("a test program is in target/<profile>/deps");
        let program = folder.join("livesession-audit");
        let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        let sources = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/audit/src")).unwrap();
        let newest: Option<SystemTime> = sources.filter_map(|entry| changed(&entry.unwrap().path())).max();
        if changed(&program) < newest {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--locked", "-p", "livesession-audit"]);
            if folder.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success(), "the audit is not built");
        }
        program
    })
}
