//! The indexer on a failing disk, and on a damaged or foreign file.
//!
//! Each time the message says what to do, nothing is lost, and after the repair the indexer catches up with the topic.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::kafka::indexer::{Indexed, all};
use crate::kafka::support::broker::{Broker, temporary};
use crate::kafka::support::process::{PATIENCE, Worker};
use crate::kafka::support::traffic::Traffic;
use crate::kafka::{Body, Test};

pub const TESTS: &[Test] = &[
    Test { name: "full_disk_is_waited_for_and_nothing_is_lost", body: Body::Mounting(full) },
    Test { name: "read_only_disk_is_told_and_nothing_is_lost", body: Body::Mounting(read_only) },
    Test { name: "file_of_a_newer_program_is_left_alone", body: Body::Shared(newer) },
    Test { name: "file_of_another_input_is_left_alone", body: Body::Shared(other_input) },
    Test { name: "corrupt_file_is_told_and_filled_again", body: Body::Shared(corrupt) },
];

/// A file system in memory, of its own and small; gone when it is dropped.
struct SmallDisk {
    mounted_at: PathBuf,
}

impl SmallDisk {
    const BYTES: usize = 4 << 20;

    /// Mounts it; `Err`: why this process may not.
    fn new(name: &str) -> Result<SmallDisk, String> {
        let mounted_at = temporary().join(format!("{name}-disk"));
        fs::create_dir_all(&mounted_at).unwrap();
        let disk = SmallDisk { mounted_at };
        let options = format!("size={}", Self::BYTES);
        disk.mount(0, &options).map_err(|error| format!("cannot mount a small disk: {error}"))?;
        Ok(disk)
    }

    fn mount(&self, flags: libc::c_ulong, options: &str) -> std::io::Result<()> {
        let text = |text: &str| CString::new(text).unwrap();
        let (kind, options) = (text("tmpfs"), text(options));
        let target = CString::new(self.mounted_at.as_os_str().as_bytes()).unwrap();
        // SAFETY: four texts that end with NUL and outlive the call, which keeps none of them.
        let outcome =
            unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
        if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }

    fn set_read_only(&self, is_read_only: bool) {
        let flags = libc::MS_REMOUNT | if is_read_only { libc::MS_RDONLY } else { 0 };
        self.mount(flags, "").unwrap();
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let ballast = self.mounted_at.join("ballast");
        let mut file = File::create(&ballast).unwrap();
        let mut size = Self::BYTES;
        while size > 0 {
            match file.write(&vec![0x55; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("{error}"),
            }
        }
        ballast
    }

    /// Has a deployment keep its index here.
    fn keep_index(&self, indexed: &mut Indexed) {
        indexed.path = self.mounted_at.join("index.db");
        let own = format!("index.path = {:?}", indexed.path);
        indexed.deployment.settings = indexed.deployment.settings.clone().with(&own);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let target = CString::new(self.mounted_at.as_os_str().as_bytes()).unwrap();
        // SAFETY: a text that ends with NUL. Detached, since a process that a failed test left may still look at it.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        // A folder that stays behind takes no space.
        let _ = fs::remove_dir(&self.mounted_at);
    }
}

/// Starts an indexer, has it write what there is, and stops it.
fn filled(indexed: &Indexed, traffic: &Traffic) {
    let mut worker = indexed.start_with_half(traffic, "first");
    worker.stop();
    assert!(!all(&indexed.path).is_empty());
}

/// Starts an indexer that has to stop by itself; returns what it said.
fn refused(indexed: &Indexed, code: i32) -> String {
    let mut worker = indexed.start("refused");
    assert_eq!(worker.wait_exit(PATIENCE), code, "{}", worker.log());
    worker.log()
}

/// Has an indexer go on, with what was published meanwhile, and compares.
fn goes_on(indexed: &Indexed, traffic: &Traffic) {
    indexed.publish(traffic, 1, 2);
    let mut worker = indexed.start("again");
    worker.wait_ready();
    indexed.wait_indexed(&mut worker);
    worker.stop();
    indexed.assert_agrees();
    indexed.ok(&["index", "verify"]);
}

/// Full while the indexer runs: it tries again, says so, answers meanwhile, and goes on when there is room.
fn full(broker: &Broker) -> Result<(), String> {
    let (mut indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(41, 1, 60));
    let disk = SmallDisk::new(&indexed.deployment.name)?;
    disk.keep_index(&mut indexed);
    let mut worker = indexed.start_with_half(&traffic, "index");
    let before = all(&indexed.path);
    let ballast = disk.fill();
    indexed.publish(&traffic, 1, 2);
    worker.wait_metric("livesession_index_transactions_total{outcome=\"failed\"}", |failed| failed > 0.0);
    worker.wait_metric("livesession_index_lag_records{partition=\"0\"}", |lag| lag > 0.0);
    let log = worker.log();
    assert!(log.contains("index did not take a transaction, trying again"), "{log}");
    assert!(log.contains("no space left"), "{log}");
    assert_eq!(all(&indexed.path), before, "all of a batch or nothing");
    assert_eq!(worker.get("/livez").unwrap().0, 200);
    assert_eq!(worker.get("/api/v1/sessions").unwrap().0, 200);
    let (_, page) = worker.get("/").unwrap();
    assert!(page.contains("behind"), "{page}");
    fs::remove_file(ballast).unwrap();
    indexed.wait_indexed(&mut worker);
    worker.stop();
    indexed.assert_agrees();
    indexed.ok(&["index", "verify"]);
    starts_on_a_full_disk(&indexed, &disk);
    Ok(())
}

/// Full before there is a file: said at once, and nothing is in the way of the next start.
fn starts_on_a_full_disk(indexed: &Indexed, disk: &SmallDisk) {
    for suffix in ["", "-wal", "-shm"] {
        // The log is gone after a clean stop.
        let _ = fs::remove_file(format!("{}{suffix}", indexed.path.display()));
    }
    let ballast = disk.fill();
    let log = refused(indexed, 74);
    assert!(log.contains("no space left"), "{log}");
    fs::remove_file(ballast).unwrap();
    let mut worker = indexed.start("again");
    worker.wait_ready();
    indexed.wait_indexed(&mut worker);
    worker.stop();
    indexed.assert_agrees();
}

fn read_only(broker: &Broker) -> Result<(), String> {
    let (mut indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(42, 1, 40));
    let disk = SmallDisk::new(&indexed.deployment.name)?;
    disk.keep_index(&mut indexed);
    filled(&indexed, &traffic);
    disk.set_read_only(true);
    let log = refused(&indexed, 74);
    assert!(log.contains("file or directory is read-only"), "{log}");
    assert!(log.contains(indexed.path.to_str().unwrap()), "{log}");
    let answered = indexed.ok(&["sessions", "list", "--status", "any", "--limit", "0"]);
    assert_eq!(answered.lines().count(), all(&indexed.path).len(), "a file that was closed is read all the same");
    disk.set_read_only(false);
    goes_on(&indexed, &traffic);
    Ok(())
}

fn newer(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(43, 1, 40));
    filled(&indexed, &traffic);
    let set_version = |version: i32| {
        let connection = Connection::open(&indexed.path).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    };
    let known = livesession_index::VERSION;
    set_version(known + 1);
    let before = fs::read(&indexed.path).unwrap();
    let log = refused(&indexed, 78);
    assert!(log.contains(&format!("has version {}, this program knows up to {known}", known + 1)), "{log}");
    for arguments in
        [&["sessions", "list"][..], &["index", "rebuild", "--yes"], &["index", "prune", "--retention", "1d", "--yes"]]
    {
        let run = indexed.command(arguments);
        assert_ne!(run.code, 0, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("this program knows up to"), "{arguments:?}: {run:?}");
    }
    assert!(fs::read(&indexed.path).unwrap() == before, "not a byte was written");
    set_version(known);
    goes_on(&indexed, &traffic);
}

/// As when `topics.input` was changed, or `index.path` mistyped.
fn other_input(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(45, 1, 40));
    filled(&indexed, &traffic);
    let name = |input: &str| {
        let connection = Connection::open(&indexed.path).unwrap();
        connection.execute("UPDATE meta SET value = ?1 WHERE key = 'source_topic'", [input]).unwrap();
    };
    name("theirs");
    let before = all(&indexed.path);
    let log = refused(&indexed, 78);
    assert!(log.contains("set topics.input back"), "{log}");
    for arguments in [&["index", "verify"][..], &["index", "rebuild", "--yes"]] {
        let run = indexed.command(arguments);
        assert_eq!(run.code, 78, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("is of source_topic \"theirs\", not"), "{arguments:?}: {run:?}");
    }
    assert_eq!(all(&indexed.path), before);
    name(&indexed.deployment.input);
    goes_on(&indexed, &traffic);
}

/// Half of the pages are overwritten. The message's own advice repairs it.
fn corrupt(broker: &Broker) {
    let (indexed, traffic) = (Indexed::new(broker, 1), Traffic::generate(44, 1, 60));
    filled(&indexed, &traffic);
    damage(&indexed.path);
    indexed.publish(&traffic, 1, 2);
    let log = refused(&indexed, 74);
    assert!(log.contains("is corrupt: delete it and let it be filled again"), "{log}");
    assert!(log.contains(indexed.path.to_str().unwrap()), "{log}");
    fs::remove_file(&indexed.path).unwrap();
    let mut worker: Worker = indexed.start("again");
    worker.wait_ready();
    indexed.wait_indexed(&mut worker);
    worker.stop();
    indexed.assert_agrees();
    damage(&indexed.path);
    indexed.ok(&["index", "rebuild"]);
    indexed.ok(&["index", "verify"]);
    indexed.assert_agrees();
}

/// Overwrites all pages of a closed file but the first.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[4_096..].fill(0x5a);
    fs::write(path, bytes).unwrap();
}
