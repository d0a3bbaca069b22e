//! Everything that a parameter can be, in every parameter: the right status, no panic, nothing executed.

use crate::support::{Answer, Server, id, session};

const ROUTES: [(&str, &[&str]); 6] = [
    ("/api/v1/streams", &["prefix", "limit", "cursor"]),
    ("/api/v1/sessions", &["stream", "from", "to", "status", "include", "limit", "cursor"]),
    ("/api/v1/sessions/00000000-0000-5000-8000-000000000001", &[]),
    ("/api/v1/sessions/00000000-0000-5000-8000-000000000001/splice", &["as", "rendition", "gaps"]),
    ("/api/v1/recordings/1-0", &[]),
    ("/api/v1/changes", &["after", "include", "limit"]),
];

/// Percent-encoded already.
fn hostile_values() -> Vec<String> {
    let mut values: Vec<String> = [
        "%27%20OR%201%3D1%20--",
        "%27%3B%20DROP%20TABLE%20session%3B%20--",
        "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "%00",
        "%1B%5B2J",
        "%0D%0ASet-Cookie%3A%20x%3D1",
        "%C2%85",
        "%ff%fe",
        "%",
        "%4",
        "%zz",
        "%F0%9F%A6%80",
        "%E2%80%AE",
        "../../etc/passwd",
        "-1",
        "0",
        "1e9",
        "NaN",
        "99999999999999999999999999",
        "9223372036854775807",
        "-9223372036854775808",
        "+",
        "%25s%25n",
        "2026-03-01T19:00:00+08:00",
        "2026-13-45T99:99:99Z",
        "0000-00-00T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "AAAA",
        "a.b",
        ".",
        "*",
        "%5B%5D",
    ]
    .map(str::to_owned)
    .to_vec();
    values.push("x".repeat(20_000));
    values.push("%F0%9F%A6%80".repeat(2_000));
    values
}

fn check(request: &str, answer: &Answer) {
    let short: String = request.chars().take(200).collect();
    assert!(matches!(answer.status, 200 | 400 | 404 | 410), "{short}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{short}");
    assert!(answer.header("content-security-policy").is_some(), "{short}");
    assert_eq!(answer.header("set-cookie"), None, "{short}");
    assert_eq!(answer.header("access-control-allow-origin"), None, "{short}");
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{short}");
        assert_eq!(answer.json()["status"], answer.status, "{short}");
        assert!(answer.body.len() < 2_000, "{short}: what is sent is not sent back whole");
        assert!(!answer.body.contains(char::is_control), "{short}");
    }
}

#[test]
fn hostile_values_do_no_harm_in_any_parameter() {
    let server = Server::new("hostile", &[session(1, "room-7", &[(0, 9)])]);
    let before = server.get("/api/v1/sessions?status=any&include=segments").body;
    for (route, parameters) in ROUTES {
        for value in hostile_values() {
            for parameter in parameters {
                let request = format!("{route}?{parameter}={value}");
                let answer = server.get(&request);
                check(&request, &answer);
                let is_text = matches!(*parameter, "prefix" | "stream");
                if answer.status == 200 && !is_text {
                    let may_pass = matches!(
                        (*parameter, value.as_str()),
                        ("rendition", "0") | ("limit", "+") | (_, "2026-03-01T19:00:00Z")
                    );
                    assert!(may_pass, "{request} was taken");
                }
            }
            let request = format!("{route}?{value}=1");
            check(&request, &server.get(&request));
            // In the path, where blanks and the like cannot be written at all.
            if !value.contains(['/', '+']) {
                for request in [
                    format!("{route}/{value}"),
                    format!("/api/v1/sessions/{value}"),
                    format!("/api/v1/recordings/{value}"),
                    format!("/api/v1/sessions/{value}/splice"),
                ] {
                    check(&request, &server.get(&request));
                }
            }
        }
        let repeated = parameters.first().map(|name| format!("{route}?{name}=1&{name}=1"));
        if let Some(request) = repeated {
            assert_eq!(server.get(&request).status, 400, "{request}");
        }
    }
    assert_eq!(server.get("/api/v1/sessions?status=any&include=segments").body, before, "nothing was executed");
}

#[test]
fn cursor_of_another_list_is_refused() {
    let records: Vec<_> = (1..=5).map(|n| session(n, &format!("room-{n}"), &[(0, 9)])).collect();
    let server = Server::new("cursor", &records);
    let next = |request: &str| server.get(request).json()["next"].as_str().unwrap().to_owned();
    let of_sessions = next("/api/v1/sessions?limit=1&from=2026-03-01T00:00:00Z");
    let of_streams = next("/api/v1/streams?limit=1");
    for (request, status) in [
        (format!("/api/v1/sessions?limit=9&from=2026-03-01T00:00:00Z&cursor={of_sessions}"), 200),
        (format!("/api/v1/sessions?cursor={of_sessions}"), 400),
        (format!("/api/v1/sessions?from=2026-03-01T00:00:01Z&cursor={of_sessions}"), 400),
        (format!("/api/v1/sessions?from=2026-03-01T00:00:00Z&status=any&cursor={of_sessions}"), 400),
        (format!("/api/v1/sessions?cursor={of_streams}"), 400),
        (format!("/api/v1/streams?cursor={of_sessions}"), 400),
        (format!("/api/v1/streams?prefix=a&cursor={of_streams}"), 400),
        (format!("/api/v1/streams?cursor={of_streams}"), 200),
        (format!("/api/v1/streams?cursor={of_streams}x"), 400),
    ] {
        let answer = server.get(&request);
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        if status == 400 {
            assert_eq!(answer.json()["param"], "cursor", "{request}");
        }
    }
}

#[test]
fn markup_in_a_stream_id_stays_text() {
    let markup = "<script>alert(1)</script>\u{202e}";
    let server = Server::new("markup", &[session(1, markup, &[(0, 9)])]);
    let answer = server.get("/api/v1/sessions");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["items"][0]["stream"]["stream_id"], markup);
}

#[test]
fn methods_and_paths_that_do_not_exist_are_told() {
    let server = Server::new("methods", &[session(1, "room-7", &[(0, 9)])]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = server.send(method, "/api/v1/sessions", "Content-Length: 0\r\n");
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method}");
        assert_eq!(answer.json()["type"], "urn:livesession:problem:no-such-method", "{method}");
    }
    for path in [
        "/api",
        "/api/v1",
        "/api/v2/sessions",
        "/api/v1/sessions/",
        "/nothing",
        "/api/v1/sessions/a/b/c",
        "//",
        "/%2e%2e/",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["type"], "urn:livesession:problem:no-such-path", "{path}");
    }
}

#[test]
fn many_questions_at_once_are_all_answered() {
    let server = Server::new("many", &[session(1, "room-7", &[(0, 9)])]);
    std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..40).map(|_| scope.spawn(|| server.get(&format!("/api/v1/sessions/{}", id(1))).status)).collect();
        for one in asking {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
}
