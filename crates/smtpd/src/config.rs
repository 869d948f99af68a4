//! The options of `[general]`, `[tls]` and `[smtpd]` as the values that sessions work with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{Config, ListenAddr, Networks, SmtpdOptions, TlsLevel};
use mail_types::Domain;
use smtp_proto::Protocol;
use smtp_proto::server::{self, AuthPolicy, TlsPolicy};

/// Everything that a reload may change.
#[derive(Debug)]
pub struct Settings {
    /// The services by name.
    pub services: BTreeMap<String, Arc<Service>>,
    /// What holds for the process.
    pub process: Process,
}

/// What holds for the process. Paths and budgets are read at the start only.
#[derive(Debug, Clone)]
pub struct Process {
    /// The socket of authd.
    pub authd_socket: PathBuf,
    /// The socket of deliver.
    pub lmtp_socket: PathBuf,
    /// The socket for hints to qmgr.
    pub hint_socket: PathBuf,
    /// The spool.
    pub spool_dir: PathBuf,
    /// Largest body that is kept in memory, in octets.
    pub body_memory_limit: usize,
    /// Memory for all bodies together, in octets.
    pub body_memory_budget: usize,
    /// Size limit of a message, for the free-space check.
    pub message_size_limit: u64,
}

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Its name: `mx`, `submission`...
    pub name: String,
    /// Where it listens.
    pub listen: Vec<ListenAddr>,
    /// Its options, for what is not in `protocol`.
    pub options: SmtpdOptions,
    /// Our name.
    pub hostname: String,
    /// Our domain: added where the client left it out.
    pub domain: Domain,
    /// Clients that may relay.
    pub mynetworks: Networks,
    /// Clients that may log in without TLS.
    pub login_trusted: Networks,
    /// Clients that are not counted.
    pub exceptions: Networks,
    /// Most recipients of a message that is delivered directly.
    pub direct_recipients: usize,
    /// How long deliver may take after the last byte.
    pub direct_timeout: Duration,
    protocol: [Arc<server::Config>; 4],
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A service needs TLS and there is no certificate.
    #[error(
        "smtpd.service.{0} needs TLS: set certificate_file in [tls], or listen = [] to turn the service off"
    )]
    NoCertificate(String),
}

impl Settings {
    /// Reads them.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        let services = config
            .smtpd
            .services
            .iter()
            .map(|(name, options)| Ok((name.clone(), Arc::new(Service::new(config, name, options)?))))
            .collect::<Result<_, SettingsError>>()?;
        let options = &config.smtpd.options;
        Ok(Self {
            services,
            process: Process {
                authd_socket: config.general.authd_socket("smtpd"),
                lmtp_socket: config.general.lmtp_socket(),
                hint_socket: config.general.qmgr_hint_socket(),
                spool_dir: config.general.spool_dir.as_path().to_owned(),
                body_memory_limit: octets(options.body_memory_limit.bytes()),
                body_memory_budget: octets(options.body_memory_budget.bytes()),
                message_size_limit: config.general.message_size_limit.bytes(),
            },
        })
    }
}

impl Service {
    fn new(config: &Config, name: &str, options: &SmtpdOptions) -> Result<Self, SettingsError> {
        let has_certificate = config.tls.files().is_some();
        let needs_tls =
            options.smtpd_tls_security_level == TlsLevel::Encrypt || options.smtpd_tls_wrappermode;
        if needs_tls && !has_certificate && !options.listen.is_empty() {
            return Err(SettingsError::NoCertificate(name.to_owned()));
        }
        let hostname = config.general.myhostname.to_string();
        let base = protocol(config, options, has_certificate, &hostname);
        let variant = |trusted: bool, stressed: bool| {
            let mut variant = base.clone();
            if trusted && variant.auth == AuthPolicy::UnderTls {
                variant.auth = AuthPolicy::Always;
            }
            if stressed {
                variant.limits = variant.limits.stressed();
                let timeout = options.smtpd_stress_timeout.get();
                variant.limits.timeout = variant.limits.timeout.min(timeout);
            }
            Arc::new(variant)
        };
        Ok(Self {
            name: name.to_owned(),
            listen: options.listen.clone(),
            hostname,
            domain: config.general.domain(),
            mynetworks: config.general.mynetworks.clone(),
            login_trusted: config.general.login_trusted_networks.clone(),
            exceptions: config.general.smtpd_client_event_limit_exceptions.clone(),
            direct_recipients: options.direct_delivery_recipient_limit as usize,
            direct_timeout: options.direct_delivery_timeout.get(),
            protocol: [
                variant(false, false),
                variant(false, true),
                variant(true, false),
                variant(true, true),
            ],
            options: options.clone(),
        })
    }

    /// What the protocol session is told: for a client in `login_trusted_networks`, under load.
    pub fn protocol(&self, trusted: bool, stressed: bool) -> Arc<server::Config> {
        Arc::clone(&self.protocol[usize::from(trusted) * 2 + usize::from(stressed)])
    }
}

fn protocol(
    config: &Config,
    options: &SmtpdOptions,
    has_certificate: bool,
    hostname: &str,
) -> server::Config {
    let mut protocol = server::Config::new(Protocol::Smtp, hostname);
    protocol.tls = match options.smtpd_tls_security_level {
        _ if !has_certificate => TlsPolicy::Off,
        TlsLevel::None => TlsPolicy::Off,
        TlsLevel::May => TlsPolicy::Offered,
        TlsLevel::Encrypt => TlsPolicy::Required,
    };
    if options.smtpd_sasl_auth_enable {
        protocol.auth = AuthPolicy::UnderTls;
    }
    let limits = &mut protocol.limits;
    limits.body.message = config.general.message_size_limit.bytes();
    if options.smtpd_reject_long_lines {
        limits.body.line = SHORT_LINE;
    }
    limits.recipients = options.smtpd_recipient_limit as usize;
    limits.junk_commands = options.smtpd_junk_command_limit;
    limits.soft_errors = options.smtpd_soft_error_limit;
    limits.hard_errors = options.smtpd_hard_error_limit;
    limits.error_delay = options.smtpd_error_sleep_time.get();
    limits.auth_failures = options.smtpd_auth_failure_limit;
    limits.timeout = options.smtpd_timeout.get();
    limits.body_rate = options.smtpd_min_data_rate.bytes();
    protocol
}

fn octets(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// RFC 5321 4.5.3.1.6: 1,000 octets with CRLF.
const SHORT_LINE: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "[tls]\ncertificate_file = \"/c.pem\"\n";

    #[test]
    fn the_three_services_differ_where_they_should() {
        let config = Config::from_toml(CERTIFICATE).unwrap();
        let settings = Settings::new(&config).unwrap();
        let mx = settings.services["mx"].protocol(false, false);
        let submission = settings.services["submission"].protocol(false, false);
        assert_eq!((mx.tls, mx.auth), (TlsPolicy::Offered, AuthPolicy::Off));
        assert_eq!(
            (submission.tls, submission.auth),
            (TlsPolicy::Required, AuthPolicy::UnderTls)
        );
        assert_eq!((mx.limits.body.line, submission.limits.body.line), (65_536, 998));
        assert_eq!((mx.limits.recipients, submission.limits.recipients), (1000, 200));
        assert_eq!(
            settings.services["submission"].protocol(true, false).auth,
            AuthPolicy::Always
        );
        assert_eq!(mx.limits.timeout, Duration::from_secs(300));
        assert_eq!(
            settings.services["mx"].protocol(false, true).limits.timeout,
            Duration::from_secs(10)
        );
    }

    #[test]
    fn a_service_that_needs_tls_needs_a_certificate() {
        assert!(Settings::new(&Config::default()).is_err());
        let off = "[smtpd.service.submission]\nlisten = []\n[smtpd.service.submissions]\nlisten = []\n";
        let config = Config::from_toml(off).unwrap();
        let settings = Settings::new(&config).unwrap();
        assert_eq!(settings.services["mx"].protocol(false, false).tls, TlsPolicy::Off);
    }
}
