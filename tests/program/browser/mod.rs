//! The page in a real Chromium: axe finds nothing, at three widths, light and dark, and nothing sticks out, overlaps, asks
//! elsewhere or runs, whatever the font.
//!
//! ```sh
//! npm ci --prefix tests/program/browser && cargo test --test program browser
//! LIVESESSION_SCREENSHOTS=/tmp/shots cargo test --test program browser     # keeps a picture of each
//! LIVESESSION_REQUIRE_BROWSER=1 cargo test --test program browser          # no browser is a failure
//! ```
//!
//! Without node, its packages or a Chromium every test is reported as ignored, with the reason. One browser for all: it
//! visits every page when the first test asks.

mod cases;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Completion, Failed, Trial};
use serde_json::{Value, json};

use cases::Case;

/// Problems of each page, by the name of its case.
type Found = BTreeMap<String, Vec<String>>;

/// Returns a test for each page.
pub fn trials() -> Vec<Trial> {
    let visited: Arc<OnceLock<Result<Found, String>>> = Arc::default();
    let tools = Arc::new(tools());
    let trial = |name: &'static str| {
        let (visited, tools) = (Arc::clone(&visited), Arc::clone(&tools));
        Trial::ignorable_test(format!("browser::{name}"), move || {
            let chromium = match &*tools {
                Ok(chromium) => chromium,
                Err(reason) => return without_browser(reason),
            };
            let found = visited.get_or_init(|| visit(chromium, &cases::all())).as_ref()?;
            let problems = found.get(name).ok_or("the browser did not get there")?;
            if problems.is_empty() { Ok(Completion::Completed) } else { Err(problems.join("\n").into()) }
        })
    };
    cases::NAMES.map(trial).into()
}

/// Returns the Chromium to use, or what is missing.
fn tools() -> Result<PathBuf, String> {
    let is_there = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !is_there("node", "--version") {
        return Err("node is not installed".to_owned());
    }
    let packages = ["playwright-core", "axe-core", "@fontsource/six-caps", "@fontsource/press-start-2p"];
    if !packages.iter().all(|package| folder().join("node_modules").join(package).exists()) {
        return Err("its packages are not installed: npm ci --prefix tests/program/browser".to_owned());
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| is_there(name, "--version"));
    let name = found.ok_or_else(|| format!("none of {} is installed", names.join(", ")))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::split_paths(&path).map(|folder| folder.join(name));
    paths.into_iter().find(|path| path.exists()).ok_or_else(|| format!("{name} is not on the path"))
}

fn without_browser(reason: &str) -> Result<Completion, Failed> {
    match std::env::var("LIVESESSION_REQUIRE_BROWSER") {
        Ok(value) if value == "1" => Err(format!("no browser: {reason}").into()),
        _ => Ok(Completion::ignored_with(format!("no browser: {reason}"))),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/browser")
}

/// Sends a browser to every page.
fn visit(chromium: &Path, cases: &[Case]) -> Result<Found, String> {
    let screenshots = std::env::var("LIVESESSION_SCREENSHOTS").ok();
    if let Some(folder) = &screenshots {
        std::fs::create_dir_all(folder).map_err(|error| format!("{folder}: {error}"))?;
    }
    let page = |case: &Case| {
        let url = format!("http://{}{}", case.server.address, case.path);
        json!({"name": case.name, "url": url, "status": case.status})
    };
    let pages: Vec<Value> = cases.iter().map(page).collect();
    let job = json!({"chromium": chromium, "screenshots": screenshots, "pages": pages});
    let mut node = Command::new("node")
        .arg(folder().join("check.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start node: {error}"))?;
    // Dropped at once: the end of its input is what it waits for.
    let sent = node.stdin.take().map(|mut stdin| stdin.write_all(job.to_string().as_bytes()));
    let output = node.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() || !matches!(sent, Some(Ok(()))) {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let read = |line: &str| -> Option<(String, Vec<String>)> {
        let value: Value = serde_json::from_str(line).ok()?;
        let problems = value["problems"].as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
        Some((value["name"].as_str()?.to_owned(), problems.collect::<Option<_>>()?))
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| read(line).ok_or_else(|| format!("cannot read {line:?}"))).collect()
}
