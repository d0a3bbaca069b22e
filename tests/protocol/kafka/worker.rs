//! `livesession run` on a broker, when all goes well: what it reads, publishes, refuses and shows.

use livesession_formats::time::parse_timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::deployment::{Deployment, Found, Given, wait};
use crate::kafka::support::process::PATIENCE;
use crate::kafka::support::traffic::{self, RULES, Traffic};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("evening_is_published_as_it_is_drawn", evening),
    test("every_example_has_its_outcome", examples),
    test("traffic_becomes_the_sessions_of_a_batch_job", batch),
    test("stop_in_the_middle_changes_nothing", stopped),
    test("two_workers_share_the_partitions_and_one_comes_and_goes", shared),
    test("two_threads_of_one_process_share_the_partitions", threads),
    test("lone_session_closes_by_itself", idle),
    test("metrics_are_those_that_are_written_down", metrics),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

const ROOM_7: &str = "push.example.com/live/room-7";

/// Reads a file of `schemas/examples`.
fn example(name: &str) -> String {
    let path = format!("{}/schemas/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the example notifications as they are written down.
fn example_notifications() -> Vec<Value> {
    example("notifications.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn given(example: &Value) -> Given {
    Given {
        key: Some(example["name"].as_str().unwrap().to_owned()),
        value: Some(example["input"].as_str().unwrap().into()),
        timestamp: example["kafka_timestamp_ms"].as_i64(),
        headers: vec![("trace".to_owned(), b"4bf92f3577b34da6".to_vec())],
    }
}

fn at(text: &str) -> i64 {
    parse_timestamp(text).unwrap().as_ms()
}

/// The thirteen notifications of `show_…`, then hints until all has closed, then a file that joins two sessions.
fn evening(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    let mut worker = deployment.start_ready("a");
    let shows: Vec<Value> = example_notifications()
        .into_iter()
        .filter(|line| line["name"].as_str().unwrap().starts_with("show_"))
        .collect();
    assert_eq!(shows.len(), 13);
    deployment.feed(&mut worker, 0, &shows.iter().map(given).collect::<Vec<_>>());
    assert!(deployment.read(&deployment.output).is_empty(), "the watermark is at 11:10, and all is open");
    let hints = ["2025-08-01T11:10:05Z", "2025-08-01T13:00:00Z", "2025-08-01T13:28:00.001Z", "2025-08-01T13:30:00Z"];
    for time in hints {
        deployment.feed(&mut worker, 0, &[traffic::hint(at(time))]);
    }
    let bridge = json!({
        "event_type": 100, "app": "push.example.com", "appname": "live", "stream_id": "room-7", "file_id": "f-0007",
        "end_time": 1_754_045_640, "end_time_usec": 500_000, "start_time_usec": 500_000, "duration": 60,
        "file_format": "mp4", "file_size": 40_100_200, "record_bps": 0, "task_id": "1807000000000000007",
        "video_url": "http://vod.example.com/f-0007.mp4",
    });
    deployment.feed(&mut worker, 0, &[Given::new(bridge.to_string(), at("2025-08-01T13:30:02Z"))]);
    assert_evening_counted(&worker);
    worker.stop();
    deployment.assert_settled();
    assert_evening_sessions(&deployment);
    assert_evening_dead_letters(&deployment, &shows);
    assert_evening_changelog(&deployment);
}

fn assert_evening_counted(worker: &crate::kafka::support::process::Worker) {
    let outcomes =
        [("accepted", 7), ("duplicate", 1), ("conflict", 1), ("late", 1), ("rejected", 0), ("hint", 8), ("other", 0)];
    for (outcome, expected) in outcomes {
        let counted = worker.metric(&format!("livesession_input_records_total{{outcome=\"{outcome}\"}}"));
        assert_eq!(counted, Some(f64::from(expected)), "{outcome}");
    }
    for (change, expected) in [("closed", 3.0), ("amended", 1.0), ("withdrawn", 1.0)] {
        let counted = worker.metric(&format!("livesession_publications_total{{change=\"{change}\"}}"));
        assert_eq!(counted, Some(expected), "{change}");
    }
    traffic::assert_conserved(worker);
}

fn assert_evening_sessions(deployment: &Deployment) {
    let records = deployment.read(&deployment.output);
    let short: Vec<String> = records.iter().map(|record| short(&record.json())).collect();
    assert_eq!(
        short,
        [
            format!("{ROOM_7} r1 push_ended f-0001 f-0004 f-0002 f-0003 at 2025-08-01T11:10:05.000Z"),
            "push.example.com/live/room-8 r1 watermark g-0001 at 2025-08-01T13:00:00.000Z".to_owned(),
            format!("{ROOM_7} r1 watermark f-0005 at 2025-08-01T13:28:00.001Z"),
            format!("{ROOM_7} r2 watermark f-0001 f-0004 f-0002 f-0003 f-0007 f-0005 at 2025-08-01T13:30:00.000Z"),
            format!("{ROOM_7} r2 withdrawn at 2025-08-01T13:30:00.000Z"),
        ]
    );
    // The last two are written down whole.
    for (record, name) in records[3..].iter().zip(["session-closed.json", "session-withdrawn.json"]) {
        let mut expected: Value = serde_json::from_str(&example(name)).unwrap();
        expected["source"]["topic"] = json!(deployment.input);
        let found = record.json();
        assert_eq!(found, expected, "{name}");
        let id = found["session_id"].as_str().unwrap();
        let kind = found["status"].as_str().unwrap();
        for (header, expected) in [
            ("content-type", "application/json"),
            ("ce_specversion", "1.0"),
            ("ce_id", &format!("{id}:2")),
            ("ce_source", &format!("/livesession/{}", deployment.name)),
            ("ce_type", &format!("livesession.session.{kind}.v1")),
            ("ce_time", "2025-08-01T13:30:00.000Z"),
            ("ce_subject", ROOM_7),
            ("ce_dataschema", "urn:livesession:session:v1"),
        ] {
            assert_eq!(record.header(header), Some(expected), "{header}");
        }
        assert_eq!(record.key.as_deref(), Some(ROOM_7));
    }
    assert_eq!(records[0].json()["session_id"], records[3].json()["session_id"], "the oldest seed keeps its id");
    assert_eq!(records[2].json()["session_id"], records[4].json()["session_id"]);
}

/// Returns a session as stream, revision, cause or status, files, watermark.
fn short(session: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cause = session["close_cause"].as_str().unwrap_or_else(|| session["status"].as_str().unwrap());
    let mut words = vec![text(&session["stream"]["key"]), format!("r{}", session["revision"]), cause.to_owned()];
    words.extend(session["segments"].as_array().unwrap().iter().map(|segment| text(&segment["file_id"])));
    words.push(format!("at {}", text(&session["watermark"])));
    words.join(" ")
}

fn assert_evening_dead_letters(deployment: &Deployment, shows: &[Value]) {
    let letters = deployment.read(&deployment.dead_letter);
    assert_eq!(letters.len(), 2);
    for (letter, (offset, reason)) in letters.iter().zip([(10, "conflict"), (12, "late")]) {
        let show = &shows[offset];
        assert_dead_letter(deployment, letter, &given(show), 0, offset, reason);
        assert_eq!(letter.header("livesession-dlq-stage"), Some("accept"));
        assert!(letter.header("__dlq.errors.message").is_some_and(|text| !text.contains("f-000")));
    }
}

/// Checks that a dead letter is the record that was refused, and says where it was and why.
fn assert_dead_letter(
    deployment: &Deployment,
    letter: &Found,
    original: &Given,
    partition: i32,
    offset: usize,
    reason: &str,
) {
    assert_eq!(letter.key, original.key);
    assert_eq!(letter.value, original.value);
    let timestamp = original.timestamp.unwrap().to_string();
    for (header, expected) in [
        ("trace", "4bf92f3577b34da6"),
        ("__dlq.errors.topic", &deployment.input),
        ("__dlq.errors.partition", &partition.to_string()),
        ("__dlq.errors.offset", &offset.to_string()),
        ("__dlq.errors.group", &deployment.name),
        ("livesession-dlq-reason", reason),
        ("livesession-dlq-version", "1"),
        ("livesession-dlq-timestamp", &timestamp),
    ] {
        assert_eq!(letter.header(header), Some(expected), "{header}");
    }
    assert_eq!(letter.header("livesession-dlq-replays"), None, "a first refusal");
}

fn assert_evening_changelog(deployment: &Deployment) {
    let state = deployment.state(0);
    let kind = |prefix: &str| state.keys().filter(|key| key.starts_with(prefix)).cloned().collect::<BTreeSet<_>>();
    let newest = traffic::newest(deployment);
    let closed: BTreeSet<String> =
        newest.iter().filter(|(_, value)| value["status"] == "closed").map(|(id, _)| format!("p/{id}")).collect();
    assert_eq!(kind("p/"), closed, "heads of what is published and not withdrawn");
    assert_eq!(kind("h/"), BTreeSet::from([format!("h/{ROOM_7}")]));
    assert_eq!(state["m"]["watermark"], at("2025-08-01T13:30:00Z"));
    let batches = serde_json::to_string(&kind("b/").iter().map(|key| &state[key]).collect::<Vec<_>>()).unwrap();
    for file in ["f-0001", "f-0002", "f-0003", "f-0004", "f-0005", "f-0007", "g-0001"] {
        assert_eq!(batches.matches(&format!("\"{file}\"")).count(), 1, "{file} is in one batch");
    }
    assert!(!batches.contains("f-0006"), "what was late was never accepted");
}

/// All examples on one partition, under rules by which nothing is late and nothing forgotten.
fn examples(broker: &Broker) {
    let mut deployment = Deployment::new(broker, 1);
    deployment.settings = deployment.settings.with("grouping.allowed_lateness = \"30000d\"");
    let mut worker = deployment.start_ready("a");
    let mut examples = example_notifications();
    // No client of today can write a record without a timestamp.
    examples.retain(|example| example["kafka_timestamp_ms"] != -1);
    let too_large =
        Given::new(format!("{{\"event_type\":100,\"x\":\"{}\"}}", "x".repeat(300_000)), at("2026-01-01T00:00:00Z"));
    let records: Vec<Given> = examples.iter().map(given).chain([too_large]).collect();
    deployment.feed(&mut worker, 0, &records);

    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::from([("too_large".to_owned(), 1)]);
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    *outcomes.entry("rejected").or_default() += 1;
    for example in &examples {
        let expect = &example["expect"];
        let outcome = match expect["kind"].as_str().unwrap() {
            "hint" => "hint",
            "ignored" => "other",
            "dead_letter" => {
                *reasons.entry(expect["reason"].as_str().unwrap().to_owned()).or_default() += 1;
                "rejected"
            }
            _ => {
                let interval = json!([expect["start_ms"], expect["end_ms"]]);
                match known.get(&format!("{} {}", expect["stream"], expect["file_id"])) {
                    None => {
                        known.insert(format!("{} {}", expect["stream"], expect["file_id"]), interval);
                        "accepted"
                    }
                    Some(before) if *before == interval => "duplicate",
                    Some(_) => {
                        *reasons.entry("conflict".to_owned()).or_default() += 1;
                        "conflict"
                    }
                }
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    for (outcome, expected) in &outcomes {
        let counted = worker.metric(&format!("livesession_input_records_total{{outcome=\"{outcome}\"}}"));
        assert_eq!(counted, Some(*expected as f64), "{outcome}");
    }
    for (reason, expected) in &reasons {
        let counted = worker.metric(&format!("livesession_dead_letters_total{{reason=\"{reason}\"}}"));
        assert_eq!(counted, Some(*expected as f64), "{reason}");
    }
    assert_eq!(worker.sum("livesession_dead_letters_total"), reasons.values().sum::<usize>() as f64);
    traffic::assert_conserved(&worker);
    worker.stop();
    deployment.assert_settled();
    let letters = deployment.read(&deployment.dead_letter);
    traffic::assert_refused_once(&deployment, reasons.values().sum());
    for letter in &letters {
        let offset: usize = letter.header("__dlq.errors.offset").unwrap().parse().unwrap();
        assert_eq!((&letter.key, &letter.value), (&records[offset].key, &records[offset].value), "offset {offset}");
    }
}

fn batch(broker: &Broker) {
    let traffic = Traffic::generate(1, 2, 40);
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(RULES);
    traffic.produce(&deployment);
    let mut worker = deployment.start_ready("a");
    deployment.wait_read(&mut worker);
    traffic.assert_counted(&worker);
    worker.wait_for("a lag of 0", PATIENCE, |worker| {
        worker.sum("livesession_partition_lag_records") == 0.0
            && worker.metrics().contains("lag_records{partition=\"1\"}")
    });
    worker.stop();
    traffic.assert_result(&deployment);
}

/// Told to stop while it reads, and started again, several times.
fn stopped(broker: &Broker) {
    let traffic = Traffic::generate(2, 2, 60);
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(RULES).with("kafka.commit_max_records = 10");
    for part in 0..4 {
        traffic.produce_part(&deployment, part, 4);
        let mut worker = deployment.start_ready("a");
        if part < 3 {
            worker.wait_metric("livesession_input_records_read_total", |read| read > 0.0);
            worker.stop();
            assert!(worker.log().contains("worker stopped; open sessions stay open"), "{}", worker.log());
            let (marker, committed) = (deployment.state(0)["m"]["next_offset"].as_i64(), deployment.committed()[0]);
            assert_eq!(marker, committed, "after a stop");
        } else {
            deployment.wait_read(&mut worker);
            worker.stop();
        }
    }
    traffic.assert_result(&deployment);
}

fn shared(broker: &Broker) {
    let traffic = Traffic::generate(3, 4, 30);
    let mut deployment = Deployment::new(broker, 4);
    deployment.settings = deployment.settings.with(RULES);
    traffic.produce_part(&deployment, 0, 4);
    let assigned = |count: f64| move |value: f64| value == count;
    let mut first = deployment.start_ready("a");
    first.wait_metric("livesession_assigned_partitions", assigned(4.0));
    let mut second = deployment.start_ready("b");
    second.wait_metric("livesession_assigned_partitions", assigned(2.0));
    first.wait_metric("livesession_assigned_partitions", assigned(2.0));
    first.wait_ready();
    traffic.produce_part(&deployment, 1, 4);
    deployment.wait_read(&mut first);
    second.stop();
    first.wait_metric("livesession_assigned_partitions", assigned(4.0));
    first.wait_ready();
    traffic.produce_part(&deployment, 2, 4);
    // It comes back while the first one reads.
    let mut second = deployment.start_ready("b");
    second.wait_metric("livesession_assigned_partitions", assigned(2.0));
    traffic.produce_part(&deployment, 3, 4);
    deployment.wait_read(&mut second);
    let series = |worker: &crate::kafka::support::process::Worker| {
        let metrics = worker.metrics();
        metrics.lines().filter(|line| line.starts_with("livesession_partition_lag_records{")).count()
    };
    assert_eq!((series(&first), series(&second)), (2, 2), "series of partitions that were given away are gone");
    for worker in [&first, &second] {
        assert!(!worker.log().contains("building the worker again"), "{}", worker.log());
        assert_eq!(worker.metric("livesession_input_partitions"), Some(4.0));
        traffic::assert_conserved(worker);
    }
    first.stop();
    second.stop();
    traffic.assert_result(&deployment);
}

fn threads(broker: &Broker) {
    let traffic = Traffic::generate(4, 4, 20);
    let mut deployment = Deployment::new(broker, 4);
    deployment.settings = deployment.settings.with(RULES).with("workers = 2");
    traffic.produce_part(&deployment, 0, 2);
    let mut worker = deployment.start_ready("a");
    let (_, checks) = worker.get("/readyz?verbose").unwrap();
    assert!(checks.contains("worker-0") && checks.contains("worker-1"), "{checks}");
    worker.wait_metric("livesession_assigned_partitions", |value| value == 4.0);
    traffic.produce_part(&deployment, 1, 2);
    deployment.wait_read(&mut worker);
    worker.wait_metric("livesession_restoring_partitions", |value| value == 0.0);
    traffic.assert_counted(&worker);
    worker.stop();
    traffic.assert_result(&deployment);
}

/// Nothing more comes on the partition: the wall clock closes what is open, and then nothing is written any more.
fn idle(broker: &Broker) {
    let mut deployment = Deployment::new(broker, 2);
    deployment.settings = deployment.settings.with(
        r#"
        grouping.gap = "1s"
        grouping.recording_interval = "1s"
        grouping.notification_delay = "1s"
        grouping.idle_after = "1s"
        "#,
    );
    let mut worker = deployment.start_ready("a");
    let now = livesession::clock::now().as_ms() / 1_000 * 1_000;
    deployment.feed(&mut worker, 0, &[traffic::segment("lone", "f", now - 60_000, now - 1_000)]);
    let closed = "livesession_sessions_closed_total{cause=\"watermark\"}";
    worker.wait_metric(closed, |value| value == 1.0);
    assert_eq!(worker.metric("livesession_watermark_advances_total{by=\"punctuation\"}"), Some(1.0));
    let session = deployment.read(&deployment.output).remove(0).json();
    assert!(at(session["watermark"].as_str().unwrap()) > now + 2_000, "{session}");

    let ends = || (deployment.ends(&deployment.changelog), deployment.ends(&deployment.output));
    let before = ends();
    let turns = worker.metric("livesession_last_turn_timestamp_seconds").unwrap();
    let turned = |value: f64| value > turns + 4.0;
    worker.wait_metric("livesession_last_turn_timestamp_seconds", turned);
    assert_eq!(ends(), before, "what changes nothing writes nothing");
    worker.stop();
    assert_eq!(ends(), before, "nor does a stop");

    // A restart goes on where it was.
    let mut worker = deployment.start_ready("a");
    assert!(!wait_until(Duration::from_secs(3), || ends() != before), "nor does a start");
    assert_eq!(worker.metric(closed), Some(0.0));
    worker.stop();
    deployment.assert_settled();
}

/// Names, types and labels, as `schemas/metrics.txt` has them.
fn metrics(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    let mut worker = deployment.start_ready("a");
    deployment.feed(&mut worker, 0, &[traffic::segment("s", "f", 1_772_323_200_000, 1_772_323_260_000)]);
    wait("an HTTP request that was counted", || worker.metrics().contains("livesession_http_requests_total{"));
    let shown = worker.metrics();
    let path = format!("{}/schemas/metrics.txt", env!("CARGO_MANIFEST_DIR"));
    let mut expected_names = BTreeSet::new();
    for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [name, kind, labels, help] = columns[..] else { panic!("{line}") };
        expected_names.insert(name.to_owned());
        if name.starts_with("livesession_index_") {
            // There is no index in this process.
            continue;
        }
        assert!(shown.contains(&format!("# HELP {name} {help}\n")), "{name}: help");
        assert!(shown.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {kind}");
        assert_labels(&shown, name, kind, labels);
    }
    let shown_names: BTreeSet<String> =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    assert_eq!(shown_names.difference(&expected_names).collect::<Vec<_>>(), Vec::<&String>::new());
    worker.stop();
}

/// Checks the labels of every series of a metric against `label, label{value value}`.
fn assert_labels(shown: &str, name: &str, kind: &str, labels: &str) {
    let mut closed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut expected: BTreeSet<&str> = BTreeSet::new();
    for label in labels.split(", ").filter(|label| !label.is_empty()) {
        let (label, values) = label.split_once('{').unwrap_or((label, ""));
        expected.insert(label);
        if !values.is_empty() {
            closed.insert(label, values.trim_end_matches('}').split(' ').collect());
        }
    }
    let sample = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut series = 0;
    for line in shown.lines().filter_map(|line| line.strip_prefix(&sample)) {
        let Some(inside) = line.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(inside, _)| inside)
        else {
            series += usize::from(line.starts_with(' '));
            continue;
        };
        series += 1;
        let pairs: Vec<(&str, &str)> = inside.split(',').filter_map(|pair| pair.split_once('=')).collect();
        assert_eq!(pairs.iter().map(|(label, _)| *label).collect::<BTreeSet<_>>(), expected, "{name}");
        pairs.iter().for_each(|(label, value)| {
            found.entry(label).or_default().insert(value.trim_matches('"'));
        });
    }
    assert!(series > 0, "{name} has no series");
    for (label, values) in closed {
        assert_eq!(found.get(label), Some(&values), "{name}: values of {label}");
    }
}
