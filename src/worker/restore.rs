//! Partitions that were assigned: from the changelog to the first record.

use std::time::Duration;

use tracing::{info, warn};

use super::{Failure, Now, Owned, RESTORE_SLICE, Running, Worker, begin};
use crate::clock;
use crate::metrics::{self, Phase};
use crate::partition::{Partition, Start};
use livesession_formats::changelog::{self, Reducer};
use livesession_kafka::{Broker, Restored};

impl<B: Broker> Worker<'_, B> {
    /// Begins to restore partitions that are ours from now on.
    pub(super) fn assigned(&mut self, partitions: &[i32], now: Now) -> Result<(), Failure> {
        info!(?partitions, "partitions assigned");
        self.metrics.record_rebalance(metrics::Rebalance::Assign);
        self.is_member = true;
        for partition in partitions {
            self.broker.begin_restore(*partition)?;
            let restoring = Owned::Restoring { reducer: Box::default(), since: now.elapsed, doubt: None };
            self.owned.insert(*partition, restoring);
            self.metrics.assigned(*partition);
            self.metrics.set_restoring(*partition, 0);
        }
        Ok(())
    }

    /// Restores a slice of what was assigned. With nothing to restore it lets go of what was taken away meanwhile.
    pub(super) fn step_restore(&mut self, now: Now) -> Result<(), Failure> {
        let start = clock::instant();
        let mut unreadable: Option<(i32, changelog::Error)> = None;
        let owned = &mut self.owned;
        let progress = self.broker.step_restore(RESTORE_SLICE, &mut |partition, key, value| {
            if let Some(Owned::Restoring { reducer, .. }) = owned.get_mut(&partition)
                && let Err(error) = reducer.apply(key, value)
            {
                unreadable.get_or_insert((partition, error));
            }
        })?;
        if let Some((partition, error)) = unreadable {
            return Err(Failure::Restore { partition, source: Box::new(error.into()) });
        }
        let under_way = self.owned.iter().filter(|(_, owned)| matches!(owned, Owned::Restoring { .. }));
        for (index, (partition, _)) in under_way.enumerate() {
            // The figure is a sum over the partitions under way; the first one carries it.
            self.metrics.set_restoring(*partition, if index == 0 { progress.remaining } else { 0 });
        }
        for restored in progress.restored {
            if self.transaction.is_some() && restored.records > 0 {
                // A large state takes seconds to build, and a transaction that waits so long can be over before.
                self.commit(self.settings.commit_timeout)?;
            }
            self.restored(restored, now)?;
        }
        self.metrics.record_time(Phase::Restore, start.elapsed());
        Ok(())
    }

    /// Starts a partition whose changelog was read; looks at it once more if it makes no sense.
    ///
    /// A worker that has been put out of the group and does not know it yet sees what the next owner writes: a marker
    /// beyond the offset that it had asked for, or a log without what compaction has replaced since. The poll in between
    /// tells, or else the second look is all of one time. Only what it finds again is there to stay.
    fn restored(&mut self, restored: Restored, now: Now) -> Result<(), Failure> {
        let partition = restored.partition;
        let Some(Owned::Restoring { reducer, since, doubt }) = self.owned.get_mut(&partition) else { return Ok(()) };
        let (reducer, since, doubt) = (std::mem::take(reducer), *since, doubt.take());
        let Err(failure) = self.start(restored, reducer, since, now) else { return Ok(()) };
        let (Failure::State { .. } | Failure::Restore { .. }) = &failure else { return Err(failure) };
        let problem = crate::text::chain(&failure);
        if doubt.as_ref() == Some(&problem) {
            return Err(failure);
        }
        warn!(partition, problem, "restored state is inconsistent, reading the changelog again");
        self.broker.begin_restore(partition)?;
        let restoring = Owned::Restoring { reducer: Box::default(), since, doubt: Some(problem) };
        self.owned.insert(partition, restoring);
        Ok(())
    }

    /// Starts a partition, if the changelog and the group agree on where.
    fn start(&mut self, restored: Restored, reducer: Box<Reducer>, since: Duration, now: Now) -> Result<(), Failure> {
        let partition = restored.partition;
        let (policy, key_parts) = (self.settings.policy.clone(), self.settings.rules.key_parts);
        let state = Partition::restore(policy.clone(), key_parts, *reducer)
            .map_err(|source| Failure::Restore { partition, source: Box::new(source) })?;
        let state_problem = |problem: String| Failure::State { partition, problem };
        let group = &self.settings.application_id;
        let input = &self.settings.topics.input;
        let is_marker_checked = self.broker.safeguards().marker();
        let (state, is_fresh) = match (state, restored.committed) {
            (Some(state), Some(committed)) if state.next_offset() == committed || !is_marker_checked => (state, false),
            (Some(state), committed) => {
                let next = state.next_offset();
                let found = committed.map_or("no offset".to_owned(), |committed| format!("offset {committed}"));
                return Err(state_problem(format!(
                    "the changelog goes to offset {next}, the group has {found}: somebody reset it, the brokers forgot \
                     it, or {input} is not the input it was. For the same input set it back: kafka-consumer-groups \
                     --bootstrap-server BROKERS --group {group} --topic {input}:{partition} --reset-offsets --to-offset \
                     {next} --execute"
                )));
            }
            (None, Some(committed)) => {
                return Err(state_problem(format!(
                    "the group is at offset {committed}, but the changelog {} is empty: it was deleted or truncated. To \
                     start from nothing use a new application_id and output topic",
                    self.settings.topics.changelog
                )));
            }
            (None, None) => {
                let ends = self.broker.log_ends(partition, Duration::from_secs(10))?;
                let next = match self.settings.start {
                    Start::Earliest => ends.start,
                    Start::Latest => ends.end,
                };
                (Partition::new(policy, key_parts, next), true)
            }
        };
        let trusted = restored.committed.filter(|_| !is_marker_checked);
        let offset = trusted.unwrap_or(state.next_offset());
        info!(
            partition,
            offset,
            records = restored.records,
            sessions = state.grouper().sessions(),
            segments = state.grouper().segments(),
            is_fresh,
            "restored partition"
        );
        self.metrics.restored(partition, now.elapsed.saturating_sub(since));
        let mut running = Box::new(Running { state, moved: now.elapsed, has_more: false, is_new: is_fresh });
        if is_fresh {
            // Where it begins is a decision, and the first thing to be committed: else `latest` would be another place
            // after a restart.
            begin(self.broker, &mut self.transaction)?.touch(partition, &mut running.state);
        }
        // A crash may have come between two slices of a mass close.
        running.has_more = running.state.has_due();
        self.owned.insert(partition, Owned::Running(running));
        self.broker.start(partition, offset)?;
        Ok(())
    }
}
