//! One input file: opened, unpacked, and read with a count of its bytes.
//!
//! Packing is recognised by the first bytes, because names lie in both directions: a browser unpacks a `.gz` and keeps
//! its name, and standard input has no name at all. The name only decides what is *said* about a file whose first bytes
//! are neither packed nor text.
//!
//! Knows nothing of records. Distinguishes a file that cannot be used (named wrongly: nothing has been read yet), data
//! that is damaged (all before the damage has been handed on), and a device that fails.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// What `-` is called in texts for people.
const STDIN: &str = "stdin";

/// How many bytes of a file decide how it is packed.
const MAGIC_BYTES: usize = 6;

/// How many packed bytes are read at once.
const PACKED_BUFFER_BYTES: usize = 256 * 1_024;

/// An input file that cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{file} does not exist")]
    Missing { file: String },
    #[error("{file} is a directory: name the files in it")]
    Directory { file: String },
    #[error("cannot open {file}")]
    Closed { file: String, source: io::Error },
    #[error("stdin (-) is named twice")]
    StdinTwice,
}

impl Unusable {
    /// Returns what the system said, if that says more.
    pub fn into_source(self) -> Option<io::Error> {
        match self {
            Unusable::Closed { source, .. } => Some(source),
            Unusable::Missing { .. } | Unusable::Directory { .. } | Unusable::StdinTwice => None,
        }
    }
}

/// Why reading ended before the end of a file.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The bytes are not what they should be.
    #[error("{problem} (byte {byte} of the file)")]
    Damaged { problem: String, byte: u64 },
    /// The device or the pipe failed.
    #[error("could not read on after byte {byte}")]
    Device { byte: u64, source: io::Error },
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

/// An open input file; reads its unpacked bytes.
///
/// All that can be unpacked is read before an error, which [`Source::failure`] explains.
pub struct Source {
    name: String,
    reader: Reader,
    note: Option<String>,
}

enum Reader {
    Plain(Handle),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Handle>>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Handle>>),
}

/// The file as it lies on disk; counts what has been read of it.
struct Handle {
    file: Box<dyn Read + Send>,
    count: u64,
}

impl Read for Handle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.count += length as u64;
        Ok(length)
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.reader {
            Reader::Plain(handle) => handle.read(buffer),
            Reader::Gzip(decoder) => decoder.read(buffer),
            Reader::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// Checks every file before the first is read, so that a misspelt name costs nothing but a message.
///
/// Pipes are not opened here: what is opened twice is lost once.
///
/// # Errors
///
/// The first file that cannot be used.
pub fn check(files: &[String]) -> Result<(), Unusable> {
    if files.iter().filter(|file| file.as_str() == "-").count() > 1 {
        return Err(Unusable::StdinTwice);
    }
    for file in files.iter().filter(|file| file.as_str() != "-") {
        let metadata = fs::metadata(file).map_err(|source| unusable(file, source))?;
        if metadata.is_dir() {
            return Err(Unusable::Directory { file: file.clone() });
        }
        if metadata.is_file() {
            File::open(file).map_err(|source| unusable(file, source))?;
        }
    }
    Ok(())
}

fn unusable(file: &str, source: io::Error) -> Unusable {
    let file = file.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => Unusable::Missing { file },
        _ => Unusable::Closed { file, source },
    }
}

/// Returns the size of all files together, if every one of them has a size.
pub fn total_bytes(files: &[String]) -> Option<u64> {
    files.iter().map(|file| size_of_file(file)).sum()
}

fn size_of_file(file: &str) -> Option<u64> {
    // Standard input may be a redirected file.
    let metadata = fs::metadata(if file == "-" { "/dev/stdin" } else { file }).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Returns what a file is called in texts for people.
pub fn display_name(file: &str) -> &str {
    if file == "-" { STDIN } else { file }
}

impl Source {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or its first bytes cannot be read or are of a packing that is not read here.
    pub fn open(file: &str) -> Result<Source, OpenError> {
        let handle: Box<dyn Read + Send> = if file == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(file).map_err(|source| OpenError::Unusable(unusable(file, source)))?)
        };
        Source::unpack(file, handle).map_err(OpenError::Failure)
    }

    fn unpack(file: &str, mut handle: Box<dyn Read + Send>) -> Result<Source, Failure> {
        let mut first = Vec::with_capacity(MAGIC_BYTES);
        let read = handle.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut first);
        read.map_err(|source| Failure::Device { byte: first.len() as u64, source })?;
        let (packing, note) = recognise(file, &first)?;
        let handle = Handle { file: Box::new(io::Cursor::new(first).chain(handle)), count: 0 };
        let buffered = |handle| BufReader::with_capacity(PACKED_BUFFER_BYTES, handle);
        let reader = match packing {
            Packing::None => Reader::Plain(handle),
            Packing::Gzip => Reader::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(buffered(handle)))),
            Packing::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(handle));
                Reader::Zstd(decoder.map_err(|source| Failure::Device { byte: 0, source })?)
            }
        };
        Ok(Source { name: display_name(file).to_owned(), reader, note })
    }

    /// Returns what the file is called in texts for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what somebody should know about the file although it can be read.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Returns how many bytes of the file have been used, packed as they are.
    pub fn position(&self) -> u64 {
        match &self.reader {
            Reader::Plain(handle) => handle.count,
            Reader::Gzip(decoder) => position(decoder.get_ref()),
            Reader::Zstd(decoder) => position(decoder.get_ref()),
        }
    }

    /// Returns what an error of this reader means.
    pub fn failure(&self, error: io::Error) -> Failure {
        let byte = self.position();
        let kind = match &self.reader {
            Reader::Gzip(_) => "gzip",
            Reader::Zstd(_) => "zstd",
            Reader::Plain(_) => return Failure::Device { byte, source: error },
        };
        // What the system refuses has its number; what an unpacker refuses has none.
        if error.raw_os_error().is_some() {
            return Failure::Device { byte, source: error };
        }
        let problem = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("{kind} data ends too early: the file is truncated"),
            _ => format!("{kind} data is damaged: {error}"),
        };
        Failure::Damaged { problem, byte }
    }
}

/// Why a file cannot be read from its beginning.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Unusable(Unusable),
    #[error(transparent)]
    Failure(Failure),
}

/// Counts what the unpacker has taken, not what was read ahead.
fn position(reader: &BufReader<Handle>) -> u64 {
    reader.get_ref().count - reader.buffer().len() as u64
}

/// Returns how the file is packed, and what somebody should know about it.
fn recognise(file: &str, first: &[u8]) -> Result<(Packing, Option<String>), Failure> {
    let damaged = |problem: String| Err(Failure::Damaged { problem, byte: 0 });
    let packing = match first {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return damaged("text is UTF-16: convert it to UTF-8".to_owned()),
        [b'P', b'K', 3, 4, ..] => return damaged("a zip archive: unpack it first".to_owned()),
        [b'B', b'Z', b'h', ..] => return damaged("packed by bzip2: unpack it first".to_owned()),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return damaged("packed by xz: unpack it first".to_owned()),
        _ => Packing::None,
    };
    let extension = Path::new(file).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let named = match extension {
        "gz" => "gzip",
        "zst" => "zstd",
        _ => return Ok((packing, None)),
    };
    if packing != Packing::None {
        return Ok((packing, None));
    }
    let begins_like_text = first.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"'));
    if begins_like_text {
        let note = format!("{file} is named .{extension} and is not packed: read as it is");
        return Ok((packing, Some(note)));
    }
    damaged(if first.is_empty() {
        format!("named .{extension} and empty: the file is truncated")
    } else {
        format!("named .{extension} and is not {named} data")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn open(name: &str, bytes: Vec<u8>) -> Result<Source, Failure> {
        Source::unpack(name, Box::new(io::Cursor::new(bytes)))
    }

    fn read_all(source: &mut Source) -> (Vec<u8>, Option<Failure>) {
        let (mut all, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return (all, None),
                Ok(length) => all.extend_from_slice(&buffer[..length]),
                Err(error) => return (all, Some(source.failure(error))),
            }
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(text, 1).unwrap()
    }

    #[test]
    fn packing_is_recognised_by_its_first_bytes_and_several_members_are_one_file() {
        for pack in [gzip, zstd] {
            let packed = [pack(b"{\"a\":1}\n"), pack(b""), pack(b"{\"b\":2}\n")].concat();
            for name in ["-", "x.gz", "x.zst", "x.ndjson"] {
                let length = packed.len() as u64;
                let mut source = open(name, packed.clone()).unwrap();
                assert!(!matches!(source.reader, Reader::Plain(_)));
                let (all, failure) = read_all(&mut source);
                assert_eq!(all, b"{\"a\":1}\n{\"b\":2}\n");
                assert!(failure.is_none());
                assert_eq!(source.position(), length);
            }
        }
    }

    #[test]
    fn plain_text_is_read_as_it_is_whatever_its_name() {
        for (name, has_note) in [("x.ndjson", false), ("x.gz", true), ("x.zst", true), ("-", false)] {
            for text in ["{}", "{\"longer\": true}"] {
                let mut source = open(name, text.into()).unwrap();
                assert_eq!(source.note().is_some(), has_note, "{name}");
                assert_eq!(read_all(&mut source).0, text.as_bytes());
                assert_eq!(source.position(), text.len() as u64);
            }
        }
        assert_eq!(read_all(&mut open("x", Vec::new()).unwrap()).0, b"");
    }

    #[test]
    fn truncated_file_gives_all_before_and_says_where() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        for (pack, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
            let mut packed = pack(&text);
            let kept = packed.len() - 100;
            packed.truncate(kept);
            let (all, failure) = read_all(&mut open("x", packed).unwrap());
            assert!(text.starts_with(&all), "{name}");
            match failure {
                Some(Failure::Damaged { problem, byte }) => {
                    assert_eq!(byte, kept as u64, "{name}");
                    assert!(problem.contains("truncated"), "{problem}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn damaged_data_is_told_from_a_failing_device() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                // An input/output error, as of a disk that was unplugged.
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let mut packed = gzip(b"{\"a\":1}\n");
        let middle = packed.len() / 2;
        packed[middle] ^= 0xff;
        assert!(matches!(read_all(&mut open("x", packed).unwrap()).1, Some(Failure::Damaged { .. })));
        for start in [gzip(b"{\"a\":1}\n")[..12].to_vec(), b"{\"a\":1}\n".to_vec()] {
            let handle = io::Cursor::new(start).chain(Broken);
            let mut source = Source::unpack("x", Box::new(handle)).unwrap();
            let failure = read_all(&mut source).1;
            assert!(matches!(failure, Some(Failure::Device { .. })), "{failure:?}");
        }
    }

    #[test]
    fn files_that_are_not_text_are_named() {
        for (name, first, word) in [
            ("x", &b"\xff\xfe{\0"[..], "UTF-16"),
            ("x", b"PK\x03\x04..", "zip"),
            ("x", b"BZh91A", "bzip2"),
            ("x", b"\xfd7zXZ\0", "xz"),
            ("x.gz", b"", "truncated"),
            ("x.gz", b"\0\0\0\0", "not gzip"),
            ("x.zst", b"hello", "not zstd"),
        ] {
            let failure = open(name, first.to_vec()).err().expect(name).to_string();
            assert!(failure.contains(word), "{failure}");
        }
    }
}
