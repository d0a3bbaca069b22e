//! Faults of a simulated world, with their rates, and the protections that a negative control removes.

/// Something that goes wrong between a worker and the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process ends here, and its connections with it.
    Killed,
    /// It stands still for a moment; the group does not notice.
    Delayed,
    /// It stands still until the group has put it out, and goes on then (SIGSTOP, SIGCONT).
    Frozen,
    /// A poll returns nothing although there is something.
    Idle,
    /// The consumer is unusable.
    PollFails,
    RestoreFails,
    /// A question is not answered in time.
    NoAnswer,
    /// The producer refuses a record.
    SendFails,
    /// The coordinator refuses the commit.
    CommitRefused,
    /// Offsets arrive after the transaction has been given up.
    OffsetsLate,
    /// Offsets arrive, were sent again in between, and the second ones arrive whenever they will.
    OffsetsTwice,
    /// The request that decides a transaction never arrives.
    RequestLost,
    /// It arrives after everybody has given it up.
    RequestLate,
    /// It arrives, was sent again in between, and the second one arrives whenever it will.
    RequestTwice,
    /// It arrives, and nobody hears of it.
    AnswerLost,
}

impl Fault {
    /// How often it happens in a rough world, per mille of the occasions.
    pub fn per_mille(self) -> u32 {
        match self {
            Fault::Killed | Fault::PollFails => 2,
            Fault::Frozen => 1,
            Fault::RestoreFails => 10,
            Fault::SendFails => 10,
            Fault::Delayed => 15,
            Fault::RequestLost | Fault::RequestLate | Fault::AnswerLost | Fault::OffsetsLate => 20,
            Fault::CommitRefused | Fault::RequestTwice | Fault::OffsetsTwice => 50,
            Fault::NoAnswer => 100,
            Fault::Idle => 150,
        }
    }
}

/// A protection that is taken away. The checker has to notice, or it would prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Offsets are sent with the metadata of a consumer outside of the group: nobody checks member and generation.
    Unfenced,
    /// Offsets that have not moved are not sent: what a timer did is not fenced.
    UnmovedLeftOut,
    /// A transaction that was aborted is taken for committed: memory is not rolled back.
    AbortIgnored,
    /// After an abort the consumer is not sought back.
    NoSeek,
    /// The producer is not replaced after a commit that was sent twice.
    ProducerKept,
    /// Nor after such an abort; after a commit it is.
    ProducerKeptAfterAbort,
    /// Nor after a commit that failed because nobody answered.
    ProducerKeptAfterFailure,
    /// A restore reads to the last stable offset; the marker's check still stands.
    StableEnd,
    /// The same, and the marker is not checked against the group's offset.
    MarkerUnchecked,
    /// The group's offset is read although a transaction over it is undecided.
    UnstableOffset,
    /// A partition counts as read to its end at the last stable offset, with open records behind it.
    IdleAtStable,
    /// The worker is not told that it has lost its partitions.
    LossUntold,
    /// A duplicate is taken for another file.
    DuplicatesKept,
    /// An operator turns the group's offset back; the worker has to stop.
    OffsetReset,
}

impl Weakness {
    pub const ALL: [Weakness; 14] = [
        Weakness::Unfenced,
        Weakness::UnmovedLeftOut,
        Weakness::AbortIgnored,
        Weakness::NoSeek,
        Weakness::ProducerKept,
        Weakness::ProducerKeptAfterAbort,
        Weakness::ProducerKeptAfterFailure,
        Weakness::StableEnd,
        Weakness::MarkerUnchecked,
        Weakness::UnstableOffset,
        Weakness::IdleAtStable,
        Weakness::LossUntold,
        Weakness::DuplicatesKept,
        Weakness::OffsetReset,
    ];

    /// Whether the audit has to notice, too: not where a worker stops before it does harm, be it nearly always, nor where a
    /// clock that nobody writes down goes wrong.
    pub fn shows_in_topics(self) -> bool {
        !matches!(
            self,
            Weakness::ProducerKeptAfterFailure
                | Weakness::UnstableOffset
                | Weakness::IdleAtStable
                | Weakness::LossUntold
                | Weakness::OffsetReset
        )
    }
}
