//! Questions about addresses: where does this recipient deliver, how is this address routed, which
//! Maildir is it, may this login send as that address.

use mail_types::{Address, EnhancedStatus};

/// Whom `ResolveRecipient` is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// An address as typed.
    Address(Address),
    /// Bare `<postmaster>` (RFC 5321 4.5.1): the configured `postmaster_address` gets it.
    Postmaster,
}

/// The class of a recipient's domain (Postfix ADDRESS_CLASS_README; compat.md 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainClass {
    /// Mailboxes here.
    Mailbox,
    /// Mirrors another domain (alias_domain).
    Alias,
    /// We are backup MX, or the domain's transport sends it elsewhere: accepted from everybody, relayed.
    Relay,
    /// Not ours: only for own networks and authenticated users.
    Foreign,
}

/// One final delivery that came out of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The address after expansion.
    pub final_address: Address,
    /// Whether an alias (or catch-all or alias domain) changed it. Identity rows and extensions do not count.
    pub expanded: bool,
    /// What it is.
    pub target: Target,
}

/// What a final address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A mailbox of this host.
    Mailbox,
    /// Another host; `Route` says which.
    Remote,
    /// An address of ours that does not exist: delivered to nobody, bounced. Only beside live targets.
    Dead {
        /// The reason as at RCPT.
        refusal: Refusal,
    },
}

/// Why a recipient is refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 550 as a rule.
    pub code: u16,
    /// 5.1.1 as a rule.
    pub status: EnhancedStatus,
    /// The words after `Recipient address rejected: ` (compat.md 2.6), e.g.
    /// `User unknown in virtual mailbox table`.
    pub text: String,
}

/// One step of the reasoning: the question asked and the row or rule that answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The question, e.g. `alias`.
    pub question: String,
    /// The key it was asked with.
    pub key: String,
    /// The row or rule, e.g. `alias.goto = bob@example.com`; empty where nothing was found.
    pub answer: String,
}

/// What authd says of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The class of the domain as typed.
    pub class: DomainClass,
    /// The verdict. For class [`DomainClass::Foreign`] it is `Deliver` with remote targets: whether that
    /// is allowed is the caller's decision (relay rules).
    pub verdict: Verdict,
    /// The chain of rows that led there.
    pub steps: Vec<Step>,
}

/// The verdict about a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// At least one live target; in the order of expansion, each (original, final) pair once.
    Deliver(Vec<Delivery>),
    /// Refused for good.
    Refuse(Refusal),
    /// An alias loop or a limit: `451 4.6.0 Alias expansion error` (compat.md 2.3).
    ExpansionError(String),
}

/// How a final address leaves qmgr (no alias expansion).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Final delivery on this host, through deliver.
    Local,
    /// SMTP to a domain by its MX records, or to a host by its address records.
    Smtp(NextHop),
    /// LMTP to another server.
    Lmtp(LmtpHop),
    /// Bounced with this text (transport `error:`), 5.x.x in front of it or 5.0.0.
    Error(String),
    /// Deferred with this text (transport `retry:`).
    Retry(String),
    /// Dropped and logged (transport `discard:`).
    Discard,
    /// An address of ours that no longer exists.
    Unknown(Refusal),
    /// The table says something that we cannot do (`4.3.5`), with the reason.
    Misconfigured(String),
}

/// An SMTP next hop as transport_maps and relayhost write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// A domain or a host name, or an address literal without brackets where `use_mx` is false.
    pub host: String,
    /// None: 25.
    pub port: Option<u16>,
    /// Whether MX records are looked up: false for `[host]`.
    pub use_mx: bool,
    /// Whether the transport table named it. Only where this is false may `relayhost` take its place.
    pub explicit: bool,
}

/// An LMTP next hop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LmtpHop {
    /// `lmtp:unix:/path`.
    Unix(String),
    /// `lmtp:host:port`; port 24 where none is named.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Where a mailbox lies and who owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The mailbox's own address, as its row spells it, lower case.
    pub address: Address,
    /// Path below `virtual_mailbox_base`, from the row, checked: relative, no `..`, no NUL.
    pub maildir: String,
    /// Owner of the files.
    pub uid: u32,
    /// Group of the files.
    pub gid: u32,
    /// Quota in bytes; 0 is unlimited. (Enforced from a later issue on.)
    pub quota: u64,
}

/// The answer to `LookupMailbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxAnswer {
    /// It exists.
    Found(Mailbox),
    /// It does not (any more).
    Unknown(Refusal),
    /// Its row cannot be used: uid below `virtual_minimum_uid`, a path that leaves the base (`4.3.5`).
    Misconfigured(String),
}

/// The answer to `CheckSenderLogin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderLogin {
    /// The login may send as this address.
    Owned,
    /// It may not.
    NotOwned,
}
