//! The rules of acceptance, merging and closing at their bounds; everything wider is in `tests/`.

use super::*;
use crate::time::{Millis, Timestamp};
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

const ZERO: i64 = 1_754_000_000_000;

fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ms(ZERO + ms).unwrap()
}

fn settings() -> Settings {
    let span = |ms| Millis::from_ms(ms).unwrap();
    Settings {
        gap: span(10),
        recording_interval: span(60),
        max_segment: span(100),
        notification_delay: span(5),
        allowed_lateness: span(500),
        max_hold: span(300),
        max_session_duration: span(1_000),
        ..Settings::default()
    }
}

/// A grouper fed by hand: offsets count up, time is event time.
struct Feed {
    grouper: Grouper,
    offset: Offset,
}

impl Feed {
    fn new(settings: Settings) -> Feed {
        Feed { grouper: Grouper::new(Policy::new(settings).unwrap()), offset: 0 }
    }

    fn arrival(&mut self) -> Arrival<'static> {
        self.offset += 1;
        Arrival { stream: "//cam", offset: self.offset, timestamp: None, now: ms(0) }
    }

    fn accept(&mut self, file_id: &str, start: i64, end: i64) -> Outcome {
        let segment = NewSegment::new(file_id, ms(start), ms(end));
        let arrival = self.arrival();
        let placement = self.grouper.accept(arrival, &segment);
        self.grouper.check_invariants();
        placement
    }

    fn hint(&mut self, kind: HintKind, at: i64) {
        let arrival = self.arrival();
        self.grouper.hint(arrival, &Hint { kind, push_id: Some("p"), at: ms(at) });
    }

    /// Moves the watermark without touching the stream.
    fn watermark(&mut self, at: i64) {
        self.hint(HintKind::RecordEnded, at);
    }

    /// Publishes what is due, in words.
    fn publish_due(&mut self) -> Vec<String> {
        let published = self.grouper.publish_due(usize::MAX);
        self.grouper.check_invariants();
        published.iter().map(in_words).collect()
    }
}

fn in_words(publication: &Publication) -> String {
    let summary = &publication.summary;
    let files: Vec<&str> = publication.segments.iter().map(|segment| segment.file_id()).collect();
    let (start, end) = (summary.start.as_ms() - ZERO, summary.end.as_ms() - ZERO);
    let cause = summary.close_cause.map_or("-", CloseCause::as_str);
    format!("r{} {start}..{end} {} {cause}", summary.revision, files.join("+"))
}

// rule: close
#[test]
fn session_closes_one_millisecond_after_its_next_file_would_have_been_here() {
    for (watermark, expected) in [(174, vec![]), (175, vec![]), (176, vec!["r1 0..100 a watermark"])] {
        let mut feed = Feed::new(settings());
        feed.accept("a", 0, 100);
        feed.watermark(watermark);
        assert_eq!(feed.publish_due(), expected, "watermark {watermark}");
        assert_eq!(feed.publish_due(), Vec::<String>::new(), "nothing is published twice");
    }
}

// rule: hints
#[test]
fn session_off_air_closes_without_waiting_for_another_file() {
    for (watermark, expected) in [(119, vec![]), (120, vec![]), (121, vec!["r1 0..100 a push_ended"])] {
        let mut feed = Feed::new(settings());
        feed.hint(HintKind::PushStarted, 0);
        feed.accept("a", 0, 100);
        feed.hint(HintKind::PushEnded, 105);
        feed.watermark(watermark);
        assert_eq!(feed.publish_due(), expected, "watermark {watermark}");
    }
}

// rule: hints
#[test]
fn push_on_air_holds_a_session_until_max_hold() {
    for (start, watermark, expected) in [
        (110, 400, vec![]),
        (110, 401, vec!["r1 0..100 a max_hold"]),
        (111, 175, vec![]),
        (111, 176, vec!["r1 0..100 a watermark"]),
    ] {
        let mut feed = Feed::new(settings());
        feed.accept("a", 0, 100);
        feed.hint(HintKind::PushStarted, start);
        feed.watermark(watermark);
        assert_eq!(feed.publish_due(), expected, "push at {start}, watermark {watermark}");
    }
}

// rule: acceptance
#[test]
fn segment_is_late_one_millisecond_after_the_allowed_lateness() {
    for (watermark, expected) in [(599, Outcome::Accepted), (600, Outcome::Accepted), (601, Outcome::Late)] {
        let mut feed = Feed::new(settings());
        feed.watermark(watermark);
        assert_eq!(feed.accept("a", 0, 100), expected, "watermark {watermark}");
    }
}

// rule: forget
#[test]
fn session_is_forgotten_one_millisecond_after_the_last_segment_that_could_touch_it() {
    for (watermark, segments) in [(709, 1), (710, 1), (711, 0)] {
        let mut feed = Feed::new(settings());
        feed.accept("a", 0, 100);
        feed.watermark(watermark);
        assert_eq!(feed.publish_due(), ["r1 0..100 a watermark"]);
        assert_eq!(feed.grouper.segments(), segments, "watermark {watermark}");
        assert_eq!(feed.grouper.streams(), segments);
    }
}

// rules: duplicate, forget
#[test]
fn file_that_comes_back_with_a_later_end_is_new_once_it_is_out_of_reach() {
    for (watermark, expected) in [(710, Outcome::Conflict), (711, Outcome::Accepted)] {
        let mut feed = Feed::new(settings());
        feed.accept("a", 0, 100);
        feed.watermark(watermark);
        // Before settling, so the old one is in memory still.
        assert_eq!(feed.accept("a", 250, 300), expected, "watermark {watermark}");
    }
}

// rule: bridge
#[test]
fn bridge_keeps_the_oldest_seed_and_withdraws_the_other_with_its_next_publication() {
    let mut feed = Feed::new(settings());
    feed.accept("b", 40, 60);
    feed.accept("a", 0, 20);
    feed.watermark(200);
    assert_eq!(feed.publish_due(), ["r1 0..20 a watermark", "r1 40..60 b watermark"]);
    feed.accept("c", 20, 40);
    let published = feed.grouper.publish_due(usize::MAX);
    let words: Vec<String> = published.iter().map(in_words).collect();
    assert_eq!(words, ["r2 0..60 a+c+b watermark", "r2 0..20  -"]);
    assert_eq!(published[1].merged_into, Some(published[0].summary.session_id));
    assert_eq!((published[1].status, published[1].summary.watermark), (Status::Withdrawn, ms(200)));
}

// rule: limits
#[test]
fn limit_freezes_what_is_too_much_and_the_rest_continues_it() {
    for (limit, expected) in
        [(3, vec![]), (2, vec!["r1 0..20 a+b limit"]), (1, vec!["r1 0..10 a limit", "r1 10..20 b limit"])]
    {
        let mut feed = Feed::new(Settings { max_session_segments: limit, ..settings() });
        for (file, start) in [("a", 0), ("b", 10), ("c", 20)] {
            feed.accept(file, start, start + 10);
        }
        assert_eq!(feed.publish_due(), expected, "limit {limit}");
        feed.watermark(106);
        let last = feed.grouper.publish_due(usize::MAX).pop().unwrap();
        assert_eq!(last.summary.continues.is_some(), limit < 3);
    }
}

// rules: close, forget
#[test]
fn mass_of_sessions_is_published_in_slices_and_forgotten_only_after_the_last() {
    let mut feed = Feed::new(settings());
    for index in 0..5 {
        feed.accept(&index.to_string(), index * 20, index * 20 + 1);
    }
    feed.watermark(5_000);
    let mut published = 0;
    for slice in [2, 2, 1] {
        assert_eq!(feed.grouper.segments(), 5, "nothing is forgotten before all is published");
        let publications = feed.grouper.publish_due(2);
        assert_eq!(publications.len(), slice);
        published += slice;
        assert_eq!(feed.grouper.forgotten().is_some(), published == 5);
    }
    assert_eq!(feed.grouper.publish_due(2), []);
    assert_eq!(feed.grouper.segments(), 0);
}

// rule: clock
#[test]
fn punctuation_adds_the_wall_time_that_has_passed_if_that_closes_something() {
    for (now, moved) in [(75, false), (76, true)] {
        let mut feed = Feed::new(settings());
        feed.accept("a", 0, 100);
        assert_eq!(feed.grouper.punctuate(ms(now)), moved, "now {now}");
        let expected =
            if moved { Clock { watermark: ms(176), at: ms(76) } } else { Clock { watermark: ms(100), at: ms(0) } };
        assert_eq!(feed.grouper.clock(), Some(expected));
    }
}

// rule: clock
#[test]
fn clock_is_read_from_the_record_unless_its_timestamp_is_of_no_use() {
    let allowed_lateness = 500;
    let now = 10_000;
    for (timestamp, at) in [
        (None, now),
        (Some(now), now),
        (Some(now + 1), now),
        (Some(now - allowed_lateness), now - allowed_lateness),
        (Some(now - allowed_lateness - 1), now),
    ] {
        let mut grouper = Grouper::new(Policy::new(settings()).unwrap());
        let arrival = Arrival { stream: "//cam", offset: 0, timestamp: timestamp.map(ms), now: ms(now) };
        assert!(grouper.hint(arrival, &Hint { kind: HintKind::RecordEnded, push_id: None, at: ms(50) }));
        assert_eq!(grouper.clock(), Some(Clock { watermark: ms(50), at: ms(at) }), "{timestamp:?}");
        let earlier = Arrival { timestamp: Some(ms(now - 400)), ..arrival };
        assert!(grouper.hint(earlier, &Hint { kind: HintKind::RecordEnded, push_id: None, at: ms(51) }));
        assert_eq!(grouper.clock().unwrap().at, ms(at.max(now - 400)), "it never goes back");
        assert!(!grouper.hint(earlier, &Hint { kind: HintKind::RecordEnded, push_id: None, at: ms(51) }));
    }
}

#[test]
fn rollback_takes_back_every_change() {
    let mut feed = Feed::new(Settings { max_session_segments: 3, ..settings() });
    feed.accept("a", 0, 20);
    feed.accept("b", 100, 120);
    feed.hint(HintKind::PushStarted, 0);
    feed.hint(HintKind::PushEnded, 130);
    feed.watermark(150);
    feed.publish_due();
    let before = feed.grouper.pending_sessions();
    let (clock, counts) = (feed.grouper.clock(), (feed.grouper.segments(), feed.grouper.sessions()));
    let act = |feed: &mut Feed| {
        feed.accept("c", 20, 100);
        feed.accept("d", 120, 140);
        feed.hint(HintKind::PushStarted, 160);
        let mut published = feed.publish_due();
        feed.watermark(3_000);
        published.extend(feed.publish_due());
        published
    };
    feed.grouper.begin();
    let first = act(&mut feed);
    assert!(first.len() > 1);
    assert_eq!(feed.grouper.segments(), 0);
    feed.grouper.rollback();
    feed.grouper.check_invariants();
    assert_eq!(feed.grouper.pending_sessions(), before);
    assert_eq!((feed.grouper.clock(), (feed.grouper.segments(), feed.grouper.sessions())), (clock, counts));
    feed.grouper.begin();
    assert_eq!(act(&mut feed), first, "the replay publishes the same");
    feed.grouper.commit();
    assert_eq!(feed.grouper.streams(), 0);
}
