//! `[authd.compat]`: the sockets of saslauthd and Courier's authdaemond, for other software of the site.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{AbsolutePath, FileMode};

/// The sockets of saslauthd and Courier's authdaemond, for other software of the site.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Compat {
    /// Socket that speaks the protocol of saslauthd, such as `/run/saslauthd/mux`; not set: there is none.
    /// Takes effect at a restart, like all options of the sockets.
    pub saslauthd_socket: Option<AbsolutePath>,
    /// Who may connect to it. Whoever may can try passwords.
    pub saslauthd_mode: FileMode,
    /// Group of that socket, and of its directory if authd makes it, such as `sasl`; authd's account has to be
    /// in it. Default: authd's own group.
    pub saslauthd_group: Option<String>,
    /// Socket that speaks the protocol of Courier's authdaemond, such as `/run/courier/authdaemon/socket`; not
    /// set: there is none.
    pub authdaemon_socket: Option<AbsolutePath>,
    /// Who may connect to it. Whoever may can try passwords, and list all accounts.
    pub authdaemon_mode: FileMode,
    /// Group of that socket, and of its directory if authd makes it, such as `courier`; authd's account has to
    /// be in it. Default: authd's own group.
    pub authdaemon_group: Option<String>,
    /// Whether answers of the authdaemon socket hold the stored passwords (`PASSWD=`, `PASSWD2=`), for
    /// software that checks challenges by itself.
    pub authdaemon_show_passwords: bool,
    /// Most connections to each of the two sockets at a time.
    #[schemars(range(min = 1, max = 10_000))]
    pub connection_limit: u32,
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            saslauthd_socket: None,
            saslauthd_mode: FileMode::new(0o660),
            saslauthd_group: None,
            authdaemon_socket: None,
            authdaemon_mode: FileMode::new(0o660),
            authdaemon_group: None,
            authdaemon_show_passwords: false,
            connection_limit: 256,
        }
    }
}
