//! librdkafka itself: settings of its clients, callbacks, error codes, records that it lends, and calls that rdkafka lacks.

pub(crate) mod codes;
pub mod context;
pub mod in_process;
pub(crate) mod native;
pub mod properties;
pub mod record;
pub mod settings;
pub mod version;
