//! Delivery: where files land, that one key is one copy, and what trouble leaves behind.

use std::os::unix::fs::PermissionsExt;

use durable::{Disk, Kind, Op};

use super::*;
use crate::{Delivered, StoreError};

#[test]
fn a_first_delivery_makes_the_maildir() {
    let host = Host::new();
    let mailbox = host.mailbox();
    assert!(mailbox.is_made());
    let Delivered::Stored { name } = mailbox
        .deliver(key(1), &[b"Return-Path: <>\n", b"a: b\n\nbody\n"])
        .unwrap()
    else {
        panic!("not stored");
    };
    assert!(name.ends_with(".Q00000000000000000001R0.mx.test,S=27"), "{name}");
    assert_eq!(host.names("new"), [name.as_str()]);
    assert!(host.names("tmp").is_empty() && host.names("cur").is_empty());
    let file = host.path().join("new").join(name);
    assert_eq!(std::fs::read(&file).unwrap(), b"Return-Path: <>\na: b\n\nbody\n");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    for dir in ["", "new", "cur", "tmp", ".."] {
        assert_eq!(mode(&host.path().join(dir)), 0o700, "{dir}");
    }
    assert!(!host.mailbox().is_made());
}

#[test]
fn the_same_key_in_the_same_second_is_one_file() {
    let place = Arc::new(tempfile::tempdir().unwrap());
    let store = Store::with_clock(Disk::new(), "h", || {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    });
    let base = store.disk().open_root(place.path()).unwrap();
    let mailbox = store.mailbox(&base, MAILDIR, owner()).unwrap();
    assert!(matches!(
        mailbox.deliver(key(1), &[b"x"]).unwrap(),
        Delivered::Stored { .. }
    ));
    assert_eq!(mailbox.deliver(key(1), &[b"x"]).unwrap(), Delivered::Already);
    assert!(matches!(
        mailbox.deliver(key(2), &[b"x"]).unwrap(),
        Delivered::Stored { .. }
    ));
    assert_eq!(names(&place.path().join(MAILDIR).join("new")).len(), 2);
}

#[test]
fn a_repeated_key_is_found_wherever_the_message_went() {
    let host = Host::new();
    let mailbox = host.mailbox();
    for n in 1..=4 {
        assert!(!mailbox.has(key(n)).unwrap());
        host.deliver(n, "a: b\n\n");
    }
    // Without the ring, so that only the files can tell.
    std::fs::remove_file(host.path().join("postrider-keys")).unwrap();
    host.account().create(&folder_name("Kept")).unwrap();
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    inbox.move_to(&[2], &host.folder("Kept")).unwrap();
    host.deliver(9, "a: b\n\n");
    inbox.expunge(&[3]).unwrap();
    assert!(mailbox.has(key(1)).unwrap(), "in cur");
    assert!(mailbox.has(key(2)).unwrap(), "in another folder");
    assert!(!mailbox.has(key(3)).unwrap(), "expunged, and the ring is gone");
    assert!(mailbox.has(key(9)).unwrap(), "in new");
    // With the ring, an expunged message is remembered.
    inbox.refresh().unwrap();
    inbox.expunge(&[5]).unwrap();
    assert!(mailbox.has(key(9)).unwrap(), "in the ring");
    let other_recipient = DeliveryKey {
        recipient: 1,
        ..key(1)
    };
    assert!(!mailbox.has(other_recipient).unwrap());
}

#[test]
fn mailboxes_of_other_owners_and_bad_paths_are_refused() {
    let host = Host::new();
    let base = host.store.disk().open_root(host.place.path()).unwrap();
    let other = Owner {
        uid: owner().uid + 1,
        ..owner()
    };
    assert!(matches!(
        host.store.mailbox(&base, MAILDIR, other),
        Err(StoreError::Owner(_))
    ));
    for bad in ["", ".", "/", "/etc", "../x", "a/../../x", "a/.."] {
        let result = host.store.mailbox(&base, bad, owner());
        assert!(matches!(result, Err(StoreError::BadPath(_))), "{bad}");
    }
    assert_eq!(names(host.place.path()).len(), 0);
}

/// L05: nothing is written through links, into FIFOs or files.
#[test]
fn links_and_odd_files_in_a_maildir_stop_the_delivery() {
    let outside = tempfile::tempdir().unwrap();
    let link: fn(&Path, &Path) = |path, target| std::os::unix::fs::symlink(target, path).unwrap();
    let fifo: fn(&Path, &Path) = |path, _| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let file: fn(&Path, &Path) = |path, _| std::fs::write(path, "x").unwrap();
    for (name, make) in [
        ("new", link),
        ("tmp", link),
        ("tmp", fifo),
        ("new", file),
        ("tmp", file),
    ] {
        let host = Host::new();
        host.deliver(1, "x");
        let path = host.path().join(name);
        std::fs::remove_dir_all(&path).unwrap();
        make(&path, outside.path());
        let base = host.store.disk().open_root(host.place.path()).unwrap();
        let error = host.store.mailbox(&base, MAILDIR, owner()).unwrap_err();
        assert_eq!(error.kind(), Some(Kind::Unsafe), "{name}: {error:?}");
    }
    // The account itself, or a directory on the way to it.
    for name in ["example.com", "example.com/alice"] {
        let host = Host::new();
        host.deliver(1, "x");
        let path = host.place.path().join(name);
        std::fs::remove_dir_all(&path).unwrap();
        link(&path, outside.path());
        let base = host.store.disk().open_root(host.place.path()).unwrap();
        let error = host.store.mailbox(&base, MAILDIR, owner()).unwrap_err();
        assert_eq!(error.kind(), Some(Kind::Unsafe), "{name}: {error:?}");
    }
    assert_eq!(names(outside.path()).len(), 0);
}

/// L10: ENOSPC at each operation that can need space.
#[test]
fn a_full_disk_at_any_step_leaves_nothing_and_a_later_try_succeeds() {
    fn grows(op: &Op<'_>) -> bool {
        matches!(
            op,
            Op::Create { .. } | Op::MakeDir { .. } | Op::Write { .. } | Op::Rename { .. }
        )
    }
    let mut refused = 0;
    for n in 0..20 {
        let probe = Refuse::nth(grows, ENOSPC, n);
        let host = Host::on(
            Arc::new(tempfile::tempdir().unwrap()),
            Disk::with_probe(probe.clone()),
        );
        let base = host.store.disk().open_root(host.place.path()).unwrap();
        let deliver = || {
            host.store
                .mailbox(&base, MAILDIR, owner())?
                .deliver(key(1), &[b"a", b"b"])
        };
        match deliver() {
            Err(error) => {
                assert!(error.is_full(), "step {n}: {error:?}");
                refused += 1;
                assert!(
                    host.names("new").is_empty() && host.names("tmp").is_empty(),
                    "step {n}"
                );
                deliver().unwrap();
            }
            // Only the ring could not be written: the message is delivered.
            Ok(_) => assert!(*probe.hits.lock().unwrap() == 0 || n >= 9, "step {n}"),
        }
        assert_eq!(host.names("new").len(), 1, "step {n}");
    }
    assert!(refused >= 8, "directories, file, two writes, rename: {refused}");
}

/// L10: EIO at each sync.
#[test]
fn a_failed_sync_at_any_step_takes_the_message_back() {
    fn syncs(op: &Op<'_>) -> bool {
        matches!(op, Op::SyncFile { .. } | Op::SyncDir { .. })
    }
    let mut refused = 0;
    for n in 0..12 {
        let probe = Refuse::nth(syncs, EIO, n);
        let host = Host::on(
            Arc::new(tempfile::tempdir().unwrap()),
            Disk::with_probe(probe.clone()),
        );
        let base = host.store.disk().open_root(host.place.path()).unwrap();
        let deliver = || {
            host.store
                .mailbox(&base, MAILDIR, owner())?
                .deliver(key(1), &[b"a", b"b"])
        };
        if let Err(error) = deliver() {
            assert_eq!(error.kind(), Some(Kind::Sync), "sync {n}: {error:?}");
            refused += 1;
            assert!(
                host.names("new").is_empty() && host.names("tmp").is_empty(),
                "sync {n}"
            );
            // Suspect: no new file until the test passes.
            let again = deliver().unwrap_err();
            assert!(
                matches!(
                    again,
                    StoreError::Disk {
                        source: durable::Error::Suspect,
                        ..
                    }
                ),
                "{again:?}"
            );
            host.store.disk().self_test(&base).unwrap();
            deliver().unwrap();
        }
        assert_eq!(host.names("new").len(), 1, "sync {n}");
    }
    assert!(refused >= 4, "{refused}");
}

#[test]
fn old_temporary_files_are_removed() {
    let host = Host::new();
    host.deliver(1, "x");
    std::fs::write(host.path().join("tmp/left"), "half").unwrap();
    host.inbox();
    assert_eq!(host.names("tmp"), ["left"]);
    *host.ahead.lock().unwrap() = 37 * 3600;
    host.inbox();
    assert!(host.names("tmp").is_empty());
}
