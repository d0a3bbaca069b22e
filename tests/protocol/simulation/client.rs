//! The worker's broker, over the model: one process's clients, and what befalls them.
//!
//! Does what `livesession_kafka::Client` promises, no more: the guard before a commit, a partition given away by the poll
//! after its revocation, a new epoch after a doubtful commit. Around each step the world may end the process, let time and
//! the other workers run, or lose what was said. A process that was killed answers every call with an error until its
//! worker is gone, and nothing that it does reaches the cluster.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use livesession_kafka::{
    Apply, Broker, Cause, ConsumerError, ErrorCounts, Input, LogEnds, Outgoing, Record, RestoreError, RestoreProgress,
    Restored, TransactionError, TransactionStep,
};

use super::cluster::{Place, ProducerRefusal, Request, Written};
use super::faults::{Fault, Weakness};
use super::world::World;

mod broker;

use broker::next_offset;

/// The clients of one process.
pub struct Client<'a> {
    world: Cell<Option<&'a World<'a>>>,
    node: Cell<usize>,
    pub(super) killed: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    member: Option<u32>,
    /// Our partitions; `None`: not started.
    owned: BTreeMap<i32, Option<Reading>>,
    /// Revoked, to be given away by the next poll.
    leaving: Vec<i32>,
    /// Ours once that is done.
    coming: Option<Vec<i32>>,
    assignment_epoch: u64,
    restores: BTreeMap<i32, Restoring>,
    epoch: i32,
    transaction: Option<Open>,
    /// The next transaction needs a new epoch.
    suspect: bool,
    /// The outcome of a commit is unknown.
    dead: bool,
    /// How many transactions failed in a row.
    failures: u32,
    /// Whether one failed since the worker was last asked whether it rests.
    has_failed: bool,
    /// How many sessions a transaction may publish.
    slice: usize,
    /// Whether a revocation was told since then: it is answered at once.
    has_revoked: bool,
}

#[derive(Clone, Copy)]
struct Reading {
    /// The next offset to hand out.
    next: i64,
    /// Where the client is, past markers and aborted records, once it has seen anything.
    position: Option<i64>,
}

enum Restoring {
    Asking,
    Reading { committed: Option<i64>, next: i64, end: i64, records: u64, marker: Option<i64> },
}

struct Open {
    assignment_epoch: u64,
    /// The places that the client has announced to the coordinator.
    places: BTreeSet<Place>,
    failed: Option<ProducerRefusal>,
    /// How many sessions it publishes so far.
    sessions: usize,
}

impl<'a> Client<'a> {
    pub fn new() -> Client<'a> {
        Client { world: Cell::new(None), node: Cell::new(0), killed: Cell::new(false), state: RefCell::default() }
    }

    /// Takes over the node's transactional id and joins the group.
    pub fn connect(&self, world: &'a World<'a>, node: usize) {
        self.world.set(Some(world));
        self.node.set(node);
        let mut state = self.state.borrow_mut();
        let mut cluster = world.cluster.borrow_mut();
        state.slice = world.setup.settings.slice;
        state.epoch = cluster.init(node, &world.chance);
        state.member = Some(cluster.group.join());
    }

    fn world(&self) -> &'a World<'a> {
        self.world.get().expect("connected before it is used")
    }

    /// The process ends, or begins to be silent: its member is not heard of.
    pub fn set_silent(&self, is_silent: bool) {
        let mut cluster = self.world().cluster.borrow_mut();
        let since = is_silent.then_some(cluster.now);
        if let Some(member) = self.state.borrow().member {
            cluster.group.set_silent(member, since);
        }
    }

    pub fn kill(&self) {
        if !self.killed.replace(true) {
            self.set_silent(true);
        }
    }

    /// Leaves the group.
    pub fn close(&self) {
        if let Some(member) = self.state.borrow_mut().member.take() {
            self.world().cluster.borrow_mut().group.remove(member);
        }
        self.killed.set(true);
    }

    /// Returns whether a transaction has begun and not ended, in a process that lives.
    pub fn has_open_transaction(&self) -> bool {
        !self.killed.get() && self.state.borrow().transaction.is_some()
    }

    /// Whether every partition of its share is running.
    pub fn is_settled(&self) -> bool {
        let state = self.state.borrow();
        let is_running = state.owned.values().all(Option::is_some);
        is_running && state.restores.is_empty() && state.leaving.is_empty() && state.coming.is_none()
    }

    /// Whether a restore of that partition is under way.
    pub fn is_restoring(&self, partition: i32) -> bool {
        !self.killed.get() && self.state.borrow().restores.contains_key(&partition)
    }

    /// Something may happen before or after a step. Returns whether the process is still there.
    fn survives(&self, step: &'static str) -> bool {
        if !self.killed.get() {
            self.world().befall(self.node.get(), self, step);
        }
        !self.killed.get()
    }

    fn trace(&self, line: impl FnOnce() -> String) {
        self.world().trace(self.node.get(), line);
    }

    fn draw(&self, fault: Fault) -> bool {
        self.world().draw(fault)
    }

    fn is(&self, weakness: Weakness) -> bool {
        self.world().setup.weakness == Some(weakness)
    }

    fn forget(state: &mut State, partitions: &[i32]) {
        for partition in partitions {
            state.owned.remove(partition);
            state.restores.remove(partition);
        }
        if !partitions.is_empty() {
            state.assignment_epoch += 1;
        }
    }

    /// Tells the coordinator what is ours now.
    fn settle(&self, state: &State, gave_up: bool) {
        if let Some(member) = state.member {
            let owned = state.owned.keys().copied().collect();
            self.world().cluster.borrow_mut().group.settle(member, owned, gave_up);
        }
    }

    /// The next change of the assignment, if there was one.
    fn next_change(&self) -> Option<Input<'a>> {
        let mut state = self.state.borrow_mut();
        let gave_up = std::mem::take(&mut state.leaving);
        Self::forget(&mut state, &gave_up);
        let is_member = state.member.is_some_and(|member| self.world().cluster.borrow().group.contains(member));
        if !is_member && self.world().notices_late() {
            return None;
        }
        if !is_member {
            let lost: Vec<i32> = state.owned.keys().copied().collect();
            state.coming = None;
            state.member = Some(self.world().cluster.borrow_mut().group.join());
            if lost.is_empty() {
                return None;
            }
            Self::forget(&mut state, &lost);
            if self.is(Weakness::LossUntold) {
                return None;
            }
            return Some(Input::Lost(lost));
        }
        if let Some(coming) = state.coming.take() {
            state.owned.extend(coming.iter().map(|partition| (*partition, None)));
            self.settle(&state, !gave_up.is_empty());
            return Some(Input::Assigned(coming));
        }
        let member = state.member?;
        let share = self.world().cluster.borrow_mut().group.take_share(member)?;
        let leaving: Vec<i32> = state.owned.keys().copied().filter(|partition| !share.contains(partition)).collect();
        state.coming = Some(share.into_iter().filter(|partition| !state.owned.contains_key(partition)).collect());
        state.leaving = leaving.clone();
        state.has_revoked = !leaving.is_empty();
        (!leaving.is_empty()).then_some(Input::Revoked(leaving))
    }

    /// The next record of a running partition.
    fn next_record(&self) -> Option<Input<'a>> {
        let world = self.world();
        let mut state = self.state.borrow_mut();
        let running: Vec<i32> = state.owned.iter().filter(|(_, reading)| reading.is_some()).map(|(p, _)| *p).collect();
        if running.is_empty() || self.draw(Fault::Idle) {
            return None;
        }
        let first = world.chance.below(running.len() as u64) as usize;
        for partition in running[first..].iter().chain(&running[..first]) {
            let Some(Some(reading)) = state.owned.get_mut(partition) else { continue };
            let cluster = world.cluster.borrow();
            let (found, position) = cluster.input[*partition as usize].read(reading.next.max(0));
            reading.position = Some(position.max(reading.next));
            if let Some((offset, number)) = found {
                reading.next = offset + 1;
                let incoming = &world.setup.traffic[*number];
                let value = if self.is(Weakness::DuplicatesKept) { &incoming.renamed } else { &incoming.value };
                let parts = (Some(incoming.key.as_slice()), value.as_deref());
                let place = (*partition, offset);
                return Some(Input::Record(Record::from_parts(place, incoming.timestamp, parts, Vec::new())));
            }
        }
        None
    }

    /// Reads a few records of the changelog of one partition. Returns it when it is done.
    fn read_changelog(&self, partition: i32, apply: &mut Apply<'_>) -> Option<Restored> {
        let world = self.world();
        let state = &mut *self.state.borrow_mut();
        let entry = state.restores.get_mut(&partition)?;
        let Restoring::Reading { committed, next, end, records, marker } = entry else { return None };
        for _ in 0..=world.chance.below(20) {
            if *next >= *end {
                let committed = if self.is(Weakness::MarkerUnchecked) { *marker } else { *committed };
                let restored = Restored { partition, committed, records: *records };
                state.restores.remove(&partition);
                return Some(restored);
            }
            let cluster = world.cluster.borrow();
            let (found, position) = cluster.changelog[partition as usize].read(*next);
            if let Some((offset, record)) = found.filter(|(offset, _)| offset < end) {
                if record.key == b"m" {
                    *marker = record.value.as_deref().map(next_offset);
                }
                apply(partition, &record.key, record.value.as_deref());
                *records += 1;
                *next = offset + 1;
            } else {
                *next = position.max(*next);
                if *next < *end {
                    break;
                }
            }
        }
        None
    }

    /// Asks how far the group is, then where the changelog ends.
    fn ask(&self, partition: i32) -> Option<Restoring> {
        let world = self.world();
        let committed = {
            let cluster = world.cluster.borrow();
            if self.is(Weakness::UnstableOffset) {
                cluster.group.offset(partition)
            } else {
                cluster.group.stable_offset(partition).ok()?
            }
        };
        if !self.survives("between offset and end") {
            return None;
        }
        let cluster = world.cluster.borrow();
        let log = &cluster.changelog[partition as usize];
        let is_short = self.is(Weakness::StableEnd) || self.is(Weakness::MarkerUnchecked);
        let end = if is_short { log.stable() } else { log.end() };
        Some(Restoring::Reading { committed, next: 0, end, records: 0, marker: None })
    }

    fn guard(&self, state: &State, offsets: &[(i32, i64)]) -> Result<Option<(u32, i32)>, String> {
        if self.is(Weakness::Unfenced) {
            return Ok(None);
        }
        if state.transaction.as_ref().is_some_and(|open| open.assignment_epoch != state.assignment_epoch) {
            return Err("a partition was revoked or lost".to_owned());
        }
        if let Some((partition, _)) = offsets.iter().find(|(partition, _)| !state.owned.contains_key(partition)) {
            return Err(format!("partition {partition} is not ours"));
        }
        let member = state.member.ok_or("no member")?;
        Ok(Some((member, self.world().cluster.borrow().group.generation)))
    }

    fn init(&self) {
        let mut state = self.state.borrow_mut();
        state.epoch = self.world().cluster.borrow_mut().init(self.node.get(), &self.world().chance);
        state.suspect = false;
        state.transaction = None;
    }

    /// Sends the request that decides the transaction, in one of the ways in which that can go.
    fn end(&self, commit: bool) -> End {
        let world = self.world();
        let (node, epoch) = (self.node.get(), self.state.borrow().epoch);
        let by = 1 + world.chance.below(3_000);
        if self.draw(Fault::RequestLost) {
            return End::Unknown;
        }
        if self.draw(Fault::RequestLate) {
            world.cluster.borrow_mut().delay(node, epoch, Request::End { commit }, by);
            return End::Unknown;
        }
        if self.draw(Fault::RequestTwice) {
            world.cluster.borrow_mut().delay(node, epoch, Request::End { commit }, by);
            let is_kept = self.is(if commit { Weakness::ProducerKept } else { Weakness::ProducerKeptAfterAbort });
            self.state.borrow_mut().suspect |= !is_kept;
        }
        let result = world.cluster.borrow_mut().end_transaction(node, epoch, commit, &world.chance);
        match result {
            Ok(()) if self.draw(Fault::AnswerLost) => End::Unknown,
            Ok(()) => End::Made,
            Err(refusal) => End::Refused(refusal),
        }
    }

    /// Sends offsets that arrive when nobody waits for them any more.
    fn delay_offsets(&self, (node, epoch): (usize, i32), membership: Option<(u32, i32)>, offsets: Vec<(i32, i64)>) {
        let world = self.world();
        let by = 1 + world.chance.below(1_000);
        world.cluster.borrow_mut().delay(node, epoch, Request::Offsets { membership, offsets }, by);
    }

    /// Notes whether a step of a transaction failed in a way after which the worker tries again.
    fn note_failure(&self, result: &Result<(), TransactionError>) {
        if let Err(TransactionError::Abort { .. }) = result {
            let mut state = self.state.borrow_mut();
            state.failures += 1;
            state.has_failed = true;
            state.slice = (state.slice / 2).max(1);
        }
    }

    /// Returns how long the worker has to rest now.
    pub fn take_rest(&self) -> Duration {
        let mut state = self.state.borrow_mut();
        let has_revoked = std::mem::take(&mut state.has_revoked);
        if !std::mem::take(&mut state.has_failed) || has_revoked {
            return Duration::ZERO;
        }
        Duration::from_millis((50 << state.failures.min(10)).min(1_000))
    }

    fn give_up(&self, error: TransactionError) -> Result<(), TransactionError> {
        if !matches!(error, TransactionError::Abort { .. }) {
            let mut state = self.state.borrow_mut();
            state.transaction = None;
            state.dead = true;
        }
        self.trace(|| format!("  {error}"));
        Err(error)
    }
}

enum End {
    Made,
    Unknown,
    Refused(ProducerRefusal),
}
