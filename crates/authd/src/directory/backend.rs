//! The four questions that the directory asks its tables, and the rows that answer them.

use futures_util::future::BoxFuture;
use mail_types::Secret;

/// A question without an answer: the tables are away, or say what they must not say. Always a temporary
/// failure, never "does not exist".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// A row of `domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// False: does not exist for mail.
    pub active: bool,
    /// We are backup MX.
    pub backupmx: bool,
    /// Postfix transport text; empty is `virtual`.
    pub transport: String,
}

/// A row of `alias_domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasDomainRow {
    /// The domain that is mirrored.
    pub target: String,
    /// False: does not exist.
    pub active: bool,
}

/// A row of `alias`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// The targets, as one text.
    pub goto: String,
    /// False: does not exist.
    pub active: bool,
}

/// A row of `mailbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    /// The login, lower case.
    pub username: String,
    /// The stored password.
    pub password: Secret,
    /// Path below the base, unchecked.
    pub maildir: String,
    /// Bytes; 0 unlimited, negative: not set.
    pub quota: i64,
    /// False: does not exist.
    pub active: bool,
}

/// An answer of a backend.
pub type Answer<'a, T> = BoxFuture<'a, Result<Option<T>, BackendError>>;

/// The tables. Keys are lower case; implementations compare them exactly, whatever their database does.
pub trait Backend: Send + Sync + 'static {
    /// The row of a domain.
    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow>;
    /// The row that makes a domain mirror another.
    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow>;
    /// The alias of an address, or of `@domain`.
    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow>;
    /// The mailbox of an address.
    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow>;
}
