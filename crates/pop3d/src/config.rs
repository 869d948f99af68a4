//! The section `[pop3d]` as checked values.

use std::path::PathBuf;
use std::time::Duration;

use config::{Config, ListenAddr, Networks};

/// What a session and the listeners need to know; made anew at every reload.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Listeners that begin in the clear.
    pub listen: Vec<ListenAddr>,
    /// Listeners with TLS from the first octet.
    pub listen_tls: Vec<ListenAddr>,
    /// Most connections at a time.
    pub connection_limit: u32,
    /// Most connections of one client at a time.
    pub client_connection_count_limit: u32,
    /// Most new connections of one client in 60 seconds.
    pub client_connection_rate_limit: u32,
    /// Most logins of one client in 60 seconds.
    pub client_auth_rate_limit: u32,
    /// Most TLS handshakes of one client in 60 seconds.
    pub client_new_tls_session_rate_limit: u32,
    /// Failed logins that close a connection.
    pub auth_failure_limit: u32,
    /// Time to log in.
    pub login_timeout: Duration,
    /// Time between two commands after it.
    pub idle_timeout: Duration,
    /// Time for a client to read a piece of what we send.
    pub output_timeout: Duration,
    /// Peers that may log in without TLS and wait no delay.
    pub login_trusted_networks: Networks,
    /// Clients for which rates and counts do not apply.
    pub client_event_limit_exceptions: Networks,
    /// How often authd is asked whether open sessions may go on.
    pub session_check_interval: Duration,
    /// authd's socket for this daemon.
    pub authd_socket: PathBuf,
    /// Below it lie all Maildirs.
    pub virtual_mailbox_base: PathBuf,
    /// The name of this host.
    pub myhostname: String,
}

impl Settings {
    /// Takes what concerns pop3d out of the configuration.
    pub fn new(config: &Config) -> Self {
        let general = &config.general;
        let own = &config.pop3d;
        Self {
            listen: own.listen.clone(),
            listen_tls: own.listen_tls.clone(),
            connection_limit: own.connection_limit,
            client_connection_count_limit: own.client_connection_count_limit,
            client_connection_rate_limit: own.client_connection_rate_limit,
            client_auth_rate_limit: own.client_auth_rate_limit,
            client_new_tls_session_rate_limit: own.client_new_tls_session_rate_limit,
            auth_failure_limit: own.auth_failure_limit,
            login_timeout: own.login_timeout.get(),
            idle_timeout: own.idle_timeout.get(),
            output_timeout: own.output_timeout.get(),
            login_trusted_networks: general.login_trusted_networks.clone(),
            client_event_limit_exceptions: general.smtpd_client_event_limit_exceptions.clone(),
            session_check_interval: general.session_check_interval.get(),
            authd_socket: general.authd_socket("pop3d"),
            virtual_mailbox_base: general.virtual_mailbox_base.as_path().to_owned(),
            myhostname: general.myhostname.as_str().to_owned(),
        }
    }
}
