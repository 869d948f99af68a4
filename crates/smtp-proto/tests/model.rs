//! Random command sequences against the reference state machine (robustness.md S32). A million in a release
//! build, fewer in a debug build.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reference;

use std::sync::Arc;
use std::time::Instant;

use reference::{Model, Random, STEPS, codes, octets_behind};
use smtp_proto::server::{AuthPolicy, Config, Event, Session, TlsPolicy};
use smtp_proto::{Protocol, reply};

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
                Event::Rcpt(rcpt) if rcpt.typed.starts_with("u@") => self.session.answer(&reply::rcpt_ok()),
                Event::Rcpt(_) => self.session.answer(&reply::new(550, (5, 1, 1), "no")),
                Event::Data => self.session.accept_data(),
                Event::EndOfData(_) => self.session.answer(&reply::ok()),
                Event::Auth { initial, .. } => {
                    let good = initial.is_some_and(|secret| secret.expose() == b"\0u@local.test\0secret");
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
        model.settle(step, errors, &expected);
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
