//! AUTHORIZATION: who is it, and over which kind of connection.

use mail_types::Secret;

use super::{COMMON_CAPABILITIES, Maildrop, Transaction};
use crate::command::{Command, CommandError};
use crate::reply::{Reply, ResponseCode};

/// What the connection allows.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether STLS is offered: not yet TLS, and there is a certificate.
    pub stls: bool,
    /// Whether logins are allowed: TLS, or a peer that needs none.
    pub login: bool,
    /// Commands that may be wrong; one more closes the connection.
    pub error_limit: u32,
    /// Failed logins that close the connection.
    pub failure_limit: u32,
}

/// The state before a login.
#[derive(Debug)]
pub struct Authorization {
    policy: Policy,
    mechanisms: Vec<String>,
    user: Option<String>,
    utf8: bool,
    errors: u32,
    failures: u32,
    cancels: u32,
    undecided: u32,
}

/// Logins that nobody can judge before the connection ends: during an outage the known rows are still compared with
/// what comes, and nobody is to guess on and on at that.
const UNDECIDED: u32 = 10;
/// Exchanges that a client may cancel. That is no mistake (a program may ask its user in between), but it costs an
/// exchange with authd each time.
const CANCELS: u32 = 100;

/// What the session does next.
#[derive(Debug)]
pub enum AuthorizationStep {
    /// Send it and go on.
    Reply(Reply),
    /// Send it, check that nothing is buffered, do the TLS handshake, and go on with
    /// [`Authorization::after_stls`].
    StartTls(Reply),
    /// Run a SASL exchange; then [`Authorization::log_in`], [`Authorization::refused`],
    /// [`Authorization::undecided`], [`Authorization::no_mechanism`], [`Authorization::broken_exchange`] or the
    /// reply [`Authorization::unavailable`].
    Login(LoginRequest),
    /// Send it and close.
    Close(Reply),
}

/// A SASL exchange to be run.
#[derive(Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// The mechanism, upper case; USER and PASS are `PLAIN`.
    pub mechanism: String,
    /// The initial response.
    pub initial: Option<Secret>,
}

impl Authorization {
    /// The first state of a connection.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            mechanisms: Vec::new(),
            user: None,
            utf8: false,
            errors: 0,
            failures: 0,
            cancels: 0,
            undecided: 0,
        }
    }

    /// What the connection allows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The SASL mechanisms, upper case, that CAPA and AUTH list from now on. Whether one may be used is
    /// decided by whoever runs the exchange.
    pub fn set_mechanisms(&mut self, mechanisms: Vec<String>) {
        self.mechanisms = mechanisms;
    }

    /// The greeting (Courier's words, compat.md 3.4). No timestamp: there is no APOP.
    pub fn greeting() -> Reply {
        Reply::ok("Hello there.")
    }

    /// After a handshake everything the client said before is forgotten (RFC 2595 4); what is counted
    /// still counts.
    pub fn after_stls(self, policy: Policy) -> Self {
        Self {
            errors: self.errors,
            failures: self.failures,
            cancels: self.cancels,
            undecided: self.undecided,
            ..Self::new(policy)
        }
    }

    /// Takes one command, or what was wrong with it.
    pub fn handle(&mut self, command: Result<Command, CommandError>) -> AuthorizationStep {
        // PASS belongs to the USER right before it, whatever came between (RFC 1939 7).
        let user = self.user.take();
        let command = match command {
            Ok(command) => command,
            Err(CommandError::Unknown) => return self.mistake("Invalid command."),
            Err(CommandError::Base64) => return self.mistake("Invalid base64."),
            Err(_) => return self.mistake("Invalid arguments."),
        };
        match command {
            Command::Quit => AuthorizationStep::Close(Reply::ok("Better luck next time.")),
            Command::Capa => AuthorizationStep::Reply(self.capabilities()),
            Command::Noop => AuthorizationStep::Reply(Reply::ok("Yup.")),
            Command::Utf8 => {
                self.utf8 = true;
                AuthorizationStep::Reply(Reply::ok("UTF8 enabled."))
            }
            Command::Stls if !self.policy.stls => self.mistake("TLS is not available now."),
            // RFC 6856 2.1: not after UTF8.
            Command::Stls if self.utf8 => self.mistake("STLS must come before UTF8."),
            Command::Stls => AuthorizationStep::StartTls(Reply::ok("Begin TLS negotiation now.")),
            Command::Apop => self.mistake("APOP is not available, use USER and PASS or AUTH."),
            Command::User(_) | Command::Pass(_) | Command::Auth { .. } if !self.policy.login => {
                self.mistake("TLS is required, use STLS first.")
            }
            Command::User(name) => {
                self.user = Some(name);
                // The same for every name: who exists is nobody's business.
                AuthorizationStep::Reply(Reply::ok("Password required."))
            }
            Command::Pass(password) => match user {
                Some(user) => AuthorizationStep::Login(plain(&user, &password)),
                None => self.mistake("USER first."),
            },
            Command::AuthList => {
                let mechanisms = if self.policy.login {
                    self.mechanisms.clone()
                } else {
                    Vec::new()
                };
                AuthorizationStep::Reply(Reply::list("", mechanisms))
            }
            Command::Auth { mechanism, initial } => {
                AuthorizationStep::Login(LoginRequest { mechanism, initial })
            }
            _ => self.mistake("Log in first."),
        }
    }

    /// The login was refused; the reply is due after the delay that authd gave.
    pub fn refused(&mut self) -> AuthorizationStep {
        self.failures += 1;
        let reply = Reply::err_code(ResponseCode::Auth, "Login failed.");
        if self.failures >= self.policy.failure_limit {
            AuthorizationStep::Close(reply)
        } else {
            AuthorizationStep::Reply(reply)
        }
    }

    /// Nobody could say whether the login is right: not the client's fault, so it does not count as a failure.
    pub fn undecided(&mut self) -> AuthorizationStep {
        self.undecided += 1;
        if self.undecided >= UNDECIDED {
            AuthorizationStep::Close(Self::unavailable())
        } else {
            AuthorizationStep::Reply(Self::unavailable())
        }
    }

    /// There is trouble that is ours.
    pub fn unavailable() -> Reply {
        Reply::err_code(ResponseCode::SysTemp, "Temporary problem, please try again later")
    }

    /// The exchange was cancelled with `*`, or a response was not base64, or not due.
    pub fn broken_exchange(&mut self, error: CommandError) -> AuthorizationStep {
        match error {
            CommandError::Cancelled => {
                self.cancels += 1;
                if self.cancels > CANCELS {
                    return AuthorizationStep::Close(Reply::err("Too many invalid commands."));
                }
                AuthorizationStep::Reply(Reply::err("Authentication cancelled."))
            }
            CommandError::Base64 => self.mistake("Invalid base64."),
            _ => self.mistake("This mechanism takes no initial response."),
        }
    }

    /// The mechanism is not offered.
    pub fn no_mechanism(&mut self) -> AuthorizationStep {
        self.mistake("Mechanism not supported.")
    }

    /// A line over its limit.
    pub fn line_too_long(&mut self) -> AuthorizationStep {
        self.user = None;
        self.mistake("Line too long.")
    }

    /// Another session has the maildrop (RFC 2449 8.1.1): not a failed login.
    pub fn in_use() -> Reply {
        Reply::err_code(ResponseCode::InUse, "Your maildrop is in use by another session.")
    }

    /// Logged in, and the maildrop is ours: the next state and the reply.
    pub fn log_in<M: Maildrop>(self, maildrop: M, error_limit: u32) -> (Transaction<M>, Reply) {
        let transaction = Transaction::new(maildrop, self.utf8, error_limit);
        (transaction, Reply::ok("logged in."))
    }

    fn capabilities(&self) -> Reply {
        let mut lines: Vec<String> = COMMON_CAPABILITIES.iter().map(ToString::to_string).collect();
        if self.policy.stls {
            lines.push("STLS".into());
        }
        if self.policy.login {
            lines.push("USER".into());
            if !self.mechanisms.is_empty() {
                lines.push(format!("SASL {}", self.mechanisms.join(" ")));
            }
        }
        Reply::list("Here's what I can do:", lines)
    }

    fn mistake(&mut self, text: &'static str) -> AuthorizationStep {
        self.errors += 1;
        if self.errors > self.policy.error_limit {
            AuthorizationStep::Close(Reply::err("Too many invalid commands."))
        } else {
            AuthorizationStep::Reply(Reply::err(text))
        }
    }
}

/// USER and PASS as the message of PLAIN (RFC 4616 2). Neither can hold a NUL, see `command::parse`.
fn plain(user: &str, password: &Secret) -> LoginRequest {
    let message = [b"\0", user.as_bytes(), b"\0", password.expose()].concat();
    LoginRequest {
        mechanism: "PLAIN".into(),
        initial: Some(Secret::new(message)),
    }
}
