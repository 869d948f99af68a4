//! What authd decides: logins, administration, the state of its database.

use serde::{Deserialize, Serialize};

/// A decision of authd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A login was judged good.
    LoginGranted {
        /// `smtp`, `imap` or `pop3`.
        service: String,
        /// The client's address.
        client: String,
        /// The mechanism.
        mechanism: String,
        /// The canonical login.
        login: String,
        /// Scheme of the stored password, e.g. `ARGON2ID`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheme: Option<String>,
    },
    /// A login was denied.
    LoginDenied {
        /// `smtp`, `imap` or `pop3`.
        service: String,
        /// The client's address.
        client: String,
        /// The mechanism.
        mechanism: String,
        /// The login as given, where one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<String>,
        /// Why, more exactly than the client hears.
        reason: String,
        /// How long the client was made to wait, in milliseconds.
        delay_ms: u64,
    },
    /// A login could not be judged.
    LoginUnavailable {
        /// `smtp`, `imap` or `pop3`.
        service: String,
        /// The client's address.
        client: String,
        /// Why.
        reason: String,
    },
    /// The database went away.
    DatabaseLost {
        /// Why.
        reason: String,
    },
    /// The database is back.
    DatabaseBack {
        /// How long it was away, in milliseconds.
        after_ms: u64,
    },
    /// The tables were recognised.
    SchemaProbed {
        /// The profile, e.g. `postfixadmin`.
        profile: String,
        /// What was found, e.g. `3.3`.
        version: String,
    },
    /// An administrator changed something.
    AdminChanged {
        /// `domain`, `mailbox`, `alias` or `password`.
        object: String,
        /// `add`, `set` or `delete`.
        action: String,
        /// The key of the row.
        key: String,
    },
}
