//! `[authd.mysql]`: the MySQL or MariaDB server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::Checks;
use crate::types::{AbsolutePath, DatabaseHost, DurationText, SecretFile};

/// Most servers.
const MOST_HOSTS: usize = 16;

/// The MySQL or MariaDB server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Mysql {
    /// The servers, which hold the same tables: `unix:/path/of/socket`, `inet:host:port`, `host:port` or
    /// `host`; `localhost` is the default socket, `127.0.0.1` is TCP. Sockets are tried first, then the others
    /// in the order given; a server that fails is left alone for `retry_interval`, and the next one asked.
    /// Changes (`mailctl`) go to the first server that accepts them.
    pub hosts: Vec<DatabaseHost>,
    /// How long a server that failed is left alone while another one works.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub retry_interval: DurationText,
    /// Account at the server; the right to SELECT is enough for mail.
    pub user: String,
    /// File whose first line is the password; only its owner may be able to read it. Default: no password.
    pub password_file: Option<SecretFile>,
    /// Account for the changes that `mailctl` makes; it needs SELECT, INSERT, UPDATE and DELETE. Default:
    /// `user`.
    pub admin_user: Option<String>,
    /// File whose first line is the password of `admin_user`; only its owner may be able to read it.
    /// Default: no password.
    pub admin_password_file: Option<SecretFile>,
    /// Name of the database.
    pub database: String,
    /// TLS to servers that are reached by TCP: `off`, or `required`, with a certificate that is valid for the
    /// name in `hosts`. There is no `preferred`: whoever sits in between could switch it off unseen.
    pub tls: DatabaseTls,
    /// PEM file with the authorities that may have signed the servers' certificates. Default: the public ones.
    pub tls_ca_file: Option<AbsolutePath>,
    /// PEM file with our own certificate, where the servers ask for one.
    pub tls_certificate_file: Option<AbsolutePath>,
    /// PEM file with its key; only its owner may be able to read it.
    pub tls_key_file: Option<SecretFile>,
    /// Most connections to each server.
    #[schemars(range(min = 1, max = 32))]
    pub pool_size: u32,
    /// Most questions that may wait for a connection; more are a temporary failure.
    #[schemars(range(min = 1, max = 10_000))]
    pub queue_limit: u32,
    /// How long connecting may take, with the handshake.
    #[schemars(extend("x-min" = "100ms", "x-max" = "30s"))]
    pub connect_timeout: DurationText,
    /// How long one query may take.
    #[schemars(extend("x-min" = "100ms", "x-max" = "30s"))]
    pub query_timeout: DurationText,
    /// How long one question may take in all, with the wait for a connection.
    #[schemars(extend("x-min" = "100ms", "x-max" = "30s"))]
    pub total_timeout: DurationText,
}

/// TLS to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DatabaseTls {
    /// Never.
    Off,
    /// Always, and verified.
    Required,
}

impl Default for Mysql {
    fn default() -> Self {
        Self {
            hosts: vec![DatabaseHost::localhost()],
            retry_interval: DurationText::from_secs(60),
            user: "postrider".to_owned(),
            password_file: None,
            admin_user: None,
            admin_password_file: None,
            database: "postfix".to_owned(),
            tls: DatabaseTls::Off,
            tls_ca_file: None,
            tls_certificate_file: None,
            tls_key_file: None,
            pool_size: 8,
            queue_limit: 256,
            connect_timeout: DurationText::from_secs(2),
            query_timeout: DurationText::from_secs(3),
            total_timeout: DurationText::from_secs(4),
        }
    }
}

impl Mysql {
    /// Rules between the options.
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        if self.hosts.is_empty() || self.hosts.len() > MOST_HOSTS {
            checks.add(
                "mysql.hosts",
                format!("{} servers", self.hosts.len()),
                "name between 1 and 16, e.g. hosts = [\"localhost\"]",
            );
        }
        if self.tls_certificate_file.is_some() != self.tls_key_file.is_some() {
            checks.add(
                "mysql.tls_certificate_file",
                "a certificate and a key belong together".to_owned(),
                "set tls_certificate_file and tls_key_file, or neither",
            );
        }
        let files = self.tls_ca_file.is_some() || self.tls_certificate_file.is_some();
        if self.tls == DatabaseTls::Off && files {
            checks.add(
                "mysql.tls",
                "TLS is off, but its files are set".to_owned(),
                "set tls = \"required\", or remove the files",
            );
        }
    }
}
