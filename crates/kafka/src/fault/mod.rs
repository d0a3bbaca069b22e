//! Faults that a test injects into the running program.
//!
//! | variable | effect |
//! | --- | --- |
//! | `LIVESESSION_FAILPOINTS` | the program dies, fails or waits at [`failpoint::PLACES`] |
//! | `LIVESESSION_WEAKNESSES` | [`Safeguards`] are missing, by the names of their fields, separated by commas |
//! | `LIVESESSION_HOLD` | commits wait while the file of that name exists: [`hold`] |
//!
//! Only a build with both the feature `fault-injection` and debug assertions reads them. The feature is enabled by the
//! program's `[dev-dependencies]` alone, so the program that `cargo test` builds has it, and what `cargo build`,
//! `cargo run` or the release profile builds does not: there the variables are not even named.

#[cfg(all(feature = "fault-injection", debug_assertions))]
mod environment;
pub mod failpoint;

#[cfg(not(all(feature = "fault-injection", debug_assertions)))]
mod environment {
    //! No faults.

    use super::Safeguards;
    use super::failpoint::Injected;

    #[inline(always)]
    pub fn reach(_place: &'static str) -> Result<(), Injected> {
        Ok(())
    }

    #[inline(always)]
    pub fn safeguards() -> Safeguards {
        Safeguards::ALL
    }

    #[inline(always)]
    pub fn hold(_records: usize) {}

    #[inline(always)]
    pub fn has_moved(_partition: i32, _offset: i64) -> bool {
        true
    }
}

pub use environment::hold;
pub(crate) use environment::{has_moved, reach};

/// Whether this build can be told to inject faults.
const CAN_INJECT: bool = cfg!(all(feature = "fault-injection", debug_assertions));

/// The safeguards of exactly-once that a negative control removes one at a time, to show that the audit notices.
///
/// All of them are in force in every build that cannot inject faults; no setting and no code outside of this module can
/// change that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safeguards {
    fencing_guard: bool,
    group_metadata: bool,
    unmoved_offsets: bool,
    log_end: bool,
    producer_replacement: bool,
    marker: bool,
}

impl Safeguards {
    pub const ALL: Safeguards = Safeguards {
        fencing_guard: true,
        group_metadata: true,
        unmoved_offsets: true,
        log_end: true,
        producer_replacement: true,
        marker: true,
    };

    /// Returns the safeguards of this process: all, less what a test of this build removes.
    pub(crate) fn in_force() -> Safeguards {
        environment::safeguards()
    }

    /// Before a commit the worker checks that it is still in the group and owns every touched partition.
    pub fn fencing_guard(self) -> bool {
        !CAN_INJECT || self.fencing_guard
    }

    /// Offsets are sent with the group metadata of this member, which the coordinator checks.
    pub fn group_metadata(self) -> bool {
        !CAN_INJECT || self.group_metadata
    }

    /// A transaction carries the offsets of touched partitions that did not move, too.
    pub fn unmoved_offsets(self) -> bool {
        !CAN_INJECT || self.unmoved_offsets
    }

    /// A restore reads to the log end with open transactions counted, not to the last stable offset.
    pub fn log_end(self) -> bool {
        !CAN_INJECT || self.log_end
    }

    /// A suspect producer is replaced before the next transaction.
    pub fn producer_replacement(self) -> bool {
        !CAN_INJECT || self.producer_replacement
    }

    /// The changelog's marker has to equal the group's committed offset; without this the group's offset is believed.
    pub fn marker(self) -> bool {
        !CAN_INJECT || self.marker
    }
}
