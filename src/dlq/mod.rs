//! The dead-letter topic: its records, what has been replayed of them, and the replay.
//!
//! What has been replayed is remembered by Kafka, in the group `<application_id>-dlq-replay`: for each reason, the stretches
//! of the topic that are settled ([`replayed`] says why). So
//!
//! * a filter passes over what it does not select, and a later replay finds it;
//! * a replay that is killed and repeated sends nothing twice, because records and note are one transaction;
//! * of two replays at once one goes on, and the other one stops with an error;
//! * a reader of the topic knows what waits.
//!
//! Brokers forget a group that has been still for a week (`offsets.retention.minutes`), and everything waits again. A
//! notification that was accepted is then a duplicate, or late: no session changes.

pub mod record;
pub mod replay;
pub mod replayed;
pub mod topic;
