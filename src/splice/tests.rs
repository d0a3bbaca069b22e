use super::text::{Error, Form, Gaps, json, notes};
use super::*;
use livesession_formats::session::record::{SourceRange, Stream};
use livesession_grouping::{CloseCause, SessionId, Status};

const EPOCH: i64 = 1_754_042_400_000; // 2025-08-01T10:00:00Z

fn at(second: i64) -> Timestamp {
    Timestamp::from_ms(EPOCH + second * 1_000).unwrap()
}

fn file(file_id: &str, start: i64, end: i64) -> Segment {
    Segment {
        file_id: file_id.to_owned(),
        url: Some(format!("https://vod.example.com/{file_id}.mp4")),
        format: Some("mp4".to_owned()),
        task_id: None,
        rendition: 0,
        start: at(start),
        end: at(end),
        duration_ms: (end - start) * 1_000,
        media_ms: None,
        size_bytes: None,
        anomalies: vec![],
        offset: 0,
    }
}

fn session(segments: Vec<Segment>) -> SessionRecord {
    let (start, end) = (segments.iter().map(|s| s.start).min().unwrap(), segments.iter().map(|s| s.end).max().unwrap());
    let renditions = segments.iter().map(|segment| segment.rendition).max().unwrap() + 1;
    let rendition = |index: usize| Rendition {
        format: Some("mp4".to_owned()),
        template_id: Some("t-1".to_owned()),
        bitrate_kbps: Some(900 * i64::try_from(index).unwrap()),
        segments: 1,
        recorded_ms: 0,
        size_bytes: None,
    };
    SessionRecord {
        version: 1,
        session_id: SessionId::parse("5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64").unwrap(),
        revision: 3,
        status: Status::Closed.into(),
        merged_into: None,
        continues: None,
        close_cause: Some(CloseCause::Watermark.into()),
        stream: Stream {
            key: "//room-7".to_owned(),
            app: String::new(),
            appname: String::new(),
            stream_id: "room-7".to_owned(),
        },
        start,
        end,
        duration_ms: end.since(start).as_ms(),
        recorded_ms: 0,
        gaps: vec![],
        renditions: (0..renditions).map(rendition).collect(),
        segments,
        source: SourceRange { topic: "t".to_owned(), partition: 0, first_offset: 0, last_offset: 0 },
        watermark: end,
    }
}

/// Describes a plan: file, what is before it, what was left out.
fn plan_of(files: &[(&str, i64, i64)]) -> String {
    let session = session(files.iter().map(|(id, start, end)| file(id, *start, *end)).collect());
    let plan = Plan::new(&session, 0).unwrap();
    let item = |item: &Item<'_>| match item.before {
        Seam::First | Seam::Joined => format!("{} {}", item.segment.file_id, item.before.as_str()),
        Seam::Gap(length) | Seam::Overlap(length) => {
            format!("{} {} {}", item.segment.file_id, item.before.as_str(), length.as_ms() / 1_000)
        }
    };
    let mut words: Vec<String> = plan.items.iter().map(item).collect();
    words.extend(plan.left_out.iter().map(|(segment, why)| format!("-{} {}", segment.file_id, why.as_str())));
    words.join(", ")
}

#[test]
fn files_are_joined_in_time_order_and_shown_once() {
    type Files = &'static [(&'static str, i64, i64)];
    let cases: [(Files, &str); 12] = [
        (&[("a", 0, 10), ("b", 11, 20)], "a first, b gap 1"),
        (&[("a", 0, 10), ("b", 10, 20)], "a first, b joined"),
        (&[("a", 0, 10), ("b", 9, 20)], "a first, b overlap 1"),
        (&[("b", 11, 20), ("a", 0, 10)], "a first, b gap 1"),
        // What lies inside of another is left out, whatever its place in the list.
        (&[("a", 0, 10), ("b", 2, 10)], "a first, -b covered"),
        (&[("a", 0, 10), ("b", 2, 11)], "a first, b overlap 8"),
        (&[("a", 0, 10), ("b", 0, 20)], "b first, -a covered"),
        (&[("b", 0, 10), ("a", 0, 10)], "a first, -b covered"),
        (&[("a", 0, 30), ("b", 5, 10), ("c", 25, 40)], "a first, c overlap 5, -b covered"),
        // The gap is counted from the end that was reached, not from the last file's.
        (&[("a", 0, 30), ("b", 5, 10), ("c", 31, 40)], "a first, c gap 1, -b covered"),
        (&[("a", 0, 10), ("e", 15, 15), ("b", 20, 30)], "a first, b gap 10, -e empty"),
        (&[("e", 5, 5)], "-e empty"),
    ];
    for (files, expected) in cases {
        assert_eq!(plan_of(files), expected, "{files:?}");
    }
}

#[test]
fn file_whose_media_ends_before_the_cut_is_left_out() {
    for (media_ms, expected) in [(Some(4_999), 1), (Some(5_000), 1), (Some(5_001), 2), (None, 2)] {
        let mut second = file("b", 5, 20);
        second.media_ms = media_ms;
        let session = session(vec![file("a", 0, 10), second]);
        let plan = Plan::new(&session, 0).unwrap();
        assert_eq!(plan.items.len(), expected, "{media_ms:?}");
    }
}

#[test]
fn every_file_of_a_rendition_is_in_the_plan_or_left_out() {
    let mut state = 1_u64;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % bound).unwrap()
    };
    for _ in 0..500 {
        let files: Vec<Segment> = (0..1 + below(12))
            .map(|number| {
                let start = below(60);
                Segment {
                    rendition: usize::try_from(below(2)).unwrap(),
                    ..file(&format!("f{number}"), start, start + below(20))
                }
            })
            .collect();
        let session = session(files);
        for plan in Plan::all(&session) {
            let expected = session.segments.iter().filter(|segment| segment.rendition == plan.rendition).count();
            assert_eq!(plan.items.len() + plan.left_out.len(), expected);
            // Second by second: what is recorded is shown once, what is silent is not shown.
            for second in 0..90 {
                let recorded = |s: &Segment| s.start <= at(second) && at(second) < s.end;
                let shown =
                    plan.items.iter().filter(|i| i.shown_from() <= at(second) && at(second) < i.segment.end).count();
                let has = session.segments.iter().any(|s| s.rendition == plan.rendition && recorded(s));
                assert_eq!(shown, usize::from(has), "second {second} of {plan:?}");
            }
        }
    }
}

#[test]
fn request_id_is_one_of_session_revision_and_rendition_and_fits() {
    let mut one = session(vec![file("a", 0, 10), Segment { rendition: 16, ..file("b", 0, 10) }]);
    let id = |session: &SessionRecord, rendition| Plan::new(session, rendition).unwrap().request_id();
    assert_eq!(id(&one, 0), "5b0c3a528d0e5c7e9b430f2f6a1d7e64-3-0");
    assert_eq!(id(&one, 16), "5b0c3a528d0e5c7e9b430f2f6a1d7e64-3-10");
    one.revision = u32::MAX;
    let longest = id(&one, 0).len() + "ffffffff".len() - 1;
    assert_eq!(longest, MAX_REQUEST_ID);
}

#[test]
fn unknown_rendition_has_no_plan() {
    let session = session(vec![file("a", 0, 10)]);
    assert_eq!(Plan::new(&session, 1), None);
    assert_eq!(Plan::new(&session, usize::MAX), None);
    assert_eq!(Plan::all(&session).len(), 1);
}

/// a, a seam, b with an overlap, c after a gap.
fn evening() -> SessionRecord {
    let mut cut = file("1002", 10, 25);
    cut.media_ms = Some(14_500);
    session(vec![file("1000", 0, 10), file("1001", 10, 12), cut, file("1003", 30, 41)])
}

fn written(session: &SessionRecord, form: Form, gaps: Gaps) -> Result<String, Error> {
    form.write(&Plan::new(session, 0).unwrap(), gaps)
}

#[test]
fn ffconcat_cuts_overlaps_and_closes_gaps() {
    let mut session = evening();
    session.segments[1].end = at(13);
    session.segments[2].start = at(11);
    assert_eq!(
        written(&session, Form::Ffconcat, Gaps::Close).unwrap(),
        "ffconcat version 1.0\n\
         # session 5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64 revision 3, rendition 0 (format mp4, template t-1, bitrate original)\n\
         # ffmpeg -f concat -safe 0 -protocol_whitelist file,http,https,tcp,tls,crypto -i PLAN -c copy OUT\n\
         file 'https://vod.example.com/1000.mp4'\n\
         file 'https://vod.example.com/1001.mp4'\n\
         # overlap of 2.000 s, cut off\n\
         file 'https://vod.example.com/1002.mp4'\n\
         inpoint 2.000\n\
         # gap of 5.000 s\n\
         file 'https://vod.example.com/1003.mp4'\n"
    );
    let kept = written(&session, Form::Ffconcat, Gaps::Keep).unwrap();
    let lines: Vec<&str> = kept.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines[1..],
        [
            "file 'https://vod.example.com/1000.mp4'",
            "duration 10.000",
            "file 'https://vod.example.com/1001.mp4'",
            "duration 3.000",
            "file 'https://vod.example.com/1002.mp4'",
            "inpoint 2.000",
            "duration 17.000",
            "file 'https://vod.example.com/1003.mp4'",
        ]
    );
}

#[test]
fn edit_request_names_files_and_cuts() {
    let mut session = evening();
    session.segments.remove(3);
    session.segments[1].end = at(13);
    session.segments[2].start = at(11);
    for gaps in [Gaps::Close, Gaps::Keep] {
        assert_eq!(
            written(&session, Form::EditRequest, gaps).unwrap(),
            concat!(
                r#"{"InputType":"File","FileInfos":[{"FileId":"1000","StartTimeOffset":0.0,"EndTimeOffset":0.0},"#,
                r#"{"FileId":"1001","StartTimeOffset":0.0,"EndTimeOffset":0.0},"#,
                r#"{"FileId":"1002","StartTimeOffset":2.0,"EndTimeOffset":0.0}],"#,
                r#""SessionId":"5b0c3a528d0e5c7e9b430f2f6a1d7e64-3-0","#,
                r#""SessionContext":"5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64 revision 3 rendition 0"}"#,
            )
        );
    }
}

#[test]
fn playlist_says_when_each_file_was() {
    let mut session = evening();
    session.segments.remove(1);
    assert_eq!(
        written(&session, Form::M3u8, Gaps::Close).unwrap(),
        "#EXTM3U\n#EXT-X-VERSION:3\n\
         ## session 5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64 revision 3, rendition 0 (format mp4, template t-1, bitrate original)\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:15\n\
         #EXT-X-PROGRAM-DATE-TIME:2025-08-01T10:00:00.000Z\n#EXTINF:10.000,\nhttps://vod.example.com/1000.mp4\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-PROGRAM-DATE-TIME:2025-08-01T10:00:10.000Z\n#EXTINF:14.500,\nhttps://vod.example.com/1002.mp4\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-PROGRAM-DATE-TIME:2025-08-01T10:00:30.000Z\n#EXTINF:11.000,\nhttps://vod.example.com/1003.mp4\n\
         #EXT-X-ENDLIST\n"
    );
}

#[test]
fn plan_as_json_says_all_of_it() {
    let session = session(vec![file("a", 0, 10), file("b", 9, 20), file("c", 3, 4)]);
    let value: serde_json::Value = serde_json::from_str(&json(&Plan::new(&session, 0).unwrap())).unwrap();
    assert_eq!(value["request_id"], "5b0c3a528d0e5c7e9b430f2f6a1d7e64-3-0");
    assert_eq!(value["items"][1]["before"], "overlap");
    assert_eq!(value["items"][1]["before_ms"], 1_000);
    assert_eq!(value["items"][1]["inpoint_ms"], 1_000);
    assert_eq!(value["items"][0]["start"], "2025-08-01T10:00:00.000Z");
    assert_eq!(value["left_out"][0], serde_json::json!({"file_id": "c", "reason": "covered"}));
    assert_eq!(value["notes"].as_array().unwrap().len(), 2);
}

#[test]
fn tool_that_cannot_do_it_is_named() {
    let write = |form, change: fn(&mut SessionRecord)| {
        let mut session = evening();
        change(&mut session);
        written(&session, form, Gaps::Close).unwrap_err()
    };
    let no_url = write(Form::Ffconcat, |session| session.segments[0].url = None);
    assert_eq!(no_url, Error::NoUrl { file_id: "1000".to_owned() });
    let url_as_id = write(Form::EditRequest, |session| session.segments[0].anomalies = vec!["url_as_id".to_owned()]);
    assert!(matches!(url_as_id, Error::NoVodFileId { .. }));
    let cos = write(Form::EditRequest, |session| {
        session.segments[0].file_id = "1250000000_0123456789abcdef0123456789abcdef".to_owned();
    });
    assert!(matches!(cos, Error::NoVodFileId { .. }));
    let hls = write(Form::M3u8, |session| session.renditions[0].format = Some("hls".to_owned()));
    assert_eq!(hls, Error::PlaylistOfPlaylists);
    let empty = session(vec![file("e", 0, 0)]);
    for form in Form::ALL {
        assert_eq!(written(&empty, form, Gaps::Close), Err(Error::Nothing { rendition: 0 }));
        assert_eq!(Form::parse(form.as_str()), Some(form));
    }
    for (form, can) in [(Form::Ffconcat, true), (Form::EditRequest, false), (Form::M3u8, false)] {
        assert_eq!(written(&evening(), form, Gaps::Keep).is_ok(), can, "{form:?} keeps gaps");
    }
}

#[test]
fn url_that_could_mean_more_than_a_file_is_refused() {
    for url in [
        "/etc/passwd",
        "file:///etc/passwd",
        "concat:https://a|/etc/passwd",
        "https://a/b.mp4\nfile '/etc/passwd'",
        "https://a/b.mp4'\nfile /etc/passwd",
        "https://a/b.mp4'",
        "https://a/b c.mp4",
        "https://a/\u{85}b.mp4",
        "https:/",
        "",
        "ﬃﬃﬃ",
    ] {
        let mut session = evening();
        session.segments[0].url = Some(url.to_owned());
        for form in [Form::Ffconcat, Form::M3u8] {
            let expected = Error::UnusableUrl { file_id: "1000".to_owned() };
            assert_eq!(written(&session, form, Gaps::Close), Err(expected), "{url:?}");
        }
    }
    let mut session = evening();
    session.segments[0].url = Some("HTTPS://a/b.mp4?x=1&y=#é".to_owned());
    assert!(written(&session, Form::Ffconcat, Gaps::Close).is_ok());
}

#[test]
fn free_text_cannot_begin_a_line_of_its_own() {
    let mut session = evening();
    session.renditions[0].format = Some("mp4\nfile '/etc/passwd'".to_owned());
    session.renditions[0].template_id = Some("\r\n#EXT-X-KEY:x\u{2028}".to_owned());
    for form in [Form::Ffconcat, Form::M3u8] {
        let text = written(&session, form, Gaps::Close).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("file '/etc") || line.starts_with("#EXT-X-KEY")), "{text}");
        assert!(!text.contains(['\r', '\u{2028}']), "{text}");
    }
}

#[test]
fn notes_name_the_limits_of_the_tools() {
    for (files, expected) in [(100, 0), (101, 1), (500, 1), (501, 2)] {
        let session = session((0..files).map(|n| file(&format!("{n}"), n * 10, n * 10 + 10)).collect());
        assert_eq!(notes(&Plan::new(&session, 0).unwrap()).len(), expected, "{files} files");
    }
}
