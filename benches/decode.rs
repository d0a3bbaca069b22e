//! The speed of the decoder, against the least that any decoder has to do.
//!
//! The baseline is serde_json into a struct that borrows eight fields: it checks the grammar, ignores the rest, and
//! judges nothing. Both read the same records in alternating rounds, and the medians are compared, so that a busy
//! machine slows both. `cargo bench --bench decode`; run as a test it does one short round.

use std::hint::black_box;

use livesession::clock;
use livesession_formats::notification::{Decoder, Notification, Rules};
use livesession_grouping::time::Timestamp;
use serde::Deserialize;

const EXAMPLES: &str = include_str!("../schemas/examples/notifications.ndjson");

/// What nearly every segment has. Borrowed strings cannot have escapes, which the inputs below therefore lack.
#[derive(Deserialize)]
struct Bare<'a> {
    event_type: i64,
    #[serde(borrow)]
    app: Option<&'a str>,
    appname: Option<&'a str>,
    stream_id: &'a str,
    file_id: &'a str,
    start_time: i64,
    end_time: i64,
    video_url: Option<&'a str>,
}

/// The examples of one kind: real generations of segments that the baseline can read too.
fn inputs(prefix: &str) -> Vec<String> {
    let read = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap_or_default() };
    EXAMPLES
        .lines()
        .map(read)
        .filter(|example| example["expect"]["kind"] == "segment")
        .filter(|example| example["name"].as_str().is_some_and(|name| name.starts_with(prefix)))
        .filter_map(|example| example["input"].as_str().map(str::to_owned))
        .filter(|input| serde_json::from_str::<Bare<'_>>(input).is_ok())
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns nanoseconds per record of one round.
fn timed(records: usize, mut work: impl FnMut()) -> f64 {
    let begin = clock::instant();
    work();
    begin.elapsed().as_nanos() as f64 / records as f64
}

fn main() {
    let thorough = std::env::args().any(|argument| argument == "--bench");
    let (rounds, repeats) = if thorough { (41, 4_000) } else { (1, 10) };
    for (name, prefix) in [("real generations", "gen_"), ("short records", "show_")] {
        let inputs = inputs(prefix);
        let records = inputs.len() * repeats;
        let bytes = inputs.iter().map(String::len).sum::<usize>() / inputs.len();
        let mut decoder = Decoder::new(Rules::default());
        let timestamp = Timestamp::from_ms(1_900_000_000_000);
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(timed(records, || {
                for input in inputs.iter().cycle().take(records) {
                    let found = decoder.decode(Some(black_box(input.as_bytes())), timestamp);
                    assert!(matches!(black_box(found), Notification::Segment { .. }));
                }
            }));
            bare.push(timed(records, || {
                for input in inputs.iter().cycle().take(records) {
                    let found: Bare<'_> = serde_json::from_slice(black_box(input.as_bytes())).unwrap_or_else(|error| {
                        panic!("baseline cannot read {input}: {error}");
                    });
                    assert!(black_box(&found).event_type == 100 && found.end_time >= found.start_time);
                    black_box((found.app, found.appname, found.stream_id, found.file_id, found.video_url));
                }
            }));
        }
        let (ours, bare) = (median(ours), median(bare));
        println!(
            "{name}: {} inputs of {bytes} bytes: decoder {ours:.0} ns, bare serde_json {bare:.0} ns, speed ratio {:.2}",
            inputs.len(),
            bare / ours
        );
    }
}
