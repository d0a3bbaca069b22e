//! Tests of what an operator may set, and of what each client gets.

use super::super::properties::PROTECTED;
use super::*;

fn settings() -> Settings {
    Settings::new("127.0.0.1:1", "livesession", "livesession-node-0")
}

fn property(name: &str, value: &str) -> Property {
    (name.to_owned(), value.to_owned())
}

fn problems(settings: &Settings) -> Vec<String> {
    settings.check().unwrap_err().iter().map(|problem| problem.setting.clone()).collect()
}

#[test]
fn defaults_pass() {
    assert_eq!(settings().check(), Ok(()));
}

#[test]
fn protected_properties_are_refused_by_name() {
    for (name, _) in PROTECTED {
        let own = vec![property(name, "1")];
        let everywhere = Settings { properties: own.clone(), ..settings() };
        let consumer = Settings { consumer_properties: own.clone(), ..settings() };
        let producer = Settings { producer_properties: own, ..settings() };
        for refused in [everywhere, consumer, producer] {
            assert_eq!(problems(&refused), [*name]);
        }
    }
    assert_eq!(protected("linger.ms"), None);
}

#[test]
fn protected_properties_do_not_pass_even_unchecked() {
    let hostile = vec![property("isolation.level", "read_uncommitted"), property("linger.ms", "7")];
    let unchecked = Settings { properties: hostile, ..settings() };
    assert_eq!(unchecked.consumer().get("isolation.level"), Some("read_committed"));
    assert_eq!(unchecked.reader().get("isolation.level"), Some("read_committed"));
    assert_eq!(unchecked.probe().get("isolation.level"), Some("read_uncommitted"));
    assert_eq!(unchecked.producer().get("linger.ms"), Some("7"));
}

#[test]
fn own_properties_win_over_common_ones() {
    let both = Settings {
        properties: vec![property("client.id", "a")],
        producer_properties: vec![property("client.id", "b")],
        ..settings()
    };
    assert_eq!(both.consumer().get("client.id"), Some("a"));
    assert_eq!(both.producer().get("client.id"), Some("b"));
    assert_eq!(both.admin().get("client.id"), Some("a"));
}

#[test]
fn every_problem_is_reported_at_once() {
    let wrong = Settings {
        brokers: vec![String::new()],
        transactional_id: String::new(),
        security_protocol: SecurityProtocol::SaslSsl,
        key_file: Some("key.pem".to_owned()),
        session_timeout: Duration::from_secs(9),
        max_poll_interval: Duration::from_secs(8),
        properties: vec![property("lingre.ms", "5")],
        producer_properties: vec![property("linger.ms", "five"), property("acks", "1")],
        ..settings()
    };
    let expected = [
        "brokers",
        "transactional_id",
        "sasl_mechanism",
        "certificate_file",
        "transaction_timeout",
        "session_timeout",
        "lingre.ms",
        "linger.ms",
        "acks",
    ];
    assert_eq!(problems(&wrong), expected);
}

#[test]
fn timeouts_may_be_equal_but_not_in_the_wrong_order() {
    let with = |transaction: u64, session: u64, poll: u64| Settings {
        transaction_timeout: Duration::from_millis(transaction),
        session_timeout: Duration::from_millis(session),
        max_poll_interval: Duration::from_millis(poll),
        ..settings()
    };
    assert_eq!(with(10_000, 10_000, 10_000).check(), Ok(()));
    assert_eq!(problems(&with(10_001, 10_000, 10_000)), ["transaction_timeout"]);
    assert_eq!(problems(&with(10_000, 10_001, 10_000)), ["session_timeout"]);
    assert_eq!(with(1_000, 10_000, 10_000).check(), Ok(()));
    assert_eq!(problems(&with(999, 10_000, 10_000)), ["transaction_timeout"]);
}

#[test]
fn a_mechanism_that_is_not_compiled_in_shows_when_the_client_is_created() {
    let kerberos =
        Settings { security_protocol: SecurityProtocol::SaslSsl, sasl_mechanism: "GSSAPI".to_owned(), ..settings() };
    assert_eq!(problems(&kerberos), ["consumer", "producer"]);
}

#[test]
fn secrets_are_not_shown() {
    let secret = Settings {
        password: Some("hunter2".into()),
        properties: vec![property("sasl.password", "hunter3"), property("ssl.key.password", "hunter4")],
        ..settings()
    };
    assert!(!format!("{secret:?}").contains("hunter"));
    assert!(!format!("{:?}", secret.producer()).contains("hunter"));
}

#[test]
fn suspicious_commit_follows_the_retry_backoff() {
    assert_eq!(settings().suspicious_commit(), Duration::from_millis(80));
    let slow = Settings { producer_properties: vec![property("retry.backoff.ms", "400")], ..settings() };
    assert_eq!(slow.suspicious_commit(), Duration::from_millis(320));
    // The first retry waits no longer than any.
    let far = Settings { properties: vec![property("retry.backoff.ms", "3000")], ..settings() };
    assert_eq!(far.suspicious_commit(), Duration::from_millis(800));
    let capped = Settings { producer_properties: vec![property("retry.backoff.max.ms", "50")], ..settings() };
    assert_eq!(capped.suspicious_commit(), Duration::from_millis(40));
}

#[test]
fn security_protocols_have_names() {
    for name in ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] {
        assert_eq!(SecurityProtocol::from_name(name).map(SecurityProtocol::name), Some(name));
    }
    assert_eq!(SecurityProtocol::from_name("tls"), None);
}
