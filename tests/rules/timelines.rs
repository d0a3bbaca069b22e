//! Timelines: merging and bridging, drawn (rules: merge, bridge).
//!
//! A column is 1 ms, letters are files and arrive in the order of the alphabet; `|` begins another row, for files of the
//! same minutes. The answer stands beside the question: each session covers its time and is named by its seed.

use crate::oracle::adapter::{policy, record, segment, timestamp};
use crate::oracle::world::EPOCH;
use crate::oracle::{Rules, Seg, group, hull, seed};
use livesession_grouping::{Arrival, Grouper, Outcome};

fn gap(gap: i64) -> Rules {
    let long = 1_000_000;
    Rules {
        gap,
        overrides: Vec::new(),
        recording_interval: 10,
        max_segment: 1_000,
        notification_delay: 10,
        allowed_lateness: long,
        max_hold: long,
        max_session_duration: long,
        max_session_segments: 2_000,
        max_session_bytes: 1 << 20,
    }
}

/// The files of a drawing, in the order of the alphabet.
fn files(drawing: &str) -> Vec<Seg> {
    let mut files: Vec<Seg> = Vec::new();
    for row in drawing.split('|') {
        for (column, letter) in row.chars().enumerate().filter(|(_, letter)| *letter != '.') {
            let (at, file) = (EPOCH + column as i64, letter.to_string());
            match files.iter_mut().find(|known| known.file == file) {
                Some(known) => known.end = at + 1,
                None => files.push(Seg {
                    start: at,
                    end: at + 1,
                    file,
                    offset: 0,
                    stream: "//a".to_owned(),
                    format: None,
                    url: None,
                }),
            }
        }
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    files
}

/// Draws sessions, given as start, end and name.
fn draw(sessions: &[(i64, i64, String)]) -> String {
    let end = sessions.iter().map(|(_, end, _)| *end).max().unwrap_or(EPOCH);
    let covering = |at: i64| sessions.iter().find(|(start, end, _)| *start <= at && at < *end);
    (EPOCH..end).map(|at| covering(at).map_or(".", |(_, _, name)| name)).collect()
}

fn by_the_oracle(rules: &Rules, files: &[Seg]) -> String {
    let sessions = group(files.to_vec(), rules.gap);
    let drawn = sessions.iter().map(|session| (hull(session).0, hull(session).1, seed(session).file.clone()));
    draw(&drawn.collect::<Vec<_>>())
}

fn by_the_core(rules: &Rules, files: &[Seg]) -> String {
    let mut grouper = Grouper::new(policy(rules));
    for file in files {
        let now = timestamp(EPOCH);
        let arrival = Arrival { stream: &file.stream, offset: file.offset, timestamp: None, now };
        assert_eq!(grouper.accept(arrival, &segment(file)), Outcome::Accepted, "{file:?}");
    }
    assert!(grouper.publish_due(usize::MAX).is_empty(), "too early for any of them to close");
    assert!(grouper.punctuate(timestamp(EPOCH + 10_000)));
    let published = grouper.publish_due(usize::MAX);
    let drawn = published.iter().map(record).map(|record| {
        let seed = record.files.iter().find(|file| file.offset == record.seed_offset);
        (record.start, record.end, seed.expect("the seed is a member").file.clone())
    });
    draw(&drawn.collect::<Vec<_>>())
}

#[track_caller]
fn check(rules: Rules, drawing: &str, expected: &str) {
    let mut files = files(drawing);
    files.iter_mut().enumerate().for_each(|(index, file)| file.offset = index as i64);
    assert_eq!(by_the_core(&rules, &files), expected, "core, {drawing}");
    assert_eq!(by_the_oracle(&rules, &files), expected, "oracle, {drawing}");
}

/// Checks that every order of arrival gives the sessions of `expected`, whatever their names.
#[track_caller]
fn check_every_order(rules: Rules, drawing: &str, expected: &str) {
    let shape = |drawn: &str| {
        let sessions = drawn.chars().collect::<Vec<_>>();
        let runs = sessions.chunk_by(|a, b| a == b);
        runs.map(|run| format!("{}{}", run.len(), if run[0] == '.' { "." } else { "x" })).collect::<Vec<_>>()
    };
    let files = files(drawing);
    for order in orders(files.len()) {
        let mut arriving: Vec<Seg> = order.iter().map(|index| files[*index].clone()).collect();
        arriving.iter_mut().enumerate().for_each(|(index, file)| file.offset = index as i64);
        let drawn = by_the_core(&rules, &arriving);
        assert_eq!(shape(&drawn), shape(expected), "{drawing} in the order {order:?}");
        assert_eq!(drawn, by_the_oracle(&rules, &arriving), "{drawing} in the order {order:?}");
    }
}

/// Every order of `count` things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let insert = |order: Vec<usize>| (0..count).map(move |at| [&order[..at], &[last], &order[at..]].concat());
    orders(last).into_iter().flat_map(insert).collect()
}

#[test]
fn silence_up_to_the_gap_stays_inside() {
    check(gap(3), "aa..bb", "aaaaaa"); // gap - 1
    check(gap(3), "aa...bb", "aaaaaaa"); // gap: merges
    check(gap(3), "aa....bb", "aa....bb"); // gap + 1: two sessions
}

#[test]
fn gap_of_zero_joins_what_meets() {
    check(gap(0), "aabb", "aaaa");
    check(gap(0), "aa.bb", "aa.bb");
    check(gap(0), "aa|.bb", "aaa");
}

#[test]
fn side_does_not_matter() {
    check(gap(3), "bb...aa", "aaaaaaa");
    check(gap(3), "bb....aa", "bb....aa");
}

#[test]
fn overlapping_and_contained_files_are_one_session() {
    check(gap(3), "aaaa|..bbbb", "aaaaaa");
    check(gap(3), "aaaaaaaa|..bb", "aaaaaaaa");
    check(gap(3), "..aa|bbbbbbbb", "aaaaaaaa");
    check(gap(3), "aa|bb|cc", "aa");
}

#[test]
fn end_of_a_session_is_its_last_end_and_not_the_end_of_its_last_start() {
    check(gap(2), "aaaaaaaa|.bb|..........cc", "aaaaaaaaaaaa");
    check(gap(2), "aaaaaaaa|.bb|...........cc", "aaaaaaaa...cc");
}

#[test]
fn bridge_joins_what_it_reaches_on_both_sides() {
    check(gap(2), "aa......bb|....cc", "aaaaaaaaaa");
    check(gap(2), "aa.......bb|....cc", "aaaaaa...bb");
    check(gap(2), "aa.......bb|.....cc", "aa...bbbbbb");
    check(gap(2), "bb......aa|....cc", "aaaaaaaaaa");
}

#[test]
fn bridge_joins_any_number() {
    check(gap(1), "cc...bb...aa...dd|.eeeeeeeeeeee", "aaaaaaaaaaaaa..dd");
    check(gap(1), "cc...bb...aa...dd|.eeeeeeeeeeeee", "aaaaaaaaaaaaaaaaa");
    check(gap(1), "aa...bb...cc|.....ddd", "aa...bbb..cc");
    check(gap(1), "aa...bb...cc|.....dddd", "aa...bbbbbbb");
}

#[test]
fn seed_is_the_first_to_arrive() {
    check(gap(3), "cc.bb.aa", "aaaaaaaa");
    check(gap(1), "bb....dd|..cc....aa", "bbbb..aaaa");
}

#[test]
fn every_order_gives_the_same_sessions() {
    check_every_order(gap(3), "aa...bb....cc", "aaaaaaa....cc");
    check_every_order(gap(2), "aa..bb...cc|.....dd....ee", "aaaaaaaaaaaaa");
    check_every_order(gap(1), "aaaa|..bbbb|.......cc...dd|........eeee", "aaaaaaaaaaaaaa");
    check_every_order(gap(2), "aa...bb...cc...dd...ee", "aa...bb...cc...dd...ee");
}
