//! Standard output, with an opinion about what a failed write means.
//!
//! A reader that has gone (`… | head -1`) has what it wanted: the command ends quietly. Any other failed write, a full disk
//! above all, means that what was asked for is not there: exit 74. `println!` knows neither and panics on both, so nothing
//! in `cli` uses it.

use std::io::{self, BufWriter, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Standard output, buffered. Flushed by [`crate::cli::main`] once the command is done, and by [`Output::flush`] before a wait.
pub struct Output {
    writer: BufWriter<Box<dyn Write>>,
    is_terminal: bool,
}

impl Output {
    /// Returns the standard output of this process.
    pub fn stdout() -> Output {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Output { writer: BufWriter::with_capacity(1 << 16, Box::new(stdout)), is_terminal }
    }

    /// Returns an output that goes elsewhere and is no terminal.
    pub fn to(writer: impl Write + 'static) -> Output {
        Output { writer: BufWriter::new(Box::new(writer)), is_terminal: false }
    }

    /// Returns whether a person reads it: a table rather than NDJSON.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(failure)
    }

    /// Writes a text as it is.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes a text and a line end.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.text(text)?;
        self.bytes(b"\n")
    }

    /// Hands everything to the reader.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(failure)
    }
}

/// For code that writes to any writer; turn its error into a [`Failure`] by [`failure`].
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes a line to standard error, where everything goes that a command was not asked for.
///
/// A failed write is not reported: there is no place left to report it, and the exit code says how the command ended.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Returns what a failed write to standard output means.
pub fn failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::reader_gone()
    } else {
        Failure::caused_by(Exit::IoErr, "could not write to standard output", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn end_of(kind: io::ErrorKind) -> Failure {
        let mut output = Output::to(Broken(kind));
        output.line("lost").unwrap();
        output.flush().unwrap_err()
    }

    #[test]
    fn a_reader_that_has_gone_is_a_quiet_end() {
        let failure = end_of(io::ErrorKind::BrokenPipe);
        assert!(failure.is_quiet());
        assert_eq!(failure.exit, Exit::Ok);
    }

    #[test]
    fn any_other_failed_write_is_told() {
        let failure = end_of(io::ErrorKind::StorageFull);
        assert_eq!(failure.exit, Exit::IoErr);
        assert!(failure.to_string().starts_with("error: could not write to standard output"), "{failure}");
    }
}
