//! `[authd]`: the database of domains, mailboxes and aliases, and logins.

mod mysql;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Section};
use crate::general::General;
use crate::types::{AbsolutePath, DurationText};

pub use self::mysql::Mysql;

/// The database of domains, mailboxes and aliases, and logins.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Authd {
    /// Where domains, mailboxes and aliases are kept: `sqlite` (a file of our own) or `mysql` (a MySQL or
    /// MariaDB database with the tables of PostfixAdmin).
    pub backend: Backend,
    /// File of the SQLite directory; made on first use. Default: `directory.sqlite` in `state_dir`.
    pub sqlite_file: Option<AbsolutePath>,
    /// The MySQL or MariaDB server; used with `backend = "mysql"`.
    pub mysql: Mysql,
    /// Most targets that one recipient may expand to.
    #[schemars(range(min = 1, max = 100_000))]
    pub virtual_alias_expansion_limit: u32,
    /// How many aliases may lead from one to the next.
    #[schemars(range(min = 1, max = 1_000))]
    pub virtual_alias_recursion_limit: u32,
    /// How long a client waits after a wrong password; doubled with each further one.
    #[schemars(extend("x-min" = "0s", "x-max" = "1m"))]
    pub auth_failure_delay: DurationText,
    /// The longest wait after wrong passwords.
    #[schemars(extend("x-min" = "0s", "x-max" = "5m"))]
    pub auth_failure_delay_limit: DurationText,
    /// How many expensive password checks may wait for a processor; more are a temporary failure.
    #[schemars(range(min = 1, max = 10_000))]
    pub hash_queue_limit: u32,
    /// How long a client may take between two steps of a login.
    #[schemars(extend("x-min" = "1s", "x-max" = "10m"))]
    pub sasl_exchange_timeout: DurationText,
    /// The form in which new passwords are stored: `argon2id`, `sha512-crypt`, `bcrypt` or `cleartext`.
    pub new_passwords: NewPasswords,
    /// What a password column holds that has neither `{SCHEME}` nor `$id$` in front: `cleartext`, or `refuse`
    /// (a temporary failure). Default: `cleartext` where the tables are those of PostfixAdmin 2, `refuse`
    /// otherwise.
    pub unmarked_passwords: Option<UnmarkedPasswords>,
    /// The path of a new mailbox below `virtual_mailbox_base`: `domain/user` for `example.com/user/`,
    /// `domain/address` for `example.com/user@example.com/`, `address` for `user@example.com/`. Existing
    /// mailboxes keep theirs.
    pub maildir_layout: MaildirLayout,
    /// Bytes in one unit ("MB") of `domain.maxquota` and `domain.quota`; PostfixAdmin's default is 1024000.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub quota_multiplier: u64,
}

/// The forms of new passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum NewPasswords {
    /// Argon2id with 19 MiB, 2 passes, 1 lane.
    Argon2id,
    /// crypt(3) `$6$`.
    Sha512Crypt,
    /// `$2y$`.
    Bcrypt,
    /// The password itself.
    Cleartext,
}

/// Readings of a password column without a mark of its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum UnmarkedPasswords {
    /// It is the password.
    Cleartext,
    /// It cannot be used.
    Refuse,
}

/// Paths of new mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum MaildirLayout {
    /// `example.com/user/`
    #[serde(rename = "domain/user")]
    DomainUser,
    /// `example.com/user@example.com/`
    #[serde(rename = "domain/address")]
    DomainAddress,
    /// `user@example.com/`
    #[serde(rename = "address")]
    Address,
}

/// The kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Backend {
    /// An embedded file.
    Sqlite,
    /// MySQL or MariaDB.
    Mysql,
}

impl Default for Authd {
    fn default() -> Self {
        Self {
            backend: Backend::Sqlite,
            sqlite_file: None,
            mysql: Mysql::default(),
            virtual_alias_expansion_limit: 1_000,
            virtual_alias_recursion_limit: 1_000,
            auth_failure_delay: DurationText::from_secs(2),
            auth_failure_delay_limit: DurationText::from_secs(16),
            hash_queue_limit: 64,
            sasl_exchange_timeout: DurationText::from_secs(60),
            new_passwords: NewPasswords::Argon2id,
            unmarked_passwords: None,
            maildir_layout: MaildirLayout::DomainUser,
            quota_multiplier: 1_024_000,
        }
    }
}

impl Authd {
    /// The SQLite file.
    pub fn sqlite_path(&self, general: &General) -> PathBuf {
        match &self.sqlite_file {
            Some(file) => file.as_path().to_owned(),
            None => general.state_dir.join("directory.sqlite"),
        }
    }
}

impl Section for Authd {
    const NAME: &'static str = "authd";

    fn check(&self, checks: &mut Checks<'_>) {
        if self.auth_failure_delay_limit.get() < self.auth_failure_delay.get() {
            checks.add(
                "auth_failure_delay_limit",
                "it is shorter than auth_failure_delay".to_owned(),
                "make it at least as long",
            );
        }
    }
}
