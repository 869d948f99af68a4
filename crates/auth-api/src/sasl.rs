//! Logins: which mechanisms are offered and how an exchange goes.

use std::net::SocketAddr;
use std::time::Duration;

use mail_types::{Address, SessionId};

/// Everything about a connection that a mechanism or the audit may need; sent once, before the exchange.
#[derive(Debug, Clone)]
pub struct LoginContext {
    /// `smtp`, `imap` or `pop3`.
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
