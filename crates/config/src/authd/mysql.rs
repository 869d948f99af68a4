//! `[authd.mysql]`: the MySQL or MariaDB server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{AbsolutePath, DurationText, SecretFile};

/// The MySQL or MariaDB server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Mysql {
    /// Host name or address of the server; not used where `socket` is set.
    pub host: String,
    /// TCP port of the server.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Unix socket of the server; used instead of `host` and `port`.
    pub socket: Option<AbsolutePath>,
    /// Account at the server; the right to SELECT is enough for mail.
    pub user: String,
    /// File whose first line is the password; only its owner may be able to read it. Default: no password.
    pub password_file: Option<SecretFile>,
    /// Name of the database.
    pub database: String,
    /// Most connections to the server.
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

impl Default for Mysql {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 3306,
            socket: None,
            user: "postrider".to_owned(),
            password_file: None,
            database: "postfix".to_owned(),
            pool_size: 8,
            queue_limit: 256,
            connect_timeout: DurationText::from_secs(2),
            query_timeout: DurationText::from_secs(3),
            total_timeout: DurationText::from_secs(4),
        }
    }
}
