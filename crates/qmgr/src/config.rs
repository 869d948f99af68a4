//! The options of `[qmgr]` as checked values.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use auth_api::directory::NextHop;
use config::{Config, Networks, OutboundTls};
use mail_types::Domain;
use smtp_proto::client::Timeouts;

use crate::scheduler::{Backoff, Limits};

/// What qmgr works with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our host name: EHLO, reporting MTA, loops.
    pub hostname: String,
    /// Where the spool is.
    pub spool_dir: PathBuf,
    /// The socket of authd for us.
    pub authd_socket: PathBuf,
    /// The socket of deliver.
    pub lmtp_socket: PathBuf,
    /// Numbers of the scheduler.
    pub limits: Limits,
    /// Age of a delay notice; none: never.
    pub delay_notice: Option<Duration>,
    /// How often `incoming/` is read for what no hint told.
    pub scan_interval: Duration,
    /// How long running deliveries may take at the end of the process.
    pub drain: Duration,
    /// Where to send and how.
    pub outbound: Outbound,
}

/// How mail for other hosts is sent.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Takes all mail for other hosts.
    pub relayhost: Option<NextHop>,
    /// Name servers; empty: the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// Port of other servers.
    pub port: u16,
    /// Networks that the guard against private addresses lets through.
    pub private_networks: Networks,
    /// Whether STARTTLS is used where it is offered.
    pub tls: bool,
    /// RFC 5321 4.5.3.2.
    pub timeouts: Timeouts,
}

/// An option that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `relayhost` is no host.
    #[error("[qmgr] relayhost = {0:?}: write [host], [host]:port or a domain")]
    Relayhost(String),
}

impl Settings {
    /// Reads the configuration.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        let (general, qmgr) = (&config.general, &config.qmgr);
        let delay = qmgr.delay_warning_time.get();
        Ok(Self {
            hostname: general.myhostname.as_str().to_owned(),
            spool_dir: general.spool_dir.as_path().to_owned(),
            authd_socket: general.authd_socket("qmgr"),
            lmtp_socket: general.lmtp_socket(),
            limits: Limits {
                active: qmgr.qmgr_message_active_limit as usize,
                concurrency: (
                    qmgr.initial_destination_concurrency,
                    qmgr.default_destination_concurrency_limit,
                ),
                total_concurrency: TOTAL_CONCURRENCY,
                recipients: qmgr.default_destination_recipient_limit as usize,
                backoff: Backoff {
                    min: qmgr.minimal_backoff_time.get(),
                    max: qmgr.maximal_backoff_time.get(),
                    lifetime: qmgr.maximal_queue_lifetime.get(),
                },
                probe: qmgr.daemon_probe_interval.get(),
            },
            delay_notice: (!delay.is_zero()).then_some(delay),
            scan_interval: qmgr.queue_scan_interval.get(),
            drain: general.shutdown_timeout.get(),
            outbound: Outbound {
                relayhost: relayhost(&qmgr.relayhost)?,
                dns_servers: qmgr.dns_server_addresses(),
                port: qmgr.smtp_port,
                private_networks: qmgr.smtp_private_networks.clone(),
                tls: qmgr.smtp_tls_security_level == OutboundTls::May,
                timeouts: Timeouts {
                    connect: qmgr.smtp_connect_timeout.get(),
                    greeting: qmgr.smtp_helo_timeout.get(),
                    hello: qmgr.smtp_helo_timeout.get(),
                    mail: qmgr.smtp_mail_timeout.get(),
                    rcpt: qmgr.smtp_rcpt_timeout.get(),
                    data: qmgr.smtp_data_init_timeout.get(),
                    block: qmgr.smtp_data_xfer_timeout.get(),
                    end_of_data: qmgr.smtp_data_done_timeout.get(),
                    ..Timeouts::default()
                },
            },
        })
    }
}

/// Most connections to other servers in all; each needs two file descriptors at worst.
const TOTAL_CONCURRENCY: u32 = 400;

/// `[host]`, `[host]:port`, `domain`, `domain:port`, `[address]`, or nothing.
fn relayhost(text: &str) -> Result<Option<NextHop>, SettingsError> {
    let wrong = || SettingsError::Relayhost(text.to_owned());
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (host, rest, use_mx) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']').ok_or_else(wrong)?;
            (host, rest, false)
        }
        None => match text.find(':') {
            Some(colon) => (&text[..colon], &text[colon..], true),
            None => (text, "", true),
        },
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(wrong)?),
        None if rest.is_empty() => None,
        None => return Err(wrong()),
    };
    let literal = host.strip_prefix("IPv6:").unwrap_or(host);
    let host = if !use_mx && literal.parse::<IpAddr>().is_ok() {
        literal.to_owned()
    } else {
        Domain::new(host).map_err(|_| wrong())?.as_str().to_owned()
    };
    Ok(Some(NextHop {
        host,
        port,
        use_mx,
        explicit: true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relayhosts() {
        let hop = |text: &str| relayhost(text).unwrap().map(|h| (h.host, h.port, h.use_mx));
        assert_eq!(hop(""), None);
        assert_eq!(
            hop("[Mail.example.net]:587"),
            Some(("mail.example.net".to_owned(), Some(587), false))
        );
        assert_eq!(hop("example.net"), Some(("example.net".to_owned(), None, true)));
        assert_eq!(
            hop("example.net:2525"),
            Some(("example.net".to_owned(), Some(2525), true))
        );
        assert_eq!(hop("[192.0.2.1]"), Some(("192.0.2.1".to_owned(), None, false)));
        assert_eq!(
            hop("[IPv6:2001:db8::1]:25"),
            Some(("2001:db8::1".to_owned(), Some(25), false))
        );
        for wrong in ["[x", "[x]y", "x:", "x:0", "x:70000", "192.0.2.1", "a b", "[]"] {
            assert!(relayhost(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let settings = Settings::new(&Config::default()).unwrap();
        assert_eq!(settings.limits.concurrency, (2, 20));
        assert_eq!(settings.limits.backoff.lifetime, Duration::from_secs(5 * 86_400));
        assert_eq!(settings.delay_notice, Some(Duration::from_secs(4 * 3600)));
        assert_eq!(settings.outbound.port, 25);
    }
}
