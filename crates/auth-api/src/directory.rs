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
    /// Has aliases only, or mirrors another domain (alias_domain).
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

/// Where an answer comes from, the freshest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A rule or an option; no row was asked for.
    Rule,
    /// The tables, just now.
    Database,
    /// The tables, some seconds ago; only rows that are there.
    Cache,
    /// The copy for the time when the tables are away.
    Replica,
}

impl Source {
    /// The word in events and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::Replica => "replica",
        }
    }
}

/// One step of the reasoning: the question asked and the row or rule that answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The address on the way that this was asked for.
    pub of: String,
    /// How many aliases led to that address; with the order of the steps this makes a tree.
    pub depth: u32,
    /// The question, e.g. `alias`.
    pub question: String,
    /// The key it was asked with.
    pub key: String,
    /// The row or rule, e.g. `alias.goto = bob@example.com`; empty where nothing was found.
    pub answer: String,
    /// Where this was looked up.
    pub source: Source,
}

impl From<&Step> for events::Step {
    fn from(step: &Step) -> Self {
        Self {
            question: step.question.clone(),
            key: step.key.clone(),
            answer: step.answer.clone(),
            source: step.source.as_str().to_owned(),
            of: step.of.clone(),
            depth: step.depth,
        }
    }
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

/// As a transport table would write it.
impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => write!(f, "local"),
            Self::Smtp(hop) => {
                let (host, port) = (&hop.host, hop.port);
                if hop.use_mx {
                    write!(f, "smtp:{host}")?;
                } else {
                    write!(f, "smtp:[{host}]")?;
                }
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Self::Lmtp(LmtpHop::Unix(path)) => write!(f, "lmtp:unix:{path}"),
            Self::Lmtp(LmtpHop::Tcp { host, port }) => write!(f, "lmtp:{host}:{port}"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::Retry(text) => write!(f, "retry: {text}"),
            Self::Discard => write!(f, "discard"),
            Self::Unknown(refusal) => write!(f, "unknown: {}", refusal.text),
            Self::Misconfigured(reason) => write!(f, "misconfigured: {reason}"),
        }
    }
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

/// A question that can be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Where does this recipient deliver?
    Recipient(Recipient),
    /// How is this final address routed?
    Route(Address),
    /// Which Maildir has this final address?
    Mailbox(Address),
    /// May this login send as this address?
    SenderLogin {
        /// The login.
        login: Address,
        /// The envelope sender.
        sender: Address,
    },
}

/// The answer to a [`Question`], of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its `steps` are empty: the explanation has them.
    Recipient(Resolution),
    /// See [`Question::Route`].
    Route(Route),
    /// See [`Question::Mailbox`].
    Mailbox(MailboxAnswer),
    /// See [`Question::SenderLogin`].
    SenderLogin(SenderLogin),
}

/// An answer with its whole reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The answer, or why there is none now: the other daemons hear a temporary failure.
    pub answer: Result<Answer, String>,
    /// Everything that was asked, also on the way to no answer.
    pub steps: Vec<Step>,
}

/// An absence notice (PostfixAdmin: `vacation`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vacation {
    /// Whose it is.
    pub address: Address,
    /// Subject of the reply; `$SUBJECT` is not yet replaced.
    pub subject: String,
    /// Text of the reply; `<%From_Date>` and `<%Until_Date>` are not yet replaced.
    pub body: String,
    /// First second of the absence, since 1970; `None`: it has begun.
    pub active_from: Option<i64>,
    /// Last second of the absence; `None`: it is open.
    pub active_until: Option<i64>,
    /// Seconds between two replies to one sender; 0: one reply.
    pub interval_seconds: i64,
}

/// How full a mailbox is, as the tables say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// The row.
    Found {
        /// Bytes.
        bytes: u64,
        /// Messages.
        messages: u64,
    },
    /// There is no such mailbox.
    Unknown(Refusal),
    /// The mailbox has no row, or the schema no table.
    NotCounted,
}
