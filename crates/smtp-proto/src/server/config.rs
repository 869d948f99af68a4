//! What a server session is told at its start: dialect, extensions, limits.

use std::time::Duration;

use crate::Protocol;
use crate::command::ParamRules;
use crate::framing::BodyLimits;

/// The fixed part of a session; one value serves all sessions of a listener.
#[derive(Debug, Clone)]
pub struct Config {
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Our name: first word of the banner and of the EHLO reply.
    pub hostname: String,
    /// The rest of the banner, e.g. `ESMTP Postrider`.
    pub banner: String,
    /// STARTTLS.
    pub tls: TlsPolicy,
    /// AUTH.
    pub auth: AuthPolicy,
    /// Keywords of private extensions, announced last, e.g. `XPOSTRIDER`.
    pub private_extensions: &'static [&'static str],
    /// Their parameters.
    pub params: ParamRules,
    /// The limits.
    pub limits: Limits,
}

impl Config {
    /// A configuration with the default limits, without TLS and AUTH.
    pub fn new(protocol: Protocol, hostname: impl Into<String>) -> Self {
        Self {
            protocol,
            hostname: hostname.into(),
            banner: match protocol {
                Protocol::Smtp => "ESMTP Postrider".into(),
                Protocol::Lmtp => "LMTP Postrider".into(),
            },
            tls: TlsPolicy::Off,
            auth: AuthPolicy::Off,
            private_extensions: &[],
            params: ParamRules::default(),
            limits: match protocol {
                Protocol::Smtp => Limits::default(),
                Protocol::Lmtp => Limits::inside(),
            },
        }
    }
}

/// Whether STARTTLS is offered, and needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// `502` to STARTTLS.
    Off,
    /// Offered, not needed.
    Offered,
    /// `530 5.7.0` to everything but EHLO, HELO, NOOP, HELP, QUIT and STARTTLS before it.
    Required,
}

/// Whether AUTH is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPolicy {
    /// `503 5.5.1 Error: authentication not enabled`.
    Off,
    /// Only under TLS; `504 5.5.4` before it.
    UnderTls,
    /// Always (peers in `login_trusted_networks`).
    Always,
}

/// The limits of one session (robustness.md section 3).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Octets of a command line without CRLF.
    pub command_line: usize,
    /// Octets of an AUTH line (RFC 4954 4: 12,288).
    pub auth_line: usize,
    /// Octets read of a line that is too long before the connection is closed.
    pub discard: usize,
    /// The body.
    pub body: BodyLimits,
    /// Accepted recipients of a message.
    pub recipients: usize,
    /// BDAT commands in a message.
    pub chunks: u32,
    /// Commands without use (NOOP, RSET, VRFY, HELP, repeated EHLO) between messages.
    pub junk_commands: u32,
    /// Errors from which on each reply is delayed by [`Limits::error_delay`] times their number beyond this.
    pub soft_errors: u32,
    /// Errors at which the session ends.
    pub hard_errors: u32,
    /// See `soft_errors`.
    pub error_delay: Duration,
    /// Failed logins after which the session ends.
    pub auth_failures: u32,
    /// Logins that nobody could judge (454) after which it ends.
    pub auth_troubles: u32,
    /// Time for one record: a command line, an AUTH response, the body.
    pub timeout: Duration,
    /// Time for a body before `body_rate` counts.
    pub body_grace: Duration,
    /// Octets per second that a body must come with on average to get more time than `timeout`.
    pub body_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_line: 2048,
            auth_line: 12_288,
            discard: 64 * 1024,
            body: BodyLimits {
                message: 50 * 1024 * 1024,
                line: 64 * 1024,
            },
            recipients: 1000,
            chunks: 10_000,
            junk_commands: 100,
            soft_errors: 10,
            hard_errors: 20,
            error_delay: Duration::from_secs(1),
            auth_failures: 3,
            auth_troubles: 10,
            timeout: Duration::from_secs(300),
            body_grace: Duration::from_secs(30),
            body_rate: 500,
        }
    }
}

impl Limits {
    /// For clients of our own: connections are used again and again, and nobody is to be worn down.
    pub fn inside() -> Self {
        Self {
            junk_commands: u32::MAX,
            soft_errors: u32::MAX,
            hard_errors: u32::MAX,
            ..Self::default()
        }
    }

    /// The same under load: fewer junk commands and errors, shorter waits (robustness.md section 3, "stress").
    #[must_use]
    pub fn stressed(mut self) -> Self {
        self.junk_commands = self.junk_commands.min(5);
        self.soft_errors = self.soft_errors.min(2);
        self.hard_errors = self.hard_errors.min(2);
        self.timeout = self.timeout.min(Duration::from_secs(30));
        self.body_grace = self.body_grace.min(Duration::from_secs(10));
        self
    }
}
