//! Logins: which mechanisms are offered, how an exchange goes, and what is known about logins.

use std::net::SocketAddr;
use std::time::Duration;

use mail_types::{Address, Secret, SessionId};

/// Everything about a connection that a mechanism or the audit may need; sent once, before the exchange.
#[derive(Debug, Clone)]
pub struct LoginContext {
    /// `smtp`, `imap` or `pop3`. `smtp` is the wish to send mail: it needs `mailbox.smtp_active`.
    pub service: String,
    /// The client.
    pub peer: SocketAddr,
    /// Our side of the connection.
    pub local: SocketAddr,
    /// The session's id.
    pub session: SessionId,
    /// TLS, where it is active.
    pub tls: Option<TlsState>,
    /// Whether the peer lies in `login_trusted_networks`: no delay, plaintext allowed.
    pub trusted: bool,
}

/// What a session knows of its TLS layer.
#[derive(Debug, Clone)]
pub struct TlsState {
    /// e.g. `TLSv1.3`.
    pub version: String,
    /// e.g. `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// RFC 9266 binding, where it may be used.
    pub tls_exporter: Vec<u8>,
    /// RFC 5929 binding: hash of the certificate that was sent.
    pub tls_server_end_point: Vec<u8>,
    /// The e-mail addresses in the client's certificate, where one was verified.
    pub client_names: Vec<String>,
}

/// One step of an exchange, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginStep {
    /// Send this to the client (the daemon encodes it in base64) and come back with its answer.
    Challenge(Vec<u8>),
    /// Logged in.
    Success(Account),
    /// Wrong credentials, no such user, disabled: all the same to the client.
    Denied {
        /// How long the daemon waits before it says so.
        delay: Duration,
        /// For the log; never tells the client more than "failed".
        reason: String,
        /// Whether the mechanism itself is not offered here.
        no_mechanism: bool,
        /// Whether nothing was tried, because an initial response came to a mechanism in which the server speaks
        /// first: 501, `BAD`, `-ERR` (RFC 4954 4, RFC 9051 6.2.2, RFC 5034 4).
        malformed: bool,
    },
    /// Database or authd trouble: 454, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`.
    TemporaryFailure {
        /// For the log.
        reason: String,
    },
}

/// Who logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The canonical login: the mailbox's address.
    pub address: Address,
    /// Path of the Maildir below `virtual_mailbox_base`.
    pub maildir: String,
    /// Owner of the files.
    pub uid: u32,
    /// Group of the files.
    pub gid: u32,
    /// Quota in bytes; 0 is unlimited.
    pub quota: u64,
    /// Changes when the row that this login rests on changes.
    pub revision: u64,
}

/// Whether an open session may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validity {
    /// It may.
    Valid,
    /// It must end: the account is gone, inactive or moved, or its password was changed.
    Ended {
        /// Why, for the log.
        reason: String,
    },
}

/// What `ExplainLogin` is asked.
#[derive(Debug, Clone)]
pub struct LoginQuery {
    /// The connection that it is about.
    pub context: LoginContext,
    /// As a user types it.
    pub login: String,
    /// The mechanism.
    pub mechanism: String,
    /// Where given, it is really tried: without delays, and a wrong one is not counted.
    pub password: Option<Secret>,
}

/// How a login is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginExplanation {
    /// The reasoning, in order.
    pub questions: Vec<LoginQuestion>,
    /// Every mechanism that there is.
    pub mechanisms: Vec<MechanismOffer>,
    /// What checks the login, or why it cannot succeed; one sentence.
    pub verdict: String,
    /// Whether the right secret would be let in.
    pub possible: bool,
    /// Whether it is only for now that nobody would be let in: the answer is a temporary failure.
    pub temporary: bool,
    /// What came of the password that was given.
    pub tried: Option<String>,
}

/// One question of the reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginQuestion {
    /// e.g. `mailbox`.
    pub question: String,
    /// What it was asked with.
    pub key: String,
    /// The row or rule; empty where nothing was found. Never a hash.
    pub answer: String,
    /// `database`, `replica`, `state` or `rule`.
    pub source: String,
}

/// Whether a mechanism is offered on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MechanismOffer {
    /// Upper case.
    pub name: String,
    /// Whether it is.
    pub offered: bool,
    /// Why not; empty where it is.
    pub reason: String,
}

/// The failures of an address, of an account, or of an account from an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRecord {
    /// The account; `None` where it is about an address.
    pub account: Option<String>,
    /// The address, or the /64 of an IPv6 one; `None` where it is about an account from anywhere.
    pub network: Option<String>,
    /// How many are remembered.
    pub count: u32,
    /// The last one, seconds since 1970.
    pub last: u64,
    /// How long the next failure is going to wait.
    pub delay: Duration,
    /// When they are forgotten, seconds since 1970.
    pub forgotten: u64,
}

/// Most rows of a list of [`MechanismUsage`]; the mechanisms that need passwords in clear come first, so that none of
/// those is missing before all others are.
pub const MOST_USAGE_ROWS: usize = 20_000;

/// How often somebody logged in with a mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MechanismUsage {
    /// The account.
    pub account: String,
    /// The mechanism.
    pub mechanism: String,
    /// `smtp`, `imap` or `pop3`.
    pub service: String,
    /// Successful logins.
    pub count: u64,
    /// The last one, seconds since 1970.
    pub last: u64,
    /// Whether keys for SCRAM are stored apart from the password.
    pub scram_keys: bool,
}
