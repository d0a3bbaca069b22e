//! Notifications of `livesession run` to systemd: ready, alive, stopping.

use std::os::unix::net::UnixDatagram;

use crate::kafka::support::broker::{Broker, temporary};
use crate::kafka::support::deployment::Deployment;
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[Test { name: "readiness_life_and_stop_are_told", body: Body::Shared(told) }];

/// Returns the next message, or panics when none comes.
fn next(socket: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = socket.recv(&mut message).expect("a message for systemd");
    str::from_utf8(&message[..length]).unwrap().trim_end().to_owned()
}

fn told(broker: &Broker) {
    let deployment = Deployment::new(broker, 1);
    let path = temporary().join(format!("notify-{}", std::process::id()));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut worker = Worker::start_as("a", "run", &deployment.settings, &environment);

    // It is alive while it still connects and restores.
    while next(&socket) != "READY=1" {}
    assert_eq!(worker.get("/readyz").map(|(code, _)| code), Some(200));
    // Said once; from here on only that it is alive.
    assert_eq!([next(&socket), next(&socket)], ["WATCHDOG=1", "WATCHDOG=1"]);

    assert_eq!(worker.terminate(), 0);
    let mut told = Vec::new();
    socket.set_nonblocking(true).unwrap();
    let mut message = [0; 256];
    while let Ok(length) = socket.recv(&mut message) {
        told.push(str::from_utf8(&message[..length]).unwrap().trim_end().to_owned());
    }
    assert!(told.contains(&"STOPPING=1".to_owned()), "{told:?}");
    std::fs::remove_file(&path).unwrap();
}
