//! Films whose every picture says when it was, and what is seen and heard of a film.
//!
//! A picture is two grey fields: the digits of its number, at five pictures a second of the evening. So a picture that is
//! missing, doubled or out of place is seen, whatever has become of its time. Key frames come every five seconds, as recorders
//! make them.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Pictures in a second.
pub const RATE: u32 = 5;
/// Pictures between key frames: five seconds.
const KEY_FRAMES: &str = "25";
/// Grey levels of a digit, far enough from each other to survive an encoder.
const LEVELS: u32 = 50;
const WIDTH: usize = 64;
const HEIGHT: usize = 36;

/// How a film is encoded.
#[derive(Clone, Copy, Debug)]
pub enum Picture {
    /// As live encoders do: no picture waits for a later one.
    H264,
    /// With pictures that are decoded before others that are shown earlier.
    H264Reordered,
    /// Another codec, in another size.
    Mpeg4Large,
    /// Sound alone; quiet, then loud, so that its bitrate at the beginning says nothing of its length.
    None,
}

/// Makes a film of `seconds` that begins at a second of the evening; the ending of the path says what kind of file.
pub fn make(path: &Path, picture: Picture, from: u32, seconds: u32) {
    let first = from * RATE;
    let level = |digit: &str| format!("16+4*{digit}");
    let (low, high) = (level(&format!("mod(N+{first},{LEVELS})")), level(&format!("floor((N+{first})/{LEVELS})")));
    let grey = format!(
        "color=black:size={WIDTH}x{HEIGHT}:rate={RATE}:duration={seconds},format=yuv420p,\
         geq=lum='if(lt(X,{}),{low},{high})':cb=128:cr=128",
        WIDTH / 2
    );
    let sine = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let loud = format!("aevalsrc='if(lt(t,{}),0,random(0)-0.5)':sample_rate=48000:duration={seconds}", seconds / 2);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]);
    match picture {
        Picture::None => command.args(["-f", "lavfi", "-i", &loud]),
        _ => command.args(["-f", "lavfi", "-i", &grey, "-f", "lavfi", "-i", &sine]),
    };
    match picture {
        Picture::H264 | Picture::H264Reordered => {
            let reordered = if matches!(picture, Picture::H264) { "0" } else { "2" };
            command.args(["-c:v", "libx264", "-preset", "veryfast", "-bf", reordered, "-sc_threshold", "0"]);
            command.args(["-threads", "1", "-g", KEY_FRAMES, "-keyint_min", KEY_FRAMES, "-c:a", "aac"]);
        }
        Picture::Mpeg4Large => {
            command.args(["-vf", "scale=128:72:flags=neighbor", "-c:v", "mpeg4", "-q:v", "2", "-g", KEY_FRAMES]);
            command.args(["-c:a", "aac", "-ar", "44100", "-ac", "2"]);
        }
        Picture::None => {}
    }
    if path.extension().is_some_and(|ending| ending == "m3u8") {
        let parts = path.with_extension("%03d.ts");
        command.args(["-f", "hls", "-hls_time", "5", "-hls_list_size", "0", "-hls_segment_filename"]).arg(parts);
    }
    run(command.arg(path));
}

/// What is seen and heard of a film.
pub struct Watched {
    /// Numbers of the pictures, as they are shown.
    pub pictures: Vec<u32>,
    /// Seconds of sound.
    pub sound: f64,
    /// When the packets of pictures, or of sound where there is no picture, are due; in seconds, sorted.
    pub times: Vec<f64>,
}

impl Watched {
    /// Returns the pictures as runs of consecutive numbers: first and last of each.
    pub fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for picture in &self.pictures {
            match runs.last_mut() {
                Some((_, last)) if *picture == *last + 1 => *last = *picture,
                _ => runs.push((*picture, *picture)),
            }
        }
        runs
    }

    /// Returns the pauses of more than a second: when the last before it is due, and the first after it.
    pub fn pauses(&self) -> Vec<(f64, f64)> {
        let pairs = self.times.iter().zip(self.times.iter().skip(1));
        pairs.filter(|(before, after)| *after - *before > 1.0).map(|(before, after)| (*before, *after)).collect()
    }

    /// Returns how many of these pictures are missing, and how many there are that should not be.
    pub fn differs_from(&self, expected: &[u32]) -> (usize, usize) {
        let count = |list: &[u32], picture: &u32| list.iter().filter(|other| *other == picture).count();
        let mut all: Vec<u32> = self.pictures.iter().chain(expected).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.iter().fold((0, 0), |(missing, surplus), picture| {
            let (seen, wanted) = (count(&self.pictures, picture), count(expected, picture));
            (missing + wanted.saturating_sub(seen), surplus + seen.saturating_sub(wanted))
        })
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, runs) = (self.pictures.len(), self.runs());
        write!(f, "{count} pictures {runs:?}, {} s of sound, pauses {:?}", self.sound, self.pauses())
    }
}

/// Watches a film from its beginning to its end.
pub fn watch(path: &Path) -> Watched {
    let kinds = run(Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0"])
        .arg(path));
    let kinds = String::from_utf8(kinds).unwrap();
    let has_pictures = kinds.contains("video");
    let pictures = if has_pictures { pictures(path) } else { vec![] };
    let raw = ["-map", "0:a", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"];
    let samples = if kinds.contains("audio") { decode(path, &raw) } else { vec![] };
    let stream = if has_pictures { "v" } else { "a" };
    let said = run(Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(path));
    let said = String::from_utf8(said).unwrap();
    // Packed audio has no times.
    let mut times: Vec<f64> = said.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    Watched { pictures, sound: samples.len() as f64 / 16_000.0, times }
}

fn pictures(path: &Path) -> Vec<u32> {
    let size = format!("scale={WIDTH}:{HEIGHT}:flags=area");
    let raw = ["-map", "0:v", "-fps_mode", "passthrough", "-vf", &size, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"];
    let bytes = decode(path, &raw);
    let frames = bytes.chunks_exact(WIDTH * HEIGHT * 3 / 2);
    let digit = |row: &[u8], from: usize| {
        let part = &row[from + WIDTH / 8..from + WIDTH / 8 * 3];
        let mean = part.iter().map(|level| f64::from(*level)).sum::<f64>() / part.len() as f64;
        ((mean - 16.0) / 4.0).round() as u32
    };
    let number = |frame: &[u8]| {
        let row = &frame[HEIGHT / 2 * WIDTH..(HEIGHT / 2 + 1) * WIDTH];
        digit(row, WIDTH / 2) * LEVELS + digit(row, 0)
    };
    frames.map(number).collect()
}

/// Decodes a stream; what cannot be decoded is not there.
fn decode(path: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    run(command.args(["-v", "quiet", "-i"]).arg(path).args(arguments))
}

/// Runs a command that has to end well and returns what it wrote.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
