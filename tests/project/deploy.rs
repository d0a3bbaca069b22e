//! The files of `deploy/` against the program: every name that they use exists, and what belongs together is together.
//!
//! What only another program can tell (does the rule fire, does the manifest fit Kubernetes) is asked by `deploy/check`, where
//! those programs are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use livesession::cli::io::flags::AllSettings;
use livesession::config::{self, Setting};
use saphyr::{LoadableYamlNode, Yaml};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lists all files of `deploy/`, by their path from the root of the project.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn yaml(path: &str) -> Yaml<'static> {
    let text: &'static str = String::leak(read(path));
    let mut documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}: one document");
    documents.remove(0)
}

/// Returns a text inside of nested mappings.
fn text<'a>(node: &'a Yaml<'_>, path: &[&str]) -> &'a str {
    let found = path.iter().try_fold(node, |inner, key| inner.as_mapping_get(key));
    found.and_then(|found| found.as_str()).unwrap_or_else(|| panic!("no text at {path:?} in {node:?}"))
}

/// Returns the rules of a file of rules.
fn rules(file: &Yaml<'static>) -> Vec<Yaml<'static>> {
    let groups = file.as_mapping_get("groups").unwrap().as_sequence().unwrap();
    groups.iter().flat_map(|group| group.as_mapping_get("rules").unwrap().as_sequence().unwrap().clone()).collect()
}

fn alert_names() -> BTreeSet<String> {
    let alerts = rules(&yaml("deploy/prometheus/alerts.yaml"));
    alerts.iter().map(|rule| text(rule, &["alert"]).to_owned()).collect()
}

/// A metric of `schemas/metrics.txt`: its type, and its labels with their values if the list is closed.
struct Metric {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

fn metrics() -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::new();
    for line in read("schemas/metrics.txt").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.splitn(4, " | ").collect();
        let mut labels = BTreeMap::new();
        for label in columns[2].split(", ").filter(|label| !label.is_empty()) {
            let (name, values) = label.split_once('{').unwrap_or((label, ""));
            let values = values.trim_end_matches('}').split(' ').filter(|value| !value.is_empty());
            labels.insert(name.to_owned(), values.map(str::to_owned).collect());
        }
        metrics.insert(columns[0].to_owned(), Metric { kind: columns[1].to_owned(), labels });
    }
    metrics
}

/// A use of a metric in a text: its name, what stands before it, and its matchers if there are any.
struct Use<'a> {
    name: &'a str,
    recorded: bool,
    matchers: &'a str,
}

/// Finds `livesession_…` and `process_…` in a text.
fn uses(body: &str) -> Vec<Use<'_>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = body[at..].find(is_word).map(|offset| at + offset) {
        let end = body[begin..].find(|c| !is_word(c)).map_or(body.len(), |offset| begin + offset);
        let word = &body[begin..end];
        at = end;
        let recorded = word.contains(":livesession_");
        if recorded || word.starts_with("livesession_") || word.starts_with("process_") {
            let rest = &body[end..];
            let matchers = rest.strip_prefix('{').and_then(|inner| inner.split('}').next()).unwrap_or("");
            found.push(Use { name: word, recorded, matchers });
        }
    }
    found
}

/// Checks that a metric exists, and that its matchers name labels and values that it has.
fn check_use(path: &str, found: &Use<'_>, metrics: &BTreeMap<String, Metric>) {
    let name = found.name;
    let whole = metrics.get(name);
    let part = || {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
        metrics.get(base).filter(|metric| metric.kind == "histogram")
    };
    let metric = whole.or_else(part).unwrap_or_else(|| panic!("{path}: no metric is named {name}"));
    for matcher in found.matchers.split(',').filter(|matcher| matcher.contains('=')) {
        let (label, value) = matcher.split_once('=').unwrap();
        let label = label.trim_end_matches('!').trim();
        let value = value.trim_start_matches('~').trim_matches(['"', '\\']);
        if ["job", "instance"].contains(&label) || (label == "le" && name.ends_with("_bucket")) {
            continue;
        }
        let known = metric.labels.get(label).unwrap_or_else(|| panic!("{path}: {name} has no label {label}"));
        assert!(known.is_empty() || known.contains(value), "{path}: {name} never has {label}=\"{value}\": {known:?}");
    }
}

#[test]
fn every_metric_that_is_named_exists_with_its_labels() {
    let metrics = metrics();
    let recorded: BTreeSet<String> = rules(&yaml("deploy/prometheus/recording.yaml"))
        .iter()
        .map(|rule| text(rule, &["record"]).to_owned())
        .collect();
    let mut count = 0;
    for path in files().iter().filter(|path| !path.ends_with("livesession.toml")) {
        let body = read(path).replace("\\\"", "\"");
        for found in uses(&body) {
            count += 1;
            if found.recorded {
                assert!(recorded.contains(found.name), "{path}: nothing records {}", found.name);
            } else {
                check_use(path, &found, &metrics);
            }
        }
    }
    assert!(count > 150, "the search finds the metrics: {count}");
}

#[test]
fn the_search_for_metrics_finds_what_does_not_exist() {
    let metrics = metrics();
    for wrong in [
        "livesession_publications",
        "livesession_publications_total_bucket",
        "livesession_transactions_total{outcome!=\"comitted\"}",
        "livesession_transactions_total{result=\"committed\"}",
    ] {
        let found = uses(wrong);
        assert_eq!(found.len(), 1, "{wrong}");
        let checked = std::panic::catch_unwind(|| check_use("here", &found[0], &metrics));
        assert!(checked.is_err(), "{wrong}");
    }
    check_use("here", &uses("livesession_transactions_total{outcome!=\"committed\"}")[0], &metrics);
    check_use("here", &uses("x + livesession_publish_delay_seconds_bucket{le=\"5\"}")[0], &metrics);
}

#[test]
fn every_alert_has_a_severity_a_summary_and_its_section_in_the_runbook() {
    let runbook = read("deploy/RUNBOOK.md");
    let sections: BTreeSet<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|name| name.starts_with("Livesession"))
        .collect();
    for rule in rules(&yaml("deploy/prometheus/alerts.yaml")) {
        let name = text(&rule, &["alert"]);
        assert!(["critical", "warning"].contains(&text(&rule, &["labels", "severity"])), "{name}");
        assert!(!text(&rule, &["annotations", "summary"]).is_empty(), "{name}");
        assert!(!text(&rule, &["annotations", "description"]).is_empty(), "{name}");
        assert!(!text(&rule, &["for"]).is_empty(), "{name}");
        let url = text(&rule, &["annotations", "runbook_url"]);
        assert!(url.ends_with(&format!("/RUNBOOK.md#{}", name.to_lowercase())), "{name}: {url}");
        assert!(sections.contains(name), "{name}: no section in the runbook");
        let section = runbook.split(&format!("\n## {name}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        for part in ["**Means**", "**Confirm**", "**Do**", "**Do not**"] {
            assert!(section.contains(part), "{name}: the runbook does not say {part}");
        }
    }
    let names = alert_names();
    assert!(sections.iter().all(|section| names.contains(*section)), "a section without an alert: {sections:?}");
}

#[test]
fn every_alert_is_tested_firing_and_silent() {
    let mut tested: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for path in ["deploy/prometheus/tests/critical.yaml", "deploy/prometheus/tests/warning.yaml"] {
        let file = yaml(path);
        for case in file.as_mapping_get("tests").unwrap().as_sequence().unwrap() {
            for check in case.as_mapping_get("alert_rule_test").unwrap().as_sequence().unwrap() {
                let expected = check.as_mapping_get("exp_alerts").unwrap().as_sequence().unwrap();
                let (fires, silent) = tested.entry(text(check, &["alertname"]).to_owned()).or_default();
                *fires |= !expected.is_empty();
                *silent |= expected.is_empty();
            }
        }
    }
    let complete: BTreeSet<String> =
        tested.into_iter().filter(|(_, both)| *both == (true, true)).map(|(name, _)| name).collect();
    assert_eq!(complete, alert_names());
}

#[test]
fn every_exit_code_has_its_section_in_the_runbook() {
    let runbook = read("deploy/RUNBOOK.md");
    for code in [2, 69, 70, 74, 75, 78] {
        assert!(runbook.contains(&format!("\n### Exit {code}: ")), "exit {code}");
    }
}

/// The oldest compiler that is promised is the one that everything is built with.
#[test]
fn compiler_is_the_same_everywhere() {
    let value = |path: &str, name: &str| {
        let text = read(path);
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{path}: {name}"));
        line.trim_matches([' ', '=', '"']).to_owned()
    };
    let pinned = value("rust-toolchain.toml", "channel");
    assert!(pinned.starts_with(&value("Cargo.toml", "rust-version")), "{pinned}");
    assert_eq!(value("deploy/Dockerfile", "ENV RUSTUP_TOOLCHAIN"), pinned);
    assert!(value("deploy/Dockerfile", "ARG BUILDER").starts_with(&format!("rust:{pinned}-")));
}

#[test]
fn yaml_files_can_be_read() {
    let names: Vec<String> = files().into_iter().filter(|path| path.ends_with(".yaml")).collect();
    assert!(names.len() > 15, "{names:?}");
    for path in names {
        yaml(&path);
    }
}

#[test]
fn settings_that_are_used_exist_and_take_their_values() {
    let mut count = 0;
    for path in files() {
        let body = read(&path);
        for (at, _) in body.match_indices("LIVESESSION__") {
            let word = body[at..].split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap();
            // The bare prefix is how documentation speaks of all of them.
            if word == "LIVESESSION__" {
                continue;
            }
            count += 1;
            let name = word.trim_start_matches("LIVESESSION__").to_lowercase().replace("__", ".");
            let setting = Setting::find(&name).unwrap_or_else(|| panic!("{path}: no setting {name}"));
            assert!(!setting.is_file_only(), "{path}: {name} by file only");
            if let Some(value) = value_after(&body[at + word.len()..]) {
                let mut config = config::Config::default();
                setting.parse(&mut config, value).unwrap_or_else(|fault| panic!("{path}: {name} = {value:?}: {fault}"));
            }
        }
    }
    assert!(count >= 8, "the search finds the settings: {count}");
}

/// Returns the value in `NAME: value`, `NAME=value`, or in Kubernetes' two lines.
fn value_after(rest: &str) -> Option<&str> {
    let two_lines = rest.strip_prefix('\n').and_then(|next| next.trim_start().strip_prefix("value:"));
    let value = two_lines.or_else(|| rest.strip_prefix(':')).or_else(|| rest.strip_prefix('='))?;
    Some(value.lines().next()?.trim().trim_matches('"'))
}

#[test]
fn settings_of_kubernetes_are_a_valid_configuration() {
    let file = Path::new(ROOT).join("deploy/kubernetes/base/livesession.toml");
    let loaded = AllSettings::without_flags(Some(file)).load().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(loaded.config.http.listen.to_string(), "0.0.0.0:9464");
}

/// Follows words of a command line into the program's commands, and checks that all of them exist.
fn check_command(place: &str, words: &[&str]) {
    let mut command = livesession::cli::command();
    let mut path = String::from("livesession");
    for word in words {
        let bare = word.split('=').next().unwrap();
        if let Some(flag) = bare.strip_prefix("--") {
            let known = command.get_arguments().any(|argument| argument.get_long() == Some(flag));
            assert!(known, "{place}: `{path}` has no --{flag}");
        } else if word.chars().all(|c| c.is_ascii_lowercase()) && command.has_subcommands() {
            let next = command.find_subcommand(word).cloned();
            command = next.unwrap_or_else(|| panic!("{place}: `{path}` has no command {word}"));
            path = format!("{path} {word}");
        }
    }
    assert!(path != "livesession", "{place}: no command in {words:?}");
}

#[test]
fn commands_that_are_called_exist() {
    for path in ["deploy/systemd/livesession.service", "deploy/systemd/livesession.service.d/index-only.conf"] {
        let body = read(path);
        let calls = body.lines().filter(|line| line.starts_with("Exec") && !line.ends_with('='));
        for line in calls {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            check_command(path, &words);
        }
    }
    let compose = yaml("deploy/compose.yaml");
    for name in ["topics", "livesession"] {
        let service = compose.as_mapping_get("services").unwrap().as_mapping_get(name).unwrap();
        let words = service.as_mapping_get("command").unwrap().as_sequence().unwrap();
        check_command(name, &words.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>());
    }
    for path in ["deploy/kubernetes/base/worker.yaml", "deploy/kubernetes/overlays/workers-and-index/index.yaml"] {
        let pod = yaml(path);
        let spec = ["spec", "template", "spec"].iter().try_fold(&pod, |node, key| node.as_mapping_get(key)).unwrap();
        let container = &spec.as_mapping_get("containers").unwrap().as_sequence().unwrap()[0];
        let words = container.as_mapping_get("args").unwrap().as_sequence().unwrap();
        check_command(path, &words.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn place_of_the_runbook_is_where_the_instructions_say() {
    let named = |path: &str| read(path).contains("https://runbooks.example.com/livesession");
    let places: Vec<String> = files().into_iter().filter(|path| named(path) && !path.contains("/tests/")).collect();
    assert_eq!(places, ["deploy/README.md", "deploy/prometheus/alerts.yaml"]);
}

#[test]
fn files_that_compose_mounts_exist() {
    let compose = yaml("deploy/compose.yaml");
    let mut count = 0;
    for service in compose.as_mapping_get("services").unwrap().as_mapping().unwrap().values() {
        let Some(volumes) = service.as_mapping_get("volumes") else { continue };
        for volume in volumes.as_sequence().unwrap() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            if source.starts_with('.') {
                count += 1;
                assert!(Path::new(ROOT).join("deploy").join(source).exists(), "{source}");
            }
        }
    }
    assert!(count >= 4, "{count}");
}

#[test]
fn panels_of_the_dashboard_are_titled_numbered_once_and_do_not_overlap() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/livesession.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty() && ids.insert(panel["id"].as_i64().unwrap()), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_i64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title} overlaps");
            }
        }
        if panel["type"] != "row" {
            assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{title}");
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                assert!(expression.contains("{job=\"$job\""), "{title}: {expression}");
            }
        }
    }
    let rows: Vec<&str> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(rows.len(), 7, "{rows:?}");
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = read("deploy/grafana/livesession.json");
    for name in
        metrics().keys().filter(|name| *name != "process_start_time_seconds" && *name != "process_virtual_memory_bytes")
    {
        assert!(dashboard.contains(name.as_str()), "{name} is shown nowhere");
    }
}

#[test]
fn supervisors_restart_what_a_restart_repairs_and_wait_long_enough() {
    let unit = read("deploy/systemd/livesession.service");
    for line in [
        "Type=notify",
        "WatchdogSec=120",
        "RestartPreventExitStatus=2 70 78",
        "TimeoutStopSec=60",
        "DynamicUser=yes",
        "StateDirectory=livesession",
        "LoadCredential=kafka-password",
        "ProtectSystem=strict",
        "PrivateDevices=yes",
        "NoNewPrivileges=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "SystemCallFilter=@system-service",
        "CapabilityBoundingSet=",
        "UMask=0077",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    // Its exit code is none of the main process, and would be restarted for ever.
    assert!(!unit.contains("ExecStartPre="), "wrong settings would be tried every five seconds");
    for path in ["deploy/kubernetes/base/worker.yaml", "deploy/kubernetes/overlays/workers-and-index/index.yaml"] {
        let pod = yaml(path);
        let spec = ["spec", "template", "spec"].iter().try_fold(&pod, |node, key| node.as_mapping_get(key)).unwrap();
        let grace_ms = spec.as_mapping_get("terminationGracePeriodSeconds").unwrap().as_integer().unwrap() * 1_000;
        assert!(grace_ms > config::Config::default().shutdown_timeout.as_ms(), "{path}");
        let container = &spec.as_mapping_get("containers").unwrap().as_sequence().unwrap()[0];
        assert_eq!(text(container, &["livenessProbe", "httpGet", "path"]), "/livez", "{path}");
        assert_eq!(text(container, &["readinessProbe", "httpGet", "path"]), "/readyz", "{path}");
    }
}
