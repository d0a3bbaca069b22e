//! librdkafka's properties as an operator sets them: the protected ones, the secret ones, and the format of their file.

/// A librdkafka property: name, value.
pub type Property = (String, String);

/// A problem with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct Problem {
    /// A field of [`Settings`](crate::settings::Settings), or the name of a property.
    pub setting: String,
    /// For people; never holds a password.
    pub problem: String,
}

impl Problem {
    pub(crate) fn new(setting: &str, problem: String) -> Problem {
        Problem { setting: setting.to_owned(), problem }
    }
}

/// Properties that cannot be set by hand, with the reason.
pub(crate) const PROTECTED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.brokers"),
    ("metadata.broker.list", "set kafka.brokers"),
    ("group.id", "it is the application id"),
    ("group.instance.id", "set kafka.group_instance_id"),
    ("group.protocol", "only the classic protocol fences without needless aborts"),
    ("transactional.id", "set transactional_id"),
    ("transaction.timeout.ms", "set kafka.transaction_timeout"),
    ("message.timeout.ms", "follows kafka.transaction_timeout, so that a drain ends before the transaction"),
    ("delivery.timeout.ms", "follows kafka.transaction_timeout, so that a drain ends before the transaction"),
    (
        "socket.timeout.ms",
        "follows kafka.transaction_timeout and kafka.session_timeout, so that a silent link is noticed",
    ),
    ("session.timeout.ms", "set kafka.session_timeout"),
    ("max.poll.interval.ms", "set kafka.max_poll_interval"),
    ("isolation.level", "else aborted records are read, and offsets that are not decided yet"),
    ("enable.auto.commit", "offsets travel in the transaction only"),
    ("auto.commit.enable", "offsets travel in the transaction only"),
    ("auto.commit.interval.ms", "offsets travel in the transaction only"),
    ("enable.auto.offset.store", "offsets travel in the transaction only"),
    ("auto.offset.reset", "a truncated log has to stop us; set input.start"),
    ("enable.partition.eof", "the restore and the clock of an idle partition depend on it"),
    ("enable.idempotence", "a transaction needs it"),
    ("acks", "a transaction needs all"),
    ("request.required.acks", "a transaction needs all"),
    ("partitioner", "Java's clients could not join on the key"),
    ("partitioner_cb", "Java's clients could not join on the key"),
    ("message.max.bytes", "set output.max_record_bytes"),
    ("statistics.interval.ms", "lag metrics come from it"),
];

/// Properties whose value is a secret.
pub(crate) const SECRET: &[&str] = &[
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
];

/// Returns why a property cannot be set by hand, or `None` if it can.
pub fn protected(name: &str) -> Option<&'static str> {
    PROTECTED.iter().find(|(property, _)| *property == name).map(|(_, reason)| *reason)
}

/// Parses a properties file as `kcat -F` reads it: `name=value` lines; blank lines and lines with `#` are ignored.
///
/// # Errors
///
/// Every other line, by its number from 1: its text may be a password.
pub fn parse_properties(text: &str) -> Result<Vec<Property>, Vec<Problem>> {
    let (mut properties, mut problems) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                properties.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            _ => problems.push(Problem::new("properties_file", format!("line {} is not name=value", index + 1))),
        }
    }
    if problems.is_empty() { Ok(properties) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    fn property(name: &str, value: &str) -> Property {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn protected_names_are_names_that_librdkafka_knows() {
        for (name, _) in PROTECTED {
            let result = ClientConfig::new().set(*name, "?").create_native_config();
            let unknown =
                result.err().is_some_and(|error| error.to_string().contains("No such configuration property"));
            assert!(!unknown, "{name}");
        }
    }

    #[test]
    fn properties_file_reads_as_kcat_does() {
        let text = "# a comment\n\n security.protocol = sasl_ssl \nsasl.password=a=b#c\r\nempty=\n";
        let expected =
            vec![property("security.protocol", "sasl_ssl"), property("sasl.password", "a=b#c"), property("empty", "")];
        assert_eq!(parse_properties(text), Ok(expected));
        let wrong = parse_properties("linger.ms=5\nhunter2\n=x\n").unwrap_err();
        let texts: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["properties_file: line 2 is not name=value", "properties_file: line 3 is not name=value"]);
    }
}
