//! The dead-letter topic: its records, and what has been replayed of them.

use std::collections::BTreeMap;

use super::record::Letter;
use super::replayed::Ledger;
use crate::deployment::Deployment;
use crate::deployment::clients::{self, ANSWER_TIMEOUT, read_failure};
use crate::exit::{Exit, Failure};
use livesession_formats::kcat;
use livesession_formats::notification::Reason;
use livesession_grouping::time::Timestamp;
use livesession_kafka::Record;
use livesession_kafka::scan::Scan;
use livesession_kafka::settings::Settings;

/// The dead-letter topic and its reader. Reading changes nothing.
pub struct DeadLetterTopic {
    name: String,
    partitions: i32,
    scan: Scan,
}

impl DeadLetterTopic {
    /// Asks the cluster for the dead-letter topic of a deployment.
    ///
    /// # Errors
    ///
    /// As those of [`read_failure`]; exit 78 if there is no such topic.
    pub fn open(deployment: &Deployment) -> Result<DeadLetterTopic, Failure> {
        let name = deployment.topics().dead_letter.clone();
        let partitions = count_partitions(deployment, &name, "topics.dead_letter")?;
        let scan = Scan::new(&replay_settings(deployment)?, ANSWER_TIMEOUT).map_err(read_failure)?;
        Ok(DeadLetterTopic { name, partitions, scan })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands every dead letter of these reasons, or of all, to `visit`; `progress` gets partition and offset of each record.
    ///
    /// # Errors
    ///
    /// As those of [`read_failure`]; exit 78 if what has been replayed cannot be read.
    pub fn each(
        &self,
        reasons: &[Reason],
        since: Option<Timestamp>,
        mut progress: impl FnMut(i32, i64),
        mut visit: impl FnMut(Letter),
    ) -> Result<(), Failure> {
        let scan = &self.scan;
        let ledgers = ledgers(&self.name, read_notes(scan, &self.name, self.partitions)?)?;
        for (partition, ledger) in &ledgers {
            let (from, end) = stretch(scan, &self.name, *partition, since)?;
            scan.begin(&self.name, *partition, from, end).map_err(read_failure)?;
            while let Some(record) = scan.next().map_err(read_failure)? {
                progress(*partition, record.offset());
                let letter = Letter::read(&record, ledger);
                if reasons.is_empty() || letter.reason.is_some_and(|reason| reasons.contains(&reason)) {
                    visit(letter);
                }
            }
        }
        Ok(())
    }

    /// Returns one dead letter whole, as a line of `kcat -J`; `None` if there is none at that offset.
    ///
    /// # Errors
    ///
    /// As those of [`read_failure`].
    pub fn find(&self, partition: i32, offset: i64) -> Result<Option<Vec<u8>>, Failure> {
        if !(0..self.partitions).contains(&partition) {
            return Ok(None);
        }
        let ends = self.scan.ends(&self.name, partition).map_err(read_failure)?;
        if !(ends.start..ends.end).contains(&offset) {
            return Ok(None);
        }
        self.scan.begin(&self.name, partition, offset, offset + 1).map_err(read_failure)?;
        let record = self.scan.next().map_err(read_failure)?;
        Ok(record.map(|record| line(&self.name, &record)))
    }
}

fn line(topic: &str, record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    let timestamp = record.timestamp().and_then(Timestamp::from_ms);
    let place = (topic, record.partition(), record.offset());
    kcat::write(&mut line, place, timestamp, record.headers(), (record.key(), record.value()));
    line
}

/// Returns how many partitions a topic has, which has to exist.
pub(super) fn count_partitions(deployment: &Deployment, name: &str, setting: &str) -> Result<i32, Failure> {
    let found = clients::connect(deployment)?.topic(name).map_err(read_failure)?;
    let missing = || {
        let text = format!("topic {name} ({setting}) does not exist: correct it, or run livesession topics create");
        Failure::new(Exit::Config, text)
    };
    Ok(i32::try_from(found.ok_or_else(missing)?.partitions).unwrap_or(i32::MAX))
}

/// Returns the settings of the clients that read dead letters: with a group and a transactional id of their own.
pub(super) fn replay_settings(deployment: &Deployment) -> Result<Settings, Failure> {
    let mut settings = clients::settings(deployment, 0)?;
    settings.group = format!("{}-dlq-replay", deployment.config().application_id);
    settings.transactional_id.clone_from(&settings.group);
    settings.group_instance_id = None;
    Ok(settings)
}

/// Returns what the notes say has been replayed, by partition.
pub(super) fn ledgers(
    topic: &str,
    notes: impl IntoIterator<Item = (i32, String)>,
) -> Result<BTreeMap<i32, Ledger>, Failure> {
    let mut ledgers = BTreeMap::new();
    for (partition, note) in notes {
        let ledger = Ledger::parse(&note).map_err(|problem| {
            let text = format!(
                "cannot read what has been replayed of {topic}/{partition}: {problem}; to begin anew, delete the group \
                 with kafka-consumer-groups --delete"
            );
            Failure::new(Exit::Config, text)
        })?;
        ledgers.insert(partition, ledger);
    }
    Ok(ledgers)
}

/// Reads what the group has noted, without joining it.
pub(super) fn read_notes(scan: &Scan, topic: &str, partitions: i32) -> Result<BTreeMap<i32, String>, Failure> {
    let all: Vec<i32> = (0..partitions).collect();
    let committed = scan.committed(topic, &all).map_err(read_failure)?;
    Ok(committed.into_iter().map(|(partition, held)| (partition, held.metadata)).collect())
}

/// Returns from where to where a partition is to be read.
pub(super) fn stretch(
    scan: &Scan,
    topic: &str,
    partition: i32,
    since: Option<Timestamp>,
) -> Result<(i64, i64), Failure> {
    let ends = scan.ends(topic, partition).map_err(read_failure)?;
    let from = match since {
        None => ends.start,
        Some(time) => scan.offset_at(topic, partition, time.as_ms()).map_err(read_failure)?.unwrap_or(ends.end),
    };
    Ok((from.max(ends.start), ends.end))
}
