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
    let host = Host::on(place, Disk::with_probe(recorder.clone()));
    // What was there before counts as written long ago.
    *host.ahead.lock().unwrap() = 1_000;
    (host, recorder)
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

/// Puts an older message, not yet seen by anybody, into a folder: whoever loses a UID there does not give the
/// same one again by chance.
fn older(host: &Host, folder: &str) {
    std::fs::write(host.path().join(folder).join("new/1.older.h"), "older").unwrap();
}

/// The barriers whose description holds `part`, in order.
fn of(recording: &Recording, part: &str) -> Vec<String> {
    let all = recording.barriers().into_iter().map(|(_, what)| what);
    all.filter(|what| what.contains(part)).collect()
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
        older(h, "");
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
        older(h, ".T");
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
    // The source's log says what the missing file says too.
    let source = of(&recording, "postrider-uidlog").pop().unwrap();
    let spare = ["directory new", "directory cur", "sync of file 1", &source];
    assert!(caught(&recording, &spare) >= 2);
}

#[test]
fn create_rename_delete_subscribe() {
    let (host, recorder) = recorded(|h| {
        h.account();
    });
    let account = host.account();
    account.create(&folder_name("A")).unwrap();
    recorder.promise("folder A=yes");
    // As `older`, but in a folder that the recorder saw come.
    let dir = |name| {
        host.store
            .disk()
            .open_root(&host.path().join(".A").join(name))
            .unwrap()
    };
    let mut staged = dir("tmp").stage("1.older.h", 0o600).unwrap();
    staged.write_all(b"older").unwrap();
    staged.publish(&dir("new"), "1.older.h").wait().unwrap();
    let (validity, uid) = append(&host.folder("A"), "mail", Flags::NONE);
    recorder.promise(format!("message A {validity} {uid}=mail"));
    account.subscribe(&folder_name("A"), true).unwrap();
    recorder.promise("subscribed A=yes");
    let recording = recorder.recording();
    // The names in the new folder are synced more often than needed; so is the root, whose next sync comes
    // before anything shows the UIDVALIDITY that the account file holds.
    let mut spare = of(&recording, "directory alice");
    spare.pop();
    spare.extend([
        "postrider-making".to_owned(),
        "maildirfolder".to_owned(),
        "1.older".to_owned(),
        "directory new".to_owned(),
    ]);
    let spare: Vec<&str> = spare.iter().map(String::as_str).collect();
    let count = caught(&recording, &spare);
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
        older(h, "");
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
        for n in 0..3_000u32 {
            let op = if n % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
            inbox.store(&[1], op, Flags::SEEN, &[]).unwrap();
        }
        h.store.disk().flush().unwrap();
        older(h, "");
        assert!(
            std::fs::metadata(h.path().join("postrider-uidlog"))
                .unwrap()
                .len()
                > 64 << 10
        );
    });
    // Opening rewrites it.
    let inbox = host.inbox();
    assert!(
        std::fs::metadata(host.path().join("postrider-uidlog"))
            .unwrap()
            .len()
            < 1 << 10
    );
    recorder.promise(format!("message INBOX {} 1=one", inbox.uid_validity()));
    let (validity, uid) = append(&inbox, "two", Flags::NONE);
    recorder.promise(format!("message INBOX {validity} {uid}=two"));
    // The new log and its name; the message, its name, its record.
    assert_eq!(caught(&recorder.recording(), &[]), 5);
}
