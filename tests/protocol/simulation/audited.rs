//! The audit, which operators run over a real deployment, run over the logs of a simulated one.
//!
//! It knows as little here as there: four topics and the group's offsets. So the worker has to satisfy two judges that
//! share no code, and the audit has to find nothing in thousands of worlds that are in order.

use std::collections::{BTreeMap, BTreeSet};

use livesession::worker::Topics;

use super::cluster::{Cluster, Written};
use super::log::Log;
use super::traffic::{GAP, MAX_CLOCK_SKEW};
use super::world::Setup;
use livesession_audit::audit::{Audit, Ends, Told, Trimmed};
use livesession_audit::record::Record;

/// How what the audit has found begins.
pub const FOUND: &str = "audit:\n";

/// Audits what a reader of committed records finds, when everything has been read and nothing is under way.
pub fn check(setup: &Setup, cluster: &Cluster) -> Result<(), String> {
    let Topics { input, output, dead_letter, changelog, .. } = setup.settings.topics.clone();
    let told = Told {
        input,
        output,
        dead_letters: dead_letter,
        changelog,
        group: setup.settings.application_id.clone(),
        max_clock_skew: MAX_CLOCK_SKEW,
        gap: Some(GAP),
        never_idle: !setup.punctuates,
        settings_changed: false,
    };
    // What came before a group that began at the end is nothing that it has to answer for.
    let began: BTreeMap<i32, i64> =
        cluster.group.began.iter().map(|(partition, offset)| (*partition, *offset)).filter(|(_, at)| *at > 0).collect();
    let mut audit = Audit::new(told, Trimmed { input: began.clone(), output: BTreeSet::new() });
    for (partition, log) in (0..).zip(&cluster.changelog) {
        written(log, partition).for_each(|record| audit.changelog(record));
    }
    written(&cluster.dead_letters, 0).for_each(|record| audit.dead_letter(record));
    let mut ends = Ends::default();
    for (partition, log) in (0..).zip(&cluster.input) {
        let begin = began.get(&partition).copied().unwrap_or(0);
        for (offset, number) in log.committed().filter(|(offset, _)| *offset >= begin) {
            let incoming = &setup.traffic[*number];
            let (key, value) = (Some(incoming.key.clone()), incoming.value.clone());
            let timestamp = incoming.timestamp;
            audit.input(&Record { partition, offset, timestamp, key, value, headers: Vec::new() });
        }
        ends.input.insert(partition, log.end());
        ends.committed.extend(cluster.group.offset(partition).map(|offset| (partition, offset)));
    }
    written(&cluster.output, 0).for_each(|record| audit.session(&record));
    audit.finish(&ends);
    if audit.report.is_clean() { Ok(()) } else { Err(format!("{FOUND}{}", audit.report)) }
}

/// The committed records of a log.
fn written(log: &Log<Written>, partition: i32) -> impl Iterator<Item = Record> {
    log.committed().map(move |(offset, record)| Record {
        partition,
        offset,
        timestamp: None,
        key: Some(record.key.clone()),
        value: record.value.clone(),
        headers: record.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}
