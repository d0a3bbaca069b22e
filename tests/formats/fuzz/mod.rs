//! Readers of bytes from outside, fed with damaged input: no panic, the same result for the same bytes, and for accepted
//! input a promise that each target names.
//!
//! A bounded run from a fixed seed is part of the tests. A longer one, and another:
//!
//! ```sh
//! MUTATIONS=5000000 cargo test --release --test formats fuzz
//! MUTATION_SEED=7 cargo test --test formats fuzz::kcat -- --nocapture
//! ```
//!
//! `tests/corpus/<target>/` holds what is damaged, beside the examples in `schemas/`: an input that once found a defect
//! belongs there, under a name that says which.

mod config;
mod dead_letter;
mod kcat;
mod mutate;
mod notification;
mod query;
mod session;
mod state;
