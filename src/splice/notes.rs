//! The notes of a plan: what its user has to know before carrying it out.
//!
//! A plan that is silent about what it lacks is published as the whole show. So each says which files are not in it and why,
//! what it cannot know, and where the rest of the show is.

use super::form::{Form, is_in_playlist, vod_file_id};
use super::{Plan, ROUNDING, Seam, Why, is_short};
use livesession_formats::session::record::Segment;
use livesession_grouping::{CloseCause, Status};

/// File ids that a note names; the plan as JSON has all of them.
const MAX_NAMES: usize = 5;

/// Returns what a person should know of the plan in any form.
pub fn notes(plan: &Plan<'_>) -> Vec<String> {
    let mut notes = left_out(plan);
    notes.extend(without_address(plan));
    notes.extend(about(plan));
    notes.extend(fitting(plan));
    if plan.has_cuts() && is_in_playlist(plan).is_ok() {
        notes.push("m3u8 cannot cut: overlaps are shown twice there".to_owned());
    }
    notes.extend(of_services(plan));
    notes
}

/// Returns what a person should know of the plan in this form, which is written of it as it is.
pub fn notes_for(plan: &Plan<'_>, form: Form) -> Vec<String> {
    let mut notes = left_out(plan);
    notes.extend(about(plan));
    match form {
        Form::Ffconcat => notes.extend(fitting(plan)),
        Form::M3u8 => {
            notes.extend(fitting(plan));
            if plan.has_cuts() {
                notes.push("a playlist cannot cut: overlaps are shown twice".to_owned());
            }
        }
        // Encodes, so that everything fits.
        Form::EditRequest => notes.extend(of_services(plan)),
    }
    notes
}

/// Returns which files the plan lacks, by reason.
fn left_out(plan: &Plan<'_>) -> Vec<String> {
    let mut reasons: Vec<(Why, Vec<&Segment>)> = Vec::new();
    for (segment, why) in &plan.left_out {
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, segments)) => segments.push(segment),
            None => reasons.push((*why, vec![segment])),
        }
    }
    let note = |(why, segments): (Why, Vec<&Segment>)| match why {
        Why::Covered => format!("left out, because other files hold the same time: {}", names(&segments)),
        Why::Empty => format!("left out, because start and end are the same: {}", names(&segments)),
        Why::Address(fault) => format!("left out, and missing from the film: {}: {fault}", names(&segments)),
    };
    reasons.into_iter().map(note).collect()
}

/// Returns which files some forms will leave out.
fn without_address(plan: &Plan<'_>) -> Vec<String> {
    let narrow = plan.addressable();
    let of_address = |why: &Why| match why {
        Why::Address(fault) => Some(*fault),
        Why::Covered | Why::Empty => None,
    };
    let mut notes = Vec::new();
    for (segment, why) in &narrow.left_out {
        if let Some(fault) = of_address(why) {
            notes.push(format!("ffconcat and m3u8 leave out {}: {fault}", names(&[segment])));
        }
    }
    let more = notes.len().saturating_sub(MAX_NAMES);
    notes.truncate(MAX_NAMES);
    if more > 0 {
        notes.push(format!("ffconcat and m3u8 leave out {more} more files, whose addresses they cannot name"));
    }
    notes
}

/// Returns what holds in every form.
fn about(plan: &Plan<'_>) -> Vec<String> {
    let session = plan.session;
    let mut notes = Vec::new();
    if let Some(before) = session.continues {
        notes.push(format!("this is not the whole show: it continues session {before}, which a limit cut off"));
    }
    if session.close_cause == Some(CloseCause::Limit.into()) {
        notes.push(format!(
            "this may not be the whole show: a limit cut the session off, and the session that continues {} has the rest",
            session.session_id
        ));
    }
    if session.status == Status::Open {
        notes.push("the session is still open: a later plan will have more files".to_owned());
    }
    let short: Vec<&Segment> = plan.items.iter().map(|item| item.segment).filter(|segment| is_short(segment)).collect();
    if !short.is_empty() {
        notes.push(format!(
            "less media than the interval is long, which may be lost packets or a start that is too early: {}",
            names(&short)
        ));
    }
    if plan.has_cuts() {
        notes.push(
            "overlaps are cut by wall-clock time, at the end of the earlier file: look at the seams before you publish"
                .to_owned(),
        );
    }
    notes
}

/// Returns whether the files may not fit each other without encoding.
fn fitting(plan: &Plan<'_>) -> Option<String> {
    is_of_several_pushes(plan).then(|| {
        format!(
            "the files come from several pushes, as far as can be told{}: a copy without encoding fits only if codec, \
             resolution and sample rate are the same, so compare the files with ffprobe and encode those that differ",
            bitrates(plan)
        )
    })
}

/// Returns what the services of VOD cannot do.
fn of_services(plan: &Plan<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if plan.items.iter().any(|item| vod_file_id(item).is_err()) {
        notes.push("VOD EditMedia and FastEditMedia need VOD file ids, which not all files have".to_owned());
    }
    let count = plan.items.len();
    for (limit, tool) in [(100, "VOD FastEditMedia"), (500, "VOD ComposeMedia")] {
        if count > limit {
            notes.push(format!("{count} files are more than the {limit} that {tool} takes"));
        }
    }
    notes
}

/// Returns whether the files were recorded from more than one push.
///
/// No notification says so. Files of one push follow each other within the rounding of their times, and of one task; a
/// reconnect that takes no longer than that is not noticed.
pub fn is_of_several_pushes(plan: &Plan<'_>) -> bool {
    let tasks = plan.items.windows(2).any(|pair| match pair {
        [before, after] => match (&before.segment.task_id, &after.segment.task_id) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        },
        _ => false,
    });
    tasks || plan.items.iter().any(|item| item.before.length() > ROUNDING && item.before != Seam::First)
}

/// Returns how far the average bitrates are apart, if they are.
fn bitrates(plan: &Plan<'_>) -> String {
    let kbps = |item: &super::Item<'_>| {
        let bits = item.segment.size_bytes?.checked_mul(8)?;
        bits.checked_div(item.length().as_ms())
    };
    let known: Vec<i64> = plan.items.iter().filter_map(kbps).collect();
    match (known.iter().min(), known.iter().max()) {
        // Half as much again is more than the same encoder makes of another scene.
        (Some(low), Some(high)) if high - low > low / 2 => {
            format!(", and their average bitrates range from {low} to {high} kbit/s")
        }
        _ => String::new(),
    }
}

/// Names files in a text: ids come from notifications, and could end a line.
fn names(segments: &[&Segment]) -> String {
    let mut text = String::from(if segments.len() == 1 { "file " } else { "files " });
    for (index, segment) in segments.iter().take(MAX_NAMES).enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&segment.file_id.escape_debug().to_string());
    }
    if segments.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", segments.len() - MAX_NAMES));
    }
    text
}
