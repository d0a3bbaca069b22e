//! What concerns librdkafka itself: what its clients are told, what they call back, what they lend, and what rdkafka leaves out.

pub(crate) mod codes;
pub mod context;
pub mod in_process;
pub(crate) mod native;
pub mod properties;
pub mod record;
pub mod settings;
pub mod version;
