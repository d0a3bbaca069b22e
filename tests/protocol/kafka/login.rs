//! `livesession run` on a broker that requires a login: certificates, passwords from files, and missing permissions, one
//! after the other.

use std::fs;
use std::time::Duration;

use crate::kafka::security::{PASSWORD, Secure};
use crate::kafka::support::acl::{self, Grant};
use crate::kafka::support::broker;
use crate::kafka::support::deployment::Deployment;
use crate::kafka::support::process::Worker;
use crate::kafka::support::traffic;
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "every_way_of_login_works_and_a_wrong_one_is_refused", body: Body::Launched(logins) },
    Test { name: "each_missing_permission_is_refused_by_name", body: Body::Launched(permissions) },
];

/// A refusal is no time-out: it comes within this, start of the program included.
const SOON: Duration = Duration::from_secs(15);

const WRONG: &str = "pw-wrong-9Zk4";

fn logins() -> Result<(), String> {
    let secure = Secure::launch()?;
    let deployment = Deployment::new(&secure.broker, 1);
    let (sasl, tls, mtls) = (&secure.sasl, &secure.tls, &secure.mtls);
    let file = |name: &str| secure.keys.join(name).display().to_string();
    let password = |password: &str| {
        let path = secure.keys.join(format!("{password}.txt"));
        // As an editor would leave it.
        fs::write(&path, format!("{password}\n")).unwrap();
        path.display().to_string()
    };
    let authority = |name: &str| format!("kafka.ca_file = \"{}\"\n", file(name));
    let ssl = |address: &str, ca: &str| {
        format!("kafka.brokers = [\"{address}\"]\nkafka.security_protocol = \"ssl\"\n{}", authority(ca))
    };
    let certificate = |name: &str| {
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        format!("kafka.certificate_file = \"{certificate}\"\nkafka.key_file = \"{key}\"\n")
    };
    let login = |mechanism: &str, text: &str, ca: &str| {
        format!(
            "kafka.brokers = [\"{sasl}\"]\nkafka.security_protocol = \"sasl_ssl\"\nkafka.sasl_mechanism = \"{mechanism}\"\n\
             kafka.username = \"alice\"\nkafka.password_file = \"{}\"\n{}",
            password(text),
            authority(ca)
        )
    };

    let right = [
        ("ssl", ssl(tls, "ca.pem")),
        ("mutual TLS", ssl(mtls, "ca.pem") + &certificate("client")),
        ("PLAIN", login("PLAIN", PASSWORD, "ca.pem")),
        ("SCRAM-SHA-256", login("SCRAM-SHA-256", PASSWORD, "ca.pem")),
    ];
    for (what, lines) in right {
        let mut worker = start(&deployment, what, &lines);
        worker.wait_ready();
        deployment.feed(&mut worker, 0, &[traffic::garbage()]);
        worker.stop();
        assert_no_secret(&worker);
    }
    deployment.assert_settled();
    traffic::assert_refused_once(&deployment, 4);

    let wrong = [
        ("password by PLAIN", login("PLAIN", WRONG, "ca.pem")),
        ("password by SCRAM", login("SCRAM-SHA-256", WRONG, "ca.pem")),
        ("authority", ssl(tls, "stranger.pem")),
        ("authority and password", login("PLAIN", PASSWORD, "stranger.pem")),
        ("certificate of a stranger", ssl(mtls, "ca.pem") + &certificate("stranger")),
        ("certificate missing", ssl(mtls, "ca.pem")),
    ];
    for (what, lines) in wrong {
        let mut worker = start(&deployment, what, &lines);
        assert_eq!(worker.wait_exit(SOON), 78, "{what}");
        assert!(worker.log().contains("broker refuses this client"), "{what}: {}", worker.log());
        assert_no_secret(&worker);
    }
    Ok(())
}

/// Starts a worker that says all that it can.
fn start(deployment: &Deployment, what: &str, lines: &str) -> Worker {
    let own = format!("transactional_id = \"{}-a\"\nlog_filter = \"trace\"", deployment.name);
    Worker::start(what, &deployment.settings.clone().with(&own).with(lines))
}

fn assert_no_secret(worker: &Worker) {
    let log = worker.log();
    for secret in [PASSWORD, WRONG] {
        // The file's name holds it, and is no secret.
        let said = log.lines().find(|line| line.replace(&format!("{secret}.txt"), "").contains(secret));
        assert_eq!(said, None, "a password in the log");
    }
    assert!(!log.contains("PRIVATE KEY"), "a key in the log");
}

fn permissions() -> Result<(), String> {
    let secure = Secure::launch()?;
    let mut deployment = Deployment::new(&secure.broker, 1);
    let path = broker::temporary().join(format!("{}.password", deployment.name));
    fs::write(&path, PASSWORD).unwrap();
    deployment.settings = deployment.settings.with(&format!(
        "kafka.brokers = [\"{}\"]\nkafka.security_protocol = \"sasl_ssl\"\nkafka.sasl_mechanism = \"PLAIN\"\n\
         kafka.username = \"bob\"\nkafka.password_file = \"{}\"\nkafka.ca_file = \"{}\"",
        secure.sasl,
        path.display(),
        secure.keys.join("ca.pem").display()
    ));
    let allow = |grant| acl::allow(secure.broker.bootstrap(), "bob", &deployment.name, grant);
    let refused = |word: &str| {
        let mut worker = deployment.start("a");
        assert_eq!(worker.wait_exit(SOON), 78, "{word}");
        let log = worker.log();
        let last = log.split_once("error: ").map_or("", |(_, last)| last);
        assert!(last.contains(word), "{word:?} is not in what it said last: {last}");
    };
    refused("Topic authorization failed");
    allow(Grant::DescribeTopics);
    refused("allow DescribeConfigs");
    allow(Grant::DescribeTopicConfigs);
    refused("Transactional Id authorization failed");
    allow(Grant::WriteTransactionalIds);
    refused("Group authorization failed");
    allow(Grant::ReadGroups);
    refused("Topic authorization failed");
    allow(Grant::ReadTopics);
    refused("Topic authorization failed");
    allow(Grant::WriteTopics);
    let mut worker = deployment.start_ready("a");
    deployment.feed(&mut worker, 0, &[traffic::garbage()]);
    worker.stop();
    deployment.assert_settled();
    traffic::assert_refused_once(&deployment, 1);
    // A file that stays behind only takes space.
    let _ = fs::remove_file(path);
    Ok(())
}
