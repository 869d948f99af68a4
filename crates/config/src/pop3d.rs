//! `[pop3d]`: reading mail over POP3.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::both;
use crate::check::{Checks, Section};
use crate::types::{DurationText, ListenAddr};

/// Reading mail over POP3.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pop3d {
    /// Addresses and ports that begin in the clear and offer STLS; empty turns them off. Not used where
    /// systemd passes a socket named `pop3`.
    pub listen: Vec<ListenAddr>,
    /// Addresses and ports with TLS from the first byte; empty turns them off. Not used where systemd
    /// passes a socket named `pop3s`.
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
    /// How long a client that has logged in may be silent (RFC 1939 3 wants at least 10 minutes).
    #[schemars(extend("x-min" = "1s", "x-max" = "1d"))]
    pub idle_timeout: DurationText,
    /// How long a client may leave what we send unread.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub output_timeout: DurationText,
}

impl Default for Pop3d {
    fn default() -> Self {
        Self {
            listen: both(110),
            listen_tls: both(995),
            connection_limit: 500,
            client_connection_count_limit: 50,
            client_connection_rate_limit: 120,
            client_auth_rate_limit: 20,
            client_new_tls_session_rate_limit: 120,
            auth_failure_limit: 3,
            login_timeout: DurationText::from_secs(60),
            idle_timeout: DurationText::from_secs(10 * 60),
            output_timeout: DurationText::from_secs(300),
        }
    }
}

impl Section for Pop3d {
    const NAME: &'static str = "pop3d";

    fn check(&self, _: &mut Checks<'_>) {}
}
