//! Describing and making topics, and what becomes of a reader whose records are gone.

use std::time::Duration;

use livesession_kafka::admin::{Admin, Creation, NewTopicSettings};
use livesession_kafka::{Broker as _, ConsumerError, Input, KnownEnds, ReadError};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::support::broker::{Broker, wait_until};
use crate::kafka::support::fixture::{PATIENCE, World, unique, until};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    test("topic_is_described_as_it_was_made", described),
    test("topic_that_exists_is_left_alone", existing),
    test("impossible_topic_is_told_from_an_absent_broker", impossible),
    test("truncated_input_stops_the_reader", truncated),
    test("statistics_tell_where_a_log_ends", statistics),
];

const fn test(name: &'static str, body: fn(&Broker)) -> Test {
    Test { name, body: Body::Shared(body) }
}

fn new_topic(name: &str, settings: &[(&str, &str)]) -> NewTopicSettings {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    NewTopicSettings { name: name.to_owned(), partitions: 3, replicas: None, settings }
}

fn admin(broker: &Broker) -> Admin {
    let settings = livesession_kafka::settings::Settings::new(broker.bootstrap(), "group", "id");
    Admin::new(&settings, PATIENCE).unwrap()
}

fn described(broker: &Broker) {
    let (admin, name) = (admin(broker), unique());
    assert_eq!(admin.topic(&name).unwrap(), None);
    let new = new_topic(&name, &[("cleanup.policy", "compact"), ("max.message.bytes", "2097152")]);
    assert_eq!(admin.create(&new).unwrap(), Creation::Created);
    let topic = admin.topic(&name).unwrap().unwrap();
    assert_eq!((topic.name, topic.partitions, topic.replicas), (name, 3, 1));
    let setting = |name: &str| topic.settings.get(name).map(String::as_str);
    assert_eq!(setting("cleanup.policy"), Some("compact"));
    assert_eq!(setting("max.message.bytes"), Some("2097152"));
    // Never set: the cluster's default.
    assert_eq!(setting("retention.ms"), Some("604800000"));
}

fn existing(broker: &Broker) {
    let (admin, name) = (admin(broker), unique());
    assert_eq!(admin.create(&new_topic(&name, &[])).unwrap(), Creation::Created);
    let other = NewTopicSettings { partitions: 5, ..new_topic(&name, &[("cleanup.policy", "compact")]) };
    assert_eq!(admin.create(&other).unwrap(), Creation::Existed);
    let topic = admin.topic(&name).unwrap().unwrap();
    assert_eq!((topic.partitions, topic.settings["cleanup.policy"].as_str()), (3, "delete"));
}

fn impossible(broker: &Broker) {
    let admin = admin(broker);
    let wrong = [
        new_topic("no/such/name", &[]),
        new_topic(&unique(), &[("cleanup.policy", "sometimes")]),
        NewTopicSettings { replicas: Some(99), ..new_topic(&unique(), &[]) },
        NewTopicSettings { partitions: 0, ..new_topic(&unique(), &[]) },
    ];
    for topic in wrong {
        let error = admin.create(&topic).unwrap_err();
        assert!(matches!(error, ReadError::Rejected { .. }), "{topic:?}: {error:?}");
    }
    let nobody = livesession_kafka::settings::Settings::new("127.0.0.1:1", "group", "id");
    let absent = Admin::new(&nobody, Duration::from_secs(1)).unwrap();
    let error = absent.topic("any").unwrap_err();
    assert!(matches!(error, ReadError::Unavailable { .. }), "{error:?}");
}

fn truncated(broker: &Broker) {
    let world = World::new(broker, 2);
    world.fill(0, 10);
    let admin: AdminClient<DefaultClientContext> = world.settings("admin").admin().create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&world.input, 0, Offset::Offset(5)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
    for offset in [4, 11] {
        let (client, _) = world.join("a");
        client.start(0, offset).unwrap();
        let mut error = None;
        assert!(wait_until(PATIENCE, || match client.poll(Duration::from_millis(20)) {
            Ok(input) => {
                assert!(!matches!(input, Input::Record(_)), "{input:?} after offset {offset}");
                false
            }
            Err(stop) => {
                error = Some(stop);
                true
            }
        }));
        let error = error.unwrap();
        assert!(matches!(error, ConsumerError::Stop { .. }), "offset {offset}: {error:?}");
    }
    // What is left can be read.
    let (client, _) = world.join("a");
    client.start(0, 5).unwrap();
    let first = until(&client, |input| match input {
        Input::Record(record) => Some(record.offset()),
        _ => None,
    });
    assert_eq!(first, 5);
}

fn statistics(broker: &Broker) {
    let world = World::new(broker, 1);
    world.fill(0, 4);
    let (client, _) = world.join("a");
    client.start(0, 0).unwrap();
    assert!(wait_until(PATIENCE, || {
        client.poll(Duration::from_millis(20)).unwrap();
        client.known_ends(0) == Some(KnownEnds { stable: 4, end: 4 })
    }));
    assert_eq!(client.known_ends(1), None);
}
