//! The command line as its users meet it: the built program, its output and its exit codes.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Runs of the program in a folder of their own, with nothing in the environment but what a test puts there.
struct Shell {
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Shell {
    fn new(name: &str) -> Shell {
        let folder = std::env::temp_dir().join(format!("livesession-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let shell = Shell { folder, environment: Vec::new() };
        // Hides the file of a machine on which the program is installed.
        let empty = shell.write("empty.toml", "");
        shell.with("LIVESESSION_CONFIG", &empty)
    }

    fn with(mut self, name: &'static str, value: &str) -> Shell {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.to_owned()));
        self
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
        command.args(arguments).env_clear().envs(self.environment.clone()).current_dir(&self.folder);
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::from(self.command(arguments).output().unwrap())
    }

    /// Runs the program and returns what it printed; it must have succeeded.
    fn print(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
        run.stdout
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Returns the line of `config show` that begins with this setting.
fn line<'a>(shown: &'a str, start: &str) -> &'a str {
    shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} is not in {shown}"))
}

fn each_layer_wins_over_the_one_below_and_show_says_which() {
    let shell =
        Shell::new("layers").with("LIVESESSION__GROUPING__NOTIFICATION_DELAY", "2m").with("LIVESESSION__WORKERS", "3");
    let file = shell.write("my.toml", "workers = 2\n[grouping]\ngap = \"1m\"\nnotification_delay = \"1m\"\n");
    let shown = shell.print(&["config", "show", "--config", &file, "--workers", "4", "--kafka.brokers=a:1,b:2"]);
    assert_eq!(line(&shown, "workers"), "workers = 4 # flag --workers");
    assert_eq!(
        line(&shown, "notification_delay"),
        "notification_delay = \"2m\" # environment LIVESESSION__GROUPING__NOTIFICATION_DELAY"
    );
    assert_eq!(line(&shown, "gap"), format!("gap = \"1m\" # {file}:3"));
    assert_eq!(line(&shown, "max_hold"), "max_hold = \"24h\" # default");
    assert_eq!(line(&shown, "brokers"), "brokers = [\"a:1\", \"b:2\"] # flag --kafka.brokers");
}

fn show_writes_a_file_that_means_the_same() {
    let shell = Shell::new("again");
    let text = "[kafka.properties]\n\"client.rack\" = \"a\"\n[[grouping.override]]\nstreams = \"a\"\ngap = \"1s\"\n";
    let values = |shown: &str| -> Vec<String> {
        shown.lines().map(|line| line.rsplit_once(" # ").map_or(line, |(value, _)| value).to_owned()).collect()
    };
    let first = shell.print(&["config", "show", "--config", &shell.write("first.toml", text)]);
    let second = shell.print(&["config", "show", "--config", &shell.write("second.toml", &first)]);
    assert_eq!(values(&first), values(&second));
    assert!(first.contains("override = [{ gap = \"1s\", streams = \"a\" }]"), "{first}");
}

fn show_as_json_is_an_object_per_setting() {
    let shell = Shell::new("json").with("LIVESESSION__GROUPING__MAX_SESSION_SEGMENTS", "100");
    let lines = shell.print(&["config", "show", "--json"]);
    let parsed: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed.len(), livesession::config::SETTINGS.len());
    let segments = parsed.iter().find(|line| line["setting"] == "grouping.max_session_segments").unwrap();
    assert_eq!(segments["value"], 100);
    assert_eq!(segments["origin"], "environment LIVESESSION__GROUPING__MAX_SESSION_SEGMENTS");
}

fn secrets_are_masked_wherever_they_are_shown() {
    let shell = Shell::new("secrets");
    let properties = "[kafka.properties]\n\"sasl.password\" = \"hunter2\"\nssl.key.password = \"hunter2\"\n";
    let file = shell.write("my.toml", properties);
    for arguments in [&["config", "show", "--config", &file][..], &["config", "show", "--json", "--config", &file]] {
        let shown = shell.print(arguments);
        assert!(shown.contains("********") && !shown.contains("hunter2"), "{shown}");
    }
    let wrong = shell.write("wrong.toml", &format!("{properties}acks = 1\n\"no.such.name\" = \"hunter2\"\n"));
    let run = shell.run(&["config", "check", "--config", &wrong]);
    assert_eq!(run.code, 78);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
}

fn check_reports_every_problem_at_once_with_origin_and_repair() {
    let shell = Shell::new("problems").with("LIVESESSION__KAFKA__BROKRES", "a").with("LIVESESSION__WORKERS", "0");
    let text = "aplication_id = \"x\"\n[kafka]\nsession_timeout = \"5s\"\nsecurity_protocol = \"sasl_ssl\"\n";
    let run = shell.run(&["config", "check", "--config", &shell.write("my.toml", text)]);
    assert_eq!((run.code, run.stdout.as_str()), (78, ""));
    for expected in [
        "error: 5 problems in the configuration\n",
        "my.toml:1): unknown key; did you mean `application_id`?",
        "unknown environment variable; did you mean LIVESESSION__KAFKA__BROKERS?",
        "workers (environment LIVESESSION__WORKERS): 0 workers read nothing; set at least 1",
        "my.toml:3): 5s is shorter than transaction_timeout 10s",
        "sasl_mechanism (default; kafka.security_protocol: ",
    ] {
        assert!(run.stderr.contains(expected), "{expected} is not in {}", run.stderr);
    }
}

fn check_accepts_the_annotated_file_and_asks_librdkafka_about_what_passes_through() {
    let shell = Shell::new("check");
    let annotated = shell.write("my.toml", include_str!("../../deploy/livesession.toml"));
    assert_eq!(shell.print(&["config", "check", "--config", &annotated]), "no problems in the configuration\n");
    let text = "workers = 0\n[kafka.properties]\nno.such.name = 1\nlinger.ms = \"soon\"\nacks = 1\n";
    let unknown = shell.write("unknown.toml", text);
    let run = shell.run(&["config", "check", "--config", &unknown]);
    assert_eq!(run.code, 78);
    for expected in ["4 problems", "workers (", "`no.such.name`: ", "`linger.ms`: ", "`acks`: cannot be set: "] {
        assert!(run.stderr.contains(expected), "{expected} is not in {}", run.stderr);
    }
    // Known to librdkafka, and not compiled in: shows only when a client is created.
    let kerberos = "[kafka]\nsecurity_protocol = \"sasl_ssl\"\n[kafka.properties]\nsasl.mechanism = \"GSSAPI\"\n";
    let run = shell.run(&["config", "check", "--config", &shell.write("kerberos.toml", kerberos)]);
    assert_eq!(run.code, 78, "{}", run.stderr);
    assert!(run.stderr.contains("kafka: consumer: "), "{}", run.stderr);
}

fn a_login_is_read_from_its_file() {
    let shell = Shell::new("login")
        .with("LIVESESSION__KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
        .with("LIVESESSION__KAFKA__SASL_MECHANISM", "SCRAM-SHA-512")
        .with("LIVESESSION__KAFKA__USERNAME", "me");
    let good = shell.write("password", "hunter2\n");
    let empty = shell.write("nothing", "\n");
    shell.print(&["config", "check", "--kafka.password_file", &good]);
    let run = shell.run(&["config", "check", "--kafka.password_file", &empty]);
    assert!(run.stderr.contains("holds no password"), "{}", run.stderr);
    let run = shell.run(&["config", "check", "--kafka.password_file", "missing"]);
    assert!(run.stderr.contains("could not read missing: "), "{}", run.stderr);
}

fn a_wrong_command_line_is_exit_2_and_a_wrong_configuration_78() {
    let shell = Shell::new("codes");
    for arguments in [
        &[][..],
        &["no-such-command"],
        &["config", "show", "--no-such-flag"],
        &["config", "check", "--kafka.security_protocol", "tls"],
        &["config", "check", "--grouping.gap", "soon"],
        &["config", "check", "--grouping.notification_delay", "25h"],
        &["schema", "print", "no-such-schema"],
        &["completions", "no-such-shell"],
    ] {
        let run = shell.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!run.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["config", "check", "--config", "missing.toml"][..], &["config", "show", "--config", "."]] {
        let run = shell.run(arguments);
        assert_eq!(run.code, 78, "{arguments:?}");
        assert!(run.stderr.contains("could not read the file"), "{}", run.stderr);
    }
    let from_environment = Shell::new("codes-environment").with("LIVESESSION__GROUPING__GAP", "soon");
    assert_eq!(from_environment.run(&["config", "check"]).code, 78);
}

fn help_and_version_are_no_errors() {
    let shell = Shell::new("help");
    assert!(shell.print(&["--help"]).contains("Usage: livesession"));
    assert!(shell.print(&["config", "check", "--help"]).contains("--kafka.brokers <LIST>"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(shell.print(&["--version"]), format!("livesession {version}\n"));
    let long = shell.print(&["version"]);
    assert!(long.starts_with(&format!("livesession {version}\n")) && long.contains("\nlibrdkafka 2."), "{long}");
}

fn completions_know_the_commands_and_the_settings() {
    let shell = Shell::new("completions");
    for name in ["bash", "zsh", "fish"] {
        let text = shell.print(&["completions", name]);
        assert!(text.contains("completions") && text.contains("kafka.brokers"), "{name}: {text}");
    }
}

fn manual_pages_name_every_command() {
    let shell = Shell::new("man");
    let page = shell.print(&["man"]);
    for command in livesession::cli::command().get_subcommands() {
        assert!(page.contains(&format!("livesession\\-{}(1)", command.get_name())), "{}", command.get_name());
    }
    shell.print(&["man", "."]);
    assert!(std::fs::read_to_string(shell.folder.join("livesession-config-show.1")).unwrap().contains("kafka.brokers"));
    assert_eq!(shell.run(&["man", "no-such-folder"]).code, 74);
}

fn schemas_are_listed_and_printed_as_they_are() {
    let shell = Shell::new("schemas");
    let names = shell.print(&["schema", "print"]);
    assert!(names.lines().any(|name| name == "config"), "{names}");
    assert_eq!(shell.print(&["schema", "print", "config"]), include_str!("../../schemas/config.v1.schema.json"));
}

fn a_reader_that_has_gone_is_a_quiet_end() {
    let shell = Shell::new("pipe");
    for arguments in [&["config", "show"][..], &["completions", "bash"], &["man"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = shell.command(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
fn a_full_disk_is_exit_74() {
    let shell = Shell::new("full");
    for arguments in [&["config", "show"][..], &["completions", "bash"], &["man"], &["--help"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = shell.command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, 74, "{arguments:?}");
        assert!(run.stderr.starts_with("error: could not write to standard output\n  caused by: "), "{}", run.stderr);
    }
}

#[cfg(target_os = "linux")]
fn a_signal_ends_a_service_that_waits_for_kafka() {
    // Nothing answers there: a socket that is bound and not listened to.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let shell = Shell::new("signal").with("LIVESESSION_KAFKA_BROKERS", &closed.to_string());
        let mut child = shell.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        // Before it listens for signals a signal would kill it, and as the first process of a container not even that.
        let listens = || {
            let status = std::fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
        };
        while !listens() {
            assert!(child.try_wait().unwrap().is_none(), "ended by itself");
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        // SAFETY: the process is our child and has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stderr.contains("stopped before it had started"), "{}", run.stderr);
    }
}

crate::tests! {
    each_layer_wins_over_the_one_below_and_show_says_which,
    show_writes_a_file_that_means_the_same,
    show_as_json_is_an_object_per_setting,
    secrets_are_masked_wherever_they_are_shown,
    check_reports_every_problem_at_once_with_origin_and_repair,
    check_accepts_the_annotated_file_and_asks_librdkafka_about_what_passes_through,
    a_login_is_read_from_its_file,
    a_wrong_command_line_is_exit_2_and_a_wrong_configuration_78,
    help_and_version_are_no_errors,
    completions_know_the_commands_and_the_settings,
    manual_pages_name_every_command,
    schemas_are_listed_and_printed_as_they_are,
    a_reader_that_has_gone_is_a_quiet_end,
    a_full_disk_is_exit_74,
    a_signal_ends_a_service_that_waits_for_kafka,
}
