//! The program as its users meet it: commands at a shell, the HTTP side through a socket, the page in a browser, a splice
//! plan through ffmpeg.
//!
//! A harness of its own, because a test whose browser or ffmpeg is missing is reported as ignored, with the reason, and
//! never as passed. Each module lists its tests with [`tests!`]; a function that is not listed is dead code, which the
//! build refuses.

/// A test that needs nothing but the program.
pub struct Test {
    pub name: &'static str,
    pub body: fn(),
}

/// Lists the tests of a module.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub const TESTS: &[$crate::Test] = &[$($crate::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            body: $name,
        }),+];
    };
}
pub(crate) use tests;

mod browser;
mod canned_queries;
mod cli;
mod demo;
mod ffmpeg;
#[path = "../support/golden.rs"]
mod golden;
mod group;
mod http;
mod index_cli;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let modules = [
        canned_queries::TESTS,
        cli::TESTS,
        demo::TESTS,
        group::answers::TESTS,
        group::bad_input::TESTS,
        group::evening::TESTS,
        group::forms::TESTS,
        group::index::TESTS,
        group::long_line::TESTS,
        group::modes::TESTS,
        group::progress::TESTS,
        http::answers::TESTS,
        http::connections::TESTS,
        http::crowd::TESTS,
        http::hostile::TESTS,
        http::openapi::TESTS,
        http::page::TESTS,
        index_cli::TESTS,
    ];
    let mut trials: Vec<Trial> = modules.into_iter().flatten().map(trial).collect();
    trials.extend(browser::trials());
    trials.extend(ffmpeg::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(test: &'static Test) -> Trial {
    // Without the name of this target.
    let name = test.name.split_once("::").map_or(test.name, |(_, name)| name);
    Trial::test(name, || {
        (test.body)();
        Ok(())
    })
}
