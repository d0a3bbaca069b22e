//! A deployment: a checked configuration, made once, and whether a cluster fits it.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `settings` | [`Deployment`]: policy, rules, names of topics, settings of workers, labels of metrics |
//! | `clients` | settings of Kafka clients by slot, and what their errors mean for a command |
//! | `topics`, `create` | which topics are needed, how each is made, and making them |
//! | `check` | whether the topics are what a worker relies on |
//! | `topic`, `state` | a topic read whole; what the changelog holds |
//! | `sample`, `capacity` | what only a broker can tell about a configuration |
//! | `verify`, `rebuild` | the index compared with the topic, or filled anew from it |
//! | `assembly`, `indexing` | the parts of a service, put together |
//! | `demo` | a broker, a worker and readers in one process |
//!
//! Commands take a [`Deployment`] instead of a configuration. Nothing here parses arguments or prints.

pub mod assembly;
pub mod capacity;
pub mod check;
pub mod clients;
pub mod create;
pub mod demo;
pub mod indexing;
pub mod rebuild;
pub mod sample;
pub mod settings;
pub mod state;
pub mod topic;
pub mod topics;
pub mod verify;

pub use clients::load;
pub use settings::{Deployment, TopicFacts, librdkafka_version};
