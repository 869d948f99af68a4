//! Administration: what PostfixAdmin does with its tables, as far as the Admin service goes.

use mail_types::{Address, Domain};

/// A row of `domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRecord {
    /// The name.
    pub domain: Domain,
    /// Free text.
    pub description: String,
    /// `virtual`, or a Postfix transport text (compat.md 1.4).
    pub transport: String,
    /// We are only backup MX.
    pub backupmx: bool,
    /// False: does not exist for mail.
    pub active: bool,
    /// Most aliases: 0 unlimited, -1 none.
    pub aliases: i64,
    /// Most mailboxes: 0 unlimited, -1 none.
    pub mailboxes: i64,
}

/// A row of `mailbox`, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRecord {
    /// The login and address.
    pub address: Address,
    /// The person's name.
    pub name: String,
    /// Path below `virtual_mailbox_base`.
    pub maildir: String,
    /// Quota in bytes, 0 unlimited.
    pub quota: u64,
    /// False: does not exist.
    pub active: bool,
}

/// A row of `alias`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRecord {
    /// The address, or `@domain` for a catch-all.
    pub address: String,
    /// The targets; `@other` as first keeps the local part.
    pub goto: Vec<String>,
    /// False: does not exist.
    pub active: bool,
}

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdminError {
    /// authd or the database is away; nothing was changed.
    #[error(transparent)]
    Unavailable(#[from] crate::Unavailable),
    /// There is no such row.
    #[error("{0}")]
    NotFound(String),
    /// It is there already.
    #[error("{0}")]
    Exists(String),
    /// The request makes no sense or breaks a limit; the text says what to do.
    #[error("{0}")]
    Invalid(String),
}
