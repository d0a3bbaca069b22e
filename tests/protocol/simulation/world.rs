//! A simulated world: one cluster, a few worker processes, one thread, one seed.
//!
//! Time is a number that the world moves. Each step lets some pass and gives one process a turn of its real loop. Where a
//! process stands still inside of a turn, the world goes on around it: the steps of the others run inside its call. So
//! every interleaving at the granularity of broker calls can happen, and the same seed gives the same one again.
//!
//! First everything goes wrong, as long as there is input; then nothing does, until all is read; then time, or a hint, is
//! far ahead, so that everything closes and is forgotten. The checker looks at the last two moments.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use livesession::metrics::Metrics;
use livesession::worker::{Failure, Now, Settings, Worker};
use livesession_grouping::time::Timestamp;

use super::audited;
use super::chance::Chance;
use super::checker;
use super::client::Client;
use super::cluster::Cluster;
use super::faults::{Fault, Weakness};
use super::group::SESSION_TIMEOUT;
use super::settings;
use super::traffic::{self, ALLOWED_LATENESS, EPOCH, Incoming};

/// How many processes may be started in one world: enough for any that is not broken.
const CLIENTS: usize = 150;

/// Faults end when so many processes have been used up.
const ROUGH_CLIENTS: usize = 60;

/// How many steps a world may take before it counts as stuck.
const STEPS: u32 = 60_000;

/// How long after the last record faults go on.
const AFTERMATH: u64 = 8_000;

/// What is fixed before a world begins.
pub struct Setup {
    pub weakness: Option<Weakness>,
    pub partitions: usize,
    pub nodes: usize,
    pub settings: Arc<Settings>,
    /// Whether idle partitions follow the wall clock.
    pub punctuates: bool,
    /// Whether every wall clock is right.
    pub has_true_clocks: bool,
    /// How long the producer upstream keeps a transaction open, in ms.
    upstream_open: u64,
    /// In order of arrival; the last ones, one for each partition, come when all else is done.
    pub traffic: Vec<Incoming>,
    /// How rough it gets: factor on the rates of the faults, in tenths.
    roughness: u32,
}

impl Setup {
    pub fn new(seed: u64, weakness: Option<Weakness>) -> (Setup, Chance) {
        let chance = Chance::new(seed);
        let partitions = 1 + chance.below(4) as usize;
        let nodes = 1 + chance.below(3) as usize;
        let (punctuates, has_true_clocks) = (chance.happens(500), chance.happens(500));
        let mut traffic = traffic::draw(&chance, partitions);
        let last = traffic.last().map_or(0, |incoming| incoming.at);
        traffic.extend((0..partitions).map(|partition| traffic::far(last, partition)));
        let settings = Arc::new(settings::draw(&chance, punctuates));
        let roughness = *chance.pick(&[0, 5, 10, 10, 20]);
        // The longer one is long enough for what is behind it to become late, if a clock goes on meanwhile.
        let upstream_open = *chance.pick(&[2_000, 2_000, ALLOWED_LATENESS.unsigned_abs() + 10_000]);
        let setup = Setup {
            weakness,
            partitions,
            nodes,
            settings,
            punctuates,
            has_true_clocks,
            upstream_open,
            traffic,
            roughness,
        };
        (setup, chance)
    }
}

/// One worker process, or the place where one will be.
#[derive(Default)]
struct Node<'a> {
    /// Empty while it takes a turn.
    worker: RefCell<Option<Worker<'a, Client<'a>>>>,
    /// The number of its client while it is up.
    client: Cell<Option<usize>>,
    /// When it is started again.
    up_at: Cell<u64>,
    born: Cell<u64>,
    /// Until when it rests: its last transaction failed.
    rests_until: Cell<u64>,
    /// How far its wall clock is off, in ms.
    skew: Cell<i64>,
}

pub struct World<'a> {
    pub setup: &'a Setup,
    pub cluster: RefCell<Cluster>,
    pub chance: Chance,
    metrics: Arc<Metrics>,
    clients: Vec<Client<'a>>,
    used: Cell<usize>,
    nodes: Vec<Node<'a>>,
    /// Since when the producer upstream has a transaction open, by partition.
    upstream: RefCell<Vec<Option<u64>>>,
    is_rough: Cell<bool>,
    /// How deep steps run inside of steps.
    depth: Cell<u32>,
    steps: Cell<u32>,
    failure: RefCell<Option<String>>,
    trace: Option<RefCell<Vec<String>>>,
}

impl<'a> World<'a> {
    pub fn new(setup: &'a Setup, chance: Chance, metrics: Arc<Metrics>, has_trace: bool) -> World<'a> {
        World {
            setup,
            cluster: RefCell::new(Cluster::new(setup.partitions, setup.nodes)),
            chance,
            metrics,
            clients: (0..CLIENTS).map(|_| Client::new()).collect(),
            used: Cell::new(0),
            nodes: (0..setup.nodes).map(|_| Node::default()).collect(),
            upstream: RefCell::new(vec![None; setup.partitions]),
            is_rough: Cell::new(true),
            depth: Cell::new(0),
            steps: Cell::new(0),
            failure: RefCell::new(None),
            trace: has_trace.then(RefCell::default),
        }
    }

    pub fn take_trace(&self) -> Vec<String> {
        self.trace.as_ref().map(RefCell::take).unwrap_or_default()
    }

    pub fn trace(&self, node: usize, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(format!("{:>6} {node}: {}", self.now(), line()));
        }
    }

    /// How many records of the traffic have come.
    fn arrived(&self) -> usize {
        self.cluster.borrow().arrivals.len()
    }

    fn now(&self) -> u64 {
        self.cluster.borrow().now
    }

    /// Runs from the first record to the last session.
    ///
    /// # Errors
    ///
    /// What was not as it must be.
    pub fn run(&'a self) -> Result<(), String> {
        let last = self.setup.traffic.iter().rev().nth(self.setup.partitions).map_or(0, |incoming| incoming.at);
        while self.now() < last + AFTERMATH && self.used.get() < ROUGH_CLIENTS {
            self.step()?;
        }
        self.calm_down();
        while !self.is_all_read() {
            self.step()?;
        }
        self.judge(checker::check_state)?;
        if self.setup.punctuates {
            self.nodes.iter().for_each(|node| node.skew.set(86_400_000));
        } else {
            (0..self.setup.partitions).for_each(|_| self.append_next());
        }
        while !(self.is_all_read() && checker::is_all_forgotten(self.setup, &self.cluster.borrow())) {
            self.step()?;
        }
        self.judge(|setup, cluster| {
            checker::check_state(setup, cluster)?;
            checker::check_output(setup, cluster)
        })
    }

    /// Asks a checker and the audit; either may find what the other does not.
    fn judge(&self, check: impl Fn(&Setup, &Cluster) -> Result<(), String>) -> Result<(), String> {
        let cluster = self.cluster.borrow();
        match (check(self.setup, &cluster), audited::check(self.setup, &cluster)) {
            (Err(problem), Err(more)) => Err(format!("{problem}\n{more}")),
            (checked, audited) => checked.and(audited),
        }
    }

    /// Ends the faults, and starts what is down.
    fn calm_down(&'a self) {
        self.trace(9, || "calm".to_owned());
        self.is_rough.set(false);
        for node in &self.nodes {
            node.up_at.set(0);
            node.skew.set(0);
        }
    }

    /// Whether all input has been read and committed, and nothing is under way.
    fn is_all_read(&self) -> bool {
        let cluster = self.cluster.borrow();
        let is_running = |node: &Node<'a>| {
            node.client.get().is_some_and(|client| self.clients[client].is_settled())
                && node.worker.borrow().as_ref().is_some_and(|worker| !worker.has_more())
        };
        let is_read = |partition: usize| {
            let last = cluster.input[partition].committed().last().map_or(0, |(offset, _)| offset + 1);
            cluster.group.offset(partition as i32).is_some_and(|offset| offset >= last)
        };
        cluster.arrivals.len() >= self.setup.traffic.len() - self.setup.partitions
            && cluster.is_settled()
            && cluster.group.is_settled()
            && self.nodes.iter().all(is_running)
            && (0..self.setup.partitions).all(is_read)
    }

    /// Lets some time pass, something happen, and one process take a turn.
    fn step(&'a self) -> Result<(), String> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > STEPS {
            return Err(format!("does not come to an end in {STEPS} steps"));
        }
        let by = match self.chance.below(20) {
            0 => self.chance.below(1_500),
            1..=4 => self.chance.below(200),
            _ => self.chance.below(30),
        };
        self.pass(by);
        if self.is_rough.get() {
            self.disturb();
        }
        let free: Vec<usize> = (0..self.nodes.len()).filter(|node| self.is_free(*node)).collect();
        if !free.is_empty() {
            self.turn(*self.chance.pick(&free));
        }
        self.failure.borrow_mut().take().map_or(Ok(()), Err)
    }

    /// Whether a process can take a turn, or be started.
    fn is_free(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        match node.client.get() {
            Some(_) => node.worker.borrow().is_some() && node.rests_until.get() <= self.now(),
            None => node.up_at.get() <= self.now() && self.used.get() < CLIENTS,
        }
    }

    /// Lets time pass, and input arrive.
    fn pass(&self, by: u64) {
        self.cluster.borrow_mut().advance(by, &self.chance);
        let now = self.now();
        let most = self.setup.traffic.len() - self.setup.partitions;
        let is_due = |next: usize| next < most && self.setup.traffic[next].at <= now;
        while is_due(self.arrived()) {
            self.append_next();
        }
        let is_rough = self.is_rough.get();
        for (partition, since) in self.upstream.borrow_mut().iter_mut().enumerate() {
            if since.is_some_and(|since| !is_rough || now > since + self.setup.upstream_open) {
                *since = None;
                let log = &mut self.cluster.borrow_mut().input[partition];
                log.mark(usize::MAX, self.chance.happens(800));
            }
        }
    }

    /// Appends the next record of the traffic to the input.
    fn append_next(&self) {
        let mut cluster = self.cluster.borrow_mut();
        let (number, now) = (cluster.arrivals.len(), cluster.now);
        let incoming = &self.setup.traffic[number];
        cluster.arrivals.push(now);
        let offset = cluster.input[incoming.partition].append(number, incoming.is_open.then_some(usize::MAX));
        drop(cluster);
        if incoming.is_open {
            self.upstream.borrow_mut()[incoming.partition].get_or_insert(now);
        }
        self.trace(9, || format!("input {} at {offset}: {:?}", incoming.partition, incoming.kind));
    }

    /// Disturbs the group, a process, a clock or a log, now and then.
    fn disturb(&'a self) {
        let often = |per_mille: u32| self.chance.happens(per_mille * self.setup.roughness / 10);
        if often(8) {
            self.trace(9, || "rebalance".to_owned());
            self.cluster.borrow_mut().group.disturb();
        }
        if often(3) {
            let members = self.cluster.borrow().group.members();
            if !members.is_empty() {
                let member = *self.chance.pick(&members);
                self.trace(9, || format!("member {member} put out"));
                self.cluster.borrow_mut().group.remove(member);
            }
        }
        if often(4) {
            self.stop(self.chance.below(self.nodes.len() as u64) as usize);
        }
        if !self.setup.has_true_clocks && often(3) {
            let node = self.chance.pick(&self.nodes);
            node.skew.set(self.chance.between(-20_000, 20_000));
        }
        if often(10) {
            self.compact(self.chance.below(self.setup.partitions as u64) as usize);
        }
        if self.setup.weakness == Some(Weakness::OffsetReset) && often(5) {
            let partition = self.chance.below(self.setup.partitions as u64) as i32;
            let mut cluster = self.cluster.borrow_mut();
            if let Some(offset) = cluster.group.offset(partition).filter(|offset| *offset > 0) {
                cluster.group.reset_offset(partition, offset - 1);
            }
        }
    }

    /// Compacts a changelog. Nulls stay while anybody may be half-way through it.
    fn compact(&self, partition: usize) {
        let drop_nulls = !self.clients[..self.used.get()].iter().any(|client| client.is_restoring(partition as i32));
        let limit = self.chance.between(0, self.cluster.borrow().changelog[partition].end());
        self.trace(9, || format!("compact {partition} to {limit}"));
        let log = &mut self.cluster.borrow_mut().changelog[partition];
        log.compact(limit, drop_nulls, |record| record.key.clone(), |record| record.value.is_none());
    }

    /// Stops a process as an operator would, if it is not in the middle of a turn.
    fn stop(&'a self, number: usize) {
        let node = &self.nodes[number];
        let Some(client) = node.client.get() else { return };
        let Some(mut worker) = node.worker.borrow_mut().take() else { return };
        self.trace(number, || "stop".to_owned());
        let result = worker.stop();
        drop(worker);
        node.client.set(None);
        node.up_at.set(self.now() + self.chance.below(5_000));
        match result {
            Ok(()) if self.clients[client].has_open_transaction() => {
                self.fail(format!("worker {number} stopped without a commit"));
            }
            Ok(()) if !self.clients[client].killed.get() => self.clients[client].close(),
            Ok(()) => {}
            Err(failure) => self.failed(number, client, &failure),
        }
    }

    /// Notes that a worker did what it must not do.
    pub fn fail(&self, problem: String) {
        self.failure.borrow_mut().get_or_insert(problem);
    }

    fn clock(&self, node: &Node<'a>) -> Now {
        let now = self.now();
        let wall = EPOCH + now as i64 + node.skew.get();
        let wall = Timestamp::from_ms(wall).expect("a time of this era");
        Now { wall, elapsed: Duration::from_millis(now - node.born.get()) }
    }

    /// Gives a process a turn of its loop, or starts it.
    fn turn(&'a self, number: usize) {
        let node = &self.nodes[number];
        let Some(client) = node.client.get() else { return self.start(number) };
        let Some(mut worker) = node.worker.borrow_mut().take() else { return };
        let result = worker.turn(self.clock(node));
        let is_killed = self.clients[client].killed.get();
        match result {
            Ok(rest) if !is_killed => {
                // After whatever the turn was: a restore, a transaction that is open, committed or rolled back.
                worker.partitions().for_each(|partition| partition.grouper().check_invariants());
                *node.worker.borrow_mut() = Some(worker);
                let wanted = self.clients[client].take_rest();
                if rest != wanted {
                    self.fail(format!("worker {number} rests for {rest:?} instead of {wanted:?}"));
                }
                // Or less: nothing may depend on it.
                node.rests_until.set(self.now() + self.chance.below(rest.as_millis() as u64 + 1));
            }
            result => {
                drop(worker);
                node.client.set(None);
                node.up_at.set(self.now() + self.chance.below(3_000));
                if let Err(failure) = result {
                    self.failed(number, client, &failure);
                }
            }
        }
    }

    fn start(&'a self, number: usize) {
        let node = &self.nodes[number];
        let client = self.used.get();
        self.used.set(client + 1);
        self.trace(number, || format!("start, process {client}"));
        self.clients[client].connect(self, number);
        let worker = Worker::new(&self.clients[client], Arc::clone(&self.setup.settings), Arc::clone(&self.metrics));
        node.client.set(Some(client));
        node.born.set(self.now());
        node.rests_until.set(0);
        *node.worker.borrow_mut() = Some(worker);
    }

    /// Notes why a worker ended. It is built again, unless it says that somebody has to look.
    fn failed(&self, number: usize, client: usize, failure: &Failure) {
        self.trace(number, || format!("ended: {failure:?}"));
        let client = &self.clients[client];
        if client.killed.get() {
            return;
        }
        match failure {
            // A client that is dropped leaves the group, if anybody hears it.
            Failure::Rebuild { .. } | Failure::Fenced { .. } | Failure::Away { .. } if self.chance.happens(500) => {
                client.close();
            }
            Failure::Rebuild { .. } | Failure::Fenced { .. } | Failure::Away { .. } => client.kill(),
            Failure::Refused { .. }
            | Failure::Input { .. }
            | Failure::State { .. }
            | Failure::Restore { .. }
            | Failure::Defect { .. } => {
                self.fail(format!("worker {number} stops: {failure:?}"));
            }
        }
    }

    /// Draws whether a fault happens.
    pub fn draw(&self, fault: Fault) -> bool {
        self.is_rough.get() && self.chance.happens(fault.per_mille() * self.setup.roughness / 10)
    }

    /// Whether a member that was put out has not heard of it yet.
    pub fn notices_late(&self) -> bool {
        self.is_rough.get() && self.chance.happens(700)
    }

    /// Lets something happen to a process at this point of a call.
    pub fn befall(&'a self, number: usize, client: &Client<'a>, step: &'static str) {
        if self.draw(Fault::Killed) {
            self.trace(number, || format!("killed at: {step}"));
            client.kill();
            return;
        }
        if self.depth.get() >= 2 {
            return;
        }
        if self.draw(Fault::Delayed) {
            self.trace(number, || format!("delayed at: {step}"));
            self.go_on_around(self.chance.below(1_500));
        }
        if self.draw(Fault::Frozen) {
            self.trace(number, || format!("frozen at: {step}"));
            client.set_silent(true);
            self.go_on_around(SESSION_TIMEOUT + self.chance.below(5_000));
            client.set_silent(false);
            self.trace(number, || "thawed".to_owned());
        }
    }

    /// Goes on with the others for a while.
    fn go_on_around(&'a self, span: u64) {
        let until = self.now() + span;
        self.depth.set(self.depth.get() + 1);
        while self.now() < until {
            if let Err(failure) = self.step() {
                self.fail(failure);
                break;
            }
        }
        self.depth.set(self.depth.get() - 1);
    }
}
