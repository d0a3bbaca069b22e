//! `--explain`: the reasons for the bounds of a session, in words.
//!
//! Each segment stands with the silence before it and the rule that joined or split; each session with what closed it.
//! Everything is taken from the sessions as printed, so the explanation cannot differ from the result.

use std::fmt::Write;
use std::sync::Arc;

use super::replay::Origin;
use livesession_grouping::time::{Millis, Timestamp};
use livesession_grouping::{CloseCause, Policy, Publication, Segment, Status};

/// Returns the explanation of the session with this id, or of all sessions of this stream: by its key, or its stream id.
///
/// `None` if there is neither.
pub fn explain(what: &str, sessions: &[(Arc<Origin>, Publication)], policy: &Policy) -> Option<String> {
    let by_id = sessions.iter().find(|(_, session)| session.summary.session_id.to_string() == what);
    let is_stream = |key: &str| key == what || key.rsplit('/').next() == Some(what);
    let mut chosen: Vec<_> = match by_id {
        // Its neighbours tell why it ends where it does.
        Some((origin, one)) => {
            sessions.iter().filter(|(other, session)| other == origin && session.stream == one.stream).collect()
        }
        None => sessions.iter().filter(|(_, session)| is_stream(&session.stream)).collect(),
    };
    if chosen.is_empty() {
        return None;
    }
    chosen.sort_by_key(|(origin, session)| (Arc::clone(origin), Arc::clone(&session.stream), session.summary.start));
    let mut text = String::new();
    for (index, (origin, session)) in chosen.iter().enumerate() {
        if by_id.is_some_and(|(_, one)| one.summary.session_id != session.summary.session_id) {
            continue;
        }
        let neighbour = |other: usize| {
            let (their_origin, theirs) = chosen.get(other)?;
            (their_origin == origin && theirs.stream == session.stream).then_some(theirs)
        };
        let before = index.checked_sub(1).and_then(neighbour);
        if !text.is_empty() {
            text.push('\n');
        }
        one_session(&mut text, session, before, neighbour(index + 1), policy);
    }
    Some(text)
}

fn one_session(
    text: &mut String,
    session: &Publication,
    before: Option<&Publication>,
    after: Option<&Publication>,
    policy: &Policy,
) {
    let Publication { stream, summary, segments, status, .. } = session;
    let gap = policy.gap(stream);
    let mut line = |written: std::fmt::Arguments<'_>| {
        // A string takes all that is written.
        let _ = text.write_fmt(written);
        text.push('\n');
    };
    line(format_args!("session {} of {stream}, {}", summary.session_id, status.as_str()));
    line(format_args!(
        "  {} to {}: {}, of which {} recorded; gap {gap}",
        summary.start,
        summary.end,
        summary.end.since(summary.start),
        summary.recorded
    ));
    match before {
        Some(other) => line(format_args!("  begins: {}", apart(other, session, gap))),
        None => line(format_args!("  begins: nothing is known of the stream before it")),
    }
    let mut reached: Option<Timestamp> = None;
    for segment in segments {
        let seed = if segment.offset() == summary.seed_offset { "; its seed" } else { "" };
        line(format_args!(
            "  {} to {}  file {}, offset {}{seed}: {}",
            segment.start(),
            segment.end(),
            segment.file_id(),
            segment.offset(),
            joined(reached, segment, gap)
        ));
        reached = Some(reached.map_or(segment.end(), |end| end.max(segment.end())));
    }
    match after {
        Some(other) => line(format_args!("  ends: {}", apart(session, other, gap))),
        None => line(format_args!("  ends: nothing is known of the stream after it")),
    }
    line(format_args!("  {}", closing(session, policy)));
}

/// Says why a segment belongs to the session, given where the segments before it reach.
fn joined(reached: Option<Timestamp>, segment: &Segment, gap: Millis) -> String {
    match reached {
        None => "first".to_owned(),
        Some(end) if segment.start() > end => {
            format!("silence {} <= gap {gap}: same session", segment.start().since(end))
        }
        Some(end) if segment.start() == end => "follows at once: same session".to_owned(),
        Some(end) => format!("overlap {}: same session", end.since(segment.start())),
    }
}

/// Says why two neighbouring sessions are two.
fn apart(before: &Publication, after: &Publication, gap: Millis) -> String {
    if after.summary.start > before.summary.end + gap {
        let silence = after.summary.start.since(before.summary.end);
        return format!(
            "silence {silence} > gap {gap} between {} and {}: another session",
            before.summary.end, after.summary.start
        );
    }
    format!(
        "a limit cut between {} and {}: {} goes on",
        before.summary.end, after.summary.start, after.summary.session_id
    )
}

/// Says what closed the session, or what it waits for.
fn closing(session: &Publication, policy: &Policy) -> String {
    let Publication { stream, summary, status, allowed_at, .. } = session;
    let settings = policy.settings();
    let sum = format!(
        "end + gap {} + recording_interval {} + notification_delay {}",
        policy.gap(stream),
        settings.recording_interval,
        settings.notification_delay
    );
    let watermark = summary.watermark;
    match (status, summary.close_cause) {
        (Status::Closed, Some(CloseCause::Watermark)) => {
            format!("closed (watermark): watermark {watermark} > {allowed_at} = {sum}")
        }
        (Status::Closed, Some(CloseCause::PushEnded)) => {
            format!("closed (push_ended): off air; watermark {watermark} > {allowed_at}, without recording_interval")
        }
        (Status::Closed, Some(CloseCause::MaxHold)) => {
            format!("closed (max_hold): a push is on air, but watermark {watermark} > {allowed_at}")
        }
        (Status::Closed, Some(CloseCause::Limit)) => {
            "closed (limit): the next segment would have exceeded a limit".to_owned()
        }
        (Status::Closed, Some(CloseCause::EndOfInput)) => {
            format!("closed (end_of_input): watermark {watermark} <= {allowed_at}, but there is no more input")
        }
        _ if *allowed_at == policy.wait_bound(summary.end, policy.gap(stream)) => {
            format!("open: watermark {watermark} <= {allowed_at} = {sum}")
        }
        _ => format!("open: watermark {watermark} <= {allowed_at}, as push hints say"),
    }
}
