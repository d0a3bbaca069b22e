//! The identity of the file at a path, which can change under a process that has it open.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device and inode of a file.
pub type FileId = (u64, u64);

/// Returns which file is at the path; `None` if there is none, or if it cannot be looked at.
pub fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
