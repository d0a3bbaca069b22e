//! Each form of a plan, played.

use serde_json::Value;

use super::evening::{Evening, Film, commands, pictures};
use super::films::{self, Picture, Watched};
use super::host;

/// Seconds by which sound may differ: an encoder pads each file to whole packets.
const SOUND: f64 = 0.5;

#[track_caller]
fn assert_shows(watched: &Watched, expected: &[u32], sound: u32) {
    assert!(watched.pictures == expected, "{watched:?}");
    assert!((watched.sound - f64::from(sound)).abs() < SOUND, "{watched:?}");
}

/// Asserts that no picture is missing, and at most as many are there twice as an encoder holds back.
#[track_caller]
fn assert_shows_nearly(watched: &Watched, expected: &[u32], sound: u32) {
    let (missing, surplus) = watched.differs_from(expected);
    assert!(missing == 0 && surplus <= 3, "{missing} missing, {surplus} too many: {watched:?}");
    assert!((watched.sound - f64::from(sound)).abs() < SOUND, "{watched:?}");
}

fn files_that_follow_each_other_play_through() {
    for ending in ["mp4", "flv", "ts", "m3u8"] {
        let names: Vec<String> = (0..3).map(|number| format!("{number}.{ending}")).collect();
        let films: Vec<Film<'_>> =
            names.iter().zip([0, 20, 40]).map(|(name, start)| Film::new(name, start, start + 20)).collect();
        let evening = Evening::new(&format!("follow-{ending}"), &films);
        for gaps in ["close", "keep"] {
            let watched = evening.play("ffconcat", &["--gaps", gaps]);
            assert_shows(&watched, &pictures(0, 60), 60);
            assert_eq!(watched.pauses(), [], "{ending}, {gaps}");
        }
    }
}

fn overlap_is_shown_once() {
    for ending in ["mp4", "flv", "ts", "m3u8"] {
        let names: Vec<String> = (0..4).map(|number| format!("{number}.{ending}")).collect();
        let evening = Evening::new(
            &format!("overlap-{ending}"),
            &[
                Film::new(&names[0], 0, 60),
                Film::new(&names[1], 57, 118),
                // Within the first, and within the two.
                Film::new(&names[2], 10, 30),
                Film::new(&names[3], 50, 62),
            ],
        );
        for gaps in ["close", "keep"] {
            let watched = evening.play("ffconcat", &["--gaps", gaps]);
            match ending {
                "mp4" | "flv" => assert_shows(&watched, &pictures(0, 118), 118),
                _ => assert_shows_nearly(&watched, &pictures(0, 118), 118),
            }
        }
    }
}

fn overlap_of_reordered_pictures_is_shown_once_but_for_a_few() {
    let evening = Evening::new(
        "reordered",
        &[Film::new("a.mp4", 0, 30).of(Picture::H264Reordered), Film::new("b.mp4", 27, 62).of(Picture::H264Reordered)],
    );
    assert_shows_nearly(&evening.play("ffconcat", &[]), &pictures(0, 62), 62);
}

fn overlap_of_rounded_times_loses_nothing() {
    let evening = Evening::new(
        "rounded",
        &[
            Film::new("a.mp4", 0, 31).showing(0, 30),
            Film::new("b.mp4", 30, 61).showing(30, 30),
            // Two seconds into the file before it, by its times, and behind it, by what it shows.
            Film::new("c.mp4", 59, 90).showing(60, 30),
        ],
    );
    assert_shows(&evening.play("ffconcat", &[]), &pictures(0, 90), 90);
    assert_shows(&evening.play("ffconcat", &["--gaps", "keep"]), &pictures(0, 90), 90);
}

fn file_with_less_media_than_its_interval_covers_nothing() {
    // Each file says when its recording task began.
    let evening = Evening::new(
        "task-start",
        &[
            Film::new("a.mp4", 0, 20),
            Film::new("b.mp4", 0, 40).showing(20, 20),
            Film::new("c.mp4", 0, 60).showing(40, 20),
        ],
    );
    assert_shows(&evening.play("ffconcat", &[]), &pictures(0, 60), 60);
}

fn cut_counts_in_the_media_that_there_are() {
    let evening = Evening::new("short", &[Film::new("a.mp4", 0, 40).showing(20, 20), Film::new("b.mp4", 35, 60)]);
    assert_shows(&evening.play("ffconcat", &[]), &pictures(20, 60), 40);
}

fn gap_is_closed_or_kept() {
    let evening =
        Evening::new("gap", &[Film::new("a.mp4", 0, 20), Film::new("b.mp4", 50, 70), Film::new("c.mp4", 70, 80)]);
    let expected = [pictures(0, 20), pictures(50, 80)].concat();
    let closed = evening.play("ffconcat", &[]);
    assert_shows(&closed, &expected, 50);
    assert_eq!(closed.pauses(), []);
    let kept = evening.play("ffconcat", &["--gaps", "keep"]);
    assert_shows(&kept, &expected, 50);
    let pauses = kept.pauses();
    assert!(pauses.len() == 1 && (pauses[0].0 - 19.8).abs() < 0.1 && (pauses[0].1 - 50.0).abs() < 0.1, "{kept:?}");
}

fn kept_gap_does_not_reach_into_longer_media() {
    // 26 s of media in 20 s of time; the next file begins 3 s later.
    let evening =
        Evening::new("long", &[Film::new("a.mp4", 0, 20).showing(0, 26), Film::new("b.mp4", 23, 40).showing(26, 17)]);
    let watched = evening.play("ffconcat", &["--gaps", "keep"]);
    assert_shows(&watched, &pictures(0, 43), 43);
    let steps: Vec<f64> = watched.times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| (*step - 0.2).abs() < 0.1), "{steps:?}");
}

fn kept_gap_behind_shorter_media_stays_where_it_was() {
    let evening = Evening::new(
        "phantom",
        &[Film::new("a.mp4", 0, 20).showing(0, 16), Film::new("b.mp4", 25, 40), Film::new("c.mp4", 50, 60)],
    );
    let watched = evening.play("ffconcat", &["--gaps", "keep"]);
    assert_shows(&watched, &[pictures(0, 16), pictures(25, 40), pictures(50, 60)].concat(), 41);
    let begins: Vec<f64> = watched.pauses().iter().map(|pause| pause.1.round()).collect();
    assert_eq!(begins, [25.0, 50.0], "{watched:?}");
}

fn playlist_of_transport_streams_plays_to_its_end() {
    let evening =
        Evening::new("playlist-ts", &[Film::new("a.ts", 0, 20), Film::new("b.ts", 50, 70), Film::new("c.ts", 70, 80)]);
    assert_shows(&evening.play("m3u8", &[]), &[pictures(0, 20), pictures(50, 80)].concat(), 50);
}

fn playlist_shows_an_overlap_twice_and_says_so() {
    let evening = Evening::new("playlist-twice", &[Film::new("a.ts", 0, 20), Film::new("b.ts", 15, 40)]);
    let text = evening.plan("m3u8", &["--local-files"]).unwrap();
    assert!(text.contains("## overlap of 5.000 s, shown twice"), "{text}");
    assert!(text.contains("## note: a playlist cannot cut: overlaps are shown twice"), "{text}");
    assert_shows(&evening.play_text(&text), &[pictures(0, 20), pictures(15, 40)].concat(), 45);
}

fn sound_alone_is_as_long_as_it_was() {
    for ending in ["aac", "mp3"] {
        let names: Vec<String> = (0..3).map(|number| format!("{number}.{ending}")).collect();
        let films: Vec<Film<'_>> = names
            .iter()
            .zip([(0, 20), (20, 40), (60, 80)])
            .map(|(name, (start, end))| Film::new(name, start, end).of(Picture::None))
            .collect();
        let evening = Evening::new(&format!("sound-{ending}"), &films);
        assert_shows(&evening.play("m3u8", &[]), &[], 60);
        assert_shows(&evening.play("ffconcat", &[]), &[], 60);
        let kept = evening.play("ffconcat", &["--gaps", "keep"]);
        assert_shows(&kept, &[], 60);
        let pauses = kept.pauses();
        assert!(
            pauses.len() == 1 && (pauses[0].0 - 40.0).abs() < 0.2 && (pauses[0].1 - 60.0).abs() < 0.2,
            "{ending}: {kept:?}"
        );
    }
}

fn overlap_of_sound_is_heard_once() {
    let films = [Film::new("a.aac", 0, 20).of(Picture::None), Film::new("b.aac", 15, 40).of(Picture::None)];
    assert_shows(&Evening::new("sound-overlap", &films).play("ffconcat", &[]), &[], 40);
}

/// Names that mean something to a shell, a playlist, an address or a script.
const AWKWARD: [&str; 3] = ["it's my show/#1 100%25 \"a\".ts", "it's my show/b & 'c'; d.ts", "直播间/e?f=g.ts"];

fn awkward() -> Vec<Film<'static>> {
    AWKWARD.iter().zip([0, 20, 40]).map(|(path, start)| Film::new(path, start, start + 20)).collect()
}

fn paths_with_quotes_and_blanks_play() {
    let evening = Evening::new("names", &awkward());
    for form in ["ffconcat", "m3u8"] {
        assert_shows(&evening.play(form, &[]), &pictures(0, 60), 60);
        let refused = evening.plan(form, &[]).unwrap_err();
        assert!(refused.contains("a path, which --local-files allows"), "{refused}");
    }
}

fn file_addresses_play() {
    let mut evening = Evening::empty("addresses");
    for film in &awkward() {
        let path = evening.make(film);
        let escaped = path.to_str().unwrap().replace('%', "%25").replace(' ', "%20").replace('"', "%22");
        evening.announce(film, &format!("file://{escaped}"));
    }
    for form in ["ffconcat", "m3u8"] {
        assert_shows(&evening.play(form, &[]), &pictures(0, 60), 60);
    }
}

fn web_addresses_with_quotes_and_blanks_play() {
    let mut evening = Evening::empty("web");
    let host = host::serve(evening.directory.clone());
    for film in &awkward() {
        evening.make(film);
        // As a producer writes them that escapes only what it must.
        let escaped = film.path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        evening.announce(film, &format!("http://{host}/{escaped}"));
    }
    for form in ["ffconcat", "m3u8"] {
        let text = evening.plan(form, &[]).unwrap();
        assert_shows(&evening.play_text(&text), &pictures(0, 60), 60);
    }
}

fn overlap_of_playlists_on_the_web_is_shown_once() {
    let mut evening = Evening::empty("web-hls");
    let host = host::serve(evening.directory.clone());
    for film in [Film::new("it's/a.m3u8", 0, 30), Film::new("it's/b.m3u8", 27, 60)] {
        evening.make(&film);
        evening.announce(&film, &format!("http://{host}/{}", film.path));
    }
    let text = evening.plan("ffconcat", &[]).unwrap();
    assert_shows_nearly(&evening.play_text(&text), &pictures(0, 60), 60);
}

fn file_without_an_address_is_missing_and_said_to_be() {
    let mut evening = Evening::empty("unnamed");
    for (film, is_named) in [
        (Film::new("a.mp4", 0, 20), true),
        // It would have covered the next.
        (Film::new("b.mp4", 20, 40), false),
        (Film::new("c.mp4", 25, 40), true),
    ] {
        let path = evening.make(&film);
        evening.announce(&film, if is_named { path.to_str().unwrap() } else { "concat:/a|/b" });
    }
    let text = evening.plan("ffconcat", &["--local-files"]).unwrap();
    assert!(text.contains("# note: left out, and missing from the film: file b.mp4: "), "{text}");
    assert_shows(&evening.play_text(&text), &[pictures(0, 20), pictures(25, 40)].concat(), 35);
}

fn files_of_two_codecs_play_once_they_are_encoded_as_the_plan_says() {
    let evening =
        Evening::new("codecs", &[Film::new("a.mp4", 0, 20), Film::new("b.mp4", 50, 70).of(Picture::Mpeg4Large)]);
    let expected = [pictures(0, 20), pictures(50, 70)].concat();
    let mut text = evening.plan("ffconcat", &["--local-files"]).unwrap();
    assert!(text.contains("# note: the files come from several pushes"), "{text}");
    let (missing, _) = evening.play_text(&text).differs_from(&expected);
    assert!(missing >= 90, "the files fit: {missing} pictures are missing");
    let command = commands(&text).into_iter().find(|line| line.contains("FILE")).unwrap();
    for name in ["a", "b"] {
        let command = command.replace("FILE", &format!("{name}.mp4")).replace("NEW", &format!("new-{name}"));
        films::run(std::process::Command::new("sh").args(["-euc", &command]).current_dir(&evening.directory));
        text = text.replace(&format!("/{name}.mp4"), &format!("/new-{name}.mkv"));
    }
    assert_shows(&evening.play_text(&text), &expected, 40);
}

fn request_and_json_name_the_same_cuts() {
    let evening =
        Evening::new("cuts", &[Film::new("a.mp4", 0, 30), Film::new("b.mp4", 27, 60), Film::new("c.mp4", 60, 70)]);
    let request: Value = serde_json::from_str(&evening.plan("edit-request", &[]).unwrap()).unwrap();
    let parts = request["FileInfos"].as_array().unwrap().iter().map(|part| {
        let seconds = |name: &str| part[name].as_f64().unwrap();
        (part["FileId"].as_str().unwrap().to_owned(), seconds("StartTimeOffset"), seconds("EndTimeOffset"))
    });
    assert_eq!(evening.cut(&parts.collect::<Vec<_>>()), pictures(0, 70));
    let plan: Value = serde_json::from_str(&evening.plan("json", &[]).unwrap()).unwrap();
    let parts = plan["items"].as_array().unwrap().iter().map(|item| {
        let seconds = |name: &str| item[name].as_f64().unwrap_or_default() / 1_000.0;
        (item["file_id"].as_str().unwrap().to_owned(), seconds("inpoint_ms"), seconds("outpoint_ms"))
    });
    assert_eq!(evening.cut(&parts.collect::<Vec<_>>()), pictures(0, 70));
}

fn form_that_is_refused_names_one_that_plays() {
    for (ending, reason) in [("mp4", "fragmented"), ("flv", "these are flv"), ("m3u8", "playlists")] {
        let name = format!("a.{ending}");
        let evening = Evening::new(&format!("refused-{ending}"), &[Film::new(&name, 0, 10)]);
        let refused = evening.plan("m3u8", &["--local-files"]).unwrap_err();
        assert!(refused.contains(reason) && refused.contains("use ffconcat"), "{refused}");
        assert_shows(&evening.play("ffconcat", &[]), &pictures(0, 10), 10);
    }
}

crate::tests! {
    files_that_follow_each_other_play_through,
    overlap_is_shown_once,
    overlap_of_reordered_pictures_is_shown_once_but_for_a_few,
    overlap_of_rounded_times_loses_nothing,
    file_with_less_media_than_its_interval_covers_nothing,
    cut_counts_in_the_media_that_there_are,
    gap_is_closed_or_kept,
    kept_gap_does_not_reach_into_longer_media,
    kept_gap_behind_shorter_media_stays_where_it_was,
    playlist_of_transport_streams_plays_to_its_end,
    playlist_shows_an_overlap_twice_and_says_so,
    sound_alone_is_as_long_as_it_was,
    overlap_of_sound_is_heard_once,
    paths_with_quotes_and_blanks_play,
    file_addresses_play,
    web_addresses_with_quotes_and_blanks_play,
    overlap_of_playlists_on_the_web_is_shown_once,
    file_without_an_address_is_missing_and_said_to_be,
    files_of_two_codecs_play_once_they_are_encoded_as_the_plan_says,
    request_and_json_name_the_same_cuts,
    form_that_is_refused_names_one_that_plays,
}
