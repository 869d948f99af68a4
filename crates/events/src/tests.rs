//! Tests of writing and reading the log.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mail_types::{MailId, SessionId};
use serde_json::Value;

use super::*;

const WAIT: Duration = Duration::from_secs(10);

fn open(dir: &Path, daemon: &str) -> Log {
    Log::open(dir, daemon, "mx.test", SystemTime::now).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn queue_reply() -> Reply {
    Reply {
        code: 250,
        status: Some("2.0.0".to_owned()),
        text: "Ok".to_owned(),
    }
}

#[test]
fn a_line_has_the_envelope_and_the_kind_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
    let log = Log::open(dir.path(), "smtpd", "mx.test", move || wall).unwrap();
    let (session, id) = (SessionId::new(1, 2), MailId::new(3, 4));
    log.emit(
        About::session(session).mail(id).recipient(7),
        smtpd::Kind::DirectReply {
            address: "a@b.test".to_owned(),
            reply: queue_reply(),
        },
    );
    log.flush(WAIT);
    let path = dir.path().join("smtpd.jsonl");
    let line = &lines(&path)[0];
    assert_eq!(
        *line,
        serde_json::json!({
            "v": 1, "host": "mx.test", "daemon": "smtpd", "seq": 1, "time": "2023-11-14T22:13:20.000001Z",
            "session": session.to_string(), "id": id.to_string(), "recipient": 7,
            "event": "direct_reply", "address": "a@b.test",
            "reply": {"code": 250, "status": "2.0.0", "text": "Ok"},
        })
    );
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o640
    );
}

#[test]
fn what_is_written_is_read_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), "qmgr");
    let id = MailId::new(1, 1);
    let kinds = [
        qmgr::Kind::PickedUp {
            sender: String::new(),
            size: 5,
            recipients: 1,
            reason: "new".to_owned(),
        },
        qmgr::Kind::Delivered {
            address: "weird \"\n\u{1}@b.test".to_owned(),
            server: "[192.0.2.1]:25".to_owned(),
            reply: queue_reply(),
        },
    ];
    for kind in &kinds {
        log.emit(About::message(id), kind.clone());
    }
    log.emit(About::process(), process::Kind::Stopping {});
    log.flush(WAIT);
    let mut seen = Vec::new();
    let skipped = read::scan(dir.path(), |event| seen.push(event)).unwrap();
    assert_eq!(skipped, 0);
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].kind, Kind::Qmgr(kinds[0].clone()));
    assert_eq!(seen[1].kind, Kind::Qmgr(kinds[1].clone()));
    assert_eq!(seen[2].kind, Kind::Process(process::Kind::Stopping {}));
    assert_eq!(
        (seen[0].seq, seen[2].seq, seen[1].name()),
        (1, 3, "delivered".to_owned())
    );
}

#[test]
fn after_rotation_the_file_is_opened_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), "smtpd");
    let (path, old) = (dir.path().join("smtpd.jsonl"), dir.path().join("smtpd.jsonl.1"));
    log.emit(About::process(), process::Kind::Stopping {});
    log.flush(WAIT);
    std::fs::rename(&path, &old).unwrap();
    log.reopen();
    log.emit(About::process(), process::Kind::ConfigReloaded {});
    log.flush(WAIT);
    assert_eq!(lines(&old).len(), 1);
    assert_eq!(lines(&path)[0]["event"], "config_reloaded");
    let mut count = 0;
    read::scan(dir.path(), |_| count += 1).unwrap();
    assert_eq!(count, 2);
}

#[test]
fn a_log_that_cannot_be_written_drops_and_counts_and_says_so_later() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events");
    // A file where the directory should be: nothing can be opened.
    std::fs::write(&events, "").unwrap();
    let log = open(&events, "smtpd");
    assert!(log.status().trouble.unwrap().contains("smtpd.jsonl"));
    for _ in 0..3 {
        log.emit(About::process(), process::Kind::Stopping {});
    }
    log.flush(WAIT);
    assert_eq!(log.status().dropped, 3);

    std::fs::remove_file(&events).unwrap();
    log.reopen();
    log.emit(About::process(), process::Kind::ConfigReloaded {});
    log.flush(WAIT);
    let lines = lines(&events.join("smtpd.jsonl"));
    assert_eq!(
        (&lines[0]["event"], &lines[0]["count"]),
        (&Value::from("events_dropped"), &Value::from(3))
    );
    assert_eq!(lines[1]["event"], "config_reloaded");
    assert_eq!(log.status().trouble, None);
}

#[test]
fn the_log_goes_on_after_a_full_disk() {
    // /dev/full answers every write with ENOSPC.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("smtpd.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = open(dir.path(), "smtpd");
    log.emit(About::process(), process::Kind::Stopping {});
    log.flush(WAIT);
    let status = log.status();
    assert!(status.dropped >= 1 && status.trouble.is_some(), "{status:?}");
    std::fs::remove_file(&path).unwrap();
    log.reopen();
    log.emit(About::process(), process::Kind::ConfigReloaded {});
    log.flush(WAIT);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.lines()
            .filter(|line| !line.is_empty())
            .all(|line| Event::parse(line.as_bytes()).is_ok()),
        "{text}"
    );
    assert!(text.contains("config_reloaded"), "{text}");
}

#[test]
fn the_reader_tolerates_cut_lines_and_keeps_unknown_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(dir.path().join("smtpd.jsonl")).unwrap();
    let envelope = r#""v":9,"host":"h","daemon":"smtpd","seq":1,"time":"2026-01-01T00:00:00.5Z""#;
    writeln!(
        file,
        r#"{{{envelope},"event":"teleported","where":{{"x":1}},"id":"ABCDEFGHIJKLMNOPQRST"}}"#
    )
    .unwrap();
    writeln!(file, r#"{{{envelope},"event":"mail_acc"#).unwrap();
    writeln!(file).unwrap();
    file.write_all(b"\xff\xfe not json\n").unwrap();
    write!(file, r#"{{{envelope},"event":"stopping"}}"#).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "no log").unwrap();
    std::fs::write(dir.path().join("smtpd.jsonl.2.gz"), "packed").unwrap();
    let mut seen = Vec::new();
    assert_eq!(read::scan(dir.path(), |event| seen.push(event)).unwrap(), 2);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].name(), "teleported");
    let Kind::Raw(fields) = &seen[0].kind else {
        panic!("{:?}", seen[0]);
    };
    assert_eq!(fields["where"]["x"], 1);
    assert_eq!(seen[1].kind, Kind::Process(process::Kind::Stopping {}));
    assert!(read::scan(&dir.path().join("none"), |_| ()).is_err());
}

#[test]
fn a_life_has_all_daemons_the_session_and_the_bounce() {
    let dir = tempfile::tempdir().unwrap();
    let (smtpd, qmgr) = (open(dir.path(), "smtpd"), open(dir.path(), "qmgr"));
    let (session, other_session) = (SessionId::new(1, 1), SessionId::new(1, 2));
    let (id, other, bounce) = (MailId::new(1, 3), MailId::new(1, 4), MailId::new(2, 5));
    for session in [session, other_session] {
        let kind = smtpd::Kind::Greeted {
            verb: "EHLO".to_owned(),
            name: "c.test".to_owned(),
        };
        smtpd.emit(About::session(session), kind);
    }
    for (session, id, sender) in [(session, id, "a@x.test"), (other_session, other, "b@x.test")] {
        let kind = smtpd::Kind::MailAccepted {
            sender: sender.to_owned(),
            login: None,
            size: None,
            body: None,
            smtputf8: false,
        };
        smtpd.emit(About::session(session).mail(id), kind);
    }
    smtpd.flush(WAIT);
    let made = qmgr::Kind::ReportMade {
        report: "failed".to_owned(),
        to: "a@x.test".to_owned(),
        about: vec![0],
    };
    qmgr.emit(About::message(bounce).parent(id), made);
    qmgr.emit(
        About::message(bounce),
        qmgr::Kind::Removed {
            reason: "done".to_owned(),
        },
    );
    qmgr.flush(WAIT);

    let wanted = id.to_string();
    for picked in [wanted.clone(), bounce.to_string()] {
        let life = read::life_of(dir.path(), 10, |event| event.id.as_ref() == Some(&picked)).unwrap();
        let names: Vec<String> = life.events.iter().map(Event::name).collect();
        assert_eq!(names, ["greeted", "mail_accepted", "report_made", "removed"]);
        assert_eq!(life.picked, [picked]);
        assert!(life.links.contains(&(wanted.clone(), bounce.to_string())));
    }
}

/// A field of a kind that was named like one of the envelope's would stand twice in the line.
#[test]
fn no_kind_has_a_field_of_the_envelope() {
    let reserved = [
        "v",
        "host",
        "daemon",
        "seq",
        "time",
        "session",
        "id",
        "recipient",
        "parent",
        "event",
    ];
    let mut checked = 0;
    for file in ["process", "smtpd", "authd", "qmgr", "deliver", "access"] {
        let path = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
            .join(format!("src/{file}.rs"));
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let Some((name, _)) = line.trim().split_once(": ") else {
                continue;
            };
            checked += 1;
            assert!(!reserved.contains(&name), "{file}.rs: {line}");
        }
    }
    assert!(checked > 50);
}

/// A kind that nothing says would be a promise that is not kept.
#[test]
fn every_kind_is_said_somewhere() {
    fn sources(dir: &Path, out: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let here = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let access: &[&str] = &["imapd", "pop3d"];
    let speakers: [(&str, &[&str]); 6] = [
        ("process", &["daemon", "events"]),
        ("smtpd", &["smtpd"]),
        ("authd", &["authd"]),
        ("qmgr", &["qmgr"]),
        ("deliver", &["deliver"]),
        ("access", access),
    ];
    for (file, daemons) in speakers {
        let mut code = String::new();
        for daemon in daemons {
            sources(&here.join("..").join(daemon).join("src"), &mut code);
        }
        let own = std::fs::read_to_string(here.join(format!("src/{file}.rs"))).unwrap();
        let kinds = own
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(" {"));
        for (name, _) in kinds.filter(|(name, _)| name.chars().all(char::is_alphanumeric)) {
            assert!(
                code.contains(&format!("Kind::{name}")),
                "nobody says {file}::Kind::{name}"
            );
        }
    }
}
