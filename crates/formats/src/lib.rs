//! Formats: bytes to values and back; serde stops here. Knows no Kafka: a record is a key, a value and headers.

pub mod changelog;
pub mod dead_letter;
pub mod kcat;
pub mod named;
pub mod notification;
pub mod session;
pub mod time;
