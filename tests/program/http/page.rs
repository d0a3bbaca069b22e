//! The page: what is drawn is in the table too, everything is escaped, nothing is loaded from elsewhere.

use crate::http::support::{Answer, Server, id, session, withdrawn};
use livesession_formats::time::parse_timestamp;

fn page(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    check(path, &answer);
    answer.body
}

fn check(path: &str, answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let body = answer.body.to_ascii_lowercase();
    for forbidden in
        ["<script", "style=", " onload", " onclick", "javascript:", "<iframe", "<img", "<base", "http-equiv"]
    {
        assert!(!body.contains(forbidden), "{path} has {forbidden}");
    }
    // Well-formed enough to be read as XML but for its void elements: every tag is closed.
    for tag in [
        "a", "table", "tr", "td", "svg", "g", "text", "title", "div", "main", "form", "label", "bdi", "ul", "li", "dl",
        "dd", "header", "footer", "details", "summary", "span", "strong", "code", "nav", "p",
    ] {
        let opened = body.matches(&format!("<{tag}>")).count() + body.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, body.matches(&format!("</{tag}>")).count(), "{path}: <{tag}>");
    }
}

/// Returns the paths of the links on the timeline, in order.
fn drawn(body: &str) -> Vec<&str> {
    let Some((_, svg)) = body.split_once("<svg") else { return vec![] };
    sessions(svg.rsplit_once("</svg>").unwrap().0)
}

/// Returns the paths of the links in the table, in order.
fn listed(body: &str) -> Vec<&str> {
    let Some((_, table)) = body.split_once("<tbody>") else { return vec![] };
    let table = table.split_once("</tbody>").unwrap().0;
    sessions(table)
}

fn sessions(part: &str) -> Vec<&str> {
    let links = part.split("<a href=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0);
    links.filter(|link| link.starts_with("/sessions/")).collect()
}

fn sessions_are_drawn_and_listed() {
    let server = Server::new(
        "page",
        &[
            session(1, "room-7", &[(0, 600), (660, 1_200)]),
            session(2, "room-8", &[(300, 900)]),
            session(3, "room-7", &[(4_000, 4_100)]),
            withdrawn(session(4, "room-7", &[(10, 20)]), 1),
        ],
    );
    let body = page(&server, "/");
    let path = |number| format!("/sessions/{}", id(number));
    assert_eq!(listed(&body), [path(1), path(2), path(3)], "by time");
    assert_eq!(drawn(&body), [path(1), path(3), path(2)], "by stream, then by time");
    assert!(body.contains(
        "a/b/room-7, 2026-03-01 00:00:00 to 2026-03-01 00:20:00 UTC, 0:20:00, closed, 2 segments, 1 gap of 0:01:00"
    ));
    assert!(body.contains("<td>1, together 0:01:00</td>"), "{body}");
    assert!(!body.contains(&id(4)), "withdrawn sessions are not shown");

    let body = page(&server, "/?stream=a%2Fb%2Froom-8");
    assert_eq!(listed(&body), [path(2)]);
    let body = page(&server, "/?from=2026-03-01T00:10:00Z&to=2026-03-01T00:20:00");
    assert_eq!(listed(&body), [path(1), path(2)], "a form field has no offset: UTC");
    for typed in ["from=2026-03-01T01:06&to=2026-03-01T01:07", "from=2026-03-01+01:06:00&to=+2026-03-02+"] {
        let body = page(&server, &format!("/?{typed}"));
        assert_eq!(listed(&body), [path(3)], "{typed}");
        assert!(body.contains("name=\"from\" value=\"2026-03-01 01:06:00\""), "{typed}: {body}");
    }
}

fn stream_is_found_by_a_part_of_its_key() {
    let server = Server::new(
        "page-part",
        &[session(1, "room-7", &[(0, 600)]), session(2, "room-70", &[(60, 900)]), session(3, "Radio", &[(0, 9)])],
    );
    let offered = |query: &str| -> Vec<String> {
        let body = page(&server, &format!("/?{query}"));
        assert_eq!(listed(&body), [""; 0], "{query}");
        let list = body.split_once("<ul>").map_or("", |(_, rest)| rest.split_once("</ul>").unwrap().0);
        list.split("<a href=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0.to_owned()).collect()
    };
    assert_eq!(offered("stream=room-7"), ["/?stream=a%2Fb%2Froom-7", "/?stream=a%2Fb%2Froom-70"]);
    assert_eq!(offered("stream=radio"), ["/?stream=a%2Fb%2FRadio"]);
    assert_eq!(offered("stream=%25"), [""; 0], "a text and not a pattern");
    assert_eq!(offered("stream=a%2Fb%2FRadio&from=2027-01-01"), ["/?stream=a%2Fb%2FRadio"], "to where it has sessions");
    assert_eq!(listed(&page(&server, "/?stream=a%2Fb%2FRadio")).len(), 1);
}

fn file_leads_to_its_session() {
    let gone = session(2, "room-7", &[(20, 29)]);
    let mut twice = session(3, "room-8", &[(0, 600), (660, 900)]);
    twice.segments[1].file_id = "1-0".to_owned();
    let server = Server::new("page-file", &[session(1, "room-7", &[(0, 9)]), gone.clone(), withdrawn(gone, 1), twice]);
    let body = page(&server, "/recordings?file_id=3-0");
    for text in [
        format!("<a href=\"/sessions/{}\">", id(3)),
        "<a href=\"/?stream=a%2Fb%2Froom-8\"><bdi>a/b/room-8</bdi></a>".to_owned(),
        "2026-03-01 00:00:00 to 2026-03-01 00:15:00 UTC".to_owned(),
        "href=\"https://vod.example.com/3-0.mp4\"".to_owned(),
    ] {
        assert!(body.contains(&text), "{text} is not in {body}");
    }
    assert_eq!(sessions(&page(&server, "/recordings?file_id=1-0")).len(), 2, "in two streams");
    let followed = page(&server, "/recordings?file_id=2-0");
    assert_eq!(sessions(&followed), [format!("/sessions/{}", id(1)), format!("/sessions/{}", id(2))]);
    assert!(followed.contains("withdrawn since"), "{followed}");
    for (query, status) in
        [("file_id=nope", 404), ("file_id=", 200), ("", 200), ("file=1-0", 400), ("file_id=%00", 400)]
    {
        let answer = server.get(&format!("/recordings?{query}"));
        assert_eq!(answer.status, status, "{query}");
        check(query, &answer);
    }
}

fn every_page_says_how_current_it_is() {
    let server = Server::new("page-fresh", &[session(1, "room-7", &[(0, 9)])]);
    let paths = ["/".to_owned(), format!("/sessions/{}", id(1)), "/recordings?file_id=1-0".to_owned()];
    let says = |text: &str| {
        for path in &paths {
            let body = page(&server, path);
            assert!(body.contains(text), "{text:?} is not in {body}");
        }
        assert!(server.get("/sessions/nope").body.contains(text), "a page about a problem too");
    };
    says("<span>Index of unknown age</span>");
    server.freshness.set_lag(0);
    says("<span>Index up to date</span>");
    server.freshness.record_commit(parse_timestamp(&crate::http::support::time(3)).unwrap());
    server.freshness.set_lag(12);
    says("<strong>Index 12 records behind, last written 2026-03-01 00:00:03 UTC</strong>");
}

fn windows_of_every_kind_are_drawn() {
    let day = 86_400;
    let files: Vec<(i64, i64)> = (0..5_000).map(|n| (n * 10, n * 10 + 9)).collect();
    let server = Server::new(
        "windows",
        &[
            session(1, "long", &files),
            session(2, "midnight", &[(day - 600, day + 600)]),
            session(3, "overlap", &[(0, 900)]),
            session(4, "overlap", &[(300, 1_200)]),
            session(5, "point", &[(40, 40)]),
            session(6, "שלום", &[(0, 900)]),
        ],
    );
    for (query, expected) in [
        ("", 5),
        ("?from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:01Z", 3),
        ("?from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z", 6),
        ("?from=2026-03-01T23:55:00Z&to=2026-03-02T00:05:00Z", 1),
        ("?from=2026-03-01T00:00:40Z&to=2026-03-01T00:00:40Z", 4),
        ("?from=1970-01-01T00:00:00Z&to=9999-12-31T23:59:59.999Z", 6),
        ("?to=1970-01-01T00:00:00Z", 0),
        ("?from=9999-12-31T23:59:59.999Z", 0),
        ("?stream=nobody", 0),
    ] {
        let body = page(&server, &format!("/{query}"));
        assert_eq!(listed(&body).len(), expected, "{query}");
        assert_eq!(drawn(&body).len(), expected, "{query}");
        assert!(body.len() < 300_000, "{query}: {} bytes", body.len());
    }
    let body = page(&server, &format!("/sessions/{}", id(1)));
    assert!(body.contains("The first 500 of 5000"));
    assert!(body.len() < 400_000, "{} bytes", body.len());
}

fn empty_index_and_missing_index_have_a_page() {
    let server = Server::new("page-empty", &[session(1, "room-7", &[(0, 9)])]);
    let origin = livesession_index::Origin {
        topic: "live-sessions".to_owned(),
        source_topic: "recording-notifications".to_owned(),
    };
    livesession_index::Writer::open(&server.path(), &origin).unwrap().prune(i64::MAX, false).unwrap();
    assert!(page(&server, "/").contains("There is no session yet"));
    let nothing = Server::new("page-missing", &[]);
    for path in ["/", "/sessions/x"] {
        let answer = nothing.get(path);
        assert_eq!(answer.status, 503, "{path}");
        check(path, &answer);
    }
}

fn more_sessions_than_fit_are_on_the_next_page() {
    let records: Vec<_> =
        (1..=450).map(|n| session(n, "room-7", &[(i64::from(n) * 10, i64::from(n) * 10 + 5)])).collect();
    let server = Server::new("page-more", &records);
    let (mut seen, mut path) = (Vec::new(), "/?from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z".to_owned());
    loop {
        let body = page(&server, &path);
        seen.extend(listed(&body).iter().map(|one| (*one).to_owned()));
        let Some((before, _)) = body.split_once("\">the next sessions") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&amp;", "&");
    }
    assert_eq!(seen, (1..=450).map(|n| format!("/sessions/{}", id(n))).collect::<Vec<_>>());
}

fn page_of_a_session_has_its_files_gaps_and_plans() {
    let server =
        Server::new("page-session", &[session(1, "room-7", &[(0, 600), (500, 900), (960, 1_200), (600, 700)])]);
    let body = page(&server, &format!("/sessions/{}", id(1)));
    for text in [
        "<h1>Session of <bdi>a/b/room-7</bdi></h1>",
        "<dd><a href=\"/?stream=a%2Fb%2Froom-7\"><bdi>a/b/room-7</bdi></a></dd>",
        "closed (watermark), revision 1",
        "0: mp4, 4 segments",
        "<td>first, without its last 0:01:40</td>",
        "<td>after an overlap of 0:01:40</td>",
        "No m3u8: a playlist takes MP4 files only if they are fragmented, which no notification says: use ffconcat or edit-request.",
        "Note: the files come from several pushes",
        "after a gap of 0:01:00",
        "left out: covered",
        "<td>2026-03-01 00:15:00</td><td>2026-03-01 00:16:00</td><td>0:01:00</td>",
        "3 files to join, 1 left out",
        "as=ffconcat&amp;rendition=0",
        "href=\"https://vod.example.com/1-0.mp4\" rel=\"noreferrer nofollow\"",
    ] {
        assert!(body.contains(text), "{text} is not in {body}");
    }
    // The links to plans and JSON lead somewhere.
    for link in body.split("href=\"/api/").skip(1).map(|rest| rest.split_once('"').unwrap().0.replace("&amp;", "&")) {
        assert_eq!(server.get(&format!("/api/{link}")).status, 200, "{link}");
    }
}

fn withdrawn_session_leads_to_its_survivor() {
    let server = Server::new("page-withdrawn", &[withdrawn(session(2, "room-7", &[(0, 9)]), 1)]);
    let body = page(&server, &format!("/sessions/{}", id(2)));
    assert!(body.contains(&format!("<a href=\"/sessions/{}\">", id(1))), "{body}");
}

fn markup_in_texts_of_notifications_stays_text() {
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";
    let mut record = session(1, hostile, &[(0, 9), (20, 30)]);
    record.segments[0].file_id = hostile.to_owned();
    record.segments[0].url = Some(format!("javascript:{hostile}"));
    record.segments[1].url = Some(format!("https://x/{hostile}"));
    record.segments[0].anomalies = vec![hostile.to_owned()];
    record.segments[0].format = Some(hostile.to_owned());
    let server = Server::new("page-markup", &[record]);
    let file = format!("/recordings?file_id={}", livesession::http::api::ask::encode(hostile));
    for path in ["/".to_owned(), format!("/sessions/{}", id(1)), file] {
        let answer = server.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let body = answer.body;
        assert!(!body.contains("<script") && !body.contains("<img") && !body.contains('\u{202e}'), "{body}");
        assert!(!body.contains("href=\"javascript"), "{body}");
        assert!(body.contains("&lt;script&gt;"), "{body}");
    }
}

fn hostile_parameters_get_a_page_and_no_more() {
    let server = Server::new("page-hostile", &[session(1, "room-7", &[(0, 9)])]);
    for query in [
        "stream=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "stream=%00",
        "stream=%ff",
        "from=%22%3E%3Cscript%3E",
        "from=2026-03-01T19:00:00+08:00",
        "from=2026-03-02&to=2026-03-01",
        "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
        "cursor=AAAA",
        "%3Cscript%3E=1",
        "stream=1&stream=2",
    ] {
        let answer = server.get(&format!("/?{query}"));
        assert!(matches!(answer.status, 200 | 400), "{query}: {answer:?}");
        assert_eq!(answer.status == 200, query.starts_with("stream=%22"), "{query}");
        check(query, &answer);
    }
    for path in ["/sessions/%3Cscript%3E", "/sessions/%00", "/sessions/%ff", "/sessions/x?y=1", "/sessions/nope"] {
        let answer = server.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        check(path, &answer);
    }
    assert_eq!(server.send("POST", "/", "Content-Length: 0\r\n").status, 405);
}

fn stylesheet_and_icon_are_ours() {
    let server = Server::new("page-style", &[]);
    let style = server.get("/style.css");
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(!style.body.contains("url(http") && !style.body.contains("@import"));
    assert!(style.body.contains("prefers-color-scheme: dark"));
    assert_eq!(server.get("/icon.svg").header("content-type"), Some("image/svg+xml"));
}

/// Contrast of the text and drawing colours, by the formula of WCAG 2, read from the stylesheet itself.
fn colours_have_enough_contrast_in_both_schemes() {
    let style = include_str!("../../../src/http/page/style.css");
    let schemes: Vec<&str> = style.split(":root {").skip(1).map(|part| part.split_once('}').unwrap().0).collect();
    assert_eq!(schemes.len(), 2);
    for scheme in schemes {
        let colour = |name: &str| -> f64 {
            let hex = scheme.split_once(&format!("--{name}: #")).unwrap().1.split_once(';').unwrap().0;
            let channel = |at: usize| {
                let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
        };
        let contrast = |a: &str, b: &str| {
            let (light, dark) = (colour(a).max(colour(b)), colour(a).min(colour(b)));
            (light + 0.05) / (dark + 0.05)
        };
        for (text, ground) in [
            ("text", "ground"),
            ("text", "raised"),
            ("soft", "ground"),
            ("link", "ground"),
            ("link", "raised"),
            ("edge", "ground"),
            ("hatch", "ground"),
        ] {
            assert!(contrast(text, ground) >= 4.5, "{text} on {ground}: {:.2}", contrast(text, ground));
        }
        for (edge, ground) in [("edge", "bar"), ("line", "ground")] {
            assert!(contrast(edge, ground) >= 3.0, "{edge} on {ground}: {:.2}", contrast(edge, ground));
        }
    }
}

crate::tests! {
    sessions_are_drawn_and_listed,
    stream_is_found_by_a_part_of_its_key,
    file_leads_to_its_session,
    every_page_says_how_current_it_is,
    windows_of_every_kind_are_drawn,
    empty_index_and_missing_index_have_a_page,
    more_sessions_than_fit_are_on_the_next_page,
    page_of_a_session_has_its_files_gaps_and_plans,
    withdrawn_session_leads_to_its_survivor,
    markup_in_texts_of_notifications_stays_text,
    hostile_parameters_get_a_page_and_no_more,
    stylesheet_and_icon_are_ours,
    colours_have_enough_contrast_in_both_schemes,
}
