//! An authd that knows one user, `u@a.test` with password `secret`, and is "down" for the password `down`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth_api::sasl::{Account, LoginContext, LoginStep, Validity};
use auth_api::server::{Exchange, Logins};
use auth_api::{Role, Unavailable};
use mail_types::{Address, Secret};

pub(super) struct Fake {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether all logins of before are over.
    pub(super) over: Arc<AtomicBool>,
}

pub(super) struct FakeExchange {
    mechanism: String,
    user: Option<Vec<u8>>,
    asked: bool,
    uid: u32,
    gid: u32,
}

impl Logins for Fake {
    type Exchange = FakeExchange;

    async fn mechanisms(&self, _: LoginContext) -> Result<Vec<String>, Unavailable> {
        Ok(vec!["PLAIN".into(), "LOGIN".into()])
    }

    async fn still_valid(
        &self,
        _: Role,
        sessions: Vec<(Address, u64)>,
    ) -> Result<Vec<Validity>, Unavailable> {
        let verdict = if self.over.load(Ordering::Relaxed) {
            Validity::Ended {
                reason: "password changed".into(),
            }
        } else {
            Validity::Valid
        };
        Ok(vec![verdict; sessions.len()])
    }

    fn begin(&self, _: LoginContext, mechanism: &str) -> FakeExchange {
        let mechanism = mechanism.to_owned();
        FakeExchange {
            mechanism,
            user: None,
            asked: false,
            uid: self.uid,
            gid: self.gid,
        }
    }
}

impl Exchange for FakeExchange {
    async fn step(&mut self, response: Option<Secret>) -> LoginStep {
        let response = response.map(|secret| secret.expose().to_vec());
        match (self.mechanism.as_str(), response) {
            ("PLAIN", Some(message)) => {
                let parts: Vec<&[u8]> = message.split(|b| *b == 0).collect();
                let part = |at: usize| parts.get(at).copied().unwrap_or_default();
                self.verdict(part(1), part(2))
            }
            ("PLAIN", None) => LoginStep::Challenge(Vec::new()),
            ("LOGIN", None) if !self.asked => {
                self.asked = true;
                LoginStep::Challenge(b"Username:".to_vec())
            }
            ("LOGIN", Some(answer)) => match self.user.take() {
                None => {
                    self.user = Some(answer);
                    LoginStep::Challenge(b"Password:".to_vec())
                }
                Some(user) => self.verdict(&user, &answer),
            },
            ("CRAM-MD5", Some(_)) => LoginStep::Denied {
                delay: Duration::ZERO,
                reason: "the server begins this mechanism".into(),
                no_mechanism: false,
                malformed: true,
            },
            _ => LoginStep::Denied {
                delay: Duration::ZERO,
                reason: "no such mechanism".into(),
                no_mechanism: true,
                malformed: false,
            },
        }
    }
}

impl FakeExchange {
    fn verdict(&self, user: &[u8], password: &[u8]) -> LoginStep {
        match (user, password) {
            (b"u@a.test", b"secret") => LoginStep::Success(Account {
                address: Address::parse("u@a.test").unwrap(),
                maildir: "a.test/u/".into(),
                uid: self.uid,
                gid: self.gid,
                quota: 0,
                revision: 1,
            }),
            (_, b"down") => LoginStep::TemporaryFailure {
                reason: "the database is away".into(),
            },
            _ => LoginStep::Denied {
                delay: Duration::ZERO,
                reason: "wrong password".into(),
                no_mechanism: false,
                malformed: false,
            },
        }
    }
}
