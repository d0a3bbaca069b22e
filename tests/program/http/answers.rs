//! Contents of the API responses.

use crate::http::support::{Answer, Server, id, session, time, withdrawn};
use livesession_formats::time::parse_timestamp;
use serde_json::Value;

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.json()["items"].as_array().unwrap().clone();
    let session = |item: &Value| item.get("session").unwrap_or(item).clone();
    items.iter().map(|item| session(item)["session_id"].as_str().unwrap().to_owned()).collect()
}

fn sessions_are_paged_by_cursor_without_a_hole() {
    let records: Vec<_> =
        (1..=25).map(|n| session(n, &format!("room-{}", n % 3), &[(i64::from(n / 4) * 100, 5_000)])).collect();
    let server = Server::new("paging", &records);
    for question in
        ["", "stream=a%2Fb%2Froom-1&", "include=segments&", "from=2026-03-01T00:05:00Z&to=2026-03-01T01:00:00Z&"]
    {
        let whole = ids(&server.get(&format!("/api/v1/sessions?{question}limit=1000")));
        assert!(whole.len() > 5, "{question}");
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = server.get(&format!("/api/v1/sessions?{question}limit=4{cursor}"));
            paged.extend(ids(&page));
            match page.json()["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{question}");
    }
}

fn changes_are_told_once_with_the_newest_revision() {
    let server = Server::new("changes", &[session(1, "room-7", &[(0, 9)]), session(2, "room-7", &[(20, 29)])]);
    let first = server.get("/api/v1/changes?limit=1");
    assert_eq!(ids(&first), [id(1)]);
    let token = first.json()["next"].as_str().unwrap().to_owned();
    let second = server.get(&format!("/api/v1/changes?after={token}"));
    assert_eq!(ids(&second), [id(2)]);
    let token = second.json()["next"].as_str().unwrap().to_owned();
    let nothing = server.get(&format!("/api/v1/changes?after={token}"));
    assert_eq!((ids(&nothing), nothing.json()["next"].as_str().unwrap()), (vec![], token.as_str()));
    server.index(&[withdrawn(session(2, "room-7", &[(20, 29)]), 1)]);
    let third = server.get(&format!("/api/v1/changes?after={token}"));
    assert_eq!(ids(&third), [id(2)]);
    assert_eq!(third.json()["items"][0]["session"]["status"], "withdrawn");
    assert_eq!(third.json()["items"][0]["change"], 3);
}

fn number_that_was_never_given_out_is_of_another_index() {
    let server = Server::new("future", &[session(1, "room-7", &[(0, 9)])]);
    let token = server.get("/api/v1/changes").json()["next"].as_str().unwrap().to_owned();
    let generation = token.split_once('.').unwrap().0;
    for (number, status) in
        [("0", 200), ("1", 200), ("2", 410), ("-1", 400), ("9223372036854775807", 410), ("9223372036854775808", 400)]
    {
        let answer = server.get(&format!("/api/v1/changes?after={generation}.{number}"));
        assert_eq!(answer.status, status, "{number}: {answer:?}");
    }
}

fn list_says_how_current_it_is() {
    let server = Server::new("fresh", &[session(1, "room-7", &[(0, 9)])]);
    let indexed = |server: &Server| server.get("/api/v1/streams").json()["indexed"].clone();
    assert_eq!(indexed(&server), serde_json::json!({"lag_records": null, "last_commit": null}));
    server.freshness.set_lag(7);
    server.freshness.record_commit(parse_timestamp(&time(3)).unwrap());
    assert_eq!(indexed(&server), serde_json::json!({"lag_records": 7, "last_commit": time(3)}));
}

fn withdrawn_sessions_are_shown_on_demand_and_lead_to_their_survivor() {
    let gone = session(2, "room-7", &[(20, 29)]);
    let server = Server::new("withdrawn", &[session(1, "room-7", &[(0, 9)]), gone.clone(), withdrawn(gone, 1)]);
    assert_eq!(ids(&server.get("/api/v1/sessions")), [id(1)]);
    assert_eq!(ids(&server.get("/api/v1/sessions?status=withdrawn")), [id(2)]);
    assert_eq!(ids(&server.get("/api/v1/sessions?status=any")), [id(1), id(2)]);
    let recording = server.get("/api/v1/recordings/2-0").json()["items"][0].clone();
    assert_eq!(recording["session"]["session_id"], id(1));
    assert_eq!(recording["via"], serde_json::json!([id(2)]));
    let problem = server.get(&format!("/api/v1/sessions/{}/splice", id(2))).json();
    assert_eq!(problem["type"], "urn:livesession:problem:withdrawn");
    assert!(problem["detail"].as_str().unwrap().contains(&id(1)));
}

fn page_with_many_segments_is_cut_and_goes_on() {
    let files: Vec<(i64, i64)> = (0..9_000).map(|n| (n, n + 1)).collect();
    let records: Vec<_> = (1..=4).map(|n| session(n, "room-7", &files)).collect();
    let server = Server::new("large", &records);
    let page = server.get("/api/v1/sessions?include=segments");
    assert_eq!(ids(&page), [id(1), id(2)], "18,000 segments, and not 27,000");
    let next = page.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(ids(&server.get(&format!("/api/v1/sessions?include=segments&cursor={next}"))), [id(3), id(4)]);
    let page = server.get("/api/v1/changes?include=segments");
    let next = page.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(ids(&server.get(&format!("/api/v1/changes?after={next}"))), [id(3), id(4)]);
}

fn index_that_was_deleted_and_made_again_is_noticed() {
    let server = Server::new("again", &[session(1, "room-7", &[(0, 9)])]);
    assert_eq!(ids(&server.get("/api/v1/sessions")), [id(1)]);
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(server.path().with_file_name(name));
    }
    assert_eq!(server.get("/api/v1/sessions").status, 503);
    server.index(&[session(2, "room-7", &[(0, 9)])]);
    assert_eq!(ids(&server.get("/api/v1/sessions")), [id(2)]);
}

fn id_is_found_in_upper_case() {
    let server = Server::new("case", &[session(1, "room-7", &[(0, 9)])]);
    assert_eq!(server.get(&format!("/api/v1/sessions/{}", id(1).to_uppercase())).status, 200);
}

fn file_that_is_a_url_is_found_percent_encoded() {
    let mut record = session(1, "room-7", &[(0, 9)]);
    record.segments[0].file_id = "https://vod.example.com/a b.mp4?x=1".to_owned();
    let server = Server::new("url", &[record]);
    let found = server.get("/api/v1/recordings/https%3A%2F%2Fvod.example.com%2Fa%20b.mp4%3Fx%3D1");
    assert_eq!(ids(&found), [id(1)]);
}

crate::tests! {
    sessions_are_paged_by_cursor_without_a_hole,
    changes_are_told_once_with_the_newest_revision,
    number_that_was_never_given_out_is_of_another_index,
    list_says_how_current_it_is,
    withdrawn_sessions_are_shown_on_demand_and_lead_to_their_survivor,
    page_with_many_segments_is_cut_and_goes_on,
    index_that_was_deleted_and_made_again_is_noticed,
    id_is_found_in_upper_case,
    file_that_is_a_url_is_found_percent_encoded,
}
