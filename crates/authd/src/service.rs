//! The directory as the other daemons see it: questions in, answers out, each told to the decision log.

use std::sync::Arc;

use ::daemon::Clock;
use auth_api::directory::{
    DomainClass, Explanation, MailboxAnswer, Question, Recipient, Resolution, Route, SenderLogin, Usage,
    Vacation, Verdict,
};
use auth_api::{Trace, Unavailable, access, server};
use events::{About, Log, authd};
use mail_types::Address;

use crate::directory::{DirectoryError, Steps};
use crate::site::Sites;

/// Answers questions about addresses.
pub struct DirectoryService {
    sites: Arc<Sites>,
    events: Log,
    clock: Clock,
}

impl DirectoryService {
    /// Answers from the site in force.
    pub fn new(sites: Arc<Sites>, events: Log, clock: Clock) -> Self {
        Self { sites, events, clock }
    }

    /// Tells a decision, where it is somebody's.
    fn tell(&self, trace: Trace, kind: authd::Kind) {
        if trace.session.is_some() || trace.message.is_some() {
            let about = About {
                session: trace.session,
                id: trace.message,
                ..About::default()
            };
            self.events.emit(about, kind);
        }
    }

    /// Turns trouble into a temporary failure, which is told in any case.
    fn trouble(&self, trace: Trace, question: &str, address: &str, error: &DirectoryError) -> Unavailable {
        if let DirectoryError::Misconfigured(reason) = error {
            tracing::error!(question, address, reason, "mail waits until this is put right");
        }
        let about = About {
            session: trace.session,
            id: trace.message,
            ..About::default()
        };
        let kind = authd::Kind::QuestionFailed {
            question: question.to_owned(),
            address: address.to_owned(),
            reason: error.to_string(),
        };
        self.events.emit(about, kind);
        Unavailable::new(error.to_string())
    }
}

impl server::Directory for DirectoryService {
    async fn resolve(&self, recipient: Recipient, trace: Trace) -> Result<Resolution, Unavailable> {
        let address = match &recipient {
            Recipient::Address(address) => address.to_string(),
            Recipient::Postmaster => "postmaster".to_owned(),
        };
        let site = self.sites.current();
        let mut steps = Steps::brief();
        match site.directory.resolve(&recipient, &mut steps).await {
            Ok(mut resolution) => {
                let source = source(&steps);
                resolution.steps = steps.into_list();
                self.tell(trace, resolved(address, &resolution, source));
                Ok(resolution)
            }
            Err(error) => Err(self.trouble(trace, "ResolveRecipient", &address, &error)),
        }
    }

    async fn route(&self, final_address: Address, trace: Trace) -> Result<Route, Unavailable> {
        let address = final_address.to_string();
        let site = self.sites.current();
        let mut steps = Steps::brief();
        match site.directory.route(&final_address, &mut steps).await {
            Ok(route) => {
                let kind = authd::Kind::Routed {
                    address,
                    route: route.to_string(),
                    source: source(&steps),
                };
                self.tell(trace, kind);
                Ok(route)
            }
            Err(error) => Err(self.trouble(trace, "Route", &address, &error)),
        }
    }

    async fn lookup_mailbox(
        &self,
        final_address: Address,
        trace: Trace,
    ) -> Result<MailboxAnswer, Unavailable> {
        let address = final_address.to_string();
        let site = self.sites.current();
        let mut steps = Steps::brief();
        match site.directory.lookup_mailbox(&final_address, &mut steps).await {
            Ok(answer) => {
                let text = match &answer {
                    MailboxAnswer::Found(mailbox) => mailbox.maildir.clone(),
                    MailboxAnswer::Unknown(refusal) => refusal.text.clone(),
                    MailboxAnswer::Misconfigured(reason) => {
                        tracing::error!(address, reason, "this mailbox cannot be used");
                        reason.clone()
                    }
                };
                let kind = authd::Kind::MailboxFound {
                    address,
                    answer: text,
                    source: source(&steps),
                };
                self.tell(trace, kind);
                Ok(answer)
            }
            Err(error) => Err(self.trouble(trace, "LookupMailbox", &address, &error)),
        }
    }

    async fn check_sender_login(
        &self,
        login: Address,
        sender: Address,
        trace: Trace,
    ) -> Result<SenderLogin, Unavailable> {
        let site = self.sites.current();
        let mut steps = Steps::brief();
        match site
            .directory
            .check_sender_login(&login, &sender, &mut steps)
            .await
        {
            Ok(answer) => {
                let kind = authd::Kind::SenderChecked {
                    login: login.to_string(),
                    sender: sender.to_string(),
                    owned: answer == SenderLogin::Owned,
                    source: source(&steps),
                };
                self.tell(trace, kind);
                Ok(answer)
            }
            Err(error) => Err(self.trouble(trace, "CheckSenderLogin", &sender.to_string(), &error)),
        }
    }

    async fn check_access(
        &self,
        question: access::Question,
        trace: Trace,
    ) -> Result<access::Answer, Unavailable> {
        let site = self.sites.current();
        site.directory
            .check_access(&question, &mut Steps::brief())
            .await
            .map_err(|error| {
                let about = question.recipient.as_ref().map(ToString::to_string);
                self.trouble(trace, "CheckAccess", &about.unwrap_or_default(), &error)
            })
    }

    async fn vacation(&self, address: Address, trace: Trace) -> Result<Option<Vacation>, Unavailable> {
        let site = self.sites.current();
        let now = i64::try_from(self.clock.unix_millis() / 1_000).unwrap_or(i64::MAX);
        site.directory
            .vacation(&address, now, &mut Steps::brief())
            .await
            .map_err(|error| self.trouble(trace, "Vacation", &address.to_string(), &error))
    }

    async fn usage(&self, address: Address, trace: Trace) -> Result<Usage, Unavailable> {
        let site = self.sites.current();
        site.directory
            .usage(&address, &mut Steps::brief())
            .await
            .map_err(|error| self.trouble(trace, "Usage", &address.to_string(), &error))
    }

    async fn explain(&self, question: Question) -> Explanation {
        self.sites.current().directory.explain(&question).await
    }
}

/// The least fresh source of the rows; empty where there were none.
fn source(steps: &Steps) -> String {
    steps.source().map_or("", |source| source.as_str()).to_owned()
}

fn resolved(address: String, resolution: &Resolution, source: String) -> authd::Kind {
    let class = match resolution.class {
        DomainClass::Mailbox => "mailbox",
        DomainClass::Alias => "alias",
        DomainClass::Relay => "relay",
        DomainClass::Foreign => "foreign",
    };
    let verdict = match &resolution.verdict {
        Verdict::Deliver(list) => {
            let finals: Vec<String> = list
                .iter()
                .take(10)
                .map(|d| d.final_address.to_string())
                .collect();
            let more = if list.len() > 10 {
                format!(" and {} more", list.len() - 10)
            } else {
                String::new()
            };
            format!("deliver to {}{more}", finals.join(", "))
        }
        Verdict::Refuse(refusal) => format!("{} {} {}", refusal.code, refusal.status, refusal.text),
        Verdict::ExpansionError(reason) => format!("expansion error: {reason}"),
    };
    authd::Kind::RecipientResolved {
        address,
        class: class.to_owned(),
        verdict,
        source,
        steps: resolution.steps.iter().map(Into::into).collect(),
    }
}
