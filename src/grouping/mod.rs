//! The grouping core.

pub mod policy;
pub mod segment;
pub mod session;

pub use policy::{Policy, Settings};
pub use segment::{Anomalies, Anomaly, NewSegment, Offset, Segment};
pub use session::{Cause, Head, Interval, Publication, SessionId, Status};
