//! Dead letters: what becomes of a record that is refused (rule: conservation).
//!
//! It goes to the dead-letter topic as it is, in the transaction that moves past it, with headers that say where it came
//! from and why. A record can be larger than what that topic takes, although the sizes of the topics fit: their limits
//! count compressed bytes. Its transaction would abort for ever and the partition stand still, so what does not fit is left
//! out: the value first, then the record's own headers, then its key. The header that says so keeps it from being replayed,
//! and topic, partition and offset still say where the whole record is.

use tracing::warn;

use super::Worker;
use livesession_formats::dead_letter::{self, Refused};
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;
use livesession_kafka as kafka;
use livesession_kafka::{Broker, Outgoing};

/// What the framing of a header costs at most, beside its name and value: two lengths.
const HEADER_FRAMING: usize = 10;

/// The parts of a record that its dead letter takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    value: bool,
    headers: bool,
    key: bool,
}

impl Fit {
    /// Returns what fits in `limit` bytes, inclusive, given the bytes of each part.
    ///
    /// A record without its headers is not the record: as soon as anything is left out the value is, which marks it.
    fn new(value: usize, headers: usize, key: usize, limit: usize) -> Fit {
        let headers_fit = headers.saturating_add(key) <= limit;
        Fit {
            value: value.saturating_add(headers).saturating_add(key) <= limit,
            headers: headers_fit,
            key: headers_fit || key <= limit,
        }
    }
}

impl<B: Broker> Worker<'_, B> {
    /// Sends a refused record to the dead letters, in the transaction that moves past it.
    pub(super) fn send_dead_letter(
        &mut self,
        record: &kafka::Record<'_>,
        timestamp: Option<Timestamp>,
        reason: Reason,
    ) -> Result<(), kafka::TransactionError> {
        let (partition, offset) = (record.partition(), record.offset());
        tracing::trace!(partition, offset, reason = reason.as_str(), "refused record");
        let headers = record.headers();
        let (_, others) = dead_letter::split(&headers);
        let topics = &self.settings.topics;
        let added = dead_letter::added(&Refused {
            topic: &topics.input,
            partition,
            offset,
            timestamp,
            group: &self.settings.application_id,
            reason,
            headers: &headers,
        });
        let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let header_bytes = others.iter().map(|(name, value)| name.len() + bytes(*value) + HEADER_FRAMING).sum();
        let (value_bytes, key_bytes) = (bytes(record.value()), bytes(record.key()));
        let fit = Fit::new(value_bytes, header_bytes, key_bytes, self.settings.max_dead_letter_bytes);
        let mut headers = dead_letter::join(if fit.headers { others } else { Vec::new() }, &added);
        let value_length = value_bytes.to_string();
        if !fit.value {
            headers.push((dead_letter::CUT.as_bytes(), Some(value_length.as_bytes())));
            warn!(
                partition,
                offset,
                value_bytes,
                header_bytes,
                key_bytes,
                "dead letter without its value: the record is too large for the topic"
            );
        }
        self.broker.send(&Outgoing {
            topic: &topics.dead_letter,
            partition: Some(partition % self.settings.dead_letter_partitions),
            key: record.key().filter(|_| fit.key),
            value: record.value().filter(|_| fit.value),
            headers: &headers,
            timestamp: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_value_first() {
        let fit = |value, headers, key| {
            let Fit { value, headers, key } = Fit::new(value, headers, key, 100);
            (value, headers, key)
        };
        assert_eq!(fit(79, 10, 10), (true, true, true));
        assert_eq!(fit(80, 10, 10), (true, true, true));
        assert_eq!(fit(81, 10, 10), (false, true, true));
        assert_eq!(fit(0, 89, 10), (true, true, true));
        assert_eq!(fit(0, 90, 10), (true, true, true));
        assert_eq!(fit(0, 91, 10), (false, false, true));
        assert_eq!(fit(0, 99, 99), (false, false, true), "the key alone fits");
        assert_eq!(fit(0, 0, 100), (true, true, true));
        assert_eq!(fit(0, 0, 101), (false, false, false));
        assert_eq!(fit(usize::MAX, usize::MAX, usize::MAX), (false, false, false));
    }
}
