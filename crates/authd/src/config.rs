//! The `[authd]` and `[general]` sections as checked runtime values.

use std::path::PathBuf;
use std::time::Duration;

use auth_api::Role;
use config::{Backend as AuthdBackend, Config, MaildirLayout, NewPasswords, UnmarkedPasswords};
use sasl::password::{NewScheme, Reading, Unmarked};

use crate::database::mysql;
use crate::directory::Rules;

/// What authd runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The rules of the directory.
    pub rules: Rules,
    /// Which database.
    pub backend: Backend,
    /// First and longest wait after a wrong password.
    pub auth_failure_delay: (Duration, Duration),
    /// Passwords that may wait to be checked. Takes effect at a restart.
    pub hash_queue_limit: usize,
    /// How long an exchange may wait for its peer. Takes effect at a restart.
    pub exchange_idle: Duration,
    /// What a password column without a mark holds; `None`: what the form of the tables suggests.
    pub unmarked_passwords: Option<Unmarked>,
    /// How the Admin service works.
    pub admin: AdminRules,
    /// The socket of each role. Takes effect at a restart.
    pub sockets: Vec<(Role, PathBuf)>,
}

/// Which database.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A file of our own.
    Sqlite(PathBuf),
    /// A server.
    Mysql(mysql::Settings),
}

/// How new rows look.
#[derive(Debug, Clone, Copy)]
pub struct AdminRules {
    /// The scheme of new passwords.
    pub scheme: NewScheme,
    /// How the path of a new mailbox is made.
    pub layout: MaildirLayout,
    /// Bytes in one unit of domain.maxquota and domain.quota.
    pub quota_multiplier: u64,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no postmaster.
    #[error("[general] postmaster_address cannot be made of myhostname; set it")]
    Postmaster,
    /// The file with the database password cannot be used.
    #[error("[authd.mysql] password_file")]
    Password(#[source] config::SecretFileError),
}

impl Settings {
    /// Reads the sections; reads the password file too.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        let (general, authd) = (&config.general, &config.authd);
        let backend = match authd.backend {
            AuthdBackend::Sqlite => Backend::Sqlite(authd.sqlite_path(general)),
            AuthdBackend::Mysql => Backend::Mysql(mysql_settings(&authd.mysql)?),
        };
        Ok(Self {
            rules: Rules {
                recipient_delimiter: general.recipient_delimiter.get(),
                own_domain: general.domain(),
                postmaster: general.postmaster().ok_or(SettingsError::Postmaster)?,
                expansion_limit: authd.virtual_alias_expansion_limit as usize,
                recursion_limit: authd.virtual_alias_recursion_limit as usize,
                owner: (general.virtual_uid, general.virtual_gid),
            },
            backend,
            auth_failure_delay: (
                authd.auth_failure_delay.get(),
                authd.auth_failure_delay_limit.get(),
            ),
            hash_queue_limit: authd.hash_queue_limit as usize,
            exchange_idle: authd.sasl_exchange_timeout.get(),
            unmarked_passwords: authd.unmarked_passwords.as_deref().map(unmarked),
            admin: AdminRules {
                scheme: new_scheme(authd.new_passwords),
                layout: authd.maildir_layout,
                quota_multiplier: authd.quota_multiplier,
            },
            sockets: Role::ALL
                .map(|role| (role, general.authd_socket(role.as_str())))
                .to_vec(),
        })
    }
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
        host: mysql.host.clone(),
        port: mysql.port,
        socket: mysql.socket.as_ref().map(|path| path.as_path().to_owned()),
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
