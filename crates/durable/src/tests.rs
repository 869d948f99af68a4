//! The promises of this crate, against refused operations and against every power cut.

use std::io;
use std::sync::{Arc, Mutex};

use crate::crash::{Crash, Recorder};
use crate::{Alarm, Disk, Error, Kind, Op, Probe, wait_all, wait_each};

fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Refuses the n-th operation that `wanted` accepts.
#[derive(Debug)]
struct Refuse {
    wanted: fn(&Op<'_>) -> bool,
    errno: i32,
    left: Mutex<usize>,
}

impl Refuse {
    fn nth(wanted: fn(&Op<'_>) -> bool, errno: i32, n: usize) -> Disk {
        Disk::with_probe(Arc::new(Self {
            wanted,
            errno,
            left: Mutex::new(n),
        }))
    }
}

impl Probe for Refuse {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        if !(self.wanted)(op) {
            return Ok(());
        }
        let mut left = self.left.lock().unwrap();
        let refused = *left == 0;
        *left = left.wrapping_sub(1);
        if refused {
            Err(io::Error::from_raw_os_error(self.errno))
        } else {
            Ok(())
        }
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// tmp/ -> new/ with both directories made on the way.
fn deliver(disk: &Disk, root: &std::path::Path, name: &str, body: &[u8]) -> Result<(), Error> {
    let root = disk.open_root(root)?;
    let (tmp, a) = root.ensure_dir("tmp", 0o700)?;
    let (new, b) = root.ensure_dir("new", 0o700)?;
    let mut staged = tmp.stage(name, 0o600)?;
    staged.write_all(body)?;
    wait_all([a, b])?;
    staged.publish(&new, name).wait()
}

fn holds_promised_files(crash: &Crash<'_>) -> Result<(), String> {
    for promise in crash.promises {
        let (path, body) = promise.split_once('=').unwrap();
        match std::fs::read(crash.root.join(path)) {
            Ok(found) if found == body.as_bytes() => {}
            Ok(found) => return Err(format!("{path} holds {} bytes of {}", found.len(), body.len())),
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    Ok(())
}

#[test]
fn a_published_file_survives_every_power_cut_and_needs_every_barrier() {
    let place = place();
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    let disk = Disk::with_probe(recorder.clone());
    deliver(&disk, place.path(), "m1", b"first").unwrap();
    recorder.promise("new/m1=first");
    deliver(&disk, place.path(), "m2", b"second").unwrap();
    recorder.promise("new/m2=second");
    let recording = recorder.recording();
    // Two barriers make directories durable: the sync of the parent happens once for both (in any order),
    // so one of the pair may be missing.
    let root_syncs = recording
        .barriers()
        .iter()
        .filter(|(_, what)| what.contains("directory / "))
        .count();
    assert!(root_syncs >= 1);
    let caught = recording
        .check_barriers(holds_promised_files, |what| {
            root_syncs > 1 && what.contains("directory / ")
        })
        .unwrap();
    assert!(caught >= 4, "file and directory of two messages: {caught}");
}

#[test]
fn an_appended_record_survives_every_power_cut_and_needs_every_barrier() {
    let place = place();
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    let disk = Disk::with_probe(recorder.clone());
    let root = disk.open_root(place.path()).unwrap();
    let log = root.open_append("log", 0o600).unwrap();
    log.append(b"one,").unwrap().wait().unwrap();
    recorder.promise("one,");
    log.append(b"two,").unwrap().wait().unwrap();
    recorder.promise("one,two,");
    let starts_with_promise = |crash: &Crash<'_>| {
        let Some(wanted) = crash.promises.last() else {
            return Ok(());
        };
        let found = std::fs::read(crash.root.join("log")).map_err(|e| e.to_string())?;
        if found.starts_with(wanted.as_bytes()) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    };
    let caught = recorder
        .recording()
        .check_barriers(starts_with_promise, |_| false)
        .unwrap();
    assert_eq!(caught, 3, "name, first record, second record");
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one() {
    let place = place();
    std::fs::write(place.path().join("log"), "old").unwrap();
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    let disk = Disk::with_probe(recorder.clone());
    let root = disk.open_root(place.path()).unwrap();
    let mut staged = root.stage("log.new", 0o600).unwrap();
    staged.write_all(b"new").unwrap();
    staged.replace(&root, "log").wait().unwrap();
    recorder.promise("new");
    let old_or_new = |crash: &Crash<'_>| {
        let found = std::fs::read(crash.root.join("log")).map_err(|e| e.to_string())?;
        let wanted: &[&[u8]] = if crash.promises.is_empty() {
            &[b"old", b"new"]
        } else {
            &[b"new"]
        };
        if wanted.contains(&found.as_slice()) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    };
    assert_eq!(
        recorder
            .recording()
            .check_barriers(old_or_new, |_| false)
            .unwrap(),
        2
    );
}

#[test]
fn a_removal_and_a_rename_need_their_barrier() {
    let place = place();
    std::fs::write(place.path().join("a"), "x").unwrap();
    std::fs::write(place.path().join("b"), "y").unwrap();
    std::fs::create_dir(place.path().join("sub")).unwrap();
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    let disk = Disk::with_probe(recorder.clone());
    let root = disk.open_root(place.path()).unwrap();
    let sub = root.open_dir("sub").unwrap();
    root.remove("a").unwrap().wait().unwrap();
    recorder.promise("a gone");
    // Into the subdirectory: the target's directory is synced first, the source's after it, and either is
    // enough in a file system that renames atomically.
    root.rename("b", &sub, "b", false).unwrap().wait().unwrap();
    recorder.promise("b moved");
    let check = |crash: &Crash<'_>| {
        let at = |p: &str| crash.root.join(p).exists();
        let ok = match crash.promises.len() {
            0 => at("b") != at("sub/b"),
            1 => !at("a") && at("b") != at("sub/b"),
            _ => !at("a") && !at("b") && at("sub/b"),
        };
        if ok {
            Ok(())
        } else {
            Err("promise broken".to_owned())
        }
    };
    let recording = recorder.recording();
    assert_eq!(recording.barriers().len(), 3);
    recording
        .check_barriers(check, |what| {
            what.contains("event 3") || what.contains("event 4") || what.contains("event 5")
        })
        .unwrap();
}

#[test]
fn no_space_at_any_step_leaves_nothing_and_a_later_try_succeeds() {
    fn grows(op: &Op<'_>) -> bool {
        matches!(
            op,
            Op::Create { .. } | Op::MakeDir { .. } | Op::Write { .. } | Op::Rename { .. }
        )
    }
    for n in 0..5 {
        let place = place();
        let disk = Refuse::nth(grows, ENOSPC, n);
        let error = deliver(&disk, place.path(), "m", b"body").unwrap_err();
        assert_eq!(error.kind(), Kind::NoSpace, "step {n}: {error:?}");
        for dir in ["tmp", "new"] {
            let left = std::fs::read_dir(place.path().join(dir)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "step {n}: {dir}");
        }
        deliver(&disk, place.path(), "m", b"body").unwrap();
    }
}

#[test]
fn a_failed_sync_is_final_takes_the_file_back_and_makes_the_volume_suspect() {
    fn syncs(op: &Op<'_>) -> bool {
        matches!(op, Op::SyncFile { .. } | Op::SyncDir { .. })
    }
    for n in 0..4 {
        let place = place();
        let disk = Refuse::nth(syncs, EIO, n);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        disk.on_alarm(move |alarm| ear.lock().unwrap().push(alarm.clone()));
        let result = deliver(&disk, place.path(), "m", b"body");
        assert_eq!(result.unwrap_err().kind(), Kind::Sync, "sync {n}");
        let left = std::fs::read_dir(place.path().join("new")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "sync {n}");
        let root = disk.open_root(place.path()).unwrap();
        assert!(disk.is_suspect(&root));
        assert!(matches!(root.stage("x", 0o600), Err(Error::Suspect)));
        assert!(matches!(heard.lock().unwrap()[..], [Alarm::SyncFailed { .. }]));
        disk.self_test(&root).unwrap();
        assert!(!disk.is_suspect(&root));
        assert!(matches!(heard.lock().unwrap()[..], [_, Alarm::Recovered { .. }]));
        deliver(&disk, place.path(), "m", b"body").unwrap();
    }
}

#[test]
fn a_self_test_that_fails_clears_nothing() {
    #[derive(Debug)]
    struct Broken;
    impl Probe for Broken {
        fn before(&self, op: &Op<'_>) -> io::Result<()> {
            match op {
                Op::SyncFile { .. } => Err(io::Error::from_raw_os_error(EIO)),
                _ => Ok(()),
            }
        }
    }
    let place = place();
    let disk = Disk::with_probe(Arc::new(Broken));
    // At the start of a process nothing is known of the volume; the test finds out.
    let root = disk.open_root(place.path()).unwrap();
    assert!(!disk.is_suspect(&root));
    assert!(disk.self_test(&root).is_err());
    assert!(disk.is_suspect(&root));
    let disk = Disk::with_probe(Arc::new(Broken));
    assert!(deliver(&disk, place.path(), "m", b"x").is_err());
    let root = disk.open_root(place.path()).unwrap();
    assert!(disk.self_test(&root).is_err());
    assert!(disk.is_suspect(&root));
    assert_eq!(
        std::fs::read_dir(place.path()).unwrap().count(),
        2,
        "tmp and new, no test file"
    );
}

#[test]
fn a_journal_whose_sync_failed_takes_no_more_records() {
    fn file(op: &Op<'_>) -> bool {
        matches!(op, Op::SyncFile { .. })
    }
    let place = place();
    let disk = Refuse::nth(file, EIO, 1);
    let root = disk.open_root(place.path()).unwrap();
    let log = root.open_append("log", 0o600).unwrap();
    log.append(b"one").unwrap().wait().unwrap();
    assert!(log.append(b"two").unwrap().wait().is_err());
    // Not even after a new open: the inode is what failed.
    let again = root.open_append("log", 0o600).unwrap();
    assert!(again.is_poisoned());
    assert!(matches!(again.append(b"three"), Err(Error::Poisoned(_))));
    // A new file in its place is good.
    disk.self_test(&root).unwrap();
    let mut staged = root.stage("log.new", 0o600).unwrap();
    staged.write_all(b"one").unwrap();
    staged.replace(&root, "log").wait().unwrap();
    root.open_append("log", 0o600)
        .unwrap()
        .append(b"two")
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(std::fs::read(place.path().join("log")).unwrap(), b"onetwo");
}

#[test]
fn later_is_kept_by_flush_and_by_itself() {
    let place = place();
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    let disk = Disk::with_probe(recorder.clone());
    let root = disk.open_root(place.path()).unwrap();
    let log = root.open_append("log", 0o600).unwrap();
    for record in ["a", "b", "c"] {
        log.append(record.as_bytes()).unwrap().later().unwrap();
    }
    disk.flush().unwrap();
    let syncs = recorder.recording().barriers().len();
    assert_eq!(syncs, 2, "one for three records, one for the name");
}

#[test]
fn names_are_one_component_and_links_are_not_followed() {
    let outside = place();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    let place = place();
    std::os::unix::fs::symlink(outside.path(), place.path().join("new")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), place.path().join("file")).unwrap();
    nix::unistd::mkfifo(&place.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let disk = Disk::new();
    let root = disk.open_root(place.path()).unwrap();
    for result in [
        root.open_dir("new").map(drop),
        root.open_dir("../x").map(drop),
        root.open_dir("/etc").map(drop),
        root.ensure_dir("new", 0o700).map(drop),
        root.open_file("file").map(drop),
        root.open_file("fifo").map(drop),
        root.open_append("fifo", 0o600).map(drop),
        root.open_append("file", 0o600).map(drop),
        root.stage("../x", 0o600).map(drop),
        root.discard("a/b"),
        root.discard(".."),
    ] {
        assert_eq!(result.unwrap_err().kind(), Kind::Unsafe);
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_taken_name_is_said_and_the_staged_file_removed() {
    let place = place();
    let disk = Disk::new();
    deliver(&disk, place.path(), "m", b"first").unwrap();
    assert!(
        deliver(&disk, place.path(), "m", b"second")
            .unwrap_err()
            .is_exists()
    );
    assert_eq!(std::fs::read(place.path().join("new/m")).unwrap(), b"first");
    assert_eq!(std::fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn many_promises_have_a_result_each_in_order() {
    let place = place();
    let disk = Disk::new();
    let root = disk.open_root(place.path()).unwrap();
    std::fs::write(place.path().join("7"), "taken").unwrap();
    let mut promises = Vec::new();
    for n in 0..50 {
        let mut staged = root.stage(format!("t{n}"), 0o600).unwrap();
        staged.write_all(b"x").unwrap();
        promises.push(staged.publish(&root, n.to_string()));
    }
    let results = wait_each(promises);
    assert_eq!(results.len(), 50);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), n == 7, "{n}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 50);
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let disk = Disk::new();
    let root = disk.open_root(place.path()).unwrap();
    root.stage("t", 0o640)
        .unwrap()
        .publish(&root, "f")
        .wait()
        .unwrap();
    let mode = std::fs::metadata(place.path().join("f"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_lock_is_exclusive_and_freed_by_drop() {
    let place = place();
    let root = Disk::new().open_root(place.path()).unwrap();
    let lock = root.try_lock("lock", 0o600).unwrap();
    assert!(lock.is_some());
    assert!(root.try_lock("lock", 0o600).unwrap().is_none());
    drop(lock);
    assert!(root.try_lock("lock", 0o600).unwrap().is_some());
}
