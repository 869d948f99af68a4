//! Random command sequences against a reference state machine (robustness.md S32).
//!
//! The model knows nothing of lines, buffers and phases: it says what a whole command is answered with, from
//! five facts about the session. A million sequences in a release build, fewer in a debug build.

use std::sync::Arc;
use std::time::Instant;

use super::{AuthPolicy, Config, Event, Session, TlsPolicy};
use crate::Protocol;
use crate::reply;

/// Everything that decides about the next reply.
#[derive(Default, Clone)]
struct Model {
    hello: bool,
    tls: bool,
    login: bool,
    mail: Option<Envelope>,
    errors: u32,
    closed: bool,
}

#[derive(Default, Clone)]
struct Envelope {
    tried: bool,
    accepted: bool,
    chunks: bool,
    spoiled: bool,
}

/// The commands, good and bad; `+` and `-` in a RCPT say what the caller answers.
const STEPS: [&str; 30] = [
    "HELO c",
    "HELO",
    "EHLO c",
    "EHLO (",
    "STARTTLS",
    "STARTTLS x",
    "AUTH PLAIN Z29vZA==",
    "AUTH PLAIN YmFk",
    "AUTH PLAIN !",
    "AUTH",
    "MAIL FROM:<a@a.test>",
    "MAIL FROM:<>",
    "MAIL FROM:<a@a.test> FOO=1",
    "MAIL FROM:a",
    "MAIL FROM:<a@a.test> SIZE=99999999999",
    "RCPT TO:<yes@a.test>",
    "RCPT TO:<no@a.test>",
    "RCPT TO:<>",
    "RCPT",
    "DATA",
    "DATA x",
    "BDAT 3",
    "BDAT 3 LAST",
    "BDAT x",
    "RSET",
    "RSET x",
    "NOOP",
    "VRFY x",
    "VRFY",
    "QUIT",
];

/// What follows a command on the wire in any case.
fn octets_behind(step: &str) -> &'static str {
    if step.starts_with("BDAT 3") { "abc" } else { "" }
}

impl Model {
    /// The codes that the step is answered with; a body that is asked for is sent as part of the step.
    fn expect(&mut self, step: &str) -> Vec<u16> {
        let mut codes = self.judge(step);
        for (n, code) in codes.clone().into_iter().enumerate() {
            self.errors += u32::from((500..600).contains(&code));
            if self.errors == 20 {
                codes.truncate(n + 1);
                codes.push(421);
                self.closed = true;
                break;
            }
        }
        codes
    }

    fn judge(&mut self, step: &str) -> Vec<u16> {
        let one = |code| vec![code];
        match step {
            "HELO c" | "EHLO c" => {
                self.hello = true;
                self.mail = None;
                one(250)
            }
            "NOOP" => one(250),
            "RSET" => {
                self.mail = None;
                one(250)
            }
            "QUIT" => {
                self.closed = true;
                one(221)
            }
            "MAIL FROM:<a@a.test> FOO=1" => one(555),
            "BDAT x" => {
                if let Some(mail) = &mut self.mail {
                    (mail.chunks, mail.spoiled) = (true, true);
                }
                one(501)
            }
            "HELO" | "EHLO (" | "STARTTLS x" | "AUTH PLAIN !" | "AUTH" | "MAIL FROM:a" | "RCPT TO:<>"
            | "RCPT" | "DATA x" | "RSET x" | "VRFY" => one(501),
            "STARTTLS" if self.tls => one(554),
            "STARTTLS" if self.mail.is_some() => one(503),
            "STARTTLS" => {
                (self.tls, self.hello, self.login) = (true, false, false);
                one(220)
            }
            _ if !self.hello => one(503),
            "VRFY x" => one(252),
            "AUTH PLAIN Z29vZA==" | "AUTH PLAIN YmFk" => one(self.auth(step)),
            "MAIL FROM:<a@a.test> SIZE=99999999999" if self.mail.is_none() => one(552),
            _ if step.starts_with("MAIL") && self.mail.is_some() => one(503),
            _ if step.starts_with("MAIL") => {
                self.mail = Some(Envelope::default());
                one(250)
            }
            _ => self.in_transaction(step),
        }
    }

    fn auth(&mut self, step: &str) -> u16 {
        if !self.tls {
            504
        } else if self.login || self.mail.is_some() {
            503
        } else if step.ends_with("YmFk") {
            535
        } else {
            self.login = true;
            235
        }
    }

    fn in_transaction(&mut self, step: &str) -> Vec<u16> {
        let Some(mail) = &mut self.mail else {
            return vec![503];
        };
        match step {
            "RCPT TO:<yes@a.test>" | "RCPT TO:<no@a.test>" if mail.chunks => vec![503],
            "RCPT TO:<yes@a.test>" => {
                (mail.tried, mail.accepted) = (true, true);
                vec![250]
            }
            "RCPT TO:<no@a.test>" => {
                mail.tried = true;
                vec![550]
            }
            "DATA" if mail.chunks => vec![503],
            _ if mail.spoiled => vec![503],
            _ if !mail.accepted => {
                if step.starts_with("BDAT") {
                    (mail.chunks, mail.spoiled) = (true, true);
                }
                vec![if mail.tried { 554 } else { 503 }]
            }
            "DATA" => {
                self.mail = None;
                vec![354, 250]
            }
            "BDAT 3" => {
                mail.chunks = true;
                vec![250]
            }
            "BDAT 3 LAST" => {
                self.mail = None;
                vec![250]
            }
            other => panic!("no rule for {other}"),
        }
    }
}

/// The session under test, with a caller that follows the same plain rules.
struct Real {
    session: Session,
    now: Instant,
}

impl Real {
    fn new(config: &Arc<Config>, now: Instant) -> Self {
        Self {
            session: Session::new(Arc::clone(config), false, now),
            now,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<u16> {
        self.session.input().extend_from_slice(bytes);
        let mut started = false;
        while let Some(event) = self.session.next_event(self.now) {
            match event {
                Event::Hello(_) => self.session.accept_hello(),
                Event::Mail(_) => self.session.answer(&reply::mail_ok()),
                Event::Rcpt(rcpt) if rcpt.typed.starts_with("yes") => self.session.answer(&reply::rcpt_ok()),
                Event::Rcpt(_) => self.session.answer(&reply::new(550, (5, 1, 1), "no")),
                Event::Data => self.session.accept_data(),
                Event::EndOfData(_) => self.session.answer(&reply::ok()),
                Event::Auth { initial, .. } => {
                    let good = initial.is_some_and(|secret| secret.expose() == b"good");
                    let verdict = if good {
                        reply::auth_ok()
                    } else {
                        reply::auth_failed(false)
                    };
                    self.session.answer(&verdict);
                }
                Event::StartTls => {
                    self.session.answer(&reply::start_tls());
                    started = true;
                }
                _ => {}
            }
        }
        if started {
            self.session.tls_started();
        }
        let codes = codes(self.session.output());
        self.session.output_written();
        codes
    }
}

fn codes(output: &[u8]) -> Vec<u16> {
    String::from_utf8_lossy(output)
        .lines()
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| line[..3].parse().unwrap())
        .collect()
}

/// xorshift64*: the same sequences every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

fn run(random: &mut Random, config: &Arc<Config>, now: Instant) -> Result<(), String> {
    let (mut model, mut real) = (Model::default(), Real::new(config, now));
    let mut trail = Vec::new();
    for _ in 0..20 {
        let step = STEPS[random.below(STEPS.len())];
        let errors = model.errors;
        let expected = model.expect(step);
        let wire = format!("{step}\r\n{}", octets_behind(step));
        let mut heard = real.send(wire.as_bytes());
        if heard == [354] {
            heard.extend(real.send(b"x\r\n.\r\n"));
        }
        let taken = step == "DATA" && expected == [354, 250]
            || step == "BDAT 3 LAST" && expected == [250] && errors == model.errors;
        if taken {
            model.errors = 0;
        }
        trail.push(format!("{step} -> {heard:?}"));
        if heard != expected {
            return Err(format!("expected {expected:?}:\n{}", trail.join("\n")));
        }
        if model.closed != real.session.is_closed() {
            return Err(format!("closed or not:\n{}", trail.join("\n")));
        }
        if model.closed {
            break;
        }
    }
    Ok(())
}

#[test]
fn random_sequences_are_answered_as_the_model_says() {
    let sequences = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let mut config = Config::new(Protocol::Smtp, "mx.test");
    config.tls = TlsPolicy::Offered;
    config.auth = AuthPolicy::UnderTls;
    // Failed logins would end most sessions early; they have a test of their own.
    config.limits.auth_failures = 100;
    let (config, now) = (Arc::new(config), Instant::now());
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    for n in 0..sequences {
        if let Err(difference) = run(&mut random, &config, now) {
            panic!("sequence {n}: {difference}");
        }
    }
}
