//! Several sessions and several processes on one folder.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::FlagOp;

#[test]
fn sessions_of_a_process_share_the_view_and_hear_of_changes() {
    let host = Host::new();
    host.deliver(1, "x");
    let (a, b) = (host.inbox(), host.inbox());
    assert!(Arc::ptr_eq(&a, &b));
    a.refresh().unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let registration = b.on_change(Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    a.store(&[1], FlagOp::Add, Flags::SEEN, &[]).unwrap();
    assert_eq!(
        (heard.load(Ordering::SeqCst), b.view().get(1).unwrap().flags),
        (1, Flags::SEEN)
    );
    append(&a, "y", Flags::NONE);
    assert_eq!(heard.load(Ordering::SeqCst), 2);
    drop(registration);
    a.expunge(&[1]).unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 2);
}

#[test]
fn processes_see_each_other() {
    let host = Host::new();
    host.deliver(1, "x");
    let other = host.other_process();
    let (a, b) = (host.inbox(), other.inbox());
    assert_eq!(a.refresh().unwrap().messages, b.refresh().unwrap().messages);
    a.store(&[1], FlagOp::Add, Flags::SEEN, &["k"]).unwrap();
    append(&b, "y", Flags::NONE);
    assert_eq!(*a.refresh().unwrap(), *b.refresh().unwrap());
    b.expunge(&[1]).unwrap();
    assert_eq!(contents(&a), [(2, "y".into())]);
    assert_eq!(*a.refresh().unwrap(), *b.refresh().unwrap());
}

#[test]
fn many_writers_in_two_processes_never_give_a_uid_twice() {
    let host = Host::new();
    let other = host.other_process();
    let folders = [host.inbox(), other.inbox()];
    let pairs: Vec<(u32, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|t| {
                let folder = Arc::clone(&folders[t % 2]);
                scope.spawn(move || {
                    (0..12)
                        .map(|n| {
                            let body = format!("{t}.{n}");
                            folder.refresh().unwrap();
                            (append(&folder, &body, Flags::NONE).1, body)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let mut wanted = pairs.clone();
    wanted.sort();
    assert_eq!(contents(&folders[0]), wanted);
    assert_eq!(contents(&folders[1]), wanted);
    assert_eq!(contents(&host.other_process().inbox()), wanted);
}

/// L13: another program renames all the time; no message is lost or counted twice.
#[test]
fn a_rename_storm_loses_and_doubles_nothing() {
    let host = Host::new();
    for n in 1..=200 {
        host.deliver(n, "x");
    }
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    let cur = host.path().join("cur");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = false;
            while !stop.load(Ordering::Relaxed) {
                seen = !seen;
                for name in names(&cur) {
                    let base = name.split(":2,").next().unwrap();
                    let _ = std::fs::rename(
                        cur.join(&name),
                        cur.join(format!("{base}:2,{}", if seen { "S" } else { "" })),
                    );
                }
            }
        });
        for _ in 0..30 {
            let uids: Vec<u32> = inbox.rescan().unwrap().messages.iter().map(|m| m.uid).collect();
            // A file that both scans missed may have been expunged and found again; it is never lost.
            assert!(uids.windows(2).all(|w| w[0] < w[1]));
        }
        stop.store(true, Ordering::Relaxed);
    });
    host.wait();
    assert_eq!(inbox.refresh().unwrap().messages.len(), 200);
}

#[test]
fn a_log_that_was_rewritten_by_another_process_is_read_anew() {
    let host = Host::new();
    for n in 1..=20 {
        host.deliver(n, "x");
    }
    let a = host.inbox();
    a.refresh().unwrap();
    let path = host.path().join("postrider-uidlog");
    // Enough history for a compaction at the next opening.
    for n in 0..1_500u32 {
        let op = if n % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
        a.store(&[1, 2], op, Flags::SEEN, &["k"]).unwrap();
    }
    let before = std::fs::metadata(&path).unwrap().len();
    let b = host.other_process().inbox();
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(before > 64 << 10 && after < 8 << 10, "{before} {after}");
    assert_eq!(*b.refresh().unwrap(), *a.refresh().unwrap());
    a.store(&[3], FlagOp::Add, Flags::FLAGGED, &[]).unwrap();
    append(&b, "y", Flags::NONE);
    assert_eq!(*b.refresh().unwrap(), *a.refresh().unwrap());
    assert_eq!(a.view().get(3).unwrap().flags, Flags::FLAGGED);
}

#[test]
fn a_torn_log_is_cut_and_goes_on() {
    let host = Host::new();
    for n in 1..=3 {
        host.deliver(n, "x");
    }
    host.inbox().refresh().unwrap();
    let path = host.path().join("postrider-uidlog");
    let whole = std::fs::read(&path).unwrap();
    let validity = host.inbox().uid_validity();
    // From behind the first record, without which it is no log.
    for cut in 33..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let other = host.other_process().inbox();
        let view = other.refresh().unwrap();
        assert_eq!((view.messages.len(), view.uid_validity), (3, validity), "{cut}");
        assert_eq!(*host.other_process().inbox().refresh().unwrap(), *view, "{cut}");
    }
}

#[test]
fn a_log_beyond_repair_means_a_new_uidvalidity() {
    let host = Host::new();
    host.deliver(1, "x");
    let validity = host.inbox().refresh().unwrap().uid_validity;
    let path = host.path().join("postrider-uidlog");
    for garbage in ["", "not a log of ours, whatever it is"] {
        std::fs::write(&path, garbage).unwrap();
        let view = host.other_process().inbox().refresh().unwrap();
        assert!(view.uid_validity > validity);
        assert_eq!(view.messages.len(), 1);
        assert_eq!(
            std::fs::read_to_string(host.path().join("postrider-uidlog.damaged")).unwrap(),
            garbage
        );
    }
    // A format from the future is nobody's to repair.
    std::fs::write(&path, [b"PR-UIDL\n".as_slice(), &9u32.to_le_bytes()].concat()).unwrap();
    let base = host.store.disk().open_root(host.place.path()).unwrap();
    let other = host.other_process();
    assert!(
        other
            .store
            .open(&base, MAILDIR, owner())
            .unwrap()
            .folder(&FolderName::inbox())
            .is_err()
    );
    assert_eq!(std::fs::read(&path).unwrap().len(), 12);
}

#[test]
fn unknown_records_survive_compaction() {
    let host = Host::new();
    host.deliver(1, "x");
    host.inbox().refresh().unwrap();
    let path = host.path().join("postrider-uidlog");
    let mut bytes = std::fs::read(&path).unwrap();
    crate::recfile::push(&mut bytes, 200, &[b"from the future"]);
    // Damage in the middle forces a rewrite.
    let mut damaged = Vec::new();
    crate::recfile::push(&mut damaged, 7, &[&1u32.to_le_bytes()]);
    damaged[5] ^= 1;
    bytes.extend_from_slice(&damaged);
    crate::recfile::push(&mut bytes, 7, &[&1u32.to_le_bytes()]);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(host.other_process().inbox().refresh().unwrap().messages.len(), 1);
    let after = std::fs::read(&path).unwrap();
    assert!(after.windows(15).any(|w| w == b"from the future"));
    assert!(!crate::recfile::parse(&after[12..]).damaged);
}
