//! Exit codes of the program, and the failure that carries one.
//!
//! Codes are a contract with supervisors (`RestartPreventExitStatus=2 70 78`) and scripts. Those from 64 on have the numbers
//! and the names of BSD's `sysexits.h`. Everything that a command calls returns a [`Failure`]; `cli` prints it, once.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::text;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// The answer is negative: an unknown id, a failed probe, an index that differs.
    NotFound = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The input is damaged, or a record of it was refused.
    DataErr = 65,
    /// Kafka cannot be reached.
    Unavailable = 69,
    /// A defect of this program: a restart does not help.
    Software = 70,
    /// A disk or another device failed.
    IoErr = 74,
    /// The same command may succeed later.
    TempFail = 75,
    /// The configuration is wrong, a login or permission is refused, or another process uses the same identity.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not succeed, and how the process exits.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// `None`: nothing is printed.
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

    /// Makes the end of a command whose reader closed the pipe: it has what it wanted, so the exit code is 0.
    pub fn reader_gone() -> Failure {
        Failure { exit: Exit::Ok, message: None, source: None }
    }

    /// Returns whether nothing is to be printed.
    pub fn is_quiet(&self) -> bool {
        self.message.is_none()
    }
}

impl fmt::Display for Failure {
    /// Writes the whole chain: `error: …`, then a line `caused by: …` for each cause. Nothing if the failure is quiet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(message) = &self.message else { return Ok(()) };
        write!(f, "error: {message}")?;
        let Some(source) = self.source.as_deref() else { return Ok(()) };
        text::causes(source).try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
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
        let failure = Failure::caused_by(Exit::IoErr, "could not write", Outer(std::io::Error::other("inner")));
        assert_eq!(failure.to_string(), "error: could not write\n  caused by: outer\n  caused by: inner");
        assert_eq!(Failure::new(Exit::NotFound, "unknown id").to_string(), "error: unknown id");
        assert_eq!(Failure::reader_gone().to_string(), "");
    }

    #[test]
    fn codes_are_those_that_supervisors_know() {
        let codes = [
            Exit::Ok,
            Exit::NotFound,
            Exit::Usage,
            Exit::DataErr,
            Exit::Unavailable,
            Exit::Software,
            Exit::IoErr,
            Exit::TempFail,
        ];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 65, 69, 70, 74, 75]);
        assert_eq!(Exit::Config as u8, 78);
    }
}
