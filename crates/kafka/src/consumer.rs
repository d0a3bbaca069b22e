//! The group consumer: the input in order, from the offsets at which its partitions were started.
//!
//! Knows which partitions are ours, which of them run, and the next offset to return of each. Decides nothing about
//! records and commits nothing: offsets travel in the transaction.
//!
//! # Invariants
//!
//! * A record is returned only for a running partition, and never one below its next offset: librdkafka may resume from a
//!   stale offset. Gaps are legal, since transaction markers take offsets.
//! * A partition is ours until the poll after [`Input::Revoked`], or until [`Input::Lost`]. Both advance
//!   [`Consumer::assignment_epoch`], so that the guard refuses an older transaction even if the partition came back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::collections::btree_map::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::Input;
use crate::error::ConsumerError;
use crate::fault::{self, Safeguards};
use crate::librdkafka::codes::is_refusal;
use crate::librdkafka::context::{Change, GroupContext, Reports, unassign};
use crate::librdkafka::native;
use crate::librdkafka::record::Record;
use crate::librdkafka::settings::Settings;
use crate::values::KnownEnds;

/// The maximum time for librdkafka to start an assigned partition, so that it can be sought; it takes milliseconds.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// The consumer of the input topic.
pub struct Consumer {
    base: BaseConsumer<GroupContext>,
    topic: String,
    safeguards: Safeguards,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Our partitions; `None`: paused until it is started.
    owned: BTreeMap<i32, Option<Running>>,
    /// Revoked; the next poll gives them away.
    leaving: Option<Vec<i32>>,
    /// Losses that librdkafka reported without a rebalance.
    lost: VecDeque<Vec<i32>>,
    /// The number of times that partitions were revoked or lost.
    assignment_epoch: u64,
}

/// A running partition.
struct Running {
    /// The next offset to return.
    next: i64,
    /// Whether the end of the log has been reached since the start.
    ended: bool,
}

impl Consumer {
    /// Joins the group. [`Consumer::poll`] returns the assigned partitions.
    pub fn join(settings: &Settings, topic: &str, reports: Arc<Reports>) -> Result<Consumer, ConsumerError> {
        let create = || -> KafkaResult<BaseConsumer<GroupContext>> {
            let base: BaseConsumer<GroupContext> =
                settings.consumer().create_with_context(GroupContext::new(reports, topic))?;
            base.subscribe(&[topic])?;
            Ok(base)
        };
        let base = create().map_err(|error| rebuild("could not create the consumer of the input".to_owned(), error))?;
        Ok(Consumer { base, topic: topic.to_owned(), safeguards: settings.safeguards, state: RefCell::default() })
    }

    /// See [`crate::Broker::poll`].
    pub fn poll(&self, timeout: Duration) -> Result<Input<'_>, ConsumerError> {
        self.give_away()?;
        let deadline = Instant::now() + timeout;
        let mut remaining = timeout;
        loop {
            if let Some(input) = self.next_change()? {
                return Ok(input);
            }
            if let Some(reason) = self.base.context().reports.refusal() {
                return Err(ConsumerError::Refused { reason });
            }
            match self.base.poll(remaining) {
                Some(Ok(message)) if self.accepts(&message) => {
                    return Ok(Input::Record(Record::from_message(message)));
                }
                Some(Err(error)) => self.handle(error)?,
                Some(Ok(_)) | None => {}
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(self.next_change()?.unwrap_or(Input::Idle));
            }
            remaining = deadline - now;
        }
    }

    /// Lets the records of a partition flow from `offset` on.
    pub fn start(&self, partition: i32, offset: i64) -> Result<(), ConsumerError> {
        let problem = || format!("could not start partition {partition} at offset {offset}");
        match self.state.borrow_mut().owned.get_mut(&partition) {
            Some(entry) => *entry = Some(Running { next: offset, ended: false }),
            None => {
                return Err(ConsumerError::Rebuild { problem: problem(), source: "it is not assigned to us".into() });
            }
        }
        fault::reach("seek.before")?;
        self.resume_at(partition, offset).map_err(|error| rebuild(problem(), error))?;
        fault::reach("seek.after")?;
        Ok(())
    }

    /// Seeks, resumes, and seeks again.
    ///
    /// The first seek comes before the resume, because the assigned offset can be a guess below the beginning of the log:
    /// after a single fetch from there, the broker's refusal would stop the worker even if it came after a seek. The second
    /// one is needed because a resumed partition may still start from a stale offset.
    fn resume_at(&self, partition: i32, offset: i64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        self.seek(&list)?;
        self.base.resume(&list)?;
        self.seek(&list)
    }

    /// Seeks the one partition in `list`.
    fn seek(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        let deadline = Instant::now() + SEEK_TIMEOUT;
        loop {
            let seek = self.base.seek_partitions(list.clone(), SEEK_TIMEOUT)?;
            let result = seek.elements().first().map_or(Ok(()), |element| element.error());
            match result {
                Ok(()) => return Ok(()),
                // Another thread carries out an assignment, and does not tell when it has.
                Err(error) if is_too_early(&error) && Instant::now() < deadline => {
                    thread::park_timeout(Duration::from_millis(2));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the group's committed offsets, `None` for a partition without one.
    ///
    /// Offsets in undecided transactions do not count: librdkafka asks again until they are decided, or until `timeout`.
    pub fn committed(&self, partitions: &[i32], timeout: Duration) -> KafkaResult<BTreeMap<i32, Option<i64>>> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        let answer = self.base.committed_offsets(list, timeout)?;
        let mut committed = BTreeMap::new();
        for element in answer.elements() {
            element.error()?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            committed.insert(element.partition(), offset);
        }
        Ok(committed)
    }

    /// Returns the next offset that the client would read of a running partition, past markers and aborted records.
    ///
    /// `None` until it has reached a record, a marker or the end of the log since the start: before that librdkafka has no
    /// position.
    pub fn position(&self, partition: i32) -> Option<i64> {
        let state = self.state.borrow();
        let running = state.owned.get(&partition)?.as_ref()?;
        let positions = self.base.position().ok()?;
        match positions.find_partition(&self.topic, partition)?.offset() {
            Offset::Offset(position) => Some(position.max(running.next)),
            // The log ends at the offset of the start.
            _ => running.ended.then_some(running.next),
        }
    }

    /// Returns the number of times that partitions were revoked or lost so far.
    pub fn assignment_epoch(&self) -> u64 {
        self.state.borrow().assignment_epoch
    }

    /// Returns the metadata by which the coordinator knows this member, if a transaction over `offsets` may commit.
    ///
    /// `assignment_epoch` is the one at which the transaction began.
    ///
    /// # Errors
    ///
    /// The reason why it must not commit, for people. The broker notices a stale generation, but it does not check that the
    /// partitions belong to the member: one that has rejoined could set the group's offset back.
    pub fn guard(&self, assignment_epoch: u64, offsets: &[(i32, i64)]) -> Result<ConsumerGroupMetadata, String> {
        let state = self.state.borrow();
        if !self.safeguards.fencing_guard() {
            return self.base.group_metadata().ok_or_else(|| "the consumer has no group".to_owned());
        }
        if state.assignment_epoch != assignment_epoch {
            return Err("a partition was revoked or lost since the transaction began".to_owned());
        }
        if let Some((partition, _)) = offsets.iter().find(|(partition, _)| !state.owned.contains_key(partition)) {
            return Err(format!("partition {partition} is not ours"));
        }
        let member = native::membership(&self.base).is_some_and(|own| own.is_member());
        if !member || self.base.assignment_lost() {
            return Err("the coordinator has taken us out of the group".to_owned());
        }
        self.base.group_metadata().ok_or_else(|| "the consumer has no group".to_owned())
    }

    /// Returns generation and member id.
    pub fn membership(&self) -> Option<(i32, String)> {
        native::membership(&self.base).map(|own| (own.generation, own.member))
    }

    /// Returns the ends of a partition's log as of the last statistics.
    pub fn known_ends(&self, partition: i32) -> Option<KnownEnds> {
        self.base.context().known_ends(partition)
    }

    /// Returns whether a partition is ours.
    pub fn owns(&self, partition: i32) -> bool {
        self.state.borrow().owned.contains_key(&partition)
    }

    /// Gives away what was revoked.
    fn give_away(&self) -> Result<(), ConsumerError> {
        let Some(leaving) = self.state.borrow_mut().leaving.take() else { return Ok(()) };
        fault::reach("revoke.after")?;
        let mut list = TopicPartitionList::with_capacity(leaving.len());
        for partition in &leaving {
            list.add_partition(&self.topic, *partition);
        }
        self.forget(&leaving);
        unassign(&self.base, &list)
            .map_err(|error| rebuild(format!("could not give away the revoked partitions {leaving:?}"), error))?;
        fault::reach("leave.after")?;
        Ok(())
    }

    /// Returns the next change of the assignment, if there was one.
    fn next_change(&self) -> Result<Option<Input<'static>>, ConsumerError> {
        if let Some(partitions) = self.state.borrow_mut().lost.pop_front() {
            return Ok(Some(Input::Lost(partitions)));
        }
        match self.base.context().next_change() {
            None => Ok(None),
            Some(Change::Assigned(partitions)) => {
                let mut state = self.state.borrow_mut();
                state.owned.extend(partitions.iter().map(|partition| (*partition, None)));
                Ok(Some(Input::Assigned(partitions)))
            }
            Some(Change::Revoked(mut partitions)) => {
                fault::reach("revoke.before")?;
                let mut state = self.state.borrow_mut();
                state.leaving = Some(partitions.clone());
                partitions.retain(|partition| state.owned.contains_key(partition));
                Ok(Some(Input::Revoked(partitions)))
            }
            Some(Change::Lost(partitions)) => {
                let lost = self.forget(&partitions);
                Ok((!lost.is_empty()).then_some(Input::Lost(lost)))
            }
            Some(Change::Failed(error)) => Err(rebuild("could not answer a rebalance".to_owned(), error)),
        }
    }

    /// Drops partitions, and returns those that were ours.
    fn forget(&self, partitions: &[i32]) -> Vec<i32> {
        let mut state = self.state.borrow_mut();
        let gone: Vec<i32> =
            partitions.iter().copied().filter(|partition| state.owned.remove(partition).is_some()).collect();
        if !gone.is_empty() {
            state.assignment_epoch += 1;
        }
        gone
    }

    /// Returns whether a record is at or beyond the next offset of a running partition, and moves the offset past it.
    fn accepts(&self, message: &BorrowedMessage<'_>) -> bool {
        let mut state = self.state.borrow_mut();
        match state.owned.get_mut(&message.partition()) {
            Some(Some(running)) if message.offset() >= running.next => {
                running.next = message.offset() + 1;
                true
            }
            _ => false,
        }
    }

    /// Handles an error of a poll. The context has counted what librdkafka repairs by itself; here that is no error.
    fn handle(&self, error: KafkaError) -> Result<(), ConsumerError> {
        use RDKafkaErrorCode as Code;
        let reports = &self.base.context().reports;
        if let KafkaError::PartitionEOF(partition) = error {
            if let Some(Some(running)) = self.state.borrow_mut().owned.get_mut(&partition) {
                running.ended = true;
            }
            return Ok(());
        }
        match (error.rdkafka_error_code(), &error) {
            // The group has removed this member; the rebalance that says so comes later.
            (Some(Code::PollExceeded), _) => {
                let owned: Vec<i32> = self.state.borrow().owned.keys().copied().collect();
                let lost = self.forget(&owned);
                if !lost.is_empty() {
                    self.state.borrow_mut().lost.push_back(lost);
                }
                Ok(())
            }
            (Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset | Code::LogTruncation), _) => {
                Err(ConsumerError::Stop { source: reports.last().into() })
            }
            (Some(code), _) if is_refusal(code) => {
                // If the context has not counted it as a refusal, the connection broke in the middle of a login.
                reports.refusal().map_or(Ok(()), |reason| Err(ConsumerError::Refused { reason }))
            }
            (Some(Code::Fatal | Code::Fenced), _) | (_, KafkaError::MessageConsumptionFatal(_)) => {
                Err(rebuild("the consumer of the input is unusable".to_owned(), error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Closing the client polls until it has left the group; from now on the context answers revocations itself.
        self.base.context().set_closing();
        // An unanswered revocation would keep the client from leaving for ever.
        if let Err(error) = self.give_away() {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not give away revoked partitions");
        }
    }
}

fn rebuild(problem: String, error: KafkaError) -> ConsumerError {
    ConsumerError::Rebuild { problem, source: error.into() }
}

/// Returns whether a seek failed because librdkafka has not started the partition yet.
fn is_too_early(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::State | Code::PreviousInProgress | Code::UnknownPartition | Code::InProgress)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_already_is_neither_revoked_nor_lost_again() {
        let settings = Settings::new("127.0.0.1:1", "group", "worker");
        let consumer = Consumer::join(&settings, "input", Arc::default()).unwrap();
        let next = |change| {
            consumer.base.context().push_change(change);
            consumer.next_change().unwrap()
        };
        assert!(matches!(next(Change::Assigned(vec![0, 1])), Some(Input::Assigned(assigned)) if assigned == [0, 1]));
        assert!(matches!(next(Change::Lost(vec![0])), Some(Input::Lost(lost)) if lost == [0]));
        assert!(next(Change::Lost(vec![0])).is_none());
        assert_eq!(consumer.assignment_epoch(), 1);
        assert!(matches!(next(Change::Revoked(vec![0, 1])), Some(Input::Revoked(revoked)) if revoked == [1]));
        // librdkafka waits for an answer about both.
        assert_eq!(consumer.state.borrow().leaving, Some(vec![0, 1]));
        consumer.state.borrow_mut().leaving = None;
    }
}
