//! Dead letters of a batch: lines of `kcat -J`, as if read back from the dead-letter topic.
//!
//! So `livesession group` reads them again, `jq` shows them, and `kcat -P` can produce what they hold. Raw records and values have no
//! topic, and get the names that the configuration gives to input and dead letters.
//!
//! Two things differ from the topic. The timestamp is the refused record's own, so that a second look judges it as the
//! first did; a record in Kafka would expire at once. And a value of more than 16 MiB is cut, with its whole length in
//! the header [`CUT`]: a line of a gigabyte is not a notification, and its beginning tells what it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::input::InputRecord;
use crate::deployment::Deployment;
use crate::exit::{Exit, Failure};
use crate::worker::Topics;
use livesession_formats::dead_letter::{self, Header, Refused};
use livesession_formats::kcat;
use livesession_formats::notification::Reason;

/// The length in bytes, decimal, of a value of which only the beginning was kept.
pub const CUT: &str = dead_letter::CUT;

/// What is appended to an input topic's name unless the configuration says otherwise.
const SUFFIX: &str = "-dlq";

/// The file of dead letters.
pub struct DeadLetters {
    file: String,
    out: BufWriter<File>,
    /// By topic and partition.
    next_offset: BTreeMap<(String, i32), i64>,
    line: Vec<u8>,
}

impl DeadLetters {
    /// Makes the file. One that is there may be the input, or the dead letters of another run.
    pub fn create(path: &Path) -> Result<DeadLetters, Failure> {
        let file = path.display().to_string();
        // A pipe or a device holds nothing that could be lost.
        if path.is_file() {
            let message = format!("{file} exists: name a file that does not, or remove it");
            return Err(Failure::new(Exit::Usage, message));
        }
        match File::create(path) {
            Ok(out) => {
                Ok(DeadLetters { file, out: BufWriter::new(out), next_offset: BTreeMap::new(), line: Vec::new() })
            }
            Err(source) => Err(failure(&file, source)),
        }
    }

    /// Writes a record down.
    pub fn write(
        &mut self,
        deployment: &Deployment,
        topic: &str,
        record: &InputRecord<'_>,
        reason: Reason,
    ) -> Result<(), Failure> {
        let Topics { input, dead_letter, .. } = deployment.topics();
        let to = if topic == input {
            dead_letter.clone()
        } else if topic == dead_letter || topic.ends_with(SUFFIX) {
            // A dead letter that was read again stays one.
            topic.to_owned()
        } else {
            format!("{topic}{SUFFIX}")
        };
        let original = record.headers.iter().filter(|(name, _)| **name != *CUT.as_bytes());
        let mut original: Vec<Header<'_>> = original.map(|(name, value)| (name.as_ref(), value.as_deref())).collect();
        let length = record.cut.map(|length| length.to_string());
        original.extend(length.as_ref().map(|length| (CUT.as_bytes(), Some(length.as_bytes()))));
        let added = dead_letter::added(&Refused {
            topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            group: &deployment.config().application_id,
            reason,
            headers: &original,
        });
        let (_, others) = dead_letter::split(&original);
        let next = self.next_offset.entry((to.clone(), record.partition)).or_default();
        self.line.clear();
        kcat::write(
            &mut self.line,
            (&to, record.partition, *next),
            record.timestamp,
            dead_letter::join(others, &added),
            (record.key.as_deref(), record.value.as_deref()),
        );
        *next += 1;
        let written = self.out.write_all(&self.line);
        written.map_err(|source| self.failed(source))
    }

    /// Writes what is still buffered.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let written = self.out.flush();
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Failure {
        failure(&self.file, source)
    }
}

fn failure(file: &str, source: io::Error) -> Failure {
    Failure::caused_by(Exit::IoErr, format!("could not write dead letters to {file}"), source)
}
