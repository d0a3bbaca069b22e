//! The adapter in `src/kafka`.

use crate::broker::Broker;
use crate::{Body, Test};

pub const TESTS: &[Test] = &[Test { name: "starts", body: Body::Owned(starts) }];

fn starts(broker: &Broker) {
    broker.kill9();
    broker.start();
    broker.stop();
    broker.start();
}
