//! The documents against the program: links lead somewhere, commands parse, settings exist, and what a reader can type runs.
//!
//! What needs a broker is in `tests/protocol/kafka/readme.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::error::ErrorKind;
use livesession::config::Setting;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Folders whose files are named in the documents.
const FOLDERS: [&str; 9] =
    ["src/", "crates/", "docs/", "deploy/", "schemas/", "tests/", "benches/", "prometheus/", ".ci/"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lists the documents, by their path from the root of the project.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["docs", "deploy"] {
        for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found.sort();
    assert!(found.len() >= 7, "{found:?}");
    found
}

/// A document in two halves: its prose, and its fenced blocks with their language.
fn halves(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    for (index, part) in text.split("\n```").enumerate() {
        if index % 2 == 0 {
            prose.push_str(part);
            prose.push('\n');
        } else {
            let (language, body) = part.split_once('\n').unwrap_or((part, ""));
            blocks.push((language.to_owned(), body.to_owned()));
        }
    }
    (prose, blocks)
}

/// Returns what stands between single backticks, with a line break as a blank.
fn inline_code(prose: &str) -> Vec<String> {
    let paragraphs = prose.split("\n\n");
    let code = paragraphs.flat_map(|paragraph| {
        paragraph.split('`').skip(1).step_by(2).map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    code.collect()
}

/// Returns the anchors of a document, as GitHub makes them of its titles.
fn anchors(path: &str) -> BTreeSet<String> {
    let (prose, _) = halves(&read(path));
    let titles = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |title: &str| -> String {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    titles.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    for path in documents() {
        let (prose, _) = halves(&read(&path));
        let folder = Path::new(&path).parent().unwrap();
        for link in prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            count += 1;
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { PathBuf::from(&path) } else { folder.join(file) };
            assert!(Path::new(ROOT).join(&target).exists(), "{path}: {link}");
            if !anchor.is_empty() {
                assert!(anchors(target.to_str().unwrap()).contains(anchor), "{path}: {link} is no section");
            }
        }
    }
    assert!(count > 40, "{count} links");
}

#[test]
fn every_document_is_reached_from_the_readme() {
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut open = vec!["README.md".to_owned()];
    while let Some(path) = open.pop() {
        let folder = Path::new(&path).parent().unwrap().to_owned();
        for link in read(&path).split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let target = fs::canonicalize(Path::new(ROOT).join(&folder).join(link));
            let Some(target) = target.ok().filter(|target| target.extension().is_some_and(|end| end == "md")) else {
                continue;
            };
            let root = fs::canonicalize(ROOT).unwrap();
            let name = target.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if reached.insert(name.clone()) {
                open.push(name);
            }
        }
    }
    for path in documents() {
        assert!(reached.contains(&path), "{path} is linked from nowhere");
        if path != "README.md" && path.starts_with("docs/") {
            assert!(read(&path).contains("](../README.md"), "{path} does not lead back");
        }
    }
}

#[test]
fn files_that_are_named_exist() {
    let mut count = 0;
    for path in documents() {
        let (prose, _) = halves(&read(&path));
        for code in inline_code(&prose) {
            let is_path = FOLDERS.iter().any(|folder| code.starts_with(folder)) && !code.contains([' ', '<', '*', '{']);
            if !is_path {
                continue;
            }
            count += 1;
            let beside = Path::new(ROOT).join(&path).parent().unwrap().join(&code);
            assert!(Path::new(ROOT).join(&code).exists() || beside.exists(), "{path}: `{code}`");
        }
    }
    assert!(count > 20, "{count} files");
}

/// Lists the files below a place that people write as text.
fn text_files(place: &Path, found: &mut Vec<PathBuf>) {
    const ENDINGS: [&str; 8] = ["rs", "md", "txt", "toml", "yaml", "sql", "json", "mjs"];
    if place.is_dir() {
        let entries = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
        // What npm installs for the tests of the page is not ours.
        entries.filter(|path| !path.ends_with("node_modules")).for_each(|path| text_files(&path, found));
    } else if place.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
        found.push(place.to_owned());
    }
}

/// Returns the pages that a text names: words that end in `.md`, but for addresses and their ends.
fn pages(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "./_-".contains(c)));
    words.filter(|word| word.ends_with(".md") && *word != ".md" && !word.starts_with('/'))
}

#[test]
fn every_page_that_is_named_is_in_the_repository() {
    let mut files = Vec::new();
    for place in ["src", "crates", "tests", "benches", "docs", "deploy", "schemas", "README.md", "CHANGELOG.md"] {
        text_files(&Path::new(ROOT).join(place), &mut files);
    }
    let mut count = 0;
    for file in files {
        let folder = file.parent().unwrap();
        for page in pages(&fs::read_to_string(&file).unwrap()) {
            count += 1;
            let found =
                [folder, Path::new(ROOT), &Path::new(ROOT).join("docs")].iter().any(|at| at.join(page).is_file());
            assert!(found, "{} points to {page}, which no clone has", file.display());
        }
    }
    assert!(count > 60, "{count} pages");
}

#[test]
fn names_of_pages_are_told_from_addresses() {
    let text = "see `docs/rules.md#forget`, [home](../README.md) and https://example.com/a/b.md; any .md file";
    assert_eq!(pages(text).collect::<Vec<_>>(), ["docs/rules.md", "../README.md"]);
}

/// Returns the calls of the program in a text: in inline code, and in blocks for a shell.
fn calls(text: &str) -> Vec<String> {
    let (prose, blocks) = halves(text);
    let mut calls = inline_code(&prose);
    for (_, body) in blocks.iter().filter(|(language, _)| ["sh", "text"].contains(&language.as_str())) {
        let joined = body.replace("\\\n", " ");
        calls.extend(joined.lines().map(str::to_owned));
    }
    let own = calls.iter().flat_map(|line| line.split(['|', ';'])).filter_map(|part| {
        let part = part.split(" #").next()?.split('>').next()?.trim();
        let part = part.strip_prefix("cargo run -- ").map_or(part.to_owned(), |rest| format!("livesession {rest}"));
        part.starts_with("livesession ").then_some(part)
    });
    own.collect()
}

/// Puts a value where a document has a word in capitals.
fn filled(word: &str) -> String {
    let (flag, value) = word.split_once('=').map_or(("", word), |(flag, value)| (flag, value));
    let value = match value {
        "ID" => "de493346-9042-5f1c-8eda-c12f8e0a6cf6",
        "REASON" => "late",
        "TIME" => "24h",
        "N" => "3",
        other => other,
    };
    if flag.is_empty() { value.to_owned() } else { format!("{flag}={value}") }
}

#[test]
fn commands_in_the_documents_parse() {
    let mut seen = BTreeSet::new();
    for path in documents().iter().map(String::as_str).chain(["deploy/compose.yaml", "deploy/Dockerfile"]) {
        for call in calls(&read(path)) {
            let words: Vec<String> = call.split_whitespace().map(filled).collect();
            if let Err(error) = livesession::cli::command().try_get_matches_from(&words) {
                // A command that is named and not called: `livesession sessions`, `livesession index backup`.
                let is_name = words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase()));
                let lacks_words = [
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                    ErrorKind::MissingRequiredArgument,
                    ErrorKind::MissingSubcommand,
                ];
                let is_fine = !error.use_stderr() || (is_name && lacks_words.contains(&error.kind()));
                assert!(is_fine, "{path}: `{call}`: {error}");
            }
            seen.insert(call);
        }
    }
    assert!(seen.len() > 25, "{seen:#?}");
}

#[test]
fn settings_in_the_documents_exist() {
    let known: BTreeSet<&str> = livesession::config::SETTINGS.iter().map(|setting: &Setting| setting.name).collect();
    let sections: BTreeSet<&str> = known.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let mut count = 0;
    for path in documents() {
        let (prose, _) = halves(&read(&path));
        for code in inline_code(&prose) {
            let name = code.split([' ', '=']).next().unwrap_or_default();
            let Some((section, rest)) = name.split_once('.') else { continue };
            let is_setting = sections.contains(section) && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            // `index.db` and the like.
            if !is_setting || ["db", "rs", "md", "toml", "yaml"].contains(&rest) {
                continue;
            }
            count += 1;
            assert!(known.contains(name), "{path}: no setting is named `{name}`");
        }
    }
    assert!(count > 20, "{count} settings");
}

/// A folder that holds what the README's commands need, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Runs a line of a document in a shell that has the program, from the root of the project.
    fn run(&self, line: &str) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_livesession")).parent().unwrap();
        let path = format!("{}:{}:/usr/bin:/bin", self.0.display(), program.display());
        let mut command = Command::new("sh");
        command.args(["-euc", line]).current_dir(ROOT).env_clear().env("PATH", path);
        command.env("LIVESESSION_CONFIG", self.0.join("livesession.toml")).env("HOME", &self.0);
        command.output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind only takes space.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the lines for a shell in a document.
fn shell_lines(path: &str) -> Vec<String> {
    let (_, blocks) = halves(&read(path));
    let shell = blocks.into_iter().filter(|(language, _)| language == "sh");
    shell.flat_map(|(_, body)| body.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Lines of the README that talk to Kafka, build, or run for long: `tests/protocol/kafka/readme.rs`, `tests/program/demo.rs`, and whoever builds.
const ELSEWHERE: [&str; 8] = [
    "cargo ",
    "docker compose ",
    "livesession topics create",
    "livesession run",
    "livesession health",
    "livesession dlq ",
    "livesession config check --online",
    "livesession sessions open",
];

#[test]
fn commands_of_the_readme_run() {
    let folder = Folder::new("readme");
    let (index, evening) = (folder.0.join("index.db"), Path::new(ROOT).join("schemas/examples/evening.ndjson"));
    fs::write(folder.0.join("livesession.toml"), format!("index.path = {index:?}\n")).unwrap();
    // What a reader has by then: an index, an export, and kcat, which prints records as lines.
    let made = folder.run(&format!("livesession group --close-all --index {} {}", index.display(), evening.display()));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let kcat = r#"#!/bin/sh
sed -e 's/\\/\\\\/g; s/"/\\"/g' -e 's/.*/{"topic":"t","partition":0,"offset":0,"tstype":"create","ts":1772400000000,"key":"k","payload":"&"}/' "#;
    let program = folder.0.join("kcat");
    fs::write(&program, format!("{kcat}{}\n", evening.display())).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let export = folder.0.join("export.ndjson");
    fs::copy(&evening, &export).unwrap();
    let sessions = String::from_utf8(folder.run("livesession sessions list --json").stdout).unwrap();
    let first: serde_json::Value = serde_json::from_str(sessions.lines().next().unwrap()).unwrap();
    let mut ran = 0;
    for line in shell_lines("README.md") {
        let line = line.split(" #").next().unwrap().trim().to_owned();
        if line.is_empty() || ELSEWHERE.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        ran += 1;
        let line = line
            .replace(" ID ", &format!(" {} ", first["session_id"].as_str().unwrap()))
            .replace("export.ndjson.gz", export.to_str().unwrap())
            .replace("> sessions.ndjson", &format!("> {}", folder.0.join("sessions.ndjson").display()));
        let output = folder.run(&line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        let written = fs::read(folder.0.join("sessions.ndjson")).unwrap_or_default();
        assert!(!output.stdout.is_empty() || !written.is_empty(), "{line}: prints nothing");
    }
    assert!(ran >= 6, "{ran} commands ran");
}
