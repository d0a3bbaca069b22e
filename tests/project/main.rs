//! The repository: its layout, its documents, its deployment files, its release build.

mod deploy;
mod documents;
mod generated;
#[path = "../support/golden.rs"]
mod golden;
mod release;
mod tidy;
