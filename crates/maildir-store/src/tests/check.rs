//! The offline check finds what is broken, and nothing in what is not.

use super::*;
use crate::check::{Severity, maildirs_below, run};

fn errors(host: &Host) -> Vec<String> {
    let report = run(&Disk::new(), &host.path()).unwrap();
    report
        .problems
        .into_iter()
        .filter(|p| p.severity == Severity::Error)
        .map(|p| p.text)
        .collect()
}

fn used() -> Host {
    let host = Host::new();
    for n in 1..=3 {
        host.deliver(n, "a: b\n\n");
    }
    host.account().create(&folder_name("Kept")).unwrap();
    let inbox = host.inbox();
    inbox.refresh().unwrap();
    inbox.copy_to(&[1], &host.folder("Kept")).unwrap();
    inbox.move_to(&[2], &host.folder("Kept")).unwrap();
    host.deliver(4, "new");
    host
}

#[test]
fn a_sound_maildir_has_no_problems() {
    let host = used();
    let report = run(&Disk::new(), &host.path()).unwrap();
    assert_eq!((report.folders, report.messages), (2, 5));
    assert_eq!(report.problems, []);
    assert_eq!(
        maildirs_below(host.place.path()).unwrap(),
        [host.path().components().collect::<PathBuf>()]
    );
}

#[test]
fn each_kind_of_damage_is_found() {
    type Break = fn(&Host);
    let cases: [(&str, Break); 8] = [
        ("is empty", |h| {
            std::fs::write(h.path().join("cur").join(&h.names("cur")[0]), "").unwrap();
        }),
        ("not as many as its name says", |h| {
            std::fs::write(h.path().join("cur").join(&h.names("cur")[0]), "x").unwrap();
        }),
        ("was delivered before", |h| {
            std::fs::write(h.path().join("cur/1.Q00000000000000000004R0.h:2,"), "x").unwrap();
        }),
        ("is no UID log", |h| {
            std::fs::write(h.path().join("postrider-uidlog"), "").unwrap();
        }),
        ("damaged in the middle", |h| {
            let path = h.path().join("postrider-uidlog");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[50] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("does not know the UIDVALIDITY", |h| {
            std::fs::remove_file(h.path().join("postrider-account")).unwrap();
        }),
        ("cannot be opened", |h| {
            std::fs::remove_dir(h.path().join("tmp")).unwrap();
            std::os::unix::fs::symlink("/tmp", h.path().join("tmp")).unwrap();
        }),
        ("no regular file", |h| {
            std::os::unix::fs::symlink("/etc/passwd", h.path().join("new/1.x")).unwrap();
        }),
    ];
    for (wanted, damage) in cases {
        let host = used();
        damage(&host);
        let found = errors(&host);
        assert!(
            found.iter().any(|text| text.contains(wanted)),
            "{wanted}: {found:?}"
        );
    }
}

#[test]
fn what_the_daemons_repair_is_a_note() {
    let host = used();
    std::fs::remove_file(host.path().join("cur").join(&host.names("cur")[0])).unwrap();
    std::fs::create_dir(host.path().join("postrider-making-x")).unwrap();
    std::fs::remove_dir(host.path().join("tmp")).unwrap();
    std::fs::write(host.path().join("cur/2.no-flags"), "x").unwrap();
    let report = run(&Disk::new(), &host.path()).unwrap();
    assert!(
        report.is_sound() && report.problems.len() >= 3,
        "{:?}",
        report.problems
    );
    let texts: String = report.problems.iter().map(ToString::to_string).collect();
    for wanted in ["has no file", "left on its way", "without flags", "is missing"] {
        assert!(texts.contains(wanted), "{texts}");
    }
}
