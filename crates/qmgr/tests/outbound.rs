//! What goes over the wire to other servers, and what comes of their answers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use auth_api::directory::{NextHop, Route};
use spool::{BodyType, ExpandedOriginal, InitialState};
use support::dns::Records;
use support::sink::{Script, Sink};
use support::*;
use tokio_rustls::TlsAcceptor;

fn acceptor() -> TlsAcceptor {
    let key = rcgen::generate_simple_self_signed(vec!["wrong.name.test".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            key.signing_key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A world with deliver for here.test and one remote server for there.test.
async fn two(script: Script, options: &str) -> (World, Sink, Sink) {
    let world = World::new(options).await;
    world.local("here.test");
    let sink = Sink::smtp(script).await;
    world.remote("there.test", sink.port);
    let deliver = Sink::lmtp(&world.lmtp_socket(), Script::default());
    (world, sink, deliver)
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered_whatever_the_certificate() {
    let (world, mut sink, _deliver) = two(
        Script {
            tls: Some(Some(acceptor())),
            ..Script::default()
        },
        "",
    )
    .await;
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    assert!(sink.next().await.tls);
    world.until_empty().await;
    assert_eq!(qmgr.named("tls_started").len(), 1);
    qmgr.stop().await;
}

#[tokio::test]
async fn a_failed_handshake_is_followed_by_plaintext() {
    let (world, mut sink, _deliver) = two(
        Script {
            tls: Some(None),
            ..Script::default()
        },
        "",
    )
    .await;
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    assert!(!sink.next().await.tls);
    world.until_empty().await;
    let failed = qmgr.named("server_failed");
    assert!(format!("{failed:?}").contains("TLS handshake"), "{failed:?}");
    qmgr.stop().await;
}

#[tokio::test]
async fn tls_can_be_switched_off() {
    let script = Script {
        tls: Some(Some(acceptor())),
        ..Script::default()
    };
    let (world, mut sink, _deliver) = two(script, "smtp_tls_security_level = \"none\"\n").await;
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    assert!(!sink.next().await.tls);
    qmgr.stop().await;
}

#[tokio::test]
async fn eight_bit_mail_is_declared_or_converted() {
    let (world, mut sink, _deliver) = two(Script::default(), "").await;
    let qmgr = world.start().await;
    let mut mail = envelope("alice@here.test", &["bob@there.test"]);
    mail.body = BodyType::EightBit;
    let body = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngr\u{fc}n\r\n".as_bytes();
    world.put(&mail, body);
    let got = sink.next().await;
    assert!(
        got.mail.contains(" BODY=8BITMIME") && got.body.ends_with("gr\u{fc}n\r\n".as_bytes()),
        "{}",
        got.mail
    );
    sink.say(Script {
        extensions: vec!["SIZE".into()],
        ..Script::default()
    });
    world.put(&mail, body);
    let got = sink.next().await;
    assert!(!got.mail.contains("BODY="), "{}", got.mail);
    assert!(
        got.text()
            .ends_with("Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BCn\r\n"),
        "{}",
        got.text()
    );
    // Nothing was announced at all: HELO-level service, the header cannot be converted.
    world.put(&mail, "Subject: gr\u{fc}n\r\n\r\nx\r\n".as_bytes());
    world.until_empty().await;
    let failed = qmgr.named("failed");
    assert!(format!("{failed:?}").contains("5.6.3"), "{failed:?}");
    assert!(sink.is_quiet(), "never raw");
    qmgr.stop().await;
}

#[tokio::test]
async fn international_mail_is_bounced_where_it_is_not_taken() {
    let (world, mut sink, mut deliver) = two(Script::default(), "").await;
    let qmgr = world.start().await;
    let mut mail = envelope("alice@here.test", &["j\u{f6}rg@there.test"]);
    (mail.smtputf8, mail.body) = (true, BodyType::EightBit);
    world.put(&mail, BODY);
    let got = sink.next().await;
    assert!(
        got.mail.contains(" SMTPUTF8") && got.rcpts[0].contains("<j\u{f6}rg@there.test>"),
        "{got:?}"
    );
    sink.say(Script {
        extensions: vec!["8BITMIME".into()],
        ..Script::default()
    });
    world.put(&mail, BODY);
    let bounce = deliver.next().await.text();
    assert!(
        bounce.contains("Status: 5.6.7") && bounce.contains("Final-Recipient: utf-8; j\u{f6}rg@there.test"),
        "{bounce}"
    );
    // SMTPUTF8 was given but nothing needs it.
    let mut plain = envelope("alice@here.test", &["bob@there.test"]);
    plain.smtputf8 = true;
    world.put(&plain, BODY);
    assert!(!sink.next().await.mail.contains("SMTPUTF8"));
    qmgr.stop().await;
}

#[tokio::test]
async fn a_message_above_the_servers_limit_is_not_sent() {
    let (world, mut sink, mut deliver) = two(
        Script {
            extensions: vec!["SIZE 30".into()],
            ..Script::default()
        },
        "",
    )
    .await;
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    assert!(deliver.next().await.text().contains("Status: 5.3.4"));
    assert!(sink.is_quiet());
    qmgr.stop().await;
}

#[tokio::test]
async fn dsn_parameters_are_passed_on_or_answered_here() {
    let (world, mut sink, mut deliver) = two(Script::default(), "").await;
    let qmgr = world.start().await;
    let mut mail = envelope("alice@here.test", &["bob@there.test"]);
    mail.envid = Some("env 1".to_owned());
    mail.ret = Some(mail_types::Ret::Headers);
    mail.recipients[0].notify = success();
    world.put(&mail, BODY);
    let got = sink.next().await;
    assert!(got.mail.contains(" RET=HDRS ENVID=env+201"), "{}", got.mail);
    assert_eq!(
        got.rcpts,
        ["RCPT TO:<bob@there.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@there.test"]
    );
    world.until_empty().await;
    assert!(deliver.is_quiet(), "the next server reports");
    sink.say(Script {
        extensions: vec!["8BITMIME".into()],
        ..Script::default()
    });
    world.put(&mail, BODY);
    assert!(!sink.next().await.rcpts[0].contains("NOTIFY"));
    let report = deliver.next().await.text();
    for part in [
        "Action: relayed",
        "Original-Envelope-Id: env+201",
        "Content-Type: text/rfc822-headers",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(!report.contains("\r\nbody\r\n"));
    qmgr.stop().await;
}

#[tokio::test]
async fn success_here_is_reported_where_it_was_asked_for() {
    let (world, _sink, mut deliver) = two(Script::default(), "").await;
    let qmgr = world.start().await;
    let mut mail = envelope("alice@here.test", &["bob@here.test"]);
    mail.recipients[0].notify = success();
    world.put(&mail, BODY);
    deliver.next().await;
    assert!(deliver.next().await.text().contains("Action: delivered"));
    // smtpd delivered it directly: only the report is left to do.
    mail.recipients[0].state = InitialState::Delivered(mail_types::Reply::plain(250, "done"));
    mail.recipients[0].notify = success();
    world.put(&mail, BODY);
    assert!(deliver.next().await.text().contains("Action: delivered"));
    world.until_empty().await;
    assert!(deliver.is_quiet());
    qmgr.stop().await;
}

#[tokio::test]
async fn an_expanded_alias_is_reported_once() {
    let (world, mut sink, mut deliver) = two(Script::default(), "").await;
    let qmgr = world.start().await;
    let mut mail = envelope("alice@here.test", &["bob@there.test", "carl@there.test"]);
    for recipient in &mut mail.recipients {
        recipient.original = "list@here.test".parse().unwrap();
        recipient.expanded = true;
        recipient.notify = mail_types::Notify::parse("FAILURE");
    }
    mail.expanded = vec![ExpandedOriginal {
        original: "list@here.test".parse().unwrap(),
        orcpt: None,
    }];
    world.put(&mail, BODY);
    let got = sink.next().await;
    assert_eq!(got.rcpts.len(), 2, "one original, one transaction");
    assert!(
        got.text()
            .starts_with("Delivered-To: list@here.test\r\nReceived: by test\r\n"),
        "{}",
        got.text()
    );
    let report = deliver.next().await.text();
    assert!(
        report.contains("Action: expanded") && report.contains("Final-Recipient: rfc822; list@here.test"),
        "{report}"
    );
    world.until_empty().await;
    assert!(deliver.is_quiet());
    qmgr.stop().await;
}

#[tokio::test]
async fn mail_does_not_leave_an_alias_twice() {
    let (world, mut sink, mut deliver) = two(Script::default(), "").await;
    let qmgr = world.start().await;
    let mut mail = envelope("alice@here.test", &["bob@there.test"]);
    mail.recipients[0].original = "list@here.test".parse().unwrap();
    mail.recipients[0].expanded = true;
    world.put(
        &mail,
        b"Delivered-To: LIST@here.test\r\nSubject: x\r\n\r\nbody\r\n",
    );
    let bounce = deliver.next().await.text();
    assert!(
        bounce.contains("5.4.6 mail forwarding loop for list@here.test"),
        "{bounce}"
    );
    assert!(sink.is_quiet());
    qmgr.stop().await;
}

#[tokio::test]
async fn every_recipient_gets_its_own_result() {
    let script = Script {
        rcpt: |line| {
            if line.contains("full") {
                "452 4.2.2 full".into()
            } else if line.contains("none") {
                "550 5.1.1 none".into()
            } else if line.contains("many") {
                "552 5.5.3 too many".into()
            } else {
                "250 Ok".into()
            }
        },
        ..Script::default()
    };
    let (world, mut sink, _deliver) = two(script, "").await;
    let qmgr = world.start().await;
    let names: Vec<String> = (0..50)
        .map(|n| match n {
            10 => "full@there.test".to_owned(),
            20 => "none@there.test".to_owned(),
            30 => "many@there.test".to_owned(),
            n => format!("u{n}@there.test"),
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.put(&envelope("alice@here.test", &names), BODY);
    assert_eq!(sink.next().await.rcpts.len(), 47);
    until("all are judged", || {
        qmgr.named("delivered").len() == 47 && !qmgr.named("failed").is_empty()
    })
    .await;
    until("two are deferred", || qmgr.named("deferred").len() >= 2).await;
    assert_eq!(qmgr.named("failed")[0].recipient, Some(20));
    let deferred: std::collections::HashSet<_> = qmgr
        .named("deferred")
        .iter()
        .map(|e| e.recipient.unwrap())
        .collect();
    assert_eq!(deferred, [10, 30].into());
    sink.say(Script::default());
    assert_eq!(sink.next().await.rcpts.len(), 2);
    qmgr.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_neither_success_nor_failure() {
    let (world, mut sink, _deliver) = two(
        Script {
            end: |_| String::new(),
            ..Script::default()
        },
        "",
    )
    .await;
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    sink.next().await;
    until("it is deferred", || !qmgr.named("deferred").is_empty()).await;
    assert!(format!("{:?}", qmgr.named("deferred")).contains("may be delivered twice"));
    sink.say(Script::default());
    sink.next().await;
    world.until_empty().await;
    qmgr.stop().await;
}

#[tokio::test]
async fn plaintext_behind_the_answer_to_starttls_is_not_believed() {
    let script = Script {
        tls: Some(Some(acceptor())),
        inject: true,
        ..Script::default()
    };
    let (world, mut sink, _deliver) = two(script, "").await;
    let qmgr = world.start().await;
    world.put(&envelope("alice@here.test", &["bob@there.test"]), BODY);
    until("it is deferred", || !qmgr.named("deferred").is_empty()).await;
    assert!(format!("{:?}", qmgr.named("deferred")).contains("injected"));
    assert!(sink.is_quiet());
    qmgr.stop().await;
}

fn mx(domain: &str) -> Route {
    Route::Smtp(NextHop {
        host: domain.to_owned(),
        port: None,
        use_mx: true,
        explicit: false,
    })
}

/// A zone whose servers are on loopback addresses, and the port of `127.0.0.3`, the only one that answers.
async fn zone() -> (std::net::SocketAddr, Sink) {
    let refused = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let port = refused.local_addr().unwrap().port();
    drop(refused);
    let listener = tokio::net::TcpListener::bind(("127.0.0.3", port)).await.unwrap();
    let a = |address: &'static str| Records {
        a: vec![address],
        ..Records::default()
    };
    let mx = |mx: &[(u16, &'static str)]| Records {
        mx: mx.to_vec(),
        ..Records::default()
    };
    let zone = HashMap::from([
        ("two.test", mx(&[(20, "b.two.test"), (10, "a.two.test")])),
        ("a.two.test", a("127.0.0.2")),
        ("b.two.test", a("127.0.0.3")),
        ("plain.test", a("127.0.0.3")),
        ("null.test", mx(&[(0, "")])),
        (
            "broken.test",
            Records {
                fails: true,
                ..Records::default()
            },
        ),
        ("loop.test", mx(&[(5, "mail.here.test"), (10, "b.two.test")])),
    ]);
    (
        support::dns::server(zone).await,
        Sink::on(listener, Script::default()),
    )
}

#[tokio::test]
async fn mail_follows_the_dns() {
    let (dns, mut sink) = zone().await;
    let world = World::new(&format!("dns_servers = [\"{dns}\"]\nsmtp_port = {}\n", sink.port)).await;
    for domain in [
        "two.test",
        "plain.test",
        "null.test",
        "broken.test",
        "loop.test",
        "gone.test",
    ] {
        world
            .authd
            .routes
            .lock()
            .unwrap()
            .insert(domain.to_owned(), mx(domain));
    }
    let qmgr = world.start().await;
    world.put(&envelope("", &["u@two.test"]), BODY);
    assert_eq!(sink.next().await.rcpts.len(), 1);
    let failed = format!("{:?}", qmgr.named("server_failed"));
    assert!(
        failed.contains("a.two.test[127.0.0.2]"),
        "the better one first: {failed}"
    );
    world.put(&envelope("", &["u@plain.test"]), BODY);
    sink.next().await;
    world.put(
        &envelope(
            "",
            &["a@null.test", "b@loop.test", "c@gone.test", "d@broken.test"],
        ),
        BODY,
    );
    until("three fail", || qmgr.named("failed").len() == 3).await;
    let reasons = format!("{:?}", qmgr.named("failed"));
    for code in ["5.1.10", "5.4.6", "5.4.4"] {
        assert!(reasons.contains(code), "{code}: {reasons}");
    }
    until("one is deferred", || {
        qmgr.named("deferred").iter().any(|e| e.recipient == Some(3))
    })
    .await;
    assert!(sink.is_quiet());
    qmgr.stop().await;
}

#[tokio::test]
async fn the_relayhost_takes_what_the_table_does_not_route() {
    let (world, mut sink, _deliver) = two(Script::default(), "").await;
    drop(world);
    let world = World::new(&format!("relayhost = \"[127.0.0.1]:{}\"\n", sink.port)).await;
    world
        .authd
        .routes
        .lock()
        .unwrap()
        .insert("far.test".to_owned(), mx("far.test"));
    let qmgr = world.start().await;
    world.put(&envelope("", &["u@far.test"]), BODY);
    assert!(sink.next().await.rcpts[0].contains("u@far.test"));
    qmgr.stop().await;
}

#[tokio::test]
async fn transports_without_a_server() {
    let world = World::new("").await;
    let route = |domain: &str, route: Route| {
        world
            .authd
            .routes
            .lock()
            .unwrap()
            .insert(domain.to_owned(), route);
    };
    route("error.test", Route::Error("5.7.1 closed for good".to_owned()));
    route("retry.test", Route::Retry("come back".to_owned()));
    route("discard.test", Route::Discard);
    route("unknown.test", Route::Unknown(no_such_user()));
    route("odd.test", Route::Misconfigured("what is this".to_owned()));
    let qmgr = world.start().await;
    let domains = ["error", "retry", "discard", "unknown", "odd"].map(|d| format!("u@{d}.test"));
    let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
    world.put(&envelope("", &domains), BODY);
    until("all are judged", || {
        qmgr.named("failed").len() == 2
            && qmgr.named("deferred").len() >= 2
            && qmgr.named("discarded").len() == 1
    })
    .await;
    let failed = format!("{:?}", qmgr.named("failed"));
    assert!(
        failed.contains("5.7.1 closed for good") && failed.contains("5.1.1 User unknown"),
        "{failed}"
    );
    let deferred = format!("{:?}", qmgr.named("deferred"));
    assert!(
        deferred.contains("come back") && deferred.contains("4.3.5"),
        "{deferred}"
    );
    qmgr.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_down_in_the_middle_decides_nothing_for_the_others() {
    let script = Script {
        rcpt: |line| {
            if line.contains("<u3@") {
                "550 5.1.1 none".into()
            } else if line.contains("<u6@") {
                "421 4.3.2 going down".into()
            } else {
                "250 Ok".into()
            }
        },
        ..Script::default()
    };
    let (world, mut sink, _deliver) = two(script, "").await;
    let qmgr = world.start().await;
    let names: Vec<String> = (0..10).map(|n| format!("u{n}@there.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.put(&envelope("", &names), BODY);
    until("nine are deferred", || qmgr.named("deferred").len() >= 9).await;
    assert!(qmgr.named("delivered").is_empty());
    assert_eq!(
        qmgr.named("failed")
            .iter()
            .map(|e| e.recipient)
            .collect::<Vec<_>>(),
        [Some(3)]
    );
    sink.say(Script::default());
    assert_eq!(sink.next().await.rcpts.len(), 9);
    world.until_empty().await;
    qmgr.stop().await;
}

#[tokio::test]
async fn a_silent_server_holds_nobody_else_up_and_not_for_ever() {
    let (world, mut sink, _deliver) = two(Script::default(), "smtp_mail_timeout = \"300ms\"\n").await;
    let silent = Sink::smtp(Script {
        stall: Some("MAIL"),
        ..Script::default()
    })
    .await;
    world.remote("silent.test", silent.port);
    let qmgr = world.start().await;
    world.put(&envelope("", &["u@silent.test"]), BODY);
    world.put(&envelope("", &["u@there.test"]), BODY);
    sink.next().await;
    until("it is deferred", || !qmgr.named("deferred").is_empty()).await;
    assert!(format!("{:?}", qmgr.named("deferred")).contains("timed out"));
    qmgr.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_a_while_and_keeps_the_message() {
    let (world, mut sink, _deliver) = two(
        Script {
            stall: Some("."),
            ..Script::default()
        },
        "",
    )
    .await;
    let qmgr = world.start().await;
    let id = world.put(&envelope("", &["u@there.test"]), BODY);
    sink.next().await;
    let begun = std::time::Instant::now();
    qmgr.stop().await;
    assert!(
        begun.elapsed() >= std::time::Duration::from_secs(2),
        "shutdown_timeout"
    );
    assert!(world.files().contains(&id.to_string()));
    sink.say(Script::default());
    let qmgr = world.start().await;
    sink.next().await;
    world.until_empty().await;
    qmgr.stop().await;
}
