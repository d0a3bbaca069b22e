//! Files that tests write from the program: the annotated file, the schema of the configuration, the list of metrics.
//!
//! `UPDATE=1 cargo test --test project generated` rewrites them.

mod metrics;
mod settings;
