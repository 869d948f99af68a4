//! An accepted message on its way into Maildirs or the spool, all or nothing (architecture.md section 2).

pub mod body;
pub mod direct;
pub mod header;
pub mod verdict;

use std::time::SystemTime;

use auth_api::directory::Target;
use events::{About, Log, smtpd};
use mail_types::{Reply, SessionId};
use smtp_proto::client::Outcome;
use spool::{BodyType, InitialState};

use self::body::{Message, Stored};
use self::direct::Deliverer;
use self::verdict::{Plan, plan};
use crate::config::Service;
use crate::envelope::{Envelope, dead_reply};
use crate::error;
use crate::spooler::Spooler;

/// Where messages go.
#[derive(Clone)]
pub struct Intake {
    /// deliver.
    pub deliverer: Deliverer,
    /// The spool.
    pub spooler: Spooler,
    /// The decision log.
    pub events: Log,
}

/// What is known about a message beside its envelope and content.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The service it came through.
    pub service: &'a Service,
    /// The session that brought it.
    pub session: SessionId,
    /// Lines that go before the message.
    pub top: String,
    /// When.
    pub time: SystemTime,
}

/// A message that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// `direct`, `queue`, `both` or `discarded`: for the log.
    pub path: &'static str,
}

/// A message that was not taken.
#[derive(Debug)]
pub struct Refused {
    /// What the client hears.
    pub reply: Reply,
    /// For the log.
    pub reason: String,
}

impl Intake {
    /// Brings the message where it belongs. `Ok` means that it is durable: the 250 may be said.
    pub async fn take(
        &self,
        envelope: Envelope,
        message: Message,
        arrival: Arrival<'_>,
    ) -> Result<Taken, Refused> {
        let work = Work {
            intake: self,
            about: About::session(arrival.session).mail(envelope.id),
            envelope,
            arrival,
            eight_bit: message.eight_bit,
        };
        if work.envelope.is_direct(work.arrival.service.direct_recipients) {
            work.direct(message.stored).await
        } else {
            work.queue_all(message.stored).await
        }
    }
}

/// One message and what belongs to it.
struct Work<'a> {
    intake: &'a Intake,
    about: About,
    envelope: Envelope,
    arrival: Arrival<'a>,
    eight_bit: bool,
}

impl Work<'_> {
    /// Into the mailboxes; what has to wait into the spool.
    async fn direct(&self, stored: Stored) -> Result<Taken, Refused> {
        let service = self.arrival.service;
        let deliverer = &self.intake.deliverer;
        let attempt = deliverer
            .deliver(&self.envelope, &self.arrival.top, &stored, service.direct_timeout)
            .await;
        self.log_replies(&attempt.outcomes);
        if let Some(trouble) = &attempt.trouble {
            tracing::warn!(id = %self.envelope.id, "direct delivery: {trouble}");
        }
        let patient = !service.options.smtpd_require_auth;
        match plan(&self.envelope, &attempt.outcomes, patient) {
            Plan::Accept => Ok(Taken { path: "direct" }),
            Plan::Refuse(reply) => Err(Refused {
                reason: "deliver refused it".to_owned(),
                reply,
            }),
            Plan::Spool { states, partial } => {
                let reason = match &attempt.trouble {
                    Some(trouble) => {
                        self.log_fallback(&states, trouble);
                        trouble.clone()
                    }
                    None => "a recipient has to wait, has failed, or wants a report".to_owned(),
                };
                let stored = self.spool(stored, states, reason).await;
                if let (Err(refused), true) = (&stored, partial) {
                    tracing::error!(
                        id = %self.envelope.id,
                        "delivered to some recipients, refused to the client: {}", refused.reason
                    );
                }
                stored?;
                Ok(Taken {
                    path: if partial { "both" } else { "queue" },
                })
            }
        }
    }

    /// Everything into the spool; what is known to fail is final there already.
    async fn queue_all(&self, stored: Stored) -> Result<Taken, Refused> {
        let recipients = self.envelope.recipients.iter().enumerate();
        let states = recipients
            .map(|(position, recipient)| match &recipient.target {
                Target::Dead { refusal } => (position, InitialState::Failed(dead_reply(refusal))),
                Target::Mailbox | Target::Remote => (position, InitialState::Waiting),
            })
            .collect();
        let remote = self
            .envelope
            .recipients
            .iter()
            .any(|r| r.target == Target::Remote);
        let reason = if remote {
            "a recipient is remote"
        } else {
            "too many recipients, or a dead one"
        };
        self.spool(stored, states, reason.to_owned()).await?;
        Ok(Taken { path: "queue" })
    }

    async fn spool(
        &self,
        stored: Stored,
        states: Vec<(usize, InitialState)>,
        reason: String,
    ) -> Result<(), Refused> {
        let waiting = states
            .iter()
            .filter(|(_, state)| matches!(state, InitialState::Waiting | InitialState::MaybeRepeated))
            .map(|(position, _)| self.envelope.recipients[*position].index)
            .collect();
        let envelope = self.spool_envelope(states);
        let spooler = &self.intake.spooler;
        let id = self.envelope.id;
        let written = match stored {
            Stored::Memory(body, permit) => {
                let written = spooler.store(id, body, envelope).await;
                drop(permit);
                written
            }
            Stored::File(writer) => spooler.finish(id, writer, envelope).await,
        };
        match written {
            Ok(()) => {
                let kind = smtpd::Kind::Spooled {
                    reason,
                    recipients: waiting,
                };
                self.intake.events.emit(self.about, kind);
                Ok(())
            }
            Err(write) => Err(Refused {
                reply: error::queue_write(&write),
                reason: daemon::describe(&write),
            }),
        }
    }

    fn spool_envelope(&self, states: Vec<(usize, InitialState)>) -> spool::Envelope {
        let params = &self.envelope.mail.params;
        let since = self
            .arrival
            .time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let recipients = states.into_iter().map(|(position, state)| {
            let recipient = &self.envelope.recipients[position];
            spool::Recipient {
                index: recipient.index,
                original: recipient.original.clone(),
                final_address: Some(recipient.final_address.clone()),
                expanded: recipient.expanded,
                notify: recipient.notify,
                orcpt: recipient.orcpt.clone(),
                state,
            }
        });
        spool::Envelope {
            arrival_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            session: Some(self.arrival.session),
            parent: None,
            sender: self.envelope.sender().clone(),
            body: if params.eight_bit || self.eight_bit {
                BodyType::EightBit
            } else {
                BodyType::SevenBit
            },
            smtputf8: params.smtputf8,
            ret: params.ret,
            envid: params.envid.clone(),
            top: self.arrival.top.clone(),
            recipients: recipients.collect(),
            expanded: self.envelope.expanded.clone(),
        }
    }

    fn log_replies(&self, outcomes: &[Outcome]) {
        for (recipient, outcome) in self.envelope.recipients.iter().zip(outcomes) {
            if let Outcome::Replied { reply, .. } = outcome {
                let kind = smtpd::Kind::DirectReply {
                    address: recipient.final_address.to_string(),
                    reply: reply.into(),
                };
                self.intake
                    .events
                    .emit(self.about.recipient(recipient.index), kind);
            }
        }
    }

    fn log_fallback(&self, states: &[(usize, InitialState)], trouble: &str) {
        let repeated = states
            .iter()
            .filter(|(_, state)| *state == InitialState::MaybeRepeated)
            .map(|(position, _)| self.envelope.recipients[*position].index)
            .collect();
        let kind = smtpd::Kind::DirectFallback {
            reason: trouble.to_owned(),
            recipients: repeated,
        };
        self.intake.events.emit(self.about, kind);
    }
}
