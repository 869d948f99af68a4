//! The way of a message (architecture.md section 2): into the mailboxes, into the spool, or both.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use auth_api::directory::Target;
use smtp_proto::reply;
use spool::InitialState;
use support::deliver::Does;
use support::{Site, body, queued};

const MESSAGE: &str = "Subject: x\r\n\r\nhello\r\n";

#[tokio::test]
async fn local_mail_goes_straight_into_the_mailbox() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    assert_eq!(
        d.ask("EHLO c.test").await,
        "250-mx.test\n250-PIPELINING\n250-SIZE 52428800\n250-STARTTLS\n250-ENHANCEDSTATUSCODES\n\
         250-8BITMIME\n250-DSN\n250-SMTPUTF8\n250-CHUNKING\n250 LIMITS RCPTMAX=1000\n"
    );
    for n in 0..2 {
        d.envelope("s@a.test", &["U@local.test"]).await;
        let id = queued(&d.data(&format!("Return-Path: <x@y>\r\n{MESSAGE}..{n}\r\n")).await);
        let given = site.deliver.given.lock().unwrap()[n].clone();
        assert_eq!(given.xid, id.to_string());
        assert_eq!(given.sender, "s@a.test");
        assert_eq!(
            given.recipients,
            [("u@local.test".into(), "0".into(), "U@local.test".into())]
        );
        let received = format!(
            "Received: from c.test (unknown [192.0.2.1])\r\n\tby mx.test (Postrider) with ESMTP id {id}\r\n\
             \tfor <U@local.test>; "
        );
        assert!(given.body.starts_with(&received), "{}", given.body);
        assert!(
            given.body.ends_with(&format!("\r\n{MESSAGE}.{n}\r\n")),
            "{}",
            given.body
        );
    }
    assert_eq!(
        *site.deliver.connections.lock().unwrap(),
        1,
        "the connection is used again"
    );
    assert!(site.spooled().is_empty());
    assert_eq!(d.ask("QUIT").await, "221 2.0.0 Bye\n");
    assert_eq!(d.hear().await, "eof");
    let names = site.event_names();
    for name in [
        "connected",
        "greeted",
        "mail_accepted",
        "recipient_accepted",
        "message_received",
        "direct_reply",
        "message_accepted",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
}

#[tokio::test]
async fn nobody_got_it_so_nothing_is_queued() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["u@local.test", "v@local.test"]).await;
    site.deliver.does(Does::Says(vec![
        reply::new(550, (5, 1, 1), "gone"),
        reply::new(452, (4, 2, 2), "full"),
    ]));
    let heard = d.data(MESSAGE).await;
    assert!(
        heard.starts_with("452 4.2.2 full (") && heard.ends_with(")\n"),
        "{heard}"
    );
    d.envelope("s@a.test", &["u@local.test"]).await;
    site.deliver
        .does(Does::RefusesMail(reply::new(452, (4, 3, 1), "no space")));
    assert!(d.data(MESSAGE).await.starts_with("452 4.3.1 no space ("));
    assert!(site.spooled().is_empty());
}

#[tokio::test]
async fn a_mail_program_does_not_try_again_so_the_queue_does() {
    let site = Site::new("").await;
    let mut d = site.submission("u@local.test").await;
    d.envelope("u@local.test", &["v@local.test", "w@local.test"])
        .await;
    site.deliver.does(Does::Says(vec![
        reply::new(550, (5, 1, 1), "gone"),
        reply::new(451, (4, 3, 0), "trouble"),
    ]));
    queued(&d.data(&format!("From: u@local.test\r\n{MESSAGE}")).await);
    let spooled = site.spooled();
    let states: Vec<_> = spooled[0]
        .envelope()
        .recipients
        .iter()
        .map(|r| r.state.clone())
        .collect();
    assert!(
        matches!(states[..], [InitialState::Failed(_), InitialState::Waiting]),
        "{states:?}"
    );
}

#[tokio::test]
async fn somebody_got_it_and_the_rest_waits() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["u@local.test", "v@local.test", "w@local.test"])
        .await;
    site.deliver.does(Does::SaysThenCloses(vec![
        reply::ok(),
        reply::new(451, (4, 2, 0), "later"),
    ]));
    let id = queued(&d.data(MESSAGE).await);
    let spooled = site.spooled();
    assert_eq!(spooled[0].id(), id);
    let envelope = spooled[0].envelope();
    let states: Vec<_> = envelope
        .recipients
        .iter()
        .map(|r| (r.index, r.state.clone()))
        .collect();
    assert_eq!(
        states,
        [(1, InitialState::Waiting), (2, InitialState::MaybeRepeated)]
    );
    assert!(envelope.top.starts_with("Received: from c.test") && envelope.top.ends_with("\r\n"));
    assert_eq!(body(&spooled[0]), MESSAGE);
}

#[tokio::test]
async fn deliver_is_away() {
    let site = Site::without_deliver("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    assert_eq!(
        site.spooled()[0].envelope().recipients[0].state,
        InitialState::Waiting
    );
    // And back again, and gone behind a kept connection.
    site.deliver.start().await;
    for _ in 0..2 {
        d.envelope("s@a.test", &["u@local.test"]).await;
        queued(&d.data(MESSAGE).await);
        site.deliver.kill();
        site.deliver.start().await;
    }
    assert_eq!(site.deliver.bodies().len(), 2);
    assert_eq!(site.spooled().len(), 1);
}

#[tokio::test]
async fn a_second_attempt_is_marked_and_settles_only_what_it_can() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    // deliver dies over the second message, on the connection that was kept.
    site.deliver.does(Does::SaysThenCloses(Vec::new()));
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    let repeated: Vec<bool> = site
        .deliver
        .given
        .lock()
        .unwrap()
        .iter()
        .map(|given| given.repeated)
        .collect();
    assert_eq!(repeated, [false, false, true]);
    let spooled = site.spooled();
    assert_eq!(
        spooled[0].envelope().recipients[0].state,
        InitialState::MaybeRepeated
    );
    drop(spooled);
    // A refusal for now does not say that the first attempt delivered nothing.
    site.deliver.does(Does::Says(Vec::new()));
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    site.deliver.does(Does::DiesThenRefuses);
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    let spooled = site.spooled();
    assert_eq!(spooled.len(), 2);
    assert_eq!(
        spooled[1].envelope().recipients[0].state,
        InitialState::MaybeRepeated
    );
}

#[tokio::test]
async fn deliver_is_late() {
    let site = Site::new("[smtpd]\ndirect_delivery_timeout = \"1s\"").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["u@local.test"]).await;
    site.deliver.does(Does::Hangs);
    queued(&d.data(MESSAGE).await);
    assert_eq!(
        site.spooled()[0].envelope().recipients[0].state,
        InitialState::MaybeRepeated
    );
}

#[tokio::test]
async fn remote_and_mixed_recipients_go_through_the_queue() {
    let site = Site::new("").await;
    let mut d = site.submission("u@local.test").await;
    d.envelope("u@local.test", &["mixed@local.test", "half@local.test"])
        .await;
    let id = queued(
        &d.data("From: u@local.test\r\nBcc: secret@a.test\r\n\r\nbody \u{e4}\r\n")
            .await,
    );
    assert!(site.deliver.bodies().is_empty());
    let spooled = site.spooled();
    let envelope = spooled[0].envelope();
    let finals: Vec<_> = envelope
        .recipients
        .iter()
        .map(|r| {
            (
                r.index,
                r.original.to_string(),
                r.final_address.as_ref().unwrap().to_string(),
                r.expanded,
            )
        })
        .collect();
    let row = |n, original: &str, to: &str| (n, original.to_owned(), to.to_owned(), true);
    assert_eq!(
        finals,
        [
            row(0, "mixed@local.test", "u@local.test"),
            row(1, "mixed@local.test", "x@a.test"),
            row(2, "half@local.test", "u@local.test"),
            row(3, "half@local.test", "gone@local.test"),
        ]
    );
    assert!(matches!(envelope.recipients[3].state, InitialState::Failed(_)));
    assert_eq!(envelope.body, spool::BodyType::EightBit);
    assert!(envelope.top.contains("with ESMTPSA id") && envelope.top.contains("using TLSv1.3 with cipher"));
    assert!(!envelope.top.contains("for <"), "two recipients");
    let text = body(&spooled[0]);
    assert!(
        !text.contains("secret@a.test") && text.contains("\r\nDate: ") | text.starts_with("Date: "),
        "{text}"
    );
    assert!(text.contains(&format!("Message-ID: <{id}@")), "{text}");
    assert!(text.ends_with("\r\n\r\nbody \u{e4}\r\n"), "{text}");
}

#[tokio::test]
async fn success_reports_are_owed_before_the_250() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.ask("MAIL FROM:<s@a.test> RET=HDRS ENVID=e1").await;
    d.ask("RCPT TO:<u@local.test> NOTIFY=SUCCESS ORCPT=rfc822;o@a.test")
        .await;
    d.ask("RCPT TO:<w@local.test>").await;
    queued(&d.data(MESSAGE).await);
    let spooled = site.spooled();
    let envelope = spooled[0].envelope();
    assert_eq!(envelope.recipients.len(), 1);
    assert!(matches!(envelope.recipients[0].state, InitialState::Delivered(_)));
    assert_eq!(envelope.envid.as_deref(), Some("e1"));
}

#[tokio::test]
async fn an_expanded_alias_is_reported_once() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.ask("MAIL FROM:<s@a.test>").await;
    d.ask("RCPT TO:<team@local.test> NOTIFY=SUCCESS,FAILURE").await;
    queued(&d.data(MESSAGE).await);
    let spooled = site.spooled();
    let envelope = spooled[0].envelope();
    assert_eq!(envelope.expanded.len(), 1);
    assert_eq!(envelope.recipients.len(), 2);
    for recipient in &envelope.recipients {
        assert!(matches!(recipient.state, InitialState::Delivered(_)));
        assert!(!recipient.notify.unwrap().success);
    }
}

#[tokio::test]
async fn big_bodies_wait_in_a_file() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    let big = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(300_000));
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(&big).await);
    assert!(site.deliver.bodies()[0].ends_with(&big));
    assert_eq!((site.spooled().len(), site.temporary()), (0, 0));
    // The same where deliver goes away: the file is completed.
    site.deliver.kill();
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(&big).await);
    let spooled = site.spooled();
    assert_eq!(body(&spooled[0]), big);
    spooled[0].verify().unwrap();
    assert_eq!(site.temporary(), 0);
}

#[tokio::test]
async fn without_memory_budget_every_body_is_a_file() {
    let site = Site::new("[smtpd]\nbody_memory_budget = \"1M\"\nbody_memory_limit = \"64M\"").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    let big = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(150_000));
    d.envelope("s@a.test", &["u@local.test"]).await;
    assert!(d.ask("DATA").await.starts_with("354"));
    d.send(&big).await;
    let ended = d.ask(".").await;
    queued(&ended);
    assert!(site.deliver.bodies()[0].ends_with(&big));
    assert_eq!(site.temporary(), 0);
}

#[tokio::test]
async fn too_many_targets_for_direct_delivery() {
    let site = Site::new("[smtpd]\ndirect_delivery_recipient_limit = 1").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["team@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    assert!(site.deliver.bodies().is_empty());
    assert_eq!(site.spooled()[0].envelope().recipients.len(), 2);
}

#[tokio::test]
async fn the_same_recipient_a_thousand_times_is_one_copy() {
    let site = Site::new("").await;
    site.directory.alias(
        "a@local.test",
        &[
            ("a@local.test", Target::Mailbox),
            ("u@local.test", Target::Mailbox),
        ],
    );
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.ask("MAIL FROM:<s@a.test>").await;
    d.send("RCPT TO:<u@local.test>\r\n".repeat(900)).await;
    for _ in 0..900 {
        assert_eq!(d.hear().await, "250 2.1.5 Ok\n");
    }
    d.ask("RCPT TO:<a@local.test>").await;
    queued(&d.data(MESSAGE).await);
    let given = site.deliver.given.lock().unwrap()[0].clone();
    let finals: Vec<_> = given
        .recipients
        .iter()
        .map(|r| (r.0.as_str(), r.1.as_str()))
        .collect();
    assert_eq!(
        finals,
        [
            ("u@local.test", "0"),
            ("a@local.test", "1"),
            ("u@local.test", "2")
        ]
    );
}

#[tokio::test]
async fn a_dropped_connection_leaves_nothing() {
    let site = Site::new("").await;
    for cut in [
        "DATA\r\nSubject: x\r\n",
        "DATA\r\n\r\nx\r\n.",
        "DATA\r\n\r\nx\r\n.\r",
        "BDAT 10 LAST\r\nabc",
    ] {
        let mut d = site.connect("mx").await;
        d.ask("EHLO c.test").await;
        d.envelope("s@a.test", &["u@local.test"]).await;
        d.send(cut).await;
        drop(d);
    }
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["u@local.test"]).await;
    queued(&d.data(MESSAGE).await);
    assert_eq!(site.deliver.bodies().len(), 1);
    assert!(site.spooled().is_empty());
}
