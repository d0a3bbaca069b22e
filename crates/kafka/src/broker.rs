//! The seam between the worker and Kafka: [`Broker`], which the simulation implements too.

use std::time::Duration;

use crate::error::{ConsumerError, RestoreError, TransactionError};
use crate::fault::Safeguards;
use crate::librdkafka::record::Record;
use crate::values::{Apply, ErrorCounts, KnownEnds, LogEnds, Outgoing, RestoreProgress};

/// The input, the transactions and the changelog of one worker.
///
/// Every method takes `&self`, so that a record can be produced from while it is still borrowed. Nothing here is shared
/// between threads.
pub trait Broker {
    /// Returns the next input, or [`Input::Idle`] when there was none for `timeout`.
    ///
    /// The records of a partition come in the order of their offsets, none of them twice, from where it was started.
    ///
    /// Gives away first what the last call returned as [`Input::Revoked`]. Must be called at least once per
    /// `max.poll.interval.ms`, restoring or not: else the group takes all partitions away.
    ///
    /// # Errors
    ///
    /// Rebuild, or stop. What librdkafka repairs by itself (a connection cut, a leader moved) is not an error here: it
    /// is counted in [`Broker::errors`], and looks idle.
    fn poll(&self, timeout: Duration) -> Result<Input<'_>, ConsumerError>;

    /// Lets the records of a restored partition flow from `offset` on; also the way back after an abort.
    ///
    /// Records read ahead before are dropped.
    fn start(&self, partition: i32, offset: i64) -> Result<(), ConsumerError>;

    /// Returns the first and the next offset of an input partition's log, open and aborted transactions included.
    ///
    /// Costs a round trip. Only the end that counts open transactions says whether a partition is idle: to a reader of
    /// committed records an open transaction looks like the end.
    ///
    /// # Errors
    ///
    /// [`ConsumerError::Retry`] when nobody answered within `timeout`.
    fn log_ends(&self, partition: i32, timeout: Duration) -> Result<LogEnds, ConsumerError>;

    /// Returns the next offset that the client would read of a running partition, if it has read anything of it.
    ///
    /// Passes transaction markers and aborted records, which no record's offset does: with [`Broker::log_ends`] it tells
    /// whether a partition is read to its end. Costs no round trip.
    fn position(&self, partition: i32) -> Option<i64>;

    /// Begins to restore a partition that was assigned. Several can be under way.
    fn begin_restore(&self, partition: i32) -> Result<(), RestoreError>;

    /// Reads changelog records for about `budget` and hands each to `apply`: partition, key, value (`None`: a null).
    ///
    /// Call it between polls, with a budget that is short against the commit interval, so that other partitions run on.
    /// A partition that is revoked or lost meanwhile is dropped from the restore by itself. `apply` must not call the
    /// broker.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; what had been applied is then worth nothing.
    fn step_restore(&self, budget: Duration, apply: &mut Apply<'_>) -> Result<RestoreProgress, RestoreError>;

    /// Begins a transaction; to be called lazily, before the first record.
    ///
    /// Replaces the producer first if the last transaction left it in doubt, which takes 50 to 600 ms.
    fn begin(&self) -> Result<(), TransactionError>;

    /// Adds a record to the transaction. The bytes are copied.
    ///
    /// A full queue is served until there is room. `Ok` promises nothing yet: a record may still fail, and the commit
    /// tells.
    fn send(&self, record: &Outgoing<'_>) -> Result<(), TransactionError>;

    /// Commits the transaction together with the next offsets of *all* partitions that it touches, moved or not.
    ///
    /// # Errors
    ///
    /// [`TransactionError`]. After `Abort` call [`Broker::abort`]; after anything else there is nothing left to call.
    fn commit(&self, offsets: &[(i32, i64)], timeout: Duration) -> Result<(), TransactionError>;

    /// Aborts the transaction. No reader of committed records will see any of it.
    fn abort(&self) -> Result<(), TransactionError>;

    /// Returns where a partition's log ended when librdkafka last looked, at most 5 s ago; costs nothing.
    ///
    /// For metrics only: a decision needs [`Broker::log_ends`].
    fn known_ends(&self, _partition: i32) -> Option<KnownEnds> {
        None
    }

    /// Returns the safeguards in force: all of them, unless a test of this build removes some.
    fn safeguards(&self) -> Safeguards {
        Safeguards::ALL
    }

    /// Returns how many errors of each kind librdkafka reported so far.
    fn errors(&self) -> ErrorCounts;
}

/// What a worker has to react to.
#[derive(Debug)]
pub enum Input<'a> {
    /// A record of a running partition.
    Record(Record<'a>),
    /// These partitions are ours from now on. They are paused until [`Broker::start`].
    ///
    /// An empty list is possible: the group has more members than the topic has partitions.
    Assigned(Vec<i32>),
    /// These partitions go to somebody else at the next poll. Commit first, all partitions together, or abort; then drop
    /// their state.
    Revoked(Vec<i32>),
    /// These partitions are already somebody else's. Abort, drop *all* that was begun, and send no offsets.
    Lost(Vec<i32>),
    /// Nothing happened.
    Idle,
}
