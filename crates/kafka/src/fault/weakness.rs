//! Protections that a test takes away, one at a time, to see that somebody notices.
//!
//! ```sh
//! LIVESESSION_WEAKNESSES=guard,metadata LIVESESSION_HOLD=/tmp/hold livesession run
//! ```
//!
//! | weakness | what is missing |
//! | --- | --- |
//! | `guard` | asking, before a commit, whether we are still in the group and own what was touched |
//! | `metadata` | the group's check: offsets are sent as somebody does who is in no group |
//! | `unmoved` | the offsets of partitions that were touched and did not move |
//! | `log_end` | restoring to the log end, open transactions counted: the last stable offset is taken for it |
//! | `replacement` | a new producer after a transaction that left a doubt |
//! | `marker` | the check that the changelog's marker is the group's offset; the group's is believed |
//!
//! While the file that `LIVESESSION_HOLD` names is there, a commit waits before its first step, and says so with a second
//! file, `.held`: so a test can freeze a worker there. If the file says `idle`, only a commit of what the clock did waits.
//!
//! Exists where debug assertions do. In a release build nothing is missing and nothing waits, and the names of the
//! variables are not in the program: a test compiles this file both ways to show it. Knows nothing but the standard
//! library, for that test.

#[cfg(debug_assertions)]
pub use enabled::{hold, keeps, lacks};

#[cfg(not(debug_assertions))]
pub use disabled::{hold, keeps, lacks};

#[cfg(not(debug_assertions))]
mod disabled {
    /// Returns whether a protection is missing: none is.
    #[inline(always)]
    pub fn lacks(_protection: &str) -> bool {
        false
    }

    /// Returns whether an offset is to be sent: each is.
    #[inline(always)]
    pub fn keeps(_partition: i32, _offset: i64) -> bool {
        true
    }

    /// Waits for nothing.
    #[inline(always)]
    pub fn hold(_records: usize) {}
}

#[cfg(debug_assertions)]
mod enabled {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::Duration;

    static MISSING: LazyLock<String> = LazyLock::new(|| std::env::var("LIVESESSION_WEAKNESSES").unwrap_or_default());
    static HOLD: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("LIVESESSION_HOLD").map(PathBuf::from));

    /// Returns whether a protection is missing.
    pub fn lacks(protection: &str) -> bool {
        MISSING.split(',').any(|missing| missing == protection)
    }

    /// Returns whether an offset is to be sent: without `unmoved` only if it is not the one that was sent last.
    pub fn keeps(partition: i32, offset: i64) -> bool {
        static SENT: Mutex<BTreeMap<i32, i64>> = Mutex::new(BTreeMap::new());
        let before = SENT.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset);
        before != Some(offset) || !lacks("unmoved")
    }

    /// Waits before a commit of so many input records, while the file is there.
    ///
    /// A file that cannot be written holds nothing up, and the test that waits fails.
    pub fn hold(records: usize) {
        let Some(file) = HOLD.as_ref() else { return };
        let Ok(which) = std::fs::read_to_string(file) else { return };
        if which == "idle" && records > 0 {
            return;
        }
        if std::fs::write(file.with_extension("held"), "").is_ok() {
            while file.exists() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    }
}
