//! Audits a deployment: reads all that its workers have read and written, works out anew what should be there, and says
//! where they differ.
//!
//! ```sh
//! cargo run --release -p livesession-audit -- --config livesession.toml --index index.db
//! ```
//!
//! It shares no code with the program that it audits: it has its own decoder, its own batch job, its own names of sessions
//! and its own reader of the changelog, all written from the description of the formats. Run it when the workers have
//! ended. `docs/correctness.md` says what it checks, and what it cannot.
//!
//! | exit | means |
//! | --- | --- |
//! | 0 | nothing lost, nothing twice, nothing wrong |
//! | 1 | something is wrong: each finding names the record, and what it should be |
//! | 2 | command line or configuration |
//! | 65 | a topic or index is not there, or the output is not kept as long as the input: no audit is possible |
//! | 75 | brokers away, a worker still running, a transaction still open: try again |

use std::collections::BTreeMap;
use std::process::ExitCode;

use livesession_audit::arguments::Arguments;
use livesession_audit::audit::{Audit, Ends, Trimmed};
use livesession_audit::cluster::{Cluster, Failure};
use livesession_audit::record::Record;

const WRONG: u8 = 1;
const USAGE: u8 = 2;
const NO_DATA: u8 = 65;
const TRY_AGAIN: u8 = 75;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("error: {what}");
            return ExitCode::from(USAGE);
        }
    };
    match run(arguments) {
        Ok(audit) => {
            print!("{}", audit.report);
            if audit.report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
        }
        Err(Failure::NotNow(what)) => {
            eprintln!("error: could not audit: {what}");
            ExitCode::from(TRY_AGAIN)
        }
        Err(Failure::Never(what)) => {
            eprintln!("error: cannot audit: {what}");
            ExitCode::from(NO_DATA)
        }
    }
}

fn run(arguments: Arguments) -> Result<Audit, Failure> {
    let Arguments { told, properties, index, patience } = arguments;
    let cluster = Cluster::connect(&properties, &told.group, patience)?;
    cluster.wait_alone()?;
    let topics = [&told.changelog, &told.dead_letters, &told.input, &told.output].map(Clone::clone);
    let mut bounds = Vec::new();
    for topic in &topics {
        bounds.push(cluster.bounds(topic)?);
    }
    let [of_changelog, of_dead_letters, of_input, of_output] = &bounds[..] else { unreachable!("four topics") };
    // What compaction removes has newer values; of what retention removes, less and less can be said.
    let trimmed = |bounds: &BTreeMap<i32, (i64, i64)>| -> BTreeMap<i32, i64> {
        let begins = bounds.iter().map(|(partition, (begin, _))| (*partition, *begin));
        begins.filter(|(_, begin)| *begin > 0).collect()
    };
    let removed = Trimmed { input: trimmed(of_input), output: trimmed(of_output).into_keys().collect() };
    let is_short = removed.input.is_empty() && !(removed.output.is_empty() && trimmed(of_dead_letters).is_empty());
    if is_short {
        let what = format!("{} or {} is not kept as long as {}", told.output, told.dead_letters, told.input);
        return Err(Failure::Never(what));
    }
    let committed = cluster.committed(&topics[2], of_input.keys().copied())?;

    let mut audit = Audit::new(told, removed);
    cluster.read(&topics[0], of_changelog, |record| audit.changelog(record))?;
    cluster.read(&topics[1], of_dead_letters, |record| audit.dead_letter(record))?;
    cluster.read(&topics[2], of_input, |record: Record| audit.input(&record))?;
    cluster.read(&topics[3], of_output, |record: Record| audit.session(&record))?;
    let after: Vec<_> = topics.iter().map(|topic| cluster.bounds(topic)).collect::<Result<_, _>>()?;
    if let Some((topic, _)) = topics.iter().zip(bounds.iter().zip(&after)).find(|(_, (before, after))| before != after)
    {
        return Err(Failure::NotNow(format!("somebody writes to {topic}")));
    }
    let input = of_input.iter().map(|(partition, (_, end))| (*partition, *end)).collect();
    audit.finish(&Ends { committed, input });
    if let Some(path) = index {
        let read = audit.index(&path);
        read.map_err(|error| Failure::Never(format!("index {}: {error}", path.display())))?;
    }
    Ok(audit)
}
