//! Analyses of the grouping: `--explain`, `--what-if`.

use super::support::{run_with, segment};

fn lines(segments: &[(&str, i64, i64)]) -> Vec<u8> {
    segments.iter().map(|(file, start, end)| segment("a", file, *start, *end) + "\n").collect::<String>().into_bytes()
}

fn what_is_not_there_cannot_be_explained() {
    let ended = run_with(&["--explain", "b"], &lines(&[("1", 0, 60)]));
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("no session and no stream is called b"), "{}", ended.stderr);
}

fn silences_are_explained_at_the_gap_and_a_millisecond_beyond() {
    let input = lines(&[("1", 0, 60), ("2", 240, 300), ("3", 481, 500)]);
    let ended = run_with(&["--explain", "a"], &input).succeeded();
    assert!(ended.stdout.contains("silence 3m <= gap 3m: same session"), "{}", ended.stdout);
    assert!(ended.stdout.contains("silence 3m 1s > gap 3m between"), "{}", ended.stdout);
}

fn cut_by_a_limit_is_explained() {
    let input = lines(&[("1", 0, 60), ("2", 60, 120), ("3", 120, 180)]);
    let ended = run_with(&["--explain", "a", "--max-session-segments", "2"], &input).succeeded();
    assert!(ended.stdout.contains("closed (limit): the next segment would have exceeded a limit"), "{}", ended.stdout);
    assert!(ended.stdout.contains("ends: a limit cut between"), "{}", ended.stdout);
}

fn other_gaps_give_what_grouping_with_them_gives() {
    let input = lines(&[("1", 0, 60), ("2", 120, 180), ("3", 270, 330), ("4", 511, 600), ("5", 600, 700)]);
    let gaps = ["0s", "59s", "1m", "90s", "3m", "181s", "1h"];
    let answer = run_with(&["--what-if", &format!("gap={}", gaps.join(","))], &input).succeeded().stdout;
    let counts = answer.lines().skip(1).filter(|line| line.starts_with("gap"));
    let counts: Vec<_> = counts.map(|line| line.split_whitespace().rev().nth(2).unwrap().to_owned()).collect();
    let really = gaps.map(|gap| run_with(&["--gap", gap], &input).succeeded().sessions().len().to_string());
    assert_eq!(counts, really, "{answer}");
}

crate::tests! {
    what_is_not_there_cannot_be_explained,
    silences_are_explained_at_the_gap_and_a_millisecond_beyond,
    cut_by_a_limit_is_explained,
    other_gaps_give_what_grouping_with_them_gives,
}
