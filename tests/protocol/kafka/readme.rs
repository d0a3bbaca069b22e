//! The commands of the README that need a broker, run as written: from creating the topics to listing open sessions.
//!
//! The rest is in `tests/project/documents.rs`.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::kafka::support::broker::{self, Broker, wait_until};
use crate::kafka::support::deployment::Deployment;
use crate::kafka::support::process::PATIENCE;
use crate::kafka::support::traffic;
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[Test { name: "commands_of_the_readme_run_in_their_order", body: Body::Shared(commands) }];

/// Beginnings of the lines that take a broker.
const OURS: [&str; 6] = [
    "livesession topics create",
    "livesession config check --online",
    "livesession run",
    "livesession health",
    "livesession dlq ",
    "livesession sessions open",
];

/// Returns the lines for a shell that take a broker, without their comments.
fn lines() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = text.split("\n```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap().trim());
    lines.filter(|line| OURS.iter().any(|ours| line.starts_with(ours))).map(str::to_owned).collect()
}

fn commands(broker: &Broker) {
    let deployment = Deployment::without_topics(broker, 6);
    let folder = broker::temporary().join(format!("{}-readme", deployment.name));
    fs::create_dir_all(&folder).unwrap();
    let listen = format!("http.listen = \"127.0.0.1:{}\"", broker::free_port().unwrap());
    fs::write(folder.join("livesession.toml"), deployment.settings.clone().with(&listen).toml()).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_livesession")).parent().unwrap();
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-euc", &format!("exec {line}")]).current_dir(&folder).env_clear().stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
        command.env("LIVESESSION_CONFIG", folder.join("livesession.toml"));
        command
    };
    let run = |line: &str| -> Output { shell(line).output().unwrap() };
    let mut worker = None;
    let lines = lines();
    for line in &lines {
        if line.starts_with("livesession run") {
            let mut command = shell(line);
            command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            broker::die_with_parent(&mut command);
            worker = Some(command.spawn().unwrap());
            assert!(wait_until(PATIENCE, || run("livesession health").status.success()), "it never was alive");
            deployment.produce(0, &[traffic::garbage()]);
            assert!(wait_until(PATIENCE, || deployment.end(&deployment.dead_letter, 0) > 0));
            continue;
        }
        let output = run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(lines.len() >= 8, "{lines:?}");
    let mut worker = worker.expect("the README says how to start it");
    broker::signal(worker.id(), libc::SIGTERM);
    assert!(worker.wait().unwrap().success());
    fs::remove_dir_all(&folder).unwrap();
}
