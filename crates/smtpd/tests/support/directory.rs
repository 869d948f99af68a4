//! authd with fixed answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_api::directory::{Delivery, DomainClass, Refusal, Resolution, SenderLogin, Target, Verdict};
use auth_api::sasl::{Account, LoginContext, LoginStep, Validity};
use auth_api::{Trace, Unavailable, access};
use mail_types::{Address, EnhancedStatus, Secret};
use smtp_proto::command::RcptPath;
use smtpd::directory::{Directory, Login};

/// `u`, `v` and `w` `@local.test` exist, password `secret`; `team@` is an alias of u and v, `mixed@` of u and
/// `x@a.test`, `half@` of u and a dead address; `loop@` loops; `backup.test` is relayed, all else foreign.
#[derive(Clone, Default)]
pub struct FakeDirectory {
    pub away: Arc<AtomicBool>,
    /// Whether all logins are over.
    pub over: Arc<AtomicBool>,
    pub asked: Arc<Mutex<Vec<String>>>,
    /// What the access tables say; empty: there are none.
    pub access: Arc<Mutex<access::Answer>>,
    aliases: Arc<Mutex<HashMap<String, Vec<Delivery>>>>,
}

impl FakeDirectory {
    fn check(&self) -> Result<(), Unavailable> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Unavailable::new("the database is away"));
        }
        Ok(())
    }

    /// Makes `address` an alias.
    pub fn alias(&self, address: &str, targets: &[(&str, Target)]) {
        let deliveries = targets
            .iter()
            .map(|(text, target)| to(text, true, target.clone()));
        self.aliases
            .lock()
            .unwrap()
            .insert(address.to_owned(), deliveries.collect());
    }

    fn local(&self, address: &Address) -> Verdict {
        let key = address.lookup_key();
        if let Some(deliveries) = self.aliases.lock().unwrap().get(&key) {
            return Verdict::Deliver(deliveries.clone());
        }
        match address.local() {
            "loop" => Verdict::ExpansionError("loop".into()),
            "team" => Verdict::Deliver(vec![
                to("u@local.test", true, Target::Mailbox),
                to("v@local.test", true, Target::Mailbox),
            ]),
            "mixed" => Verdict::Deliver(vec![
                to("u@local.test", true, Target::Mailbox),
                to("x@a.test", true, Target::Remote),
            ]),
            "half" => Verdict::Deliver(vec![
                to("u@local.test", true, Target::Mailbox),
                to("gone@local.test", true, Target::Dead { refusal: unknown() }),
            ]),
            name if ["u", "v", "w", "postmaster"].contains(&name.to_lowercase().as_str()) => {
                Verdict::Deliver(vec![to(&key, false, Target::Mailbox)])
            }
            _ => Verdict::Refuse(unknown()),
        }
    }
}

fn to(address: &str, expanded: bool, target: Target) -> Delivery {
    Delivery {
        final_address: address.parse().unwrap(),
        expanded,
        target,
    }
}

fn unknown() -> Refusal {
    Refusal {
        code: 550,
        status: EnhancedStatus::new(5, 1, 1),
        text: "User unknown in virtual mailbox table".into(),
    }
}

impl Directory for FakeDirectory {
    type Login = FakeLogin;

    async fn resolve(&self, recipient: &RcptPath, _: Trace) -> Result<Resolution, Unavailable> {
        self.asked.lock().unwrap().push(format!("{recipient:?}"));
        self.check()?;
        let address = match recipient {
            RcptPath::Address(address) => address.clone(),
            RcptPath::Postmaster => "postmaster@local.test".parse().unwrap(),
        };
        let (class, verdict) = match address.domain().as_str() {
            "local.test" => (DomainClass::Mailbox, self.local(&address)),
            "backup.test" => (
                DomainClass::Relay,
                Verdict::Deliver(vec![to(&address.to_string(), false, Target::Remote)]),
            ),
            _ => (
                DomainClass::Foreign,
                Verdict::Deliver(vec![to(&address.to_string(), false, Target::Remote)]),
            ),
        };
        Ok(Resolution {
            class,
            verdict,
            steps: Vec::new(),
        })
    }

    async fn check_sender_login(
        &self,
        login: &Address,
        sender: &Address,
        _: Trace,
    ) -> Result<SenderLogin, Unavailable> {
        self.check()?;
        let alias = sender.to_string() == "team@local.test" && login.local() != "w";
        Ok(if login == sender || alias {
            SenderLogin::Owned
        } else {
            SenderLogin::NotOwned
        })
    }

    async fn still_valid(&self, _: &Account) -> Result<Validity, Unavailable> {
        self.check()?;
        let ended = Validity::Ended {
            reason: "password changed".into(),
        };
        Ok(if self.over.load(Ordering::Relaxed) {
            ended
        } else {
            Validity::Valid
        })
    }

    async fn check_access(
        &self,
        question: access::Question,
        _: Trace,
    ) -> Result<access::Answer, Unavailable> {
        self.check()?;
        let mut answer = self.access.lock().unwrap().clone();
        answer.hits.retain(|hit| match hit.table {
            access::Table::Client => question.client.is_some(),
            access::Table::Helo => question.helo.is_some(),
            access::Table::Sender => question.sender.is_some(),
            access::Table::Recipient => {
                let key = question.recipient.as_ref().map(Address::lookup_key);
                key.as_deref() == Some(hit.key.as_str())
            }
        });
        Ok(answer)
    }

    async fn mechanisms(&self, _: &LoginContext) -> Result<Vec<String>, Unavailable> {
        self.check()?;
        Ok(vec!["PLAIN".into(), "LOGIN".into()])
    }

    async fn login(
        &self,
        context: &LoginContext,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> (LoginStep, FakeLogin) {
        assert!(context.tls.is_some() || context.trusted);
        let mut login = FakeLogin {
            away: self.check().is_err(),
        };
        let step = match (mechanism, initial) {
            ("PLAIN", Some(response)) => login.next(response).await,
            ("PLAIN", None) => LoginStep::Challenge(Vec::new()),
            ("CRAM-MD5", Some(_)) => LoginStep::Denied {
                delay: Duration::ZERO,
                reason: "the server begins this mechanism".into(),
                no_mechanism: false,
                malformed: true,
            },
            _ => denied(true),
        };
        (step, login)
    }
}

/// PLAIN and nothing else.
pub struct FakeLogin {
    away: bool,
}

impl Login for FakeLogin {
    async fn next(&mut self, response: Secret) -> LoginStep {
        if self.away {
            return LoginStep::TemporaryFailure {
                reason: "the database is away".into(),
            };
        }
        let text = response.expose_str().unwrap_or_default();
        let parts: Vec<&str> = text.split('\0').collect();
        match parts[..] {
            ["", user, "secret"] => LoginStep::Success(Account {
                address: user.parse().unwrap(),
                maildir: String::new(),
                uid: 5000,
                gid: 5000,
                quota: 0,
                revision: 0,
            }),
            _ => denied(false),
        }
    }
}

fn denied(no_mechanism: bool) -> LoginStep {
    LoginStep::Denied {
        delay: Duration::from_millis(20),
        reason: "wrong".into(),
        no_mechanism,
        malformed: false,
    }
}
