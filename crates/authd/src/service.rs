//! The directory as the other daemons see it: questions in, answers out, each told to the decision log.

use std::sync::Arc;

use auth_api::directory::{DomainClass, MailboxAnswer, Recipient, Resolution, Route, SenderLogin, Verdict};
use auth_api::{Trace, Unavailable, server};
use events::{About, Log, authd};
use mail_types::Address;

use crate::directory::DirectoryError;
use crate::site::Sites;

/// Answers questions about addresses.
pub struct DirectoryService {
    sites: Arc<Sites>,
    events: Log,
}

impl DirectoryService {
    /// Answers from the site in force.
    pub fn new(sites: Arc<Sites>, events: Log) -> Self {
        Self { sites, events }
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
        match site.directory.resolve(&recipient).await {
            Ok(resolution) => {
                self.tell(trace, resolved(address, &resolution));
                Ok(resolution)
            }
            Err(error) => Err(self.trouble(trace, "ResolveRecipient", &address, &error)),
        }
    }

    async fn route(&self, final_address: Address, trace: Trace) -> Result<Route, Unavailable> {
        let address = final_address.to_string();
        let site = self.sites.current();
        match site.directory.route(&final_address).await {
            Ok(route) => {
                let kind = authd::Kind::Routed {
                    address,
                    route: route_text(&route),
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
        match site.directory.lookup_mailbox(&final_address).await {
            Ok(answer) => {
                let text = match &answer {
                    MailboxAnswer::Found(mailbox) => mailbox.maildir.clone(),
                    MailboxAnswer::Unknown(refusal) => refusal.text.clone(),
                    MailboxAnswer::Misconfigured(reason) => {
                        tracing::error!(address, reason, "this mailbox cannot be used");
                        reason.clone()
                    }
                };
                self.tell(
                    trace,
                    authd::Kind::MailboxFound {
                        address,
                        answer: text,
                    },
                );
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
        site.directory
            .check_sender_login(&login, &sender)
            .await
            .map_err(|error| self.trouble(trace, "CheckSenderLogin", &sender.to_string(), &error))
    }
}

fn resolved(address: String, resolution: &Resolution) -> authd::Kind {
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
    let step = |step: &auth_api::directory::Step| events::Step {
        question: step.question.clone(),
        key: step.key.clone(),
        answer: step.answer.clone(),
    };
    authd::Kind::RecipientResolved {
        address,
        class: class.to_owned(),
        verdict,
        steps: resolution.steps.iter().map(step).collect(),
    }
}

fn route_text(route: &Route) -> String {
    match route {
        Route::Local => "local".to_owned(),
        Route::Smtp(hop) => {
            let host = if hop.use_mx {
                hop.host.clone()
            } else {
                format!("[{}]", hop.host)
            };
            match hop.port {
                Some(port) => format!("smtp:{host}:{port}"),
                None => format!("smtp:{host}"),
            }
        }
        Route::Lmtp(auth_api::directory::LmtpHop::Unix(path)) => format!("lmtp:unix:{path}"),
        Route::Lmtp(auth_api::directory::LmtpHop::Tcp { host, port }) => format!("lmtp:{host}:{port}"),
        Route::Error(text) => format!("error: {text}"),
        Route::Retry(text) => format!("retry: {text}"),
        Route::Discard => "discard".to_owned(),
        Route::Unknown(refusal) => format!("unknown: {}", refusal.text),
        Route::Misconfigured(reason) => format!("misconfigured: {reason}"),
    }
}
