//! Plans as scripts for ffmpeg's concat demuxer.
//!
//! `outpoint` counts in the times of the file, which begin at zero in mp4 and in packed audio. Where they need not, a file
//! that is cut is wrapped in a script of its own, whose times begin at zero. Seen with ffmpeg 5.1.
//!
//! To keep a gap the file before it is given the time until the next one as its duration; never less than its media, or the
//! next file would begin inside it. Of packed audio ffmpeg guesses the duration from the bitrate, and may miss by minutes: where gaps
//! are kept, each file is given one. Where they are closed, the output is packed audio too, which has no times to get wrong.

use super::address::Address;
use super::form::{Form, Gaps, PROTOCOLS, is_packed_audio, seconds, title};
use super::notes::{is_of_several_pushes, notes_for};
use super::{Plan, Seam};

/// Returns the script of a plan whose files have these addresses.
pub fn script(plan: &Plan<'_>, gaps: Gaps, addresses: &[Address]) -> String {
    let output = match &plan.kind.format {
        Some(format) if is_packed_audio(plan) && gaps == Gaps::Close => format.to_ascii_lowercase(),
        // Takes every codec, and keeps the times as they are.
        _ => "mkv".to_owned(),
    };
    let mut text = String::from("ffconcat version 1.0\n");
    text.push_str(&format!("# {}\n", title(plan)));
    text.push_str(&format!(
        "# ffmpeg -f concat -safe 0 -protocol_whitelist {PROTOCOLS} -i PLAN -c copy OUT.{output}\n"
    ));
    for note in notes_for(plan, Form::Ffconcat) {
        text.push_str(&format!("# note: {note}\n"));
    }
    if is_of_several_pushes(plan) {
        text.push_str(&format!("# {}\n", encoding(plan)));
    }
    let nexts = plan.items.iter().skip(1).map(Some).chain([None]);
    for ((item, address), next) in plan.items.iter().zip(addresses).zip(nexts) {
        match item.before {
            Seam::First | Seam::Joined => {}
            Seam::Gap(length) => text.push_str(&format!("# gap of {} s\n", seconds(length))),
            Seam::Overlap(length) => {
                text.push_str(&format!("# overlap of {} s, cut off the end before\n", seconds(length)));
            }
        }
        let has_times_from_zero = plan.is_format("mp4") || is_packed_audio(plan);
        if item.outpoint.is_some() && !has_times_from_zero && address.is_absolute() {
            text.push_str(&format!(
                "# {}, in a script of its own, so that its times begin at zero\n",
                address.as_str()
            ));
            text.push_str(&format!("file '{}'\noption safe 0\n", wrapped(address)));
        } else {
            text.push_str(&file_line(address));
        }
        match (item.outpoint, next) {
            (Some(outpoint), _) => text.push_str(&format!("outpoint {}\n", seconds(outpoint))),
            (None, Some(next)) if gaps == Gaps::Keep => {
                if matches!(next.before, Seam::Gap(_)) || is_packed_audio(plan) {
                    let until_next = next.from.since(item.from).max(item.length());
                    text.push_str(&format!("duration {}\n", seconds(until_next)));
                }
            }
            (None, _) => {}
        }
    }
    text
}

/// Returns the command that gives a file the form that all can have.
fn encoding(plan: &Plan<'_>) -> String {
    if is_packed_audio(plan) {
        let format = if plan.is_format("aac") { "aac" } else { "mp3" };
        format!("ffmpeg -i FILE -ar 48000 -ac 2 NEW.{format}")
    } else {
        "ffmpeg -i FILE -vf scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:-1:-1,setsar=1 \
         -c:v libx264 -c:a aac -ar 48000 -ac 2 NEW.mkv"
            .to_owned()
    }
}

/// Returns the line that names a file; within its quotes only the apostrophe means something.
fn file_line(address: &Address) -> String {
    format!("file '{}'\n", address.as_str().replace('\'', r"'\''"))
}

/// Returns an address that holds a script of that one file.
fn wrapped(address: &Address) -> String {
    // Without its protocol a path would count from where the script is, which is nowhere.
    let address = match address {
        Address::Web(url) => Address::Web(url.clone()),
        Address::Path(path) => Address::Path(format!("file:{path}")),
    };
    let script = format!("ffconcat version 1.0\n{}", file_line(&address));
    format!("data:application/ffconcat;base64,{}", base64(script.as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, index| bits << 8 | usize::from(chunk.get(index).copied().unwrap_or(0)));
        for digit in 0..4 {
            let is_filled = digit <= chunk.len();
            text.push(if is_filled { char::from(DIGITS[bits >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}
