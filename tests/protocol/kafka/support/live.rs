//! Notifications without end: several streams a partition, in disorder, some twice, some late, some no notifications.
//!
//! What should become of them nobody notes down: the audit works it out. Event time runs thousands of times faster than
//! the clock, so that sessions are closed, amended, bridged and forgotten all the time, while nothing lies in the future.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_json::{Value, json};

use crate::kafka::support::deployment::Given;
use crate::kafka::support::traffic::{Random, garbage, hint};

/// 2020-01-01T00:00:00Z.
const BEGIN: i64 = 1_577_836_800_000;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const STREAMS: usize = 4;

/// Beside [`crate::kafka::support::traffic::RULES`]: some of the traffic is late, some sessions are cut here, and all are soon forgotten.
pub const LIMIT: &str = "grouping.max_session_segments = 8";

/// The notifications of one partition, in order of arrival.
pub struct Live {
    random: Random,
    streams: Vec<Stream>,
    /// What has been made and has not arrived: time, number, value.
    under_way: BinaryHeap<Reverse<(i64, u64, String)>>,
    made: u64,
    /// Where the last file so far ends.
    end: i64,
}

struct Stream {
    name: String,
    /// Where its next file begins.
    next: i64,
    files: u64,
}

impl Live {
    pub fn new(seed: u64, partition: i32) -> Live {
        let mut random = Random::new(seed.wrapping_mul(31).wrapping_add(u64::try_from(partition).unwrap()));
        let stream = |index| Stream {
            name: format!("p{partition}-s{index}"),
            next: BEGIN + random.ms(0, HOUR) / SECOND * SECOND,
            files: 0,
        };
        let streams = (0..STREAMS).map(stream).collect();
        Live { random, streams, under_way: BinaryHeap::new(), made: 0, end: BEGIN }
    }

    /// Returns the next record to arrive.
    pub fn next(&mut self) -> Given {
        // Nothing that is not made yet arrives before the file in which the slowest stream is ends.
        while self.under_way.peek().is_none_or(|Reverse((at, ..))| self.streams.iter().any(|own| own.next <= *at)) {
            let slowest = self.streams.iter_mut().min_by_key(|stream| stream.next).expect("there are streams");
            let (end, made) = slowest.record(&mut self.random);
            self.end = self.end.max(end);
            for (at, value) in made {
                self.made += 1;
                self.under_way.push(Reverse((at, self.made, value)));
            }
        }
        self.arrive()
    }

    /// Returns what is still under way, and a last hint after which every session has closed and some are remembered.
    pub fn rest(&mut self) -> Vec<Given> {
        let mut rest = Vec::new();
        while !self.under_way.is_empty() {
            rest.push(self.arrive());
        }
        rest.push(hint(self.end + 7 * HOUR));
        rest
    }

    fn arrive(&mut self) -> Given {
        let Reverse((at, _, value)) = self.under_way.pop().expect("something is under way");
        if value.is_empty() { garbage() } else { Given::new(value, at) }
    }
}

impl Stream {
    /// Records a file. Returns its end, and what is sent of it with when it arrives; an empty text is no notification.
    fn record(&mut self, random: &mut Random) -> (i64, Vec<(i64, String)>) {
        let (start, number) = (self.next, self.files);
        let end = start + random.ms(1, 1_800) * SECOND;
        self.files += 1;
        let file = |file: String, end: i64| -> Value {
            json!({
                "event_type": 100, "stream_id": self.name, "file_id": file, "file_format": "mp4",
                "start_time": start / SECOND, "end_time": end / SECOND,
                "video_url": format!("http://vod.example.com/{file}.mp4"),
            })
        };
        let own = file(format!("{}-{number}", self.name), end);
        let delay = match random.below(20) {
            // Later than `allowed_lateness`, and so maybe too late.
            0 => random.ms(5 * HOUR, 9 * HOUR),
            1..5 => random.ms(0, 5 * HOUR),
            _ => random.ms(0, 20 * SECOND),
        };
        let arrival = end + delay;
        let mut made = vec![(arrival, own.to_string())];
        match random.below(16) {
            // At once, later, or long after it may be forgotten.
            0 => made.push((arrival, own.to_string())),
            1 => made.push((arrival + random.ms(0, 5 * HOUR), own.to_string())),
            2 => made.push((arrival + random.ms(5 * HOUR, 30 * HOUR), own.to_string())),
            // The same file with another end: a conflict as long as it is known.
            3 => {
                let other = file(format!("{}-{number}", self.name), end + 7 * SECOND);
                made.push((arrival + random.ms(0, 5 * HOUR), other.to_string()));
            }
            4 => {
                let mut other = file(format!("{}-{number}-hls", self.name), end);
                other["file_format"] = json!("hls");
                made.push((end + random.ms(0, HOUR), other.to_string()));
            }
            5 => made.push((arrival, String::new())),
            6 => made.push((arrival, json!({ "event_type": 9_999, "stream_id": self.name }).to_string())),
            7 | 8 => {
                for (event, at) in [(1, start), (0, end)] {
                    let push = json!({
                        "event_type": event, "stream_id": self.name, "event_time": at / SECOND,
                        "sequence": number.to_string(),
                    });
                    made.push((at, push.to_string()));
                }
            }
            _ => {}
        }
        let silence = match random.below(8) {
            0 => -random.ms(1, 30) * SECOND,
            1 => 0,
            2 => 3 * MINUTE,
            3 => 3 * MINUTE + SECOND,
            4 => random.ms(20, 90) * MINUTE,
            5 => random.ms(3, 9) * HOUR,
            _ => random.ms(1, 170) * SECOND,
        };
        self.next = (end + silence).max(start);
        (end, made)
    }
}
