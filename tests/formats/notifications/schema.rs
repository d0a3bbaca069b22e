//! The published schema says what the decoder does, as far as a schema can.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::notifications::support::{decode, examples, segment_with};

const SCHEMA: &str = include_str!("../../../schemas/notification.v1.schema.json");

/// Puts an example into the form in which a schema can be checked, if it is JSON at all.
fn as_json(input: &str) -> Option<Value> {
    serde_json::from_str(input.trim_start_matches('\u{feff}')).ok()
}

#[test]
fn schema_accepts_what_the_decoder_accepts() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(schema["$id"], "urn:livesession:notification:v1");
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut checked = 0;
    for example in examples() {
        if matches!(example.expect["kind"].as_str(), Some("segment" | "hint")) {
            let value = as_json(&example.input).unwrap();
            let problems: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(problems.is_empty(), "{}: {problems:?}", example.name);
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn schema_refuses_what_has_the_wrong_type_or_lacks_a_field() {
    let validator = jsonschema::draft202012::new(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let by_name: BTreeMap<_, _> = examples().into_iter().map(|example| (example.name.clone(), example)).collect();
    for name in [
        "json_inside_a_string",
        "array_of_notifications",
        "event_type_absent",
        "envelope_around_it",
        "other_vendor_event_name",
        "stream_id_absent",
        "stream_id_blank",
        "stream_id_camel_case",
        "hint_without_stream",
        "stream_id_object",
        "stream_id_control_character",
        "file_id_too_long",
        "no_file_id_no_url",
        "hint_without_time",
        "end_absent",
        "end_zero",
        "end_before_2000",
        "end_is_a_date_string",
        "end_has_a_fraction",
        "start_absent_no_duration",
        "start_absent_long_duration",
        "zero_values_from_go",
    ] {
        let example = &by_name[name];
        assert_eq!(example.expect["kind"], "dead_letter");
        assert!(!validator.is_valid(&as_json(&example.input).unwrap()), "{name}");
    }
    // And each single change of a good one, as the decoder says.
    let literals =
        ["", "null", "true", "{}", "\"\"", "\" \"", "0", "1.5", "\"a\"", "\"a\\u0000\"", "\"1754037000\"", "-1"];
    for (field, needed) in
        [("event_type", true), ("stream_id", true), ("file_id", false), ("end_time", true), ("app", false)]
    {
        for literal in literals {
            let value = segment_with(&[(field, literal)]);
            let accepted = decode(value.as_bytes())["kind"] == "segment";
            assert_eq!(validator.is_valid(&as_json(&value).unwrap()), accepted, "{field} = {literal}");
            assert!(!(needed && literal.is_empty() && accepted));
        }
    }
}
