//! The notification decoder against its specification: every example compared whole, every bound at -1, 0 and +1, and the
//! schema. Damaged examples are in `tests/formats/fuzz/`.

mod examples;
mod fields;
mod schema;
pub mod support;
mod texts;
