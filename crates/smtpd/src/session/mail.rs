//! The mail transaction: MAIL, RCPT, the message, and the answer to it.

use auth_api::Trace;
use auth_api::directory::{Resolution, Target};
use auth_api::sasl::Validity;
use events::{About, smtpd};
use mail_types::{Address, Domain, Reply};
use message::header::HeaderLimits;
use smtp_proto::command::{Mail, Rcpt, RcptPath};
use smtp_proto::reply;
use smtp_proto::server::EndOfData;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::access::Refused as RefusedRcpt;
use crate::directory::Directory;
use crate::envelope::{Envelope, Recipient};
use crate::error;
use crate::intake::body::{Body, Message};
use crate::intake::header::HeaderPolicy;
use crate::intake::{Arrival, Refused, Taken};
use crate::policy::access::Judgement;
use crate::policy::limits::Counted;
use crate::policy::recipient::{Client, Decision, judge};
use crate::policy::sender;
use crate::received::Received;

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// Whether the sender may use his address; asked once, at the first RCPT (`smtpd_delay_reject`).
    sender: Option<Result<(), sender::Refusal>>,
    /// What the access tables say of client, HELO name and sender; asked once, at the first RCPT.
    pub(super) access: Option<Judgement>,
    /// What they ask for with the accepted recipients.
    wanted: Judgement,
    pub(super) body: Option<Body>,
}

impl<D, S> Session<D, S>
where
    D: Directory,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    pub(super) async fn on_mail(&mut self, mail: Mail) {
        let now = self.app.ctx.clock.instant();
        let ip = self.counted_ip();
        let sender = mail.path.to_string();
        if let Err(reply) = self
            .app
            .rates
            .check(Counted::Message, ip, &self.service.options, now)
        {
            self.emit(smtpd::Kind::MailRefused {
                sender,
                reply: (&reply).into(),
                reason: "rate limit".to_owned(),
            });
            self.proto.answer(&reply);
            return;
        }
        if let Some(reason) = self.login_is_over().await {
            let reply = error::login_over(&self.service.hostname);
            self.emit(smtpd::Kind::MailRefused {
                sender,
                reply: (&reply).into(),
                reason: format!("login no longer valid: {reason}"),
            });
            self.proto.close(&reply);
            return;
        }
        let kind = smtpd::Kind::MailAccepted {
            sender,
            login: self.login().map(ToString::to_string),
            size: mail.params.size,
            body: mail.params.eight_bit.then(|| "8BITMIME".to_owned()),
            smtputf8: mail.params.smtputf8,
        };
        self.transaction = Some(Transaction {
            envelope: Envelope::new(self.app.ctx.new_mail_id(), mail),
            sender: None,
            access: None,
            wanted: Judgement::default(),
            body: None,
        });
        self.emit(kind);
        self.proto.answer(&reply::mail_ok());
    }

    /// Why the login of this session no longer holds, if so. Where that cannot be said now, it does.
    async fn login_is_over(&self) -> Option<String> {
        match self.app.directory.still_valid(self.login.as_ref()?).await {
            Ok(Validity::Valid) => None,
            Ok(Validity::Ended { reason }) => Some(reason),
            Err(unavailable) => {
                tracing::warn!(session = %self.id, %unavailable, "the login could not be checked, and goes on");
                None
            }
        }
    }

    pub(super) async fn on_rcpt(&mut self, rcpt: Rcpt) {
        match self.judge_recipient(&rcpt).await {
            Ok((rule, resolution)) => {
                let reply = self.accept(&rcpt, rule, &resolution);
                self.proto.answer(&reply);
            }
            Err(refused) => {
                self.emit(smtpd::Kind::RecipientRefused {
                    address: rcpt.typed,
                    reply: (&refused.reply).into(),
                    reason: refused.reason,
                    steps: refused.steps,
                });
                if refused.close {
                    self.proto.close(&refused.reply);
                } else {
                    self.proto.answer(&refused.reply);
                }
            }
        }
    }

    /// Everything that has a say, in Postfix's order.
    async fn judge_recipient(&mut self, rcpt: &Rcpt) -> Result<(&'static str, Resolution), RefusedRcpt> {
        self.check_client().await?;
        let client = Client {
            own_network: self.is_own_network(),
            authenticated: self.login.is_some(),
        };
        let access = self.check_access(rcpt, client).await?;
        let accepted = match self.check_recipient(rcpt, client).await {
            Err(refused) if !refused.reply.is_transient() => {
                return Err(match access.if_reject {
                    Some(reply) => RefusedRcpt { reply, ..refused },
                    None => refused,
                });
            }
            result => result?,
        };
        if let Some(reply) = access.if_permit {
            return Err((reply, "an access table puts off what is accepted".to_owned()).into());
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.wanted.and(&access);
        }
        Ok(accepted)
    }

    /// What does not depend on the recipient: the client and the sender, in Postfix's order.
    async fn check_client(&mut self) -> Result<(), sender::Refusal> {
        let now = self.app.ctx.clock.instant();
        let ip = self.counted_ip();
        let options = &self.service.options;
        self.app
            .rates
            .check(Counted::Recipient, ip, options, now)
            .map_err(|reply| (reply, "rate limit".to_owned()))?;
        let Some(login) = self.login().cloned() else {
            if options.smtpd_require_auth {
                return Err((error::client_denied(self.ip()), "not logged in".to_owned()));
            }
            return Ok(());
        };
        if !options.reject_sender_login_mismatch {
            return Ok(());
        }
        let trace = self.trace();
        let Some(transaction) = &mut self.transaction else {
            return Ok(());
        };
        if transaction.sender.is_none() {
            let sender = transaction.envelope.sender();
            let verdict = sender::check_envelope(&self.app.directory, &login, sender, trace).await;
            // No answer now does not mean none at the next recipient.
            if verdict.as_ref().is_err_and(|(reply, _)| reply.is_transient()) {
                return verdict;
            }
            transaction.sender = Some(verdict);
        }
        transaction.sender.clone().unwrap_or(Ok(()))
    }

    async fn check_recipient(
        &mut self,
        rcpt: &Rcpt,
        client: Client,
    ) -> Result<(&'static str, Resolution), RefusedRcpt> {
        let answer = self.app.directory.resolve(&rcpt.path, self.trace()).await;
        let decision = judge(&rcpt.typed, answer.as_ref(), client);
        let steps = answer.as_ref().map(steps).unwrap_or_default();
        let refused = |reply, reason, steps| RefusedRcpt {
            steps,
            ..(reply, reason).into()
        };
        match (decision, answer) {
            (Decision::Refuse { reply, reason }, _) => Err(refused(reply, reason, steps)),
            (Decision::Accept { rule, deliveries }, Ok(resolution)) => {
                let local = deliveries
                    .iter()
                    .all(|delivery| delivery.target == Target::Mailbox);
                if !local && !self.app.intake.spooler.has_room() {
                    let reason = "the spool has no room".to_owned();
                    return Err(refused(error::no_space(), reason, steps));
                }
                Ok((rule, resolution))
            }
            (Decision::Accept { .. }, Err(unavailable)) => {
                let reply = error::lookup_failure(&rcpt.typed);
                Err(refused(reply, unavailable.to_string(), steps))
            }
        }
    }

    fn accept(&mut self, rcpt: &Rcpt, rule: &str, resolution: &Resolution) -> Reply {
        let original = match &rcpt.path {
            RcptPath::Address(address) => Some(address.clone()),
            RcptPath::Postmaster => Domain::new(&self.service.hostname)
                .and_then(|host| Address::new("postmaster", host))
                .ok(),
        };
        let auth_api::directory::Verdict::Deliver(deliveries) = &resolution.verdict else {
            return error::lookup_failure(&rcpt.typed);
        };
        let (Some(original), Some(transaction)) = (original, &mut self.transaction) else {
            return error::lookup_failure(&rcpt.typed);
        };
        let added = transaction.envelope.add(&original, &rcpt.params, deliveries);
        let kind = smtpd::Kind::RecipientAccepted {
            address: rcpt.typed.clone(),
            class: format!("{:?}", resolution.class).to_lowercase(),
            rule: rule.to_owned(),
            steps: steps(resolution),
            deliveries: added.iter().map(delivery_event).collect(),
        };
        self.emit(kind);
        reply::rcpt_ok()
    }

    pub(super) fn on_data(&mut self) {
        let options = &self.service.options;
        let Some(transaction) = &self.transaction else {
            self.proto.answer(&reply::out_of_order("need MAIL command"));
            return;
        };
        let limits = HeaderLimits {
            header_bytes: usize::try_from(options.header_size_limit.bytes()).unwrap_or(usize::MAX),
            ..HeaderLimits::default()
        };
        let policy = HeaderPolicy {
            ours: self.login.is_some() || self.is_own_network(),
            judge_from: self.login.is_some() && options.reject_sender_login_mismatch,
            hop_limit: options.hopcount_limit as usize,
            hostname: self.service.hostname.clone(),
            domain: self.service.domain.clone(),
            id: transaction.envelope.id,
            sender: transaction.envelope.sender().clone(),
            time: self.app.ctx.clock.now(),
        };
        let body = Body::new(policy, limits, self.app.budget.clone());
        if let Some(transaction) = &mut self.transaction {
            transaction.body = Some(body);
        }
        self.proto.accept_data();
    }

    /// The end of the message: what it got, as reply and as event.
    pub(super) async fn on_end(&mut self, end: EndOfData) {
        let about = self.about();
        let Some(transaction) = self.transaction.take() else {
            self.proto.answer(&reply::out_of_order("need MAIL command"));
            return;
        };
        let id = transaction.envelope.id;
        let events = self.app.ctx.events.clone();
        let reply = match self.receive(transaction, end, about).await {
            Ok(taken) => {
                let reply = error::queued(id);
                self.messages += 1;
                let kind = smtpd::Kind::MessageAccepted {
                    reply: (&reply).into(),
                    path: taken.path.to_owned(),
                };
                events.emit(about, kind);
                reply
            }
            Err(refused) => {
                let reply = error::with_id(refused.reply, id);
                let kind = smtpd::Kind::MessageRefused {
                    reply: (&reply).into(),
                    reason: refused.reason,
                };
                events.emit(about, kind);
                reply
            }
        };
        self.proto.answer(&reply);
    }

    async fn receive(
        &mut self,
        transaction: Transaction,
        end: EndOfData,
        about: About,
    ) -> Result<Taken, Refused> {
        let (envelope, wanted) = (transaction.envelope, transaction.wanted);
        if let Some(fault) = end.fault {
            let strict = self.service.options.smtpd_reject_long_lines;
            return Err(Refused {
                reply: error::body_fault(fault, &self.service.hostname, strict),
                reason: format!("{fault:?}"),
            });
        }
        let Some(body) = transaction.body else {
            return Err(Refused {
                reply: reply::out_of_order("need MAIL command"),
                reason: "no body".to_owned(),
            });
        };
        let message = body
            .finish(&self.app.intake.spooler)
            .await
            .map_err(|reply| Refused {
                reason: reply.to_string(),
                reply,
            })?;
        let kind = smtpd::Kind::MessageReceived {
            size: end.size,
            message_id: message.message_id.clone(),
        };
        self.app.ctx.events.emit(about, kind);
        self.check_from(&envelope, &message).await?;
        if let Some(reason) = wanted.discard {
            let kind = smtpd::Kind::MessageDiscarded { reason };
            self.app.ctx.events.emit(about, kind);
            return Ok(Taken { path: "discarded" });
        }
        let time = self.app.ctx.clock.now();
        let arrival = Arrival {
            service: &self.service,
            session: self.id,
            top: with_headers(&wanted.headers, &self.received(&envelope, time)),
            time,
        };
        self.app.intake.take(envelope, message, arrival).await
    }

    async fn check_from(&self, envelope: &Envelope, message: &Message) -> Result<(), Refused> {
        let (Some(login), Some(from)) = (self.login(), &message.from) else {
            return Ok(());
        };
        let trace = Trace::message(self.id, envelope.id);
        sender::check_from(&self.app.directory, login, from.as_deref(), trace)
            .await
            .map_err(|(reply, reason)| Refused { reply, reason })
    }

    fn received(&self, envelope: &Envelope, time: std::time::SystemTime) -> String {
        let Some(hello) = self.proto.hello() else {
            return String::new();
        };
        Received {
            hello,
            ip: self.ip(),
            tls: self.tls.as_ref(),
            authenticated: self.login.is_some(),
            smtputf8: envelope.mail.params.smtputf8,
            hostname: &self.service.hostname,
            id: envelope.id,
            only_recipient: envelope.only_recipient(),
            time,
        }
        .field()
    }

    /// Gives an open transaction up.
    pub(super) fn abort(&mut self, reason: &str) {
        if self.transaction.is_some() {
            self.emit(smtpd::Kind::MailAborted {
                reason: reason.to_owned(),
            });
            self.transaction = None;
        }
    }

    fn is_own_network(&self) -> bool {
        self.ip().is_some_and(|ip| self.service.mynetworks.contains(ip))
    }

    pub(super) fn trace(&self) -> Trace {
        Trace {
            session: Some(self.id),
            message: self.transaction.as_ref().map(|t| t.envelope.id),
        }
    }
}

/// Header lines that tables added go on top, above our Received.
fn with_headers(headers: &[String], received: &str) -> String {
    let mut top = String::new();
    for line in headers {
        top.push_str(line);
        top.push_str("\r\n");
    }
    top + received
}

fn steps(resolution: &Resolution) -> Vec<events::Step> {
    resolution.steps.iter().map(Into::into).collect()
}

fn delivery_event(recipient: &Recipient) -> events::Delivery {
    events::Delivery {
        index: recipient.index,
        final_address: recipient.final_address.to_string(),
        expanded: recipient.expanded,
        target: match &recipient.target {
            Target::Mailbox => "mailbox".to_owned(),
            Target::Remote => "remote".to_owned(),
            Target::Dead { refusal } => format!("dead: {}", refusal.text),
        },
    }
}
