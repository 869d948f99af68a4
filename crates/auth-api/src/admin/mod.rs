//! Administration: what PostfixAdmin does with its tables, as far as the Admin service goes.

mod accounts;
mod lists;
mod panel;
mod state;

use mail_types::{Address, Domain, Secret};

pub use self::accounts::{
    AdministratorRecord, AdministratorUpdate, AppPasswordRecord, NewAdministrator, NewAppPassword,
};
pub use self::lists::{DomainCounts, Page, Which};
pub use self::panel::{FetchmailRecord, LogEntry, VacationRecord};
pub use self::state::{
    DatabaseServer, DatabaseTrouble, DirectoryState, ReplicaPass, ReplicaState, ReplicaTable,
};

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
    /// Days that a password lives: 0 for ever.
    pub password_expiry: i64,
    /// The domain that this one mirrors, where it is an alias domain (active or not).
    pub alias_of: Option<Domain>,
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
            password_expiry: 0,
            alias_of: None,
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
    /// See [`DomainRecord::password_expiry`].
    pub password_expiry: Option<i64>,
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

/// What to change in a row of `alias_domain`; `None` leaves a column alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasDomainUpdate {
    /// See [`AliasDomainRecord::target_domain`].
    pub target_domain: Option<Domain>,
    /// See [`AliasDomainRecord::active`].
    pub active: Option<bool>,
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
    /// May submit mail; true where the tables have no such column.
    pub smtp_active: bool,
    /// Where the person can be reached otherwise.
    pub phone: String,
    /// The same by mail.
    pub email_other: String,
    /// When the password expires, in the time zone of the database; empty where it does not, or where the
    /// tables have no such column.
    pub password_expiry: String,
    /// Bytes in use as the tables `quota2` or `quota` have it.
    pub used: Option<u64>,
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
    /// See [`MailboxRecord::smtp_active`].
    pub smtp_active: bool,
    /// See [`MailboxRecord::phone`].
    pub phone: String,
    /// See [`MailboxRecord::email_other`].
    pub email_other: String,
}

impl NewMailbox {
    /// An active mailbox without name and quota.
    pub fn new(address: Address, password: Secret) -> Self {
        Self {
            address,
            name: String::new(),
            password,
            quota: 0,
            active: true,
            smtp_active: true,
            phone: String::new(),
            email_other: String::new(),
        }
    }
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
    /// See [`MailboxRecord::smtp_active`].
    pub smtp_active: Option<bool>,
    /// See [`MailboxRecord::phone`].
    pub phone: Option<String>,
    /// See [`MailboxRecord::email_other`].
    pub email_other: Option<String>,
}

/// A row of `alias`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRecord {
    /// The address, or `@domain` for a catch-all.
    pub address: String,
    /// The targets; `@other` as first keeps the local part. That of the automatic reply is not among them.
    pub goto: Vec<String>,
    /// False: does not exist.
    pub active: bool,
    /// Whether it is the row that stands for a mailbox; ignored in requests.
    pub mirrors_mailbox: bool,
    /// Whether the automatic reply of the mailbox is on; ignored in requests.
    pub vacation: bool,
}

impl AliasRecord {
    /// An active alias.
    pub fn new(address: impl Into<String>, goto: Vec<String>) -> Self {
        Self {
            address: address.into(),
            goto,
            active: true,
            mirrors_mailbox: false,
            vacation: false,
        }
    }
}

/// What to change in a row of `alias`; `None` leaves a column alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasUpdate {
    /// The new list, not empty. The target of the automatic reply stays, and so does the mailbox of this
    /// name unless `keep_copy` says otherwise.
    pub goto: Option<Vec<String>>,
    /// See [`AliasRecord::active`].
    pub active: Option<bool>,
    /// Whether the mailbox of this name keeps getting its mail.
    pub keep_copy: Option<bool>,
    /// Targets more, of the list as it is when the change is made.
    pub add: Vec<String>,
    /// Targets less, the same way. The mailbox of this name goes as `keep_copy` false says.
    pub remove: Vec<String>,
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
    /// The account of the database may not do it; the text names the right that is missing.
    #[error("{0}")]
    Denied(String),
}
