//! An evening of films on disk, announced, grouped and planned by the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::films::{self, Picture, RATE, Watched};

/// When the evening begins.
const EPOCH: u32 = 1_772_400_000;

/// A recording on disk and how it is announced.
pub struct Film<'a> {
    /// Its path from the directory of the evening; the ending is the format.
    pub path: &'a str,
    /// Its interval as it is announced, in seconds of the evening.
    pub start: u32,
    pub end: u32,
    /// What it really shows: from a second on, for so many seconds, which is what its `duration` says.
    pub shows: (u32, u32),
    pub picture: Picture,
}

impl<'a> Film<'a> {
    /// A film that shows its whole interval.
    pub fn new(path: &'a str, start: u32, end: u32) -> Film<'a> {
        Film { path, start, end, shows: (start, end - start), picture: Picture::H264 }
    }

    /// The same film, of other media than its interval.
    pub fn showing(self, from: u32, seconds: u32) -> Film<'a> {
        Film { shows: (from, seconds), ..self }
    }

    pub fn of(self, picture: Picture) -> Film<'a> {
        Film { picture, ..self }
    }
}

/// A directory with films, an index of their session, and the plans that the program makes of it.
pub struct Evening {
    pub directory: PathBuf,
    notifications: Vec<Value>,
}

impl Evening {
    /// Makes films that are announced by their paths.
    pub fn new(name: &str, films: &[Film<'_>]) -> Evening {
        let mut evening = Evening::empty(name);
        for film in films {
            let path = evening.make(film);
            evening.announce(film, path.to_str().unwrap());
        }
        evening
    }

    pub fn empty(name: &str) -> Evening {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ffmpeg-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Evening { directory, notifications: vec![] }
    }

    /// Makes a film and returns where it is.
    pub fn make(&self, film: &Film<'_>) -> PathBuf {
        let path = self.directory.join(film.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        films::make(&path, film.picture, film.shows.0, film.shows.1);
        path
    }

    /// Announces a film at an address.
    pub fn announce(&mut self, film: &Film<'_>, url: &str) {
        let ending = film.path.rsplit_once('.').unwrap().1;
        self.notifications.push(json!({
            "event_type": 100, "app": "push.example.com", "appname": "live", "stream_id": "room-7",
            "file_id": film.path, "file_format": if ending == "m3u8" { "hls" } else { ending },
            "start_time": EPOCH + film.start, "end_time": EPOCH + film.end, "duration": film.shows.1, "video_url": url,
        }));
    }

    /// Runs the program on the index of what is announced.
    fn program(&self, arguments: &[&str]) -> std::process::Output {
        let index = self.directory.join("index.db");
        if !index.exists() {
            let input = self.directory.join("notifications.ndjson");
            let lines: String = self.notifications.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(&input, lines).unwrap();
            let mut group = Command::new(env!("CARGO_BIN_EXE_livesession"));
            films::run(group.args(["group", "--close-all", "--strict", "--index"]).arg(&index).arg(&input));
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
        command.args(arguments).arg("--index").arg(index).output().unwrap()
    }

    fn session(&self) -> String {
        let output = self.program(&["sessions", "list", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let sessions: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [session] = sessions.as_slice() else { panic!("not one session: {text}") };
        session["session_id"].as_str().unwrap().to_owned()
    }

    /// Returns the plan of the one rendition, or why there is none.
    pub fn plan(&self, form: &str, options: &[&str]) -> Result<String, String> {
        let id = self.session();
        let output = self.program(&[&["sessions", "splice", &id, "--as", form], options].concat());
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if output.status.success() { Ok(out) } else { Err(error) }
    }

    /// Plays a plan of local files as the plan itself says.
    pub fn play(&self, form: &str, options: &[&str]) -> Watched {
        let text = self.plan(form, &[&["--local-files"], options].concat()).unwrap();
        self.play_text(&text)
    }

    /// Plays a plan by the command that stands in it, to the letter.
    pub fn play_text(&self, text: &str) -> Watched {
        let lines = commands(text);
        let command = lines.iter().find(|line| line.contains("PLAN")).unwrap_or_else(|| panic!("no command in {text}"));
        let plan = if command.contains("PLAN.m3u8") { "PLAN.m3u8" } else { "PLAN" };
        std::fs::write(self.directory.join(plan), text).unwrap();
        let output = self.directory.join(command.rsplit_once(' ').unwrap().1);
        let _ = std::fs::remove_file(&output);
        films::run(Command::new("sh").args(["-euc", command]).current_dir(&self.directory));
        films::watch(&output)
    }

    /// Does by hand what a plan of whole numbers says, as `(file, seconds from, seconds to)`; `to` 0 is the end.
    pub fn cut(&self, parts: &[(String, f64, f64)]) -> Vec<u32> {
        let mut pictures = Vec::new();
        for (file, from, to) in parts {
            let all = films::watch(&self.directory.join(file)).pictures;
            let place = |seconds: f64| (seconds * f64::from(RATE)).round() as usize;
            let end = if *to > 0.0 { place(*to).min(all.len()) } else { all.len() };
            pictures.extend_from_slice(&all[place(*from)..end]);
        }
        pictures
    }
}

impl Drop for Evening {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Returns the commands in the comments of a plan.
pub fn commands(text: &str) -> Vec<String> {
    let comments = text.lines().filter_map(|line| line.strip_prefix('#'));
    let words = comments.map(|line| line.trim_start_matches('#').trim_start());
    words.filter(|line| line.starts_with("ffmpeg ")).map(str::to_owned).collect()
}

/// Returns the numbers of the pictures of an interval, in seconds of the evening.
pub fn pictures(from: u32, to: u32) -> Vec<u32> {
    (from * RATE..to * RATE).collect()
}
