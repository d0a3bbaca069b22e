//! Files that hold what the code writes: compared in every run, rewritten on request.
//!
//! `UPDATE=1 cargo test --test …` rewrites those of the tests that it runs. Read the difference before you commit it, since
//! others read these files.

use std::fs;
use std::path::Path;

/// Returns whether this run rewrites files.
pub fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Asserts that a file, named from the root of the repository, holds exactly `text`, or rewrites it.
///
/// # Panics
///
/// With the first line that differs, and if the file cannot be read or written.
#[track_caller]
pub fn check(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if is_update() {
        fs::write(&file, text).unwrap_or_else(|error| panic!("could not write {path}: {error}"));
    }
    let found = fs::read_to_string(&file).unwrap_or_else(|error| panic!("could not read {path}: {error}"));
    if found != text {
        let equal = found.split('\n').zip(text.split('\n')).take_while(|(old, new)| old == new).count();
        let line = |text: &str| text.split('\n').nth(equal).unwrap_or("(ends here)").to_owned();
        panic!(
            "{path} differs from what the code writes, first in line {}\n file: {}\n code: {}\n\
             if the change is meant, run the test with UPDATE=1",
            equal + 1,
            line(&found),
            line(text)
        );
    }
}
