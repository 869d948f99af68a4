//! `[qmgr]`: the queue, its schedule, and delivery to other hosts.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Section};
use crate::types::{DurationText, ListenAddr, Networks};

/// The queue, its schedule, and delivery to other hosts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Qmgr {
    /// The server that takes all mail for other hosts: `[mail.example.net]:587` is a host, `example.net` a
    /// domain with MX records. Empty: the MX records of each domain.
    pub relayhost: String,
    /// Name servers as `address:port`. Empty: those of `/etc/resolv.conf`.
    pub dns_servers: Vec<ListenAddr>,
    /// TCP port of other mail servers where neither the transport nor `relayhost` names one.
    #[schemars(range(min = 1, max = 65535))]
    pub smtp_port: u16,
    /// Private and loopback networks to which mail may go when a name of the DNS points there. All others of
    /// that kind are refused, so that nobody can send mail into our own network by a record of his.
    pub smtp_private_networks: Networks,
    /// `none` never uses TLS towards other servers, `may` uses it where it is offered.
    pub smtp_tls_security_level: OutboundTls,
    /// Wait before the second attempt; doubled with each further one.
    #[schemars(extend("x-min" = "100ms", "x-max" = "1d"))]
    pub minimal_backoff_time: DurationText,
    /// Longest wait between two attempts.
    #[schemars(extend("x-min" = "100ms", "x-max" = "7d"))]
    pub maximal_backoff_time: DurationText,
    /// Age at which a message that could not be delivered is returned.
    #[schemars(extend("x-min" = "0s", "x-max" = "100d"))]
    pub maximal_queue_lifetime: DurationText,
    /// Age at which the sender is told that a message is delayed; `0s` never.
    #[schemars(extend("x-min" = "0s", "x-max" = "100d"))]
    pub delay_warning_time: DurationText,
    /// How long connecting to another server may take.
    #[schemars(extend("x-min" = "100ms", "x-max" = "10m"))]
    pub smtp_connect_timeout: DurationText,
    /// How long the greeting and EHLO may take (RFC 5321 4.5.3.2.1).
    #[schemars(extend("x-min" = "100ms", "x-max" = "1h"))]
    pub smtp_helo_timeout: DurationText,
    /// How long the reply to MAIL may take (RFC 5321 4.5.3.2.2).
    #[schemars(extend("x-min" = "100ms", "x-max" = "1h"))]
    pub smtp_mail_timeout: DurationText,
    /// How long the reply to RCPT may take (RFC 5321 4.5.3.2.3).
    #[schemars(extend("x-min" = "100ms", "x-max" = "1h"))]
    pub smtp_rcpt_timeout: DurationText,
    /// How long the reply to DATA may take (RFC 5321 4.5.3.2.4).
    #[schemars(extend("x-min" = "100ms", "x-max" = "1h"))]
    pub smtp_data_init_timeout: DurationText,
    /// How long sending one block of the message may take (RFC 5321 4.5.3.2.5).
    #[schemars(extend("x-min" = "100ms", "x-max" = "1h"))]
    pub smtp_data_xfer_timeout: DurationText,
    /// How long the reply to the end of the message may take (RFC 5321 4.5.3.2.6).
    #[schemars(extend("x-min" = "100ms", "x-max" = "1h"))]
    pub smtp_data_done_timeout: DurationText,
    /// Connections to one destination at first; more follow while it answers well.
    #[schemars(range(min = 1, max = 100))]
    pub initial_destination_concurrency: u32,
    /// Most connections to one destination.
    #[schemars(range(min = 1, max = 1_000))]
    pub default_destination_concurrency_limit: u32,
    /// Most recipients of one transaction with another server.
    #[schemars(range(min = 1, max = 1_000))]
    pub default_destination_recipient_limit: u32,
    /// Most recipients that are worked on at a time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub qmgr_message_active_limit: u32,
    /// How often authd, deliver or the spool is tried while it cannot be used. Such a time counts as no attempt.
    #[schemars(extend("x-min" = "100ms", "x-max" = "10m"))]
    pub daemon_probe_interval: DurationText,
    /// How often the spool is read for messages that smtpd could not tell of.
    #[schemars(extend("x-min" = "100ms", "x-max" = "1d"))]
    pub queue_scan_interval: DurationText,
}

/// TLS towards other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OutboundTls {
    /// Never.
    None,
    /// Where it is offered.
    May,
}

impl Default for Qmgr {
    fn default() -> Self {
        Self {
            relayhost: String::new(),
            dns_servers: Vec::new(),
            smtp_port: 25,
            smtp_private_networks: Networks::default(),
            smtp_tls_security_level: OutboundTls::May,
            minimal_backoff_time: DurationText::from_secs(300),
            maximal_backoff_time: DurationText::from_secs(4 * 3600),
            maximal_queue_lifetime: DurationText::from_secs(5 * 86_400),
            delay_warning_time: DurationText::from_secs(4 * 3600),
            smtp_connect_timeout: DurationText::from_secs(30),
            smtp_helo_timeout: DurationText::from_secs(300),
            smtp_mail_timeout: DurationText::from_secs(300),
            smtp_rcpt_timeout: DurationText::from_secs(300),
            smtp_data_init_timeout: DurationText::from_secs(120),
            smtp_data_xfer_timeout: DurationText::from_secs(180),
            smtp_data_done_timeout: DurationText::from_secs(600),
            initial_destination_concurrency: 2,
            default_destination_concurrency_limit: 20,
            default_destination_recipient_limit: 50,
            qmgr_message_active_limit: 20_000,
            daemon_probe_interval: DurationText::from_secs(2),
            queue_scan_interval: DurationText::from_secs(60),
        }
    }
}

impl Qmgr {
    /// The name servers.
    pub fn dns_server_addresses(&self) -> Vec<SocketAddr> {
        self.dns_servers
            .iter()
            .filter_map(|server| match server {
                ListenAddr::Tcp(address) => Some(*address),
                ListenAddr::Unix(_) => None,
            })
            .collect()
    }
}

impl Section for Qmgr {
    const NAME: &'static str = "qmgr";

    fn check(&self, checks: &mut Checks<'_>) {
        if self.maximal_backoff_time.get() < self.minimal_backoff_time.get() {
            checks.add(
                "maximal_backoff_time",
                "it is shorter than minimal_backoff_time".to_owned(),
                "make it at least as long",
            );
        }
        if self
            .dns_servers
            .iter()
            .any(|server| matches!(server, ListenAddr::Unix(_)))
        {
            checks.add(
                "dns_servers",
                "a name server has no Unix socket".to_owned(),
                "write it like \"192.0.2.53:53\"",
            );
        }
        if self.initial_destination_concurrency > self.default_destination_concurrency_limit {
            checks.add(
                "initial_destination_concurrency",
                "it is above default_destination_concurrency_limit".to_owned(),
                "make it at most as large",
            );
        }
    }
}
