//! The HTTP side: metrics and health. It reads what the loops show and never touches the data path.

pub mod health;
pub mod measure;
