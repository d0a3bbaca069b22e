//! The records of a transaction: sessions as they become due, then the changelog, then the commit.

use std::time::Duration;

use super::{Owned, Transaction, Worker};
use crate::clock;
use crate::metrics::{Closed, Counts, Phase};
use livesession_formats::session::{self, Source};
use livesession_grouping::{Interval, Publication, Status};
use livesession_kafka::{Broker, Header, Outgoing, TransactionError, fault};

/// The header by which schema registries name the schema of a value.
const SCHEMA_HEADER: &str = "__value_schema_id";

impl<B: Broker> Worker<'_, B> {
    /// Writes what the transaction has to say, and commits it with the offsets of all partitions that it touches.
    pub(super) fn write_and_commit(
        &mut self,
        transaction: &Transaction,
        timeout: Duration,
    ) -> Result<(), TransactionError> {
        fault::hold(transaction.records);
        let start = clock::instant();
        let mut offsets = Vec::with_capacity(transaction.touched.len());
        // Shared by the partitions: a night that ends ends for all of them.
        let mut room = self.slice;
        for partition in &transaction.touched {
            let Some(Owned::Running(running)) = self.owned.get_mut(partition) else { continue };
            let publications = running.state.publish_due(room);
            room = room.saturating_sub(publications.len());
            running.has_more = running.state.has_due();
            let records = running.state.prepare();
            self.counts.forgotten(*partition, running.state.sessions_forgotten());
            offsets.push((*partition, running.state.next_offset()));
            for publication in &publications {
                self.send_session(publication, *partition)?;
                count(publication, &mut self.counts);
            }
            for (key, value) in &records {
                self.broker.send(&Outgoing {
                    topic: &self.settings.topics.changelog,
                    // The changelog has the input's partitions: whoever owns the one reads the other.
                    partition: Some(*partition),
                    key: Some(key.as_bytes()),
                    value: value.as_deref(),
                    headers: &[],
                    timestamp: None,
                })?;
            }
        }
        self.metrics.record_time(Phase::Encode, start.elapsed());
        let start = clock::instant();
        let committed = self.broker.commit(&offsets, timeout);
        self.metrics.record_time(Phase::Commit, start.elapsed());
        committed
    }

    fn send_session(&mut self, publication: &Publication, partition: i32) -> Result<(), TransactionError> {
        let settings = &self.settings;
        let mut value = Vec::with_capacity(1_024);
        session::encode(publication, Source { topic: &settings.topics.input, partition }, &mut value);
        let texts =
            if settings.cloudevents { session::headers(publication, &settings.application_id) } else { Vec::new() };
        let mut headers: Vec<Header<'_>> =
            texts.iter().map(|(name, text)| (name.as_bytes(), Some(text.as_bytes()))).collect();
        if !settings.schema_guid.is_empty() {
            headers.push((SCHEMA_HEADER.as_bytes(), Some(settings.schema_guid.as_bytes())));
        }
        self.broker.send(&Outgoing {
            topic: &settings.topics.output,
            partition: None,
            key: Some(publication.stream.as_bytes()),
            value: Some(&value),
            headers: &headers,
            timestamp: None,
        })?;
        if let Some(latest) = &settings.topics.latest {
            let session_id = publication.summary.session_id.to_string();
            let is_withdrawn = publication.status == Status::Withdrawn;
            self.broker.send(&Outgoing {
                topic: latest,
                partition: Some(partition),
                key: Some(session_id.as_bytes()),
                value: Some(value.as_slice()).filter(|_| !is_withdrawn),
                headers: &headers,
                timestamp: None,
            })?;
        }
        Ok(())
    }
}

/// Counts a publication in the transaction that makes it.
fn count(publication: &Publication, counts: &mut Counts) {
    let summary = &publication.summary;
    if publication.status == Status::Withdrawn {
        counts.withdrawn();
    } else if summary.revision > 1 {
        counts.amended();
    } else if let Some(cause) = summary.close_cause {
        let closed = Closed {
            cause: cause.as_str(),
            allowed_at: publication.allowed_at,
            duration: summary.end.since(summary.start),
            segments: summary.segments,
        };
        counts.closed(closed, publication.gaps.iter().map(Interval::duration));
    }
}
