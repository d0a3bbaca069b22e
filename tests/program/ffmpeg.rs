//! Splice plans, carried out by the real `ffmpeg`.
//!
//! Makes tiny files, plans, joins, and measures what came out. Where there is no `ffmpeg` or `ffprobe` every test is
//! reported as ignored, by name: a plan that nobody has played is not known to work.

use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use livesession::splice::Plan;
use livesession::splice::text::{Form, Gaps};
use livesession_formats::session::{SessionRecord, decode};

/// Returns the tests that play a plan.
pub fn trials() -> Vec<Trial> {
    let missing = ["ffmpeg", "ffprobe"].iter().any(|tool| Command::new(tool).arg("-version").output().is_err());
    if missing {
        eprintln!("ffmpeg or ffprobe is not installed: the tests that play a plan are ignored");
    }
    let trial = |name: &str, test: fn() -> Result<(), Failed>| {
        Trial::test(format!("ffmpeg::{name}"), test).with_ignored_flag(missing)
    };
    vec![
        trial("joined_files_play_one_after_another", joined_files_play_one_after_another),
        trial("overlap_is_shown_once", overlap_is_shown_once),
        trial("gap_is_kept_on_demand", gap_is_kept_on_demand),
        trial("playlist_plays_from_start_to_end", playlist_plays_from_start_to_end),
    ]
}

/// A directory with films of a counting picture, one each 40 ms, and a session over them.
struct Films {
    directory: PathBuf,
    session: SessionRecord,
}

impl Films {
    /// `files`: start and end in seconds.
    fn new(name: &str, files: &[(u32, u32)]) -> Films {
        let directory = std::env::temp_dir().join(format!("livesession-ffmpeg-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (number, (start, end)) in files.iter().enumerate() {
            let source = format!("testsrc=size=64x64:rate=25:duration={}", end - start);
            run(Command::new("ffmpeg")
                .args(["-v", "error", "-y", "-f", "lavfi", "-i", &source, "-c:v", "mpeg4", "-g", "1"])
                .arg(directory.join(format!("{number}.mp4"))));
        }
        Films { session: session(files), directory }
    }

    /// Writes the plan with local paths in place of the URLs' host.
    fn write(&self, form: Form, gaps: Gaps) -> PathBuf {
        let text = form.write(&Plan::new(&self.session, 0).unwrap(), gaps).unwrap();
        let mut text = text.replace("https://vod.example.com", self.directory.to_str().unwrap());
        if form == Form::M3u8 {
            // The standard has no mp4 as it is in a playlist, and ffmpeg looks at the name: transport streams.
            text = text.replace(".mp4\n", ".ts\n");
        }
        let path = self.directory.join(form.as_str());
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Returns the times of the pictures of what `ffmpeg` makes of the plan, in seconds.
    fn pictures(&self, form: Form, gaps: Gaps) -> Vec<f64> {
        let plan = self.write(form, gaps);
        let demuxer = if form == Form::Ffconcat { "concat" } else { "hls" };
        let out = self.directory.join("out.mkv");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y", "-f", demuxer]);
        match form {
            Form::Ffconcat => command.args(["-safe", "0"]),
            _ => command.args(["-allowed_extensions", "ALL", "-protocol_whitelist", "file"]),
        };
        run(command.arg("-i").arg(plan).args(["-c", "copy"]).arg(&out));
        let said = run(Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
            .arg(&out));
        let mut times: Vec<f64> = said.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

impl Drop for Films {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn session(files: &[(u32, u32)]) -> SessionRecord {
    let time = |second: u32| format!("2025-08-01T10:00:{second:02}.000Z");
    let segments: Vec<String> = files
        .iter()
        .enumerate()
        .map(|(number, (start, end))| {
            format!(
                r#"{{"file_id":"{number}","url":"https://vod.example.com/{number}.mp4","format":"mp4","task_id":null,"rendition":0,
                "start":"{}","end":"{}","duration_ms":{},"media_ms":null,"size_bytes":null,"anomalies":[],"offset":{number}}}"#,
                time(*start),
                time(*end),
                (end - start) * 1_000
            )
        })
        .collect();
    let (start, end) = (files.iter().map(|f| f.0).min().unwrap(), files.iter().map(|f| f.1).max().unwrap());
    let json = format!(
        r#"{{"version":1,"session_id":"5b0c3a52-8d0e-5c7e-9b43-0f2f6a1d7e64","revision":1,"status":"closed","merged_into":null,
        "continues":null,"close_cause":"watermark","stream":{{"key":"//room-7","app":"","appname":"","stream_id":"room-7"}},
        "start":"{0}","end":"{1}","duration_ms":0,"recorded_ms":0,"gaps":[],
        "renditions":[{{"format":"mp4","template_id":null,"bitrate_kbps":null,"segments":1,"recorded_ms":0,"size_bytes":null}}],
        "segments":[{2}],"source":{{"topic":"t","partition":0,"first_offset":0,"last_offset":0}},"watermark":"{1}"}}"#,
        time(start),
        time(end),
        segments.join(",")
    );
    decode(json.as_bytes()).unwrap()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts how many pictures there are and how long the film is, a picture more or less.
fn check(films: &Films, form: Form, gaps: Gaps, pictures: usize, length: f64) -> Result<(), Failed> {
    let times = films.pictures(form, gaps);
    let last = times.last().copied().unwrap_or_default() - times.first().copied().unwrap_or_default() + 0.04;
    if times.len().abs_diff(pictures) > 1 || (last - length).abs() > 0.1 {
        return Err(format!("{} pictures in {last:.3} s, not {pictures} in {length:.3} s", times.len()).into());
    }
    Ok(())
}

fn joined_files_play_one_after_another() -> Result<(), Failed> {
    let films = Films::new("joined", &[(0, 2), (2, 3), (3, 5)]);
    check(&films, Form::Ffconcat, Gaps::Close, 125, 5.0)?;
    check(&films, Form::Ffconcat, Gaps::Keep, 125, 5.0)
}

fn overlap_is_shown_once() -> Result<(), Failed> {
    let films = Films::new("overlap", &[(0, 4), (3, 6), (1, 2)]);
    check(&films, Form::Ffconcat, Gaps::Close, 150, 6.0)?;
    check(&films, Form::Ffconcat, Gaps::Keep, 150, 6.0)
}

fn gap_is_kept_on_demand() -> Result<(), Failed> {
    let films = Films::new("gap", &[(0, 2), (5, 6)]);
    check(&films, Form::Ffconcat, Gaps::Close, 75, 3.0)?;
    check(&films, Form::Ffconcat, Gaps::Keep, 75, 6.0)
}

fn playlist_plays_from_start_to_end() -> Result<(), Failed> {
    let films = Films::new("playlist", &[(0, 2), (5, 6)]);
    for number in 0..2 {
        let path = |suffix: &str| films.directory.join(format!("{number}.{suffix}"));
        let mut convert = Command::new("ffmpeg");
        convert.args(["-v", "error", "-y", "-i"]).arg(path("mp4")).args(["-c:v", "mpeg2video"]).arg(path("ts"));
        run(&mut convert);
    }
    check(&films, Form::M3u8, Gaps::Close, 75, 3.0)
}
