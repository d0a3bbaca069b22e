//! Layers and checks together, and the meaning of the generated files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::*;
use livesession_grouping::time::Millis;

const ANNOTATED: &str = include_str!("../../deploy/livesession.toml");
const SCHEMA: &str = include_str!("../../schemas/config.v1.schema.json");

/// A folder for one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("livesession-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn try_load(
    file: Option<&Path>,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Loaded, Problems> {
    let sources = Sources {
        file: file.map(Path::to_owned),
        default_file: None,
        environment: environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
        flags: flags
            .iter()
            .map(|(setting, text)| Flag { setting, spelling: (*setting).to_owned(), text: (*text).to_owned() })
            .collect(),
    };
    check(&sources, Scope::All).finish()
}

/// Returns the problems of a file, each as its line.
fn problems_of(name: &str, text: &str) -> Vec<String> {
    let folder = Folder::new(name);
    let path = folder.write("a.toml", text);
    let problems = try_load(Some(&path), &[], &[]).expect_err(text);
    let folder_text = format!("{}/", folder.0.display());
    problems.0.iter().map(|problem| problem.to_string().replace(&folder_text, "")).collect()
}

#[test]
fn the_annotated_file_holds_every_setting_at_its_default() {
    let folder = Folder::new("annotated");
    let path = folder.write("livesession.toml", ANNOTATED);
    let loaded = try_load(Some(&path), &[], &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    for setting in SETTINGS {
        let is_there = if setting.name == "grouping.override" {
            ANNOTATED.contains("# [[grouping.override]]\n# streams = ")
        } else {
            matches!(loaded.origin(setting.name), Origin::File { .. })
        };
        assert!(is_there, "{} is not in deploy/livesession.toml", setting.name);
    }
}

#[test]
fn the_schema_accepts_the_annotated_file_and_refuses_what_is_wrong() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let read = |text: &str| serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    assert!(validator.is_valid(&read(ANNOTATED)));
    assert!(validator.is_valid(&read("[[grouping.override]]\nstreams = \"a/*\"\ngap = \"10m\"")));
    assert!(validator.is_valid(&read("kafka.properties.fetch.min.bytes = 1")));
    for wrong in ["worker = 1", "workers = 0", "[grouping]\ngap = 3", "[kafka]\nsecurity_protocol = \"tls\""] {
        assert!(!validator.is_valid(&read(wrong)), "{wrong}");
    }
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let folder = Folder::new("layers");
    let path = folder.write("a.toml", "workers = 2\n\n[grouping]\ngap = \"1m\"\nnotification_delay = \"2m\"\n");
    let environment = [("LIVESESSION__GROUPING__GAP", "10s"), ("LIVESESSION__WORKERS", "3"), ("HOME", "x")];
    let loaded = try_load(Some(&path), &environment, &[("workers", "4")]).unwrap();
    assert_eq!(loaded.config.workers, 4);
    assert_eq!(loaded.config.grouping.gap, Millis::from_secs(10));
    assert_eq!(loaded.config.grouping.notification_delay, Millis::from_secs(120));
    assert_eq!(loaded.origin("workers"), Origin::Flag("workers".to_owned()));
    assert_eq!(loaded.origin("grouping.gap").to_string(), "environment LIVESESSION__GROUPING__GAP");
    assert_eq!(loaded.origin("grouping.notification_delay"), Origin::File { path, line: 5 });
    assert_eq!(loaded.origin("grouping.max_hold"), Origin::Default);
}

#[test]
fn a_setting_by_its_former_name_is_refused_with_the_new_one() {
    let environment = [("LIVESESSION__GROUPING__AMEND_WINDOW", "1d")];
    let problems = try_load(None, &environment, &[("grouping.grace", "1m")]).unwrap_err().to_string();
    assert!(problems.contains("it is called LIVESESSION__GROUPING__ALLOWED_LATENESS now"), "{problems}");
    assert!(problems.contains("it is called `grouping.notification_delay` now"), "{problems}");
    let folder = Folder::new("renamed");
    let problems = load_file(&folder, Scope::All, "[grouping]\ngrace = \"1m\"\n").unwrap_err().to_string();
    assert!(problems.contains("it is called `grouping.notification_delay` now"), "{problems}");
}

#[test]
fn the_file_is_named_by_flag_then_environment_then_default_place() {
    let folder = Folder::new("place");
    let (one, two, three) = ("one.toml", "two.toml", "three.toml");
    let written = [(one, 1), (two, 2), (three, 3)].map(|(name, n)| folder.write(name, &format!("workers = {n}")));
    let sources = |file: bool, variable: bool, default_file: &Path| Sources {
        file: file.then(|| written[0].clone()),
        default_file: Some(default_file.to_owned()),
        environment: if variable { vec![(FILE_VARIABLE.into(), written[1].clone().into())] } else { Vec::new() },
        flags: Vec::new(),
    };
    let workers = |sources| check(&sources, Scope::All).finish().unwrap().config.workers;
    assert_eq!(workers(sources(true, true, &written[2])), 1);
    assert_eq!(workers(sources(false, true, &written[2])), 2);
    assert_eq!(workers(sources(false, false, &written[2])), 3);
    let missing = folder.0.join("missing.toml");
    assert_eq!(workers(sources(false, false, &missing)), Config::default().workers);
    assert!(try_load(Some(&missing), &[], &[]).unwrap_err().to_string().contains("could not read the file"));
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let text =
        "gap = \"3m\"\nwokers = 2\n[kafak]\nbrokers = []\n[grouping]\nzzz = 1\nmax_sesion_bytes = 1\n[input.start]\n";
    let problems = problems_of("unknown", text);
    for expected in [
        "gap (a.toml:1): unknown key; did you mean `grouping.gap`?",
        "wokers (a.toml:2): unknown key; did you mean `workers`?",
        "kafak (a.toml:3): unknown key; did you mean `kafka`?",
        "grouping.zzz (a.toml:6): unknown key; take it out",
        "grouping.max_sesion_bytes (a.toml:7): unknown key; did you mean `grouping.max_session_bytes`?",
        "input.start (a.toml:8): expected a string, found table",
    ] {
        assert!(problems.iter().any(|problem| problem == expected), "{expected} is not in {problems:#?}");
    }
    assert_eq!(problems.len(), 6);

    let environment = [("LIVESESSION__KAFKA__BROKER", "a"), ("LIVESESSION_PORT", "tcp://10.0.0.1:9464")];
    let problems = try_load(None, &environment, &[]).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert!(problems.to_string().ends_with("did you mean LIVESESSION__KAFKA__BROKERS?"), "{problems}");
}

#[test]
fn broken_toml_is_told_by_line_and_not_quoted() {
    let problems = problems_of("broken", "workers = 1\npassword = \"hunter2\n[topics]\n");
    assert!(problems[0].starts_with("TOML (a.toml:2): "), "{problems:?}");
    assert!(!problems.concat().contains("hunter2"), "{problems:?}");
    // Settings recovered from a broken file would raise problems of their own.
    let recovered = problems_of("recovered", "wokers = 0\nworkers = 0\nlog_filter = \"x\n");
    assert_eq!(recovered.len(), 1, "{recovered:?}");
    assert!(problems_of("twice", "workers = 1\nworkers = 2\n")[0].starts_with("TOML (a.toml:2): "));
}

#[test]
fn a_number_out_of_range_is_told_and_not_quoted() {
    let text = "workers = 99999999999999999999\n[kafka.properties]\nsasl.password = 99999999999999999999\n";
    let expected = ["kafka.properties (a.toml:2)", "workers (a.toml:1)"];
    assert_eq!(problems_of("range", text), expected.map(|place| format!("{place}: a number does not fit in 64 bits")));
}

#[test]
fn overrides_and_properties_come_from_a_file_only() {
    let folder = Folder::new("structured");
    let text = "[[grouping.override]]\nstreams = \"a/*\"\ngap = \"10m\"\n[kafka.properties]\nfetch.min.bytes = 1\n";
    let loaded = try_load(Some(&folder.write("a.toml", text)), &[], &[]).unwrap();
    assert_eq!(loaded.config.grouping_settings().overrides.len(), 1);
    assert_eq!(loaded.config.kafka.shared_properties(&loaded.files.properties).get("fetch.min.bytes"), Some("1"));
    let problems = try_load(None, &[("LIVESESSION__KAFKA__PROPERTIES", "a=b")], &[]).unwrap_err();
    assert!(problems.to_string().contains("can be set in a file only"), "{problems}");
}

#[test]
fn an_unreadable_value_is_one_problem_and_no_more() {
    // Were the default of 15s compared, a second problem would appear.
    let text = "[kafka]\nsession_timeout = \"soon\"\ntransaction_timeout = \"20s\"\n";
    let problems = problems_of("unreadable", text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].starts_with("kafka.session_timeout (a.toml:2): cannot read \"soon\""), "{problems:#?}");
}

#[test]
fn an_upper_layer_mends_what_a_lower_one_has_broken_for_checks_but_not_for_the_report() {
    let folder = Folder::new("mended");
    let path = folder.write("a.toml", "workers = \"two\"\n");
    let problems = try_load(Some(&path), &[], &[("workers", "2")]).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
}

fn load_file(folder: &Folder, scope: Scope, text: &str) -> Result<Loaded, Problems> {
    let sources = Sources { file: Some(folder.write("a.toml", text)), ..Sources::default() };
    check(&sources, scope).finish()
}

#[test]
fn the_scope_of_grouping_ignores_what_is_wrong_with_kafka_but_no_unknown_name() {
    let folder = Folder::new("scope");
    let load_file = |text: &str| load_file(&folder, Scope::Grouping, text);
    assert!(load_file("workers = 0\n[kafka]\nbrokers = 3\nsecurity_protocol = \"sasl_ssl\"\n").is_ok());
    assert!(load_file("[kafka]\nbroker = 3\n").is_err());
    assert!(load_file("[grouping]\nallowed_lateness = \"1m\"\n").is_err());
}

#[test]
fn the_scope_of_the_index_ignores_what_is_wrong_elsewhere_and_nothing_of_its_own() {
    let folder = Folder::new("scope-index");
    let load_file = |text: &str| load_file(&folder, Scope::Index, text);
    assert!(load_file("workers = 0\n[kafka]\nbrokers = 3\n[grouping]\nallowed_lateness = \"1m\"\n").is_ok());
    assert!(load_file("[index]\npath = 5\n").is_err());
    assert!(load_file("[index]\nretention = \"30\"\n").is_err());
    assert!(load_file("[index]\npath = \"\"\n").is_err());
}
