//! One folder: UIDs, flags, keywords, removal, what other programs do to it.

use super::*;
use crate::{FlagOp, StoreError};

#[test]
fn uids_are_given_in_order_of_arrival_and_stay() {
    let host = Host::new();
    for n in 1..=3 {
        host.deliver(n, &format!("n: {n}\n\n"));
    }
    let inbox = host.inbox();
    let view = inbox.refresh().unwrap();
    assert_eq!(
        contents(&inbox),
        [
            (1, "n: 1\n\n".into()),
            (2, "n: 2\n\n".into()),
            (3, "n: 3\n\n".into())
        ]
    );
    assert_eq!(
        (view.uid_next, host.names("new").len(), host.names("cur").len()),
        (4, 0, 3)
    );
    assert!(host.names("cur").iter().all(|n| n.ends_with(":2,")));
    inbox.expunge(&[2]).unwrap();
    drop(inbox);
    // A new process reads the same from the disk.
    let other = host.other_process();
    let inbox = other.inbox();
    assert_eq!(contents(&inbox), [(1, "n: 1\n\n".into()), (3, "n: 3\n\n".into())]);
    assert_eq!(
        (inbox.view().uid_next, inbox.uid_validity()),
        (4, view.uid_validity)
    );
}

#[test]
fn refresh_gives_the_same_view_while_nothing_changes() {
    let host = Host::new();
    host.deliver(1, "x");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    host.wait();
    let first = inbox.refresh().unwrap();
    let generation = inbox.generation();
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&first, &inbox.refresh().unwrap()));
    }
    assert_eq!(inbox.generation(), generation);
    host.deliver(2, "y");
    assert_eq!(inbox.refresh().unwrap().messages.len(), 2);
}

#[test]
fn a_change_within_the_same_clock_tick_is_seen() {
    let host = Host::new();
    let inbox = host.inbox();
    // No waiting: directory times may not have moved between these.
    for n in 1..=50 {
        host.deliver(n, "x");
        assert_eq!(inbox.refresh().unwrap().messages.len(), n as usize);
    }
}

#[test]
fn flags_and_keywords_are_kept() {
    let host = Host::new();
    host.deliver(1, "x");
    host.deliver(2, "y");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    let before = inbox.view().highest_modseq;
    let view = inbox
        .store(&[1, 2, 99], FlagOp::Add, Flags::SEEN, &["Work", "$Label1"])
        .unwrap();
    assert!(
        view.messages
            .iter()
            .all(|m| m.flags == Flags::SEEN && m.modseq > before)
    );
    let view = inbox
        .store(&[1], FlagOp::Remove, Flags::NONE, &["WORK", "unknown"])
        .unwrap();
    assert_eq!(
        view.keyword_names(view.get(1).unwrap()).collect::<Vec<_>>(),
        ["$Label1"]
    );
    assert_eq!(view.keywords, ["Work", "$Label1"], "removing introduces none");
    let view = inbox
        .store(
            &[2],
            FlagOp::Replace,
            Flags::FLAGGED | Flags::DELETED,
            &["$Forwarded"],
        )
        .unwrap();
    let two = view.get(2).unwrap();
    assert_eq!(
        (two.flags, two.keywords),
        (Flags::FLAGGED | Flags::DELETED | Flags::PASSED, 0)
    );
    let modseq = two.modseq;
    // Nothing changes: no new modseq.
    assert_eq!(
        inbox
            .store(&[2], FlagOp::Add, Flags::FLAGGED, &[])
            .unwrap()
            .get(2)
            .unwrap()
            .modseq,
        modseq
    );
    let other = host.other_process().inbox();
    assert_eq!(*other.refresh().unwrap(), *inbox.view());
    assert!(
        host.names("cur").iter().any(|n| n.ends_with(":2,FPT")),
        "{:?}",
        host.names("cur")
    );
}

#[test]
fn no_more_than_64_keywords() {
    let host = Host::new();
    host.deliver(1, "x");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    for n in 0..64 {
        inbox
            .store(&[1], FlagOp::Add, Flags::NONE, &[&format!("k{n}")])
            .unwrap();
    }
    let error = inbox
        .store(&[1], FlagOp::Add, Flags::NONE, &["one-more"])
        .unwrap_err();
    assert!(matches!(error, StoreError::TooManyKeywords));
    assert_eq!(inbox.view().get(1).unwrap().keywords, u64::MAX);
    assert_eq!(*host.other_process().inbox().refresh().unwrap(), *inbox.view());
}

#[test]
fn flags_set_by_another_program_are_seen_and_foreign_letters_kept() {
    let host = Host::new();
    host.deliver(1, "x");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    let modseq = inbox.view().highest_modseq;
    let cur = host.path().join("cur");
    let name = host.names("cur").remove(0);
    std::fs::rename(cur.join(&name), cur.join(format!("{name}SFab"))).unwrap();
    host.wait();
    let view = inbox.refresh().unwrap();
    let message = view.get(1).unwrap();
    assert_eq!(message.flags, Flags::SEEN | Flags::FLAGGED);
    assert!(message.modseq > modseq);
    assert_eq!(inbox.read(1).unwrap(), b"x");
    inbox.store(&[1], FlagOp::Add, Flags::ANSWERED, &[]).unwrap();
    assert_eq!(host.names("cur"), [format!("{name}FRSab")]);
    assert_eq!(inbox.read(1).unwrap(), b"x");
}

#[test]
fn a_message_renamed_behind_our_back_is_found_again() {
    let host = Host::new();
    for n in 1..=3 {
        host.deliver(n, &format!("{n}"));
    }
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    let cur = host.path().join("cur");
    for name in host.names("cur") {
        std::fs::rename(cur.join(&name), cur.join(format!("{name}F"))).unwrap();
    }
    assert_eq!(inbox.read(1).unwrap(), b"1");
    for name in host.names("cur") {
        std::fs::rename(cur.join(&name), cur.join(name.replace(":2,F", ":2,R"))).unwrap();
    }
    let view = inbox.store(&[2], FlagOp::Add, Flags::SEEN, &[]).unwrap();
    assert_eq!(view.get(2).unwrap().flags, Flags::ANSWERED | Flags::SEEN);
    for name in host.names("cur") {
        std::fs::rename(cur.join(&name), cur.join(name.replace(":2,R", ":2,D"))).unwrap();
    }
    let expunged = inbox.expunge(&[1, 3]).unwrap();
    assert!(expunged.failed.is_empty());
    assert_eq!(contents(&inbox), [(2, "2".into())]);
}

#[test]
fn a_removed_file_is_expunged_and_its_return_is_a_new_message() {
    let host = Host::new();
    host.deliver(1, "one");
    host.deliver(2, "two");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    let away = host.place.path().join("away");
    let file = host.path().join("cur").join(&host.names("cur")[0]);
    std::fs::rename(&file, &away).unwrap();
    host.wait();
    assert!(matches!(inbox.read(1), Err(StoreError::Expunged)));
    assert_eq!(contents(&inbox), [(2, "two".into())]);
    std::fs::rename(&away, &file).unwrap();
    host.wait();
    assert_eq!(contents(&inbox), [(2, "two".into()), (3, "one".into())]);
}

#[test]
fn of_two_files_with_one_base_name_the_last_seen_keeps_the_uid() {
    let host = Host::new();
    host.deliver(1, "right");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    inbox.store(&[1], FlagOp::Add, Flags::SEEN, &[]).unwrap();
    let cur = host.path().join("cur");
    let name = host.names("cur").remove(0);
    std::fs::write(cur.join(name.replace(":2,S", ":2,F")), "double").unwrap();
    std::fs::write(host.path().join("new").join(name.replace(":2,S", "")), "third").unwrap();
    host.wait();
    let mut found = contents(&inbox);
    assert_eq!(found.remove(0), (1, "right".into()));
    let mut others: Vec<String> = found.into_iter().map(|(_, c)| c).collect();
    others.sort();
    assert_eq!(others, ["double", "third"]);
    host.wait();
    assert_eq!(inbox.refresh().unwrap().messages.len(), 3, "and that is stable");
}

#[test]
fn files_that_are_no_messages_are_passed_over() {
    let host = Host::new();
    host.deliver(1, "x");
    std::fs::write(host.path().join("new/.hidden"), "x").unwrap();
    std::fs::create_dir(host.path().join("cur/directory")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", host.path().join("cur/1.link:2,")).unwrap();
    assert_eq!(host.inbox().refresh().unwrap().messages.len(), 1);
}

#[test]
fn a_file_of_somebody_elses_kind_is_not_opened() {
    let host = Host::new();
    host.deliver(1, "x");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    // Swapped between the listing and the opening (L07).
    let file = host.path().join("cur").join(&host.names("cur")[0]);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(inbox.read(1).is_err());
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(inbox.read(1).is_err(), "and does not hang");
}

#[test]
fn recent_is_told_once() {
    let host = Host::new();
    host.deliver(1, "x");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    assert_eq!(inbox.peek_recent(), 1);
    assert_eq!(inbox.take_recent().unwrap(), 1);
    assert_eq!((inbox.peek_recent(), inbox.take_recent().unwrap()), (2, 2));
    host.deliver(2, "y");
    inbox.refresh().unwrap();
    let other = host.other_process().inbox();
    assert_eq!(other.take_recent().unwrap(), 2);
    assert_eq!(inbox.take_recent().unwrap(), 3);
}

#[test]
fn append_keeps_flags_date_and_bytes() {
    let host = Host::new();
    let inbox = host.inbox();
    let mut message = inbox.stage().unwrap();
    message.write_all(b"Subject: x\n\nbody\n").unwrap();
    let (validity, uid) = message
        .commit(Flags::DRAFT | Flags::SEEN, &["Note"], Some(1_000_000_000))
        .unwrap();
    assert_eq!((validity, uid), (inbox.uid_validity(), 1));
    let view = inbox.view();
    let found = view.get(1).unwrap();
    assert_eq!(found.flags, Flags::DRAFT | Flags::SEEN);
    assert_eq!(view.keyword_names(found).collect::<Vec<_>>(), ["Note"]);
    assert_eq!(inbox.internal_date(1).unwrap(), 1_000_000_000);
    assert_eq!(inbox.read(1).unwrap(), b"Subject: x\n\nbody\n");
    drop(inbox.stage().unwrap());
    assert!(host.names("tmp").is_empty(), "given up");
    // A date from before 1970.
    let message = inbox.stage().unwrap();
    message.commit(Flags::NONE, &[], Some(-5)).unwrap();
    assert_eq!(inbox.internal_date(2).unwrap(), -5);
}

#[test]
fn sizes_count_crlf_and_are_cached() {
    let host = Host::new();
    host.deliver(1, "a\nb\n\nc");
    host.deliver(2, "a\r\nb\r\n");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    assert_eq!(inbox.cached_size(1), None);
    assert_eq!(inbox.sizes().unwrap(), [(1, 9), (2, 6)]);
    assert_eq!(inbox.cached_size(1), Some(9));
    let meta = crate::Meta {
        size: 9,
        internal_date: 77,
        blob: vec![1, 2, 3],
    };
    inbox.put_meta(&[(1, meta.clone())]);
    assert_eq!(inbox.meta(1), Some(meta.clone()));
    drop(inbox);
    // Another process finds it.
    let other = host.other_process().inbox();
    assert_eq!((other.meta(1), other.cached_size(2)), (Some(meta), Some(6)));
    assert_eq!(other.internal_date(1).unwrap(), 77);
}

#[test]
fn a_cache_in_any_state_is_harmless() {
    let host = Host::new();
    host.deliver(1, "a\n");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    let meta = |n: u8| crate::Meta {
        size: 3,
        internal_date: 5,
        blob: vec![n; 50],
    };
    for n in 0..5 {
        inbox.put_meta(&[(1, meta(n))]);
    }
    let path = host.path().join("postrider-cache");
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let other = host.other_process().inbox();
        assert!(
            other.meta(1).is_none_or(|m| (0..5).any(|n| m == meta(n))),
            "{cut}"
        );
        assert_eq!(other.size(1).unwrap(), 3);
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(&path, &bytes).unwrap();
        let other = host.other_process().inbox();
        assert!(other.meta(1).is_none_or(|m| (0..5).any(|n| m == meta(n))), "{at}");
        assert_eq!(other.size(1).unwrap(), 3, "{at}");
    }
}

#[test]
fn the_cache_does_not_grow_for_ever() {
    let host = Host::new();
    host.deliver(1, "a\n");
    host.deliver(2, "b\n");
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    for n in 0..500u32 {
        let meta = crate::Meta {
            size: 3,
            internal_date: 5,
            blob: n.to_le_bytes().repeat(25),
        };
        inbox.put_meta(&[(1 + n % 2, meta)]);
    }
    let len = std::fs::metadata(host.path().join("postrider-cache"))
        .unwrap()
        .len();
    assert!(len < 20_000, "{len}");
    assert_eq!(inbox.meta(2).unwrap().blob, 499u32.to_le_bytes().repeat(25));
    assert_eq!(inbox.meta(1).unwrap().blob, 498u32.to_le_bytes().repeat(25));
}

#[test]
fn a_full_disk_never_shows_what_is_not_recorded() {
    fn writes(op: &durable::Op<'_>) -> bool {
        matches!(op, durable::Op::Write { .. })
    }
    for n in 0..6 {
        let place = Arc::new(tempfile::tempdir().unwrap());
        Host::on(place.clone(), Disk::new()).deliver(1, "x");
        let host = Host::on(place, Disk::with_probe(Refuse::nth(writes, ENOSPC, n)));
        let base = host.store.disk().open_root(host.place.path()).unwrap();
        let open = || {
            host.store
                .open(&base, MAILDIR, owner())?
                .folder(&FolderName::inbox())?
                .refresh()
        };
        if let Err(error) = open() {
            assert!(error.is_full(), "{error:?}");
        }
        let view = open().unwrap();
        assert_eq!((view.messages.len(), view.get(1).unwrap().uid), (1, 1), "{n}");
        assert_eq!(*host.other_process().inbox().refresh().unwrap(), *view, "{n}");
    }
}

#[test]
fn known_mail_can_be_read_on_a_full_disk() {
    fn log(op: &durable::Op<'_>) -> bool {
        matches!(op, durable::Op::Write { .. })
    }
    #[derive(Debug)]
    struct Full;
    impl durable::Probe for Full {
        fn before(&self, op: &durable::Op<'_>) -> io::Result<()> {
            if log(op) {
                Err(io::Error::from_raw_os_error(ENOSPC))
            } else {
                Ok(())
            }
        }
    }
    let before = Host::new();
    before.deliver(1, "one");
    before.inbox().refresh().unwrap();
    before.deliver(2, "two");
    let full = Host::on(before.place.clone(), Disk::with_probe(Arc::new(Full)));
    let inbox = full.inbox();
    assert_eq!(contents(&inbox), [(1, "one".into())]);
    assert_eq!(inbox.take_recent().unwrap(), 1);
    drop(inbox);
    assert_eq!(
        contents(&before.other_process().inbox()),
        [(1, "one".into()), (2, "two".into())]
    );
}

#[test]
fn the_log_has_room_for_removals_set_aside() {
    use std::os::unix::fs::MetadataExt;
    let host = Host::new();
    host.deliver(1, "one");
    host.inbox().refresh().unwrap();
    let meta = std::fs::metadata(host.path().join("postrider-uidlog")).unwrap();
    assert!(
        meta.blocks() * 512 >= meta.len() + 2_048,
        "{} {}",
        meta.blocks(),
        meta.len()
    );
}

#[test]
fn after_a_failed_sync_of_the_log_a_new_one_takes_its_place() {
    fn files(op: &durable::Op<'_>) -> bool {
        matches!(op, durable::Op::SyncFile { .. })
    }
    let mut failures = 0;
    for n in 0..8 {
        let place = Arc::new(tempfile::tempdir().unwrap());
        Host::on(place.clone(), Disk::new()).deliver(1, "x");
        let host = Host::on(place, Disk::with_probe(Refuse::nth(files, EIO, n)));
        let base = host.store.disk().open_root(host.place.path()).unwrap();
        let open = || {
            host.store
                .open(&base, MAILDIR, owner())?
                .folder(&FolderName::inbox())
        };
        for round in 0..3 {
            let looked = open().and_then(|folder| folder.refresh().map(|_| folder));
            let folder = looked.unwrap_or_else(|error| {
                failures += 1;
                assert_eq!(error.kind(), Some(durable::Kind::Sync));
                assert!(host.store.disk().is_suspect(&base));
                host.store.disk().self_test(&base).unwrap();
                open().unwrap()
            });
            assert_eq!(contents(&folder).len(), 1 + round as usize, "{n} {round}");
            assert_eq!(
                *host.other_process().inbox().refresh().unwrap(),
                *folder.view(),
                "{n} {round}"
            );
            // Another process delivers.
            host.other_process().deliver(10 + round, "y");
        }
    }
    assert!(failures >= 4, "{failures}");
}
