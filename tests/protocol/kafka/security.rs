//! Login and certificates: what is right works, what is wrong stops the worker and says why.
//!
//! To the calls themselves a wrong password is one time-out after the other; the reason comes by another way, and has to
//! come soon, since nobody wants to wait for ten time-outs to learn of a misprint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use livesession_kafka::admin::Admin;
use livesession_kafka::settings::{SecurityProtocol, Settings};
use livesession_kafka::{Broker as _, Client, ReadError, TransactionError as Error};

use crate::kafka::support::broker::{self, Broker};
use crate::kafka::support::fixture::{PATIENCE, World, timed, wait_for_assignment};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] =
    &[Test { name: "wrong_login_or_certificate_is_refused_with_its_reason", body: Body::Launched(logins) }];

/// A refusal comes within this.
const SOON: Duration = Duration::from_secs(5);

/// The password of all users.
pub const PASSWORD: &str = "pw-7Qv2xk";

/// A broker with a listener for passwords, one for client certificates, and one that only encrypts.
///
/// User `alice` and the client certificate may do everything, user `bob` what he is allowed to.
pub struct Secure {
    pub broker: Broker,
    pub sasl: String,
    pub mtls: String,
    pub tls: String,
    pub keys: PathBuf,
}

impl Secure {
    pub fn launch() -> Result<Secure, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let keys = broker::temporary().join(format!("keys-{}-{number}", std::process::id()));
        fs::create_dir_all(&keys).map_err(|error| format!("cannot create {}: {error}", keys.display()))?;
        certificates(&keys)?;
        let (sasl, mtls, tls) = (broker::free_port()?, broker::free_port()?, broker::free_port()?);
        let listeners = format!(
            "CLIENTS://127.0.0.1:{{clients}},SASL://127.0.0.1:{sasl},MTLS://127.0.0.1:{mtls},TLS://127.0.0.1:{tls}"
        );
        let extra = format!(
            "listeners={listeners},CTL://127.0.0.1:{{controller}}\n\
             advertised.listeners={listeners}\n\
             listener.security.protocol.map=CLIENTS:PLAINTEXT,CTL:PLAINTEXT,SASL:SASL_SSL,MTLS:SSL,TLS:SSL\n\
             sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN\n\
             listener.name.sasl.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_alice=\"{PASSWORD}\" user_bob=\"{PASSWORD}\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:alice;User:CN=client\n\
             listener.name.sasl.scram-sha-256.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={keys}/broker.pem\n\
             ssl.truststore.type=PEM\n\
             ssl.truststore.location={keys}/ca.pem\n\
             listener.name.mtls.ssl.client.auth=required\n",
            keys = keys.display()
        );
        let scram = format!("SCRAM-SHA-256=[name=alice,password={PASSWORD}]");
        let broker = Broker::launch(&extra, &["--add-scram", &scram])?;
        let address = |port| format!("127.0.0.1:{port}");
        Ok(Secure { broker, sasl: address(sasl), mtls: address(mtls), tls: address(tls), keys })
    }

    fn file(&self, name: &str) -> Option<String> {
        Some(self.keys.join(name).display().to_string())
    }

    fn password(&self, world: &World, password: &str) -> Settings {
        Settings {
            brokers: vec![self.sasl.clone()],
            security_protocol: SecurityProtocol::SaslSsl,
            sasl_mechanism: "SCRAM-SHA-256".to_owned(),
            username: "alice".to_owned(),
            password: Some(password.into()),
            ca_file: self.file("ca.pem"),
            ..world.settings("a")
        }
    }

    fn certificate(&self, world: &World) -> Settings {
        Settings {
            brokers: vec![self.mtls.clone()],
            security_protocol: SecurityProtocol::Ssl,
            ca_file: self.file("ca.pem"),
            certificate_file: self.file("client.pem"),
            key_file: self.file("client.key"),
            ..world.settings("a")
        }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        // Keys that stay behind only take space.
        let _ = fs::remove_dir_all(&self.keys);
    }
}

/// Makes an authority, certificates of broker and client, and an authority that signed neither.
fn certificates(keys: &Path) -> Result<(), String> {
    let authority = |name: &str| openssl(keys, name, &["-subj", &format!("/CN={name}")]);
    authority("ca")?;
    authority("stranger")?;
    let signed = |name: &str| {
        let arguments = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", &format!("/CN={name}")];
        let address = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"];
        openssl(keys, name, &[&arguments[..], &address[..]].concat())
    };
    signed("node")?;
    signed("client")?;
    let read = |name: &str| fs::read_to_string(keys.join(name)).map_err(|error| format!("cannot read {name}: {error}"));
    let both = read("node.key")? + &read("node.pem")?;
    fs::write(keys.join("broker.pem"), both).map_err(|error| format!("cannot write broker.pem: {error}"))
}

fn openssl(keys: &Path, name: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.current_dir(keys).args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]);
    broker::run(command.args(arguments), "make certificates with openssl")
}

fn logins() -> Result<(), String> {
    let secure = Secure::launch()?;
    let world = World::new(&secure.broker, 1);
    let connect = |settings: &Settings| Client::connect(settings, &world.input, &world.changelog, PATIENCE);

    for right in [secure.password(&world, PASSWORD), secure.certificate(&world)] {
        assert_eq!(right.check(), Ok(()));
        let client = connect(&right).unwrap();
        wait_for_assignment(&client);
        client.begin().unwrap();
        client.commit(&[(0, 1)], PATIENCE).unwrap();
        assert!(Admin::new(&right, PATIENCE).unwrap().topic(&world.input).unwrap().is_some());
    }

    let stranger = |settings| Settings { ca_file: secure.file("stranger.pem"), ..settings };
    let anonymous = Settings { certificate_file: None, key_file: None, ..secure.certificate(&world) };
    let wrong = [
        ("password", secure.password(&world, "wrong")),
        ("authority and password", stranger(secure.password(&world, PASSWORD))),
        ("authority", stranger(secure.certificate(&world))),
        ("certificate", anonymous),
    ];
    for (what, settings) in wrong {
        assert_eq!(settings.check(), Ok(()), "{what}");
        let (result, took) = timed(|| connect(&settings));
        let Err(error) = result else { panic!("wrong {what} was accepted") };
        assert!(matches!(error, Error::Refused { .. }), "{what}: {error:?}");
        assert!(took < SOON, "{what}: {took:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        let (result, took) = timed(|| Admin::new(&settings, Duration::from_secs(3)).unwrap().topic(&world.input));
        assert!(matches!(result, Err(ReadError::Refused { .. })), "{what}: {result:?}");
        assert!(took < SOON, "{what}: {took:?}");
    }
    Ok(())
}
