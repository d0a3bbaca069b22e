//! The loop against a broker that does what it is told: when it asks, commits and counts.
//!
//! What crashes, rebalances and lost answers do is for the simulation.

use super::*;
use crate::partition::Partition as State;
use livesession_formats::notification::Rules;
use livesession_formats::{changelog, dead_letter, notification};
use livesession_kafka::{ErrorCounts, KnownEnds};

mod scripted;

use scripted::{Scripted, Sent, at, file, file_of, metrics, record, running, settings, shown, turns};

// rule: clock
#[test]
fn partition_whose_clock_has_just_moved_is_not_idle() {
    let broker = Scripted::default();
    let mut worker = running(&broker, settings(), &metrics());
    worker.turn(at(20_000)).unwrap();
    broker.give(file(0, "cam", 0, 10));
    worker.turn(at(20_001)).unwrap();
    broker.said();
    worker.turn(at(50_000)).unwrap();
    assert!(!broker.said().contains(&"log ends of 0".to_owned()), "its watermark moved less than 30 s ago");
    worker.turn(at(51_001)).unwrap();
    assert!(broker.said().contains(&"log ends of 0".to_owned()));
}

/// Else it stays before markers, which retention deletes, though nothing is ever due again.
#[test]
fn offset_of_an_idle_partition_passes_the_markers_at_the_end() {
    let broker = Scripted::default();
    let mut worker = running(&broker, settings(), &metrics());
    turns(&mut worker, 1, 5_000);
    broker.said();
    broker.position.set(Some(3));
    turns(&mut worker, 1, 29_000);
    assert_eq!(broker.said(), Vec::<String>::new(), "not idle yet");
    turns(&mut worker, 1, 31_000);
    turns(&mut worker, 1, 32_000);
    turns(&mut worker, 1, 33_000);
    assert_eq!(broker.said(), ["begin", "commit [(0, 3)]"]);
}

/// Each question without an answer holds up all partitions.
#[test]
fn idle_partitions_are_left_alone_after_a_question_without_an_answer() {
    let broker = Scripted::default();
    let mut worker = running(&broker, settings(), &metrics());
    broker.give(Input::Assigned(vec![1]));
    turns(&mut worker, 2, 1);
    for partition in 0..2 {
        broker.give(file_of((partition, 0), "cam", 0, 10));
        turns(&mut worker, 1, 2);
    }
    turns(&mut worker, 2, 5_000);
    broker.is_silent.set(true);
    broker.said();
    let mut asked = Vec::new();
    for second in 31..75 {
        turns(&mut worker, 1, 1_000 * second);
        asked.extend(broker.said().into_iter().map(|question| (second, question)));
    }
    let expected = [(31, 0), (41, 1), (61, 0), (71, 1)];
    assert_eq!(asked, expected.map(|(second, partition)| (second, format!("log ends of {partition}"))));
}

#[test]
fn record_from_before_the_next_offset_ends_the_worker() {
    let broker = Scripted { changelog: (changelog(), Some(7).into()), ..Scripted::default() };
    let mut worker = running(&broker, settings(), &metrics());
    broker.said();
    broker.give(file(6, "cam", 0, 10));
    let failure = worker.turn(at(1)).unwrap_err();
    assert!(matches!(failure, Failure::Defect { .. }), "{failure:?}");
    assert_eq!(broker.said(), Vec::<String>::new(), "nothing is begun");
}

#[test]
fn transaction_is_committed_when_it_is_old_or_full() {
    let broker = Scripted::default();
    let mut worker = running(&broker, settings(), &metrics());
    worker.turn(at(5_000)).unwrap();
    broker.said();
    broker.give(file(0, "cam", 0, 10));
    broker.give(file(1, "cam", 10, 20));
    broker.give(file(2, "cam", 20, 30));
    turns(&mut worker, 2, 5_000);
    assert_eq!(broker.said(), ["begin"]);
    worker.turn(at(5_000)).unwrap();
    assert_eq!(broker.said(), ["commit [(0, 2)]", "begin"], "two records are enough");
    // Counted from the first turn after it began.
    worker.turn(at(5_500)).unwrap();
    worker.turn(at(6_499)).unwrap();
    assert_eq!(broker.said(), Vec::<String>::new());
    worker.turn(at(6_500)).unwrap();
    assert_eq!(broker.said(), ["commit [(0, 3)]"]);
}

#[test]
fn transaction_that_is_open_while_the_worker_rests_grows_older() {
    let broker = Scripted::default();
    let mut worker = running(&broker, settings(), &metrics());
    turns(&mut worker, 1, 5_000);
    broker.give(file(0, "cam", 0, 10));
    turns(&mut worker, 2, 5_000);
    broker.said();
    broker.refuses.set(true);
    broker.give(file(0, "cam", 0, 10));
    assert_eq!(worker.turn(at(6_000)).unwrap(), REST.0);
    assert_eq!(broker.said(), ["commit [(0, 1)]", "abort", "start 0 at 0", "begin"]);
    turns(&mut worker, 1, 7_000);
    assert_eq!(broker.said(), ["commit [(0, 1)]"]);
}

/// Building a large state takes seconds, and an open transaction must not wait for it.
#[test]
fn open_transaction_is_committed_before_a_state_is_built() {
    let broker = Scripted { changelog: (changelog(), Some(7).into()), ..Scripted::default() };
    let mut worker = running(&broker, settings(), &metrics());
    broker.give(file(7, "cam", 0, 10));
    broker.give(Input::Assigned(vec![1]));
    turns(&mut worker, 2, 1);
    broker.said();
    worker.turn(at(1)).unwrap();
    assert_eq!(broker.said(), ["commit [(0, 8)]", "start 1 at 7"]);
}

#[test]
fn errors_are_counted_once() {
    let broker = Scripted::default();
    let metrics = metrics();
    let mut worker = Worker::new(&broker, Arc::new(settings()), Arc::clone(&metrics));
    broker.errors.set(ErrorCounts { transport: 1, auth: 2, timeout: 3, other: 4 });
    worker.turn(at(1_000)).unwrap();
    broker.errors.set(ErrorCounts { transport: 2, auth: 2, timeout: 3, other: 4 });
    worker.turn(at(2_000)).unwrap();
    for (kind, count) in [("transport", 2.0), ("auth", 2.0), ("timeout", 3.0), ("other", 4.0)] {
        assert_eq!(shown(&metrics, &format!("kafka_errors_total{{kind=\"{kind}\"}}")), Some(count));
    }
}

#[test]
fn worker_that_ends_leaves_no_partition_in_the_metrics() {
    let broker = Scripted::default();
    let metrics = metrics();
    let mut worker = running(&broker, settings(), &metrics);
    broker.give(Input::Assigned(vec![1]));
    worker.turn(at(1)).unwrap();
    assert!(metrics.render().contains("partition=\"0\"") && metrics.render().contains("partition=\"1\""));
    worker.forget_all();
    assert!(!metrics.render().contains("partition="), "{}", metrics.render());
}

/// Else `latest` would be another place after a restart.
#[test]
fn where_a_partition_begins_is_committed_before_anything_is_read() {
    let broker = Scripted::default();
    let mut worker = running(&broker, settings(), &metrics());
    worker.turn(at(2_000)).unwrap();
    assert_eq!(broker.said(), ["log ends of 0", "begin", "start 0 at 0", "commit [(0, 0)]"]);
    worker.turn(at(4_000)).unwrap();
    assert_eq!(broker.said(), Vec::<String>::new(), "once is enough");
}

/// A changelog with a marker at 7.
fn changelog() -> Vec<changelog::Record> {
    let mut state = State::new(settings().policy, notification::KeyParts::AppAppnameStreamId, 7);
    state.begin();
    state.prepare()
}

#[test]
fn state_that_makes_no_sense_is_looked_at_twice() {
    for committed in [None, Some(6), Some(8)] {
        let broker = Scripted { changelog: (changelog(), committed.into()), ..Scripted::default() };
        let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
        broker.give(Input::Assigned(vec![0]));
        worker.turn(at(0)).unwrap();
        worker.turn(at(0)).unwrap();
        assert_eq!((worker.restoring(), broker.restoring.borrow().clone()), (1, vec![0]), "a second look");
        let failure = worker.turn(at(0)).unwrap_err();
        assert!(matches!(failure, Failure::State { partition: 0, .. }), "{failure:?}");
        assert_eq!(broker.said(), Vec::<String>::new(), "nothing is begun");
    }
}

#[test]
fn state_that_makes_sense_at_the_second_look_is_started() {
    let broker = Scripted { changelog: (changelog(), Some(8).into()), ..Scripted::default() };
    let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
    broker.give(Input::Assigned(vec![0]));
    turns(&mut worker, 2, 0);
    broker.changelog.1.set(Some(7));
    worker.turn(at(0)).unwrap();
    assert_eq!((worker.restoring(), broker.said()), (0, vec!["start 0 at 7".to_owned()]));
}

/// What no look will make readable ends it at the first one; a batch is read when all is there.
#[test]
fn changelog_that_cannot_be_read_ends_the_worker() {
    for (key, turns) in [("nobody's", 1), ("b/0", 2)] {
        let mut log = changelog();
        log.push((key.to_owned(), Some(b"{".to_vec())));
        let broker = Scripted { changelog: (log, Some(7).into()), ..Scripted::default() };
        let mut worker = Worker::new(&broker, Arc::new(settings()), metrics());
        broker.give(Input::Assigned(vec![0]));
        for _ in 0..turns {
            worker.turn(at(0)).unwrap();
        }
        let failure = worker.turn(at(0)).unwrap_err();
        assert!(matches!(failure, Failure::Restore { partition: 0, .. }), "{key}: {failure:?}");
    }
}

#[test]
fn newest_revision_is_copied_to_the_latest_topic_and_deleted_when_withdrawn() {
    let broker = Scripted::default();
    let mut settings = Settings { schema_guid: "guid".to_owned(), commit_max_records: 9, ..settings() };
    settings.topics.latest = Some("latest".to_owned());
    let metrics = metrics();
    let mut worker = running(&broker, settings, &metrics);
    // Two sessions, and another stream that moves the clock past both.
    for input in [file(0, "cam", 0, 10), file(1, "cam", 40, 50), file(2, "other", 120, 130)] {
        broker.give(input);
    }
    let commit = |worker: &mut Worker<'_, Scripted>, ms| {
        turns(worker, 4, ms);
        worker.turn(at(ms + 1_000)).unwrap();
    };
    commit(&mut worker, 1);
    let field = |sent: &Sent, name: &str| {
        let value: serde_json::Value = serde_json::from_str(sent.value.as_ref().unwrap()).unwrap();
        value[name].as_str().unwrap().to_owned()
    };
    let (published, copied) = (broker.sent("output"), broker.sent("latest"));
    assert_eq!(published.iter().map(|sent| field(sent, "status")).collect::<Vec<_>>(), ["closed", "closed"]);
    assert_eq!(copied.len(), 2);
    for (published, copied) in published.iter().zip(&copied) {
        assert_eq!(published.headers.last(), Some(&("__value_schema_id".to_owned(), "guid".to_owned())));
        let copy = Sent {
            topic: "latest".to_owned(),
            partition: Some(0),
            key: Some(field(published, "session_id")),
            ..published.clone()
        };
        assert_eq!(*copied, copy);
    }
    assert_eq!(shown(&metrics, "sessions_closed_total{cause=\"watermark\"}"), Some(2.0));
    // What was missing between them.
    broker.give(file(3, "cam", 10, 40));
    commit(&mut worker, 3_000);
    let (published, copied) = (broker.sent("output"), broker.sent("latest"));
    assert_eq!(published.iter().map(|sent| field(sent, "status")).collect::<Vec<_>>(), ["closed", "withdrawn"]);
    assert_eq!(copied[0].value, published[0].value);
    assert_eq!((&copied[1].key, &copied[1].value), (&Some(field(&published[1], "session_id")), &None));
    assert_eq!(copied.len(), 2);
}

#[test]
fn dead_letter_that_is_too_large_goes_without_its_value_and_says_so() {
    let broker = Scripted::default();
    let mut worker = running(&broker, Settings { max_dead_letter_bytes: 60, ..settings() }, &metrics());
    broker.give(record((0, 0), "small".to_owned()));
    broker.give(record((0, 1), "x".repeat(100)));
    turns(&mut worker, 2, 1);
    let sent = broker.sent("dead");
    let cut =
        |sent: &Sent| sent.headers.iter().find(|(name, _)| name == dead_letter::CUT).map(|(_, text)| text.clone());
    assert_eq!((sent[0].value.as_deref(), cut(&sent[0])), (Some("small"), None));
    assert_eq!((sent[1].value.as_deref(), cut(&sent[1])), (None, Some("100".to_owned())));
    for sent in sent {
        assert_eq!((sent.partition, sent.key.as_deref()), (Some(0), Some("key")));
        assert_eq!(sent.headers[0], ("name".to_owned(), "text".to_owned()));
    }
}

#[test]
fn records_are_read_between_two_slices_of_restoring() {
    let broker = Scripted::default();
    let settings = Settings { between_slices: 3, commit_max_records: 99, ..settings() };
    let mut worker = running(&broker, settings, &metrics());
    (0..7).for_each(|offset| broker.give(file(offset, "cam", 10 * offset, 10 * offset + 10)));
    broker.slices.set(0);
    turns(&mut worker, 7, 1);
    assert_eq!(broker.slices.get(), 3);
    turns(&mut worker, 2, 1);
    assert_eq!(broker.slices.get(), 4, "nothing to read: then there is time");
}

#[test]
fn lag_and_sizes_are_shown() {
    let broker = Scripted { known_ends: Some(KnownEnds { stable: 9, end: 9 }), ..Scripted::default() };
    let metrics = metrics();
    let mut worker = running(&broker, settings(), &metrics);
    broker.give(file(0, "cam", 0, 10));
    worker.turn(at(1)).unwrap();
    worker.turn(at(10_000)).unwrap();
    assert_eq!(shown(&metrics, "partition_lag_records{partition=\"0\"}"), Some(8.0));
    assert_eq!(shown(&metrics, "sessions_in_memory{state=\"open\"}"), Some(1.0));
}

/// Four sessions that are due at once, and what moves the clock past them.
fn four_due() -> impl Iterator<Item = Input<'static>> {
    (0..4).map(|offset| file(offset, &format!("cam{offset}"), 0, 10)).chain([file(4, "other", 120, 130)])
}

#[test]
fn slice_that_fails_is_done_again_in_smaller_ones() {
    let broker = Scripted::default();
    let settings = Settings { slice: 2, commit_max_records: 99, ..settings() };
    let mut worker = running(&broker, settings, &metrics());
    worker.turn(at(2_000)).unwrap();
    four_due().for_each(|input| broker.give(input));
    turns(&mut worker, 6, 2_000);
    worker.turn(at(3_000)).unwrap();
    assert_eq!(broker.sent("output").len(), 2);
    broker.said();
    // Nothing is read any more: what is left over has to remember itself.
    broker.refuses.set(true);
    assert_eq!(worker.turn(at(3_000)).unwrap(), REST.0);
    assert_eq!(broker.said(), ["begin", "commit [(0, 5)]", "abort", "start 0 at 5"]);
    broker.sent("output");
    let mut published = Vec::new();
    while worker.has_more() {
        assert_eq!(worker.turn(at(3_500)).unwrap(), Duration::ZERO);
        published.push(broker.sent("output").len());
    }
    assert_eq!(published, [1, 1]);
    // And after a transaction that was committed in larger ones again.
    (5..7).map(|offset| file(offset, &format!("cam{offset}"), 0, 10)).for_each(|input| broker.give(input));
    turns(&mut worker, 2, 4_000);
    worker.turn(at(5_000)).unwrap();
    assert_eq!(broker.sent("output").len(), 2);
}

/// A crash may have come between two slices.
#[test]
fn what_is_due_at_a_start_is_published_though_nothing_is_read() {
    let mut state = State::new(settings().policy, notification::KeyParts::AppAppnameStreamId, 0);
    let mut decoder = Decoder::new(Rules::default());
    state.begin();
    for input in four_due() {
        let Input::Record(record) = input else { panic!("a record") };
        let read = Record { offset: record.offset(), timestamp: None, value: record.value() };
        state.read(&mut decoder, read, at(0).wall).unwrap();
    }
    let mut log = Vec::new();
    assert_eq!(state.publish_due(1).len(), 1);
    log.extend(state.prepare());
    let broker = Scripted { changelog: (log, Some(5).into()), ..Scripted::default() };
    let mut worker = running(&broker, settings(), &metrics());
    worker.turn(at(0)).unwrap();
    assert_eq!(broker.said(), ["start 0 at 5", "begin", "commit [(0, 5)]"]);
    assert_eq!(broker.sent("output").len(), 3);
}
