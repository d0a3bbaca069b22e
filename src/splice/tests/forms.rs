//! Plans as the tools take them.

use super::*;

#[test]
fn ffconcat_cuts_overlaps_and_closes_gaps() {
    let mut session = evening();
    session.segments[1].end = at(13);
    session.segments[2].start = at(11);
    assert_eq!(
        written(&session, Form::Ffconcat, Gaps::Close).unwrap(),
        "ffconcat version 1.0\n\
         # session 5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64 revision 3, rendition 0 (format mp4, template t-1, bitrate original)\n\
         # ffmpeg -f concat -safe 0 -protocol_whitelist file,http,https,tcp,tls,crypto,data -i PLAN -c copy OUT.mkv\n\
         # note: overlaps are cut by wall-clock time, at the end of the earlier file: look at the seams before you publish\n\
         # note: the files come from several pushes, as far as can be told: a copy without encoding fits only if codec, \
         resolution and sample rate are the same, so compare the files with ffprobe and encode those that differ\n\
         # ffmpeg -i FILE -vf scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:-1:-1,setsar=1 \
         -c:v libx264 -c:a aac -ar 48000 -ac 2 NEW.mkv\n\
         file 'https://vod.example.com/1000.mp4'\n\
         file 'https://vod.example.com/1001.mp4'\n\
         outpoint 1.000\n\
         # overlap of 2.000 s, cut off the end before\n\
         file 'https://vod.example.com/1002.mp4'\n\
         # gap of 5.000 s\n\
         file 'https://vod.example.com/1003.mp4'\n"
    );
    let kept = written(&session, Form::Ffconcat, Gaps::Keep).unwrap();
    let lines: Vec<&str> = kept.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines[1..],
        [
            "file 'https://vod.example.com/1000.mp4'",
            "file 'https://vod.example.com/1001.mp4'",
            "outpoint 1.000",
            "file 'https://vod.example.com/1002.mp4'",
            "duration 19.000",
            "file 'https://vod.example.com/1003.mp4'",
        ]
    );
}

#[test]
fn page_about_splicing_has_the_commands_that_stand_in_a_script() {
    let page = include_str!("../../../docs/splicing.md");
    let text = written(&evening(), Form::Ffconcat, Gaps::Close).unwrap();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# ffmpeg ")).collect();
    assert_eq!(commands.len(), 2, "{text}");
    for command in commands {
        assert!(page.contains(&format!("\nffmpeg {command}\n")), "{command}");
    }
}

/// Returns the lines of a script that are no comments.
fn script(session: &SessionRecord, gaps: Gaps) -> Vec<String> {
    let text = written(session, Form::Ffconcat, gaps).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).skip(1).map(str::to_owned).collect()
}

#[test]
fn kept_gap_is_never_shorter_than_the_media_before_it() {
    let mut first = file("a", 0, 10);
    for (media, expected) in
        [(None, "12.000"), (Some(9_000), "12.000"), (Some(12_000), "12.000"), (Some(13_500), "13.500")]
    {
        first.media_ms = media;
        let session = session(vec![first.clone(), file("b", 12, 20)]);
        assert_eq!(script(&session, Gaps::Keep)[1], format!("duration {expected}"), "{media:?}");
        assert_eq!(script(&session, Gaps::Close).len(), 2, "{media:?}");
    }
}

#[test]
fn packed_audio_is_told_its_length_where_gaps_are_kept() {
    let mut session = session(vec![file("a", 0, 10), file("b", 10, 20), file("c", 25, 30)]);
    session.renditions[0].format = Some("AAC".to_owned());
    let durations: Vec<String> =
        script(&session, Gaps::Keep).into_iter().filter(|line| line.starts_with("duration")).collect();
    assert_eq!(durations, ["duration 10.000", "duration 15.000"]);
    assert_eq!(script(&session, Gaps::Close).len(), 3);
    for (gaps, output) in [(Gaps::Close, "OUT.aac"), (Gaps::Keep, "OUT.mkv")] {
        let text = written(&session, Form::Ffconcat, gaps).unwrap();
        assert_eq!(text.lines().nth(2).unwrap().rsplit(' ').next(), Some(output));
    }
}

#[test]
fn file_that_is_cut_is_wrapped_unless_its_times_begin_at_zero() {
    let mut session = session(vec![file("a", 0, 10), file("b", 7, 20)]);
    for (format, is_wrapped) in
        [("mp4", false), ("aac", false), ("mp3", false), ("hls", true), ("ts", true), ("flv", true)]
    {
        session.renditions[0].format = Some(format.to_owned());
        let lines = script(&session, Gaps::Close);
        assert_eq!(lines.iter().filter(|line| *line == "outpoint 7.000").count(), 1, "{format}: {lines:?}");
        assert_eq!(lines[0].starts_with("file 'data:"), is_wrapped, "{format}: {lines:?}");
        assert_eq!(lines[1] == "option safe 0", is_wrapped, "{format}: {lines:?}");
    }
    // `base64` of coreutils made it.
    let expected = "ZmZjb25jYXQgdmVyc2lvbiAxLjAKZmlsZSAnaHR0cHM6Ly92b2QuZXhhbXBsZS5jb20vYS5tcDQnCg==";
    assert_eq!(script(&session, Gaps::Close)[0], format!("file 'data:application/ffconcat;base64,{expected}'"));
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
                r#"{"FileId":"1001","StartTimeOffset":0.0,"EndTimeOffset":1.0},"#,
                r#"{"FileId":"1002","StartTimeOffset":0.0,"EndTimeOffset":0.0}],"#,
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
    session.renditions[0].format = Some("ts".to_owned());
    session.segments[2].start = at(24);
    let text = written(&session, Form::M3u8, Gaps::Close).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("## note: ")).collect();
    assert_eq!(
        lines,
        [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            "## session 5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64 revision 3, rendition 0 (format ts, template t-1, bitrate original)",
            "## ffmpeg -protocol_whitelist file,http,https,tcp,tls,crypto,data -allowed_extensions ALL -i PLAN.m3u8 -c copy OUT.mkv",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            "#EXT-X-TARGETDURATION:17",
            "#EXT-X-PROGRAM-DATE-TIME:2025-08-01T10:00:00.000Z",
            "#EXTINF:10.000,",
            "https://vod.example.com/1000.mp4",
            "#EXT-X-DISCONTINUITY",
            "#EXT-X-PROGRAM-DATE-TIME:2025-08-01T10:00:10.000Z",
            "#EXTINF:14.500,",
            "https://vod.example.com/1002.mp4",
            "#EXT-X-DISCONTINUITY",
            "## overlap of 1.000 s, shown twice",
            "#EXT-X-PROGRAM-DATE-TIME:2025-08-01T10:00:24.000Z",
            "#EXTINF:17.000,",
            "https://vod.example.com/1003.mp4",
            "#EXT-X-ENDLIST",
        ]
    );
    assert!(text.contains("\n## note: a playlist cannot cut: overlaps are shown twice\n"), "{text}");
}

#[test]
fn playlist_takes_only_files_that_players_take() {
    for (format, expected) in [
        (Some("ts"), Ok(())),
        (Some("TS"), Ok(())),
        (Some("aac"), Ok(())),
        (Some("mp3"), Ok(())),
        (Some("hls"), Err("playlists, which a playlist cannot list: use ffconcat")),
        (
            Some("mp4"),
            Err("MP4 files only if they are fragmented, which no notification says: use ffconcat or edit-request"),
        ),
        (Some("flv"), Err("these are flv: use ffconcat or edit-request")),
        (Some("\n"), Err("these are \\n: use ffconcat")),
        (None, Err("of unknown format: use ffconcat")),
    ] {
        let mut session = evening();
        session.renditions[0].format = format.map(str::to_owned);
        let outcome = written(&session, Form::M3u8, Gaps::Close).map(|_| ()).map_err(|error| error.to_string());
        match expected {
            Ok(()) => assert_eq!(outcome, Ok(()), "{format:?}"),
            Err(part) => assert!(outcome.as_ref().is_err_and(|text| text.contains(part)), "{format:?}: {outcome:?}"),
        }
    }
}

#[test]
fn plan_as_json_says_all_of_it() {
    let session = session(vec![file("a", 0, 10), file("b", 9, 20), file("c", 3, 4)]);
    let value: serde_json::Value = serde_json::from_str(&json(&Plan::new(&session, 0).unwrap())).unwrap();
    assert_eq!(value["request_id"], "5b0c3a528d0e5c7e9b430f2f6a1d7e64-3-0");
    assert_eq!(value["items"][1]["before"], "overlap");
    assert_eq!(value["items"][1]["before_ms"], 1_000);
    assert_eq!(value["items"][1]["inpoint_ms"], 0);
    assert_eq!(value["items"][1]["outpoint_ms"], serde_json::Value::Null);
    assert_eq!(value["items"][0]["outpoint_ms"], 9_000);
    assert_eq!([&value["items"][0]["duration_ms"], &value["items"][1]["duration_ms"]], [9_000, 11_000]);
    assert_eq!(value["items"][0]["end"], "2025-08-01T10:00:10.000Z");
    assert_eq!(value["items"][0]["start"], "2025-08-01T10:00:00.000Z");
    assert_eq!(value["left_out"][0], serde_json::json!({"file_id": "c", "reason": "covered"}));
    assert_eq!(value["notes"].as_array().unwrap().len(), 2, "what is left out, and that something is cut: {value}");
}

#[test]
fn tool_that_cannot_do_it_is_named() {
    let write = |form, change: fn(&mut SessionRecord)| {
        let mut session = evening();
        change(&mut session);
        written(&session, form, Gaps::Close).unwrap_err()
    };
    let no_url = write(Form::Ffconcat, |session| session.segments.iter_mut().for_each(|segment| segment.url = None));
    assert_eq!(
        no_url.to_string(),
        "ffconcat can name no file of rendition 0, as of file 1000: it has no URL; edit-request takes file ids"
    );
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
    let mut evening = evening();
    evening.renditions[0].format = Some("ts".to_owned());
    for (form, can) in [(Form::Ffconcat, true), (Form::EditRequest, false), (Form::M3u8, false)] {
        let kept = written(&evening, form, Gaps::Keep);
        assert_eq!(kept.is_ok(), can, "{form:?} keeps gaps");
        assert!(can || kept == Err(Error::CannotKeepGaps { form: form.as_str() }), "{kept:?}");
    }
}

#[test]
fn file_whose_address_cannot_be_named_is_left_out_and_not_the_plan() {
    let mut session = session(vec![file("a", 0, 10), file("b", 2, 10), file("c", 10, 20)]);
    session.renditions[0].format = Some("ts".to_owned());
    session.segments[0].url = Some("https://a/b.mp4\nfile '/etc/passwd'".to_owned());
    for form in [Form::Ffconcat, Form::M3u8] {
        let text = written(&session, form, Gaps::Close).unwrap();
        // What it covered is there in its place.
        let names: Vec<&str> = text.lines().filter(|line| line.contains("https://")).collect();
        let expected = ["https://vod.example.com/b.mp4", "https://vod.example.com/c.mp4"];
        assert!(names.len() == 2 && names.iter().zip(expected).all(|(line, name)| line.contains(name)), "{text}");
        let note = "note: left out, and missing from the film: file a: its URL has a control character";
        assert!(text.contains(note), "{text}");
        assert!(!text.contains("passwd"), "{text}");
    }
    let plan = Plan::new(&session, 0).unwrap();
    assert_eq!(plan.items.len(), 2, "a plan of ids needs no address");
    let note = "ffconcat and m3u8 leave out file a: its URL has a control character";
    assert!(notes(&plan).iter().any(|text| text == note), "{:?}", notes(&plan));
    assert!(!notes_for(&plan, Form::EditRequest).iter().any(|text| text.contains("URL")), "{:?}", notes(&plan));
}

#[test]
fn addresses_are_quoted_as_the_tool_wants_them() {
    let mut session = session(vec![file("a", 0, 10)]);
    session.renditions[0].format = Some("ts".to_owned());
    for (url, ffconcat, m3u8) in [
        ("http://a/it's my.ts", "file 'http://a/it'\\''s%20my.ts'", "http://a/it's%20my.ts"),
        ("/rec/it's my.ts", "file '/rec/it'\\''s my.ts'", "/rec/it's my.ts"),
        ("file:///rec/it's%20my.ts", "file '/rec/it'\\''s my.ts'", "/rec/it's my.ts"),
        ("#1.ts", "file './#1.ts'", "./#1.ts"),
    ] {
        session.segments[0].url = Some(url.to_owned());
        let mut plan = Plan::new(&session, 0).unwrap();
        let is_web = url.starts_with("http");
        assert_eq!(Form::Ffconcat.write(&plan, Gaps::Close).is_ok(), is_web, "{url}");
        plan.addresses = Addresses::WebAndLocal;
        for (form, expected) in [(Form::Ffconcat, ffconcat), (Form::M3u8, m3u8)] {
            let text = form.write(&plan, Gaps::Close).unwrap();
            assert_eq!(text.lines().filter(|line| *line == expected).count(), 1, "{url}: {text}");
        }
    }
}

#[test]
fn free_text_cannot_begin_a_line_of_its_own() {
    let mut session = evening();
    session.renditions[0].template_id = Some("\r\n#EXT-X-KEY:x\u{2028}\nfile '/etc/passwd'".to_owned());
    session.segments[1].file_id = "\nfile '/etc/passwd'\n#EXT-X-KEY:x\u{2028}".to_owned();
    for form in [Form::Ffconcat, Form::M3u8] {
        session.renditions[0].format =
            Some(if form == Form::M3u8 { "ts" } else { "mp4\nfile '/etc/passwd'" }.to_owned());
        let text = written(&session, form, Gaps::Close).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("file '/etc") || line.starts_with("#EXT-X-KEY")), "{text}");
        assert!(!text.contains(['\r', '\u{2028}']), "{text}");
    }
}
