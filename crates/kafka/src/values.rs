//! Plain values that pass between the worker and its broker, free of librdkafka.

/// The cause of an error, for people: logged with its chain, never matched on.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A header: its name, and its value unless that is null.
///
/// Names are bytes although the protocol says UTF-8: a producer can write anything, and a record that cannot even be
/// dead-lettered would block its partition for ever.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

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

/// Takes the records of a restore: partition, key, value (`None`: a null).
pub type Apply<'a> = dyn FnMut(i32, &[u8], Option<&[u8]>) + 'a;

/// Progress of the restores under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreProgress {
    /// The partitions that this step completed.
    pub restored: Vec<Restored>,
    /// Offsets still to be read, over all partitions under way: an upper bound of the records.
    pub remaining: u64,
}

/// A partition whose changelog was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub partition: i32,
    /// The group's committed offset, `None` if it has none. The worker compares it with the changelog's marker.
    pub committed: Option<i64>,
    /// The number of changelog records applied.
    pub records: u64,
}

/// The first and the next offset of a log, open transactions included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnds {
    /// The first offset that retention, compaction or deletion has left.
    pub start: i64,
    /// The offset of the next record to be written.
    pub end: i64,
}

/// The ends of a log at some time in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownEnds {
    /// The last stable offset: the beginning of the first open transaction, or the end. An LSO that does not move is a
    /// hanging transaction.
    pub stable: i64,
    /// The offset of the next record to be written.
    pub end: i64,
}

/// Numbers of errors that librdkafka has reported, by kind. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// A connection was refused or broken, or a name not resolved.
    pub transport: u64,
    /// A login or certificate was refused.
    pub auth: u64,
    /// A request was not answered in time.
    pub timeout: u64,
    /// Everything else.
    pub other: u64,
}
