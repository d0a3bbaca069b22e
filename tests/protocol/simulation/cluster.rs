//! A model of Kafka: logs, the transaction coordinator, and what is under way between them.
//!
//! As much of the broker as the protocol of the worker leans on, and none of its code. What matters here:
//!
//! * a transactional id has an epoch; taking the id over raises it, aborts what is open, and fences the former owner;
//! * a decision becomes visible log by log, when the marker arrives there, the group's offsets among them;
//! * a commit request without an epoch of its own decides whatever is open (KAFKA-17754): one that was delayed may decide
//!   the next transaction; offsets that were delayed are taken for those of the next transaction;
//! * a transaction that stays open too long is aborted, and its producer fenced.

use std::collections::BTreeSet;

use super::chance::Chance;
use super::group::{Group, Refusal};
use super::log::{Log, ProducerNo};

/// How long a transaction may stay open, and how often the coordinator looks.
pub const TRANSACTION_TIMEOUT: u64 = 5_000;
const SWEEP: u64 = 1_000;

/// A record of the output, the dead letters or the changelog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Where a transaction has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Output,
    DeadLetters,
    Changelog(i32),
    Offsets,
}

/// Why the coordinator refuses a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerRefusal {
    /// A newer epoch exists.
    Fenced,
    /// There is no such transaction, or it was decided otherwise.
    InvalidState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    None,
    Open { since: u64 },
    Made { commit: bool },
}

#[derive(Debug)]
struct Producer {
    epoch: i32,
    decision: Decision,
    places: BTreeSet<Place>,
}

/// A marker on its way to a log.
#[derive(Debug)]
struct Marker {
    at: u64,
    place: Place,
    producer: ProducerNo,
    commit: bool,
}

/// A request that was sent and has not arrived.
#[derive(Debug)]
struct Delayed {
    at: u64,
    producer: ProducerNo,
    epoch: i32,
    what: Request,
}

#[derive(Debug)]
pub enum Request {
    /// Commit or abort.
    End {
        commit: bool,
    },
    Offsets {
        membership: Option<(u32, i32)>,
        offsets: Vec<(i32, i64)>,
    },
}

#[derive(Debug)]
pub struct Cluster {
    /// Milliseconds since the world began.
    pub now: u64,
    /// Records by their number in the traffic.
    pub input: Vec<Log<usize>>,
    /// When each record of the traffic came.
    pub arrivals: Vec<u64>,
    pub output: Log<Written>,
    pub dead_letters: Log<Written>,
    pub changelog: Vec<Log<Written>>,
    pub group: Group,
    producers: Vec<Producer>,
    markers: Vec<Marker>,
    delayed: Vec<Delayed>,
}

impl Cluster {
    pub fn new(partitions: usize, nodes: usize) -> Cluster {
        let producer = || Producer { epoch: 0, decision: Decision::None, places: BTreeSet::new() };
        Cluster {
            now: 0,
            input: (0..partitions).map(|_| Log::new()).collect(),
            arrivals: Vec::new(),
            output: Log::new(),
            dead_letters: Log::new(),
            changelog: (0..partitions).map(|_| Log::new()).collect(),
            group: Group::new(partitions),
            producers: (0..nodes).map(|_| producer()).collect(),
            markers: Vec::new(),
            delayed: Vec::new(),
        }
    }

    /// Lets time pass: markers and delayed requests arrive, what is too old is aborted, who is silent is put out.
    pub fn advance(&mut self, by: u64, chance: &Chance) {
        self.now += by;
        let now = self.now;
        let (arrived, under_way) = std::mem::take(&mut self.markers).into_iter().partition(|marker| marker.at <= now);
        self.markers = under_way;
        self.write_markers(arrived);
        let (arrived, under_way) =
            std::mem::take(&mut self.delayed).into_iter().partition::<Vec<_>, _>(|request| request.at <= now);
        self.delayed = under_way;
        self.take(arrived, chance);
        for producer in 0..self.producers.len() {
            if let Decision::Open { since } = self.producers[producer].decision
                && now > since + TRANSACTION_TIMEOUT + SWEEP
            {
                self.decide(producer, false, chance);
                self.producers[producer].epoch += 1;
            }
        }
        self.group.advance(now, chance);
    }

    /// Takes a transactional id over; returns its new epoch.
    pub fn init(&mut self, producer: ProducerNo, chance: &Chance) -> i32 {
        if let Decision::Open { .. } = self.producers[producer].decision {
            self.decide(producer, false, chance);
        }
        self.finish(producer);
        let entry = &mut self.producers[producer];
        entry.epoch += 1;
        entry.decision = Decision::None;
        entry.epoch
    }

    /// Adds a place to the transaction, beginning it if there is none.
    pub fn add_place(&mut self, producer: ProducerNo, epoch: i32, place: Place) -> Result<(), ProducerRefusal> {
        self.check(producer, epoch)?;
        self.finish(producer);
        let now = self.now;
        let entry = &mut self.producers[producer];
        if !matches!(entry.decision, Decision::Open { .. }) {
            entry.decision = Decision::Open { since: now };
            entry.places.clear();
        }
        entry.places.insert(place);
        Ok(())
    }

    /// Appends a record of a transaction to a place that was added to it.
    pub fn produce(
        &mut self,
        producer: ProducerNo,
        epoch: i32,
        place: Place,
        record: Written,
    ) -> Result<(), ProducerRefusal> {
        self.check(producer, epoch)?;
        let entry = &self.producers[producer];
        if !matches!(entry.decision, Decision::Open { .. }) || !entry.places.contains(&place) {
            return Err(ProducerRefusal::InvalidState);
        }
        self.log(place).expect("offsets are not produced").append(record, Some(producer));
        Ok(())
    }

    /// Notes the offsets that the transaction is to commit.
    pub fn commit_offsets(
        &mut self,
        (producer, epoch): (ProducerNo, i32),
        membership: Option<(u32, i32)>,
        offsets: &[(i32, i64)],
        chance: &Chance,
    ) -> Result<Result<(), Refusal>, ProducerRefusal> {
        self.add_place(producer, epoch, Place::Offsets)?;
        let noted = self.group.note_offsets(producer, membership, offsets);
        if chance.happens(500) {
            // What is late arrives whenever it will. Where it does harm there is little time, so here it comes often.
            let is_late =
                |request: &mut Delayed| request.producer == producer && matches!(request.what, Request::Offsets { .. });
            let late: Vec<Delayed> = self.delayed.extract_if(.., is_late).collect();
            self.take(late, chance);
        }
        Ok(noted)
    }

    /// Decides what the producer has open.
    pub fn end_transaction(
        &mut self,
        producer: ProducerNo,
        epoch: i32,
        commit: bool,
        chance: &Chance,
    ) -> Result<(), ProducerRefusal> {
        self.check(producer, epoch)?;
        match self.producers[producer].decision {
            Decision::Open { .. } => {
                self.decide(producer, commit, chance);
                Ok(())
            }
            Decision::Made { commit: made } if made == commit => Ok(()),
            _ => Err(ProducerRefusal::InvalidState),
        }
    }

    /// Sends a request that arrives later, if its epoch still counts then.
    pub fn delay(&mut self, producer: ProducerNo, epoch: i32, what: Request, by: u64) {
        self.delayed.push(Delayed { at: self.now + by, producer, epoch, what });
    }

    /// Takes requests to whose answer nobody listens any more.
    fn take(&mut self, late: Vec<Delayed>, chance: &Chance) {
        for Delayed { producer, epoch, what, .. } in late {
            match what {
                Request::End { commit } => drop(self.end_transaction(producer, epoch, commit, chance)),
                Request::Offsets { membership, offsets } => {
                    self.take_late_offsets(producer, epoch, membership, &offsets);
                }
            }
        }
    }

    /// Takes offsets for those of whatever transaction of that epoch says now that it has some.
    fn take_late_offsets(
        &mut self,
        producer: ProducerNo,
        epoch: i32,
        membership: Option<(u32, i32)>,
        offsets: &[(i32, i64)],
    ) {
        let entry = &self.producers[producer];
        let is_open = matches!(entry.decision, Decision::Open { .. }) && entry.places.contains(&Place::Offsets);
        if entry.epoch == epoch && is_open {
            let _ = self.group.note_offsets(producer, membership, offsets);
        }
    }

    /// Whether nothing is open or under way.
    pub fn is_settled(&self) -> bool {
        let is_open = |producer: &Producer| matches!(producer.decision, Decision::Open { .. });
        self.markers.is_empty() && !self.producers.iter().any(is_open)
    }

    fn check(&self, producer: ProducerNo, epoch: i32) -> Result<(), ProducerRefusal> {
        if self.producers[producer].epoch == epoch { Ok(()) } else { Err(ProducerRefusal::Fenced) }
    }

    /// Makes the decision, and sends the markers off: each arrives when it will.
    fn decide(&mut self, producer: ProducerNo, commit: bool, chance: &Chance) {
        let places = std::mem::take(&mut self.producers[producer].places);
        self.producers[producer].decision = Decision::Made { commit };
        let slow = chance.happens(300);
        for place in places {
            let at = self.now + if slow { chance.below(1_500) } else { 0 };
            self.markers.push(Marker { at, place, producer, commit });
        }
        let now = self.now;
        let (arrived, under_way) = std::mem::take(&mut self.markers).into_iter().partition(|marker| marker.at <= now);
        self.markers = under_way;
        self.write_markers(arrived);
    }

    /// Waits for the markers of the producer's last transaction, as the coordinator makes its producer do.
    fn finish(&mut self, producer: ProducerNo) {
        let (own, others) =
            std::mem::take(&mut self.markers).into_iter().partition(|marker| marker.producer == producer);
        self.markers = others;
        self.write_markers(own);
    }

    fn write_markers(&mut self, markers: Vec<Marker>) {
        for Marker { place, producer, commit, .. } in markers {
            match self.log(place) {
                Some(log) => log.mark(producer, commit),
                None => self.group.decide_offsets(producer, commit),
            }
        }
    }

    fn log(&mut self, place: Place) -> Option<&mut Log<Written>> {
        match place {
            Place::Output => Some(&mut self.output),
            Place::DeadLetters => Some(&mut self.dead_letters),
            Place::Changelog(partition) => Some(&mut self.changelog[partition as usize]),
            Place::Offsets => None,
        }
    }
}
