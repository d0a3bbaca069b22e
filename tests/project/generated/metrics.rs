//! `schemas/metrics.txt`: every metric of the program with its type, its labels and its help text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use livesession::config::Config;
use livesession::deployment::Deployment;

use crate::golden;

/// Labels whose values are not a closed list.
const OPEN: [&str; 9] =
    ["partition", "route", "code", "version", "librdkafka", "sqlite", "application_id", "input", "output"];

/// Returns what the program shows when every metric has a series.
fn shown() -> String {
    let deployment = Deployment::new(Config::default().into()).unwrap_or_else(|failure| panic!("{failure}"));
    let metrics = deployment.metrics();
    metrics.assigned(0);
    metrics.set_index_lag(0, 0);
    metrics.record_http_request("/metrics", 200, Duration::ZERO);
    metrics.render()
}

/// Lists the metrics of a text that is shown to Prometheus.
fn list(shown: &str) -> String {
    let mut list = String::from("# name | type | labels (closed lists of values in braces) | help\n");
    for family in shown.split("# HELP ").skip(1) {
        let mut lines = family.lines();
        let (name, help) = lines.next().unwrap().split_once(' ').unwrap();
        let kind = lines.next().unwrap().rsplit_once(' ').unwrap().1;
        let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pair in lines
            .filter_map(|line| Some(line.split_once('{')?.1.rsplit_once('}')?.0))
            .flat_map(|in_braces| in_braces.split(','))
        {
            let (label, value) = pair.split_once('=').unwrap();
            let values = labels.entry(label).or_default();
            let value = value.trim_matches('"');
            if !values.contains(&value) {
                values.push(value);
            }
        }
        // The bounds of a histogram are part of its type.
        labels.remove("le");
        let labels: Vec<String> = labels
            .into_iter()
            .map(
                |(label, values)| {
                    if OPEN.contains(&label) { label.to_owned() } else { format!("{label}{{{}}}", values.join(" ")) }
                },
            )
            .collect();
        writeln!(list, "{name} | {kind} | {} | {help}", labels.join(", ")).unwrap();
    }
    list
}

#[test]
fn list_of_metrics_is_what_the_program_shows() {
    golden::check("schemas/metrics.txt", &list(&shown()));
}

#[test]
fn every_help_text_is_one_sentence() {
    for line in list(&shown()).lines().filter(|line| line.starts_with("livesession_")) {
        let help = line.rsplit(" | ").next().unwrap();
        assert!(help.len() > 10 && help.ends_with('.') && !help[..help.len() - 1].contains(". "), "{line}");
    }
}
