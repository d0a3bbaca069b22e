//! The repository: its layout, its documents, its deployment files, its release build.

mod deploy;
mod documents;
mod release;
mod tidy;
