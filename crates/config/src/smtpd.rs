//! `[smtpd]` and `[smtpd.service.NAME]`: the SMTP listeners and what each of them asks of a client.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Checks, Section, fault, read_section};
use crate::error::ConfigError;
use crate::schema;
use crate::tree::{BUILT_IN, Content, Node};
use crate::types::{DurationText, ListenAddr, Size};

/// The SMTP listeners. An option in `[smtpd]` holds for every service; the same option in
/// `[smtpd.service.NAME]` holds for that service and wins. Services of any name may be added.
#[derive(Debug, Clone, Serialize)]
pub struct Smtpd {
    /// `[smtpd]` itself; read here what belongs to the whole process.
    #[serde(flatten)]
    pub options: SmtpdOptions,
    /// The services by name, each with everything that it inherits.
    #[serde(rename = "service")]
    pub services: BTreeMap<String, SmtpdOptions>,
}

/// What the three services of every installation set, as if it stood in the configuration file before
/// anything the administrator writes in the service's own table.
pub const SERVICE_PRESETS: &str = r#"
[mx]
listen = ["0.0.0.0:25", "[::]:25"]

[submission]
listen = ["0.0.0.0:587", "[::]:587"]
smtpd_tls_security_level = "encrypt"
smtpd_sasl_auth_enable = true
smtpd_require_auth = true
reject_sender_login_mismatch = true
smtpd_reject_long_lines = true
smtpd_recipient_limit = 200
connection_limit = 1000
smtpd_client_connection_count_limit = 50

[submissions]
listen = ["0.0.0.0:465", "[::]:465"]
smtpd_tls_wrappermode = true
smtpd_tls_security_level = "encrypt"
smtpd_sasl_auth_enable = true
smtpd_require_auth = true
reject_sender_login_mismatch = true
smtpd_reject_long_lines = true
smtpd_recipient_limit = 200
connection_limit = 1000
smtpd_client_connection_count_limit = 50
"#;

/// When TLS is offered and asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum TlsLevel {
    /// Not offered.
    None,
    /// Offered.
    May,
    /// Nothing but EHLO, NOOP, QUIT and STARTTLS before it.
    Encrypt,
}

/// Whom access tables hold for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AccessChecks {
    /// Clients that are neither in `mynetworks` nor logged in.
    Outsiders,
    /// Every client.
    Everybody,
    /// They are not asked.
    Nobody,
}

/// Options of the SMTP server, for all services or for one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpdOptions {
    /// Addresses and ports of the service; empty turns it off. Not used where systemd passes a socket with
    /// the service's name.
    pub listen: Vec<ListenAddr>,
    /// STARTTLS: `none` is not offered, `may` is offered, `encrypt` is demanded before MAIL and AUTH.
    pub smtpd_tls_security_level: TlsLevel,
    /// TLS from the first byte, as on port 465.
    pub smtpd_tls_wrappermode: bool,
    /// Whether clients may log in. AUTH is offered under TLS only, except to `login_trusted_networks`.
    pub smtpd_sasl_auth_enable: bool,
    /// Only clients that have logged in may send mail.
    pub smtpd_require_auth: bool,
    /// Whom the access tables of the directory hold for (rows for clients, HELO names, senders, recipients):
    /// `outsiders` (neither in `mynetworks` nor logged in), `everybody`, or `nobody`.
    pub smtpd_access_checks: AccessChecks,
    /// A user who has logged in may send only as an address that is his: a mailbox, or an alias to it.
    pub reject_sender_login_mismatch: bool,
    /// Refuse messages with lines longer than 998 octets (mail programs should encode them).
    pub smtpd_reject_long_lines: bool,
    /// Most recipients of one message.
    #[schemars(range(min = 100, max = 50_000))]
    pub smtpd_recipient_limit: u32,
    /// Most connections of the service at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub connection_limit: u32,
    /// Most connections of one client at a time; IPv6 clients count by /64.
    #[schemars(range(min = 1, max = 100_000))]
    pub smtpd_client_connection_count_limit: u32,
    /// Most new connections of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub smtpd_client_connection_rate_limit: u32,
    /// Most messages (MAIL commands) of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub smtpd_client_message_rate_limit: u32,
    /// Most recipients (RCPT commands) of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub smtpd_client_recipient_rate_limit: u32,
    /// Most AUTH commands of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub smtpd_client_auth_rate_limit: u32,
    /// Most TLS handshakes of one client in 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub smtpd_client_new_tls_session_rate_limit: u32,
    /// Failed logins after which the connection is closed.
    #[schemars(range(min = 1, max = 100))]
    pub smtpd_auth_failure_limit: u32,
    /// Errors of one session from which on every reply to an error waits.
    #[schemars(range(min = 1, max = 1_000))]
    pub smtpd_soft_error_limit: u32,
    /// Errors of one session after which it is closed.
    #[schemars(range(min = 1, max = 1_000))]
    pub smtpd_hard_error_limit: u32,
    /// How long the first delayed reply to an error waits; each further one waits that much more.
    #[schemars(extend("x-min" = "0s", "x-max" = "1m"))]
    pub smtpd_error_sleep_time: DurationText,
    /// Commands without use (NOOP, VRFY, RSET...) of one session between two messages; one more closes it.
    #[schemars(range(min = 1, max = 10_000))]
    pub smtpd_junk_command_limit: u32,
    /// How long a client may take for one command, however slowly its bytes come, or for the message unless it
    /// comes at `smtpd_min_data_rate` on average.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub smtpd_timeout: DurationText,
    /// The same while more than 70 % of the connections are in use.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub smtpd_stress_timeout: DurationText,
    /// Slowest rate of a message after the first 30 seconds, in bytes per second.
    #[schemars(extend("x-min" = "0", "x-max" = "1M"))]
    pub smtpd_min_data_rate: Size,
    /// Largest header of a message.
    #[schemars(extend("x-min" = "16K", "x-max" = "16M"))]
    pub header_size_limit: Size,
    /// Most `Received` lines of a message; more look like a loop.
    #[schemars(range(min = 10, max = 1_000))]
    pub hopcount_limit: u32,
    /// Most mailboxes that a message may have, after expansion, to be delivered before the reply to DATA;
    /// with more it goes through the queue. 0 sends everything through the queue.
    #[schemars(range(min = 0, max = 1_000), extend("x-process" = true))]
    pub direct_delivery_recipient_limit: u32,
    /// How long the reply to DATA waits for such a delivery before the queue takes over.
    #[schemars(extend("x-min" = "1s", "x-max" = "5m", "x-process" = true))]
    pub direct_delivery_timeout: DurationText,
    /// Up to this size the body of a message is kept in memory while it arrives; larger ones go to a file.
    #[schemars(extend("x-min" = "4K", "x-max" = "64M", "x-process" = true))]
    pub body_memory_limit: Size,
    /// Memory for the bodies of all sessions together; what does not fit goes to files.
    #[schemars(extend("x-min" = "1M", "x-max" = "64G", "x-process" = true))]
    pub body_memory_budget: Size,
}

impl Default for SmtpdOptions {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            smtpd_tls_security_level: TlsLevel::May,
            smtpd_tls_wrappermode: false,
            smtpd_sasl_auth_enable: false,
            smtpd_require_auth: false,
            smtpd_access_checks: AccessChecks::Outsiders,
            reject_sender_login_mismatch: false,
            smtpd_reject_long_lines: false,
            smtpd_recipient_limit: 1_000,
            connection_limit: 2_000,
            smtpd_client_connection_count_limit: 20,
            smtpd_client_connection_rate_limit: 120,
            smtpd_client_message_rate_limit: 200,
            smtpd_client_recipient_rate_limit: 1_000,
            smtpd_client_auth_rate_limit: 20,
            smtpd_client_new_tls_session_rate_limit: 120,
            smtpd_auth_failure_limit: 3,
            smtpd_soft_error_limit: 10,
            smtpd_hard_error_limit: 20,
            smtpd_error_sleep_time: DurationText::from_secs(1),
            smtpd_junk_command_limit: 100,
            smtpd_timeout: DurationText::from_secs(300),
            smtpd_stress_timeout: DurationText::from_secs(10),
            smtpd_min_data_rate: Size::new(500),
            header_size_limit: Size::new(256 << 10),
            hopcount_limit: 50,
            direct_delivery_recipient_limit: 20,
            direct_delivery_timeout: DurationText::from_secs(30),
            body_memory_limit: Size::new(1 << 20),
            body_memory_budget: Size::new(128 << 20),
        }
    }
}

impl Section for SmtpdOptions {
    const NAME: &'static str = "smtpd";

    fn check(&self, checks: &mut Checks<'_>) {
        if self.smtpd_hard_error_limit < self.smtpd_soft_error_limit {
            checks.add(
                "smtpd_hard_error_limit",
                "it is below smtpd_soft_error_limit".to_owned(),
                "make it at least as large",
            );
        }
        if self.smtpd_require_auth && !self.smtpd_sasl_auth_enable {
            checks.add(
                "smtpd_require_auth",
                "nobody can log in here, so nobody could send mail".to_owned(),
                "set smtpd_sasl_auth_enable = true",
            );
        }
        if self.smtpd_tls_wrappermode && self.smtpd_tls_security_level == TlsLevel::None {
            checks.add(
                "smtpd_tls_wrappermode",
                "it contradicts smtpd_tls_security_level = \"none\"".to_owned(),
                "set smtpd_tls_security_level = \"encrypt\"",
            );
        }
    }
}

impl Smtpd {
    /// Reads `[smtpd]` and its services: built-in preset and the service's own table over `[smtpd]`.
    pub(crate) fn read(node: &Node, errors: &mut Vec<ConfigError>) -> Self {
        let mut common = node.clone();
        let own_services = match &mut common.content {
            Content::Table(entries) => entries.remove("service"),
            Content::List(_) | Content::Leaf(_) => None,
        };
        let before = errors.len();
        let options: SmtpdOptions = read_section(SmtpdOptions::NAME, &common, errors);
        if !options.listen.is_empty() {
            let place = common.find("listen").map_or(&common.place, |node| &node.place);
            errors.push(fault(
                place,
                "smtpd.listen",
                "each service listens for itself".to_owned(),
                "set it in [smtpd.service.mx], [smtpd.service.submission]...".to_owned(),
            ));
        }
        let mut tables = presets();
        if let Some(own) = own_services {
            check_service_tables(&own, errors);
            tables.merge(own);
        }
        if errors.len() > before {
            return Self::default();
        }
        let services = tables
            .entries()
            .into_iter()
            .flatten()
            .map(|(name, table)| {
                let mut whole = common.clone();
                whole.merge(table.clone());
                whole.place = table.place.clone();
                (
                    name.clone(),
                    read_section(&format!("smtpd.service.{name}"), &whole, errors),
                )
            })
            .collect();
        Self { options, services }
    }
}

/// The built-in services.
fn presets() -> Node {
    Node::parse(Path::new(BUILT_IN), SERVICE_PRESETS, &mut Vec::new())
}

/// A service is a table, its name is fit for a log line, and options of the process stay out of it.
fn check_service_tables(own: &Node, errors: &mut Vec<ConfigError>) {
    let Some(services) = own.entries() else {
        let message = "write [smtpd.service.NAME] on a line of its own".to_owned();
        errors.push(fault(&own.place, "smtpd.service", message, String::new()));
        return;
    };
    for (name, table) in services {
        let full = format!("smtpd.service.{name}");
        let Some(options) = table.entries() else {
            let message = format!("write [smtpd.service.{name}] on a line of its own");
            errors.push(fault(&table.place, &full, message, String::new()));
            continue;
        };
        if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            let message = "the name of a service has letters, digits, - and _ only".to_owned();
            errors.push(fault(&table.place, &full, message, String::new()));
        }
        for option in schema::options::<SmtpdOptions>()
            .iter()
            .filter(|option| option.process_wide)
        {
            if let Some(node) = options.get(&option.name) {
                let message = "this option holds for the whole process".to_owned();
                errors.push(fault(
                    &node.place,
                    &format!("{full}.{}", option.name),
                    message,
                    "set it in [smtpd]".to_owned(),
                ));
            }
        }
    }
}

/// The services of an empty configuration.
impl Default for Smtpd {
    fn default() -> Self {
        let services = presets()
            .entries()
            .into_iter()
            .flatten()
            .map(|(name, table)| (name.clone(), read_section(name, table, &mut Vec::new())))
            .collect();
        Self {
            options: SmtpdOptions::default(),
            services,
        }
    }
}
