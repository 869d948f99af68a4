//! Mail through a whole qmgr: from the spool to deliver, to other servers, and back as reports.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use support::sink::{Script, Sink};
use support::*;

#[tokio::test]
async fn local_mail_goes_to_deliver_with_its_key() {
    let world = World::new("").await;
    world.local("here.test");
    let mut deliver = Sink::lmtp(
        &world.lmtp_socket(),
        Script {
            extensions: vec!["PIPELINING".into(), "XPOSTRIDER".into(), "8BITMIME".into()],
            ..Script::default()
        },
    );
    let qmgr = world.start().await;
    let mut mail = envelope("alice@here.test", &["bob@here.test", "carl@here.test"]);
    mail.recipients[1].original = "sales@here.test".parse().unwrap();
    let id = world.put(&mail, BODY);
    let got = deliver.next().await;
    assert!(
        got.mail.starts_with("MAIL FROM:<alice@here.test>") && got.mail.ends_with(&format!(" XID={id}")),
        "{} {id}",
        got.mail
    );
    assert_eq!(
        got.rcpts,
        [
            "RCPT TO:<bob@here.test> XIDX=0 XORIG=bob@here.test",
            "RCPT TO:<carl@here.test> XIDX=1 XORIG=sales@here.test",
        ]
    );
    assert_eq!(got.body, [b"Received: by test\r\n", BODY].concat());
    world.until_empty().await;
    let story = qmgr.story(id);
    for name in [
        "picked_up",
        "routed",
        "attempt_started",
        "remote_reply",
        "delivered",
        "removed",
    ] {
        assert!(story.contains(&name.to_owned()), "{story:?}");
    }
    assert!(deliver.is_quiet());
    qmgr.stop().await;
}

#[tokio::test]
async fn remote_mail_and_a_bounce() {
    let world = World::new("").await;
    world.local("here.test");
    let mut sink = Sink::smtp(Script {
        rcpt: |line| {
            if line.contains("nobody") {
                "550 5.1.1 no such user".into()
            } else {
                "250 2.1.5 Ok".into()
            }
        },
        ..Script::default()
    })
    .await;
    world.remote("there.test", sink.port);
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), Script::default());
    let qmgr = world.start().await;
    let id = world.put(
        &envelope("alice@here.test", &["bob@there.test", "nobody@there.test"]),
        BODY,
    );
    world.hint(id);
    let got = sink.next().await;
    assert_eq!(got.rcpts.len(), 1);
    assert!(
        got.rcpts[0].starts_with("RCPT TO:<bob@there.test>"),
        "{:?}",
        got.rcpts
    );
    assert_eq!(got.body, [b"Received: by test\r\n", BODY].concat());
    let bounce = deliver.next().await;
    assert!(bounce.mail.starts_with("MAIL FROM:<>"), "{}", bounce.mail);
    assert!(bounce.rcpts[0].starts_with("RCPT TO:<alice@here.test>"));
    let text = bounce.text();
    for part in [
        "Subject: Undelivered Mail Returned to Sender",
        "Final-Recipient: rfc822; nobody@there.test",
        "Status: 5.1.1",
        "\r\nbody\r\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("bob@there.test\r\nAction"));
    world.until_empty().await;
    assert_eq!(qmgr.named("report_made")[0].parent, Some(id.to_string()));
    qmgr.stop().await;
}

#[tokio::test]
async fn deferred_mail_is_tried_again_and_at_last_returned() {
    let world = World::new("maximal_queue_lifetime = \"500ms\"\ndelay_warning_time = \"100ms\"\n").await;
    world.local("here.test");
    let sink = Sink::smtp(Script {
        mail: Some("451 4.3.2 later".into()),
        ..Script::default()
    })
    .await;
    world.remote("there.test", sink.port);
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), Script::default());
    let qmgr = world.start().await;
    let id = world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    let delay = deliver.next().await.text();
    assert!(
        delay.contains("Subject: Delayed Mail") && delay.contains("Will-Retry-Until: "),
        "{delay}"
    );
    let bounce = deliver.next().await.text();
    assert!(
        bounce.contains("Subject: Undelivered Mail") && bounce.contains("Status: 5.4.7"),
        "{bounce}"
    );
    assert!(bounce.contains("451 4.3.2 later"));
    world.until_empty().await;
    let attempts = *sink.connections.lock().unwrap();
    assert!((2..=5).contains(&attempts), "{attempts}");
    assert!(qmgr.story(id).iter().filter(|name| *name == "deferred").count() >= 1);
    qmgr.stop().await;
}

#[tokio::test]
async fn nothing_is_reported_to_the_null_sender() {
    let world = World::new("").await;
    let mut sink = Sink::smtp(Script {
        end: |_| "554 5.7.1 no".into(),
        ..Script::default()
    })
    .await;
    world.remote("there.test", sink.port);
    let qmgr = world.start().await;
    let id = world.put(&envelope("", &["bob@there.test"]), BODY);
    sink.next().await;
    world.until_empty().await;
    assert!(qmgr.story(id).contains(&"report_suppressed".to_owned()));
    assert!(qmgr.named("report_made").is_empty());
    qmgr.stop().await;
}

#[tokio::test]
async fn our_own_trouble_is_no_attempt() {
    let mut world = World::new("maximal_queue_lifetime = \"0s\"\n").await;
    world.local("here.test");
    world.stop_authd();
    let qmgr = world.start().await;
    let id = world.put(&envelope("alice@here.test", &["bob@here.test"]), BODY);
    let waiting = |n: usize| qmgr.named("waiting").len() >= n;
    until("authd is missed three times", || waiting(3)).await;
    world.start_authd();
    // deliver is not there either.
    until("deliver is missed", || {
        qmgr.named("waiting")
            .iter()
            .any(|e| format!("{e:?}").contains("deliver"))
    })
    .await;
    let script = Script {
        extensions: vec!["XPOSTRIDER".into()],
        end: |_| "451 4.3.0 not now".into(),
        ..Script::default()
    };
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), script.clone());
    deliver.next().await;
    deliver.next().await;
    deliver.say(Script {
        end: |_| "250 2.0.0 Ok".into(),
        ..script
    });
    world.until_empty().await;
    let story = qmgr.story(id);
    assert!(
        !story.contains(&"deferred".to_owned()) && !story.contains(&"failed".to_owned()),
        "{story:?}"
    );
    qmgr.stop().await;
}

#[tokio::test]
async fn a_broken_answer_makes_a_repetition() {
    let world = World::new("").await;
    world.local("here.test");
    let script = Script {
        extensions: vec!["XPOSTRIDER".into()],
        end: |_| String::new(),
        ..Script::default()
    };
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), script.clone());
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["bob@here.test"]), BODY);
    let first = deliver.next().await;
    assert!(!first.rcpts[0].contains("XREPEAT"));
    deliver.say(Script {
        end: |_| "250 2.0.0 Ok".into(),
        ..script
    });
    let mut last = deliver.next().await;
    while !deliver.is_quiet() {
        last = deliver.next().await;
    }
    assert!(last.rcpts[0].ends_with(" XREPEAT"), "{:?}", last.rcpts);
    world.until_empty().await;
    qmgr.stop().await;
}

#[tokio::test]
async fn what_lies_there_at_the_start_is_a_repetition() {
    let world = World::new("").await;
    world.local("here.test");
    world.put(&envelope("alice@here.test", &["bob@here.test"]), BODY);
    let script = Script {
        extensions: vec!["XPOSTRIDER".into()],
        ..Script::default()
    };
    let mut deliver = Sink::lmtp(&world.lmtp_socket(), script);
    let qmgr = world.start().await;
    assert!(deliver.next().await.rcpts[0].ends_with(" XREPEAT"));
    world.until_empty().await;
    qmgr.stop().await;
}

#[tokio::test]
async fn a_killed_qmgr_goes_on_where_it_was() {
    let world = World::new("").await;
    let mut first = Sink::smtp(Script::default()).await;
    let mut second = Sink::smtp(Script {
        mail: Some("450 4.2.0 later".into()),
        ..Script::default()
    })
    .await;
    world.remote("a.test", first.port);
    world.remote("b.test", second.port);
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["x@a.test", "y@b.test"]), BODY);
    first.next().await;
    until("the result is written", || qmgr.named("delivered").len() == 1).await;
    until("b is deferred", || !qmgr.named("deferred").is_empty()).await;
    qmgr.kill().await;
    second.say(Script::default());
    let qmgr = world.start().await;
    second.next().await;
    world.until_empty().await;
    assert!(first.is_quiet(), "delivered once");
    qmgr.stop().await;
}

/// `QUEUE_BACKLOG=100000 cargo test --release -p qmgr --test flow dead_servers -- --nocapture` measures it.
#[tokio::test]
async fn dead_servers_do_not_hold_up_live_ones() {
    let world = World::new("").await;
    let silent = Sink::smtp(Script {
        stall: Some("EHLO"),
        ..Script::default()
    })
    .await;
    let mut live = Sink::smtp(Script::default()).await;
    world.remote("dead.test", silent.port);
    world.remote("live.test", live.port);
    let backlog = std::env::var("QUEUE_BACKLOG")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(300);
    world.put_many(backlog, |n| {
        envelope("alice@here.test", &[&format!("u{n}@dead.test")])
    });
    let begun = std::time::Instant::now();
    let qmgr = world.start().await;
    println!("{backlog} messages recovered in {:?}", begun.elapsed());
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        let id = world.put(&envelope("alice@here.test", &["bob@live.test"]), BODY);
        world.hint(id);
        let got = tokio::time::timeout(Duration::from_secs(5), live.next())
            .await
            .unwrap();
        assert!(got.rcpts[0].contains("bob@live.test"));
        println!("a live one after {:?}", begun.elapsed());
    }
    qmgr.kill().await;
}
