//! What a client hears: relay rules, submission, logins, limits (compat.md 2.6).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::sync::atomic::Ordering;

use support::{Site, queued};

#[tokio::test]
async fn who_may_send_to_whom() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.ask("MAIL FROM:<s@a.test>").await;
    for (rcpt, heard) in [
        ("x@a.test", "554 5.7.1 <x@a.test>: Relay access denied\n"),
        (
            "nobody@local.test",
            "550 5.1.1 <nobody@local.test>: Recipient address rejected: User unknown in virtual mailbox table\n",
        ),
        ("loop@local.test", "451 4.6.0 Alias expansion error\n"),
        ("x@backup.test", "250 2.1.5 Ok\n"),
        ("Postmaster", "250 2.1.5 Ok\n"),
    ] {
        assert_eq!(d.ask(&format!("RCPT TO:<{rcpt}>")).await, heard);
    }
    site.directory.away.store(true, Ordering::Relaxed);
    assert_eq!(
        d.ask("RCPT TO:<x@a.test>").await,
        "451 4.3.0 <x@a.test>: Temporary lookup failure\n"
    );
    let asked = site.directory.asked.lock().unwrap().len();
    assert_eq!(asked, 6, "each recipient is asked about once");
}

#[tokio::test]
async fn own_networks_may_relay() {
    let site = Site::with("mynetworks = [\"192.0.2.0/24\"]", "").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.envelope("s@a.test", &["x@a.test"]).await;
    queued(&d.data("Bcc: y@a.test\r\n\r\nbody\r\n").await);
    let text = support::body(&site.spooled()[0]);
    assert!(
        text.contains("Message-ID: <") && !text.contains("y@a.test"),
        "{text}"
    );
}

#[tokio::test]
async fn submission_wants_tls_then_a_login() {
    let site = Site::new("").await;
    let mut d = site.connect("submission").await;
    let ehlo = d.ask("EHLO c.test").await;
    assert!(ehlo.contains("STARTTLS") && !ehlo.contains("AUTH"), "{ehlo}");
    assert_eq!(
        d.ask("MAIL FROM:<u@local.test>").await,
        "530 5.7.0 Must issue a STARTTLS command first\n"
    );
    d.starttls().await;
    let ehlo = d.ask("EHLO c.test").await;
    assert!(
        ehlo.contains("250-AUTH PLAIN LOGIN\n") && !ehlo.contains("STARTTLS"),
        "{ehlo}"
    );
    d.ask("MAIL FROM:<u@local.test>").await;
    assert_eq!(
        d.ask("RCPT TO:<v@local.test>").await,
        "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied\n"
    );
    d.ask("RSET").await;
    assert_eq!(d.ask("AUTH PLAIN").await, "334 \n");
    assert_eq!(
        d.ask("AHVAbG9jYWwudGVzdAB3cm9uZw==").await,
        "535 5.7.8 Error: authentication failed: authentication failure\n"
    );
    assert_eq!(
        d.ask("AUTH FOO x").await,
        "501 5.5.2 Error: cannot decode base64\n"
    );
    assert_eq!(
        d.ask("AUTH FOO").await,
        "535 5.7.8 Error: authentication failed: no mechanism available\n"
    );
    // A mistake of the program and no failed login (RFC 4954 4).
    for _ in 0..3 {
        assert_eq!(
            d.ask("AUTH CRAM-MD5 dSAw").await,
            "501 5.7.0 Error: this mechanism takes no initial response\n"
        );
    }
    site.directory.away.store(true, Ordering::Relaxed);
    assert_eq!(
        d.ask("AUTH PLAIN AHUAcA==").await,
        "454 4.7.0 Temporary authentication failure: generic failure\n"
    );
    let ehlo = d.ask("EHLO c.test").await;
    assert!(
        ehlo.contains("250-AUTH PLAIN LOGIN\n"),
        "known from before: {ehlo}"
    );
    site.directory.away.store(false, Ordering::Relaxed);
    d.ask("AUTH FOO").await;
    assert_eq!(d.hear().await, "eof", "three failures");
}

#[tokio::test]
async fn nobody_guesses_on_while_nobody_can_judge() {
    let site = Site::new("").await;
    let mut d = site.connect("submission").await;
    d.ask("EHLO c.test").await;
    d.starttls().await;
    d.ask("EHLO c.test").await;
    site.directory.away.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        assert_eq!(
            d.ask("AUTH PLAIN AHUAcA==").await,
            "454 4.7.0 Temporary authentication failure: generic failure\n"
        );
    }
    assert_eq!(d.hear().await, "eof");
    assert!(!site.event_names().contains(&"abuse".to_owned()));
}

#[tokio::test]
async fn no_login_survives_starttls() {
    let site = Site::with(
        "login_trusted_networks = [\"192.0.2.0/24\"]",
        "[smtpd.service.mx]\nsmtpd_sasl_auth_enable = true",
    )
    .await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    let login = "AUTH PLAIN AHVAbG9jYWwudGVzdABzZWNyZXQ=";
    assert_eq!(d.ask(login).await, "235 2.7.0 Authentication successful\n");
    d.starttls().await;
    assert!(d.ask("EHLO c.test").await.contains("AUTH PLAIN LOGIN"));
    d.ask("MAIL FROM:<u@local.test>").await;
    assert_eq!(
        d.ask("RCPT TO:<x@a.test>").await,
        "554 5.7.1 <x@a.test>: Relay access denied\n"
    );
    d.ask("RSET").await;
    assert_eq!(d.ask(login).await, "235 2.7.0 Authentication successful\n");
    d.envelope("u@local.test", &["x@a.test"]).await;
}

#[tokio::test]
async fn a_login_that_is_over_is_noticed_at_mail() {
    let site = Site::new("").await;
    let mut d = site.submission("u@local.test").await;
    // Trouble ends no login.
    site.directory.over.store(true, Ordering::Relaxed);
    site.directory.away.store(true, Ordering::Relaxed);
    assert_eq!(d.ask("MAIL FROM:<u@local.test>").await, "250 2.1.0 Ok\n");
    d.ask("RSET").await;
    site.directory.away.store(false, Ordering::Relaxed);
    assert_eq!(
        d.ask("MAIL FROM:<u@local.test>").await,
        "421 4.7.0 mx.test Error: the login is no longer valid, please log in again\n"
    );
    assert_eq!(d.hear().await, "eof");
    // Who did not log in is not asked about.
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    assert_eq!(d.ask("MAIL FROM:<u@local.test>").await, "250 2.1.0 Ok\n");
}

#[tokio::test]
async fn submissions_speak_tls_from_the_first_byte() {
    let site = Site::new("").await;
    let mut d = site.open("submissions");
    d.handshake().await;
    assert_eq!(d.hear().await, "220 mx.test ESMTP Postrider\n");
    assert!(d.ask("EHLO c.test").await.contains("AUTH PLAIN LOGIN"));
    let mut d = site.open("submissions");
    d.send("EHLO c.test\r\n").await;
    assert!(!d.hear().await.contains("220"), "no plaintext reply");
}

#[tokio::test]
async fn users_send_as_themselves() {
    let site = Site::new("").await;
    let mut d = site.submission("u@local.test").await;
    d.ask("MAIL FROM:<v@local.test>").await;
    assert_eq!(
        d.ask("RCPT TO:<x@a.test>").await,
        "553 5.7.1 <v@local.test>: Sender address rejected: not owned by user u@local.test\n"
    );
    for from in [
        "From: e@a.test",
        "From: a@a.test, u@local.test",
        "From: u@local.test\r\nFrom: u@local.test",
        "From: \"u@local.test\" <e@a.test>",
        "From:",
    ] {
        d.ask("RSET").await;
        d.envelope("u@local.test", &["x@a.test"]).await;
        let heard = d.data(&format!("{from}\r\nSubject: x\r\n\r\nbody\r\n")).await;
        assert!(heard.starts_with("550 5."), "{from}: {heard}");
    }
    assert!(site.spooled().is_empty());
    d.envelope("team@local.test", &["x@a.test"]).await;
    queued(&d.data("From: Team <team@local.test>\r\n\r\nbody\r\n").await);
    d.envelope("", &["x@a.test"]).await;
    queued(&d.data("From: u@local.test\r\n\r\nbody\r\n").await);
    assert_eq!(site.spooled().len(), 2);
}

#[tokio::test]
async fn bad_content_is_refused_with_the_id() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    let long_field = format!("X: {}\r\n", "a".repeat(60_000));
    for (message, heard) in [
        (
            "a\nb\r\n".to_owned(),
            "550 5.5.2 mx.test Error: bare <LF> received (",
        ),
        (
            "a\rb\r\n".to_owned(),
            "550 5.5.2 mx.test Error: bare <CR> received (",
        ),
        ("a\0b\r\n".to_owned(), "550 5.6.0 Error: NUL in message ("),
        ("Received: x\r\n".repeat(51), "554 5.4.0 Error: too many hops ("),
        (
            long_field.repeat(5),
            "554 5.6.0 Error: the message header is too long (",
        ),
        (
            "A: b\r\n".repeat(1001),
            "554 5.6.0 Error: the message header has too many fields (",
        ),
        (
            format!("\r\n{}\r\n", "x".repeat(65_537)),
            "554 5.6.0 Error: line too long (",
        ),
    ] {
        d.envelope("s@a.test", &["u@local.test"]).await;
        let reply = d.data(&message).await;
        assert!(reply.starts_with(heard), "{reply}");
        let id = reply
            .trim_end()
            .rsplit_once(" (")
            .unwrap()
            .1
            .trim_end_matches(')');
        id.parse::<mail_types::MailId>().unwrap();
    }
    assert!(site.deliver.bodies().is_empty());
    assert_eq!(site.temporary(), 0);
    for message in [
        "",
        "\r\n",
        "no header at all\r\n",
        "From x y z\r\nA: b\r\n\r\nc\r\n",
    ] {
        d.envelope("s@a.test", &["u@local.test"]).await;
        queued(&d.data(message).await);
    }
}

#[tokio::test]
async fn long_lines_on_submission() {
    let site = Site::new("").await;
    let mut d = site.submission("u@local.test").await;
    for (length, heard) in [
        (998, "250 "),
        (999, "550 5.6.0 Error: line longer than 998 octets ("),
    ] {
        d.envelope("u@local.test", &["x@a.test"]).await;
        let reply = d
            .data(&format!("From: u@local.test\r\n\r\n{}\r\n", "x".repeat(length)))
            .await;
        assert!(reply.starts_with(heard), "{length}: {reply}");
    }
}

#[tokio::test]
async fn rates_are_limited() {
    let site = Site::new("[smtpd]\nsmtpd_client_message_rate_limit = 2\n").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    for heard in [
        "250 2.1.0 Ok\n",
        "250 2.1.0 Ok\n",
        "450 4.7.1 Error: too much mail from 192.0.2.1\n",
    ] {
        assert_eq!(d.ask("MAIL FROM:<s@a.test>").await, heard);
        d.ask("RSET").await;
    }
}

#[tokio::test]
async fn silence_ends_in_421() {
    let site = Site::new("[smtpd]\nsmtpd_timeout = \"1s\"").await;
    let mut d = site.connect("mx").await;
    d.send("EHLO").await;
    assert_eq!(d.hear().await, "421 4.4.2 mx.test Error: timeout exceeded\n");
    assert_eq!(d.hear().await, "eof");
}

#[tokio::test]
async fn a_stop_ends_idle_sessions_at_once() {
    let site = Site::new("").await;
    let mut idle = site.connect("mx").await;
    let mut busy = site.connect("mx").await;
    busy.ask("EHLO c.test").await;
    busy.envelope("s@a.test", &["u@local.test"]).await;
    assert!(busy.ask("DATA").await.starts_with("354"));
    site.app.ctx.shutdown.cancel();
    assert_eq!(idle.hear().await, "421 4.3.2 mx.test Service shutting down\n");
    busy.send("\r\nbody\r\n").await;
    queued(&busy.ask(".").await);
    assert_eq!(busy.hear().await, "421 4.3.2 mx.test Service shutting down\n");
}

#[tokio::test]
async fn injected_plaintext_is_never_answered_inside_tls() {
    let site = Site::new("").await;
    let mut d = site.connect("mx").await;
    d.ask("EHLO c.test").await;
    d.send("STARTTLS\r\nMAIL FROM:<e@a.test>\r\n").await;
    assert_eq!(d.hear().await, "554 5.5.0 Error: SMTP protocol synchronization\n");
    assert_eq!(d.hear().await, "eof");
}
