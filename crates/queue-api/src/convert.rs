//! Between the plain types and the generated ones. What comes from the other side is checked again.

use std::time::Duration;

use mail_types::{Domain, MailId};

use crate::{
    FinishedRecipient, Flush, QueueError, QueuedMessage, QueuedRecipient, Selection, ShownMessage, Status, pb,
};

/// A message of the other side that makes no sense.
#[derive(Debug)]
pub struct Malformed(pub &'static str);

impl From<Malformed> for QueueError {
    fn from(error: Malformed) -> Self {
        Self::Unavailable(format!("the answer holds a wrong {}", error.0))
    }
}

impl From<Malformed> for tonic::Status {
    fn from(error: Malformed) -> Self {
        Self::invalid_argument(format!("a wrong {}", error.0))
    }
}

pub(crate) fn mail_id(text: &str) -> Result<MailId, Malformed> {
    text.parse().map_err(|_| Malformed("id"))
}

impl From<QueuedMessage> for pb::Message {
    fn from(message: QueuedMessage) -> Self {
        Self {
            id: message.id.to_string(),
            status: match message.status {
                Status::Incoming => pb::Status::Incoming,
                Status::Active => pb::Status::Active,
                Status::Deferred => pb::Status::Deferred,
                Status::Held => pb::Status::Held,
            }
            .into(),
            arrival_ms: message.arrival_ms,
            size: message.size,
            sender: message.sender.to_string(),
            recipients: message.recipients.into_iter().map(Into::into).collect(),
            parent: message.parent.map(|p| p.to_string()).unwrap_or_default(),
        }
    }
}

impl From<QueuedRecipient> for pb::Recipient {
    fn from(recipient: QueuedRecipient) -> Self {
        Self {
            index: recipient.index,
            address: recipient.address,
            original: recipient.original,
            reason: recipient.reason,
            attempts: recipient.attempts,
            next_attempt_ms: recipient
                .next_attempt
                .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            active: recipient.active,
        }
    }
}

impl TryFrom<pb::Message> for QueuedMessage {
    type Error = Malformed;
    fn try_from(message: pb::Message) -> Result<Self, Malformed> {
        Ok(Self {
            id: mail_id(&message.id)?,
            status: match message.status() {
                pb::Status::Incoming => Status::Incoming,
                pb::Status::Active => Status::Active,
                pb::Status::Deferred => Status::Deferred,
                pb::Status::Held => Status::Held,
                pb::Status::Unspecified => return Err(Malformed("status")),
            },
            arrival_ms: message.arrival_ms,
            size: message.size,
            sender: message.sender.parse().map_err(|_| Malformed("sender"))?,
            recipients: message.recipients.into_iter().map(Into::into).collect(),
            parent: match message.parent.as_str() {
                "" => None,
                text => Some(mail_id(text)?),
            },
        })
    }
}

impl From<pb::Recipient> for QueuedRecipient {
    fn from(recipient: pb::Recipient) -> Self {
        Self {
            index: recipient.index,
            address: recipient.address,
            original: recipient.original,
            reason: recipient.reason,
            attempts: recipient.attempts,
            next_attempt: recipient.next_attempt_ms.map(Duration::from_millis),
            active: recipient.active,
        }
    }
}

impl From<ShownMessage> for pb::ShowResponse {
    fn from(shown: ShownMessage) -> Self {
        Self {
            message: Some(shown.message.into()),
            header: shown.header,
            finished: shown
                .finished
                .into_iter()
                .map(|f| pb::FinalRecipient {
                    index: f.index,
                    address: f.address,
                    outcome: f.outcome,
                    reply: f.reply,
                })
                .collect(),
        }
    }
}

impl TryFrom<pb::ShowResponse> for ShownMessage {
    type Error = Malformed;
    fn try_from(shown: pb::ShowResponse) -> Result<Self, Malformed> {
        Ok(Self {
            message: shown.message.ok_or(Malformed("message"))?.try_into()?,
            header: shown.header,
            finished: shown
                .finished
                .into_iter()
                .map(|f| FinishedRecipient {
                    index: f.index,
                    address: f.address,
                    outcome: f.outcome,
                    reply: f.reply,
                })
                .collect(),
        })
    }
}

impl From<&Flush> for pb::FlushRequest {
    fn from(flush: &Flush) -> Self {
        Self {
            id: match flush {
                Flush::Message(id) => Some(id.to_string()),
                _ => None,
            },
            domain: match flush {
                Flush::Domain(domain) => Some(domain.to_string()),
                _ => None,
            },
        }
    }
}

impl TryFrom<pb::FlushRequest> for Flush {
    type Error = Malformed;
    fn try_from(request: pb::FlushRequest) -> Result<Self, Malformed> {
        match (request.id, request.domain) {
            (None, None) => Ok(Self::All),
            (Some(id), None) => Ok(Self::Message(mail_id(&id)?)),
            (None, Some(domain)) => Ok(Self::Domain(
                Domain::new(&domain).map_err(|_| Malformed("domain"))?,
            )),
            (Some(_), Some(_)) => Err(Malformed("choice of both id and domain")),
        }
    }
}

impl From<&Selection> for pb::SelectRequest {
    fn from(selection: &Selection) -> Self {
        match selection {
            Selection::All => Self {
                ids: Vec::new(),
                all: true,
            },
            Selection::Ids(ids) => Self {
                ids: ids.iter().map(ToString::to_string).collect(),
                all: false,
            },
        }
    }
}

impl TryFrom<pb::SelectRequest> for Selection {
    type Error = Malformed;
    fn try_from(request: pb::SelectRequest) -> Result<Self, Malformed> {
        if request.all {
            return if request.ids.is_empty() {
                Ok(Self::All)
            } else {
                Err(Malformed("choice of both ids and all"))
            };
        }
        Ok(Self::Ids(
            request
                .ids
                .iter()
                .map(|id| mail_id(id))
                .collect::<Result<_, _>>()?,
        ))
    }
}
