//! Administration: what PostfixAdmin does with its tables, as far as the Admin service goes.

use mail_types::{Address, Domain, Secret};

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
    /// Largest quota of one mailbox in units of the quota multiplier ("MB"): 0 unlimited, -1 quotas off.
    pub maxquota: i64,
    /// Sum of the quotas of all mailboxes, same unit: 0 unlimited, -1 off. 0 where the schema has no column.
    pub quota: i64,
}

impl DomainRecord {
    /// A domain with PostfixAdmin's defaults: active, transport `virtual`, no limits.
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            description: String::new(),
            transport: "virtual".into(),
            backupmx: false,
            active: true,
            aliases: 0,
            mailboxes: 0,
            maxquota: 0,
            quota: 0,
        }
    }
}

/// What to change in a row of `domain`; `None` leaves a column alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainUpdate {
    /// See [`DomainRecord::description`].
    pub description: Option<String>,
    /// See [`DomainRecord::transport`].
    pub transport: Option<String>,
    /// See [`DomainRecord::backupmx`].
    pub backupmx: Option<bool>,
    /// See [`DomainRecord::active`].
    pub active: Option<bool>,
    /// See [`DomainRecord::aliases`].
    pub aliases: Option<i64>,
    /// See [`DomainRecord::mailboxes`].
    pub mailboxes: Option<i64>,
    /// See [`DomainRecord::maxquota`].
    pub maxquota: Option<i64>,
    /// See [`DomainRecord::quota`].
    pub quota: Option<i64>,
}

/// A row of `alias_domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasDomainRecord {
    /// The domain that mirrors.
    pub alias_domain: Domain,
    /// The domain it mirrors.
    pub target_domain: Domain,
    /// False: does not mirror.
    pub active: bool,
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

/// A mailbox to be made; authd hashes the password and chooses the path.
#[derive(Debug, Clone)]
pub struct NewMailbox {
    /// The login and address.
    pub address: Address,
    /// The person's name.
    pub name: String,
    /// In clear.
    pub password: Secret,
    /// Quota in bytes, 0 unlimited.
    pub quota: u64,
    /// False: does not exist for mail.
    pub active: bool,
}

/// What to change in a row of `mailbox`; `None` leaves a column alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailboxUpdate {
    /// See [`MailboxRecord::name`].
    pub name: Option<String>,
    /// See [`MailboxRecord::quota`].
    pub quota: Option<u64>,
    /// See [`MailboxRecord::active`]. The alias row of the mailbox follows.
    pub active: Option<bool>,
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
    /// Whether it is the row that stands for a mailbox; ignored in requests.
    pub mirrors_mailbox: bool,
}

/// What to change in a row of `alias`; `None` leaves a column alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasUpdate {
    /// The new list, not empty.
    pub goto: Option<Vec<String>>,
    /// See [`AliasRecord::active`].
    pub active: Option<bool>,
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
