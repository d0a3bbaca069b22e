//! Limits of the HTTP side: connections, and times.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// The bounds of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at the same time, at most; not 0.
    pub connections: usize,
    /// Time from the opening of a connection, or from the end of the answer before, to the end of a request's head.
    pub head: Duration,
    /// Time from the end of a request's head to the last byte of its answer that the peer takes.
    pub answer: Duration,
}

/// Connections at most, however many files may be open. Each may hold [`super::MAX_HEAD_BYTES`].
const MAX_CONNECTIONS: usize = 512;

/// Connections at least, however few files may be open: a probe, a scraper and a browser.
const MIN_CONNECTIONS: usize = 16;

/// Files that are left to the process itself: standard streams, logs, the runtime, the start-up checks.
const RESERVE: u64 = 64;

/// Files that are left to each loop. A worker has three Kafka clients, each with three files for a broker, and there may be
/// ten brokers; the indexer has one client, the index file and its readers.
const RESERVE_PER_LOOP: u64 = 128;

/// Not that of a common scrape interval, at which every second request would meet a connection that is being closed.
const HEAD: Duration = Duration::from_secs(20);

/// A query may wait for its turn and be worked on for ten seconds each; the rest is for a slow peer to take the answer.
const ANSWER: Duration = Duration::from_secs(120);

impl Limits {
    /// Returns the bounds for a process with this many loops, by its limit of open files.
    pub fn of_process(loops: usize) -> Limits {
        Limits { connections: connections(getrlimit(Resource::Nofile).current, loops), head: HEAD, answer: ANSWER }
    }
}

/// Returns how many connections a process may have: what its own files leave of the limit. `None`: there is no limit.
fn connections(open_files: Option<u64>, loops: usize) -> usize {
    let reserve = RESERVE + RESERVE_PER_LOOP * loops as u64;
    let left = open_files.map_or(u64::MAX, |limit| limit.saturating_sub(reserve));
    usize::try_from(left).unwrap_or(usize::MAX).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_what_the_files_of_the_process_leave() {
        for (open_files, loops, expected) in [
            (Some(512), 1, 320),
            (Some(512), 2, 192),
            (Some(1_024), 2, 512),
            (Some(1_024), 5, 320),
            (Some(65_536), 9, 512),
            (None, 2, 512),
            (Some(256), 2, 16),
            (Some(0), 0, 16),
        ] {
            assert_eq!(connections(open_files, loops), expected, "{open_files:?}, {loops} loops");
        }
    }

    #[test]
    fn a_query_that_waits_for_its_turn_has_time_to_be_taken() {
        let worked_on = Duration::from_secs(2 * livesession_index::MAX_QUERY_SECONDS);
        assert!(ANSWER >= 2 * worked_on);
    }
}
