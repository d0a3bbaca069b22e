//! The schemas: that they refuse, that they are complete, that they agree with the code.

use std::collections::BTreeSet;

use livesession_formats::notification::Reason;
use livesession_grouping::{Anomaly, CloseCause, Status};
use serde_json::{Value, json};

use crate::contracts::{json, path, read, validator};

const SCHEMAS: [&str; 3] = ["session.v1.schema.json", "dead-letter.v1.schema.json", "problem.v1.schema.json"];

/// Returns the pointer of every value inside of `value`, itself first.
fn pointers(value: &Value) -> Vec<String> {
    let below = |name: &str, value: &Value| {
        pointers(value)
            .into_iter()
            .map(|rest| format!("/{}{rest}", name.replace('~', "~0").replace('/', "~1")))
            .collect()
    };
    let inner: Vec<Vec<String>> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| below(name, value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| below(&index.to_string(), item)).collect(),
        _ => vec![],
    };
    std::iter::once(String::new()).chain(inner.into_iter().flatten()).collect()
}

fn example(name: &str) -> Value {
    json(&read(&format!("examples/{name}")))
}

fn problem() -> Value {
    json!({
        "type": "urn:livesession:problem:bad-parameter",
        "title": "A parameter cannot be used",
        "status": 400,
        "detail": "from: not an RFC 3339 time; write + as %2B",
        "param": "from",
    })
}

/// Every schema with records that it accepts.
fn accepted() -> Vec<(&'static str, Value)> {
    vec![
        (SCHEMAS[0], example("session-closed.json")),
        (SCHEMAS[0], example("session-withdrawn.json")),
        (SCHEMAS[0], example("session-open.json")),
        (SCHEMAS[1], example("dead-letter.json")),
        (SCHEMAS[2], problem()),
    ]
}

#[test]
fn missing_field_is_refused_at_every_level() {
    for (schema, value) in accepted() {
        let validator = validator(schema);
        assert!(validator.is_valid(&value), "{schema}");
        for pointer in pointers(&value) {
            let names = value.pointer(&pointer).and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys());
            for name in names {
                let optional = match schema {
                    "problem.v1.schema.json" => name == "param",
                    "dead-letter.v1.schema.json" => name == "livesession-dlq-replays" || name == "trace",
                    _ => false,
                };
                let mut without = value.clone();
                without.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(name);
                assert_eq!(validator.is_valid(&without), optional, "{schema} {pointer}/{name}");
            }
        }
    }
}

#[test]
fn extra_field_is_refused_at_every_level() {
    for (schema, value) in accepted() {
        let validator = validator(schema);
        for pointer in pointers(&value) {
            let mut with = value.clone();
            if let Some(fields) = with.pointer_mut(&pointer).unwrap().as_object_mut() {
                fields.insert("colour".to_owned(), json!("red"));
                // A dead letter keeps the headers that the record had, whatever they are.
                let open = schema == SCHEMAS[1] && pointer == "/headers";
                assert_eq!(validator.is_valid(&with), open, "{schema} {pointer}");
            }
        }
    }
}

#[test]
fn wrong_type_is_refused_at_every_place() {
    for (schema, value) in accepted() {
        let validator = validator(schema);
        for pointer in pointers(&value) {
            for wrong in [json!(true), json!({ "a": 1 }), json!([1]), json!(-1), json!(1.5)] {
                let mut with = value.clone();
                *with.pointer_mut(&pointer).unwrap() = wrong.clone();
                assert!(!validator.is_valid(&with), "{schema} {pointer} = {wrong}");
            }
        }
    }
}

/// Asserts that the example is refused with `wrong` at `pointer`.
#[track_caller]
fn refuses(schema: &str, example: &Value, pointer: &str, wrong: Value) {
    let mut with = example.clone();
    *with.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")) = wrong.clone();
    assert!(!validator(schema).is_valid(&with), "{schema} accepts {pointer} = {wrong}");
}

#[test]
fn wrong_session_is_refused() {
    let closed = example("session-closed.json");
    for (pointer, wrong) in [
        ("/version", json!(2)),
        ("/version", json!("1")),
        ("/session_id", json!("83719661-3174-4d75-a45e-86ff23f71f6d")),
        ("/session_id", json!("83719661-3174-5D75-A45E-86FF23F71F6D")),
        ("/session_id", json!("8371966131745d75a45e86ff23f71f6d")),
        ("/revision", json!(4_294_967_296_u64)),
        ("/status", json!("Closed")),
        ("/status", json!("archived")),
        ("/close_cause", json!("boredom")),
        ("/close_cause", json!("")),
        ("/stream/key", json!("room-7")),
        ("/stream/key", json!("a/b/c/d")),
        ("/stream/key", json!("//room%7")),
        ("/stream/key", json!("a/b/")),
        ("/stream/stream_id", json!("")),
        ("/start", json!("2025-08-01T10:00:02Z")),
        ("/start", json!("2025-08-01T10:00:02.0000Z")),
        ("/start", json!("2025-08-01 10:00:02.000Z")),
        ("/start", json!("2025-08-01T10:00:02.000+00:00")),
        ("/start", json!("2025-08-01T24:00:02.000Z")),
        ("/end", json!("2025-13-01T10:00:02.000Z")),
        ("/end", json!(1_754_046_600_000_i64)),
        ("/watermark", json!("12025-08-01T10:00:02.000Z")),
        ("/gaps/0/duration_ms", json!(0)),
        ("/renditions/0/segments", json!(0)),
        ("/renditions/0/format", json!("")),
        ("/segments/0/file_id", json!("")),
        ("/segments/0/file_id", json!(7)),
        ("/segments/0/size_bytes", json!("7")),
        ("/segments/0/anomalies", json!(["colour_unknown"])),
        ("/segments/0/anomalies", json!(["url_as_id", "url_as_id"])),
        ("/source/partition", json!(2_147_483_648_u64)),
    ] {
        refuses(SCHEMAS[0], &closed, pointer, wrong);
    }
}

#[test]
fn lists_cause_and_survivor_go_with_the_status() {
    let (closed, withdrawn, open) =
        (example("session-closed.json"), example("session-withdrawn.json"), example("session-open.json"));
    let id = withdrawn["session_id"].clone();
    for (example, pointer, wrong) in [
        (&closed, "/revision", json!(0)),
        (&closed, "/merged_into", id.clone()),
        (&closed, "/close_cause", json!(null)),
        (&closed, "/segments", json!([])),
        (&closed, "/renditions", json!([])),
        (&closed, "/status", json!("open")),
        (&closed, "/status", json!("withdrawn")),
        (&withdrawn, "/revision", json!(1)),
        (&withdrawn, "/merged_into", json!(null)),
        (&withdrawn, "/close_cause", json!("limit")),
        (&withdrawn, "/gaps", closed["gaps"].clone()),
        (&withdrawn, "/segments", closed["segments"].clone()),
        (&withdrawn, "/renditions", closed["renditions"].clone()),
        (&withdrawn, "/status", json!("closed")),
        (&open, "/merged_into", id),
        (&open, "/close_cause", json!("watermark")),
        (&open, "/segments", json!([])),
        (&open, "/status", json!("closed")),
    ] {
        refuses(SCHEMAS[0], example, pointer, wrong);
    }
}

#[test]
fn wrong_dead_letter_is_refused() {
    let letter = example("dead-letter.json");
    for (name, wrong) in [
        ("__dlq.errors.topic", json!("")),
        ("__dlq.errors.partition", json!("-1")),
        ("__dlq.errors.offset", json!("012")),
        ("__dlq.errors.offset", json!(12)),
        ("__dlq.errors.message", json!("x".repeat(513))),
        ("livesession-dlq-reason", json!("boredom")),
        ("livesession-dlq-reason", json!("not_json")),
        ("livesession-dlq-stage", json!("decode")),
        ("livesession-dlq-version", json!("2")),
        ("livesession-dlq-timestamp", json!("-2")),
        ("livesession-dlq-timestamp", json!("2025-08-01T10:00:02.000Z")),
        ("livesession-dlq-replays", json!("many")),
    ] {
        refuses(SCHEMAS[1], &letter, &format!("/headers/{name}"), wrong);
    }
    refuses(SCHEMAS[1], &letter, "/value", json!(null));
}

#[test]
fn wrong_problem_is_refused() {
    for (pointer, wrong) in [
        ("/type", json!("about:blank")),
        ("/type", json!("urn:livesession:problem:Bad Parameter")),
        ("/title", json!("")),
        ("/status", json!(200)),
        ("/status", json!("400")),
        ("/detail", json!("")),
        ("/param", json!(null)),
    ] {
        refuses(SCHEMAS[2], &problem(), pointer, wrong);
    }
}

#[test]
fn lists_of_names_are_those_of_the_code() {
    let listed = |schema: &str, pointer: &str| -> Vec<Value> {
        json(&read(schema)).pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let status = [Status::Closed, Status::Withdrawn, Status::Open].map(|status| json!(status.as_str()));
    assert_eq!(listed(SCHEMAS[0], "/properties/status/enum"), status);
    let causes = CloseCause::ALL.map(|cause| json!(cause.as_str())).into_iter().chain([json!(null)]);
    assert_eq!(listed(SCHEMAS[0], "/properties/close_cause/enum"), causes.collect::<Vec<_>>());
    let anomalies = Anomaly::ALL.map(|anomaly| json!(anomaly.as_str()));
    assert_eq!(listed(SCHEMAS[0], "/properties/segments/items/properties/anomalies/items/enum"), anomalies);
    let reasons = Reason::ALL.map(|reason| json!(reason.as_str()));
    assert_eq!(listed(SCHEMAS[1], "/properties/headers/properties/livesession-dlq-reason/enum"), reasons);
}

#[test]
fn every_field_is_described_and_every_object_closed() {
    for schema in SCHEMAS {
        let root = json(&read(schema));
        let name = schema.trim_end_matches(".v1.schema.json");
        assert_eq!(root["$id"], format!("urn:livesession:{name}:v1"));
        assert_eq!(root["$schema"], "https://json-schema.org/draft/2020-12/schema");
        for pointer in pointers(&root).iter().filter(|pointer| !pointer.starts_with("/allOf")) {
            let value = root.pointer(pointer).unwrap();
            let Some(fields) = value.get("properties").and_then(Value::as_object) else {
                continue;
            };
            if pointer.ends_with("/if") || pointer.ends_with("/then") || pointer.ends_with("/else") {
                continue;
            }
            for (field, about) in fields {
                let description = about.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(description.len() > 10, "{schema} {pointer}: {field} is not described");
                for (suffix, unit) in [("_ms", "milliseconds"), ("_bytes", "bytes"), ("_kbps", "kbit/s")] {
                    assert!(!field.ends_with(suffix) || description.contains(unit), "{schema} {field}: no unit");
                }
            }
            assert!(value.get("required").is_some(), "{schema} {pointer}");
            let others = value.get("additionalProperties");
            let open = schema == SCHEMAS[1] && pointer == "/properties/headers";
            assert!(open || others == Some(&json!(false)), "{schema} {pointer} is not closed");
            // All are required, but for what the contract calls absent.
            let required: BTreeSet<_> =
                value["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let optional: Vec<_> = fields.keys().filter(|name| !required.contains(name.as_str())).collect();
            match schema {
                "problem.v1.schema.json" => assert_eq!(optional, ["param"]),
                _ if open => assert_eq!(optional, ["livesession-dlq-replays"]),
                _ => assert!(optional.is_empty(), "{schema} {pointer}: {optional:?}"),
            }
        }
    }
}

#[test]
fn interface_description_refers_to_files_that_are_there() {
    let text = read("asyncapi.yaml");
    let references: Vec<_> =
        text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("$ref: ")).collect();
    let files: BTreeSet<_> = references
        .iter()
        .map(|reference| reference.trim_matches('\''))
        .filter(|reference| !reference.starts_with('#'))
        .collect();
    for schema in ["notification.v1.schema.json", SCHEMAS[0], "dead-letter.v1.schema.json#/properties/headers"] {
        assert!(files.contains(schema), "no reference to {schema}");
    }
    for reference in files {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        assert!(path(file).is_file(), "{reference}");
        assert!(json(&read(file)).pointer(pointer).is_some(), "{reference}");
    }
}
