//! The configuration of deliver as checked values.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use mail_types::Address;
use smtp_proto::Protocol;
use smtp_proto::command::ParamRules;
use smtp_proto::server;

/// What a session needs of the configuration; it keeps the values that it began with.
#[derive(Debug)]
pub struct Settings {
    /// The LMTP dialogue: name, limits, our extension.
    pub protocol: Arc<server::Config>,
    /// Below it all Maildirs lie.
    pub mail_root: PathBuf,
    /// LMTP connections at a time.
    pub connections: u32,
    /// Largest message, for the check of free space.
    pub message_size_limit: u64,
    /// What `<postmaster>` without a domain means here.
    pub postmaster: Option<Address>,
}

impl Settings {
    /// Checks the sections `[general]` and `[deliver]`.
    pub fn new(config: &Config) -> Self {
        let general = &config.general;
        let mut protocol = server::Config::new(Protocol::Lmtp, general.myhostname.to_string());
        protocol.private_extensions = &[EXTENSION];
        protocol.params = ParamRules {
            private_mail: &[XID],
            private_rcpt: &[XIDX, XORIG, XREPEAT],
        };
        let limit = general.message_size_limit.bytes();
        // smtpd has measured the message before it put the trace header on top.
        protocol.limits.body.message = limit.saturating_add(TRACE_ROOM);
        protocol.limits.recipients = config.deliver.lmtp_recipient_limit as usize;
        protocol.limits.timeout = config.deliver.lmtp_timeout.get();
        protocol.limits.body_grace = protocol.limits.body_grace.max(Duration::from_secs(30));
        Self {
            protocol: Arc::new(protocol),
            mail_root: general.virtual_mailbox_base.as_path().to_owned(),
            connections: config.deliver.connection_limit,
            message_size_limit: limit,
            postmaster: Address::new("postmaster", general.domain()).ok(),
        }
    }
}

/// The private extension of LHLO.
pub(crate) const EXTENSION: &str = "XPOSTRIDER";
/// MAIL parameter: the message's id.
pub(crate) const XID: &str = "XID";
/// RCPT parameter: the recipient's index in the message.
pub(crate) const XIDX: &str = "XIDX";
/// RCPT parameter: the address that the client gave, in xtext.
pub(crate) const XORIG: &str = "XORIG";
/// RCPT parameter: the delivery may be a repetition.
pub(crate) const XREPEAT: &str = "XREPEAT";
/// Room for the header lines that smtpd and qmgr put on top of a message.
const TRACE_ROOM: u64 = 64 << 10;
