//! Filling the index anew from the topic, under those who read it.

use super::settings::Deployment;
use super::topic::Topic;
use crate::exit::{Exit, Failure};
use crate::indexer::Batch;
use livesession_index::{Advance, Rebuild};

/// What a new filling consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Records that were read.
    pub records: u64,
    /// Records that were newer revisions than those before them.
    pub revisions: i64,
}

/// Fills the index; `progress` is called for each record. `may_lose`: also if the topic no longer has its first records.
///
/// The index is as it was until everything was read. A running indexer notices and goes on where the new filling ends.
///
/// # Errors
///
/// Exit 2 if sessions would be lost and may not be; those of the topic and of the index.
pub fn rebuild(deployment: &Deployment, may_lose: bool, mut progress: impl FnMut()) -> Result<Rebuilt, Failure> {
    let path = &deployment.config().index.path;
    let topic = Topic::open(deployment, &deployment.topics().output)?;
    if topic.is_cut() && path.exists() && !may_lose {
        let cut: Vec<String> = topic
            .ends
            .iter()
            .filter(|(_, ends)| ends.start > 0)
            .map(|(partition, ends)| format!("\n  partition {partition} begins at offset {}", ends.start))
            .collect();
        let message = format!(
            "topic {:?} no longer has its first records, and the index may have sessions of them that would be lost: say --yes \
             to fill it with what the topic still has{}",
            topic.name,
            cut.concat()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut rebuild = Rebuild::begin(path, &deployment.origin())?;
    let (mut batch, mut records, mut revisions) = (Batch::default(), 0, 0);
    for (partition, ends) in &topic.ends {
        topic.begin(*partition, ends.start, ends.end)?;
        while let Some(pushed) = topic.next(|read, _| batch.push(&topic.name, read))? {
            pushed.map_err(Failure::from)?;
            records += 1;
            progress();
            if batch.is_full() {
                revisions = rebuild.writer().apply(batch.records(), &[])?.change;
                batch.clear();
            }
        }
    }
    let advance = |(partition, end): (&i32, i64)| Advance {
        topic_id: topic.id.clone(),
        partition: *partition,
        from: None,
        to: end,
    };
    let advances: Vec<Advance> = topic.ends.iter().map(|(partition, ends)| advance((partition, ends.end))).collect();
    revisions = revisions.max(rebuild.writer().apply(batch.records(), &advances)?.change);
    rebuild.finish()?;
    Ok(Rebuilt { records, revisions })
}
