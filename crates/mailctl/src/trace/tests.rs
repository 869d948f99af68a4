//! Tests of what is found and how it is shown.

use std::time::{Duration, SystemTime};

use events::{About, Delivery, Log, Reply, Step, deliver, qmgr, read, smtpd};
use mail_types::{MailId, SessionId};

use super::*;
use crate::output::Output;

/// The log of one message to an alias with a local and a remote target, and of the remote one's bounce.
fn write_log(dir: &std::path::Path) -> (MailId, MailId) {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let ticks = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let clock =
        move || start + Duration::from_millis(ticks.fetch_add(10, std::sync::atomic::Ordering::SeqCst));
    let open = |daemon: &str| Log::open(dir, daemon, "mx.test", clock.clone()).unwrap();
    let (in_smtpd, in_deliver, in_qmgr) = (open("smtpd"), open("deliver"), open("qmgr"));
    let (session, id, bounce) = (SessionId::new(1, 1), MailId::new(1, 2), MailId::new(2, 3));
    let about = About::session(session).mail(id);
    in_smtpd.emit(
        About::session(session),
        smtpd::Kind::Connected {
            service: "submission".to_owned(),
            client: "192.0.2.7:4000".to_owned(),
            local: "192.0.2.1:587".to_owned(),
        },
    );
    in_smtpd.emit(
        about,
        smtpd::Kind::MailAccepted {
            sender: "alice@x.test".to_owned(),
            login: Some("alice@x.test".to_owned()),
            size: None,
            body: None,
            smtputf8: false,
        },
    );
    let delivery = |index, address: &str, target: &str| Delivery {
        index,
        final_address: address.to_owned(),
        expanded: true,
        target: target.to_owned(),
    };
    in_smtpd.emit(
        about,
        smtpd::Kind::RecipientAccepted {
            address: "list@x.test".to_owned(),
            class: "mailbox".to_owned(),
            rule: "own domain".to_owned(),
            steps: vec![Step {
                question: "alias".to_owned(),
                key: "list@x.test".to_owned(),
                answer: "bob@x.test, carol@far.test".to_owned(),
                source: "database".to_owned(),
                of: "list@x.test".to_owned(),
                depth: 0,
            }],
            deliveries: vec![
                delivery(0, "bob@x.test", "mailbox"),
                delivery(1, "carol@far.test", "remote"),
            ],
        },
    );
    let message_id = Some("one@x.test".to_owned());
    in_smtpd.emit(
        about,
        smtpd::Kind::MessageReceived {
            size: 500,
            message_id,
        },
    );
    write_queue(id, bounce, &in_deliver, &in_qmgr);
    for log in [in_smtpd, in_deliver, in_qmgr] {
        log.flush(Duration::from_secs(10));
    }
    (id, bounce)
}

fn write_queue(id: MailId, bounce: MailId, in_deliver: &Log, in_qmgr: &Log) {
    let picked_up = |sender: &str| qmgr::Kind::PickedUp {
        sender: sender.to_owned(),
        size: 500,
        recipients: 2,
        reason: "new".to_owned(),
    };
    in_qmgr.emit(About::message(id), picked_up("alice@x.test"));
    in_deliver.emit(
        About::message(id).recipient(0),
        deliver::Kind::Delivered {
            mailbox: "bob@x.test".to_owned(),
            folder: "INBOX".to_owned(),
            file: "1.Q".to_owned(),
            size: 600,
        },
    );
    in_qmgr.emit(
        About::message(id).recipient(1),
        qmgr::Kind::RemoteReply {
            server: "mx.far.test".to_owned(),
            command: "RCPT".to_owned(),
            reply: Reply {
                code: 550,
                status: Some("5.1.1".to_owned()),
                text: "no\x1b[2Jcarol".to_owned(),
            },
        },
    );
    in_qmgr.emit(
        About::message(bounce).parent(id),
        qmgr::Kind::ReportMade {
            report: "failed".to_owned(),
            to: "alice@x.test".to_owned(),
            about: vec![1],
        },
    );
    in_qmgr.emit(About::message(bounce), picked_up(""));
}

fn shown(dir: &std::path::Path, query: &str) -> Vec<String> {
    let query = Query::new(query);
    let life = read::life_of(dir, 20, |event| query.matches(event)).unwrap();
    tree::lines(&life, &Output::new(false))
}

#[test]
fn one_tree_by_id_message_id_or_address_with_the_bounce_below() {
    let dir = tempfile::tempdir().unwrap();
    let (id, bounce) = write_log(dir.path());
    let lines = shown(dir.path(), &id.to_string());
    let starts = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .map(|line| {
                line.split_once("smtpd")
                    .map_or(line.clone(), |(_, rest)| rest.trim().to_owned())
            })
            .collect()
    };
    assert!(
        lines[0].starts_with(&format!("message {id} from <alice@x.test>")),
        "{lines:#?}"
    );
    assert_eq!(
        starts(&lines)[1],
        "192.0.2.7:4000 connected to submission (192.0.2.1:587)"
    );
    assert!(
        lines[3].contains(
            "accepted (own domain, mailbox) -> [0] bob@x.test (mailbox), [1] carol@far.test (remote)"
        ),
        "{}",
        lines[3]
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("deliver  [0] delivered to bob@x.test")),
        "{lines:#?}"
    );
    // What a remote server says cannot move the cursor.
    assert!(
        lines
            .iter()
            .any(|line| line.contains("550 5.1.1 no\\u{1b}[2Jcarol")),
        "{lines:#?}"
    );
    let caused = lines.iter().position(|line| line == "  caused:").unwrap();
    assert!(
        lines[caused + 1].starts_with(&format!("    message {bounce} report (failed) to <alice@x.test>"))
    );
    assert!(
        lines[caused + 2].starts_with("         +0.000s  qmgr     report") && lines.len() == caused + 4,
        "{lines:#?}"
    );

    for query in [
        "<one@x.test>",
        "LIST@x.test",
        "carol@far.test",
        &bounce.to_string(),
    ] {
        assert_eq!(shown(dir.path(), query), lines, "{query}");
    }
    assert!(shown(dir.path(), "nobody@x.test").is_empty());
}
