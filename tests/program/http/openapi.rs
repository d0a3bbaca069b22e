//! The description against the running server: every route, every documented status, and nothing that is not documented.

use std::collections::BTreeSet;
use std::path::Path;

use livesession::http::api::problem::Kind;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

use crate::http::support::{Answer, Server, id, session, with_format, withdrawn};

fn schemas() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// Returns a YAML value as JSON; only what JSON has too occurs.
fn to_json(value: &Yaml<'_>) -> Value {
    match value {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(entries) => {
            entries.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), to_json(value))).collect()
        }
        other => panic!("{other:?} is not in JSON"),
    }
}

/// Returns the description with the session and problem schemas inside, as the server gives it out.
fn bundled() -> Value {
    let text = std::fs::read_to_string(schemas().join("openapi.yaml")).unwrap();
    let documents = Yaml::load_from_str(&text).unwrap();
    let [document] = documents.as_slice() else { panic!("{} documents", documents.len()) };
    let mut document = to_json(document);
    for name in ["Session", "Problem"] {
        let place = &mut document["components"]["schemas"][name];
        let file = place["$ref"].as_str().unwrap().to_owned();
        let text = std::fs::read_to_string(schemas().join(file)).unwrap();
        // References as most tools resolve them: from the root of the document, whatever `$id` says.
        let text = text.replace("\"#/$defs/", &format!("\"#/components/schemas/{name}/$defs/"));
        *place = serde_json::from_str(&text).unwrap();
        for key in ["$id", "$schema"] {
            place.as_object_mut().unwrap().remove(key);
        }
    }
    document
}

fn json_given_out_is_the_yaml_that_people_edit() {
    crate::golden::check("schemas/openapi.json", &format!("{:#}\n", bundled()));
}

struct Description {
    document: Value,
}

impl Description {
    /// Resolves a reference within the document.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    fn validate(&self, schema: &Value, instance: &Value) -> Result<(), String> {
        let rewrite = |value: &Value| -> Value {
            serde_json::from_str(&value.to_string().replace("#/components/schemas/", "#/$defs/")).unwrap()
        };
        let whole = json!({"$defs": rewrite(&self.document["components"]["schemas"]), "allOf": [rewrite(schema)]});
        let validator = jsonschema::validator_for(&whole).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    /// Checks an answer against what is documented for the path.
    fn check(&self, path: &str, answer: &Answer) {
        let at = format!("{path} {}: {answer:?}", answer.status);
        let documented = &self.document["paths"][path]["get"]["responses"][answer.status.to_string()];
        assert!(!documented.is_null(), "status is not documented: {at}");
        let response = self.resolve(documented);
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let sent = answer.header(&name.to_ascii_lowercase()).unwrap_or_else(|| panic!("no {name}: {at}"));
            let value = sent.parse::<i64>().map_or(json!(sent), |number| json!(number));
            self.validate(&header["schema"], &value).unwrap_or_else(|fault| panic!("{fault}: {at}"));
        }
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_empty(), "{at}");
            return;
        };
        let media_type = answer.header("content-type").unwrap();
        let media = content.get(media_type).unwrap_or_else(|| panic!("media type is not documented: {at}"));
        let body = if media_type.ends_with("json") { answer.json() } else { json!(answer.body) };
        self.validate(&media["schema"], &body).unwrap_or_else(|fault| panic!("{fault}: {at}"));
        if answer.status >= 400 {
            assert_eq!(body["status"], answer.status, "{at}");
        }
    }

    /// Returns the problem types of all responses.
    fn problems(&self) -> BTreeSet<String> {
        let responses = self.document["components"]["responses"].as_object().unwrap().values();
        let types = responses.flat_map(|response| {
            let schema = &response["content"]["application/problem+json"]["schema"];
            schema["properties"]["type"]["enum"].as_array().unwrap()
        });
        types.map(|name| name.as_str().unwrap().to_owned()).collect()
    }
}

fn every_kind_of_problem_is_described() {
    let described = Description { document: bundled() }.problems();
    let name = |kind: &Kind| format!("urn:livesession:problem:{}", kind.name());
    // What is no path has no place among the paths.
    let of_paths = Kind::ALL.iter().filter(|kind| **kind != Kind::NoSuchPath);
    assert_eq!(described, of_paths.map(name).collect());
    let text = bundled()["info"]["description"].as_str().unwrap().to_owned();
    assert!(text.contains(&name(&Kind::NoSuchPath)), "{text}");
}

fn every_route_answers_as_described() {
    let server = Server::new(
        "openapi",
        &[
            session(1, "room-7", &[(0, 600), (660, 1_200)]),
            with_format(session(2, "room-7", &[(4_000, 4_100), (4_160, 4_200)]), "ts"),
            withdrawn(session(3, "room-8", &[(0, 10)]), 1),
        ],
    );
    let nothing = Server::new("openapi-nothing", &[]);
    let description = Description { document: bundled() };
    let served = server.get("/api/v1/openapi.json");
    assert!(served.json() == description.document, "what is served is what is described");

    let of_streams = server.get("/api/v1/streams?limit=1").json()["next"].as_str().unwrap().to_owned();
    let cursor = server.get("/api/v1/sessions?limit=1").json()["next"].as_str().unwrap().to_owned();
    let token = server.get("/api/v1/changes").json()["next"].as_str().unwrap().to_owned();
    let (one, two, gone, unknown) = (id(1), id(2), id(3), id(9));

    // Path as described, request as sent, status; from the server with an index.
    let requests: Vec<(&str, String, u16)> = vec![
        ("/api/v1/", "/api/v1/".into(), 200),
        ("/api/v1/", "/api/v1/?x=1".into(), 400),
        ("/api/v1/openapi.json", "/api/v1/openapi.json".into(), 200),
        ("/api/v1/openapi.json", "/api/v1/openapi.json?x".into(), 400),
        ("/api/v1/streams", "/api/v1/streams?prefix=a%2Fb".into(), 200),
        ("/api/v1/streams", "/api/v1/streams?limit=0".into(), 400),
        ("/api/v1/sessions", "/api/v1/sessions".into(), 200),
        ("/api/v1/sessions", "/api/v1/sessions?include=segments&status=any".into(), 200),
        ("/api/v1/sessions", format!("/api/v1/sessions?limit=1&cursor={cursor}"), 200),
        ("/api/v1/sessions", format!("/api/v1/sessions?stream=x&cursor={cursor}"), 400),
        ("/api/v1/sessions/{id}", format!("/api/v1/sessions/{one}"), 200),
        ("/api/v1/sessions/{id}", format!("/api/v1/sessions/{gone}"), 200),
        ("/api/v1/sessions/{id}", format!("/api/v1/sessions/{one}?x=1"), 400),
        ("/api/v1/sessions/{id}", format!("/api/v1/sessions/{unknown}"), 404),
        ("/api/v1/sessions/{id}/splice", format!("/api/v1/sessions/{one}/splice"), 200),
        ("/api/v1/sessions/{id}/splice", format!("/api/v1/sessions/{one}/splice?as=ffconcat&gaps=keep"), 200),
        ("/api/v1/sessions/{id}/splice", format!("/api/v1/sessions/{one}/splice?as=edit-request"), 200),
        ("/api/v1/sessions/{id}/splice", format!("/api/v1/sessions/{two}/splice?as=m3u8"), 200),
        ("/api/v1/sessions/{id}/splice", format!("/api/v1/sessions/{one}/splice?as=m3u8"), 400),
        ("/api/v1/sessions/{id}/splice", format!("/api/v1/sessions/{two}/splice?as=m3u8&gaps=keep"), 400),
        ("/api/v1/sessions/{id}/splice", format!("/api/v1/sessions/{gone}/splice"), 404),
        ("/api/v1/recordings/{file_id}", "/api/v1/recordings/1-0".into(), 200),
        ("/api/v1/recordings/{file_id}", "/api/v1/recordings/1-0?x=1".into(), 400),
        ("/api/v1/recordings/{file_id}", "/api/v1/recordings/nope".into(), 404),
        ("/api/v1/changes", "/api/v1/changes".into(), 200),
        ("/api/v1/changes", format!("/api/v1/changes?include=segments&after={token}"), 200),
        ("/api/v1/changes", "/api/v1/changes?after=x".into(), 400),
        ("/api/v1/changes", "/api/v1/changes?after=0123456789abcdef.0".into(), 410),
    ];
    let (mut seen, mut problems) = (BTreeSet::new(), BTreeSet::new());
    let mut check = |path: &str, answer: Answer, status: u16| {
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        description.check(path, &answer);
        if status >= 400 {
            problems.insert(answer.json()["type"].as_str().unwrap().to_owned());
        }
        seen.insert((path.to_owned(), status));
    };
    for (path, request, status) in &requests {
        check(path, server.get(request), *status);
        if *status == 200 {
            check(path, server.send("POST", request, "Content-Length: 0\r\n"), 405);
            let head = server.send("HEAD", request, "");
            assert_eq!((head.status, head.body.as_str()), (200, ""), "{request}");
            if !matches!(*path, "/api/v1/" | "/api/v1/openapi.json") {
                // The same question to a server that has no index yet; one whose cursor is of no index is worth asking as well.
                check(path, nothing.get(request), 503);
            }
        }
    }
    let tag = server.get(&format!("/api/v1/sessions/{one}")).header("etag").unwrap().to_owned();
    for sent in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = server.send("GET", &format!("/api/v1/sessions/{one}"), &format!("If-None-Match: {sent}\r\n"));
        check("/api/v1/sessions/{id}", answer, 304);
    }
    // Filled anew, with the same sessions: cursors are of another index.
    std::fs::remove_file(server.path()).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(server.path().with_file_name(format!("index.db{suffix}")));
    }
    server.index(&[session(1, "room-7", &[(0, 600)]), session(2, "room-7", &[(4_000, 4_100)])]);
    check("/api/v1/sessions", server.get(&format!("/api/v1/sessions?limit=1&cursor={cursor}")), 410);
    check("/api/v1/streams", server.get(&format!("/api/v1/streams?cursor={of_streams}")), 410);

    let documented: BTreeSet<(String, u16)> = description.document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let statuses = item["get"]["responses"].as_object().unwrap().keys();
            statuses.map(|status| (path.clone(), status.parse().unwrap())).collect::<Vec<_>>()
        })
        .collect();
    let unseen: Vec<_> = documented.difference(&seen).collect();
    assert!(unseen.is_empty(), "documented and not seen: {unseen:?}");
    assert_eq!(problems, description.problems(), "each kind of problem is seen");
}

fn parameters_described_are_those_that_are_read() {
    let server = Server::new("openapi-parameters", &[session(1, "room-7", &[(0, 600)])]);
    let description = Description { document: bundled() };
    for (path, item) in description.document["paths"].as_object().unwrap() {
        let request = path.replace("{id}", &id(1)).replace("{file_id}", "1-0");
        let described: BTreeSet<String> = item["get"]["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| description.resolve(parameter))
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        // The answer to a wrong name lists the right ones.
        let detail = server.get(&format!("{request}?nonsense=1")).json()["detail"].as_str().unwrap().to_owned();
        let listed = detail.rsplit_once("there are: ").unwrap().1;
        let read: BTreeSet<String> = listed.split(", ").filter(|name| *name != "none").map(str::to_owned).collect();
        assert_eq!(read, described, "{path}");
    }
}

crate::tests! {
    json_given_out_is_the_yaml_that_people_edit,
    every_kind_of_problem_is_described,
    every_route_answers_as_described,
    parameters_described_are_those_that_are_read,
}
