//! The questions that the directory asks its tables, and the rows that answer them.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mail_types::Secret;

use super::pages::{Page, PageRequest};

/// A question without an answer: the tables are away, or say what they must not say. Always a temporary
/// failure, never "does not exist".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The tables do not answer, or not as they have to.
    #[error("{0}")]
    Away(String),
    /// They answer, but this row cannot be read: the trouble of whoever it is about, and of nobody else.
    #[error("{0}")]
    Odd(String),
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The tables, just now.
    Database,
    /// The tables, some seconds ago. Only rows that are there; never a login.
    Cache,
    /// The copy that is kept for the time when the tables are away. That it has no row says nothing about
    /// the tables: a verdict that rests on absence is a temporary failure.
    Replica,
}

impl Source {
    /// The word that logs and explanations use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Cache => "cache",
            Self::Replica => "replica",
        }
    }
}

/// What a question found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The row; `None` where there is none.
    pub row: Option<T>,
    /// Where this was looked up.
    pub source: Source,
}

impl<T> Found<T> {
    /// An answer of the tables themselves.
    pub fn fresh(row: Option<T>) -> Self {
        Self {
            row,
            source: Source::Database,
        }
    }

    /// The same with another row, or with none.
    pub fn and_then<U>(self, change: impl FnOnce(T) -> Option<U>) -> Found<U> {
        Found {
            row: self.row.and_then(change),
            source: self.source,
        }
    }
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// False: does not exist for mail.
    pub active: bool,
    /// We are backup MX: accepted for everybody, relayed.
    pub backupmx: bool,
    /// It has aliases only (Postfix: virtual_alias_domains), no mailboxes.
    pub alias_only: bool,
    /// Postfix transport text; empty is `virtual`.
    pub transport: String,
}

/// A domain that mirrors another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasDomainRow {
    /// The domain that is mirrored.
    pub target: String,
    /// False: does not exist.
    pub active: bool,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// The targets, as one text.
    pub goto: String,
    /// False: does not exist.
    pub active: bool,
}

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    /// The login, lower case.
    pub username: String,
    /// Path below the base, unchecked.
    pub maildir: String,
    /// Bytes; 0 unlimited, negative: not set.
    pub quota: i64,
    /// Owner of the files, where the row names one.
    pub uid: Option<u32>,
    /// Group of the files, where the row names one.
    pub gid: Option<u32>,
    /// False: does not exist.
    pub active: bool,
}

/// A password of one program of a mailbox (PostfixAdmin 4: `mailbox_app_password`).
#[derive(Debug, Clone)]
pub struct AppPassword {
    /// The row's number.
    pub id: i64,
    /// What its owner calls it.
    pub description: String,
    /// As it is stored.
    pub password: Secret,
}

/// Everything that a login rests on. Never cached.
#[derive(Debug, Clone)]
pub struct LoginRow {
    /// The mailbox.
    pub mailbox: MailboxRow,
    /// Whether its domain is active.
    pub domain_active: bool,
    /// The stored password; empty where there is none.
    pub password: Secret,
    /// The password in clear, where the tables have a second column for it (`postfix_users.clear`).
    pub cleartext: Option<Secret>,
    /// May log in at the submission services (`mailbox.smtp_active`; true where there is no such column).
    pub smtp_active: bool,
    /// When the password ends, seconds since 1970 (`mailbox.password_expiry`; 0 where that is NULL or a zero
    /// date); `None`: never (no column, or `domain.password_expiry` is 0).
    pub password_expiry: Option<i64>,
    /// Passwords of single programs; good for mail only.
    pub app_passwords: Vec<AppPassword>,
}

/// What an access table is asked about (access(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccessTable {
    /// check_client_access
    Client,
    /// check_helo_access
    Helo,
    /// check_sender_access
    Sender,
    /// check_recipient_access
    Recipient,
}

impl AccessTable {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 4] = [Self::Client, Self::Helo, Self::Sender, Self::Recipient];

    /// The word in configuration and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Helo => "helo",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
        }
    }
}

/// An absence notice (PostfixAdmin: `vacation`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VacationRow {
    /// Whose.
    pub email: String,
    /// Subject of the reply, `$SUBJECT` not yet replaced.
    pub subject: String,
    /// Text of the reply.
    pub body: String,
    /// First second of the absence, since 1970; `None`: always begun.
    pub active_from: Option<i64>,
    /// Last second of the absence; `None`: open.
    pub active_until: Option<i64>,
    /// Seconds between two replies to one sender; 0: once.
    pub interval_time: i64,
    /// False: does not exist.
    pub active: bool,
}

/// How full a mailbox is, as the tables say (`quota2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageRow {
    /// Bytes.
    pub bytes: i64,
    /// Messages.
    pub messages: i64,
}

/// Which questions the tables can answer beyond domain, alias, mailbox and login. The rules do not ask for
/// the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// [`Backend::alias_domain`].
    pub alias_domain: bool,
    /// [`Backend::transport`]: a table apart from `domain.transport`.
    pub transport: bool,
    /// [`Backend::relocated`].
    pub relocated: bool,
    /// [`Backend::access`], by table.
    pub access: Vec<AccessTable>,
    /// [`Backend::sender_logins`]; without it who owns a sender follows from mailboxes and aliases.
    pub sender_logins: bool,
    /// [`Backend::vacation`].
    pub vacation: bool,
    /// [`Backend::usage`].
    pub usage: bool,
    /// [`Backend::local_alias`]: names without a domain (alias_maps).
    pub local_alias: bool,
    /// Not a question: tables of this form usually have passwords in clear, without a mark of their scheme.
    pub unmarked_cleartext: bool,
    /// Not a question: a login has a second column, with the password in clear.
    pub clear_column: bool,
}

/// An answer of a backend.
pub type Answer<'a, T> = BoxFuture<'a, Result<Found<T>, BackendError>>;

/// What the logins of several users rest on, for each of them.
pub type Logins<'a> = BoxFuture<'a, Result<Vec<Result<Found<LoginRow>, BackendError>>, BackendError>>;

/// Logins that are asked for at the same time where the tables cannot answer several at once.
pub const TOGETHER: usize = 4;

/// Sets a row that cannot be read apart from tables that do not answer.
pub fn apart<T>(answer: Result<T, BackendError>) -> Result<Result<T, BackendError>, BackendError> {
    match answer {
        Err(error @ BackendError::Away(_)) => Err(error),
        row => Ok(row),
    }
}

/// The tables. Keys are lower case; implementations compare them exactly, whatever their database does.
pub trait Backend: Send + Sync + 'static {
    /// What may be asked. An error where the tables have to be looked at first and are away.
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>>;
    /// The row of a domain.
    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow>;
    /// The alias of an address, or of `@domain`.
    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow>;
    /// The mailbox of an address.
    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow>;
    /// What the login of an address rests on.
    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow>;

    /// The same for several, in their order: as few queries as the tables allow. A row that cannot be read is
    /// the trouble of its user alone.
    fn logins<'a>(&'a self, usernames: &'a [String]) -> Logins<'a> {
        let asked = usernames.iter().map(|username| self.login(username));
        Box::pin(stream::iter(asked).buffered(TOGETHER).map(apart).try_collect())
    }

    /// The row that makes a domain mirror another.
    fn alias_domain<'a>(&'a self, _name: &'a str) -> Answer<'a, AliasDomainRow> {
        nothing()
    }
    /// The transport of a key of transport_maps(5).
    fn transport<'a>(&'a self, _key: &'a str) -> Answer<'a, String> {
        nothing()
    }
    /// Where the user of a key of relocated(5) moved to.
    fn relocated<'a>(&'a self, _key: &'a str) -> Answer<'a, String> {
        nothing()
    }
    /// The action of a key of an access(5) table.
    fn access<'a>(&'a self, _table: AccessTable, _key: &'a str) -> Answer<'a, String> {
        nothing()
    }
    /// The logins that may send as an address or `@domain` (smtpd_sender_login_maps), as one list.
    fn sender_logins<'a>(&'a self, _key: &'a str) -> Answer<'a, String> {
        nothing()
    }
    /// The absence notice of an address.
    fn vacation<'a>(&'a self, _address: &'a str) -> Answer<'a, VacationRow> {
        nothing()
    }
    /// How full a mailbox is.
    fn usage<'a>(&'a self, _username: &'a str) -> Answer<'a, UsageRow> {
        nothing()
    }
    /// The targets of a name without a domain (alias_maps).
    fn local_alias<'a>(&'a self, _name: &'a str) -> Answer<'a, AliasRow> {
        nothing()
    }

    /// Some rows of a table, in an order that does not change from page to page; `None` where these cannot
    /// be gone through (or not by the time of their change). One query, or as few as possible.
    fn page<'a>(&'a self, _request: PageRequest<'a>) -> BoxFuture<'a, Result<Option<Page>, BackendError>> {
        Box::pin(async { Ok(None) })
    }
}

fn nothing<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(async { Ok(Found::fresh(None)) })
}
