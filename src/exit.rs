//! How a command ends: an exit code, and an error that is printed in one place.
//!
//! Codes are a contract with supervisors (`RestartPreventExitStatus=2 70 78`) and scripts; those from 64 on are the ones of
//! BSD's `sysexits.h`. Commands return a [`Failure`] and print nothing about it themselves.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// The question was understood, and the answer is no: an unknown id, a failed probe.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What was given as input is wrong.
    Data = 65,
    /// Kafka cannot be reached, or does not let us in.
    Kafka = 69,
    /// Our defect: a person has to look, a restart does not help.
    Defect = 70,
    /// A disk or another device does not take or give what it should.
    Disk = 74,
    /// The same command may succeed later.
    Later = 75,
    /// The configuration is wrong, or another process works under our name.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// `None`: nobody is there to be told.
    message: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Makes a failure without a cause.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: Some(message.into()), source: None }
    }

    /// Makes a failure with the error that caused it.
    pub fn caused_by(
        exit: Exit,
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Failure {
        Failure { exit, message: Some(message.into()), source: Some(source.into()) }
    }

    /// Makes the end of a command whose reader has gone: it has what it wanted, so nothing is printed and all is well.
    pub fn reader_gone() -> Failure {
        Failure { exit: Exit::Ok, message: None, source: None }
    }

    /// Returns whether the end is to be told to nobody.
    pub fn is_quiet(&self) -> bool {
        self.message.is_none()
    }
}

impl fmt::Display for Failure {
    /// Writes the whole chain: `error: …`, then a line `caused by: …` for each cause. Nothing if the failure is quiet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(message) = &self.message else { return Ok(()) };
        write!(f, "error: {message}")?;
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn the_whole_chain_is_printed() {
        let failure = Failure::caused_by(Exit::Disk, "could not write", Outer(std::io::Error::other("inner")));
        assert_eq!(failure.to_string(), "error: could not write\n  caused by: outer\n  caused by: inner");
        assert_eq!(Failure::new(Exit::No, "unknown id").to_string(), "error: unknown id");
        assert_eq!(Failure::reader_gone().to_string(), "");
    }

    #[test]
    fn codes_are_those_that_supervisors_know() {
        let codes = [Exit::Ok, Exit::No, Exit::Usage, Exit::Data, Exit::Kafka, Exit::Defect, Exit::Disk, Exit::Later];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 65, 69, 70, 74, 75]);
        assert_eq!(Exit::Config as u8, 78);
    }
}
