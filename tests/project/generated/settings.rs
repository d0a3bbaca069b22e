//! `deploy/livesession.toml` and `schemas/config.v1.schema.json`, from the table of settings.
//!
//! What they mean to a reader is tested in `src/config/tests.rs`.

use livesession::config::{Config, Kind, SECTIONS, SETTINGS, Setting};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::golden;

/// The widest line of a comment.
const WIDTH: usize = 120;
/// The least value of every setting that counts something.
const LEAST_COUNT: u32 = 1;

const HEAD: &str = r#"# Every setting of livesession, with its default.
#
# Flags (--kafka.brokers) win over the environment (LIVESESSION__KAFKA__BROKERS, lists separated by commas), which wins
# over this file (--config, LIVESESSION_CONFIG, or /etc/livesession/livesession.toml). `livesession config show` prints
# the origin of each value, `livesession config check` reports everything that is wrong. Unknown names are errors. An
# empty string means "not set". Durations are written 250ms, 90s, 3m, 24h; sizes 1048576, 768KiB, 1MiB.

"#;

/// Returns the documentation of a setting as one paragraph.
fn paragraph(setting: &Setting) -> String {
    let mut text = format!("{}.", setting.help());
    match setting.kind {
        Kind::Choice(words) => text.push_str(&format!(" One of {}.", words.join(", "))),
        Kind::Count => text.push_str(&format!(" At least {LEAST_COUNT}.")),
        _ => {}
    }
    if let Some(unset) = setting.unset {
        text.push_str(&format!(" Empty: {unset}."));
    }
    if !setting.reason().is_empty() {
        text.push_str(&format!(" {}", setting.reason()));
    }
    text
}

/// Returns a text as the lines of a comment.
fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split(' ') {
        if lines[lines.len() - 1].len() + 1 + word.len() > WIDTH {
            lines.push("#".to_owned());
        }
        let last = lines.len() - 1;
        lines[last].push_str(&format!(" {word}"));
    }
    lines.join("\n") + "\n"
}

fn annotated_file() -> String {
    let defaults = Config::default();
    let mut file = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let value = setting.shown(&defaults);
        if setting.is_file_only() {
            file.push_str(&format!("\n{}", comment(&paragraph(setting))));
            file.push_str(&match value {
                toml::Value::Table(_) => format!("[{}]\n", setting.name),
                _ => format!("# [[{}]]\n", setting.name),
            });
            setting.example().for_each(|line| file.push_str(&format!("# {line}\n")));
            continue;
        }
        if setting.section() != section {
            section = setting.section();
            file.push_str(&format!("\n[{section}]\n"));
        }
        file.push_str(&format!("{}{} = {value}\n", comment(&paragraph(setting)), setting.short_name()));
    }
    file
}

#[test]
fn annotated_file_is_written_from_the_table() {
    golden::check("deploy/livesession.toml", &annotated_file());
}

/// JSON whose members stay in order.
enum Json {
    Value(Value),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Makes an object of members whose values are in no order of their own.
    fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), Json::Value(value))).collect())
    }

    /// Makes the schema of a section that has no settings yet.
    fn section(name: &str) -> Json {
        let known = SECTIONS.iter().find(|known| known.name == name);
        let mut section = Json::object([("type", json!("object"))]);
        if let Some(known) = known {
            section.push("description", Json::Value(json!(known.help())));
        }
        section.push("additionalProperties", Json::Value(json!(false)));
        section.push("properties", Json::object([]));
        section
    }

    fn push(&mut self, name: &str, value: Json) {
        let Json::Object(members) = self else { panic!("{name} has no members") };
        members.push((name.to_owned(), value));
    }

    /// Returns the last member if it has this name.
    fn last(&mut self, name: &str) -> Option<&mut Json> {
        let Json::Object(members) = self else { panic!("{name} has no members") };
        members.last_mut().filter(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Value(value) => value.serialize(serializer),
            Json::Object(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
        }
    }
}

/// Returns the schema of a setting.
fn schema_of(setting: &Setting) -> Json {
    let default = json!(setting.shown(&Config::default()));
    let is_optional = default == "";
    let mut schema = Json::object(match setting.kind {
        Kind::Text if setting.name == "application_id" => {
            vec![("type", json!("string")), ("pattern", json!("^[A-Za-z0-9._-]+$"))]
        }
        Kind::Text if setting.section() == "topics" => {
            vec![("$ref", json!(if is_optional { "#/$defs/optional_topic" } else { "#/$defs/topic" }))]
        }
        Kind::Text | Kind::Address => vec![("type", json!("string"))],
        Kind::Path if is_optional => vec![("type", json!("string"))],
        Kind::Path => vec![("type", json!("string")), ("minLength", json!(1))],
        Kind::List => {
            let items = json!({"type": "string", "minLength": 1});
            vec![("type", json!("array")), ("minItems", json!(1)), ("items", items)]
        }
        Kind::Duration => vec![("$ref", json!("#/$defs/duration"))],
        Kind::Size => vec![("$ref", json!("#/$defs/size"))],
        Kind::Count => {
            vec![("type", json!("integer")), ("minimum", json!(LEAST_COUNT)), ("maximum", json!(u32::MAX))]
        }
        Kind::Switch => vec![("type", json!("boolean"))],
        Kind::Choice(words) => {
            let unset = is_optional.then_some("");
            vec![("enum", unset.into_iter().chain(words.iter().copied()).collect())]
        }
        Kind::Section if default.is_array() => vec![("$ref", json!("#/$defs/overrides"))],
        Kind::Section => vec![("$ref", json!("#/$defs/properties"))],
    });
    schema.push("description", Json::Value(json!(paragraph(setting))));
    schema.push("default", Json::Value(default));
    schema
}

/// Returns the definitions that settings refer to.
fn definitions() -> Vec<(&'static str, Value)> {
    vec![
        (
            "duration",
            json!({
                "description": "250ms, 90s, 3m, 1h 30m; an integer has no unit, so only 0 is one.",
                "oneOf": [
                    {"type": "string", "pattern": "^\\s*(0|[0-9]+\\s*[a-zA-Z]+(\\s*[0-9]+\\s*[a-zA-Z]+)*)\\s*$"},
                    {"const": 0}
                ]
            }),
        ),
        (
            "size",
            json!({
                "description": "Bytes, or 768KiB, 1MiB, 1GiB.",
                "oneOf": [
                    {"type": "string", "pattern": "^\\s*[0-9]+\\s*(B|KiB|MiB|GiB)?\\s*$"},
                    {"type": "integer", "minimum": 0}
                ]
            }),
        ),
        ("topic", json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"})),
        ("optional_topic", json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{0,249}$"})),
        (
            "overrides",
            json!({
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["streams", "gap"],
                    "properties": {"streams": {"type": "string", "minLength": 1}, "gap": {"$ref": "#/$defs/duration"}}
                }
            }),
        ),
        (
            "properties",
            json!({
                "type": "object",
                "description": "Settings of librdkafka by name; nested names are joined by dots.",
                "additionalProperties": {
                    "anyOf": [{"type": ["string", "number", "boolean"]}, {"$ref": "#/$defs/properties"}]
                }
            }),
        ),
    ]
}

fn schema() -> String {
    let mut properties = Json::object([]);
    for setting in SETTINGS {
        let mut inner = &mut properties;
        let mut path = String::new();
        for part in setting.section().split('.').filter(|part| !part.is_empty()) {
            path = if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
            if inner.last(part).is_none() {
                inner.push(part, Json::section(&path));
            }
            inner = inner.last(part).and_then(|section| section.last("properties")).expect("was made above");
        }
        inner.push(setting.short_name(), schema_of(setting));
    }
    let mut schema = Json::object([
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("$id", json!("urn:livesession:config:v1")),
        ("title", json!("livesession configuration")),
        (
            "description",
            json!(
                "The configuration file, as JSON. An empty string stands for a setting that is not set; what must hold \
                 between settings is checked by `livesession config check`."
            ),
        ),
        ("type", json!("object")),
        ("additionalProperties", json!(false)),
    ]);
    schema.push("properties", properties);
    schema.push("$defs", Json::object(definitions()));
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

#[test]
fn schema_is_written_from_the_table() {
    golden::check("schemas/config.v1.schema.json", &schema());
}
