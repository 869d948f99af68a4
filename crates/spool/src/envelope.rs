//! What the spool keeps of a message beside its body: envelope, parameters, recipients and their states.

use mail_types::{Address, MailId, Notify, OriginalRecipient, Reply, Ret, ReversePath, SessionId};

/// Everything of a message but its id and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Wall time of arrival in milliseconds since 1970.
    pub arrival_ms: u64,
    /// The session that brought it; none for messages made here.
    pub session: Option<SessionId>,
    /// The message that caused this one (the bounced message of a bounce).
    pub parent: Option<MailId>,
    /// The envelope sender.
    pub sender: ReversePath,
    /// What the body needs of a transport.
    pub body: BodyType,
    /// Whether SMTPUTF8 was given (RFC 6531).
    pub smtputf8: bool,
    /// `RET=` (RFC 3461 4.3).
    pub ret: Option<Ret>,
    /// `ENVID=`, decoded from xtext (RFC 3461 4.4).
    pub envid: Option<String>,
    /// Header lines that go on top of the body (Received), each ending in CRLF.
    pub top: String,
    /// The recipients; every index only once.
    pub recipients: Vec<Recipient>,
    /// The originals with NOTIFY=SUCCESS that were expanded to several targets: one *expanded* report
    /// each (RFC 3461 5.2.7.3 c). Their recipients carry NOTIFY without SUCCESS.
    pub expanded: Vec<ExpandedOriginal>,
}

/// Whether the body is 7-bit (RFC 1652).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    /// Only octets below 128.
    SevenBit,
    /// Octets of 128 and above, lines still ending in CRLF.
    EightBit,
}

/// One recipient after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The index given at expansion over the whole message; with the id it is the delivery key.
    pub index: u32,
    /// The address as the client typed it.
    pub original: Address,
    /// The address after expansion; none where authd was not asked yet (messages made by qmgr).
    pub final_address: Option<Address>,
    /// Whether an alias led from original to final.
    pub expanded: bool,
    /// `NOTIFY=`; none means the default.
    pub notify: Option<Notify>,
    /// `ORCPT=`.
    pub orcpt: Option<OriginalRecipient>,
    /// What is known already when the message enters the spool.
    pub state: InitialState,
}

/// The state of a recipient when the message enters the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialState {
    /// To be delivered.
    Waiting,
    /// To be delivered; an attempt may have succeeded without our seeing the reply.
    MaybeRepeated,
    /// Delivered, with the reply (kept for NOTIFY=SUCCESS).
    Delivered(Reply),
    /// Refused for good, with the reply; the sender gets a bounce.
    Failed(Reply),
}

/// An original address that is owed an *expanded* report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandedOriginal {
    /// The address as typed.
    pub original: Address,
    /// Its `ORCPT=`.
    pub orcpt: Option<OriginalRecipient>,
}
