//! Folders and subscriptions of an account, and copying and moving between folders.

use super::*;
use crate::{FlagOp, StoreError};

fn listed(host: &Host) -> Vec<String> {
    host.account()
        .folders()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn folders_come_and_go() {
    let host = Host::new();
    let account = host.account();
    assert_eq!(listed(&host), ["INBOX"]);
    account.create(&folder_name("Lists.Work")).unwrap();
    account.create(&folder_name("Résumé")).unwrap();
    assert!(matches!(
        account.create(&folder_name("Résumé")),
        Err(StoreError::Exists)
    ));
    assert_eq!(listed(&host), ["INBOX", "Lists.Work", "Résumé"]);
    assert_eq!(
        host.names(".R&AOk-sum&AOk-"),
        ["cur", "maildirfolder", "new", "postrider-uidlog", "tmp"]
    );
    assert!(!account.exists(&folder_name("Lists")).unwrap());
    account.delete(&folder_name("Lists.Work")).unwrap();
    assert!(matches!(
        account.delete(&folder_name("Lists.Work")),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        account.delete(&FolderName::inbox()),
        Err(StoreError::BadName(_))
    ));
    assert_eq!(listed(&host), ["INBOX", "Résumé"]);
    let left: Vec<String> = host
        .names("")
        .into_iter()
        .filter(|n| n.contains("making") || n.contains("deleted"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_new_folder_never_gets_an_old_uidvalidity() {
    let host = Host::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut last = 0;
    for _ in 0..5 {
        host.account().create(&folder_name("A")).unwrap();
        let validity = host.folder("A").uid_validity();
        assert!(validity > last && seen.insert(validity));
        last = validity;
        host.account().delete(&folder_name("A")).unwrap();
    }
    // The counter is on the disk, and the clock may go backwards.
    let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let store = Store::with_clock(Disk::new(), "h", now);
    let base = store.disk().open_root(host.place.path()).unwrap();
    let account = store.open(&base, MAILDIR, owner()).unwrap();
    account.create(&folder_name("B")).unwrap();
    assert!(account.folder(&folder_name("B")).unwrap().uid_validity() > last);
}

#[test]
fn rename_takes_children_along_and_keeps_uids() {
    let host = Host::new();
    let account = host.account();
    for name in ["a", "a.x", "a.x.y", "ab", "b.z"] {
        account.create(&folder_name(name)).unwrap();
    }
    let open = host.folder("a.x");
    append(&open, "mail", Flags::SEEN);
    let validity = open.uid_validity();
    account.rename(&folder_name("a"), &folder_name("c.d")).unwrap();
    assert_eq!(listed(&host), ["INBOX", "ab", "b.z", "c.d", "c.d.x", "c.d.x.y"]);
    assert_eq!(open.name(), folder_name("c.d.x"));
    open.refresh().unwrap();
    assert_eq!(contents(&host.folder("c.d.x")), [(1, "mail".into())]);
    assert_eq!(host.folder("c.d.x").uid_validity(), validity);
    // A name without a directory moves its children.
    account.rename(&folder_name("b"), &folder_name("e")).unwrap();
    assert!(account.exists(&folder_name("e.z")).unwrap());
    for (old, new) in [
        ("ab", "c.d"),
        ("c", "c.d.q"),
        ("ab", "ab"),
        ("nothing", "x"),
        ("ab", "INBOX"),
    ] {
        assert!(
            account.rename(&folder_name(old), &folder_name(new)).is_err(),
            "{old} {new}"
        );
    }
    assert_eq!(listed(&host), ["INBOX", "ab", "c.d", "c.d.x", "c.d.x.y", "e.z"]);
}

#[test]
fn renaming_inbox_moves_its_messages() {
    let host = Host::new();
    host.deliver(1, "one");
    host.deliver(2, "two");
    host.account()
        .rename(&FolderName::inbox(), &folder_name("Old"))
        .unwrap();
    assert_eq!(contents(&host.inbox()), []);
    assert_eq!(
        contents(&host.folder("Old")),
        [(1, "one".into()), (2, "two".into())]
    );
    host.deliver(3, "three");
    assert_eq!(contents(&host.inbox()), [(3, "three".into())], "UIDs go on");
}

#[test]
fn a_deleted_folder_is_gone_for_every_session() {
    let host = Host::new();
    host.account().create(&folder_name("A")).unwrap();
    let (here, there) = (host.folder("A"), host.other_process().folder("A"));
    host.account().delete(&folder_name("A")).unwrap();
    assert!(matches!(here.refresh(), Err(StoreError::Gone)));
    assert!(matches!(there.refresh(), Err(StoreError::Gone)));
    host.account().create(&folder_name("A")).unwrap();
    assert!(
        matches!(here.refresh(), Err(StoreError::Gone)),
        "another folder of that name"
    );
    assert!(host.folder("A").refresh().is_ok());
}

#[test]
fn subscriptions_last_and_need_no_folder() {
    let host = Host::new();
    let account = host.account();
    account.subscribe(&folder_name("B"), true).unwrap();
    account.subscribe(&folder_name("A.x"), true).unwrap();
    account.subscribe(&folder_name("B"), false).unwrap();
    account.subscribe(&folder_name("C"), false).unwrap();
    let names = |a: &Account| {
        a.subscriptions()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&account), ["A.x"]);
    for _ in 0..600 {
        account
            .subscribe(&folder_name("a-rather-long-name-of-a-folder"), true)
            .unwrap();
        account
            .subscribe(&folder_name("a-rather-long-name-of-a-folder"), false)
            .unwrap();
    }
    let len = std::fs::metadata(host.path().join("postrider-account"))
        .unwrap()
        .len();
    assert!(len < 17 << 10, "rewritten when it grows: {len}");
    assert_eq!(names(&host.other_process().account()), ["A.x"]);
}

#[test]
fn copies_are_links_with_flags_keywords_and_date() {
    let host = Host::new();
    host.account().create(&folder_name("T")).unwrap();
    let (inbox, target) = (host.inbox(), host.folder("T"));
    let mut message = inbox.stage().unwrap();
    message.write_all(b"mail").unwrap();
    message.commit(Flags::SEEN, &["k"], Some(1_234_567)).unwrap();
    append(&inbox, "second", Flags::NONE);
    append(&target, "there", Flags::NONE);
    let transfer = inbox.copy_to(&[1, 2], &target).unwrap();
    assert_eq!(
        (transfer.uid_validity, transfer.pairs),
        (target.uid_validity(), vec![(1, 2), (2, 3)])
    );
    assert_eq!(
        contents(&target),
        [(1, "there".into()), (2, "mail".into()), (3, "second".into())]
    );
    let view = target.view();
    assert_eq!(view.get(2).unwrap().flags, Flags::SEEN);
    assert_eq!(
        view.keyword_names(view.get(2).unwrap()).collect::<Vec<_>>(),
        ["k"]
    );
    assert_eq!(target.internal_date(2).unwrap(), 1_234_567);
    assert_eq!(contents(&inbox).len(), 2);
    // Into the folder itself.
    assert_eq!(inbox.copy_to(&[2], &inbox).unwrap().pairs, [(2, 3)]);
    assert_eq!(contents(&inbox).len(), 3);
    // The copy is its own message.
    inbox.expunge(&[1]).unwrap();
    target.store(&[2], FlagOp::Replace, Flags::NONE, &[]).unwrap();
    assert_eq!(target.read(2).unwrap(), b"mail");
}

#[test]
fn a_copy_of_a_missing_message_copies_none() {
    let host = Host::new();
    host.account().create(&folder_name("T")).unwrap();
    let (inbox, target) = (host.inbox(), host.folder("T"));
    append(&inbox, "one", Flags::NONE);
    append(&inbox, "two", Flags::NONE);
    std::fs::remove_file(host.path().join("cur").join(&host.names("cur")[1])).unwrap();
    for result in [
        inbox.copy_to(&[1, 2], &target),
        inbox.copy_to(&[1, 7], &target),
        inbox.move_to(&[1, 7], &target),
    ] {
        assert!(matches!(result, Err(StoreError::Expunged)), "{result:?}");
    }
    assert_eq!(contents(&target), []);
    assert_eq!(contents(&inbox).len(), 1, "a failed move goes back");
}

#[test]
fn moves_take_the_file_along() {
    let host = Host::new();
    host.account().create(&folder_name("T")).unwrap();
    let (inbox, target) = (host.inbox(), host.folder("T"));
    host.deliver(1, "one");
    host.deliver(2, "two");
    inbox.refresh().unwrap();
    inbox.store(&[1], FlagOp::Add, Flags::FLAGGED, &["k"]).unwrap();
    assert_eq!(inbox.move_to(&[2, 1], &target).unwrap().pairs, [(2, 1), (1, 2)]);
    assert_eq!(contents(&target), [(1, "two".into()), (2, "one".into())]);
    let view = target.view();
    assert_eq!(view.get(2).unwrap().flags, Flags::FLAGGED);
    assert_eq!(view.keyword_names(view.get(2).unwrap()).count(), 1);
    assert!(inbox.view().messages.is_empty());
    // There and back: the name returns, the UID does not.
    assert_eq!(target.move_to(&[2], &inbox).unwrap().pairs, [(2, 3)]);
    assert_eq!(contents(&inbox), [(3, "one".into())]);
    // Within one folder.
    assert_eq!(inbox.move_to(&[3], &inbox).unwrap().pairs, [(3, 4)]);
    assert_eq!(contents(&inbox), [(4, "one".into())]);
}

#[test]
fn one_pop3_session_at_a_time() {
    let host = Host::new();
    let lock = host.account().pop3_lock().unwrap();
    assert!(lock.is_some());
    assert!(host.account().pop3_lock().unwrap().is_none());
    assert!(host.other_process().account().pop3_lock().unwrap().is_none());
    drop(lock);
    assert!(host.other_process().account().pop3_lock().unwrap().is_some());
}

#[test]
fn what_a_crash_left_of_folders_is_cleaned_up() {
    let host = Host::new();
    host.account();
    for name in ["postrider-making-x", "postrider-deleted-y"] {
        std::fs::create_dir_all(host.path().join(name).join("cur")).unwrap();
        std::fs::write(host.path().join(name).join("cur/1.a:2,"), "x").unwrap();
    }
    assert_eq!(listed(&host), ["INBOX"]);
    assert!(
        host.names("")
            .iter()
            .all(|n| !n.contains("-x") && !n.contains("-y")),
        "{:?}",
        host.names("")
    );
}

#[test]
fn folders_of_other_servers_are_opened_in_their_spelling() {
    let host = Host::new();
    host.account();
    for name in [".Résumé", ".&ZeVnLIqe-"] {
        std::fs::create_dir_all(host.path().join(name).join("cur")).unwrap();
    }
    assert_eq!(listed(&host), ["INBOX", "Résumé", "日本語"]);
    append(&host.folder("Résumé"), "x", Flags::NONE);
    assert!(matches!(
        host.account().create(&folder_name("Résumé")),
        Err(StoreError::Exists)
    ));
    assert_eq!(host.names(".Résumé/cur").len(), 1);
}
