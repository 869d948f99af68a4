//! Dialogues that go as they should.

use super::*;

#[tokio::test]
async fn lhlo_announces_what_works() {
    let host = Host::new();
    let mut client = host.connect();
    client.expect("220 ").await;
    client.say("LHLO test").await;
    let mut lines = Vec::new();
    loop {
        let line = client.line().await;
        lines.push(line[4..].to_owned());
        if line.as_bytes()[3] == b' ' {
            break;
        }
    }
    let wanted = [
        "PIPELINING",
        "SIZE 4259840",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "XPOSTRIDER",
    ];
    assert_eq!(lines[1..], wanted);
    client.ask("QUIT", "221 2.0.0").await;
    assert_eq!(client.line().await, "");
}

#[tokio::test]
async fn a_copy_for_each_recipient_with_its_own_lines_on_top() {
    let host = Host::new();
    let mut client = host.client().await;
    let to = [
        "<a@x.test> XIDX=0 XORIG=Info+40x.test",
        "<b+tag@x.test> XIDX=5 XORIG=Info+40x.test",
    ];
    let text = "Return-Path: <forged@z.test>\r\nReceived: from y\r\nSubject: hi\r\n\r\n..dot\r\nend";
    client.message(&id(1), &to, text).await;
    client
        .expect(&format!("250 2.0.0 Ok: delivered to maildir ({})", id(1)))
        .await;
    client.expect("250 2.0.0").await;
    let body = "Received: from y\nSubject: hi\n\n.dot\nend\n";
    let top =
        |to: &str| format!("Return-Path: <s@y.test>\nX-Original-To: Info@x.test\nDelivered-To: {to}\n{body}");
    assert_eq!(host.mail("a"), [top("a@x.test")]);
    assert_eq!(host.mail("b"), [top("b+tag@x.test")]);
    let name = names(&host.path("b").join("new")).remove(0);
    assert!(name.contains(&format!(".Q{}R5.", id(1))), "{name}");
    assert!(
        name.ends_with(&format!(",S={}", top("b+tag@x.test").len())),
        "{name}"
    );
}

/// L11: an odd sender is quoted and stays on its line.
#[tokio::test]
async fn return_path_is_quoted() {
    let host = Host::new();
    let mut client = host.client().await;
    client.ask("MAIL FROM:<\"a\\\"> b\"@a.test>", "250").await;
    client.ask("RCPT TO:<a@x.test>", "250").await;
    client.ask("DATA", "354").await;
    client.send("x: y\r\n.\r\n").await;
    client.expect("250").await;
    assert!(host.mail("a")[0].starts_with("Return-Path: <\"a\\\"> b\"@a.test>\nX-Original-To: a@x.test\n"));
    client.ask("MAIL FROM:<>", "250").await;
    client.ask("RCPT TO:<b@x.test>", "250").await;
    client.ask("DATA", "354").await;
    client.send("x: y\r\n.\r\n").await;
    client.expect("250").await;
    assert!(host.mail("b")[0].starts_with("Return-Path: <>\n"));
}

/// L03: the wrong greeting, DATA without recipients, too many recipients, BDAT.
#[tokio::test]
async fn protocol_rows() {
    let host = Host::new();
    let mut client = host.connect();
    client.expect("220").await;
    client.ask("EHLO test", "500").await;
    let mut client = host.client().await;
    client.ask("MAIL FROM:<s@y.test>", "250").await;
    client.ask("DATA", "503").await;
    client.ask("RCPT TO:<nobody@x.test>", "550 5.1.1").await;
    client.ask("DATA", "503").await;
    client.ask("RSET", "250").await;
    client.ask("MAIL FROM:<s@y.test>", "250").await;
    let mut lines = String::new();
    for n in 0..1_001 {
        lines.push_str(&format!("RCPT TO:<a+{n}@x.test>\r\n"));
    }
    let (mut accepted, mut refused) = (0, 0);
    client.send(&lines).await;
    for _ in 0..1_001 {
        match client.line().await {
            line if line.starts_with("250") => accepted += 1,
            line if line.starts_with("452 4.5.3") => refused += 1,
            line => panic!("{line}"),
        }
    }
    assert_eq!((accepted, refused), (1_000, 1));
    client.ask("RSET", "250").await;
    client.ask("MAIL FROM:<s@y.test> BODY=8BITMIME", "250").await;
    client.ask("RCPT TO:<a@x.test>", "250").await;
    client
        .send("BDAT 6\r\nx: y\r\nBDAT 7 LAST\r\n\r\n.\r\n\r\n")
        .await;
    client.expect("250").await;
    client.expect("250 2.0.0").await;
    // What BDAT carries is the message, dots and all.
    assert!(
        host.mail("a")[0].ends_with("x: y\n\n.\n\n"),
        "{:?}",
        host.mail("a")
    );
}

#[tokio::test]
async fn pipelined_transactions_on_one_connection() {
    let host = Host::new();
    let mut client = host.client().await;
    let mut all = String::new();
    for n in 1..=20 {
        all.push_str(&format!(
            "MAIL FROM:<s@y.test> XID={}\r\nRCPT TO:<a@x.test> XIDX=0\r\nDATA\r\nn: {n}\r\n\r\nx\r\n.\r\n",
            id(n)
        ));
    }
    client.send(&all).await;
    for n in 1..=20 {
        client.expect("250 2.1.0").await;
        client.expect("250 2.1.5").await;
        client.expect("354").await;
        let line = client.expect("250 2.0.0").await;
        assert!(line.contains(&id(n)), "{line}");
    }
    assert_eq!(host.mail("a").len(), 20);
}

/// L06: one key is one copy; the repetition is searched for, and so is what another session delivers now.
#[tokio::test]
async fn a_repeated_delivery_is_recognised() {
    let host = Host::new();
    let mut client = host.client().await;
    client
        .message(&id(1), &["<a@x.test> XIDX=0"], "x: y\r\n\r\n1")
        .await;
    client.expect("250 2.0.0 Ok: delivered").await;
    client
        .message(
            &id(1),
            &["<a@x.test> XIDX=0 XREPEAT", "<a+tag@x.test> XIDX=1 XREPEAT"],
            "x: y\r\n\r\n1",
        )
        .await;
    client.expect("250 2.0.0 Ok: already delivered").await;
    client.expect("250 2.0.0 Ok: delivered").await;
    assert_eq!(host.mail("a").len(), 2, "u and u+tag are two deliveries");
    // Deleted by the user meanwhile.
    for name in names(&host.path("a").join("new")) {
        std::fs::remove_file(host.path("a").join("new").join(name)).unwrap();
    }
    client
        .message(&id(1), &["<a@x.test> XIDX=0 XREPEAT"], "x: y\r\n\r\n1")
        .await;
    client.expect("250 2.0.0 Ok: already delivered").await;
    assert_eq!(host.mail("a").len(), 0);
    let duplicates = host
        .events
        .all()
        .iter()
        .filter(|e| format!("{:?}", e.kind).contains("Duplicate"))
        .count();
    assert_eq!(duplicates, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_with_one_key_make_one_copy() {
    let host = Host::new();
    let mut sessions = Vec::new();
    for _ in 0..10 {
        let mut client = host.client().await;
        sessions.push(tokio::spawn(async move {
            client
                .message(&id(1), &["<a@x.test> XIDX=3"], "x: y\r\n\r\n1")
                .await;
            client.expect("250 2.0.0").await
        }));
    }
    let mut delivered = 0;
    for session in sessions {
        delivered += usize::from(session.await.unwrap().contains("Ok: delivered"));
    }
    assert_eq!((delivered, host.mail("a").len()), (1, 1));
}

#[tokio::test]
async fn a_big_message_goes_through_a_file() {
    let host = Host::new();
    let mut client = host.client().await;
    client.ask("MAIL FROM:<s@y.test>", "250").await;
    for to in ["a", "b"] {
        client.ask(&format!("RCPT TO:<{to}@x.test>"), "250").await;
    }
    client.ask("DATA", "354").await;
    let line = format!("{}\r\n", "0123456789".repeat(9));
    let body = line.repeat(30_000);
    client
        .send(&format!("Return-Path: <x>\r\nSubject: big\r\n\r\n{body}.\r\n"))
        .await;
    client.expect("250 2.0.0").await;
    client.expect("250 2.0.0").await;
    let wanted = format!("Subject: big\n\n{}", body.replace("\r\n", "\n"));
    for user in ["a", "b"] {
        assert!(host.mail(user)[0].ends_with(&wanted));
        assert!(!host.mail(user)[0].contains("<x>"));
        assert!(names(&host.path(user).join("tmp")).is_empty());
    }
    // Over the limit of 4 MiB (and the room for trace lines).
    client.ask("MAIL FROM:<s@y.test>", "250").await;
    client.ask("RCPT TO:<a@x.test>", "250").await;
    client.ask("DATA", "354").await;
    client
        .send(&format!("x: y\r\n\r\n{}.\r\n", line.repeat(50_000)))
        .await;
    client.expect("552 5.3.4").await;
    assert_eq!(host.mail("a").len(), 1);
    assert!(names(&host.path("a").join("tmp")).is_empty());
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let host = Host::new();
    let mut client = host.client().await;
    client
        .ask("MAIL FROM:<s@y.test> XID=../../etc", "501 5.5.4")
        .await;
    client
        .ask(&format!("MAIL FROM:<s@y.test> XID={}", id(1)), "250")
        .await;
    client.ask("RCPT TO:<a@x.test> XIDX=-1", "501 5.5.4").await;
    client
        .ask("RCPT TO:<a@x.test> XIDX=0 XORIG=a+0Ab", "501 5.5.4")
        .await;
    client.ask("RCPT TO:<a@x.test> XIDX=0", "250").await;
    // The same key twice in one message would wait for itself.
    client.ask("RCPT TO:<b@x.test> XIDX=0", "501 5.5.4").await;
    client.ask("RCPT TO:<b@x.test>", "250").await;
}

#[tokio::test]
async fn a_connection_that_ends_in_the_message_delivers_nothing() {
    let host = Host::new();
    let mut client = host.client().await;
    client.ask("MAIL FROM:<s@y.test>", "250").await;
    client.ask("RCPT TO:<a@x.test>", "250").await;
    client.ask("DATA", "354").await;
    client.send("x: y\r\n\r\nbody\r\n.").await;
    client.write.shutdown().await.unwrap();
    assert_eq!(client.line().await, "");
    assert_eq!(host.mail("a").len(), 0);
}

#[tokio::test]
async fn the_decision_log_tells_who_got_what() {
    let host = Host::new();
    let mut client = host.client().await;
    client.message(&id(7), &["<a@x.test> XIDX=2"], "x: y").await;
    client.expect("250").await;
    let all = host.events.all();
    let kinds: Vec<String> = all.iter().map(|e| serde_word(&format!("{:?}", e.kind))).collect();
    assert_eq!(kinds, ["RecipientAccepted", "MaildirMade", "Delivered"]);
    assert!(
        all.iter()
            .all(|e| e.id.as_deref() == Some(&id(7)) && e.recipient == Some(2) && e.session.is_some())
    );
}

/// `Deliver(Delivered { .. })` -> `Delivered`.
fn serde_word(debug: &str) -> String {
    debug
        .trim_start_matches("Deliver(")
        .split([' ', '{'])
        .next()
        .unwrap()
        .to_owned()
}
