//! What qmgr keeps and gives up: administration, damage, reports across a crash, expansion of its own messages.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use auth_api::directory::Target;
use queue_api::{Flush, QueueError, Selection, Status};
use spool::{Owner, Record, Report, ReportKind, Safety, Spool};
use support::sink::{Script, Sink};
use support::*;

#[tokio::test]
async fn administration() {
    let world = World::new("").await;
    let mut sink = Sink::smtp(Script {
        mail: Some("451 4.3.2 later".into()),
        ..Script::default()
    })
    .await;
    world.remote("there.test", sink.port);
    let qmgr = world.start().await;
    let queue = world.queue();
    let id = world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    until("it is deferred", || !qmgr.named("deferred").is_empty()).await;
    let mut list = queue.list().await.unwrap();
    let message = list.next().await.unwrap().unwrap();
    assert_eq!(
        (message.id, message.sender.to_string()),
        (id, "alice@here.test".to_owned())
    );
    assert_eq!(message.size, BODY.len() as u64 + 19);
    assert_eq!(message.recipients[0].address, "bob@there.test");
    assert!(list.next().await.unwrap().is_none());
    let shown = queue.show(id).await.unwrap();
    assert_eq!(
        shown.header,
        b"Received: by test\r\nSubject: hello\r\nFrom: alice@here.test\r\n"
    );
    assert!(shown.message.recipients[0].reason.contains("451 4.3.2 later"));
    assert_eq!(
        queue
            .show(new_id())
            .await
            .map_err(|e| matches!(e, QueueError::NotFound(_))),
        Err(true)
    );

    assert_eq!(queue.hold(&Selection::All).await.unwrap(), [id]);
    assert_eq!(queue.hold(&Selection::All).await.unwrap(), [], "held already");
    assert_eq!(queue.show(id).await.unwrap().message.status, Status::Held);
    sink.say(Script::default());
    assert_eq!(queue.flush(&Flush::All).await.unwrap(), []);
    // A hold outlives the process.
    qmgr.stop().await;
    let qmgr = world.start().await;
    assert_eq!(queue.show(id).await.unwrap().message.status, Status::Held);
    assert!(sink.is_quiet());
    assert_eq!(queue.requeue(&Selection::Ids(vec![id])).await.unwrap(), [id]);
    assert_eq!(queue.show(id).await.unwrap().message.recipients[0].attempts, 0);
    assert_eq!(
        queue.release(&Selection::Ids(vec![id, new_id()])).await.unwrap(),
        [id]
    );
    sink.next().await;
    world.until_empty().await;
    qmgr.stop().await;
}

#[tokio::test]
async fn what_is_deleted_is_gone_without_a_word() {
    let world = World::new("").await;
    world.local("here.test");
    let mut sink = Sink::smtp(Script {
        mail: Some("451 4.3.2 later".into()),
        ..Script::default()
    })
    .await;
    world.remote("there.test", sink.port);
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), Script::default());
    let qmgr = world.start().await;
    let id = world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    until("it is deferred", || !qmgr.named("deferred").is_empty()).await;
    assert_eq!(
        world.queue().delete(&Selection::Ids(vec![id])).await.unwrap(),
        [id]
    );
    world.until_empty().await;
    assert!(deliver.is_quiet() && sink.is_quiet());
    assert_eq!(qmgr.story(id).last().map(String::as_str), Some("removed"));
    qmgr.stop().await;
}

#[tokio::test]
async fn damaged_files_go_to_quarantine_and_the_others_go_on() {
    let world = World::new("").await;
    world.local("here.test");
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), Script::default());
    let ids: Vec<_> = (0..4)
        .map(|n| world.put(&envelope("alice@here.test", &[&format!("u{n}@here.test")]), BODY))
        .collect();
    let file = |n: usize| {
        let id = ids[n].to_string();
        world
            .dir
            .path()
            .join(format!("spool/incoming/{}/{id}", &id[19..]))
    };
    // Cut; a flipped bit in the body, which only the whole check finds; a stranger.
    let bytes = std::fs::read(file(0)).unwrap();
    std::fs::write(file(0), &bytes[..bytes.len() - 1]).unwrap();
    let mut bytes = std::fs::read(file(1)).unwrap();
    bytes[70] ^= 1;
    std::fs::write(file(1), &bytes).unwrap();
    std::fs::create_dir(world.dir.path().join("spool/incoming/a/.snapshot")).unwrap();
    let qmgr = world.start().await;
    let mut got = [deliver.next().await.rcpts, deliver.next().await.rcpts].concat();
    got.sort();
    assert!(
        got[0].contains("u2@here.test") && got[1].contains("u3@here.test"),
        "{got:?}"
    );
    world.until_empty().await;
    assert!(deliver.is_quiet(), "nothing of the damaged ones");
    assert_eq!(qmgr.named("quarantined").len(), 3);
    assert_eq!(
        std::fs::read_dir(world.dir.path().join("spool/quarantine"))
            .unwrap()
            .count(),
        3
    );
    qmgr.stop().await;
}

/// The bounce lies in the spool, but *reported* was not written: it is neither made twice nor sent early.
#[tokio::test]
async fn a_report_is_made_once_whatever_the_crash_left() {
    for (report_lies_there, reported) in [(false, false), (true, false), (true, true)] {
        let world = World::new("").await;
        world.local("here.test");
        let mut deliver = Sink::lmtp(&world.lmtp_socket(), Script::default());
        let mut mail = envelope("alice@here.test", &["bob@there.test"]);
        mail.recipients[0].state = spool::InitialState::Failed(mail_types::Reply::new(
            550,
            "5.1.1".parse().unwrap(),
            "no such user",
        ));
        let id = world.put(&mail, BODY);
        let bounce_id = new_id();
        {
            let spool = Spool::open(
                &durable::Disk::new(),
                &world.dir.path().join("spool"),
                Owner::Qmgr,
            )
            .unwrap();
            let report = Report {
                n: 0,
                kind: ReportKind::Failed,
                recipients: vec![0],
                at_ms: 1_700_000_000_000,
                id: bounce_id,
            };
            spool
                .append_journal(id, &[Record::Report(report)], Safety::Durable)
                .unwrap();
            if report_lies_there {
                let mut bounce = envelope("", &["alice@here.test"]);
                bounce.parent = Some(id);
                bounce.recipients[0].final_address = None;
                let mut writer = spool.begin(bounce_id).unwrap();
                writer.write(b"Subject: the bounce\r\n\r\nx\r\n").unwrap();
                writer.finish(&bounce).unwrap();
            }
            if reported {
                spool
                    .append_journal(id, &[Record::Reported { n: 0 }], Safety::Durable)
                    .unwrap();
            }
        }
        let qmgr = world.start().await;
        let bounce = deliver.next().await;
        assert_eq!(bounce.text().contains("Subject: the bounce"), report_lies_there);
        world.until_empty().await;
        assert!(deliver.is_quiet(), "{report_lies_there} {reported}");
        qmgr.stop().await;
    }
}

#[tokio::test]
async fn our_own_messages_are_expanded_once_and_before_the_first_attempt() {
    let world = World::new("").await;
    world.local("here.test");
    let mut sink = Sink::smtp(Script {
        mail: Some("451 4.3.2 later".into()),
        ..Script::default()
    })
    .await;
    world.remote("there.test", sink.port);
    world.authd.aliases.lock().unwrap().insert(
        "alice@here.test".to_owned(),
        vec![
            ("al@here.test".to_owned(), Target::Mailbox),
            ("al@there.test".to_owned(), Target::Remote),
            (
                "gone@here.test".to_owned(),
                Target::Dead {
                    refusal: no_such_user(),
                },
            ),
        ],
    );
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), Script::default());
    let qmgr = world.start().await;
    let mut mail = envelope("", &["alice@here.test"]);
    mail.recipients[0].final_address = None;
    let id = world.put(&mail, BODY);
    assert!(deliver.next().await.rcpts[0].contains("<al@here.test>"));
    until("the other one is deferred", || !qmgr.named("deferred").is_empty()).await;
    qmgr.kill().await;
    // The alias changed meanwhile; what was decided stays decided.
    world.authd.aliases.lock().unwrap().clear();
    sink.say(Script::default());
    let qmgr = world.start().await;
    let got = sink.next().await;
    assert!(
        got.rcpts[0].contains("<al@there.test>")
            && got.text().starts_with("Delivered-To: alice@here.test\r\n")
    );
    world.until_empty().await;
    assert!(deliver.is_quiet());
    assert!(!qmgr.story(id).contains(&"expanded".to_owned()));
    qmgr.stop().await;
}

#[tokio::test]
async fn a_refused_report_goes_nowhere() {
    let world = World::new("").await;
    world
        .authd
        .refused
        .lock()
        .unwrap()
        .push("alice@here.test".to_owned());
    let qmgr = world.start().await;
    let mut mail = envelope("", &["alice@here.test"]);
    mail.recipients[0].final_address = None;
    let id = world.put(&mail, BODY);
    world.until_empty().await;
    let story = qmgr.story(id);
    assert!(
        story.contains(&"failed".to_owned()) && story.contains(&"report_suppressed".to_owned()),
        "{story:?}"
    );
    qmgr.stop().await;
}

#[tokio::test]
async fn a_second_qmgr_does_not_start() {
    let world = World::new("").await;
    let qmgr = world.start().await;
    let refused = Spool::open(
        &durable::Disk::new(),
        &world.dir.path().join("spool"),
        Owner::Qmgr,
    );
    assert!(matches!(refused, Err(spool::OpenError::Locked { .. })));
    qmgr.stop().await;
}
