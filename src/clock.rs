//! The only file of the program that reads the wall clock.
//!
//! What is decided or published takes the time as an argument, so that a restart decides as the first run did and a test
//! needs no sleep. Durations for metrics, and deadlines of the protocol and of HTTP, read the monotonic clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use livesession_grouping::time::Timestamp;

/// Returns the wall time.
///
/// A clock before 1970 or after 9999 reads as the nearer end: it is wrong anyway, and grouping never depends on it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).ok().and_then(Timestamp::from_ms).unwrap_or(Timestamp::MAX)
}

/// Returns a point of the monotonic clock, for deadlines and for measuring.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn instant() -> Instant {
    Instant::now()
}
