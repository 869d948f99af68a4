//! Client dialogues in memory: what goes out, what comes back, what each recipient got.

use std::time::Duration;

use mail_types::{Address, Notify, ReversePath};

use super::*;
use crate::command::Param;

struct Dialogue {
    session: Session,
    now: Instant,
}

impl Dialogue {
    fn new(protocol: Protocol) -> Self {
        Self {
            session: Session::new(protocol, "me.test", Timeouts::default()),
            now: Instant::now(),
        }
    }

    /// After banner and greeting.
    fn ready(protocol: Protocol, extensions: &str) -> Self {
        let mut dialogue = Self::new(protocol);
        assert_eq!(dialogue.feed("220 mx\r\n"), []);
        let verb = if protocol == Protocol::Smtp {
            "EHLO"
        } else {
            "LHLO"
        };
        assert_eq!(dialogue.sent(), format!("{verb} me.test\r\n"));
        let reply = format!("250-mx\r\n{extensions}250 ENHANCEDSTATUSCODES\r\n");
        assert_eq!(dialogue.feed(&reply), [Event::Ready]);
        dialogue
    }

    fn feed(&mut self, text: &str) -> Vec<Event> {
        self.session.input().extend_from_slice(text.as_bytes());
        std::iter::from_fn(|| self.session.next_event(self.now)).collect()
    }

    fn sent(&mut self) -> String {
        let text = String::from_utf8(self.session.output().to_vec()).unwrap();
        self.session.output_written();
        text
    }

    fn begin(&mut self, rcpts: &[&str]) {
        let mail = Mail::new(address("s@a.test"));
        let rcpts = rcpts
            .iter()
            .map(|text| Rcpt::new(text.parse().unwrap()))
            .collect();
        self.session.begin(&mail, rcpts);
    }

    fn kinds(&self) -> Vec<String> {
        self.session
            .outcomes()
            .iter()
            .map(|outcome| match outcome {
                Outcome::NotSent => "not sent".into(),
                Outcome::Unknown => "unknown".into(),
                Outcome::Replied { stage, reply } => format!("{stage:?} {}", reply.code),
            })
            .collect()
    }
}

fn address(text: &str) -> ReversePath {
    ReversePath::Address(text.parse::<Address>().unwrap())
}

#[test]
fn pipelined_with_refusals_in_the_middle() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test", "b@x.test", "c@x.test"]);
    assert_eq!(
        d.sent(),
        "MAIL FROM:<s@a.test>\r\nRCPT TO:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n"
    );
    let events = d.feed("250 ok\r\n250 ok\r\n450 4.2.1 later\r\n550 5.1.1 no\r\n354 go\r\n");
    assert_eq!(events.last(), Some(&Event::SendBody));
    d.session.body(b".a\r\n");
    d.session.body(b".b");
    assert_eq!(d.kinds(), ["not sent", "Rcpt 450", "Rcpt 550"]);
    d.session.end_body();
    assert_eq!(d.sent(), "..a\r\n..b\r\n.\r\n");
    assert_eq!(d.kinds()[0], "unknown");
    let events = d.feed("250 2.0.0 queued\r\n");
    assert!(matches!(events[..], [Event::Verdict(0, _), Event::Done]));
    assert_eq!(d.kinds(), ["EndOfData 250", "Rcpt 450", "Rcpt 550"]);
    assert!(d.session.is_idle());
}

#[test]
fn one_verdict_reaches_all_before_the_end() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test", "b@x.test"]);
    d.feed("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    d.session.end_body();
    let events = d.feed("250 ok\r\n");
    assert!(matches!(
        events[..],
        [Event::Verdict(0, _), Event::Verdict(1, _), Event::Done]
    ));
}

#[test]
fn without_pipelining_one_step_at_a_time() {
    let mut d = Dialogue::ready(Protocol::Smtp, "");
    d.begin(&["a@x.test", "b@x.test"]);
    assert_eq!(d.sent(), "MAIL FROM:<s@a.test>\r\n");
    d.feed("250 ok\r\n");
    assert_eq!(d.sent(), "RCPT TO:<a@x.test>\r\n");
    d.feed("550 no\r\n");
    assert_eq!(d.sent(), "RCPT TO:<b@x.test>\r\n");
    let events = d.feed("550 no\r\n");
    assert_eq!(events.last(), Some(&Event::Done));
    assert_eq!(d.sent(), "", "no DATA without a recipient");
    d.begin(&["c@x.test"]);
    assert_eq!(
        d.sent(),
        "RSET\r\nMAIL FROM:<s@a.test>\r\n",
        "the old envelope is still there"
    );
}

#[test]
fn lmtp_answers_one_by_one() {
    let mut d = Dialogue::ready(Protocol::Lmtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test", "b@x.test", "c@x.test"]);
    d.feed("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n");
    d.session.end_body();
    assert_eq!(d.feed("250 2.0.0 in\r\n").len(), 1);
    assert_eq!(
        d.kinds(),
        ["EndOfData 250", "Rcpt 550", "unknown"],
        "connection lost here"
    );
    let events = d.feed("452 4.2.2 full\r\n");
    assert!(matches!(events[..], [Event::Verdict(2, _), Event::Done]));
}

#[test]
fn a_refused_sender_is_the_reason_for_everybody() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test", "b@x.test"]);
    let events = d.feed("452 4.3.1 full\r\n503 need MAIL\r\n503 need MAIL\r\n503 need RCPT\r\n");
    assert_eq!(events.last(), Some(&Event::Done));
    assert_eq!(d.kinds(), ["Mail 452", "Mail 452"]);
}

#[test]
fn data_that_nobody_gets_ends_with_a_lone_dot() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test"]);
    d.sent();
    d.feed("250 ok\r\n550 no\r\n354 go\r\n");
    assert_eq!(d.sent(), ".\r\n");
    assert_eq!(d.feed("554 no recipients\r\n"), [Event::Done]);
    assert_eq!(d.kinds(), ["Rcpt 550"]);
}

#[test]
fn closing_in_the_middle_is_exact() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test", "b@x.test", "c@x.test"]);
    let events = d.feed("250 ok\r\n250 ok\r\n421 4.3.2 bye\r\n");
    assert!(matches!(events.last(), Some(Event::Failed(Failure::Closing(_)))));
    assert_eq!(d.kinds(), ["not sent", "Rcpt 421", "not sent"]);
}

#[test]
fn an_answer_inside_the_body_counts_for_the_accepted() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test"]);
    d.feed("250 ok\r\n250 ok\r\n354 go\r\n");
    d.session.body(b"x\r\n");
    let events = d.feed("552 5.3.4 too big\r\n");
    assert!(matches!(events[..], [Event::Failed(Failure::Unsolicited(_))]));
    assert_eq!(d.kinds(), ["EndOfData 552"]);
}

#[test]
fn helo_after_a_refused_ehlo() {
    let mut d = Dialogue::new(Protocol::Smtp);
    d.feed("220 old\r\n");
    d.sent();
    assert_eq!(d.feed("502 what\r\n"), []);
    assert_eq!(d.sent(), "HELO me.test\r\n");
    assert_eq!(d.feed("250 old\r\n"), [Event::Ready]);
    assert!(!d.session.extensions().has("PIPELINING"));
}

#[test]
fn tls_forgets_and_refuses_injection() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-STARTTLS\r\n");
    d.session.starttls();
    assert_eq!(d.sent(), "STARTTLS\r\n");
    assert_eq!(d.feed("220 go\r\n"), [Event::StartTls]);
    d.session.tls_started();
    assert_eq!(d.sent(), "EHLO me.test\r\n");
    assert!(!d.session.extensions().has("STARTTLS"));

    let mut d = Dialogue::ready(Protocol::Smtp, "250-STARTTLS\r\n");
    d.session.starttls();
    assert_eq!(
        d.feed("220 go\r\n250-AUTH PLAIN\r\n250 X\r\n"),
        [Event::Failed(Failure::InjectedPlaintext)]
    );
}

#[test]
fn parameters_only_where_announced() {
    let mut mail = Mail::new(ReversePath::Null);
    mail.params.size = Some(7);
    mail.params.eight_bit = true;
    mail.params.envid = Some("a b".into());
    let mut rcpt = Rcpt::new("u@x.test".parse().unwrap());
    rcpt.params.notify = Some(Notify::NEVER);
    rcpt.params.private.push(Param {
        keyword: "XIDX".into(),
        value: Some("3".into()),
    });

    let mut d = Dialogue::ready(
        Protocol::Smtp,
        "250-PIPELINING\r\n250-SIZE 10\r\n250-8BITMIME\r\n250-DSN\r\n",
    );
    d.session.begin(&mail, vec![rcpt.clone()]);
    assert_eq!(
        d.sent(),
        "MAIL FROM:<> SIZE=7 BODY=8BITMIME ENVID=a+20b\r\nRCPT TO:<u@x.test> NOTIFY=NEVER XIDX=3\r\nDATA\r\n"
    );
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.session.begin(&mail, vec![rcpt]);
    assert_eq!(d.sent(), "MAIL FROM:<>\r\nRCPT TO:<u@x.test> XIDX=3\r\nDATA\r\n");
}

#[test]
fn deadlines_cover_the_whole_reply() {
    let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
    d.begin(&["a@x.test"]);
    let start = d.now;
    d.feed("2");
    d.now += Duration::from_secs(299);
    d.feed("5");
    assert_eq!(d.session.deadline(), Some(start + Duration::from_secs(300)));
    d.feed("0 ok\r\n250 ok\r\n");
    assert_eq!(
        d.session.deadline(),
        Some(d.now + Duration::from_secs(120)),
        "DATA"
    );
    d.feed("354 go\r\n");
    assert_eq!(d.session.deadline(), None);
    d.session.end_body();
    d.feed("");
    assert_eq!(d.session.deadline(), Some(d.now + Duration::from_secs(600)));
}

#[test]
fn every_split_gives_the_same() {
    let wire = "250-ok\r\n250 ok\r\n250 ok\r\n354 go\r\n";
    for cut in 0..wire.len() {
        let mut d = Dialogue::ready(Protocol::Smtp, "250-PIPELINING\r\n");
        d.begin(&["a@x.test"]);
        let mut events = d.feed(&wire[..cut]);
        events.extend(d.feed(&wire[cut..]));
        assert_eq!(events.len(), 3, "{cut}");
        assert_eq!(events.last(), Some(&Event::SendBody), "{cut}");
    }
}

#[test]
fn a_whole_message_in_one_go() {
    let mut d = Dialogue::ready(Protocol::Lmtp, "250-PIPELINING\r\n250-CHUNKING\r\n");
    assert!(d.session.takes_whole());
    let mail = Mail::new(address("s@a.test"));
    let rcpts: Vec<Rcpt> = ["a@x.test", "b@x.test", "c@x.test"]
        .iter()
        .map(|text| Rcpt::new(text.parse().unwrap()))
        .collect();
    d.session
        .begin_whole(&mail, rcpts.clone(), &[b"A: b\r\n\r\n", b".\r\n"]);
    assert_eq!(
        d.sent(),
        "MAIL FROM:<s@a.test>\r\nRCPT TO:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\n\
         BDAT 11 LAST\r\nA: b\r\n\r\n.\r\n"
    );
    assert_eq!(
        d.kinds(),
        ["unknown"; 3],
        "it may have been delivered from now on"
    );
    d.feed("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n250 in\r\n");
    assert_eq!(d.kinds(), ["EndOfData 250", "Rcpt 550", "unknown"]);
    let events = d.feed("452 4.2.2 full\r\n");
    assert!(matches!(events[..], [Event::Verdict(2, _), Event::Done]));
    assert!(d.session.is_idle());

    // Nobody accepted: one answer, and the old envelope has to go.
    d.session.begin_whole(&mail, rcpts[..1].to_vec(), &[b"x\r\n"]);
    d.sent();
    assert_eq!(
        d.feed("250 ok\r\n550 no\r\n503 no\r\n").last(),
        Some(&Event::Done)
    );
    assert_eq!(d.kinds(), ["Rcpt 550"]);
    d.session.begin_whole(&mail, rcpts[..1].to_vec(), &[b"x\r\n"]);
    assert!(d.sent().starts_with("RSET\r\nMAIL"));
    let events = d.feed("250 ok\r\n452 4.3.1 full\r\n503 no\r\n503 no\r\n");
    assert_eq!(events.last(), Some(&Event::Done));
    assert_eq!(d.kinds(), ["Mail 452"]);
}

#[test]
fn client_and_server_understand_each_other() {
    use crate::server;
    let config = server::Config::new(Protocol::Lmtp, "mx.test");
    let now = Instant::now();
    let mut server = server::Session::new(std::sync::Arc::new(config), false, now);
    let mut client = Session::new(Protocol::Lmtp, "c.test", Timeouts::default());
    server.greet();
    let mut body = Vec::new();
    let mut done = 0;
    while done < 3 {
        client.input().extend_from_slice(server.output());
        server.output_written();
        while let Some(event) = client.next_event(now) {
            let rcpts = |texts: &[&str]| texts.iter().map(|t| Rcpt::new(t.parse().unwrap())).collect();
            let mail = Mail::new(address("s@a.test"));
            match event {
                Event::Ready => client.begin_whole(&mail, rcpts(&["no@x.test"]), &[b"lost\r\n"]),
                Event::Done if done == 0 => {
                    done = 1;
                    client.begin_whole(
                        &mail,
                        rcpts(&["a@x.test", "no@x.test", "b@x.test"]),
                        &[b"whole\r\n"],
                    );
                }
                Event::Done if done == 1 => {
                    let outcomes = client.outcomes();
                    let stages: Vec<_> = outcomes
                        .iter()
                        .map(|o| match o {
                            Outcome::Replied { stage, reply } => (*stage, reply.code),
                            other => panic!("{other:?}"),
                        })
                        .collect();
                    let (end, rcpt) = (Stage::EndOfData, Stage::Rcpt);
                    assert_eq!(stages, [(end, 250), (rcpt, 550), (end, 250)]);
                    done = 2;
                    client.begin(&mail, rcpts(&["a@x.test"]));
                }
                Event::SendBody => {
                    client.body(b".dots\r\n");
                    client.end_body();
                }
                Event::Done => done = 3,
                Event::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
        server.input().extend_from_slice(client.output());
        client.output_written();
        while let Some(event) = server.next_event(now) {
            match event {
                server::Event::Hello(_) => server.accept_hello(),
                server::Event::Mail(_) => server.answer(&crate::reply::mail_ok()),
                server::Event::Rcpt(rcpt) if rcpt.typed.starts_with("no") => {
                    server.answer(&crate::reply::new(550, (5, 1, 1), "no"));
                }
                server::Event::Rcpt(_) => server.answer(&crate::reply::rcpt_ok()),
                server::Event::Data => server.accept_data(),
                server::Event::Body(text) => body.extend_from_slice(text),
                server::Event::EndOfData(end) => {
                    for _ in 0..end.answers {
                        server.answer(&crate::reply::ok());
                    }
                }
                _ => {}
            }
        }
    }
    assert_eq!(body, b"whole\r\n.dots\r\n");
}
