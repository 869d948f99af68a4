//! `[authd]`: the database of domains, mailboxes and aliases, and logins.

mod compat;
mod custom;
mod logins;
mod mysql;
mod oauth;
mod passwords;
mod replica;
mod schema;
mod socket_uids;
mod template;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Section, read_section};
use crate::error::ConfigError;
use crate::general::General;
use crate::tree::{Content, Node};
use crate::types::{AbsolutePath, DurationText, HostName};

pub use self::compat::Compat;
pub use self::custom::{Custom, Lookup, Lookups};
pub use self::logins::{Mechanism, PasswordExpiry, Rehash};
pub use self::mysql::{DatabaseTls, Mysql};
pub use self::oauth::{Oauth, TokenAlgorithm};
pub use self::passwords::{NewPasswords, UnmarkedPasswords};
pub use self::replica::Replica;
pub use self::schema::{PostfixadminTables, Schema, TableName, TablePrefix};
pub use self::socket_uids::SocketUids;
pub use self::template::{Part, Piece, QueryTemplate, ResultFormat, SqlDialect, SqlPiece, TemplateError};

/// The database of domains, mailboxes and aliases, and logins.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Authd {
    /// Where domains, mailboxes and aliases are kept: `sqlite` (a file) or `mysql` (MySQL or MariaDB servers).
    pub backend: Backend,
    /// The tables: `postfixadmin` (PostfixAdmin 2.1 to 4, whatever columns there are), `domains-users` (domains,
    /// forwardings, transport, users), `postfix-tables` (postfix_users, postfix_virtual, postfix_transport and
    /// others), or `custom` (your own SQL, below). See docs/schemas.md.
    pub schema: Schema,
    /// What PostfixAdmin's tables are called.
    pub postfixadmin: PostfixadminTables,
    /// The statements of a site with tables of its own. Read apart from the other options, because each
    /// question is a table or a list of tables.
    #[schemars(skip)]
    pub custom: Custom,
    /// File of the SQLite directory; made on first use. Default: `directory.sqlite` in `state_dir`.
    pub sqlite_file: Option<AbsolutePath>,
    /// The MySQL or MariaDB server; used with `backend = "mysql"`.
    pub mysql: Mysql,
    /// The copy of the directory that is used while the database is away.
    pub replica: Replica,
    /// Tokens as passwords.
    pub oauth: Oauth,
    /// Who may connect to the sockets of authd.
    pub socket_uids: SocketUids,
    /// Most targets that one recipient may expand to.
    #[schemars(range(min = 1, max = 100_000))]
    pub virtual_alias_expansion_limit: u32,
    /// How many aliases may lead from one to the next.
    #[schemars(range(min = 1, max = 1_000))]
    pub virtual_alias_recursion_limit: u32,
    /// How long rows about addresses are remembered, so that a burst of mail asks the database once; `0s` turns
    /// it off. That an address does not exist is never remembered, a login never.
    #[schemars(extend("x-min" = "0s", "x-max" = "1m"))]
    pub address_cache_time: DurationText,
    /// The domain of the targets that turn an absence notice on (`user#example.com@autoreply.example.com` in an
    /// alias; PostfixAdmin: `vacation_domain`). They are no deliveries. Default: any target that spells the
    /// alias itself in this way.
    pub vacation_domain: Option<HostName>,
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
    /// The form in which new passwords are stored: `argon2id`, `sha512-crypt` (`$6$`), `bcrypt` (`$2y$`), the
    /// same with a mark in front (`{SHA512-CRYPT}`, `{BLF-CRYPT}`), `md5-crypt` (`$1$`, weak) or `cleartext`.
    /// Where PostfixAdmin works on the same tables it has to be one that its `encrypt` setting reads: see
    /// docs/passwords.md.
    pub new_passwords: NewPasswords,
    /// Characters that a new password needs at least. Those that are there already stay good.
    #[schemars(range(min = 1, max = 128))]
    pub password_min_length: u32,
    /// Letters that a new password needs at least; 3 is PostfixAdmin's own default.
    #[schemars(range(min = 0, max = 128))]
    pub password_min_letters: u32,
    /// Digits that a new password needs at least; 2 is PostfixAdmin's own default.
    #[schemars(range(min = 0, max = 128))]
    pub password_min_digits: u32,
    /// What a password column may hold that has no mark of its scheme (`{SCHEME}`, `$id$`, `*` of MySQL): one
    /// form or a list of forms. `des`, `md5`, `sha1`, `sha256`, `sha512`, `smd5`, `ssha`, `ssha256`, `ssha512`,
    /// `cram-md5` and `mysql-old` are tried where the value has their length and digits, `cleartext` last; a
    /// value that has none of the forms is a temporary failure, and `refuse` allows none. Default: what the
    /// form of the tables suggests, `cleartext` for PostfixAdmin 2, otherwise `refuse`.
    #[schemars(with = "Option<Vec<UnmarkedPasswords>>")]
    #[serde(deserialize_with = "passwords::one_or_more")]
    pub unmarked_passwords: Option<Vec<UnmarkedPasswords>>,
    /// Logins whose password is stored in a weaker form than this are given it at their next login by PLAIN or
    /// LOGIN: `off`, or a form as in `new_passwords`. Where PostfixAdmin or other software reads the same
    /// column, it has to be a form that it knows too.
    pub rehash: Rehash,
    /// Keep keys for SCRAM of each login that comes by PLAIN or LOGIN, so that SCRAM works although the password
    /// is stored as a hash. They are kept in `authd.sqlite` in `state_dir` and are void when the password
    /// changes: a change by `mailctl` makes new ones, another one the next login. They go when nobody
    /// used them for a year.
    pub store_scram_keys: bool,
    /// The SASL mechanisms that may be offered. Default: all that the stored passwords allow: PLAIN and LOGIN,
    /// SCRAM where passwords are in clear or keys for it are kept, CRAM-MD5 and DIGEST-MD5 where passwords
    /// are in clear, EXTERNAL with a client's certificate, OAUTHBEARER and XOAUTH2 with keys for tokens.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// What follows when `mailbox.password_expiry` has passed: `ignore`, or `enforce` (the login is denied).
    pub password_expiry: PasswordExpiry,
    /// The domain of a login that is typed without one (Cyrus: the realm). Default: such a login is denied.
    pub default_realm: Option<HostName>,
    /// The path of a new mailbox below `virtual_mailbox_base`: `domain/user` for `example.com/user/`,
    /// `domain/address` for `example.com/user@example.com/`, `address` for `user@example.com/`. Existing
    /// mailboxes keep theirs.
    pub maildir_layout: MaildirLayout,
    /// Bytes in one unit ("MB") of `domain.maxquota` and `domain.quota`; PostfixAdmin's default is 1024000.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub quota_multiplier: u64,
    /// The sockets of saslauthd and Courier's authdaemond, for other software of the site.
    pub compat: Compat,
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

impl Backend {
    /// The SQL that it speaks.
    pub fn dialect(self) -> SqlDialect {
        match self {
            Self::Mysql => SqlDialect::Mysql,
            Self::Sqlite => SqlDialect::Sqlite,
        }
    }
}

impl Default for Authd {
    fn default() -> Self {
        Self {
            backend: Backend::Sqlite,
            schema: Schema::Postfixadmin,
            postfixadmin: PostfixadminTables::default(),
            custom: Custom::default(),
            sqlite_file: None,
            mysql: Mysql::default(),
            replica: Replica::default(),
            oauth: Oauth::default(),
            socket_uids: SocketUids::default(),
            virtual_alias_expansion_limit: 1_000,
            virtual_alias_recursion_limit: 1_000,
            address_cache_time: DurationText::from_secs(5),
            vacation_domain: None,
            auth_failure_delay: DurationText::from_secs(2),
            auth_failure_delay_limit: DurationText::from_secs(16),
            hash_queue_limit: 64,
            sasl_exchange_timeout: DurationText::from_secs(60),
            new_passwords: NewPasswords::Argon2id,
            password_min_length: 5,
            password_min_letters: 0,
            password_min_digits: 0,
            unmarked_passwords: None,
            rehash: Rehash::Off,
            store_scram_keys: false,
            mechanisms: None,
            password_expiry: PasswordExpiry::Ignore,
            default_realm: None,
            maildir_layout: MaildirLayout::DomainUser,
            quota_multiplier: 1_024_000,
            compat: Compat::default(),
        }
    }
}

impl Authd {
    /// Reads `[authd]` with `[authd.custom]`.
    pub(crate) fn read(node: &Node, errors: &mut Vec<ConfigError>) -> Self {
        let mut common = node.clone();
        let custom = match &mut common.content {
            Content::Table(entries) => entries.remove("custom"),
            Content::List(_) | Content::Leaf(_) => None,
        };
        let before = errors.len();
        let mut section: Self = read_section(Self::NAME, &common, errors);
        if let Some(custom) = custom {
            section.custom = Custom::read(&custom, section.backend, errors);
        }
        if errors.len() > before {
            return section;
        }
        let mut checks = Checks::new(Self::NAME, node, errors);
        match section.schema {
            Schema::Custom => section.custom.check_needed(&mut checks),
            _ if section.custom.is_empty() => {}
            _ => checks.add(
                "custom",
                "these statements are used with schema = \"custom\" only".to_owned(),
                "set that, or take them out",
            ),
        }
        section
    }

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
        if self.schema != Schema::Postfixadmin && self.postfixadmin != PostfixadminTables::default() {
            checks.add(
                "postfixadmin",
                "these names are used with schema = \"postfixadmin\" only".to_owned(),
                "take them out",
            );
        }
        let unmarked = self.unmarked_passwords.as_deref().unwrap_or_default();
        if unmarked.contains(&UnmarkedPasswords::Refuse) && unmarked.len() > 1 {
            checks.add(
                "unmarked_passwords",
                "\"refuse\" stands beside a form".to_owned(),
                "name the forms alone, or \"refuse\" alone",
            );
        }
        self.mysql.check(checks);
        self.replica.check(checks);
        self.oauth.check(checks);
        if self.auth_failure_delay_limit.get() < self.auth_failure_delay.get() {
            checks.add(
                "auth_failure_delay_limit",
                "it is shorter than auth_failure_delay".to_owned(),
                "make it at least as long",
            );
        }
        if self.mysql.admin_password_file.is_some() && self.mysql.admin_user.is_none() {
            checks.add(
                "mysql.admin_password_file",
                "it is the password of nobody".to_owned(),
                "set admin_user",
            );
        }
    }
}
