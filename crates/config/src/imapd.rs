//! `[imapd]`: reading mail over IMAP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::both;
use crate::check::{Checks, Section};
use crate::types::{DurationText, ListenAddr};

/// Reading mail over IMAP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Imapd {
    /// Addresses and ports that begin in the clear and offer STARTTLS; empty turns them off. Not used where
    /// systemd passes a socket named `imap`.
    pub listen: Vec<ListenAddr>,
    /// Addresses and ports with TLS from the first byte; empty turns them off. Not used where systemd
    /// passes a socket named `imaps`.
    pub listen_tls: Vec<ListenAddr>,
    /// Most connections at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub connection_limit: u32,
    /// Most connections of one client at a time; IPv6 clients count by /64.
    #[schemars(range(min = 1, max = 100_000))]
    pub client_connection_count_limit: u32,
    /// Most new connections of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub client_connection_rate_limit: u32,
    /// Most sessions of one user from one client at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub user_connection_count_limit: u32,
    /// Most login attempts of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub client_auth_rate_limit: u32,
    /// Most TLS handshakes of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub client_new_tls_session_rate_limit: u32,
    /// Failed logins after which the connection is closed.
    #[schemars(range(min = 1, max = 100))]
    pub auth_failure_limit: u32,
    /// How long a client may take to log in.
    #[schemars(extend("x-min" = "1s", "x-max" = "10m"))]
    pub login_timeout: DurationText,
    /// How long a client that has logged in may be silent (RFC 3501 5.4 wants at least 30 minutes).
    #[schemars(extend("x-min" = "1s", "x-max" = "1d"))]
    pub idle_timeout: DurationText,
    /// How long a client may leave what we send unread.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub output_timeout: DurationText,
}

impl Default for Imapd {
    fn default() -> Self {
        Self {
            listen: both(143),
            listen_tls: both(993),
            connection_limit: 5_000,
            client_connection_count_limit: 50,
            client_connection_rate_limit: 120,
            user_connection_count_limit: 20,
            client_auth_rate_limit: 20,
            client_new_tls_session_rate_limit: 120,
            auth_failure_limit: 3,
            login_timeout: DurationText::from_secs(60),
            idle_timeout: DurationText::from_secs(30 * 60),
            output_timeout: DurationText::from_secs(300),
        }
    }
}

impl Section for Imapd {
    const NAME: &'static str = "imapd";

    fn check(&self, _: &mut Checks<'_>) {}
}
