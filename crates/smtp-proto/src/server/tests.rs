//! Server dialogues in memory: what the client sends, what it hears.

use std::time::{Duration, Instant};

use super::*;
use crate::reply;

/// A session whose caller says yes to everything but recipients that start with `bad`.
struct Dialogue {
    session: Session,
    now: Instant,
    events: Vec<String>,
    body: Vec<u8>,
    /// Bodies that got a 250.
    messages: Vec<Vec<u8>>,
    /// Answers for the end of data; 250 when empty.
    verdicts: Vec<Reply>,
}

impl Dialogue {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        let mut session = Session::new(Arc::new(config), false, now);
        session.set_mechanisms(vec!["PLAIN".into(), "LOGIN".into()]);
        Self {
            session,
            now,
            events: Vec::new(),
            body: Vec::new(),
            messages: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    fn smtp() -> Self {
        Self::new(Config::new(Protocol::Smtp, "mx.test"))
    }

    /// Up to an accepted recipient.
    fn with_recipient() -> Self {
        let mut d = Self::smtp();
        d.say("EHLO c.test\r\nMAIL FROM:<e@a.test>\r\nRCPT TO:<u@local.test>\r\n");
        d
    }

    /// Sends `text`, returns the codes of the replies.
    fn say(&mut self, text: impl AsRef<[u8]>) -> Vec<u16> {
        let heard = self.raw(text);
        heard
            .lines()
            .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
            .map(|line| line[..3].parse().unwrap())
            .collect()
    }

    fn raw(&mut self, text: impl AsRef<[u8]>) -> String {
        self.session.input().extend_from_slice(text.as_ref());
        self.run();
        let heard = String::from_utf8(self.session.output().to_vec()).unwrap();
        self.session.output_written();
        heard
    }

    fn run(&mut self) {
        while let Some(event) = self.session.next_event(self.now) {
            let name = format!("{event:?}");
            match event {
                Event::Hello(_) => self.session.accept_hello(),
                Event::Mail(_) => self.session.answer(&reply::mail_ok()),
                Event::Rcpt(rcpt) => {
                    let bad = rcpt.typed.starts_with("bad");
                    let no = reply::new(550, (5, 1, 1), "no");
                    self.session.answer(&if bad { no } else { reply::rcpt_ok() });
                }
                Event::Data => {
                    self.body.clear();
                    self.session.accept_data();
                }
                Event::Body(text) => self.body.extend_from_slice(text),
                Event::EndOfData(end) => {
                    for _ in 0..end.answers {
                        let verdict = if self.verdicts.is_empty() {
                            reply::ok()
                        } else {
                            self.verdicts.remove(0)
                        };
                        if verdict.is_positive() && end.fault.is_none() {
                            self.messages.push(self.body.clone());
                        }
                        self.session.answer(&verdict);
                    }
                }
                Event::Auth { mechanism, initial } => match initial {
                    None => self.session.challenge(b"Username:"),
                    Some(_) if mechanism == "PLAIN" => self.session.answer(&reply::auth_ok()),
                    Some(_) => self.session.answer(&reply::auth_failed(true)),
                },
                Event::AuthResponse(secret) if secret.expose() == b"good" => {
                    self.session.answer(&reply::auth_ok());
                }
                Event::AuthResponse(_) => self.session.answer(&reply::auth_failed(false)),
                Event::StartTls => self.session.answer(&reply::start_tls()),
                Event::Reset | Event::AuthAborted | Event::Refused { .. } | Event::Closing(_) => {}
            }
            self.events.push(name);
        }
    }

    fn closed_for(&self, reason: CloseReason) -> bool {
        self.session.is_closed() && self.events.last() == Some(&format!("Closing({reason:?})"))
    }
}

#[test]
fn ehlo_lists_the_extensions_in_order() {
    let mut config = Config::new(Protocol::Smtp, "mx.test");
    config.tls = TlsPolicy::Offered;
    config.auth = AuthPolicy::UnderTls;
    let mut d = Dialogue::new(config);
    d.session.greet();
    assert_eq!(
        d.raw("EHLO c.test\r\n"),
        "220 mx.test ESMTP Postrider\r\n250-mx.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n\
         250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n\
         250-CHUNKING\r\n250 LIMITS RCPTMAX=1000\r\n"
    );
    assert_eq!(d.say("STARTTLS\r\n"), [220]);
    d.session.tls_started();
    assert_eq!(d.say("MAIL FROM:<>\r\n"), [503], "the greeting is forgotten");
    let heard = d.raw("EHLO c.test\r\n");
    assert!(heard.contains("250-AUTH PLAIN LOGIN\r\n") && !heard.contains("STARTTLS"));
    assert_eq!(d.raw("STARTTLS\r\n"), "554 5.5.1 Error: TLS already active\r\n");
    assert_eq!(d.say("STARTTLS x\r\n"), [501]);
    assert_eq!(d.raw("HELO c.test\r\n"), "250 mx.test\r\n");
}

#[test]
fn a_message_in_every_split() {
    let wire = "EHLO c.test\r\nMAIL FROM:<e@a.test> SIZE=10\r\nRCPT TO:<u@local.test>\r\nDATA\r\n\
                ..a\r\n\r\n.\r\nQUIT\r\n";
    for cut in 0..wire.len() {
        let mut d = Dialogue::smtp();
        let mut codes = d.say(&wire[..cut]);
        codes.extend(d.say(&wire[cut..]));
        assert_eq!(codes, [250, 250, 250, 354, 250, 221], "{cut}");
        assert_eq!(d.messages, [b".a\r\n\r\n"], "{cut}");
        assert!(d.closed_for(CloseReason::Quit), "{cut}");
    }
}

#[test]
fn smuggling_gets_one_reply() {
    let tail = "MAIL FROM:<e@a.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\ny\r\n.\r\n";
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r\n",
        "\r.\r",
        "\n.\r",
        "\r\n.\r\r\n",
        "\r\r\n.\r\r\n",
        "\r\n\0.\r\n",
    ] {
        let mut d = Dialogue::with_recipient();
        assert_eq!(d.say(format!("DATA\r\nx{end}{tail}")), [354, 554], "{end:?}");
        assert!(d.messages.is_empty(), "{end:?}");
        assert_eq!(d.say("NOOP\r\n"), [250], "{end:?}: the session goes on");
    }
}

#[test]
fn order_of_commands() {
    let mut d = Dialogue::smtp();
    assert_eq!(
        d.raw("MAIL FROM:<>\r\nAUTH PLAIN\r\nRCPT TO:<a@b.test>\r\nDATA\r\n"),
        "503 5.5.1 Error: send HELO/EHLO first\r\n".repeat(4)
    );
    d.say("EHLO c\r\n");
    assert_eq!(
        d.raw("RCPT TO:<a@b.test>\r\nDATA\r\nBDAT 3\r\nabcMAIL FROM:<>\r\nDATA\r\nMAIL FROM:<>\r\n"),
        "503 5.5.1 Error: need MAIL command\r\n".repeat(3)
            + "250 2.1.0 Ok\r\n503 5.5.1 Error: need RCPT command\r\n503 5.5.1 Error: nested MAIL command\r\n"
    );
    assert_eq!(
        d.raw("RCPT TO:<bad@b.test>\r\nDATA\r\n"),
        "550 5.1.1 no\r\n554 5.5.1 Error: no valid recipients\r\n"
    );
    assert_eq!(
        d.raw("AUTH PLAIN\r\n"),
        "503 5.5.1 Error: authentication not enabled\r\n"
    );
    assert_eq!(d.say("RSET\r\nRCPT TO:<a@b.test>\r\n"), [250, 503]);
    assert_eq!(d.say("LHLO c\r\n"), [500], "another dialect");
}

#[test]
fn a_refused_message_takes_its_transaction_along() {
    let mut d = Dialogue::with_recipient();
    d.verdicts.push(reply::new(550, (5, 7, 1), "no"));
    assert_eq!(d.say("DATA\r\nx\r\n.\r\n"), [354, 550]);
    assert_eq!(d.say("RCPT TO:<u@local.test>\r\nDATA\r\n"), [503, 503]);
}

#[test]
fn bdat_stays_in_step() {
    let mut d = Dialogue::with_recipient();
    assert_eq!(d.say("BDAT 3\r\nabcDATA\r\n"), [250, 503]);
    assert_eq!(d.say("BDAT 12 LAST\r\n\r\n.\r\nQUIT\r\nxQUIT\r\n"), [250, 221]);
    assert_eq!(d.messages, [b"abc\r\n.\r\nQUIT\r\nx\r\n"]);

    let mut d = Dialogue::smtp();
    d.say("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bad@b.test>\r\n");
    assert_eq!(
        d.say(format!("BDAT 100 LAST\r\n{}NOOP\r\n", "Q".repeat(100))),
        [554, 250]
    );

    let mut d = Dialogue::with_recipient();
    assert_eq!(
        d.say("BDAT x\r\nDATA\r\nBDAT 1 LAST\r\nxRSET\r\n"),
        [501, 503, 503, 250]
    );

    let mut d = Dialogue::with_recipient();
    assert_eq!(d.say("BDAT 3\r\na\nbBDAT 1 LAST\r\nxNOOP\r\n"), [554, 503, 250]);
    assert!(d.messages.is_empty());

    let mut d = Dialogue::with_recipient();
    assert_eq!(d.say("BDAT 0 LAST\r\n"), [250]);
}

#[test]
fn a_crlf_across_chunks_is_one() {
    let mut d = Dialogue::with_recipient();
    assert_eq!(d.say("BDAT 2\r\na\rBDAT 2 LAST\r\n\nb"), [250, 250]);
    assert_eq!(d.messages, [b"a\r\nb\r\n"]);
    let mut d = Dialogue::with_recipient();
    assert_eq!(d.say("BDAT 2 LAST\r\na\r"), [554]);
}

#[test]
fn chunks_are_counted() {
    let mut d = Dialogue::with_recipient();
    let codes = d.say("BDAT 1\r\nx".repeat(20_000));
    assert_eq!((codes.len(), codes.last()), (10_001, Some(&421)));
    assert!(d.closed_for(CloseReason::TooManyChunks));
}

#[test]
fn lmtp_answers_each_recipient() {
    let mut config = Config::new(Protocol::Lmtp, "mx.test");
    config.private_extensions = &["XPOSTRIDER"];
    config.params.private_mail = &["XID"];
    let mut d = Dialogue::new(config);
    let heard = d.raw("LHLO c\r\n");
    assert!(
        heard.ends_with("250 XPOSTRIDER\r\n") && !heard.contains("DSN"),
        "{heard}"
    );
    let rcpts = "RCPT TO:<a@b.test>\r\nRCPT TO:<bad@b.test>\r\nRCPT TO:<c@b.test>\r\n";
    d.say(format!("MAIL FROM:<> XID=x\r\n{rcpts}"));
    d.verdicts = vec![reply::ok(), reply::new(452, (4, 2, 2), "full")];
    assert_eq!(d.say("DATA\r\nx\r\n.\r\n"), [354, 250, 452]);
    d.say(format!("MAIL FROM:<>\r\n{rcpts}"));
    assert_eq!(d.say("BDAT 1\r\nxBDAT 0 LAST\r\n"), [250, 250, 250]);
    d.say("MAIL FROM:<>\r\n");
    assert_eq!(d.say("DATA\r\n"), [503], "RFC 2033 4.2");
    assert_eq!(d.say("EHLO c\r\n"), [500]);
}

#[test]
fn starttls_with_a_tail_ends_the_session() {
    let mut config = Config::new(Protocol::Smtp, "mx.test");
    config.tls = TlsPolicy::Required;
    let mut d = Dialogue::new(config.clone());
    assert_eq!(
        d.say("EHLO c\r\nSTARTTLS\r\nMAIL FROM:<e@a.test>\r\n"),
        [250, 554]
    );
    assert!(d.closed_for(CloseReason::InjectedPlaintext));

    let mut d = Dialogue::new(config);
    assert_eq!(
        d.say("EHLO c\r\nNOOP\r\nMAIL FROM:<>\r\nFOO\r\nHELP\r\n"),
        [250, 250, 530, 530, 214]
    );
}

#[test]
fn auth_exchanges() {
    let mut config = Config::new(Protocol::Smtp, "mx.test");
    config.auth = AuthPolicy::UnderTls;
    let mut d = Dialogue::new(config.clone());
    assert_eq!(
        d.raw("EHLO c\r\nAUTH PLAIN AHUAcA==\r\n").lines().last(),
        Some("504 5.5.4 Encryption required for requested authentication mechanism")
    );
    config.auth = AuthPolicy::Always;
    let mut d = Dialogue::new(config);
    d.say("EHLO c\r\n");
    assert_eq!(d.raw("AUTH LOGIN\r\n"), "334 VXNlcm5hbWU6\r\n");
    assert_eq!(d.raw("*\r\n"), "501 5.7.0 Authentication aborted\r\n");
    assert_eq!(d.say("AUTH LOGIN\r\n!\r\nNOOP\r\n"), [334, 501, 250]);
    let long = "A".repeat(12_288);
    assert_eq!(d.say(format!("AUTH LOGIN\r\n{long}\r\n")), [334, 535]);
    assert_eq!(
        d.raw(format!("AUTH LOGIN\r\n{long}A\r\nNOOP\r\n")),
        "334 VXNlcm5hbWU6\r\n500 5.5.6 Error: authentication exchange line is too long\r\n250 2.0.0 Ok\r\n"
    );
    assert_eq!(d.say("AUTH LOGIN\r\nZ29vZA==\r\n"), [334, 235]);
    assert_eq!(d.say("AUTH LOGIN\r\nMAIL FROM:<>\r\n"), [503, 250]);
    assert!(d.session.is_authenticated());
    let refused: Vec<_> = d.events.iter().filter(|e| e.starts_with("Refused")).collect();
    assert!(refused.iter().all(|e| !e.contains("AAAA")), "{refused:?}");
}

#[test]
fn three_failed_logins_end_the_session() {
    let mut config = Config::new(Protocol::Smtp, "mx.test");
    config.auth = AuthPolicy::Always;
    let mut d = Dialogue::new(config);
    d.say("EHLO c\r\n");
    assert_eq!(d.say("AUTH X YQ==\r\n".repeat(4)), [535, 535, 535]);
    assert!(d.closed_for(CloseReason::TooManyAuthFailures));
}

#[test]
fn long_lines_are_dropped_then_the_connection() {
    let mut d = Dialogue::smtp();
    assert_eq!(
        d.say(format!("EHLO {}\r\nNOOP\r\n", "A".repeat(11_000))),
        [500, 250]
    );
    assert_eq!(
        d.say(format!("NOOP {}\r\n", "A".repeat(2043))),
        [250],
        "2,048 octets"
    );
    assert_eq!(d.say(format!("NOOP {}\r\n", "A".repeat(2044))), [500]);
    let mut heard = Vec::new();
    let mut sent = 0;
    while !d.session.is_closed() && sent < 100_000 {
        heard.extend(d.say("A".repeat(1000)));
        sent += 1000;
    }
    assert_eq!(heard, [500]);
    assert!(sent <= 70_000 && d.closed_for(CloseReason::EndlessLine), "{sent}");
}

#[test]
fn other_protocols_are_cut_off() {
    for (wire, heard) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[221][..]),
        (b"CONNECT x:25 HTTP/1.0\r\n", &[221]),
        (b"Subject: hello\r\nQUIT\r\n", &[221]),
        (b"\x16\x03\x01\x02\x00\x01\x00", &[]),
    ] {
        let mut d = Dialogue::smtp();
        assert_eq!(d.say(wire), heard, "{wire:?}");
        assert!(d.closed_for(CloseReason::ForeignProtocol), "{wire:?}");
    }
}

#[test]
fn junk_and_errors_are_bounded() {
    let mut d = Dialogue::smtp();
    let codes = d.say("NOOP\r\n".repeat(101));
    assert_eq!((codes.len(), codes[99], codes[100]), (101, 250, 421));
    assert!(d.closed_for(CloseReason::TooManyJunkCommands));

    let mut d = Dialogue::smtp();
    let codes = d.say("FOO\r\n".repeat(10));
    assert_eq!((codes.len(), d.session.take_pause()), (10, None));
    d.say("FOO\r\nFOO\r\n");
    assert_eq!(d.session.take_pause(), Some(Duration::from_secs(3)));
    let heard = d.raw("FOO\r\n".repeat(9));
    assert!(
        heard.ends_with("421 4.7.0 mx.test Error: too many errors\r\n"),
        "{heard}"
    );
    assert!(d.closed_for(CloseReason::TooManyErrors));
}

#[test]
fn a_message_that_nobody_asked_for_ends_in_421() {
    let mut d = Dialogue::smtp();
    d.say("EHLO c\r\n");
    let body = "hello there\r\n".repeat(30);
    let codes = d.say(format!(
        "MAIL FROM:<e@a.test>\r\nRCPT TO:<bad@x.test>\r\nDATA\r\n{body}.\r\n"
    ));
    assert_eq!((&codes[..3], codes.last()), (&[250, 550, 554][..], Some(&421)));
    assert!(d.messages.is_empty());
}

#[test]
fn sizes() {
    let mut config = Config::new(Protocol::Smtp, "mx.test");
    config.limits.body.message = 1000;
    let mut d = Dialogue::new(config);
    d.say("EHLO c\r\n");
    assert_eq!(
        d.raw("MAIL FROM:<> SIZE=1001\r\n"),
        "552 5.3.4 Message size exceeds fixed limit\r\n"
    );
    d.say("MAIL FROM:<> SIZE=10\r\nRCPT TO:<u@l.test>\r\n");
    assert_eq!(
        d.say(format!("DATA\r\n{}\r\n.\r\nNOOP\r\n", "x".repeat(1500))),
        [354, 554, 250]
    );
    assert!(d.events.iter().any(|e| e.contains("TooBig")));
    d.say("MAIL FROM:<>\r\nRCPT TO:<u@l.test>\r\nDATA\r\n");
    let mut sent = 0;
    while !d.session.is_closed() && sent < 4_000_000 {
        d.say("x".repeat(100_000));
        sent += 100_000;
    }
    assert!(d.closed_for(CloseReason::BodyFlood), "{sent}");
}

#[test]
fn deadlines_hold_for_the_record() {
    let mut d = Dialogue::smtp();
    let start = d.now;
    for _ in 0..10 {
        d.now += Duration::from_secs(29);
        d.say("N");
    }
    let first = start + Duration::from_secs(29);
    assert_eq!(
        d.session.deadline(),
        first + Duration::from_secs(300),
        "not per read"
    );

    let mut d = Dialogue::with_recipient();
    d.say("DATA\r\n");
    assert_eq!(d.session.deadline(), d.now + Duration::from_secs(300));
    let sent = 500 * 1000;
    d.say("x\r\n".repeat(sent / 3));
    let earned = d.session.deadline() - d.now;
    assert!((1028..=1031).contains(&earned.as_secs()), "{earned:?}");

    d.session.on_deadline();
    assert_eq!(d.raw(""), "421 4.4.2 mx.test Error: timeout exceeded\r\n");
    assert!(d.closed_for(CloseReason::Timeout) && d.messages.is_empty());
}

#[test]
fn vrfy_says_the_same_of_everybody() {
    let mut d = Dialogue::smtp();
    d.say("EHLO c\r\n");
    assert_eq!(d.raw("VRFY root\r\n"), "252 2.0.0 root\r\n");
    assert_eq!(d.say("VRFY\r\nEXPN x\r\n"), [501, 502]);
}

#[test]
fn recipients_are_limited() {
    let mut config = Config::new(Protocol::Smtp, "mx.test");
    config.limits.recipients = 2;
    let mut d = Dialogue::new(config);
    d.say("EHLO c\r\nMAIL FROM:<>\r\n");
    let heard = d.raw("RCPT TO:<a@b.test>\r\n".repeat(3));
    assert!(
        heard.ends_with("452 4.5.3 Error: too many recipients\r\n"),
        "{heard}"
    );
    assert_eq!(d.say("DATA\r\nx\r\n.\r\n"), [354, 250], "the others still get it");
}
