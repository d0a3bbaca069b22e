//! The index against a topic that was recreated or cut, and the commands that compare the two. Also `sessions open`.

use livesession_grouping::time::Timestamp;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::{Offset, TopicPartitionList};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::kafka::indexer::{Indexed, all};
use crate::kafka::inputs::Upstream;
use crate::kafka::support::broker::Broker;
use crate::kafka::support::deployment::Given;
use crate::kafka::support::process::PATIENCE;
use crate::kafka::support::traffic::{Traffic, segment};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("topic_that_was_made_again_stops_the_indexer_until_a_rebuild", recreated),
    test("topic_that_was_made_again_and_is_as_long_stops_the_indexer", replaced),
    test("topic_that_lost_only_markers_is_read_on", markers),
    test("topic_that_lost_what_was_not_indexed_stops_the_indexer_until_a_rebuild", cut),
    test("indexer_goes_on_after_a_rebuild_beside_it", rebuilt_beside),
    test("indexer_waits_for_a_file_that_another_process_has_locked", locked),
    test("verify_finds_every_row_that_somebody_changed", tampered),
    test("open_sessions_say_what_they_wait_for", open),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

/// Does what an operator's tools do to topics.
struct Tools {
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Tools {
    fn new(indexed: &Indexed) -> Tools {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let admin = ClientConfig::new().set("bootstrap.servers", &indexed.deployment.bootstrap).create().unwrap();
        Tools { admin, runtime }
    }

    fn delete_topic(&self, topic: &str) {
        let results = self.runtime.block_on(self.admin.delete_topics(&[topic], &AdminOptions::new())).unwrap();
        assert_eq!(results, [Ok(topic.to_owned())]);
    }

    /// Deletes the records of partition 0 before an offset, as retention does.
    fn delete_before(&self, topic: &str, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        let results = self.runtime.block_on(self.admin.delete_records(&list, &AdminOptions::new())).unwrap();
        results.elements()[0].error().unwrap();
    }
}

/// Once while the indexer runs, once while it does not.
fn recreated(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(31, 1, 20));
    let mut worker = indexed.start_with_half(&traffic, "index");
    let before = all(&indexed.path);
    let output = &indexed.deployment.output;
    Tools::new(&indexed).delete_topic(output);
    indexed.create(output, "delete");
    assert_eq!(worker.wait_exit(PATIENCE), 78, "while it runs");
    assert_eq!(indexed.start("index").wait_exit(PATIENCE), 78, "at the start");
    let log = worker.log();
    assert!(log.contains("was deleted and made again"), "{log}");
    assert!(log.contains("livesession index rebuild"), "{log}");
    assert_eq!(all(&indexed.path), before, "nothing is lost unless somebody says so");
    let verified = indexed.command(&["index", "verify"]);
    assert_eq!(verified.code, 1, "{verified:?}");

    indexed.publish(&traffic, 1, 2);
    indexed.ok(&["index", "rebuild"]);
    let mut again = indexed.start("index");
    again.wait_ready();
    again.stop();
    indexed.ok(&["index", "verify"]);
    assert!(!all(&indexed.path).is_empty());
}

/// The new topic has a record at the offset where the indexer goes on: only the topic's id tells.
fn replaced(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(36, 1, 20));
    indexed.publish(&traffic, 0, 1);
    let mut worker = indexed.start("index");
    worker.wait_ready();
    indexed.wait_indexed(&mut worker);
    let (before, output) = (all(&indexed.path), &indexed.deployment.output);
    let (records, end) = (indexed.deployment.read(output), indexed.deployment.end(output, 0));
    worker.freeze();
    Tools::new(&indexed).delete_topic(output);
    indexed.create(output, "delete");
    while indexed.deployment.end(output, 0) <= end {
        for record in &records {
            indexed.write(output, std::str::from_utf8(record.value.as_ref().unwrap()).unwrap());
        }
    }
    worker.thaw();
    assert_eq!(worker.wait_exit(PATIENCE), 78);
    assert!(worker.log().contains("was deleted and made again"), "{}", worker.log());
    assert_eq!(indexed.start("index").wait_exit(PATIENCE), 78, "at the start");
    assert_eq!(all(&indexed.path), before);
}

/// Returns how far an index has read partition 0 of the topic.
fn stored(indexed: &Indexed) -> i64 {
    let sql = Connection::open(&indexed.path).unwrap();
    sql.query_row("SELECT next FROM topic_offset WHERE partition = 0", [], |row| row.get(0)).unwrap()
}

/// Retention deletes markers and aborted records too.
fn markers(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(33, 1, 20));
    let mut worker = indexed.start_with_half(&traffic, "index");
    let (deployment, output) = (&indexed.deployment, &indexed.deployment.output);
    let aborted = Upstream::to(deployment, output);
    aborted.open(deployment, 0, &[Given::new("never seen", 0)]);
    aborted.abort();
    let mut end = 0;
    worker.wait_for("an offset behind the marker", PATIENCE, |_| {
        end = deployment.end(output, 0);
        stored(&indexed) == end
    });
    worker.stop();
    Tools::new(&indexed).delete_before(output, end);
    let mut again = indexed.start("index");
    again.wait_ready();
    indexed.publish(&traffic, 1, 2);
    again.wait_metric("livesession_index_lag_records{partition=\"0\"}", |lag| lag == 0.0);
    again.stop();
}

fn cut(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(32, 1, 30));
    let mut worker = indexed.start_with_half(&traffic, "index");
    worker.stop();
    let output = &indexed.deployment.output;
    let indexed_to = indexed.deployment.end(output, 0);
    Tools::new(&indexed).delete_before(output, indexed_to);
    let mut unharmed = indexed.start("index");
    unharmed.wait_ready();
    unharmed.stop();

    indexed.publish(&traffic, 1, 2);
    Tools::new(&indexed).delete_before(output, indexed_to + 1);
    let mut stopped = indexed.start("index");
    assert_eq!(stopped.wait_exit(PATIENCE), 78);
    let log = stopped.log();
    assert!(log.contains("retention cut 1 records of partition 0"), "{log}");
    assert!(log.contains("livesession index rebuild"), "{log}");
    let refused = indexed.command(&["index", "rebuild"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    indexed.ok(&["index", "rebuild", "--yes"]);
    let mut again = indexed.start("index");
    again.wait_ready();
    again.stop();
    indexed.ok(&["index", "verify"]);
}

/// The file is filled anew while an indexer has it open: once to where the indexer is, once, while it is frozen, to beyond.
fn rebuilt_beside(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 2), Traffic::generate(33, 2, 45));
    indexed.publish(&traffic, 0, 3);
    let mut worker = indexed.start("index");
    worker.wait_ready();
    indexed.wait_indexed(&mut worker);
    let sql = Connection::open(&indexed.path).unwrap();
    sql.execute("UPDATE session SET recorded_ms = recorded_ms + 1", []).unwrap();
    drop(sql);
    assert_eq!(indexed.command(&["index", "verify"]).code, 1);
    indexed.ok(&["index", "rebuild"]);
    indexed.ok(&["index", "verify"]);
    worker.freeze();
    indexed.publish(&traffic, 1, 3);
    indexed.ok(&["index", "rebuild"]);
    worker.thaw();
    worker.wait_for("the rebuild noticed", PATIENCE, |worker| worker.log().contains("the index was filled anew"));
    worker.wait_ready();
    indexed.publish(&traffic, 2, 3);
    indexed.wait_indexed(&mut worker);
    worker.stop();
    indexed.assert_agrees();
}

/// Locked for longer than one attempt waits, and read by the query API meanwhile.
fn locked(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(35, 1, 20));
    let mut worker = indexed.start("index");
    worker.wait_ready();
    let sql = Connection::open(&indexed.path).unwrap();
    sql.execute_batch("BEGIN IMMEDIATE").unwrap();
    indexed.publish(&traffic, 0, 1);
    worker.wait_metric("livesession_index_transactions_total{outcome=\"failed\"}", |failed| failed > 0.0);
    assert!(worker.sum("livesession_index_lag_records") > 0.0, "what could not be written is missing");
    assert!(all(&indexed.path).is_empty());
    assert_eq!(worker.get("/api/v1/sessions").unwrap().0, 200);
    assert_eq!(worker.get("/livez").unwrap().0, 200);
    sql.execute_batch("ROLLBACK").unwrap();
    indexed.wait_indexed(&mut worker);
    worker.stop();
    indexed.assert_agrees();
}

fn tampered(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 2), Traffic::generate(34, 2, 30));
    indexed.publish(&traffic, 0, 1);
    indexed.ok(&["index", "rebuild"]);
    assert_eq!(indexed.ok(&["index", "verify"]), "", "no difference");
    let sql = Connection::open(&indexed.path).unwrap();
    let ids: Vec<String> = sql
        .prepare("SELECT session_id FROM session WHERE status = 'closed' ORDER BY session_no LIMIT 5")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let row = "(SELECT session_no FROM session WHERE session_id = ?1)";
    for (id, change) in [
        (&ids[0], "UPDATE session SET recorded_ms = recorded_ms + 1 WHERE session_id = ?1".to_owned()),
        (&ids[1], format!("UPDATE segment SET file_id = 'x' WHERE seq = 0 AND session_no = {row}")),
        (&ids[2], "UPDATE session SET revision = revision + 1 WHERE session_id = ?1".to_owned()),
        (&ids[3], "UPDATE session SET session_id = 'stranger' WHERE session_id = ?1".to_owned()),
    ] {
        assert_eq!(sql.execute(&change, [id]).unwrap(), 1, "{change}");
    }
    drop(sql);
    let verified = indexed.command(&["index", "verify", "--json"]);
    assert_eq!(verified.code, 1, "{verified:?}");
    let mut found: Vec<(String, String)> = verified
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["session_id"].as_str().unwrap().to_owned(), line["difference"].as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    let kinds = ["differs", "differs", "differs", "missing"].map(str::to_owned);
    let mut expected: Vec<(String, String)> = ids.into_iter().zip(kinds).collect();
    expected.push(("stranger".to_owned(), "extra".to_owned()));
    expected.sort();
    assert_eq!(found, expected);
}

/// 2026-03-01T00:00:00Z.
const BEGIN: i64 = 1_772_323_200_000;
const MINUTE: i64 = 60_000;

fn push(stream: &str, event: i32, at: i64) -> Given {
    let hint = json!({ "event_type": event, "stream_id": stream, "event_time": at / 1_000, "sequence": "1" });
    Given::new(hint.to_string(), at)
}

/// Three streams with the same file: one without hints, one that went off air with its end, one that is still on air.
fn open(broker: &Broker) {
    let indexed = Indexed::new(broker, 1);
    let end = BEGIN + 10 * MINUTE;
    let mut worker = indexed.deployment.start_ready("worker");
    let records = [
        push("left", 1, BEGIN),
        push("on", 1, BEGIN),
        segment("silent", "f-1", BEGIN, end),
        segment("left", "f-2", BEGIN, end),
        segment("on", "f-3", BEGIN, end),
        push("left", 0, end),
    ];
    indexed.deployment.feed(&mut worker, 0, &records);
    let lines = indexed.ok(&["sessions", "open"]);
    let mut found: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    found.sort_by_key(|line| line["session"]["stream"]["key"].as_str().unwrap().to_owned());
    let at = |ms: i64| Timestamp::from_ms(ms).unwrap().to_string();
    // gap 3 min, recording_interval 30 min, notification_delay 1 min, max_hold 12 h.
    let expected = [
        ("//left", "off_air", json!(at(end)), at(end + 4 * MINUTE)),
        ("//on", "on_air", Value::Null, at(end + 720 * MINUTE)),
        ("//silent", "next_file", Value::Null, at(end + 34 * MINUTE)),
    ];
    assert_eq!(found.len(), expected.len(), "{lines}");
    for (line, (stream, waiting, since, closes_after)) in found.iter().zip(expected) {
        assert_eq!(line["session"]["stream"]["key"], stream);
        assert_eq!(line["waiting"], waiting, "{line}");
        assert_eq!(line["off_air_since"], since, "{line}");
        assert_eq!(line["closes_after"], json!(closes_after), "{line}");
        assert_eq!((&line["session"]["status"], &line["session"]["revision"]), (&json!("open"), &json!(0)));
    }
    let one = indexed.ok(&["sessions", "open", "--stream", "//silent", "--csv"]);
    assert_eq!(one.lines().count(), 2, "{one}");
    assert!(one.contains("//silent"), "{one}");
    assert_eq!(indexed.ok(&["sessions", "open", "--stream", "//nobody"]), "");
    worker.stop();
}
