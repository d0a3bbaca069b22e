//! Reading the changelog: records in log order, reduced by key, to what a restore needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::decode_batch;
use super::value::{optional_time, read, span, time};
use super::{Error, HintsValue, MARKER_KEY, Marker, MarkerValue, PublishedValue, batch_key};
use livesession_grouping::policy::Override;
use livesession_grouping::{
    Clock, CloseCause, Offset, Push, Pushes, Saved, SavedSession, SessionId, Settings, Summary,
};

/// Reduces changelog records by key, in log order, to what a restore needs.
///
/// Batches are kept as they are until the end: most of those in an uncompacted log have been deleted by then.
#[derive(Debug, Default)]
pub struct Reducer {
    batches: BTreeMap<Offset, Vec<u8>>,
    published: BTreeMap<SessionId, SavedSession>,
    hints: BTreeMap<String, Pushes>,
    marker: Option<Marker>,
}

/// The reduced changelog of a partition.
#[derive(Debug)]
pub struct Reduced {
    pub saved: Saved,
    /// `None` if the changelog is empty.
    pub marker: Option<Marker>,
    /// First offset of each batch.
    pub batches: Vec<Offset>,
}

impl Reducer {
    /// Applies the next record of the log.
    ///
    /// # Errors
    ///
    /// A record that this program did not write, or a newer one did: the caller stops.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let unknown = Error::UnknownKey { length: key.len() };
        let Ok(name) = std::str::from_utf8(key) else { return Err(unknown) };
        if name == MARKER_KEY {
            // A deleted marker says that there is no state.
            self.marker = value.map(|value| decode_marker(name, value)).transpose()?;
            return Ok(());
        }
        let Some((kind, rest)) = name.split_once('/') else { return Err(unknown) };
        match kind {
            "b" => {
                let first: Offset = rest.parse().map_err(|_| unknown)?;
                match value {
                    Some(value) => self.batches.insert(first, value.to_vec()),
                    None => self.batches.remove(&first),
                };
            }
            "p" => {
                let session_id = SessionId::parse(rest).ok_or(unknown)?;
                match value {
                    Some(value) => self.published.insert(session_id, decode_published(name, session_id, value)?),
                    None => self.published.remove(&session_id),
                };
            }
            "h" => {
                match value {
                    Some(value) => self.hints.insert(rest.to_owned(), decode_hints(name, value)?),
                    None => self.hints.remove(rest),
                };
            }
            _ => return Err(unknown),
        }
        Ok(())
    }

    /// Returns what is left.
    ///
    /// # Errors
    ///
    /// As [`Reducer::apply`].
    pub fn finish(self) -> Result<Reduced, Error> {
        let mut segments = Vec::new();
        let mut batches = Vec::with_capacity(self.batches.len());
        for (first, value) in self.batches {
            batches.push(first);
            decode_batch(&batch_key(first), &value, &mut segments)?;
        }
        let saved = Saved {
            clock: self.marker.as_ref().and_then(|marker| marker.clock),
            forgotten: self.marker.as_ref().and_then(|marker| marker.forgotten),
            segments,
            sessions: self.published.into_values().collect(),
            hints: self.hints.into_iter().map(|(stream, hints)| (Arc::from(stream), hints)).collect(),
        };
        Ok(Reduced { saved, marker: self.marker, batches })
    }
}

fn decode_published(key: &str, session_id: SessionId, value: &[u8]) -> Result<SavedSession, Error> {
    let summary: PublishedValue<'_> = read(key, value)?;
    let out_of_range = |what| Error::OutOfRange { key: key.to_owned(), what };
    let continues = summary.continues.map(|id| SessionId::parse(&id).ok_or_else(|| out_of_range("a session id")));
    let close_cause = summary.close_cause.map(|cause| CloseCause::parse(&cause).ok_or_else(|| out_of_range("a cause")));
    Ok(SavedSession {
        stream: Arc::from(&*summary.stream),
        frozen_at: summary.frozen_at,
        last_published: Summary {
            session_id,
            revision: summary.revision,
            continues: continues.transpose()?,
            close_cause: close_cause.transpose()?,
            start: time(key, summary.start)?,
            end: time(key, summary.end)?,
            recorded: span(key, summary.recorded_ms)?,
            first_offset: summary.first_offset,
            last_offset: summary.last_offset,
            watermark: time(key, summary.watermark)?,
            seed_offset: summary.seed_offset,
            segments: summary.segments,
        },
    })
}

fn decode_hints(key: &str, value: &[u8]) -> Result<Pushes, Error> {
    let hints: HintsValue = read(key, value)?;
    let push = |(id, start, end): (Option<String>, _, _)| {
        let (start, end) = (optional_time(key, start)?, optional_time(key, end)?);
        Ok(Push { id: id.map(String::into_boxed_str), start, end })
    };
    Ok(Pushes {
        pushes: hints.pushes.into_iter().map(push).collect::<Result<_, Error>>()?,
        start_seen: hints.start_seen,
        ended: optional_time(key, hints.ended)?,
        last_hint: time(key, hints.last_hint)?,
    })
}

fn decode_marker(key: &str, value: &[u8]) -> Result<Marker, Error> {
    let marker: MarkerValue = read(key, value)?;
    let (watermark, at) = (optional_time(key, marker.watermark)?, optional_time(key, marker.at)?);
    let policy = marker.policy;
    let entry = |(streams, gap)| Ok(Override { streams, gap: span(key, gap)? });
    Ok(Marker {
        next_offset: marker.next_offset,
        clock: watermark.zip(at).map(|(watermark, at)| Clock { watermark, at }),
        forgotten: optional_time(key, marker.forgotten)?,
        stream_key: policy.stream_key,
        settings: Settings {
            gap: span(key, policy.gap)?,
            recording_interval: span(key, policy.recording_interval)?,
            max_segment: span(key, policy.max_segment)?,
            notification_delay: span(key, policy.notification_delay)?,
            allowed_lateness: span(key, policy.allowed_lateness)?,
            max_hold: span(key, policy.max_hold)?,
            max_session_duration: span(key, policy.max_session_duration)?,
            max_session_segments: policy.max_session_segments,
            max_session_bytes: policy.max_session_bytes,
            overrides: policy.overrides.into_iter().map(entry).collect::<Result<_, Error>>()?,
        },
    })
}
