//! What authd decides: logins, administration, the state of its database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Step;

/// A decision of authd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A login was judged good.
    LoginGranted {
        /// `smtp`, `imap` or `pop3`; at the sockets of `[authd.compat]` what the client says, or `passwd`.
        service: String,
        /// The client's address; absent behind a socket that names none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// The mechanism.
        mechanism: String,
        /// The canonical login.
        login: String,
        /// Scheme of the stored password, e.g. `ARGON2ID`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheme: Option<String>,
        /// What let it in: `mailbox`, `app password 7`, `SCRAM keys`, `certificate` or `token`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        row: Option<String>,
        /// Of the row, in hexadecimal: another one after each change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        /// Where the row comes from: `database` or `replica`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// Version and cipher of TLS, where it was active.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<String>,
    },
    /// A login was denied.
    LoginDenied {
        /// `smtp`, `imap` or `pop3`; at the sockets of `[authd.compat]` what the client says, or `passwd`.
        service: String,
        /// The client's address; absent behind a socket that names none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// The mechanism.
        mechanism: String,
        /// The login as given, where one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<String>,
        /// Why, more exactly than the client hears.
        reason: String,
        /// How long the client was made to wait, in milliseconds.
        delay_ms: u64,
        /// Where the row comes from: `database` or `replica`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// Version and cipher of TLS, where it was active.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<String>,
    },
    /// A login could not be judged.
    LoginUnavailable {
        /// `smtp`, `imap` or `pop3`; at the sockets of `[authd.compat]` what the client says, or `passwd`.
        service: String,
        /// The client's address; absent behind a socket that names none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// The mechanism.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mechanism: Option<String>,
        /// The login as given, where one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<String>,
        /// Why.
        reason: String,
        /// Where the row comes from: `database` or `replica`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// Version and cipher of TLS, where it was active.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<String>,
    },
    /// The stored form of a password was replaced by a better one at a login.
    PasswordRehashed {
        /// The login.
        login: String,
        /// The scheme before.
        before: String,
        /// The scheme after.
        after: String,
    },
    /// Keys for SCRAM were kept at a login.
    ScramKeysStored {
        /// The login.
        login: String,
    },
    /// An open session was found to be no longer allowed.
    SessionEnded {
        /// The role that asked: `smtpd`, `imapd` or `pop3d`.
        role: String,
        /// The login.
        login: String,
        /// Why.
        reason: String,
    },
    /// An administrator made authd forget failed logins.
    FailuresForgotten {
        /// The address, network or account.
        target: String,
        /// How many entries.
        count: u32,
    },
    /// A recipient was resolved, for the session and message that the event names.
    RecipientResolved {
        /// The address as asked; `postmaster` where it was bare.
        address: String,
        /// The class of its domain.
        class: String,
        /// `deliver`, the refusal, or the trouble.
        verdict: String,
        /// The least fresh source of its rows: `database`, `cache` or `replica`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        source: String,
        /// The chain of rows.
        steps: Vec<Step>,
    },
    /// A final address was routed.
    Routed {
        /// The final address.
        address: String,
        /// Where it goes.
        route: String,
        /// The least fresh source of its rows: `database`, `cache` or `replica`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        source: String,
    },
    /// A mailbox was looked up.
    MailboxFound {
        /// The final address.
        address: String,
        /// The Maildir below the base, or why there is none.
        answer: String,
        /// The least fresh source of its rows: `database`, `cache` or `replica`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        source: String,
    },
    /// A login wanted to send as an address.
    SenderChecked {
        /// The login.
        login: String,
        /// The envelope sender, or the address in the From field.
        sender: String,
        /// Whether it may.
        owned: bool,
        /// The least fresh source of the rows: `database`, `cache` or `replica`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        source: String,
    },
    /// A question could not be answered.
    QuestionFailed {
        /// The method, e.g. `ResolveRecipient`.
        question: String,
        /// The address that it was about.
        address: String,
        /// Why.
        reason: String,
    },
    /// A server of the database went away.
    DatabaseLost {
        /// The server, as `[authd.mysql] hosts` has it.
        #[serde(default)]
        server: String,
        /// Why.
        reason: String,
    },
    /// A server of the database is back.
    DatabaseBack {
        /// The server, as `[authd.mysql] hosts` has it.
        #[serde(default)]
        server: String,
        /// How long it was away, in milliseconds.
        after_ms: u64,
    },
    /// The copy for the time without the database was brought up to date.
    ReplicaRefreshed {
        /// Whether all rows were read, or those that changed lately.
        whole: bool,
        /// Rows that were read.
        rows: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The copy could not be brought up to date.
    ReplicaRefreshFailed {
        /// Why.
        reason: String,
    },
    /// The database does not answer questions: from now on known rows come from the copy.
    ReplicaInUse {
        /// What the database said, or did not.
        reason: String,
    },
    /// The database answers again.
    ReplicaLeft {
        /// How long it did not, in milliseconds.
        after_ms: u64,
        /// Answers given from the copy meanwhile.
        answers: u64,
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
        /// `domain`, `alias_domain`, `mailbox`, `password`, `app_password`, `alias`, `vacation` or `admin`.
        object: String,
        /// `add`, `set` or `delete`.
        action: String,
        /// The key of the row.
        key: String,
    },
}
