//! What imapd and pop3d decide: sessions, logins, changes of mailboxes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Tls;

/// A decision of imapd or pop3d.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A client connected.
    Connected {
        /// `imap`, `imaps`, `pop3` or `pop3s`.
        service: String,
        /// Address and port of the client.
        client: String,
        /// Our address and port.
        local: String,
    },
    /// TLS is active.
    TlsStarted {
        /// How.
        tls: Tls,
    },
    /// The TLS handshake failed.
    TlsFailed {
        /// Why.
        reason: String,
    },
    /// A login succeeded.
    AuthSucceeded {
        /// The mechanism.
        mechanism: String,
        /// The canonical login.
        login: String,
    },
    /// A login failed.
    AuthFailed {
        /// The mechanism.
        mechanism: String,
        /// Why, for the log.
        reason: String,
    },
    /// A login could not be judged.
    AuthUnavailable {
        /// The mechanism.
        mechanism: String,
        /// Why.
        reason: String,
    },
    /// A mailbox was opened.
    Opened {
        /// The login.
        login: String,
        /// The folder.
        folder: String,
        /// Messages in it.
        messages: u64,
    },
    /// Messages left a mailbox for good.
    Expunged {
        /// The login.
        login: String,
        /// The folder.
        folder: String,
        /// How many.
        messages: u64,
    },
    /// A client stored a message (APPEND).
    Appended {
        /// The login.
        login: String,
        /// The folder.
        folder: String,
        /// Octets.
        size: u64,
    },
    /// A folder was made, renamed or deleted.
    FolderChanged {
        /// The login.
        login: String,
        /// `create`, `rename` or `delete`.
        action: String,
        /// The folder.
        folder: String,
    },
    /// The session was closed for its behaviour.
    Abuse {
        /// What it did.
        reason: String,
    },
    /// The session ended.
    Disconnected {
        /// `LOGOUT`, `QUIT`, `timeout`, `connection lost`, `shutdown`...
        reason: String,
    },
}
