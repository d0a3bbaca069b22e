//! The rules by name: `docs/rules.md`, what cites it, and what it names.
//!
//! A citation is `rule: forget`, or `rules: close, hints`, in a comment of a Rust file, in a document, or in the second line of a
//! scenario. It stays on one line, so that a search finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = "docs/rules.md";
/// What is searched, from the root of the project.
const PLACES: [&str; 9] =
    ["src", "crates", "tests", "benches", "docs", "deploy", "schemas", "README.md", "CHANGELOG.md"];
/// What is text and written by hand.
const ENDINGS: [&str; 8] = ["rs", "md", "txt", "toml", "yaml", "sql", "mjs", "css"];

/// A rule as the page describes it.
#[derive(Default)]
struct Rule {
    has_reason: bool,
    /// File and function.
    held_by: Vec<(String, String)>,
    shown_by: BTreeSet<String>,
    tested_by: Vec<(String, String)>,
    examples: Vec<String>,
}

/// Where a rule is cited: a file, and whether it is a test that does.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: String,
    in_test: bool,
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the text files of the project, by their path from its root.
fn files() -> Vec<(String, String)> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
            // What npm installs for the tests of the page is not ours.
            entries.filter(|path| !path.ends_with("node_modules")).for_each(|path| walk(&path, found));
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            found.push(path.to_owned());
        }
    }
    let mut paths = Vec::new();
    PLACES.iter().for_each(|place| walk(&Path::new(ROOT).join(place), &mut paths));
    paths.sort();
    let name = |path: &Path| path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Returns the names that a line cites.
///
/// # Panics
///
/// If a list of names is broken off at the end of the line.
fn citations(line: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let mut cited = Vec::new();
    for word in ["rule: ", "rules: "] {
        for rest in line.split(word).skip(1) {
            for part in rest.split(", ") {
                let name = part.split(|c| !is_name(c)).next().unwrap_or_default();
                cited.push(name);
                assert!(part != format!("{name},"), "a citation goes on in the next line: {line}");
                if name != part || word == "rule: " {
                    break;
                }
            }
        }
    }
    cited
}

/// Returns the part of a line that can hold a citation.
fn citable<'a>(file: &str, line: &'a str) -> Option<&'a str> {
    match file.rsplit('.').next() {
        Some("rs") => line.split_once("//").map(|(_, comment)| comment),
        Some("md") => Some(line),
        _ => line.strip_prefix('#'),
    }
}

/// Returns where each name is cited; the page itself does not count.
fn cited() -> BTreeMap<String, BTreeSet<Place>> {
    let mut cited: BTreeMap<String, BTreeSet<Place>> = BTreeMap::new();
    for (file, text) in files().into_iter().filter(|(file, _)| file != PAGE) {
        // The audit judges the program, and is no part of it.
        let is_test = file.starts_with("tests/")
            || file.starts_with("crates/audit/")
            || file.contains("/tests/")
            || file.ends_with("tests.rs");
        let mut in_test = is_test;
        for line in text.lines() {
            in_test |= line.starts_with("#[cfg(test)]");
            for name in citable(&file, line).map(citations).unwrap_or_default() {
                cited.entry(name.to_owned()).or_default().insert(Place { file: file.clone(), in_test });
            }
        }
    }
    cited
}

/// Returns the rules of the page.
fn rules() -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    for section in read(PAGE).split("\n### ").skip(1) {
        let section = section.split("\n## ").next().unwrap();
        let (name, body) = section.split_once('\n').unwrap();
        let mut rule = Rule { has_reason: body.contains("\n**Why.** "), ..Rule::default() };
        for item in body.split("\n- **").skip(1) {
            let (label, rest) = item.split_once("** ").unwrap();
            let words = rest.split('`').skip(1).step_by(2).map(str::to_owned);
            match label {
                "Held by" => rule.held_by = functions(words),
                "Shown by" => rule.shown_by = words.collect(),
                "Tested by" => rule.tested_by = functions(words),
                "Examples" => rule.examples = words.collect(),
                other => panic!("{name}: {other}"),
            }
        }
        assert!(rules.insert(name.to_owned(), rule).is_none(), "{name} is there twice");
    }
    assert!(rules.len() >= 31, "{} rules", rules.len());
    rules
}

/// Pairs functions with the file that was named before them.
fn functions(words: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let mut file = None;
    let mut found = Vec::new();
    for word in words {
        if word.ends_with(".rs") {
            file = Some(word);
        } else {
            found.push((file.clone().unwrap_or_else(|| panic!("`{word}` stands behind no file")), word));
        }
    }
    found
}

/// Panics with all that is wrong.
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_cited_rule_is_on_the_page() {
    let rules = rules();
    let unknown = cited().into_iter().filter(|(name, _)| !rules.contains_key(name));
    assert_none(unknown.map(|(name, places)| format!("{PAGE} has no rule {name:?}, cited in {places:?}")).collect());
}

#[test]
fn every_rule_is_cited_by_the_program_and_by_a_test() {
    let cited = cited();
    let mut wrong = Vec::new();
    for name in rules().keys() {
        let places = cited.get(name).into_iter().flatten();
        let in_program = |place: &&Place| place.file.starts_with("src/") || place.file.starts_with("crates/");
        let (tests, others): (Vec<_>, Vec<_>) = places.partition(|place| place.in_test);
        if !others.iter().any(in_program) {
            wrong.push(format!("{name} is cited by no code"));
        }
        if tests.is_empty() {
            wrong.push(format!("{name} is cited by no test and no scenario"));
        }
    }
    assert_none(wrong);
}

#[test]
fn every_rule_says_why_and_what_holds_and_shows_it() {
    let mut wrong = Vec::new();
    for (name, rule) in rules() {
        if !rule.has_reason || rule.held_by.is_empty() || (rule.shown_by.is_empty() && rule.tested_by.is_empty()) {
            wrong.push(format!("{name} lacks its reason, what holds it, or what shows it"));
        }
    }
    assert_none(wrong);
}

#[test]
fn functions_of_a_rule_exist_and_their_files_cite_it() {
    let cited = cited();
    let mut wrong = Vec::new();
    for (name, rule) in rules() {
        let of_tests = rule.tested_by.iter().map(|function| (function, true));
        for ((file, function), in_test) in rule.held_by.iter().map(|function| (function, false)).chain(of_tests) {
            let Ok(text) = fs::read_to_string(Path::new(ROOT).join(file)) else {
                wrong.push(format!("{name}: there is no {file}"));
                continue;
            };
            if !["(", "<"].iter().any(|end| text.contains(&format!("fn {function}{end}"))) {
                wrong.push(format!("{name}: {file} has no function {function}"));
            }
            let place = Place { file: file.clone(), in_test };
            if !cited.get(&name).is_some_and(|places| places.contains(&place)) {
                wrong
                    .push(format!("{name}: {file} does not cite it {}", if in_test { "in a test" } else { "in code" }));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn functions_of_the_prose_are_in_the_files_that_it_names() {
    let page = read(PAGE).split_whitespace().collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = page.split('`').collect();
    // What stands between backticks is every second word: a function, ` in `, its file.
    let named = words.windows(3).skip(1).step_by(2).filter(|three| three[1] == " in " && three[2].ends_with(".rs"));
    let named: Vec<_> = named.map(|three| (three[0], three[2])).collect();
    assert!(named.len() >= 6, "{named:?}");
    let is_missing = |(function, file): &&(&str, &str)| !read(file).contains(&format!("fn {function}("));
    assert_none(named.iter().filter(is_missing).map(|(function, file)| format!("{file} has no {function}")).collect());
}

#[test]
fn functions_of_the_walks_exist() {
    let code: Vec<String> = files()
        .into_iter()
        .filter(|(file, _)| file.ends_with(".rs") && (file.starts_with("src/") || file.starts_with("crates/")))
        .map(|(_, text)| text)
        .collect();
    let page = read("docs/architecture.md");
    let named: BTreeSet<(&str, &str)> =
        page.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    let named: Vec<_> = named.into_iter().filter(|(of, _)| *of != "Input").collect();
    assert!(named.len() >= 20, "{named:?}");
    let is_there = |(of, function): &(&str, &str)| {
        code.iter().any(|text| {
            let is_home = [format!("struct {of}"), format!("impl {of}"), format!("trait {of}"), format!(" {of}")]
                .iter()
                .any(|form| text.contains(form.as_str()));
            is_home && text.contains(&format!("fn {function}"))
        })
    };
    let missing = named.iter().filter(|walk| !is_there(walk));
    assert_none(missing.map(|(of, function)| format!("docs/architecture.md: there is no {of}::{function}")).collect());
}

#[test]
fn scenarios_of_a_rule_are_those_that_cite_it() {
    let mut cites: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (file, text) in files() {
        let Some(scenario) = file.strip_prefix("tests/scenarios/").map(|name| name.trim_end_matches(".txt")) else {
            continue;
        };
        let second = text.lines().nth(1).unwrap_or_default();
        let names = second.trim_start_matches("# rules: ").trim_start_matches("# rule: ").split(", ");
        let names: Vec<&str> = names.collect();
        let word = if names.len() == 1 { "rule" } else { "rules" };
        if second != format!("# {word}: {}", names.join(", ")) {
            wrong.push(format!("the second line of {file} is no citation: {second}"));
        }
        for name in names {
            cites.entry(name.to_owned()).or_default().insert(scenario.to_owned());
        }
    }
    for (name, rule) in rules() {
        let citing = cites.remove(&name).unwrap_or_default();
        let of_page = |scenario| format!("{PAGE} lists {scenario} under {name}, and it does not cite it");
        wrong.extend(rule.shown_by.difference(&citing).map(of_page));
        let of_file = |scenario| format!("tests/scenarios/{scenario}.txt cites {name}, and {PAGE} does not list it");
        wrong.extend(citing.difference(&rule.shown_by).map(of_file));
    }
    assert_none(wrong);
}

#[test]
fn examples_of_a_rule_exist() {
    let examples = read("schemas/examples/notifications.ndjson");
    let mut wrong = Vec::new();
    for (name, rule) in rules() {
        for example in rule.examples {
            if !examples.contains(&format!("\"name\":\"{example}\"")) {
                wrong.push(format!("{name}: there is no example {example}"));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn no_rule_is_cited_by_number() {
    let mut wrong = Vec::new();
    for (file, text) in files() {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let numbered = ["rule ", "rules "].iter().any(|word| {
                lower.split(word).skip(1).any(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
            });
            if numbered {
                wrong.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn citations_are_read_to_their_end() {
    assert_eq!(citations(" What is out of reach (rule: forget)."), ["forget"]);
    assert_eq!(citations("! When it may close (rules: close, hints). So"), ["close", "hints"]);
    assert_eq!(citations("`rules: max-segment, start`, and rule: clock, too"), ["clock", "max-segment", "start"]);
    assert_eq!(citations("Rules are cited by name."), Vec::<&str>::new());
}

#[test]
#[should_panic(expected = "goes on in the next line")]
fn citation_that_is_broken_off_is_noticed() {
    citations("(rules: close,");
}
