//! [`Broker`] over librdkafka: a consumer, a producer, a changelog reader and a probe for log ends.
//!
//! Puts the four together and decides nothing, except that the consumer's guard must allow a commit before the producer
//! makes it.
//!
//! Dropping a [`Client`] leaves the group, which takes about 100 ms. Commit first, and do not drop it on a thread that
//! serves requests.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Broker, Input};
use crate::consumer::Consumer;
use crate::error::{ConsumerError, RestoreError, TransactionError, TransactionStep};
use crate::fault::Safeguards;
use crate::librdkafka::context::Reports;
use crate::librdkafka::settings::Settings;
use crate::read::log_ends::Probe;
use crate::restore::Restore;
use crate::transaction::Transactions;
use crate::values::{Apply, Cause, ErrorCounts, KnownEnds, LogEnds, Outgoing, RestoreProgress};

/// The clients of one worker.
pub struct Client {
    // Dropped in this order: the consumer leaves the group first. The producer is idle by then, so the next owner takes the
    // partitions over from a worker that has finished.
    consumer: Consumer,
    restore: RefCell<Restore>,
    probe: Probe,
    transactions: Transactions,
    input: String,
    /// The consumer's assignment epoch when the open transaction began.
    assignment_epoch: Cell<u64>,
    reports: Arc<Reports>,
    safeguards: Safeguards,
}

impl Client {
    /// Takes over the transactional id, then joins the group of `input`.
    ///
    /// The order matters: taking over the id aborts the open transaction of an earlier process. Otherwise its offsets would
    /// stay undecided until its timeout.
    ///
    /// # Errors
    ///
    /// [`TransactionError`]; `Rebuild` if no broker answered within `timeout`: back off and connect again.
    pub fn connect(
        settings: &Settings,
        input: &str,
        changelog: &str,
        timeout: Duration,
    ) -> Result<Client, TransactionError> {
        let reports = Arc::new(Reports::default());
        let rebuild = |source: Cause| TransactionError::Rebuild { step: TransactionStep::Create, source };
        let transactions = Transactions::init(settings, input, Arc::clone(&reports), timeout)?;
        let restore = Restore::new(settings, changelog, Arc::clone(&reports)).map_err(|error| rebuild(error.into()))?;
        let probe = Probe::new(settings, Arc::clone(&reports)).map_err(|error| rebuild(error.into()))?;
        let consumer = Consumer::join(settings, input, Arc::clone(&reports)).map_err(|error| rebuild(error.into()))?;
        Ok(Client {
            consumer,
            restore: RefCell::new(restore),
            probe,
            transactions,
            input: input.to_owned(),
            assignment_epoch: Cell::new(0),
            reports,
            safeguards: settings.safeguards,
        })
    }

    /// Returns generation and member id, for logs.
    pub fn membership(&self) -> Option<(i32, String)> {
        self.consumer.membership()
    }

    /// Serves the events of the clients that are seldom polled: log lines, errors, a refusal.
    fn serve_others(&self) {
        self.restore.borrow().serve();
        self.probe.serve();
    }

    /// Returns whether the next [`Broker::begin`] replaces the producer.
    pub fn needs_replacement(&self) -> bool {
        self.transactions.needs_replacement()
    }
}

impl Broker for Client {
    fn poll(&self, timeout: Duration) -> Result<Input<'_>, ConsumerError> {
        let input = self.consumer.poll(timeout)?;
        if matches!(input, Input::Idle) {
            self.transactions.serve();
            self.serve_others();
        }
        Ok(input)
    }

    fn start(&self, partition: i32, offset: i64) -> Result<(), ConsumerError> {
        self.consumer.start(partition, offset)
    }

    fn log_ends(&self, partition: i32, timeout: Duration) -> Result<LogEnds, ConsumerError> {
        let ends = self.probe.log_ends(&self.input, partition, timeout);
        ends.map_err(|error| ConsumerError::Retry { partition, source: error.into() })
    }

    fn position(&self, partition: i32) -> Option<i64> {
        self.consumer.position(partition)
    }

    fn begin_restore(&self, partition: i32) -> Result<(), RestoreError> {
        self.restore.borrow_mut().begin(partition)
    }

    fn step_restore(&self, budget: Duration, apply: &mut Apply<'_>) -> Result<RestoreProgress, RestoreError> {
        let mut restore = self.restore.borrow_mut();
        restore.retain(|partition| self.consumer.owns(partition))?;
        restore.step(&self.consumer, &self.probe, budget, apply)
    }

    fn begin(&self) -> Result<(), TransactionError> {
        // A poll serves them only if there is no input, which a busy worker seldom sees.
        self.serve_others();
        self.transactions.begin()?;
        self.assignment_epoch.set(self.consumer.assignment_epoch());
        Ok(())
    }

    fn send(&self, record: &Outgoing<'_>) -> Result<(), TransactionError> {
        self.transactions.send(record)
    }

    fn commit(&self, offsets: &[(i32, i64)], timeout: Duration) -> Result<(), TransactionError> {
        let member = self
            .consumer
            .guard(self.assignment_epoch.get(), offsets)
            .map_err(|reason| TransactionError::Abort { step: TransactionStep::Commit, source: reason.into() })?;
        self.transactions.commit(offsets, &member, timeout)
    }

    fn abort(&self) -> Result<(), TransactionError> {
        self.transactions.abort()
    }

    fn known_ends(&self, partition: i32) -> Option<KnownEnds> {
        self.consumer.known_ends(partition)
    }

    fn safeguards(&self) -> Safeguards {
        self.safeguards
    }

    fn errors(&self) -> ErrorCounts {
        self.reports.counts()
    }
}
