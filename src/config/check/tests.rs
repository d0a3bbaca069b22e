//! Checks between settings: each rule with the last value that it allows and the first that it refuses.

use std::collections::BTreeSet;

use super::*;
use crate::config::value::{Bytes, SaslMechanism, SecurityProtocol};

/// Returns the settings at fault after a change of the defaults.
fn faults(change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
    let mut config = Config::default();
    change(&mut config);
    let unreadable = BTreeSet::new();
    let checker = Checker::all(&config, &unreadable);
    checker.findings.iter().map(|finding| finding.settings[0]).collect()
}

fn ms(ms: i64) -> Millis {
    Millis::from_ms(ms).unwrap()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_defaults_have_no_fault() {
    assert_eq!(faults(|_| {}), Vec::<&str>::new());
}

#[test]
fn the_timeouts_are_a_chain() {
    for (delta, expected) in [(-1, true), (0, false), (1, false)] {
        let session = faults(|config| config.kafka.session_timeout = ms(10_000 + delta));
        assert_eq!(session.contains(&"kafka.session_timeout"), expected, "session_timeout {delta:+}");
        let poll = faults(|config| config.kafka.max_poll_interval = ms(15_000 + delta));
        assert_eq!(poll.contains(&"kafka.max_poll_interval"), expected, "max_poll_interval {delta:+}");
        let transaction = faults(|config| config.kafka.transaction_timeout = ms(1_000 + delta));
        assert_eq!(transaction.contains(&"kafka.transaction_timeout"), expected, "transaction_timeout {delta:+}");
    }
}

#[test]
fn the_client_bounds_the_timeouts_from_above() {
    for (delta, expected) in [(-1, false), (0, false), (1, true)] {
        let session = faults(|config| {
            config.kafka.session_timeout = ms(3_600_000 + delta);
            config.kafka.max_poll_interval = ms(3_600_000 + delta);
        });
        assert_eq!(session == ["kafka.session_timeout"], expected, "session_timeout {delta:+}");
        let poll = faults(|config| config.kafka.max_poll_interval = ms(86_400_000 + delta));
        assert_eq!(poll == ["kafka.max_poll_interval"], expected, "max_poll_interval {delta:+}");
    }
}

#[test]
fn a_transaction_collects_for_less_than_the_message_timeout() {
    for (interval, expected) in [(0, true), (1, false), (7_999, false), (8_000, true), (8_001, true)] {
        let found = faults(|config| config.kafka.commit_interval = ms(interval));
        assert_eq!(found == ["kafka.commit_interval"], expected, "{interval} ms");
    }
}

#[test]
fn a_session_at_its_limits_fits_in_a_record() {
    let worst = worst_case_bytes(2_000, 768 * 1_024);
    for (bytes, expected) in [(worst - 1, true), (worst, false), (worst + 1, false)] {
        let found = faults(|config| config.output.max_record_bytes = Bytes(bytes));
        assert_eq!(found == ["output.max_record_bytes"], expected, "{bytes}");
    }
    for (bytes, expected) in [(1_000_000_000, false), (1_000_000_001, true)] {
        let found = faults(|config| config.output.max_record_bytes = Bytes(bytes));
        assert_eq!(found == ["output.max_record_bytes"], expected, "{bytes}");
    }
}

#[test]
fn counts_and_times_that_must_not_be_zero_are_refused_at_zero_only() {
    assert_eq!(faults(|config| config.workers = 0), ["workers"]);
    assert_eq!(faults(|config| config.kafka.commit_max_records = 0), ["kafka.commit_max_records"]);
    assert_eq!(faults(|config| config.shutdown_timeout = Millis::ZERO), ["shutdown_timeout"]);
    assert_eq!(faults(|config| config.grouping.idle_after = Millis::ZERO), ["grouping.idle_after"]);
    let ones = faults(|config| {
        (config.workers, config.kafka.commit_max_records) = (1, 1);
        (config.shutdown_timeout, config.grouping.idle_after) = (ms(1), ms(1));
    });
    assert_eq!(ones, Vec::<&str>::new());
}

#[test]
fn every_problem_of_the_policy_is_named_by_its_setting() {
    let found = faults(|config| {
        config.grouping.notification_delay = ms(86_400_001);
        config.grouping.recording_interval = ms(86_400_001);
        config.grouping.max_session_duration = ms(1);
        config.grouping.max_session_segments = 0;
        config.log_filter = "livesession=loud".to_owned();
    });
    let rules = ["allowed_lateness", "max_segment", "max_session_duration", "max_session_segments"];
    let mut expected: Vec<String> = rules.iter().map(|rule| format!("grouping.{rule}")).collect();
    expected.push("log_filter".to_owned());
    assert_eq!(found, expected);
}

#[test]
fn topics_have_the_names_that_kafka_allows() {
    let longest = "x".repeat(MAX_TOPIC_BYTES);
    for (name, expected) in [
        ("a.b_c-D9", false),
        (longest.as_str(), false),
        (&format!("{longest}x"), true),
        ("", true),
        (".", true),
        ("..", true),
        ("...", false),
        ("a b", true),
        ("ä", true),
    ] {
        assert_eq!(faults(|config| config.topics.output = name.to_owned()) == ["topics.output"], expected, "{name:?}");
    }
}

#[test]
fn a_derived_name_is_reported_only_if_it_is_the_one_that_does_not_fit() {
    assert_eq!(faults(|config| config.topics.input = "a b".to_owned()), ["topics.input"]);
    assert_eq!(faults(|config| config.application_id = "a/b".to_owned()), ["application_id"]);
    assert_eq!(faults(|config| config.application_id = String::new()), ["application_id"]);
    for (length, expected) in [(245, &[][..]), (246, &["topics.dead_letter"])] {
        assert_eq!(faults(|config| config.topics.input = "x".repeat(length)), expected, "{length}");
    }
    for (length, expected) in [(239, &[][..]), (240, &["topics.changelog"])] {
        assert_eq!(faults(|config| config.application_id = "x".repeat(length)), expected, "{length}");
    }
}

#[test]
fn no_topic_serves_twice() {
    assert_eq!(faults(|config| config.topics.output = config.topics.input.clone()), ["topics.output"]);
    assert_eq!(faults(|config| config.topics.latest = text("live-sessions")), ["topics.latest"]);
    assert_eq!(faults(|config| config.topics.output = "livesession-changelog".to_owned()), ["topics.changelog"]);
    let by_metrics = faults(|config| {
        config.topics.input = "a.b".to_owned();
        config.topics.output = "a_b".to_owned();
    });
    assert_eq!(by_metrics, ["topics.output"]);
}

#[test]
fn brokers_are_hosts_with_ports() {
    for good in ["localhost", "a:1", "a.b-c:65535", "10.0.0.1:9092", "[::1]:9092", "[::1]"] {
        assert!(is_broker(good), "{good}");
    }
    for wrong in ["", ":9092", "a:", "a:0", "a:65536", "a:x", "::1", "a b:1", "https://a:1", "[]:1"] {
        assert!(!is_broker(wrong), "{wrong}");
    }
    assert_eq!(faults(|config| config.kafka.brokers.clear()), ["kafka.brokers"]);
    assert_eq!(faults(|config| config.kafka.brokers = vec!["a:x".to_owned()]), ["kafka.brokers"]);
}

#[test]
fn a_login_is_whole_or_absent() {
    let readable = std::env::current_exe().unwrap();
    let with = |protocol, mechanism| {
        faults(|config| {
            config.kafka.security_protocol = protocol;
            config.kafka.sasl_mechanism = mechanism;
        })
    };
    assert_eq!(with(SecurityProtocol::SaslSsl, None), ["kafka.sasl_mechanism"]);
    assert_eq!(
        with(SecurityProtocol::SaslPlaintext, Some(SaslMechanism::ScramSha256)),
        ["kafka.username", "kafka.password_file"]
    );
    assert_eq!(with(SecurityProtocol::SaslSsl, Some(SaslMechanism::OAuthBearer)), Vec::<&str>::new());
    assert_eq!(with(SecurityProtocol::Ssl, Some(SaslMechanism::Plain)), ["kafka.sasl_mechanism"]);
    assert_eq!(faults(|config| config.kafka.username = text("me")), ["kafka.username"]);
    let by_property = faults(|config| config.kafka.properties.insert("sasl.mechanism", "GSSAPI"));
    assert_eq!(by_property, Vec::<&str>::new());
    assert_eq!(faults(|config| config.kafka.ca_file = Some(readable)), ["kafka.ca_file"]);
}

#[test]
fn mutual_tls_needs_both_halves() {
    let readable = std::env::current_exe().unwrap();
    let with = |certificate: bool, key: bool| {
        faults(|config| {
            config.kafka.security_protocol = SecurityProtocol::Ssl;
            config.kafka.certificate_file = certificate.then(|| readable.clone());
            config.kafka.key_file = key.then(|| readable.clone());
        })
    };
    assert_eq!(with(false, false), Vec::<&str>::new());
    assert_eq!(with(true, true), Vec::<&str>::new());
    assert_eq!(with(true, false), ["kafka.key_file"]);
    assert_eq!(with(false, true), ["kafka.certificate_file"]);
    let key_by_property = faults(|config| {
        config.kafka.security_protocol = SecurityProtocol::Ssl;
        config.kafka.certificate_file = Some(readable.clone());
        config.kafka.properties.insert("ssl.key.pem", "x");
    });
    assert_eq!(key_by_property, Vec::<&str>::new());
}

#[test]
fn files_that_cannot_be_read_are_told_together() {
    let missing = std::env::temp_dir().join("livesession-no-such-folder").join("file");
    let found = faults(|config| {
        config.kafka.security_protocol = SecurityProtocol::Ssl;
        config.kafka.ca_file = Some(std::env::temp_dir());
        config.kafka.certificate_file = Some(missing.clone());
        config.kafka.key_file = Some(missing.clone());
        config.kafka.properties_file = Some(missing.clone());
    });
    let expected = ["ca_file", "certificate_file", "key_file", "properties_file"];
    assert_eq!(found, expected.map(|name| format!("kafka.{name}")));
}

#[test]
fn a_check_is_left_out_if_a_value_it_compares_could_not_be_read() {
    let mut config = Config::default();
    config.kafka.transaction_timeout = ms(20_000);
    let unreadable = BTreeSet::from(["kafka.session_timeout"]);
    assert!(Checker::all(&config, &unreadable).findings.is_empty());
    assert_eq!(Checker::all(&config, &BTreeSet::new()).findings.len(), 1);
}
