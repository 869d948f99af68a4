//! The trailer and the parts of it that journal records share, as JSON (docs/formats/spool.md).

use mail_types::{Address, EnhancedStatus, MailId, Notify, OriginalRecipient, Reply, Ret, ReversePath};
use serde::{Deserialize, Serialize};

use crate::envelope::{BodyType, Envelope, ExpandedOriginal, InitialState, Recipient};
use crate::error::Damage;

/// Most recipients that one message may have, expansion included.
pub(crate) const MAX_RECIPIENTS: usize = 100_000;

#[derive(Serialize, Deserialize)]
pub(crate) struct TrailerWire {
    arrival_ms: u64,
    session: Option<String>,
    parent: Option<String>,
    sender: String,
    body: String,
    smtputf8: bool,
    ret: Option<String>,
    envid: Option<String>,
    top: String,
    recipients: Vec<RecipientWire>,
    #[serde(default)]
    expanded: Vec<ExpandedWire>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecipientWire {
    index: u32,
    original: String,
    #[serde(rename = "final")]
    final_address: Option<String>,
    expanded: bool,
    notify: Option<String>,
    orcpt: Option<String>,
    state: StateWire,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StateWire {
    Waiting,
    MaybeRepeated,
    Delivered(ReplyWire),
    Failed(ReplyWire),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyWire {
    code: u16,
    status: Option<String>,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct ExpandedWire {
    original: String,
    orcpt: Option<String>,
}

impl From<&Reply> for ReplyWire {
    fn from(reply: &Reply) -> Self {
        Self {
            code: reply.code,
            status: reply.status.map(|s| s.to_string()),
            text: reply.text.clone(),
        }
    }
}

impl TryFrom<ReplyWire> for Reply {
    type Error = Damage;
    fn try_from(wire: ReplyWire) -> Result<Self, Damage> {
        if !(200..600).contains(&wire.code) {
            return Err(Damage::new("a reply code outside 200 to 599"));
        }
        let status: Option<EnhancedStatus> = match wire.status {
            Some(text) => Some(text.parse().map_err(|()| Damage::new("an enhanced status"))?),
            None => None,
        };
        Ok(Self {
            code: wire.code,
            status,
            text: wire.text,
        })
    }
}

impl From<&Recipient> for RecipientWire {
    fn from(recipient: &Recipient) -> Self {
        Self {
            index: recipient.index,
            original: recipient.original.to_string(),
            final_address: recipient.final_address.as_ref().map(ToString::to_string),
            expanded: recipient.expanded,
            notify: recipient.notify.map(|n| n.to_string()),
            orcpt: recipient.orcpt.as_ref().map(ToString::to_string),
            state: match &recipient.state {
                InitialState::Waiting => StateWire::Waiting,
                InitialState::MaybeRepeated => StateWire::MaybeRepeated,
                InitialState::Delivered(reply) => StateWire::Delivered(reply.into()),
                InitialState::Failed(reply) => StateWire::Failed(reply.into()),
            },
        }
    }
}

impl TryFrom<RecipientWire> for Recipient {
    type Error = Damage;
    fn try_from(wire: RecipientWire) -> Result<Self, Damage> {
        Ok(Self {
            index: wire.index,
            original: address(&wire.original)?,
            final_address: wire.final_address.as_deref().map(address).transpose()?,
            expanded: wire.expanded,
            notify: match wire.notify {
                Some(text) => Some(Notify::parse(&text).ok_or_else(|| Damage::new("a NOTIFY value"))?),
                None => None,
            },
            orcpt: orcpt(wire.orcpt)?,
            state: match wire.state {
                StateWire::Waiting => InitialState::Waiting,
                StateWire::MaybeRepeated => InitialState::MaybeRepeated,
                StateWire::Delivered(reply) => InitialState::Delivered(reply.try_into()?),
                StateWire::Failed(reply) => InitialState::Failed(reply.try_into()?),
            },
        })
    }
}

fn address(text: &str) -> Result<Address, Damage> {
    Address::parse(text).map_err(|e| Damage::new(format!("an address: {e}")))
}

fn orcpt(text: Option<String>) -> Result<Option<OriginalRecipient>, Damage> {
    text.map(|t| OriginalRecipient::parse(&t).ok_or_else(|| Damage::new("an ORCPT value")))
        .transpose()
}

/// The trailer of `envelope` as JSON.
pub(crate) fn encode(envelope: &Envelope) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&TrailerWire {
        arrival_ms: envelope.arrival_ms,
        session: envelope.session.map(|s| s.to_string()),
        parent: envelope.parent.map(|p| p.to_string()),
        sender: envelope.sender.to_string(),
        body: match envelope.body {
            BodyType::SevenBit => "7bit".to_owned(),
            BodyType::EightBit => "8bitmime".to_owned(),
        },
        smtputf8: envelope.smtputf8,
        ret: envelope.ret.map(|ret| match ret {
            Ret::Full => "FULL".to_owned(),
            Ret::Headers => "HDRS".to_owned(),
        }),
        envid: envelope.envid.clone(),
        top: envelope.top.clone(),
        recipients: envelope.recipients.iter().map(Into::into).collect(),
        expanded: envelope
            .expanded
            .iter()
            .map(|e| ExpandedWire {
                original: e.original.to_string(),
                orcpt: e.orcpt.as_ref().map(ToString::to_string),
            })
            .collect(),
    })
}

/// The envelope in a trailer; every value is checked again.
pub(crate) fn decode(json: &[u8]) -> Result<Envelope, Damage> {
    let wire: TrailerWire =
        serde_json::from_slice(json).map_err(|e| Damage::new(format!("the trailer: {e}")))?;
    let id = |text: String| -> Result<MailId, Damage> { text.parse().map_err(|_| Damage::new("an id")) };
    let envelope = Envelope {
        arrival_ms: wire.arrival_ms,
        session: wire
            .session
            .map(|s| s.parse().map_err(|_| Damage::new("a session id")))
            .transpose()?,
        parent: wire.parent.map(id).transpose()?,
        sender: wire
            .sender
            .parse::<ReversePath>()
            .map_err(|e| Damage::new(format!("the sender: {e}")))?,
        body: match wire.body.as_str() {
            "7bit" => BodyType::SevenBit,
            "8bitmime" => BodyType::EightBit,
            _ => return Err(Damage::new("a body type")),
        },
        smtputf8: wire.smtputf8,
        ret: match wire.ret.as_deref() {
            None => None,
            Some("FULL") => Some(Ret::Full),
            Some("HDRS") => Some(Ret::Headers),
            Some(_) => return Err(Damage::new("a RET value")),
        },
        envid: wire.envid,
        top: wire.top,
        recipients: wire
            .recipients
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
        expanded: wire
            .expanded
            .into_iter()
            .map(|e| {
                Ok(ExpandedOriginal {
                    original: address(&e.original)?,
                    orcpt: orcpt(e.orcpt)?,
                })
            })
            .collect::<Result<_, Damage>>()?,
    };
    check(&envelope).map_err(Damage)?;
    Ok(envelope)
}

/// What must hold in every envelope, whoever made it.
pub(crate) fn check(envelope: &Envelope) -> Result<(), String> {
    if envelope.recipients.is_empty() || envelope.recipients.len() > MAX_RECIPIENTS {
        return Err(format!("{} recipients", envelope.recipients.len()));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = envelope.recipients.iter().find(|r| !seen.insert(r.index)) {
        return Err(format!("recipient index {} twice", twice.index));
    }
    let lines_end = envelope.top.is_empty() || envelope.top.ends_with("\r\n");
    let bare = envelope.top.replace("\r\n", "").contains(['\r', '\n']);
    if !lines_end || bare || envelope.top.contains("\r\n\r\n") || envelope.top.contains('\0') {
        return Err("header lines on top that are not whole lines".to_owned());
    }
    if envelope
        .envid
        .as_deref()
        .is_some_and(|e| e.chars().any(char::is_control))
    {
        return Err("a control character in ENVID".to_owned());
    }
    Ok(())
}
