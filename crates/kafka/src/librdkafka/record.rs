//! Records: as they come, and as they go.
//!
//! A [`Record`] lends the bytes that librdkafka holds; nothing is copied until somebody keeps it. It can also stand on
//! bytes of its own caller, so that a model broker and a test make records without librdkafka.
//!
//! Header names are bytes, although the protocol says UTF-8: a producer can write anything, and a record that cannot even
//! be dead-lettered would stop its partition for ever.

use crate::librdkafka::native;

/// A header: its name, and its value unless that is null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// A record of the input.
#[derive(Debug)]
pub struct Record<'a> {
    bytes: Bytes<'a>,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
}

/// Where the bytes of a record are.
#[derive(Debug)]
enum Bytes<'a> {
    Message(native::Message<'a>),
    Parts { key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: Vec<Header<'a>> },
}

impl<'a> Record<'a> {
    /// Returns a record that stands on the caller's bytes.
    pub fn from_parts(
        (partition, offset): (i32, i64),
        timestamp: Option<i64>,
        (key, value): (Option<&'a [u8]>, Option<&'a [u8]>),
        headers: Vec<Header<'a>>,
    ) -> Record<'a> {
        Record { bytes: Bytes::Parts { key, value, headers }, partition, offset, timestamp }
    }

    /// Returns the record that librdkafka's message holds.
    pub(crate) fn from_message(message: native::Message<'a>) -> Record<'a> {
        let (partition, offset, timestamp) = (message.partition(), message.offset(), message.timestamp());
        Record { bytes: Bytes::Message(message), partition, offset, timestamp }
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Returns the record's own offset. The next one to read is at least one more: markers leave gaps.
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
            Bytes::Message(message) => message.value(),
            Bytes::Parts { value, .. } => *value,
        }
    }

    /// Returns the headers in their order, names repeated as they came.
    pub fn headers(&self) -> Vec<Header<'_>> {
        match &self.bytes {
            Bytes::Message(message) => message.headers(),
            Bytes::Parts { headers, .. } => headers.clone(),
        }
    }
}

/// A record to be produced in a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    /// `None`: chosen by the key, as Java's default partitioner does.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None`: a null, which deletes the key in a compacted topic.
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
    /// Kafka timestamp in ms; `None`: the time of sending.
    pub timestamp: Option<i64>,
}
