//! The alerts, provoked: a worker is broken in six ways, its own `/metrics` are scraped, and the rules are evaluated over them.
//!
//! What happens takes seconds and the rules look at minutes, so the history is played slower: every stage between two scrapes
//! is stretched to a number of minutes, with straight lines between the scrapes, and times in the metrics are stretched along.
//! Stages last powers of two minutes: lines between whole numbers are then exact, and sums of them too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use livesession::clock;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rusqlite::Connection;
use serde_json::json;

use crate::kafka::support::broker::{self, Broker, wait_until};
use crate::kafka::support::deployment::{Deployment, Given};
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic;
use crate::kafka::{Body, Test};

const PROMTOOL: &str = "promtool";

pub const TESTS: &[Test] = &[
    Test { name: "each_fires_when_it_should_and_no_other", body: Body::With(PROMTOOL, provoked) },
    Test { name: "promtool_finds_no_fault_in_the_metrics", body: Body::With(PROMTOOL, metrics) },
];

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/alerts.yaml");
/// What the worker is in Prometheus.
const TARGET: &str = "job=\"livesession\",instance=\"worker:9464\"";
/// Records of an upstream transaction that stays open: more than the alert's threshold.
const WAITING: usize = 30_000;
/// 2026-03-01T00:00:00Z, in ms.
const BEGIN: i64 = 1_772_323_200_000;
const MINUTE: i64 = 60_000;

/// What a scrape found, when: series with their values; empty if nobody answered.
struct Scrape {
    at: f64,
    series: BTreeMap<String, f64>,
}

/// A history in stages.
struct History<'a> {
    deployment: &'a Deployment,
    worker: Worker,
    /// The metrics that the rules name.
    names: BTreeSet<String>,
    scrapes: Vec<Scrape>,
    /// Of each stage: its minutes, and the alerts that fire at its end.
    stages: Vec<(usize, &'static [&'static str])>,
    files: i64,
}

impl<'a> History<'a> {
    fn begin(deployment: &'a Deployment) -> History<'a> {
        let rules = fs::read_to_string(RULES).unwrap();
        let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| word.starts_with("livesession_")).map(str::to_owned).collect();
        let worker = deployment.start_ready("a");
        let mut history = History { deployment, worker, names, scrapes: Vec::new(), stages: Vec::new(), files: 0 };
        history.feed(0);
        history.worker.wait_metric("livesession_partition_watermark_timestamp_seconds{partition=\"1\"}", |at| at > 0.0);
        history.scrape();
        history
    }

    fn scrape(&mut self) {
        let text = self.worker.metrics();
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let wanted = lines.filter(|(series, _)| self.names.contains(series.split('{').next().unwrap_or_default()));
        let series = wanted.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect();
        self.scrapes.push(Scrape { at: clock::now().as_ms() as f64 / 1e3, series });
    }

    /// Ends a stage of so many minutes.
    fn stage(&mut self, minutes: usize, firing: &'static [&'static str]) {
        assert!(minutes.is_power_of_two());
        self.scrape();
        self.stages.push((minutes, firing));
    }

    /// Writes a good file to each partition, and so many records that are refused.
    fn feed(&mut self, refused: usize) {
        self.files += 1;
        let end = BEGIN + self.files * 30 * MINUTE;
        for partition in 0..2 {
            let mut records = vec![traffic::segment("a", &format!("f{}", self.files), end - 20 * MINUTE, end)];
            records.resize_with(1 + refused, traffic::garbage);
            self.deployment.feed(&mut self.worker, partition, &records);
        }
        self.worker.wait_metric("livesession_partition_lag_records{partition=\"0\"}", |lag| lag == 0.0);
        self.worker.wait_metric("livesession_partition_lag_records{partition=\"1\"}", |lag| lag == 0.0);
    }

    /// Returns the minute of a wall time, in which the stages are stretched.
    fn minute(&self, at: f64) -> f64 {
        let mut minute = 0.0;
        for (pair, (minutes, _)) in self.scrapes.windows(2).zip(&self.stages) {
            let part = (at - pair[0].at) / (pair[1].at - pair[0].at);
            minute += *minutes as f64 * part.clamp(0.0, 1.0);
        }
        minute
    }

    /// Returns a value of a scrape as the rules are to see it.
    fn seen(&self, scrape: &Scrape, series: &str) -> Option<f64> {
        let value = *scrape.series.get(series)?;
        Some(match series {
            // How old it is takes a part of a second, which is not to become minutes.
            "livesession_last_turn_timestamp_seconds" => 60.0 * self.minute(scrape.at) - (scrape.at - value),
            "livesession_index_last_commit_timestamp_seconds" => 60.0 * self.minute(value),
            _ => value,
        })
    }

    /// Returns the values of a series, a minute apart; `_` where it is not there.
    fn values(&self, series: &str) -> String {
        let found = |scrape| self.seen(scrape, series);
        let mut values = vec![found(&self.scrapes[0])];
        for (pair, (minutes, _)) in self.scrapes.windows(2).zip(&self.stages) {
            for minute in 1..=*minutes {
                let part = minute as f64 / *minutes as f64;
                let line = found(&pair[0]).zip(found(&pair[1])).map(|(from, to)| from + (to - from) * part);
                values.push(if minute == *minutes { found(&pair[1]) } else { line });
            }
        }
        let texts = values.iter().map(|value| value.map_or("_".to_owned(), |value| value.to_string()));
        texts.collect::<Vec<_>>().join(" ")
    }

    /// Returns the file with which promtool evaluates the rules over the history.
    fn rule_test(&self) -> serde_json::Value {
        let names: BTreeSet<&String> = self.scrapes.iter().flat_map(|scrape| scrape.series.keys()).collect();
        let mut input: Vec<_> = names
            .into_iter()
            .map(|series| {
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let separator = if labels == "}" { "" } else { "," };
                json!({"series": format!("{name}{{{TARGET}{separator}{labels}"), "values": self.values(series)})
            })
            .collect();
        let mut up = vec!["1"];
        for (scrape, (minutes, _)) in self.scrapes[1..].iter().zip(&self.stages) {
            up.extend(vec![if scrape.series.is_empty() { "0" } else { "1" }; *minutes]);
        }
        input.push(json!({"series": format!("up{{{TARGET}}}"), "values": up.join(" ")}));
        let mut end = 0;
        let checks: Vec<_> = self
            .stages
            .iter()
            .map(|(minutes, firing)| {
                end += minutes;
                let samples = firing
                    .iter()
                    .map(|name| json!({"labels": format!("{{alertname=\"Livesession{name}\"}}"), "value": 1}));
                json!({
                    "expr": "count by (alertname) (ALERTS{alertstate=\"firing\"})",
                    "eval_time": format!("{end}m"),
                    "exp_samples": samples.collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "rule_files": [RULES],
            "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": input, "promql_expr_test": checks}],
        })
    }
}

/// Writes to the input in a transaction that is ended by the caller.
fn waiting(deployment: &Deployment) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &deployment.bootstrap)
        .set("transactional.id", format!("{}-upstream", deployment.name))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for _ in 0..WAITING {
        let record = BaseRecord::<(), str>::to(&deployment.input).partition(0).payload(r#"{"event_type":200}"#);
        producer.send(record).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    producer
}

/// Joins the group of the workers and takes a partition, as a program that was given the wrong group id does.
fn intruder(deployment: &Deployment) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &deployment.bootstrap)
        .set("group.id", &deployment.name)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("heartbeat.interval.ms", "300")
        .create()
        .unwrap();
    consumer.subscribe(&[&deployment.input]).unwrap();
    consumer
}

fn set_limit(deployment: &Deployment, bytes: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &deployment.bootstrap).create().unwrap();
    let change = AlterConfig::new(ResourceSpecifier::Topic(&deployment.changelog))
        .set("cleanup.policy", "compact")
        .set("max.message.bytes", bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let results = runtime.block_on(admin.alter_configs([&change], &AdminOptions::new())).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[allow(clippy::disallowed_methods, reason = "whoever is upstream uses a bare client")]
fn provoked(broker: &Broker) {
    let mut deployment = Deployment::new(broker, 2);
    let folder = broker::temporary();
    let index = folder.join(format!("{}.db", deployment.name));
    deployment.settings = deployment.settings.with(&format!("index.enabled = true\nindex.path = {index:?}"));
    let mut history = History::begin(&deployment);
    history.feed(0);
    history.stage(32, &[]);

    history.feed(20);
    history.stage(64, &["DeadLettersHigh"]);
    history.feed(0);
    history.stage(32, &[]);

    // A transaction upstream stays open: nobody may read what comes behind it.
    let upstream = waiting(&deployment);
    let lag = "livesession_partition_lag_records{partition=\"0\"}";
    history.worker.wait_metric(lag, |lag| lag >= WAITING as f64);
    history.stage(64, &["LagGrowing", "WatermarkStalled"]);
    upstream.commit_transaction(PATIENCE).unwrap();
    history.worker.wait_metric(lag, |lag| lag == 0.0);
    history.stage(32, &[]);

    let intruder = intruder(&deployment);
    history.worker.wait_for("a partition that is lost to another", PATIENCE, |worker| {
        intruder.poll(Duration::from_millis(50));
        worker.metric("livesession_assigned_partitions") == Some(1.0)
    });
    history.stage(32, &["PartitionsUnowned"]);
    intruder.unsubscribe();
    history.worker.wait_for("both partitions again", PATIENCE, |worker| {
        intruder.poll(Duration::from_millis(50));
        worker.metric("livesession_assigned_partitions") == Some(2.0)
    });
    history.worker.wait_metric("livesession_restoring_partitions", |count| count == 0.0);
    history.feed(0);
    history.stage(32, &[]);

    // Sessions of last spring are published, and the index is locked by another program.
    let sql = Connection::open(&index).unwrap();
    sql.execute_batch("BEGIN IMMEDIATE").unwrap();
    let far = traffic::hint(BEGIN + 100_000 * MINUTE);
    deployment.feed(&mut history.worker, 0, std::slice::from_ref(&far));
    deployment.feed(&mut history.worker, 1, &[far]);
    history.worker.wait_for("an index that lags", PATIENCE, |worker| worker.sum("livesession_index_lag_records") > 0.0);
    history.stage(32, &["IndexStale", "PublishDelayHigh"]);
    sql.execute_batch("ROLLBACK").unwrap();
    history
        .worker
        .wait_for("an index that is whole", PATIENCE, |worker| worker.sum("livesession_index_lag_records") == 0.0);
    history.files = 4_000;
    history.feed(0);
    history.stage(64, &[]);

    // The changelog takes no record any more.
    set_limit(&deployment, "100");
    let end = BEGIN + 4_001 * 30 * MINUTE;
    deployment.produce(1, &[traffic::segment("a", "f", end - MINUTE, end)]);
    let aborted = "livesession_transactions_total{outcome=\"aborted\"}";
    history.worker.wait_metric(aborted, |count| count >= 5.0);
    // It rests in between, for a second by now.
    let (seen, since) = (history.worker.metric(aborted).unwrap(), clock::instant());
    history.worker.wait_metric(aborted, |count| count >= seen + 4.0);
    assert!(since.elapsed() > Duration::from_secs(3), "{:?}", since.elapsed());
    history.stage(16, &["TransactionsFailing"]);
    // The runbook sends the reader there.
    let log = history.worker.log();
    assert!(
        log.lines().any(|line| line.contains(&deployment.changelog) && line.contains("MSG_SIZE_TOO_LARGE")),
        "{log}"
    );
    set_limit(&deployment, "2097152");
    history.feed(0);
    history.stage(32, &[]);

    history.worker.freeze();
    history.stage(16, &["Down"]);
    history.worker.thaw();
    history.worker.stop();

    let file = folder.join(format!("{}-alerts.json", deployment.name));
    fs::write(&file, history.rule_test().to_string()).unwrap();
    let output = Command::new(PROMTOOL).args(["test", "rules"]).arg(&file).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}{}", file.display(), said(&output.stdout), said(&output.stderr));
    for file in [file, index.clone(), index.with_extension("db-wal"), index.with_extension("db-shm")] {
        // Files that stay behind only take space.
        let _ = fs::remove_file(file);
    }
}

/// Asks promtool about the metrics of a worker that has done something.
fn metrics(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    let mut worker = deployment.start_ready("a");
    deployment.feed(&mut worker, 0, &[Given::new("no json", BEGIN), traffic::segment("a", "f", BEGIN, BEGIN + MINUTE)]);
    assert!(wait_until(PATIENCE, || worker.get("/readyz").is_some()));
    let mut child = Command::new(PROMTOOL)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(worker.metrics().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
    worker.stop();
}
