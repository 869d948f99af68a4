//! `postrider.directory.v1`.

use super::{Malformed, address};
use crate::directory::{
    Delivery, DomainClass, LmtpHop, Mailbox, MailboxAnswer, NextHop, Recipient, Refusal, Resolution, Route,
    Source, Step, Target, Verdict,
};
use crate::pb::directory as pb;

impl From<&Recipient> for pb::ResolveRecipientRequest {
    fn from(recipient: &Recipient) -> Self {
        use pb::resolve_recipient_request::Recipient as R;
        Self {
            recipient: Some(match recipient {
                Recipient::Address(address) => R::Address(address.to_string()),
                Recipient::Postmaster => R::Postmaster(pb::Postmaster {}),
            }),
        }
    }
}

impl TryFrom<pb::ResolveRecipientRequest> for Recipient {
    type Error = Malformed;
    fn try_from(request: pb::ResolveRecipientRequest) -> Result<Self, Malformed> {
        use pb::resolve_recipient_request::Recipient as R;
        match request.recipient.ok_or(Malformed("recipient"))? {
            R::Address(text) => Ok(Self::Address(address(&text)?)),
            R::Postmaster(_) => Ok(Self::Postmaster),
        }
    }
}

impl From<DomainClass> for pb::DomainClass {
    fn from(class: DomainClass) -> Self {
        match class {
            DomainClass::Mailbox => Self::Mailbox,
            DomainClass::Alias => Self::Alias,
            DomainClass::Relay => Self::Relay,
            DomainClass::Foreign => Self::Foreign,
        }
    }
}

impl TryFrom<pb::DomainClass> for DomainClass {
    type Error = Malformed;
    fn try_from(class: pb::DomainClass) -> Result<Self, Malformed> {
        match class {
            pb::DomainClass::Mailbox => Ok(Self::Mailbox),
            pb::DomainClass::Alias => Ok(Self::Alias),
            pb::DomainClass::Relay => Ok(Self::Relay),
            pb::DomainClass::Foreign => Ok(Self::Foreign),
            pb::DomainClass::Unspecified => Err(Malformed("domain class")),
        }
    }
}

impl From<Refusal> for pb::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: u32::from(refusal.code),
            status: refusal.status.to_string(),
            text: refusal.text,
        }
    }
}

impl TryFrom<pb::Refusal> for Refusal {
    type Error = Malformed;
    fn try_from(refusal: pb::Refusal) -> Result<Self, Malformed> {
        Ok(Self {
            code: u16::try_from(refusal.code).map_err(|_| Malformed("reply code"))?,
            status: refusal
                .status
                .parse()
                .map_err(|()| Malformed("enhanced status"))?,
            text: refusal.text,
        })
    }
}

impl From<Delivery> for pb::Delivery {
    fn from(delivery: Delivery) -> Self {
        use pb::delivery::Target as T;
        Self {
            final_address: delivery.final_address.to_string(),
            expanded: delivery.expanded,
            target: Some(match delivery.target {
                Target::Mailbox => T::Mailbox(pb::MailboxTarget {}),
                Target::Remote => T::Remote(pb::RemoteTarget {}),
                Target::Dead { refusal } => T::Dead(refusal.into()),
            }),
        }
    }
}

impl TryFrom<pb::Delivery> for Delivery {
    type Error = Malformed;
    fn try_from(delivery: pb::Delivery) -> Result<Self, Malformed> {
        use pb::delivery::Target as T;
        Ok(Self {
            final_address: address(&delivery.final_address)?,
            expanded: delivery.expanded,
            target: match delivery.target.ok_or(Malformed("delivery target"))? {
                T::Mailbox(_) => Target::Mailbox,
                T::Remote(_) => Target::Remote,
                T::Dead(refusal) => Target::Dead {
                    refusal: refusal.try_into()?,
                },
            },
        })
    }
}

impl From<Source> for pb::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Rule => Self::Rule,
            Source::Database => Self::Database,
            Source::Cache => Self::Cache,
            Source::Replica => Self::Replica,
        }
    }
}

/// Reads a source.
pub fn source(number: i32) -> Result<Source, Malformed> {
    match pb::Source::try_from(number) {
        Ok(pb::Source::Rule) => Ok(Source::Rule),
        Ok(pb::Source::Database) => Ok(Source::Database),
        Ok(pb::Source::Cache) => Ok(Source::Cache),
        Ok(pb::Source::Replica) => Ok(Source::Replica),
        Ok(pb::Source::Unspecified) | Err(_) => Err(Malformed("source")),
    }
}

impl From<Step> for pb::Step {
    fn from(step: Step) -> Self {
        Self {
            question: step.question,
            key: step.key,
            answer: step.answer,
            source: pb::Source::from(step.source).into(),
            of: step.of,
            depth: step.depth,
        }
    }
}

impl TryFrom<pb::Step> for Step {
    type Error = Malformed;
    fn try_from(step: pb::Step) -> Result<Self, Malformed> {
        Ok(Self {
            source: source(step.source)?,
            question: step.question,
            key: step.key,
            answer: step.answer,
            of: step.of,
            depth: step.depth,
        })
    }
}

/// Reads the steps of an answer.
pub fn steps(steps: Vec<pb::Step>) -> Result<Vec<Step>, Malformed> {
    steps.into_iter().map(TryInto::try_into).collect()
}

impl From<Resolution> for pb::ResolveRecipientResponse {
    fn from(resolution: Resolution) -> Self {
        use pb::resolve_recipient_response::Verdict as V;
        Self {
            class: pb::DomainClass::from(resolution.class).into(),
            verdict: Some(match resolution.verdict {
                Verdict::Deliver(list) => V::Deliver(pb::Deliveries {
                    deliveries: list.into_iter().map(Into::into).collect(),
                }),
                Verdict::Refuse(refusal) => V::Refuse(refusal.into()),
                Verdict::ExpansionError(text) => V::ExpansionError(text),
            }),
            steps: resolution.steps.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ResolveRecipientResponse> for Resolution {
    type Error = Malformed;
    fn try_from(response: pb::ResolveRecipientResponse) -> Result<Self, Malformed> {
        use pb::resolve_recipient_response::Verdict as V;
        let class = response.class().try_into()?;
        let verdict = match response.verdict.ok_or(Malformed("verdict"))? {
            V::Deliver(list) => {
                let list: Vec<Delivery> = list
                    .deliveries
                    .into_iter()
                    .map(TryInto::try_into)
                    .collect::<Result<_, _>>()?;
                // A delivery to nobody would be a message that is accepted and lost.
                if !list.iter().any(|d| !matches!(d.target, Target::Dead { .. })) {
                    return Err(Malformed("delivery list"));
                }
                Verdict::Deliver(list)
            }
            V::Refuse(refusal) => Verdict::Refuse(refusal.try_into()?),
            V::ExpansionError(text) => Verdict::ExpansionError(text),
        };
        Ok(Self {
            class,
            verdict,
            steps: steps(response.steps)?,
        })
    }
}

impl From<Route> for pb::RouteResponse {
    fn from(route: Route) -> Self {
        use pb::lmtp_route::Hop;
        use pb::route_response::Route as R;
        Self {
            route: Some(match route {
                Route::Local => R::Local(pb::LocalRoute {}),
                Route::Smtp(hop) => R::Smtp(pb::SmtpRoute {
                    host: hop.host,
                    port: hop.port.map_or(0, u32::from),
                    use_mx: hop.use_mx,
                    explicit: hop.explicit,
                }),
                Route::Lmtp(hop) => R::Lmtp(pb::LmtpRoute {
                    hop: Some(match hop {
                        LmtpHop::Unix(path) => Hop::Unix(path),
                        LmtpHop::Tcp { host, port } => Hop::Tcp(pb::LmtpTcp {
                            host,
                            port: u32::from(port),
                        }),
                    }),
                }),
                Route::Error(text) => R::Error(text),
                Route::Retry(text) => R::Retry(text),
                Route::Discard => R::Discard(pb::DiscardRoute {}),
                Route::Unknown(refusal) => R::Unknown(refusal.into()),
                Route::Misconfigured(text) => R::Misconfigured(text),
            }),
        }
    }
}

/// Reads a port number.
fn port(number: u32) -> Result<u16, Malformed> {
    u16::try_from(number).map_err(|_| Malformed("port"))
}

impl TryFrom<pb::RouteResponse> for Route {
    type Error = Malformed;
    fn try_from(response: pb::RouteResponse) -> Result<Self, Malformed> {
        use pb::lmtp_route::Hop;
        use pb::route_response::Route as R;
        Ok(match response.route.ok_or(Malformed("route"))? {
            R::Local(_) => Self::Local,
            R::Smtp(hop) => Self::Smtp(NextHop {
                host: hop.host,
                port: (hop.port != 0).then(|| port(hop.port)).transpose()?,
                use_mx: hop.use_mx,
                explicit: hop.explicit,
            }),
            R::Lmtp(hop) => Self::Lmtp(match hop.hop.ok_or(Malformed("LMTP hop"))? {
                Hop::Unix(path) => LmtpHop::Unix(path),
                Hop::Tcp(tcp) => LmtpHop::Tcp {
                    host: tcp.host,
                    port: port(tcp.port)?,
                },
            }),
            R::Error(text) => Self::Error(text),
            R::Retry(text) => Self::Retry(text),
            R::Discard(_) => Self::Discard,
            R::Unknown(refusal) => Self::Unknown(refusal.try_into()?),
            R::Misconfigured(text) => Self::Misconfigured(text),
        })
    }
}

impl From<MailboxAnswer> for pb::LookupMailboxResponse {
    fn from(answer: MailboxAnswer) -> Self {
        use pb::lookup_mailbox_response::Answer as A;
        Self {
            answer: Some(match answer {
                MailboxAnswer::Found(mailbox) => A::Found(pb::Mailbox {
                    address: mailbox.address.to_string(),
                    maildir: mailbox.maildir,
                    uid: mailbox.uid,
                    gid: mailbox.gid,
                    quota: mailbox.quota,
                }),
                MailboxAnswer::Unknown(refusal) => A::Unknown(refusal.into()),
                MailboxAnswer::Misconfigured(text) => A::Misconfigured(text),
            }),
        }
    }
}

impl TryFrom<pb::LookupMailboxResponse> for MailboxAnswer {
    type Error = Malformed;
    fn try_from(response: pb::LookupMailboxResponse) -> Result<Self, Malformed> {
        use pb::lookup_mailbox_response::Answer as A;
        Ok(match response.answer.ok_or(Malformed("mailbox answer"))? {
            A::Found(mailbox) => Self::Found(Mailbox {
                address: address(&mailbox.address)?,
                maildir: mailbox.maildir,
                uid: mailbox.uid,
                gid: mailbox.gid,
                quota: mailbox.quota,
            }),
            A::Unknown(refusal) => Self::Unknown(refusal.try_into()?),
            A::Misconfigured(text) => Self::Misconfigured(text),
        })
    }
}
