//! The notification decoder against its specification: every example compared whole, every bound at -1, 0 and +1, the
//! schema, and a seeded run over mutated examples.
//!
//! The long run: `MUTATIONS=1000000 cargo test --test notifications mutated`.

mod examples;
mod fields;
mod mutations;
mod schema;
mod support;
mod texts;
