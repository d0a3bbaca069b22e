//! The group coordinator: who is a member, who shall own what, and how far the group has read.
//!
//! A rebalance waits until every member has answered, or has been silent for so long that it is put out; then the
//! generation rises and each member learns its share. A partition that changes hands is in nobody's share until the former
//! owner has given it up, which begins another rebalance.
//!
//! An offset that a transaction is about to commit is checked against generation and member, *not* against ownership, and
//! blocks the answer to "how far?" until the transaction is decided.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::Chance;
use super::log::ProducerNo;

/// How long a member may be silent.
pub const SESSION_TIMEOUT: u64 = 6_000;

/// A member refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    UnknownMember,
    IllegalGeneration,
}

#[derive(Debug)]
struct Member {
    /// What it says it owns.
    owned: BTreeSet<i32>,
    /// Whether it has answered the rebalance under way.
    joined: bool,
    /// Its share, until it asks for it.
    share: Option<BTreeSet<i32>>,
    /// Whether it has acted on its last share.
    settled: bool,
    /// Since when its process does not run.
    silent_since: Option<u64>,
}

#[derive(Debug)]
pub struct Group {
    partitions: Vec<i32>,
    pub generation: i32,
    members: BTreeMap<u32, Member>,
    next_member: u32,
    rebalancing: bool,
    /// Whether the next shares are drawn anew.
    shuffle: bool,
    /// Committed offsets with the number of the request that brought them.
    offsets: BTreeMap<i32, (i64, u64)>,
    pending: BTreeMap<ProducerNo, BTreeMap<i32, Pending>>,
    /// Where each process began to read, last time.
    starts: BTreeMap<(ProducerNo, i32), i64>,
    /// Where the one began that committed first: what is before was left out, if the newest was asked for.
    pub began: BTreeMap<i32, i64>,
    requests: u64,
    /// Commits that turned a partition back.
    pub went_back: Vec<(i32, i64, i64)>,
}

/// An offset in a transaction that is not decided.
#[derive(Debug)]
struct Pending {
    offset: i64,
    /// Where the process began to read.
    began: i64,
    request: u64,
}

impl Group {
    pub fn new(partitions: usize) -> Group {
        Group {
            partitions: (0..partitions as i32).collect(),
            generation: 0,
            members: BTreeMap::new(),
            next_member: 1,
            rebalancing: false,
            shuffle: false,
            offsets: BTreeMap::new(),
            pending: BTreeMap::new(),
            starts: BTreeMap::new(),
            began: BTreeMap::new(),
            requests: 0,
            went_back: Vec::new(),
        }
    }

    pub fn join(&mut self) -> u32 {
        let id = self.next_member;
        self.next_member += 1;
        let member = Member { owned: BTreeSet::new(), joined: false, share: None, settled: true, silent_since: None };
        self.members.insert(id, member);
        self.rebalancing = true;
        id
    }

    /// Removes a member: it left, or was put out.
    pub fn remove(&mut self, member: u32) {
        if self.members.remove(&member).is_some() {
            self.rebalancing = true;
        }
    }

    /// Begins a rebalance, in which partitions may change hands.
    pub fn disturb(&mut self) {
        self.rebalancing = true;
        self.shuffle = true;
    }

    pub fn contains(&self, member: u32) -> bool {
        self.members.contains_key(&member)
    }

    /// Returns the members' ids.
    pub fn members(&self) -> Vec<u32> {
        self.members.keys().copied().collect()
    }

    /// Whether everybody has its share, and every partition is in one.
    pub fn is_settled(&self) -> bool {
        let owned: usize = self.members.values().map(|member| member.owned.len()).sum();
        !self.rebalancing && self.members.values().all(|member| member.settled) && owned == self.partitions.len()
    }

    /// Notes that a member's process does not run, or runs again.
    pub fn set_silent(&mut self, member: u32, since: Option<u64>) {
        if let Some(member) = self.members.get_mut(&member) {
            member.silent_since = since;
        }
    }

    /// Returns the member's new share, once.
    pub fn take_share(&mut self, member: u32) -> Option<BTreeSet<i32>> {
        self.members.get_mut(&member)?.share.take()
    }

    /// Notes what the member owns now that it has acted on its share. Whoever gave something up asks for a rebalance.
    pub fn settle(&mut self, member: u32, owned: BTreeSet<i32>, gave_up: bool) {
        if let Some(member) = self.members.get_mut(&member) {
            member.owned = owned;
            member.settled = true;
            self.rebalancing |= gave_up;
        }
    }

    pub fn advance(&mut self, now: u64, chance: &Chance) {
        let silent = |member: &Member| member.silent_since.is_some_and(|since| now > since + SESSION_TIMEOUT);
        let put_out: Vec<u32> = self.members.iter().filter(|(_, member)| silent(member)).map(|(id, _)| *id).collect();
        put_out.into_iter().for_each(|member| self.remove(member));
        if !self.rebalancing {
            return;
        }
        for member in self.members.values_mut() {
            if member.silent_since.is_none() && member.settled && member.share.is_none() {
                member.joined |= chance.happens(500);
            }
        }
        if self.members.values().all(|member| member.joined) {
            self.share_out(chance);
        }
    }

    /// Ends the rebalance.
    fn share_out(&mut self, chance: &Chance) {
        self.generation += 1;
        self.rebalancing = false;
        let shuffle = std::mem::take(&mut self.shuffle);
        let ids = self.members();
        let mut shares: BTreeMap<u32, BTreeSet<i32>> = ids.iter().map(|id| (*id, BTreeSet::new())).collect();
        for partition in &self.partitions {
            if ids.is_empty() {
                break;
            }
            let owner = ids.iter().copied().find(|id| self.members[id].owned.contains(partition));
            let fewest = shares.iter().min_by_key(|(_, share)| share.len()).map(|(id, _)| *id).expect("a member");
            let crowded =
                owner.is_some_and(|owner| self.members[&owner].owned.len() > self.partitions.len().div_ceil(ids.len()));
            let wanted = match owner {
                Some(_) if shuffle && chance.happens(500) => *chance.pick(&ids),
                Some(owner) if !crowded || chance.happens(500) => owner,
                _ => fewest,
            };
            // Not before the owner has given it up.
            if owner.is_none_or(|owner| owner == wanted) {
                shares.entry(wanted).or_default().insert(*partition);
            }
        }
        for (id, share) in shares {
            let member = self.members.get_mut(&id).expect("a member");
            member.joined = false;
            member.settled = false;
            member.share = Some(share);
        }
    }

    /// Notes where a process begins to read.
    pub fn note_start(&mut self, producer: ProducerNo, partition: i32, offset: i64) {
        self.starts.insert((producer, partition), offset);
    }

    /// Notes offsets of a transaction. `None` is a consumer without a group: nobody checks it.
    pub fn note_offsets(
        &mut self,
        producer: ProducerNo,
        membership: Option<(u32, i32)>,
        offsets: &[(i32, i64)],
    ) -> Result<(), Refusal> {
        if let Some((member, generation)) = membership {
            if !self.members.contains_key(&member) {
                return Err(Refusal::UnknownMember);
            }
            if generation != self.generation {
                return Err(Refusal::IllegalGeneration);
            }
        }
        self.requests += 1;
        let request = self.requests;
        let pending = self.pending.entry(producer).or_default();
        for (partition, offset) in offsets {
            let began = self.starts.get(&(producer, *partition)).copied().unwrap_or(*offset);
            pending.insert(*partition, Pending { offset: *offset, began, request });
        }
        Ok(())
    }

    /// The producer's transaction is decided.
    pub fn decide_offsets(&mut self, producer: ProducerNo, commit: bool) {
        for (partition, Pending { offset, began, request }) in self.pending.remove(&producer).unwrap_or_default() {
            let known = self.offsets.get(&partition).copied();
            if commit && known.is_none_or(|(_, newest)| newest < request) {
                self.began.entry(partition).or_insert(began);
                if let Some((before, _)) = known.filter(|(before, _)| offset < *before) {
                    self.went_back.push((partition, before, offset));
                }
                self.offsets.insert(partition, (offset, request));
            }
        }
    }

    /// Returns the stable committed offset; `Err` while a transaction over it is undecided.
    pub fn stable_offset(&self, partition: i32) -> Result<Option<i64>, ()> {
        if self.pending.values().any(|pending| pending.contains_key(&partition)) {
            return Err(());
        }
        Ok(self.offset(partition))
    }

    /// Returns the committed offset, decided or not.
    pub fn offset(&self, partition: i32) -> Option<i64> {
        self.offsets.get(&partition).map(|(offset, _)| *offset)
    }

    /// Sets an offset as an operator would.
    pub fn reset_offset(&mut self, partition: i32, offset: i64) {
        self.requests += 1;
        self.offsets.insert(partition, (offset, self.requests));
    }
}
