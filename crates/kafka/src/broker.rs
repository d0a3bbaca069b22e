//! The seam between the worker and Kafka: [`Broker`], which the simulation implements too.

use std::time::Duration;

use crate::error::{ConsumerError, RestoreError, TransactionError};
use crate::fault::Safeguards;
use crate::librdkafka::record::Record;
use crate::values::{Apply, ErrorCounts, KnownEnds, LogEnds, Outgoing, RestoreProgress};

/// The input, the transactions and the changelog of one worker.
///
/// Every method takes `&self`, so that a record can be produced while a record of the input is borrowed. An implementation
/// need not be shared between threads.
pub trait Broker {
    /// Returns the next input, or [`Input::Idle`] if there was none for `timeout`.
    ///
    /// Records of a partition come in the order of their offsets, none of them twice, from the offset given to
    /// [`Broker::start`].
    ///
    /// First gives away what the last call returned as [`Input::Revoked`]. Call it at least once per
    /// `max.poll.interval.ms`, restoring or not: otherwise the group revokes all partitions.
    ///
    /// # Errors
    ///
    /// All but [`ConsumerError::Retry`]. What librdkafka repairs by itself (a broken connection, a moved leader) is not an
    /// error: it is counted in [`Broker::errors`], and the input looks idle.
    fn poll(&self, timeout: Duration) -> Result<Input<'_>, ConsumerError>;

    /// Lets the records of a restored partition flow from `offset`, inclusive; after an abort, seeks back to it.
    ///
    /// Records that were fetched before are dropped.
    fn start(&self, partition: i32, offset: i64) -> Result<(), ConsumerError>;

    /// Returns the first and the next offset of an input partition's log, open and aborted transactions included.
    ///
    /// Costs a round trip. Only an end that counts open transactions tells whether a partition is idle: to a reader of
    /// committed records an open transaction looks like the end.
    ///
    /// # Errors
    ///
    /// [`ConsumerError::Retry`] if there was no answer within `timeout`.
    fn log_ends(&self, partition: i32, timeout: Duration) -> Result<LogEnds, ConsumerError>;

    /// Returns the next offset that the client would read of a running partition, once it has read anything of it.
    ///
    /// Unlike the offsets of records it passes transaction markers and aborted records: with [`Broker::log_ends`] it tells
    /// whether a partition is read to its end. Costs no round trip.
    fn position(&self, partition: i32) -> Option<i64>;

    /// Begins to restore an assigned partition. Several restores can be under way.
    fn begin_restore(&self, partition: i32) -> Result<(), RestoreError>;

    /// Reads changelog records for about `budget` and passes each to `apply`: partition, key, value (`None`: a null).
    ///
    /// Call it between polls, with a budget that is short against the commit interval, so that other partitions keep
    /// running. A partition that is revoked or lost meanwhile leaves the restore by itself. `apply` must not call the
    /// broker.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]. Drop what has been applied.
    fn step_restore(&self, budget: Duration, apply: &mut Apply<'_>) -> Result<RestoreProgress, RestoreError>;

    /// Begins a transaction. Call it lazily, before the first record.
    ///
    /// Replaces the producer first if the last transaction left it suspect, which takes 50 to 600 ms.
    fn begin(&self) -> Result<(), TransactionError>;

    /// Adds a record to the transaction. The bytes are copied.
    ///
    /// Waits while the queue is full. `Ok` promises nothing yet: delivery may still fail, and then the commit does.
    fn send(&self, record: &Outgoing<'_>) -> Result<(), TransactionError>;

    /// Commits the transaction together with the next offsets of *all* partitions that it touches, moved or not.
    ///
    /// # Errors
    ///
    /// [`TransactionError`]. After `Abort` call [`Broker::abort`]. After any other error the broker is unusable.
    fn commit(&self, offsets: &[(i32, i64)], timeout: Duration) -> Result<(), TransactionError>;

    /// Aborts the transaction. No reader of committed records will see any of it.
    fn abort(&self) -> Result<(), TransactionError>;

    /// Returns the ends of a partition's log as of at most 5 s ago. Costs nothing.
    ///
    /// For metrics only: a decision needs [`Broker::log_ends`].
    fn known_ends(&self, _partition: i32) -> Option<KnownEnds> {
        None
    }

    /// Returns the safeguards in force: all of them, unless a test removes some.
    fn safeguards(&self) -> Safeguards {
        Safeguards::ALL
    }

    /// Returns how many errors of each kind librdkafka has reported so far.
    fn errors(&self) -> ErrorCounts;
}

/// An input of the worker.
#[derive(Debug)]
pub enum Input<'a> {
    /// A record of a running partition.
    Record(Record<'a>),
    /// These partitions are ours from now on. They are paused until [`Broker::start`].
    ///
    /// The list can be empty: the group has more members than the topic has partitions.
    Assigned(Vec<i32>),
    /// The next poll gives these partitions away. Commit first, all partitions together, or abort; then drop their state.
    Revoked(Vec<i32>),
    /// These partitions may already belong to another member. Abort, drop *all* uncommitted work, and send no offsets.
    Lost(Vec<i32>),
    /// There was no input.
    Idle,
}
