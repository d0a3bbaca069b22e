//! The model's [`Broker`]: every call, with its faults, over a cluster that other workers share. Tests that script single
//! calls have a broker of their own, `src/worker/tests/scripted.rs`.

use super::*;

/// Reads where the marker of a changelog goes.
pub(super) fn next_offset(value: &[u8]) -> i64 {
    let value: serde_json::Value = serde_json::from_slice(value).expect("a marker is JSON");
    value["next_offset"].as_i64().expect("a marker has an offset")
}

fn cause(text: &str) -> Cause {
    text.to_owned().into()
}

fn gone() -> Cause {
    cause("the process was killed")
}

fn abort(step: TransactionStep, text: &str) -> TransactionError {
    TransactionError::Abort { step, source: cause(text) }
}

fn rebuild(step: TransactionStep, text: &str) -> TransactionError {
    TransactionError::Rebuild { step, source: cause(text) }
}

fn refused(step: TransactionStep, refusal: ProducerRefusal) -> TransactionError {
    match refusal {
        ProducerRefusal::Fenced => {
            TransactionError::Fenced { step, transactional_id: "node".to_owned(), source: cause("fenced") }
        }
        ProducerRefusal::InvalidState => rebuild(step, "invalid transaction state"),
    }
}

impl Broker for Client<'_> {
    fn poll(&self, _timeout: Duration) -> Result<Input<'_>, ConsumerError> {
        let failed = |text| ConsumerError::Rebuild { problem: "could not poll".to_owned(), source: cause(text) };
        if !self.survives("poll") {
            return Err(failed("killed"));
        }
        if self.draw(Fault::PollFails) {
            return Err(failed("fatal"));
        }
        let input = self.next_change().or_else(|| self.next_record()).unwrap_or(Input::Idle);
        self.trace(|| match &input {
            Input::Record(record) => format!("record {} of {}", record.offset(), record.partition()),
            other => format!("{other:?}"),
        });
        if self.survives("polled") { Ok(input) } else { Err(failed("killed")) }
    }

    fn start(&self, partition: i32, offset: i64) -> Result<(), ConsumerError> {
        self.trace(|| format!("start {partition} at {offset}"));
        let mut state = self.state.borrow_mut();
        let ignore = self.is(Weakness::NoSeek);
        match state.owned.get_mut(&partition) {
            Some(Some(_)) if ignore => Ok(()),
            Some(entry) if !self.killed.get() => {
                *entry = Some(Reading { next: offset, position: None });
                self.world().cluster.borrow_mut().group.note_start(self.node.get(), partition, offset);
                Ok(())
            }
            _ => Err(ConsumerError::Rebuild {
                problem: format!("could not start partition {partition} at offset {offset}"),
                source: cause("it is not ours"),
            }),
        }
    }

    fn log_ends(&self, partition: i32, _timeout: Duration) -> Result<LogEnds, ConsumerError> {
        let retry = || ConsumerError::Retry { partition, source: cause("no answer") };
        if !self.survives("log ends") || self.draw(Fault::NoAnswer) {
            return Err(retry());
        }
        let world = self.world();
        let log_end = {
            let cluster = world.cluster.borrow();
            let log = &cluster.input[partition as usize];
            if self.is(Weakness::IdleAtStable) { log.stable() } else { log.end() }
        };
        if self.survives("log ends known") { Ok(LogEnds { start: 0, end: log_end }) } else { Err(retry()) }
    }

    fn position(&self, partition: i32) -> Option<i64> {
        (*self.state.borrow().owned.get(&partition)?)?.position
    }

    fn begin_restore(&self, partition: i32) -> Result<(), RestoreError> {
        self.state.borrow_mut().restores.insert(partition, Restoring::Asking);
        Ok(())
    }

    fn step_restore(&self, _budget: Duration, apply: &mut Apply<'_>) -> Result<RestoreProgress, RestoreError> {
        let failed = || RestoreError::Rebuild { source: gone() };
        let mut restored = Vec::new();
        let partitions: Vec<i32> = self.state.borrow().restores.keys().copied().collect();
        for partition in partitions {
            if !self.survives("restore") || self.draw(Fault::RestoreFails) {
                return Err(failed());
            }
            if !self.state.borrow().owned.contains_key(&partition) {
                self.state.borrow_mut().restores.remove(&partition);
                continue;
            }
            let is_asking = matches!(self.state.borrow().restores.get(&partition), Some(Restoring::Asking));
            if is_asking {
                if let Some(reading) = self.ask(partition) {
                    self.state.borrow_mut().restores.insert(partition, reading);
                }
            } else {
                restored.extend(self.read_changelog(partition, apply));
            }
        }
        self.trace(|| format!("restored {restored:?}"));
        if self.survives("restored") { Ok(RestoreProgress { restored, remaining: 0 }) } else { Err(failed()) }
    }

    fn begin(&self) -> Result<(), TransactionError> {
        const STEP: TransactionStep = TransactionStep::Begin;
        if !self.survives("begin") {
            return Err(rebuild(STEP, "killed"));
        }
        if self.state.borrow().dead || self.state.borrow().transaction.is_some() {
            let problem = "the last one has not ended".to_owned();
            return Err(TransactionError::Stop { step: STEP, problem });
        }
        if self.state.borrow().suspect {
            self.trace(|| "new producer".to_owned());
            self.init();
        }
        let mut state = self.state.borrow_mut();
        let assignment_epoch = state.assignment_epoch;
        state.transaction = Some(Open { assignment_epoch, places: BTreeSet::new(), failed: None, sessions: 0 });
        Ok(())
    }

    fn send(&self, record: &Outgoing<'_>) -> Result<(), TransactionError> {
        const STEP: TransactionStep = TransactionStep::Send;
        if !self.survives("produce") {
            return Err(rebuild(STEP, "killed"));
        }
        if self.draw(Fault::SendFails) {
            let refused = Err(abort(STEP, "the record was refused"));
            self.note_failure(&refused);
            return refused;
        }
        let world = self.world();
        let place = match record.topic {
            "output" => Place::Output,
            "dead" => Place::DeadLetters,
            _ => Place::Changelog(record.partition.expect("the changelog's partition is given")),
        };
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let written = Written {
            key: record.key.unwrap_or_default().to_vec(),
            value: owned(record.value),
            headers: record.headers.iter().map(|(name, value)| (name.to_vec(), owned(*value))).collect(),
        };
        self.trace(|| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("send {place:?} {} {:?}", text(&written.key), written.value.as_deref().map(text))
        });
        let (node, state) = (self.node.get(), &mut *self.state.borrow_mut());
        let epoch = state.epoch;
        let Some(open) = &mut state.transaction else {
            return Err(TransactionError::Stop { step: STEP, problem: "no transaction".to_owned() });
        };
        // What a limit has cut off and what is withdrawn come on top.
        let on_top = ["\"close_cause\":\"limit\"", "\"status\":\"withdrawn\""];
        let is_on_top =
            |value: &[u8]| on_top.iter().any(|text| value.windows(text.len()).any(|part| part == text.as_bytes()));
        open.sessions += usize::from(place == Place::Output && !record.value.is_some_and(is_on_top));
        if open.sessions > state.slice {
            world.fail(format!("worker {node} publishes more than {} sessions in a transaction", state.slice));
        }
        let mut cluster = world.cluster.borrow_mut();
        let added = if open.places.insert(place) { cluster.add_place(node, epoch, place) } else { Ok(()) };
        if let Err(refusal) = added.and_then(|()| cluster.produce(node, epoch, place, written)) {
            // Delivery reports come later: the commit tells.
            open.failed.get_or_insert(refusal);
        }
        Ok(())
    }

    fn commit(&self, offsets: &[(i32, i64)], _timeout: Duration) -> Result<(), TransactionError> {
        let result = self.try_commit(offsets);
        self.note_failure(&result);
        if result.is_ok() {
            let mut state = self.state.borrow_mut();
            (state.failures, state.has_failed) = (0, false);
            state.slice = (state.slice * 2).min(self.world().setup.settings.slice);
        }
        result
    }

    fn abort(&self) -> Result<(), TransactionError> {
        const STEP: TransactionStep = TransactionStep::Abort;
        self.trace(|| "abort".to_owned());
        if !self.survives("abort") {
            return self.give_up(rebuild(STEP, "killed"));
        }
        let is_announced = match &self.state.borrow().transaction {
            None => return Ok(()),
            Some(open) => !open.places.is_empty(),
        };
        let end = if is_announced { self.end(false) } else { End::Made };
        match end {
            End::Made => self.state.borrow_mut().transaction = None,
            // Taking the id over aborts for certain.
            End::Unknown | End::Refused(ProducerRefusal::InvalidState) => self.init(),
            End::Refused(refusal) => return self.give_up(refused(STEP, refusal)),
        }
        if self.survives("aborted") { Ok(()) } else { self.give_up(rebuild(STEP, "killed")) }
    }

    fn errors(&self) -> ErrorCounts {
        ErrorCounts::default()
    }
}

impl Client<'_> {
    fn try_commit(&self, offsets: &[(i32, i64)]) -> Result<(), TransactionError> {
        const STEP: TransactionStep = TransactionStep::Commit;
        self.trace(|| format!("commit {offsets:?}"));
        if !self.survives("commit") {
            return self.give_up(rebuild(STEP, "killed"));
        }
        let membership = match self.guard(&self.state.borrow(), offsets) {
            Ok(membership) => membership,
            Err(reason) => return Err(abort(STEP, &reason)),
        };
        let mut offsets = offsets.to_vec();
        if self.is(Weakness::UnmovedLeftOut) {
            let cluster = self.world().cluster.borrow();
            offsets.retain(|(partition, offset)| cluster.group.offset(*partition) != Some(*offset));
        } else if offsets.is_empty() {
            let problem = "there are no offsets".to_owned();
            return self.give_up(TransactionError::Stop { step: STEP, problem });
        }
        if !self.survives("guarded") {
            return self.give_up(rebuild(STEP, "killed"));
        }
        let producer = (self.node.get(), self.state.borrow().epoch);
        if self.draw(Fault::OffsetsLate) {
            self.delay_offsets(producer, membership, offsets);
            self.state.borrow_mut().suspect |= !self.is(Weakness::ProducerKeptAfterFailure);
            return Err(abort(STEP, "nobody answered the offsets"));
        }
        if !offsets.is_empty() {
            let world = self.world();
            let noted = world.cluster.borrow_mut().commit_offsets(producer, membership, &offsets, &world.chance);
            match noted {
                Ok(Ok(())) if self.draw(Fault::OffsetsTwice) => {
                    self.delay_offsets(producer, membership, offsets);
                    self.state.borrow_mut().suspect |= !self.is(Weakness::ProducerKept);
                }
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => return self.give_up(abort(STEP, &format!("{refusal:?}"))),
                Err(refusal) => return self.give_up(refused(STEP, refusal)),
            }
        }
        if !self.survives("offsets sent") {
            return self.give_up(rebuild(STEP, "killed"));
        }
        let failed = self.state.borrow().transaction.as_ref().and_then(|open| open.failed);
        match failed {
            Some(ProducerRefusal::Fenced) => return self.give_up(refused(STEP, ProducerRefusal::Fenced)),
            Some(refusal) => return Err(abort(STEP, &format!("delivery failed: {refusal:?}"))),
            None => {}
        }
        if self.draw(Fault::CommitRefused) {
            if self.is(Weakness::AbortIgnored) {
                self.init();
                return Ok(());
            }
            return Err(abort(STEP, "the coordinator refused"));
        }
        let end = self.end(true);
        if !self.survives("committed") {
            return self.give_up(rebuild(STEP, "killed"));
        }
        match end {
            End::Made => {
                self.state.borrow_mut().transaction = None;
                self.trace(|| "  committed".to_owned());
                Ok(())
            }
            End::Unknown => self.give_up(rebuild(STEP, "no answer")),
            End::Refused(refusal) => self.give_up(refused(STEP, refusal)),
        }
    }
}
