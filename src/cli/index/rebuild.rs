//! `livesession index rebuild`: fills the index anew from the topic, under those who read it.

use crate::cli::io::flags::AllSettings;
use crate::cli::io::output::Output;
use crate::cli::progress::Lines;
use crate::deployment::Deployment;
use crate::deployment::topic::Topic;
use crate::exit::{Exit, Failure};
use crate::indexer::Batch;
use livesession_index::{Advance, Rebuild};

/// Runs the command.
///
/// The index is as it was until everything was read. A running indexer notices and goes on where the new filling ends.
pub fn run(settings: &AllSettings, yes: bool, out: &mut Output) -> Result<Exit, Failure> {
    let deployment = Deployment::new(settings.load()?)?;
    let path = &deployment.config().index.path;
    let topic = Topic::open(&deployment, &deployment.topics().output)?;
    if topic.is_cut() && path.exists() && !yes {
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
    let mut progress = Lines::default();
    let (mut batch, mut sessions) = (Batch::default(), 0);
    for (partition, ends) in &topic.ends {
        topic.begin(*partition, ends.start, ends.end)?;
        while let Some(pushed) = topic.next(|read, _| batch.push(&topic.name, read))? {
            pushed.map_err(Failure::from)?;
            progress.count(|records| format!("rebuilding the index: {records} records"));
            if batch.is_full() {
                sessions = rebuild.writer().apply(batch.records(), &[])?.change;
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
    sessions = sessions.max(rebuild.writer().apply(batch.records(), &advances)?.change);
    rebuild.finish()?;
    out.line(&format!(
        "filled {} with {} records, {sessions} of them new revisions",
        path.display(),
        progress.records()
    ))?;
    Ok(Exit::Ok)
}
