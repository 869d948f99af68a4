//! `[authd.socket_uids]`: who may connect to the sockets of authd, beside the modes of their directories.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The user ids that may use each of authd's sockets, checked in addition to the mode of its directory; an empty
/// list checks nothing. Takes effect at a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct SocketUids {
    /// Of the socket for smtpd.
    pub smtpd: Vec<u32>,
    /// Of the socket for qmgr.
    pub qmgr: Vec<u32>,
    /// Of the socket for deliver.
    pub deliver: Vec<u32>,
    /// Of the socket for imapd.
    pub imapd: Vec<u32>,
    /// Of the socket for pop3d.
    pub pop3d: Vec<u32>,
    /// Of the socket for mailctl.
    pub admin: Vec<u32>,
}
