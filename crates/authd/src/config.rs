//! The `[authd]` and `[general]` sections as checked runtime values.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth_api::Role;
use config::{
    Backend as AuthdBackend, Config, DatabaseTls, MaildirLayout, NewPasswords, PasswordExpiry, Rehash,
    UnmarkedPasswords,
};
use mail_types::Domain;
use sasl::password::{NewScheme, Reading, Unmarked};

use crate::compat;
use crate::database::mysql;
use crate::directory::Rules;
use crate::login::{TokenKeysError, TokenVerifier};
use crate::profile::Profile;
use crate::replica;

/// What authd runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our own name.
    pub hostname: String,
    /// The rules of the directory.
    pub rules: Rules,
    /// How long rows about addresses are remembered; zero: not at all.
    pub address_cache_time: Duration,
    /// Which database.
    pub backend: Backend,
    /// Which tables in it.
    pub profile: Profile,
    /// The copy for the time when the database is away; `None`: there is none.
    pub replica: Option<replica::Settings>,
    /// The same with another account, for the Admin service.
    pub admin_mysql: Option<mysql::Settings>,
    /// First and longest wait after a wrong password.
    pub auth_failure_delay: (Duration, Duration),
    /// Passwords that may wait to be checked. Takes effect at a restart.
    pub hash_queue_limit: usize,
    /// How long an exchange may wait for its peer. Takes effect at a restart.
    pub exchange_idle: Duration,
    /// What a password column without a mark holds; `None`: what the form of the tables suggests.
    pub unmarked_passwords: Option<Unmarked>,
    /// How logins work.
    pub logins: LoginRules,
    /// How the Admin service works.
    pub admin: AdminRules,
    /// The sockets of other servers' protocols.
    pub compat: compat::Settings,
    /// Checks tokens; `None`: none are taken.
    pub tokens: Option<Arc<TokenVerifier>>,
    /// The socket of each role, and the users that may connect to it (none named: all who reach it). Takes
    /// effect at a restart.
    pub sockets: Vec<(Role, PathBuf, Vec<u32>)>,
}

/// Which database.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A file of our own.
    Sqlite(PathBuf),
    /// A server.
    Mysql(Box<mysql::Settings>),
}

/// How logins work.
#[derive(Debug, Clone)]
pub struct LoginRules {
    /// Authd's own state. Takes effect at a restart.
    pub state_file: PathBuf,
    /// The mechanisms that may be offered; `None`: all that make sense.
    pub mechanisms: Option<Vec<&'static str>>,
    /// Whether an expired password is denied.
    pub enforce_expiry: bool,
    /// The domain of a login without one.
    pub default_realm: Option<Domain>,
    /// To what weaker stored passwords are brought.
    pub rehash: Option<NewScheme>,
    /// Whether keys for SCRAM are kept of logins by PLAIN and LOGIN.
    pub store_scram_keys: bool,
    /// Whether new passwords are stored in clear.
    pub cleartext: bool,
}

/// How new rows look.
#[derive(Debug, Clone)]
pub struct AdminRules {
    /// The scheme of new passwords.
    pub scheme: NewScheme,
    /// How the path of a new mailbox is made.
    pub layout: MaildirLayout,
    /// Bytes in one unit of domain.maxquota and domain.quota.
    pub quota_multiplier: u64,
    /// What new passwords need.
    pub passwords: PasswordRules,
    /// The domain of automatic replies; `None`: they cannot be turned on.
    pub vacation_domain: Option<Domain>,
}

/// What a new password needs at least.
#[derive(Debug, Clone, Copy)]
pub struct PasswordRules {
    /// Characters.
    pub min_length: usize,
    /// Letters among them.
    pub min_letters: usize,
    /// Digits among them.
    pub min_digits: usize,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no postmaster.
    #[error("[general] postmaster_address cannot be made of myhostname; set it")]
    Postmaster,
    /// A statement of [authd.custom] is not one.
    #[error("[authd.custom] {}", .0.message)]
    Statement(config::TemplateError),
    /// The file with the database password cannot be used.
    #[error("[authd.mysql] password_file")]
    Password(#[source] config::SecretFileError),
    /// The key of our certificate for the database cannot be used.
    #[error("[authd.mysql] tls_key_file")]
    Key(#[source] config::SecretFileError),
    /// A file for TLS to the database cannot be read.
    #[error("[authd.mysql] {option} {}", .path.display())]
    TlsFile {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The keys for tokens cannot be used.
    #[error(transparent)]
    TokenKeys(#[from] TokenKeysError),
    /// The file with the password of the account for changes cannot be used.
    #[error("[authd.mysql] admin_password_file")]
    AdminPassword(#[source] config::SecretFileError),
}

impl Settings {
    /// Reads the sections; reads the password file too.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        let (general, authd) = (&config.general, &config.authd);
        let admin_mysql = match authd.backend {
            AuthdBackend::Mysql => admin_settings(&authd.mysql)?,
            AuthdBackend::Sqlite => None,
        };
        let backend = match authd.backend {
            AuthdBackend::Sqlite => Backend::Sqlite(authd.sqlite_path(general)),
            AuthdBackend::Mysql => Backend::Mysql(Box::new(mysql_settings(&authd.mysql)?)),
        };
        let profile = Profile::new(config).map_err(SettingsError::Statement)?;
        Ok(Self {
            hostname: general.myhostname.as_str().to_owned(),
            rules: Rules {
                relay_subdomains: matches!(profile, Profile::PostfixAdmin(_)),
                recipient_delimiter: general.recipient_delimiter.get(),
                own_domain: general.domain(),
                own_names: own_names(general),
                postmaster: general.postmaster().ok_or(SettingsError::Postmaster)?,
                expansion_limit: authd.virtual_alias_expansion_limit as usize,
                recursion_limit: authd.virtual_alias_recursion_limit as usize,
                owner: (general.virtual_uid, general.virtual_gid),
                minimum_uid: general.virtual_minimum_uid,
                vacation_domain: authd.vacation_domain.as_ref().map(|name| name.domain().clone()),
            },
            address_cache_time: authd.address_cache_time.get(),
            backend,
            profile,
            replica: replica_settings(config),
            admin_mysql,
            auth_failure_delay: (
                authd.auth_failure_delay.get(),
                authd.auth_failure_delay_limit.get(),
            ),
            hash_queue_limit: authd.hash_queue_limit as usize,
            exchange_idle: authd.sasl_exchange_timeout.get(),
            unmarked_passwords: authd.unmarked_passwords.as_deref().map(unmarked),
            logins: LoginRules {
                state_file: general.state_dir.join("authd.sqlite"),
                mechanisms: authd
                    .mechanisms
                    .as_ref()
                    .map(|list| list.iter().map(|mechanism| mechanism.as_str()).collect()),
                enforce_expiry: authd.password_expiry == PasswordExpiry::Enforce,
                default_realm: authd.default_realm.as_ref().map(|realm| realm.domain().clone()),
                rehash: rehash(authd.rehash),
                store_scram_keys: authd.store_scram_keys,
                cleartext: authd.new_passwords == NewPasswords::Cleartext,
            },
            admin: AdminRules {
                scheme: new_scheme(authd.new_passwords),
                layout: authd.maildir_layout,
                quota_multiplier: authd.quota_multiplier,
                passwords: PasswordRules {
                    min_length: authd.password_min_length as usize,
                    min_letters: authd.password_min_letters as usize,
                    min_digits: authd.password_min_digits as usize,
                },
                vacation_domain: authd.vacation_domain.as_ref().map(|name| name.domain().clone()),
            },
            compat: compat::Settings::new(general, &authd.compat),
            tokens: TokenVerifier::load(&authd.oauth)?.map(Arc::new),
            sockets: Role::ALL
                .map(|role| {
                    (
                        role,
                        general.authd_socket(role.as_str()),
                        uids(&authd.socket_uids, role),
                    )
                })
                .to_vec(),
        })
    }
}

fn rehash(option: Rehash) -> Option<NewScheme> {
    match option {
        Rehash::Off => None,
        Rehash::Argon2id => Some(NewScheme::Argon2id),
        Rehash::Sha512Crypt => Some(NewScheme::Sha512Crypt),
        Rehash::MarkedSha512Crypt => Some(NewScheme::MarkedSha512Crypt),
        Rehash::Bcrypt => Some(NewScheme::Bcrypt),
        Rehash::MarkedBcrypt => Some(NewScheme::MarkedBcrypt),
        Rehash::Md5Crypt => Some(NewScheme::Md5Crypt),
    }
}

/// The users of one role's socket.
fn uids(option: &config::SocketUids, role: Role) -> Vec<u32> {
    match role {
        Role::Smtpd => &option.smtpd,
        Role::Qmgr => &option.qmgr,
        Role::Deliver => &option.deliver,
        Role::Imapd => &option.imapd,
        Role::Pop3d => &option.pop3d,
        Role::Admin => &option.admin,
    }
    .clone()
}

fn new_scheme(option: NewPasswords) -> NewScheme {
    match option {
        NewPasswords::Argon2id => NewScheme::Argon2id,
        NewPasswords::Sha512Crypt => NewScheme::Sha512Crypt,
        NewPasswords::MarkedSha512Crypt => NewScheme::MarkedSha512Crypt,
        NewPasswords::Bcrypt => NewScheme::Bcrypt,
        NewPasswords::MarkedBcrypt => NewScheme::MarkedBcrypt,
        NewPasswords::Md5Crypt => NewScheme::Md5Crypt,
        NewPasswords::Cleartext => NewScheme::Cleartext,
    }
}

/// The readings that the site allows.
fn unmarked(option: &[UnmarkedPasswords]) -> Unmarked {
    let reading = |form: &UnmarkedPasswords| {
        Some(match form {
            UnmarkedPasswords::Refuse => return None,
            UnmarkedPasswords::Cleartext => Reading::Cleartext,
            UnmarkedPasswords::Des => Reading::Des,
            UnmarkedPasswords::Md5 => Reading::Md5,
            UnmarkedPasswords::Sha1 => Reading::Sha1,
            UnmarkedPasswords::Sha256 => Reading::Sha256,
            UnmarkedPasswords::Sha512 => Reading::Sha512,
            UnmarkedPasswords::Smd5 => Reading::Smd5,
            UnmarkedPasswords::Ssha => Reading::Ssha,
            UnmarkedPasswords::Ssha256 => Reading::Ssha256,
            UnmarkedPasswords::Ssha512 => Reading::Ssha512,
            UnmarkedPasswords::CramMd5 => Reading::CramMd5,
            UnmarkedPasswords::MysqlOld => Reading::MysqlOld,
        })
    };
    option.iter().filter_map(reading).collect()
}

fn mysql_settings(mysql: &config::Mysql) -> Result<mysql::Settings, SettingsError> {
    let password = mysql
        .password_file
        .as_ref()
        .map(config::SecretFile::read_line)
        .transpose();
    Ok(mysql::Settings {
        hosts: mysql.hosts.clone(),
        retry_interval: mysql.retry_interval.get(),
        tls: match mysql.tls {
            DatabaseTls::Off => None,
            DatabaseTls::Required => Some(tls_files(mysql)?),
        },
        user: mysql.user.clone(),
        password: password.map_err(SettingsError::Password)?,
        database: mysql.database.clone(),
        pool_size: mysql.pool_size as usize,
        queue_limit: mysql.queue_limit as usize,
        connect_timeout: mysql.connect_timeout.get(),
        query_timeout: mysql.query_timeout.get(),
        total_timeout: mysql.total_timeout.get(),
    })
}

/// A file of our own needs no copy.
fn replica_settings(config: &Config) -> Option<replica::Settings> {
    let replica = &config.authd.replica;
    let wanted = replica.enabled && config.authd.backend == AuthdBackend::Mysql;
    wanted.then(|| replica::Settings {
        path: config.general.state_dir.join("replica.sqlite"),
        refresh_interval: replica.refresh_interval.get(),
        full_refresh_interval: replica.full_refresh_interval.get(),
        max_age: replica.max_age.get(),
        patience: replica.patience.get(),
        max_rows: replica.max_rows,
        max_size: replica.max_size.bytes(),
    })
}

/// Read here, so that a missing file is said at the start, and not at each connection.
fn tls_files(mysql: &config::Mysql) -> Result<mysql::Tls, SettingsError> {
    let read = |option: &'static str, path: &config::AbsolutePath| {
        let path = path.as_path();
        std::fs::read(path).map_err(|source| SettingsError::TlsFile {
            option,
            path: path.to_owned(),
            source,
        })
    };
    let authorities = mysql.tls_ca_file.as_ref();
    let identity = match (&mysql.tls_certificate_file, &mysql.tls_key_file) {
        (Some(certificate), Some(key)) => Some((
            read("tls_certificate_file", certificate)?,
            key.read().map_err(SettingsError::Key)?,
        )),
        _ => None,
    };
    Ok(mysql::Tls {
        authorities: authorities.map(|path| read("tls_ca_file", path)).transpose()?,
        identity,
    })
}
/// The server with the account for changes, where there is one.
fn admin_settings(mysql: &config::Mysql) -> Result<Option<mysql::Settings>, SettingsError> {
    let Some(user) = &mysql.admin_user else {
        return Ok(None);
    };
    let password = mysql
        .admin_password_file
        .as_ref()
        .map(config::SecretFile::read_line)
        .transpose();
    Ok(Some(mysql::Settings {
        user: user.clone(),
        password: password.map_err(SettingsError::AdminPassword)?,
        pool_size: ADMIN_POOL,
        ..mysql_settings(mysql)?
    }))
}

/// Changes that are made at the same time.
const ADMIN_POOL: usize = 2;

/// What mydestination is by default: the host, and what it calls itself.
fn own_names(general: &config::General) -> Vec<Domain> {
    let itself = ["localhost".to_owned(), format!("localhost.{}", general.domain())];
    let itself = itself.iter().filter_map(|name| Domain::new(name).ok());
    std::iter::once(general.myhostname.domain().clone())
        .chain(itself)
        .collect()
}
