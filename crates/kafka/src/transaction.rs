//! The transactional producer, and what to do about each of its errors.
//!
//! # The model
//!
//! ```text
//!   init ─▶ ready ──begin──▶ open ──send…──▶ open ──commit──▶ ready
//!             ▲                               │ Abort
//!             └───────────────abort───────────┘        Rebuild, Fenced, Refused, Stop: this value is unusable
//! ```
//!
//! An error of librdkafka is classified in this order: is it fatal, does it require an abort, can it be retried? A retry is
//! the *same* call with the same arguments and nothing in between. An error that is none of the three counts as fatal.
//!
//! rdkafka's own calls are not used as they are:
//!
//! * a commit flushes in whole polls of 100 ms, so librdkafka's own flush drains the queue first;
//! * commit and abort repeat their request for as long as they may, so each gets the time until the deadline;
//! * an abort waits for delivery reports that are not served meanwhile, so a scoped thread serves them;
//! * an abort right after a commit can be fatal, because the coordinator is still busy. Taking over the transactional id
//!   aborts as well, and for certain: no commit was requested, and no request of the old producer survives it;
//! * a record that `send` refuses is merely missing from the commit, so a refusal is an abort;
//! * an empty list of offsets is sent to no coordinator and fences no producer, so it is refused.
//!
//! # Replacing the producer
//!
//! librdkafka speaks a version of the protocol in which a delayed commit request can decide the *next* transaction, and
//! delayed offsets can set the group back in it, and it does not tell when it has sent a request twice. A new producer has
//! a new epoch, which a delayed request does not survive. So the producer is suspect, and [`Transactions::begin`] replaces
//! it, when the last commit or its offsets took suspiciously long (a hidden retry waits for its back-off; an honest commit
//! takes 2 ms), when it failed, when librdkafka reported any error, when a delivery failed, or when an abort did.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{TransactionError, TransactionStep};
use crate::fault;
use crate::librdkafka::codes::{Verdict, verdict};
use crate::librdkafka::context::{Reports, TransactionContext};
use crate::librdkafka::native;
use crate::librdkafka::settings::Settings;
use crate::values::Outgoing;

/// The duration of serving delivery reports once. All of it passes, whether there are reports or not, and in a busy loop,
/// since rdkafka rounds the rest of a millisecond down to no wait.
const SERVE_TIME: Duration = Duration::from_millis(1);

/// The maximum duration of one wait for deliveries, after which failures are checked.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(20);

/// The maximum duration of one attempt to take over the transactional id, after which librdkafka's reports are checked.
const INIT_TIMEOUT: Duration = Duration::from_millis(500);

/// The duration from which sending offsets is suspicious: librdkafka repeats them after 500 ms, whatever the settings say.
const SUSPICIOUS_OFFSETS: Duration = Duration::from_millis(400);

/// The producer of one worker.
pub struct Transactions {
    settings: Settings,
    topic: String,
    reports: Arc<Reports>,
    state: RefCell<State>,
}

struct State {
    /// `None` only while it is replaced.
    producer: Option<BaseProducer<TransactionContext>>,
    /// When the open transaction began.
    open: Option<Instant>,
    /// Whether a delayed request of the last transaction may still arrive: the next one needs a new producer.
    suspect: bool,
    /// Whether the outcome of a commit is unknown: the worker's memory may be wrong, which a new producer would not repair.
    dead: bool,
}

impl State {
    const NEW: State = State { producer: None, open: None, suspect: false, dead: false };
}

impl Transactions {
    /// Creates the producer and takes over its transactional id, which aborts the open transaction of an earlier producer.
    ///
    /// `topic` is the input, whose offsets the transactions carry.
    pub fn init(
        settings: &Settings,
        topic: &str,
        reports: Arc<Reports>,
        timeout: Duration,
    ) -> Result<Transactions, TransactionError> {
        let state = RefCell::new(State::NEW);
        let transactions = Transactions { settings: settings.clone(), topic: topic.to_owned(), reports, state };
        transactions.replace(timeout)?;
        Ok(transactions)
    }

    /// Returns whether the next [`Transactions::begin`] replaces the producer.
    pub fn needs_replacement(&self) -> bool {
        let state = self.state.borrow();
        let context = state.producer.as_ref().map(|producer| producer.context());
        let is_suspect =
            state.suspect || context.is_some_and(|context| context.delivery_failed() || context.had_error());
        state.producer.is_none() || is_suspect && self.settings.safeguards.producer_replacement()
    }

    /// Replaces the producer.
    pub fn replace(&self, timeout: Duration) -> Result<(), TransactionError> {
        const STEP: TransactionStep = TransactionStep::Init;
        fault::reach("init.before")?;
        // Closed before the next one is created: two with one id would fence each other.
        drop(self.state.borrow_mut().producer.take());
        let config = self.settings.producer();
        let producer: BaseProducer<TransactionContext> = config
            .create_with_context(TransactionContext::new(Arc::clone(&self.reports)))
            .map_err(|error| TransactionError::Rebuild { step: STEP, source: error.into() })?;
        let deadline = Instant::now() + timeout;
        let result = repeat(deadline, |remaining| {
            // In short attempts, since the reason for a refusal comes only by polling. It resumes after a time-out.
            let result = producer.init_transactions(remaining.min(INIT_TIMEOUT));
            producer.poll(SERVE_TIME);
            match self.reports.refusal() {
                Some(_) => result.map_err(|_| KafkaError::Global(RDKafkaErrorCode::Authentication)),
                None => result,
            }
        });
        result.map_err(|error| self.error(&producer, STEP, error, None))?;
        fault::reach("init.after")?;
        *self.state.borrow_mut() = State { producer: Some(producer), ..State::NEW };
        Ok(())
    }

    /// Begins a transaction, with a new producer if the old one is suspect.
    pub fn begin(&self) -> Result<(), TransactionError> {
        const STEP: TransactionStep = TransactionStep::Begin;
        if self.state.borrow().open.is_some() {
            return Err(TransactionError::Stop { step: STEP, problem: "another one is open".to_owned() });
        }
        if self.state.borrow().dead {
            let problem = "the outcome of the last one is unknown, but the worker was not rebuilt".to_owned();
            return Err(TransactionError::Stop { step: STEP, problem });
        }
        fault::reach("begin.before")?;
        self.serve();
        if self.needs_replacement() {
            tracing::info!(transactional_id = self.settings.transactional_id, "replacing the producer");
            self.replace(self.settings.transaction_timeout)?;
        }
        let mut state = self.state.borrow_mut();
        let Some(producer) = &state.producer else {
            return Err(TransactionError::Stop { step: STEP, problem: "there is no producer".to_owned() });
        };
        producer.begin_transaction().map_err(|error| self.error(producer, STEP, error, None))?;
        state.open = Some(Instant::now());
        fault::reach("begin.after")?;
        Ok(())
    }

    /// Returns whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.state.borrow().open.is_some()
    }

    /// Adds a record. Waits while the queue is full, at most until the transaction times out.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<(), TransactionError> {
        const STEP: TransactionStep = TransactionStep::Send;
        let state = self.state.borrow();
        let (producer, begun) = open(&state, STEP)?;
        fault::reach("send.before")?;
        let deadline = begun + self.settings.transaction_timeout;
        loop {
            match native::produce(producer, record) {
                Ok(()) => break,
                Err(error)
                    if is_queue_full(&error) && Instant::now() < deadline && !producer.context().delivery_failed() =>
                {
                    producer.poll(SERVE_TIME);
                }
                // The transaction would commit without it.
                Err(error) => {
                    let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                    tracing::warn!(topic = record.topic, bytes, error = %error, "librdkafka refused a record");
                    return Err(self.abort_error(producer, STEP, error));
                }
            }
        }
        fault::reach("send.after")?;
        Ok(())
    }

    /// Commits, together with the next offsets of all touched partitions.
    ///
    /// `member` is the group metadata of the consumer, which its guard has returned: no other identifies this member.
    pub fn commit(
        &self,
        offsets: &[(i32, i64)],
        member: &ConsumerGroupMetadata,
        timeout: Duration,
    ) -> Result<(), TransactionError> {
        let offsets: Vec<_> = offsets.iter().map(|(partition, offset)| (*partition, *offset, "")).collect();
        self.commit_with_metadata(&offsets, member, timeout)
    }

    /// Commits as [`Transactions::commit`] does. Each offset comes with metadata, which the group stores with it.
    pub fn commit_with_metadata(
        &self,
        offsets: &[(i32, i64, &str)],
        member: &ConsumerGroupMetadata,
        timeout: Duration,
    ) -> Result<(), TransactionError> {
        let mut state = self.state.borrow_mut();
        match self.try_commit(&state, offsets, member, Instant::now() + timeout) {
            Ok(suspect) => {
                state.open = None;
                state.suspect |= suspect;
                Ok(())
            }
            Err(error) => {
                // Unanswered offsets may still arrive, and would count for the next transaction.
                state.suspect = true;
                if !matches!(error, TransactionError::Abort { .. }) {
                    state.open = None;
                    state.dead = true;
                }
                Err(error)
            }
        }
    }

    /// Sends the offsets, drains the queue and commits. Returns whether librdkafka may have sent a request twice.
    fn try_commit(
        &self,
        state: &State,
        offsets: &[(i32, i64, &str)],
        member: &ConsumerGroupMetadata,
        deadline: Instant,
    ) -> Result<bool, TransactionError> {
        let (producer, begun) = open(state, TransactionStep::Commit)?;
        let list = self.offset_list(offsets)?;
        let outsider = (!self.settings.safeguards.group_metadata()).then(|| outsider(&self.settings));
        let member = outsider.as_ref().unwrap_or(member);
        fault::reach("offsets.before")?;
        let start = Instant::now();
        let sent = repeat(deadline, |remaining| producer.send_offsets_to_transaction(&list, member, remaining));
        sent.map_err(|error| self.error(producer, TransactionStep::SendOffsets, error, Some(begun)))?;
        let was_repeated = start.elapsed() >= SUSPICIOUS_OFFSETS;
        fault::reach("offsets.after")?;
        while !native::flush(producer, FLUSH_TIMEOUT) {
            if producer.context().delivery_failed() || Instant::now() >= deadline {
                let late = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.abort_error(producer, TransactionStep::Deliver, late));
            }
            // The report of a failed delivery comes only by polling.
            producer.poll(SERVE_TIME);
        }
        fault::reach("commit.before")?;
        let start = Instant::now();
        repeat(deadline, |remaining| raw_commit(producer, remaining))
            .map_err(|error| self.error(producer, TransactionStep::Commit, error, Some(begun)))?;
        fault::reach("commit.after")?;
        Ok(was_repeated || start.elapsed() >= self.settings.suspicious_commit())
    }

    /// Aborts the open transaction, if there is one.
    ///
    /// An abort that fails is replaced by taking over the id with a new producer, unless this one was fenced or refused.
    pub fn abort(&self) -> Result<(), TransactionError> {
        if !self.is_open() {
            return Ok(());
        }
        let start = Instant::now();
        let result = self.try_abort();
        let took = start.elapsed();
        let mut state = self.state.borrow_mut();
        state.open = None;
        // As after a commit: a request that was sent twice may arrive late, and would end the next transaction half-way.
        state.suspect |= took >= self.settings.suspicious_commit();
        match result {
            Err(TransactionError::Abort { .. } | TransactionError::Rebuild { .. }) => {
                drop(state);
                self.replace(self.settings.transaction_timeout)
            }
            Err(other) => {
                state.dead = true;
                Err(other)
            }
            Ok(()) => Ok(()),
        }
    }

    fn try_abort(&self) -> Result<(), TransactionError> {
        let state = self.state.borrow();
        let (producer, begun) = open(&state, TransactionStep::Abort)?;
        fault::reach("abort.before")?;
        let deadline = Instant::now() + self.settings.transaction_timeout;
        repeat(deadline, |remaining| raw_abort(producer, remaining))
            .map_err(|error| self.error(producer, TransactionStep::Abort, error, Some(begun)))?;
        fault::reach("abort.after")?;
        Ok(())
    }

    /// Serves delivery reports and errors once.
    pub fn serve(&self) {
        if let Some(producer) = &self.state.borrow().producer {
            producer.poll(SERVE_TIME);
        }
    }

    fn offset_list(&self, offsets: &[(i32, i64, &str)]) -> Result<TopicPartitionList, TransactionError> {
        const STEP: TransactionStep = TransactionStep::SendOffsets;
        if offsets.is_empty() {
            // librdkafka would return `Ok` without sending anything, and the transaction would not be fenced.
            return Err(TransactionError::Stop { step: STEP, problem: "there are none".to_owned() });
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        let is_sent =
            |partition, offset| self.settings.safeguards.unmoved_offsets() || fault::has_moved(partition, offset);
        for (partition, offset, metadata) in
            offsets.iter().filter(|(partition, offset, _)| is_sent(*partition, *offset))
        {
            let mut element = list.add_partition(&self.topic, *partition);
            element.set_offset(Offset::Offset(*offset)).map_err(|error| TransactionError::Stop {
                step: STEP,
                problem: format!("partition {partition}, offset {offset}: {error}"),
            })?;
            if !metadata.is_empty() {
                element.set_metadata(metadata);
            }
        }
        Ok(list)
    }

    /// Returns what the worker has to do about an error of librdkafka.
    ///
    /// `begun` is the beginning of the open transaction: near its timeout the coordinator fences the producer as a duplicate
    /// instance would.
    fn error(
        &self,
        producer: &BaseProducer<TransactionContext>,
        step: TransactionStep,
        error: KafkaError,
        begun: Option<Instant>,
    ) -> TransactionError {
        // The explanation of the error may still be in the queue.
        producer.poll(SERVE_TIME);
        if let Some(reason) = self.reports.refusal() {
            return TransactionError::Refused { reason };
        }
        let near = self.settings.transaction_timeout * 8 / 10;
        let old = begun.is_some_and(|begun| Instant::now().saturating_duration_since(begun) >= near);
        match verdict(&error) {
            Verdict::Abort => self.abort_error(producer, step, error),
            Verdict::Fenced if !old && !producer.context().had_outage() => TransactionError::Fenced {
                step,
                transactional_id: self.settings.transactional_id.clone(),
                source: error.into(),
            },
            Verdict::Refused => TransactionError::Refused { reason: error.to_string() },
            Verdict::Fenced | Verdict::Retry | Verdict::Rebuild => {
                TransactionError::Rebuild { step, source: error.into() }
            }
        }
    }

    /// Returns the error of a transaction that must not commit, although librdkafka might let it.
    fn abort_error(
        &self,
        producer: &BaseProducer<TransactionContext>,
        step: TransactionStep,
        error: KafkaError,
    ) -> TransactionError {
        producer.poll(SERVE_TIME);
        if let Some(reason) = self.reports.refusal() {
            return TransactionError::Refused { reason };
        }
        // A failed delivery explains more than a queue that did not drain.
        let error = producer.context().delivery_failure().unwrap_or(error);
        match verdict(&error) {
            // A second attempt would be refused as well.
            Verdict::Refused => TransactionError::Refused { reason: error.to_string() },
            _ => TransactionError::Abort { step, source: error.into() },
        }
    }
}

/// Returns the metadata of a consumer outside of the group, for a test that removes [`Safeguards::group_metadata`].
///
/// [`Safeguards::group_metadata`]: crate::fault::Safeguards::group_metadata
fn outsider(settings: &Settings) -> ConsumerGroupMetadata {
    let consumer: BaseConsumer = settings.consumer().create().expect("the settings are those of our consumer");
    consumer.group_metadata().expect("the settings name a group")
}

/// Returns the producer and the beginning of its open transaction.
fn open(
    state: &State,
    step: TransactionStep,
) -> Result<(&BaseProducer<TransactionContext>, Instant), TransactionError> {
    match (&state.producer, state.open) {
        (Some(producer), Some(begun)) => Ok((producer, begun)),
        _ => Err(TransactionError::Stop { step, problem: "no transaction is open".to_owned() }),
    }
}

/// Repeats a call, with the same arguments and nothing in between, until it is decided or the deadline has passed.
///
/// `call` gets the time until the deadline.
fn repeat(deadline: Instant, mut call: impl FnMut(Duration) -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        match call(remaining) {
            Err(error) if verdict(&error) == Verdict::Retry && Instant::now() < deadline => {}
            result => return result,
        }
    }
}

/// Commits. Without a timeout librdkafka repeats the request for ever. Called again, it resumes.
#[allow(clippy::disallowed_methods, reason = "the caller has drained the queue")]
fn raw_commit(producer: &BaseProducer<TransactionContext>, timeout: Duration) -> KafkaResult<()> {
    producer.commit_transaction(timeout)
}

/// Aborts, with a timeout as [`raw_commit`], while a scoped thread serves the delivery reports that librdkafka waits for.
#[allow(clippy::disallowed_methods, reason = "a scoped thread serves delivery reports meanwhile")]
fn raw_abort(producer: &BaseProducer<TransactionContext>, timeout: Duration) -> KafkaResult<()> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                producer.poll(SERVE_TIME);
            }
        });
        let result = producer.abort_transaction(timeout);
        done.store(true, Ordering::Release);
        result
    })
}

fn is_queue_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}
