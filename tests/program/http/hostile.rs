//! Hostile values in every parameter: the right status, no panic, nothing executed.

use crate::http::support::{Answer, Server, id, session};

/// Every route, with every parameter that it has.
const ROUTES: [(&str, &[&str]); 11] = [
    ("/api/v1/", &[]),
    ("/api/v1/openapi.json", &[]),
    ("/api/v1/streams", &["prefix", "limit", "cursor"]),
    ("/api/v1/sessions", &["stream", "from", "to", "status", "include", "limit", "cursor"]),
    ("/api/v1/sessions/00000000-0000-5000-8000-000000000001", &[]),
    ("/api/v1/sessions/00000000-0000-5000-8000-000000000001/splice", &["as", "rendition", "gaps"]),
    ("/api/v1/recordings/1-0", &[]),
    ("/api/v1/changes", &["after", "include", "limit"]),
    ("/", &["stream", "from", "to", "cursor"]),
    ("/sessions/00000000-0000-5000-8000-000000000001", &[]),
    ("/recordings", &["file_id"]),
];

/// Routes that have a part of a user's.
const PARTS: [&str; 4] = ["/api/v1/sessions/{}", "/api/v1/sessions/{}/splice", "/api/v1/recordings/{}", "/sessions/{}"];

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
    let is_page = !request.starts_with("/api/");
    if is_page {
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{short}");
        let body = &answer.body;
        assert!(!body.contains("<script") && !body.contains("javascript:"), "{short}: {body}");
        assert!(!body.contains(|character: char| character.is_control() && character != '\n'), "{short}");
    }
    if answer.status >= 400 && !is_page {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{short}");
        assert_eq!(answer.json()["status"], answer.status, "{short}");
        assert!(answer.body.len() < 2_000, "{short}: what is sent is not sent back whole");
        assert!(!answer.body.contains(char::is_control), "{short}");
    }
}

/// Returns whether a value that is hostile somewhere is a good one here.
fn may_pass(parameter: &str, value: &str) -> bool {
    match parameter {
        "prefix" | "stream" => true,
        "rendition" => value == "0",
        _ => false,
    }
}

fn hostile_values_do_no_harm_in_any_parameter() {
    let server = Server::new("hostile", &[session(1, "room-7", &[(0, 9)])]);
    let before = server.get("/api/v1/sessions?status=any&include=segments").body;
    for value in hostile_values() {
        for (route, parameters) in ROUTES {
            for parameter in parameters {
                let request = format!("{route}?{parameter}={value}");
                let answer = server.get(&request);
                check(&request, &answer);
                assert!(answer.status != 200 || may_pass(parameter, &value), "{request} was taken");
            }
            let request = format!("{route}?{value}=1");
            let answer = server.get(&request);
            check(&request, &answer);
            assert_eq!(answer.status, 400, "{request} was taken");
        }
        // In the path, where blanks and the like cannot be written at all.
        if !value.contains(['/', '+']) {
            for part in PARTS {
                let request = part.replace("{}", &value);
                let answer = server.get(&request);
                check(&request, &answer);
                assert_ne!(answer.status, 200, "{request}");
            }
        }
    }
    for (route, parameters) in ROUTES {
        for parameter in parameters {
            let request = format!("{route}?{parameter}=1&{parameter}=1");
            assert_eq!(server.get(&request).status, 400, "{request}");
        }
    }
    assert_eq!(server.get("/api/v1/sessions?status=any&include=segments").body, before, "nothing was executed");
}

/// Every form of `..`, to every route that has a part of a user's: none is a path to anywhere.
fn way_up_leads_nowhere() {
    let server = Server::new("way-up", &[session(1, "room-7", &[(0, 9)])]);
    for up in ["..", "../..", "../../etc/passwd", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2e%2e%5c", "....//", "..;/"] {
        for part in PARTS {
            let request = part.replace("{}", up);
            let answer = server.get(&request);
            assert!(matches!(answer.status, 400 | 404), "{request}: {answer:?}");
            assert!(!answer.body.contains("root:"), "{request}");
        }
    }
}

fn question_that_is_too_long_is_refused_and_the_next_one_answered() {
    let server = Server::new("too-long", &[session(1, "room-7", &[(0, 9)])]);
    for (length, status) in [(50_000, None), (62_000, Some(400)), (70_000, Some(414)), (2_000_000, Some(431))] {
        for (request, short) in
            [("/api/v1/streams?prefix=", 200), ("/recordings?file_id=", 404), ("/api/v1/recordings/", 404)]
        {
            let is_path = request.ends_with('/');
            let expected = status.filter(|status| !(is_path && *status == 400)).unwrap_or(short);
            let answer = server.try_send("GET", &format!("{request}{}", "x".repeat(length)), "");
            let Some(answer) = answer else {
                // Refused, and cut off before all was sent.
                assert_eq!(status, Some(431), "{request} of {length} bytes");
                continue;
            };
            assert_eq!(answer.status, expected, "{request} of {length} bytes");
            assert!(answer.body.len() < 250_000, "{request} of {length} bytes");
        }
        assert_eq!(server.get("/api/v1/sessions").status, 200);
    }
}

fn what_is_no_request_is_refused_and_the_next_one_answered() {
    let server = Server::new("no-request", &[session(1, "room-7", &[(0, 9)])]);
    let sent: [&[u8]; 8] = [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /api/v1/sessions\r\n\r\n",
        b"GET /api/v1/sessions HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /api/v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for bytes in sent {
        let text = String::from_utf8_lossy(&server.send_bytes(bytes)).into_owned();
        let is_refused = text.is_empty() || text.starts_with("HTTP/1.1 400") || text.starts_with("HTTP/1.0 400");
        // Nobody reads the body of a GET, so a broken one does no harm.
        let is_answered = bytes.ends_with(b"zz\r\n") && text.starts_with("HTTP/1.1 200");
        assert!(is_refused || is_answered, "{bytes:?}: {text}");
        assert_eq!(server.get("/api/v1/sessions").status, 200, "{bytes:?}");
    }
    for headers in [
        "If-None-Match: \u{ff}\u{fe}\r\n",
        "If-None-Match: \"\"\"\",,,*x\r\n",
        "Accept: nonsense\r\n",
        "Range: bytes=9-\r\n",
    ] {
        let answer = server.send("GET", &format!("/api/v1/sessions/{}", id(1)), headers);
        assert_eq!(answer.status, 200, "{headers:?}");
    }
}

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
        (format!("/?cursor={of_sessions}"), 400),
        (format!("/?from=2026-03-01T00:00:00Z&cursor={of_sessions}"), 400),
        (format!("/?cursor={of_streams}"), 400),
        (format!("/api/v1/changes?after={of_sessions}"), 400),
    ] {
        let answer = server.get(&request);
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        if status == 400 && request.contains("cursor=") && request.starts_with("/api/") {
            assert_eq!(answer.json()["param"], "cursor", "{request}");
        }
    }
}

fn markup_in_a_stream_id_stays_text() {
    let markup = "<script>alert(1)</script>\u{202e}";
    let server = Server::new("markup", &[session(1, markup, &[(0, 9)])]);
    let answer = server.get("/api/v1/sessions");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["items"][0]["stream"]["stream_id"], markup);
}

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

crate::tests! {
    hostile_values_do_no_harm_in_any_parameter,
    way_up_leads_nowhere,
    question_that_is_too_long_is_refused_and_the_next_one_answered,
    what_is_no_request_is_refused_and_the_next_one_answered,
    cursor_of_another_list_is_refused,
    markup_in_a_stream_id_stays_text,
    methods_and_paths_that_do_not_exist_are_told,
    many_questions_at_once_are_all_answered,
}
