//! Records of the input.
//!
//! A [`Record`] lends the bytes that librdkafka holds: nothing is copied until a caller keeps it. It can also lend bytes of
//! its caller, so that a model broker and a test make records without librdkafka.

use std::fmt;

use rdkafka::message::{BorrowedMessage, Message as _};

use crate::librdkafka::native;
use crate::values::Header;

/// A record of the input.
pub struct Record<'a> {
    bytes: Bytes<'a>,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
}

/// The owner of a record's bytes.
enum Bytes<'a> {
    Message(BorrowedMessage<'a>),
    Parts { key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: Vec<Header<'a>> },
}

impl<'a> Record<'a> {
    /// Returns a record that lends the caller's bytes.
    pub fn from_parts(
        (partition, offset): (i32, i64),
        timestamp: Option<i64>,
        (key, value): (Option<&'a [u8]>, Option<&'a [u8]>),
        headers: Vec<Header<'a>>,
    ) -> Record<'a> {
        Record { bytes: Bytes::Parts { key, value, headers }, partition, offset, timestamp }
    }

    /// Returns the record of a message that librdkafka holds.
    pub(crate) fn from_message(message: BorrowedMessage<'a>) -> Record<'a> {
        let (partition, offset, timestamp) = (message.partition(), message.offset(), message.timestamp().to_millis());
        Record { bytes: Bytes::Message(message), partition, offset, timestamp }
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Returns the record's own offset. The next one to read is greater by at least one: markers leave gaps.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Returns the Kafka timestamp in ms, if the record has one.
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    pub fn key(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Message(message) => message.key(),
            Bytes::Parts { key, .. } => *key,
        }
    }

    /// Returns the value, `None` if it is null.
    pub fn value(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Message(message) => message.payload(),
            Bytes::Parts { value, .. } => *value,
        }
    }

    /// Returns the headers in their order, with repeated names.
    pub fn headers(&self) -> Vec<Header<'_>> {
        match &self.bytes {
            Bytes::Message(message) => native::headers(message),
            Bytes::Parts { headers, .. } => headers.clone(),
        }
    }
}

impl fmt::Debug for Record<'_> {
    /// Writes where the record is, never its bytes: push URLs carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}/{})", self.partition, self.offset)
    }
}
