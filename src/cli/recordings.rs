//! `livesession recordings`: from a file to its session.

use super::io::output::Output;
use super::io::table::{Form, IndexFile, Rows, Style, json_line};
use crate::exit::{Exit, Failure};
use crate::text::length;

/// Says which session a recorded file belongs to; exit 1 if none.
///
/// More than one answer only if the file id occurs in several streams, or came again much later.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// File id, as it was in the notification; the URL for a file that had none
    file_id: String,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    index: IndexFile,
}

/// Rows of the index that are looked at: more would be a file id that says nothing.
const MAX_ROWS: usize = 1_000;

const HEADER: [&str; 9] = ["file_id", "start", "end", "duration", "format", "stream", "session_id", "status", "url"];

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> Result<Exit, Failure> {
    let mut reader = args.index.open()?;
    let view = reader.view()?;
    let found = view.recordings(args.file_id.trim(), MAX_ROWS)?;
    if found.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("no session has the file {:?}", args.file_id.trim())));
    }
    let form = args.style.form(out);
    let mut rows = Rows::new(form, &HEADER);
    for recording in found {
        if form == Form::Ndjson {
            json_line(&recording, out)?;
            continue;
        }
        rows.push(vec![
            recording.file_id,
            args.style.tz.show(recording.start),
            args.style.tz.show(recording.end),
            length(recording.duration_ms),
            recording.format.unwrap_or_default(),
            recording.session.stream.key,
            recording.session.session_id.to_string(),
            recording.session.status.as_str().to_owned(),
            recording.url.unwrap_or_default(),
        ]);
    }
    if form != Form::Ndjson {
        rows.write(out)?;
    }
    Ok(Exit::Ok)
}
