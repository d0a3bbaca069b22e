//! Chaos: workers, an indexer and a broker of their own under live traffic, and faults at random until there were enough.
//! Between workers and broker is the proxy of [`crate::kafka::support::proxy`].
//!
//! ```sh
//! cargo test --test protocol -- kafka::chaos --nocapture                                    # 40 faults, about two minutes
//! CHAOS_FAULTS=1000 CHAOS_SEED=7 cargo test --test protocol -- kafka::chaos --nocapture     # a long run; a seed of the past
//! ```
//!
//! A seed gives the same traffic and the same faults in the same order; at which step of the protocol they strike depends
//! on the machine. In the end the audit reads everything: it is not told what the traffic was, and knows nothing of faults.
//!
//! Processes live and die with the main thread, so that one does all to them; the traffic comes from another thread.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use livesession::clock;
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::faults::DEFAULT_SWEEP;
use crate::kafka::refusals::{admin, block_on};
use crate::kafka::support::audit::{self, NEVER_IDLE};
use crate::kafka::support::broker::{self, Broker, wait_until};
use crate::kafka::support::deployment::{Deployment, wait};
use crate::kafka::support::live::{self, Live};
use crate::kafka::support::process::Worker;
use crate::kafka::support::proxy::Action::{Answer, Cut, Delay, Swallow};
use crate::kafka::support::proxy::Side::{Request, Response};
use crate::kafka::support::proxy::{self, Action, Api, NOT_COORDINATOR, Proxy, Side, Struck};
use crate::kafka::support::traffic::{RULES, Random};
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] =
    &[Test { name: "trouble_of_every_kind_loses_and_doubles_nothing", body: Body::Launched(everything) }];

/// How many faults there have to be.
const FAULTS: &str = "CHAOS_FAULTS";
/// Which ones.
const SEED: &str = "CHAOS_SEED";

const PARTITIONS: i32 = 4;
/// Between two batches of traffic.
const PAUSE: Duration = Duration::from_millis(20);
/// In a batch, of each partition.
const BATCH: usize = 20;

const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
const TIMEOUTS: &str = r#"
    kafka.transaction_timeout = "3s"
    kafka.session_timeout = "4s"
    kafka.max_poll_interval = "6s"
"#;
/// How long everything may take once nothing goes wrong any more: a restore, a rebalance, a transaction that times out.
const QUIET: Duration = Duration::from_secs(120);

/// What a worker may say when it ends by itself: brokers are away, try again. A supervisor starts it anew.
const TRY_AGAIN: [i32; 2] = [69, 75];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    Kill,
    Freeze,
    Restart,
    ScaleUp,
    ScaleDown,
    KillIndexer,
    KillBroker,
    Network,
}

/// A deck from which faults are drawn: each kind comes, and comes again only when all have come.
const DECK: [(Fault, usize); 8] = [
    (Fault::Kill, 5),
    (Fault::Freeze, 3),
    (Fault::Restart, 3),
    (Fault::ScaleUp, 1),
    (Fault::ScaleDown, 1),
    (Fault::KillIndexer, 2),
    (Fault::KillBroker, 1),
    (Fault::Network, 4),
];

/// What a network does to frames of these kinds. Beside it, now and then, it forgets all of its connections.
const NETWORK: [(Api, Side, Action); 14] = [
    (Api::END_TXN, Response, Cut),
    (Api::END_TXN, Response, Swallow),
    (Api::END_TXN, Response, Delay(Duration::from_millis(300))),
    (Api::END_TXN, Request, Cut),
    (Api::END_TXN, Request, Swallow),
    (Api::END_TXN, Request, Answer(NOT_COORDINATOR)),
    (Api::TXN_OFFSET_COMMIT, Response, Cut),
    (Api::TXN_OFFSET_COMMIT, Request, Delay(Duration::from_millis(500))),
    (Api::PRODUCE, Response, Cut),
    (Api::PRODUCE, Request, Delay(Duration::from_millis(200))),
    (Api::INIT_PRODUCER_ID, Response, Cut),
    (Api::OFFSET_FETCH, Response, Swallow),
    (Api::JOIN_GROUP, Response, Cut),
    (Api::HEARTBEAT, Response, Swallow),
];

/// A process that is there, gone, or frozen until some moment.
struct Slot {
    name: String,
    /// Settings of its own.
    own: String,
    process: Option<Worker>,
    frozen_until: Option<Instant>,
}

impl Slot {
    fn new(name: &str, own: String) -> Slot {
        Slot { name: name.to_owned(), own, process: None, frozen_until: None }
    }

    fn start(&mut self, deployment: &Deployment, command: &str) {
        assert!(self.process.is_none(), "{} is running", self.name);
        let settings = deployment.settings.clone().with(&self.own);
        self.process = Some(Worker::start_as(&self.name, command, &settings, &[]));
        self.frozen_until = None;
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
        self.frozen_until = None;
    }

    /// Ends it in order. It may have ended by itself before.
    fn stop(&mut self, own_ends: &mut usize) {
        self.thaw();
        if let Some(mut process) = self.process.take() {
            let code = if process.has_ended() { process.wait_exit(QUIET) } else { process.terminate() };
            let has_tried = TRY_AGAIN.contains(&code);
            *own_ends += usize::from(has_tried);
            assert!(code == 0 || has_tried, "{} ended with {code}\n{}", self.name, process.log());
        }
    }

    fn thaw(&mut self) {
        if self.frozen_until.take().is_some()
            && let Some(process) = &self.process
        {
            process.thaw();
        }
    }
}

struct Chaos<'a> {
    broker: &'a Broker,
    proxy: &'a Proxy,
    deployment: &'a Deployment,
    random: Random,
    deck: Vec<Fault>,
    workers: Vec<Slot>,
    indexer: Slot,
    counts: BTreeMap<Fault, usize>,
    /// What the proxy has done.
    struck: Vec<Struck>,
    /// How many connections it made half-open.
    silenced: usize,
    /// Processes that ended with `TRY_AGAIN`.
    own_ends: usize,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn everything() -> Result<(), String> {
    let (_controller, broker) = Broker::launch_apart(DEFAULT_SWEEP)?;
    let faults = usize::try_from(number(FAULTS).unwrap_or(40)).unwrap();
    let seed = number(SEED).unwrap_or_else(|| clock::now().as_ms().unsigned_abs() % 100_000);
    eprintln!("{SEED}={seed} {FAULTS}={faults}");
    // Before the workers: it ends when all of its connections have.
    let proxy = broker.proxy();
    let mut deployment = Deployment::without_topics(&broker, PARTITIONS);
    let index = broker::temporary().join(format!("{}.db", deployment.name));
    let own = format!("index.path = {index:?}\nkafka.brokers = [\"{}\"]", proxy.bootstrap());
    deployment.settings = deployment.settings.with(RULES).with(live::LIMIT).with(TIMEOUTS).with(&own);
    for topic in [&deployment.input, &deployment.output, &deployment.dead_letter] {
        deployment.create(topic, PARTITIONS, &[]);
    }
    // Compacted at once, so that restores meet it while it happens.
    let compacted = [("cleanup.policy", "compact"), ("segment.ms", "5000"), ("min.cleanable.dirty.ratio", "0.1")];
    deployment.create(&deployment.changelog, PARTITIONS, &compacted);

    let worker = |name: &str, interval: &str| {
        let id = format!("transactional_id = \"{}-{name}\"", deployment.name);
        Slot::new(name, format!("{id}\nkafka.commit_interval = {interval:?}\nkafka.commit_max_records = 50"))
    };
    let mut chaos = Chaos {
        broker: &broker,
        proxy: &proxy,
        deployment: &deployment,
        random: Random::new(seed),
        deck: Vec::new(),
        // Many small transactions, and some that stay open for long.
        workers: vec![worker("a", "20ms"), worker("b", "150ms"), worker("c", "600ms")],
        indexer: Slot::new("indexer", String::new()),
        counts: BTreeMap::new(),
        struck: Vec::new(),
        silenced: 0,
        own_ends: 0,
    };
    let since = clock::instant();
    let end = AtomicBool::new(false);
    let records = std::thread::scope(|scope| {
        // However this thread ends, the other one has to.
        let _end = OnDrop(|| end.store(true, Ordering::Release));
        let traffic = scope.spawn(|| produce(&deployment, seed, &end));
        chaos.run(faults);
        end.store(true, Ordering::Release);
        traffic.join().expect("the traffic goes on, whatever happens")
    });
    let (read, took) = (chaos.progress(), since.elapsed());
    eprintln!();
    chaos.settle();
    let Chaos { counts, own_ends, struck, silenced, .. } = chaos;
    let frames: u64 = struck.iter().map(Struck::count).sum();
    eprintln!("{counts:?}, ended by themselves: {own_ends}; frames struck: {frames}, connections silenced: {silenced}");
    eprintln!("{records} records, {read} of them read amid faults, in {} s", took.as_secs());
    let clean = audit::assert_clean(&deployment, &[NEVER_IDLE, "--gap", "3m", "--index", index.to_str().unwrap()]);
    eprintln!("{clean}");
    verify_index(&deployment);
    remove_half(&deployment);
    let half = audit::audit_by_file(&deployment, &[NEVER_IDLE]);
    assert_eq!(half.code, 0, "{}", half.text);
    assert!(half.text.contains("not judged, since what was removed may have touched them"), "{}", half.text);
    let whole_deck: usize = DECK.iter().map(|(_, count)| count).sum();
    assert!(frames > 0 || faults < whole_deck, "the network did nothing");
    for suffix in ["", "-wal", "-shm"] {
        // A file that stays behind only takes space.
        let _ = fs::remove_file(format!("{}{suffix}", index.display()));
    }
    Ok(())
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Writes notifications until `end`, then what was still under way. Returns how many.
fn produce(deployment: &Deployment, seed: u64, end: &AtomicBool) -> usize {
    let mut partitions: Vec<Live> = (0..PARTITIONS).map(|partition| Live::new(seed, partition)).collect();
    let mut records = 0;
    let mut write = |partition: usize, batch: &[_]| {
        records += batch.len();
        deployment.produce(i32::try_from(partition).unwrap(), batch);
    };
    while !end.load(Ordering::Acquire) {
        for (partition, live) in partitions.iter_mut().enumerate() {
            let batch: Vec<_> = (0..BATCH).map(|_| live.next()).collect();
            write(partition, &batch);
        }
        wait_until(PAUSE, || end.load(Ordering::Acquire));
    }
    for (partition, live) in partitions.iter_mut().enumerate() {
        write(partition, &live.rest());
    }
    records
}

/// Removes half of the input, as retention would.
fn remove_half(deployment: &Deployment) {
    let mut list = TopicPartitionList::new();
    for (partition, end) in (0..).zip(deployment.ends(&deployment.input)) {
        list.add_partition_offset(&deployment.input, partition, Offset::Offset(end / 2)).unwrap();
    }
    block_on(admin(deployment).delete_records(&list, &AdminOptions::new())).unwrap();
}

/// Has the program itself compare its index with the topic.
fn verify_index(deployment: &Deployment) {
    let file = broker::temporary().join(format!("{}.toml", deployment.name));
    fs::write(&file, deployment.settings.toml()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_livesession"));
    let output = command.args(["index", "verify", "--config"]).arg(&file).env_clear().output().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{output:?}");
}

impl Chaos<'_> {
    fn run(&mut self, faults: usize) {
        for worker in &mut self.workers {
            worker.start(self.deployment, "run");
        }
        self.indexer.start(self.deployment, "index");
        self.workers[0].process.as_mut().expect("just started").wait_ready();
        for _ in 0..faults {
            let fault = self.draw();
            eprint!("{fault:?} ");
            self.strike(fault);
            *self.counts.entry(fault).or_default() += 1;
            let pause = Duration::from_millis(300 + self.random.below(2_700));
            let until = clock::instant() + pause;
            wait_until(pause, || {
                self.look_after();
                clock::instant() >= until
            });
        }
    }

    fn draw(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = DECK.iter().flat_map(|(fault, count)| vec![*fault; *count]).collect();
        }
        let at = self.random.below(self.deck.len() as u64) as usize;
        self.deck.swap_remove(at)
    }

    /// Returns one of the workers that are there, or of those that are not.
    fn pick(&mut self, is_there: bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.workers.len())
            .filter(|index| {
                let worker = &self.workers[*index];
                worker.process.is_some() == is_there && worker.frozen_until.is_none()
            })
            .collect();
        if found.is_empty() {
            return None;
        }
        let at = self.random.below(found.len() as u64) as usize;
        Some(found[at])
    }

    /// Waits for a worker that is neither gone nor frozen.
    fn wait_pick(&mut self) -> usize {
        let mut found = None;
        wait("a worker that runs", || {
            self.look_after();
            found = self.pick(true);
            found.is_some()
        });
        found.expect("just waited for it")
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                let victim = self.wait_pick();
                self.workers[victim].kill();
                self.workers[victim].start(self.deployment, "run");
            }
            Fault::Freeze => {
                let victim = self.wait_pick();
                let worker = &mut self.workers[victim];
                worker.process.as_ref().expect("it runs").freeze();
                worker.frozen_until = Some(clock::instant() + SESSION_TIMEOUT.mul_f32(1.5));
            }
            Fault::Restart => {
                let victim = self.wait_pick();
                self.workers[victim].stop(&mut self.own_ends);
                self.workers[victim].start(self.deployment, "run");
            }
            // Without one to start or to spare, the other way round.
            Fault::ScaleUp => match self.pick(false) {
                Some(index) => self.workers[index].start(self.deployment, "run"),
                None => {
                    let index = self.wait_pick();
                    self.workers[index].stop(&mut self.own_ends);
                }
            },
            Fault::ScaleDown => {
                if self.workers.iter().filter(|worker| worker.process.is_some()).count() > 2 {
                    let index = self.wait_pick();
                    self.workers[index].stop(&mut self.own_ends);
                } else if let Some(index) = self.pick(false) {
                    self.workers[index].start(self.deployment, "run");
                }
            }
            Fault::KillIndexer => {
                self.indexer.kill();
                self.indexer.start(self.deployment, "index");
            }
            Fault::KillBroker => {
                self.broker.kill9();
                self.broker.start();
            }
            Fault::Network => {
                let kind = self.random.below(NETWORK.len() as u64 + 1) as usize;
                let times = 1 + self.random.below(3);
                match NETWORK.get(kind) {
                    Some((api, side, action)) => {
                        let fault = proxy::Fault::new(*api, *side, *action).every(2).times(times);
                        self.struck.push(self.proxy.inject(fault));
                    }
                    None => self.silenced += self.proxy.silence(),
                }
            }
        }
    }

    /// Thaws what has slept long enough, and starts anew what has ended as a process may.
    fn look_after(&mut self) {
        for (slot, command) in self.workers.iter_mut().map(|slot| (slot, "run")).chain([(&mut self.indexer, "index")]) {
            if slot.frozen_until.is_some_and(|until| clock::instant() >= until) {
                slot.thaw();
            }
            if slot.process.as_mut().is_some_and(Worker::has_ended) {
                slot.stop(&mut self.own_ends);
                slot.start(self.deployment, command);
            }
        }
    }

    /// Returns how many records the group has read.
    fn progress(&self) -> i64 {
        self.deployment.committed().into_iter().flatten().sum()
    }

    /// Lets the workers finish, then ends them in order.
    fn settle(&mut self) {
        self.proxy.heal();
        self.workers.iter_mut().for_each(Slot::thaw);
        if self.workers[0].process.is_none() {
            self.workers[0].start(self.deployment, "run");
        }
        let read = wait_until(QUIET, || {
            self.look_after();
            self.deployment.is_read()
        });
        let ends = self.deployment.ends(&self.deployment.input);
        assert!(read, "not read after {QUIET:?}: {:?} of {ends:?}", self.deployment.committed());
        for slot in &mut self.workers {
            slot.stop(&mut self.own_ends);
        }
        let mut lags = Vec::new();
        let indexed = wait_until(QUIET, || {
            self.look_after_indexer();
            let series = |partition| format!("livesession_index_lag_records{{partition=\"{partition}\"}}");
            let indexer = self.indexer.process.as_ref().expect("it is looked after");
            lags = (0..PARTITIONS).map(|partition| indexer.metric(&series(partition))).collect();
            lags.iter().all(|lag| *lag == Some(0.0))
        });
        assert!(indexed, "the indexer stays behind: {lags:?}");
        self.indexer.stop(&mut self.own_ends);
    }

    fn look_after_indexer(&mut self) {
        if self.indexer.process.as_mut().is_some_and(Worker::has_ended) {
            self.indexer.stop(&mut self.own_ends);
            self.indexer.start(self.deployment, "index");
        }
    }
}
