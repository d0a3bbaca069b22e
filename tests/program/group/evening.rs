//! The sample evening, `schemas/examples/evening.ndjson`, against what a person has read and found right.
//!
//! After a change that is meant, `UPDATE=1 cargo test --test program group::evening` rewrites the files.

use std::fs;

use super::support::{EVENING, Files, run};

/// Compares `text` with a file.
#[track_caller]
fn golden(name: &str, text: &str) {
    crate::golden::check(&format!("tests/program/group/golden/{name}"), text);
}

#[track_caller]
fn check(name: &str, arguments: &[&str]) {
    let ended = run(&[&[EVENING], arguments].concat()).succeeded();
    golden(name, &ended.stdout);
}

fn evening_as_a_set() {
    let ended = run(&[EVENING]).succeeded();
    golden("set.ndjson", &ended.stdout);
    golden("set.summary.txt", &ended.stderr);
}

fn evening_in_arrival_order() {
    let ended = run(&[EVENING, "--arrival-order"]).succeeded();
    golden("arrival-order.ndjson", &ended.stdout);
    golden("arrival-order.summary.txt", &ended.stderr);
}

fn evening_with_all_revisions() {
    check("all-revisions.ndjson", &["--all-revisions"]);
}

fn evening_with_everything_closed() {
    check("close-all.ndjson", &["--close-all"]);
}

fn evening_as_a_table() {
    check("table.txt", &["--format", "table"]);
    check("all-revisions.table.txt", &["--format", "table", "--all-revisions"]);
}

fn evening_explained() {
    check("explain-room-7.txt", &["--explain", "room-7"]);
    check("explain-evening-show.txt", &["--explain", "push.example.com/live/evening-show"]);
    check("explain-session.txt", &["--explain", "de493346-9042-5f1c-8eda-c12f8e0a6cf6"]);
}

fn evening_with_other_gaps() {
    check("what-if.txt", &["--what-if", "gap=1m,90s,3m,4m"]);
}

fn dead_letters_of_the_evening() {
    let files = Files::new("evening-dead-letters");
    let file = files.path("dead");
    run(&[EVENING, "--arrival-order", "--dead-letters", &file]).succeeded();
    golden("dead-letters.kcat", &fs::read_to_string(file).unwrap());
}

crate::tests! {
    evening_as_a_set,
    evening_in_arrival_order,
    evening_with_all_revisions,
    evening_with_everything_closed,
    evening_as_a_table,
    evening_explained,
    evening_with_other_gaps,
    dead_letters_of_the_evening,
}
