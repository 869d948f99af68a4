//! `[general]`: what more than one process needs to know.

use std::path::PathBuf;
use std::sync::OnceLock;

use mail_types::{Address, Domain};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Section};
use crate::types::{AbsolutePath, Delimiter, DurationText, HostName, MailAddress, Networks, Size};

/// What more than one process needs to know: names, networks, directories, limits.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct General {
    /// The name of this host in greetings, `Received` lines and events; it should resolve to this host.
    #[schemars(extend("x-default" = "the system's host name"))]
    pub myhostname: HostName,
    /// The domain of this host, used where an address of our own has no domain. Default: `myhostname`
    /// without its first label.
    pub mydomain: Option<HostName>,
    /// Networks whose clients may relay without a password. Loopback is not trusted unless it is named here.
    pub mynetworks: Networks,
    /// The character between a user name and an extension: with `+`, mail to `user+list` goes to `user`.
    /// Empty turns extensions off.
    pub recipient_delimiter: Delimiter,
    /// Largest message that is accepted, with its header; announced as SIZE.
    #[schemars(extend("x-min" = "64K", "x-max" = "2G"))]
    pub message_size_limit: Size,
    /// Directory of the sockets through which the processes talk to each other.
    pub run_dir: AbsolutePath,
    /// Directory of the mail queue.
    pub spool_dir: AbsolutePath,
    /// Directory of what has to survive a restart beside mail: the SQLite directory, what authd remembers of logins, and the
    /// replica of the directory.
    pub state_dir: AbsolutePath,
    /// Directory of the decision log: one file of JSON lines for each process.
    pub events_dir: AbsolutePath,
    /// Directory below which all Maildirs lie.
    pub virtual_mailbox_base: AbsolutePath,
    /// Owner of the Maildirs (a user id).
    #[schemars(range(min = 1, max = 4294967294i64))]
    pub virtual_uid: u32,
    /// Group of the Maildirs (a group id).
    #[schemars(range(min = 1, max = 4294967294i64))]
    pub virtual_gid: u32,
    /// Smallest user id that may own Maildirs; a smaller `virtual_uid` refuses the start.
    #[schemars(range(min = 1, max = 4294967294i64))]
    pub virtual_minimum_uid: u32,
    /// Where mail for `postmaster` goes when no mailbox or alias of that name exists. Default:
    /// `postmaster@mydomain`.
    pub postmaster_address: Option<MailAddress>,
    /// Networks that are exempt from the connection counts and rates of every listener.
    pub smtpd_client_event_limit_exceptions: Networks,
    /// Networks whose clients may log in without TLS and wait no delay after a wrong password.
    pub login_trusted_networks: Networks,
    /// How often imapd and pop3d ask whether the accounts of their open sessions are still what they were at
    /// the login; a session whose mailbox was turned off, moved or given another password ends. smtpd asks at
    /// each MAIL.
    #[schemars(extend("x-min" = "1s", "x-max" = "5m"))]
    pub session_check_interval: DurationText,
    /// How long a process that was told to stop waits for its sessions to end.
    #[schemars(extend("x-min" = "0s", "x-max" = "10m"))]
    pub shutdown_timeout: DurationText,
    /// What goes to the human log on standard error: `error`, `warn`, `info`, `debug` or `trace`, also per
    /// module as in `info,smtpd=debug`.
    pub log_level: String,
}

impl Default for General {
    fn default() -> Self {
        Self {
            myhostname: system_host_name(),
            mydomain: None,
            mynetworks: Networks::default(),
            recipient_delimiter: Delimiter::new(Some('+')),
            message_size_limit: Size::new(50 << 20),
            run_dir: path("/run/postrider"),
            spool_dir: path("/var/spool/postrider"),
            state_dir: path("/var/lib/postrider"),
            events_dir: path("/var/log/postrider"),
            virtual_mailbox_base: path("/var/vmail"),
            virtual_uid: 5000,
            virtual_gid: 5000,
            virtual_minimum_uid: 100,
            postmaster_address: None,
            smtpd_client_event_limit_exceptions: Networks::default(),
            login_trusted_networks: Networks::default(),
            session_check_interval: DurationText::from_secs(25),
            shutdown_timeout: DurationText::from_secs(30),
            log_level: "info".to_owned(),
        }
    }
}

impl General {
    /// The socket of authd for a role: `smtpd`, `qmgr`, `deliver`, `imapd`, `pop3d` or `admin`.
    pub fn authd_socket(&self, role: &str) -> PathBuf {
        self.run_dir.join("authd").join(role).join("sock")
    }

    /// The socket on which deliver speaks LMTP.
    pub fn lmtp_socket(&self) -> PathBuf {
        self.run_dir.join("lmtp/sock")
    }

    /// The socket on which qmgr takes wake-up hints.
    pub fn qmgr_hint_socket(&self) -> PathBuf {
        self.run_dir.join("qmgr/hint/sock")
    }

    /// The socket on which qmgr is administered.
    pub fn qmgr_admin_socket(&self) -> PathBuf {
        self.run_dir.join("qmgr/admin/sock")
    }

    /// `mydomain`, or `myhostname` without its first label (all of it where only one label is left).
    pub fn domain(&self) -> Domain {
        if let Some(domain) = &self.mydomain {
            return domain.domain().clone();
        }
        self.myhostname
            .as_str()
            .split_once('.')
            .filter(|(_, rest)| rest.contains('.'))
            .and_then(|(_, rest)| Domain::new(rest).ok())
            .unwrap_or_else(|| self.myhostname.domain().clone())
    }

    /// `postmaster_address`, or `postmaster@` [`General::domain`]. None cannot happen: `postmaster` is a
    /// valid local part of every domain.
    pub fn postmaster(&self) -> Option<Address> {
        match &self.postmaster_address {
            Some(address) => Some(address.address().clone()),
            None => Address::new("postmaster", self.domain()).ok(),
        }
    }
}

impl Section for General {
    const NAME: &'static str = "general";

    fn check(&self, checks: &mut Checks<'_>) {
        if self.virtual_uid < self.virtual_minimum_uid {
            checks.add(
                "virtual_uid",
                format!(
                    "{} is below virtual_minimum_uid ({})",
                    self.virtual_uid, self.virtual_minimum_uid
                ),
                "choose an account of its own for the Maildirs, or lower virtual_minimum_uid",
            );
        }
        let known = ["off", "error", "warn", "info", "debug", "trace"];
        for directive in self.log_level.split(',') {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            if !known.contains(&level.to_ascii_lowercase().as_str()) {
                checks.add(
                    "log_level",
                    format!("{level:?} is not a level"),
                    "use error, warn, info, debug or trace, for one module as in \"info,smtpd=debug\"",
                );
            }
        }
    }
}

/// The kernel's host name when the process first asked, or `localhost` where it is none that we accept.
fn system_host_name() -> HostName {
    static NAME: OnceLock<HostName> = OnceLock::new();
    let read = || {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .and_then(|name| name.trim().parse().ok())
            .unwrap_or_else(localhost)
    };
    NAME.get_or_init(read).clone()
}

#[expect(clippy::expect_used, reason = "a constant that a test reads")]
fn localhost() -> HostName {
    "localhost".parse().expect("localhost is a host name")
}

/// A default path of this crate.
#[expect(
    clippy::expect_used,
    reason = "only constants, each read by the test of the defaults"
)]
pub(crate) fn path(text: &str) -> AbsolutePath {
    text.parse().expect("default paths are absolute")
}
