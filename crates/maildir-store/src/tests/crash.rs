//! Every power cut between two operations, and every barrier removed in turn.

use std::collections::BTreeMap;

use durable::crash::{Crash, Recorder, Recording};

use super::*;
use crate::{FlagOp, check};

/// A host whose operations are recorded from now on.
fn recorded(before: impl FnOnce(&Host)) -> (Host, Arc<Recorder>) {
    let place = Arc::new(tempfile::tempdir().unwrap());
    before(&Host::on(place.clone(), Disk::new()));
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    (Host::on(place, Disk::with_probe(recorder.clone())), recorder)
}

/// The state after a power cut, opened by a new process.
fn reopened(crash: &Crash<'_>) -> Result<Account, String> {
    let store = Store::new(Disk::new(), "mx.test");
    let base = store.disk().open_root(crash.root).map_err(|e| e.to_string())?;
    store.open(&base, MAILDIR, owner()).map_err(|e| format!("{e:?}"))
}

/// Promises are `folder/uidvalidity/uid=content`, `!folder/...` (gone for good), `key=content`, `folder`,
/// `no folder`, `subscribed name`. All of them must hold, and the check must find no damage.
fn holds(crash: &Crash<'_>) -> Result<(), String> {
    let report = check::run(&Disk::new(), &crash.root.join(MAILDIR));
    if let Ok(report) = &report
        && !report.is_sound()
    {
        return Err(format!("{:?}", report.problems));
    }
    let account = reopened(crash)?;
    let names = account.folders().map_err(|e| format!("{e:?}"))?;
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for promise in crash.promises {
        let (what, value) = promise.split_once('=').unwrap();
        last.insert(what, value);
    }
    for (what, value) in last {
        let mut words = what.split(' ');
        let (kind, name) = (words.next().unwrap(), words.next().unwrap());
        let wanted = folder_name(name);
        let ok = match kind {
            "folder" => names.contains(&wanted) == (value == "yes"),
            "subscribed" => account.subscriptions().unwrap().contains(&wanted) == (value == "yes"),
            "message" => {
                let (validity, uid) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
                let folder = account.folder(&wanted).map_err(|e| format!("{e:?}"))?;
                let view = folder.refresh().map_err(|e| format!("{e:?}"))?;
                if view.uid_validity.to_string() != validity {
                    return Err(format!("{what}: UIDVALIDITY {}", view.uid_validity));
                }
                let found = folder.read(uid).ok();
                match value {
                    "gone" => found.is_none(),
                    value => found.as_deref() == Some(value.as_bytes()),
                }
            }
            "delivered" => {
                let inbox = account.folder(&wanted).map_err(|e| format!("{e:?}"))?;
                let all = contents(&inbox);
                all.iter().filter(|(_, c)| c == value).count() == 1
            }
            other => panic!("{other}"),
        };
        if !ok {
            return Err(format!("{what} is not {value}"));
        }
    }
    Ok(())
}

fn caught(recording: &Recording, spare: &[&str]) -> usize {
    let is_spare = |what: &str| spare.iter().any(|s| what.contains(s));
    recording.check_barriers(holds, is_spare).unwrap()
}

#[test]
fn delivery() {
    let (host, recorder) = recorded(|_| {});
    host.deliver(1, "first");
    recorder.promise("delivered INBOX=first");
    host.deliver(2, "second");
    recorder.promise("delivered INBOX =second");
    // tmp/ and cur/ hold nothing that was promised, and the parent's sync serves all three.
    let recording = recorder.recording();
    let root = recording
        .barriers()
        .iter()
        .filter(|(_, what)| what.contains("directory alice/"))
        .count();
    assert!(caught(&recording, &["directory alice "]) >= 4, "{root}");
}

#[test]
fn a_uid_that_was_shown_stays() {
    let (host, recorder) = recorded(|h| {
        h.deliver(1, "first");
    });
    let inbox = host.inbox();
    let view = inbox.refresh().unwrap();
    recorder.promise(format!("message INBOX {} 1=first", view.uid_validity));
    inbox.store(&[1], FlagOp::Add, Flags::SEEN, &["k"]).unwrap();
    host.deliver(2, "second");
    inbox.refresh().unwrap();
    recorder.promise(format!("message INBOX {} 2=second", view.uid_validity));
    host.store.disk().flush().unwrap();
    // The flags' and new/ -> cur/ syncs are for speed of recovery only: a flag may be lost.
    assert!(
        caught(
            &recorder.recording(),
            &[
                "directory cur",
                "directory new",
                "postrider-uidlog",
                "postrider-account"
            ]
        ) >= 1
    );
}

#[test]
fn append_promises_file_and_uid() {
    let (host, recorder) = recorded(|h| {
        h.inbox();
    });
    let inbox = host.inbox();
    let (validity, uid) = append(&inbox, "draft", Flags::DRAFT);
    recorder.promise(format!("message INBOX {validity} {uid}=draft"));
    // File, directory, log.
    assert_eq!(caught(&recorder.recording(), &[]), 3);
}

#[test]
fn copy_and_move() {
    let (host, recorder) = recorded(|h| {
        h.account().create(&folder_name("T")).unwrap();
        append(&h.inbox(), "one", Flags::SEEN);
        append(&h.inbox(), "two", Flags::NONE);
    });
    let (inbox, target) = (host.inbox(), host.folder("T"));
    let transfer = inbox.copy_to(&[1], &target).unwrap();
    recorder.promise(format!(
        "message T {} {}=one",
        transfer.uid_validity, transfer.pairs[0].1
    ));
    let transfer = inbox.move_to(&[2], &target).unwrap();
    recorder.promise(format!(
        "message T {} {}=two",
        transfer.uid_validity, transfer.pairs[0].1
    ));
    recorder.promise(format!("message INBOX {} 2=gone", inbox.uid_validity()));
    host.store.disk().flush().unwrap();
    // A file that was synced when it came needs no sync when it is linked; of a rename's two directories
    // one is enough in a journalling file system, and new/ is synced only in case the file lay there.
    let recording = recorder.recording();
    assert!(caught(&recording, &["directory new", "directory cur", "sync of file 1"]) >= 2);
}

#[test]
fn create_rename_delete_subscribe() {
    let (host, recorder) = recorded(|h| {
        h.account();
    });
    let account = host.account();
    account.create(&folder_name("A")).unwrap();
    recorder.promise("folder A=yes");
    let (validity, uid) = append(&host.folder("A"), "mail", Flags::NONE);
    recorder.promise(format!("message A {validity} {uid}=mail"));
    account.subscribe(&folder_name("A"), true).unwrap();
    recorder.promise("subscribed A=yes");
    let recording = recorder.recording();
    // The four names in the new folder are synced by one barrier each, and one is enough.
    let count = caught(&recording, &["postrider-making", "maildirfolder"]);
    assert!(count >= 5, "{count}");
}

#[test]
fn delete_and_rename_last() {
    let (host, recorder) = recorded(|h| {
        h.account().create(&folder_name("A")).unwrap();
        h.account().create(&folder_name("B")).unwrap();
    });
    host.account().delete(&folder_name("A")).unwrap();
    recorder.promise("folder A=no");
    host.account()
        .rename(&folder_name("B"), &folder_name("C"))
        .unwrap();
    recorder.promise("folder B=no");
    recorder.promise("folder C=yes");
    assert_eq!(caught(&recorder.recording(), &[]), 2);
}

#[test]
fn an_expunged_message_may_come_back_but_not_its_uid() {
    let (host, recorder) = recorded(|h| {
        append(&h.inbox(), "one", Flags::NONE);
        append(&h.inbox(), "two", Flags::NONE);
    });
    let inbox = host.inbox();
    inbox.expunge(&[2]).unwrap();
    host.store.disk().flush().unwrap();
    recorder.promise(format!("message INBOX {} 2=gone", inbox.uid_validity()));
    let validity = inbox.uid_validity();
    let (_, uid) = append(&inbox, "three", Flags::NONE);
    assert_eq!(uid, 3);
    recorder.promise(format!("message INBOX {validity} 3=three"));
    assert!(caught(&recorder.recording(), &["directory cur", "postrider-uidlog"]) >= 1);
}

#[test]
fn compaction() {
    let (host, recorder) = recorded(|h| {
        let inbox = h.inbox();
        append(&inbox, "one", Flags::NONE);
        for n in 0..2_000u32 {
            let op = if n % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
            inbox.store(&[1], op, Flags::SEEN, &[]).unwrap();
        }
        h.store.disk().flush().unwrap();
    });
    recorder.promise(format!(
        "message INBOX {} 1=one",
        host.other_process().inbox().uid_validity()
    ));
    let recorder2 = recorder;
    // The other process of the line above rewrote it; so that this one does, let the log grow again.
    let _ = recorder2;
}
