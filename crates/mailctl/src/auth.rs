//! `mailctl auth`: try a login as a mail program would, without one; what authd remembers of logins.

use std::net::{Ipv4Addr, SocketAddr};

use auth_api::sasl::{LoginContext, LoginStep};
use clap::{Subcommand, ValueEnum};
use mail_types::{Address, Secret, SessionId};
use serde_json::json;

use crate::auth_reports;
use crate::error::Failure;
use crate::output::clean;
use crate::password::PasswordArgs;
use crate::session::Session;

/// Logins.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try a login and its password against authd; asks for the password unless an option says where it is
    Test {
        /// The login
        login: Address,
        /// As which service
        #[arg(long, value_enum, default_value = "imap")]
        service: Service,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Failed logins of the last 15 minutes: who, from where, how many, and how long the next failure waits
    Failures {
        /// At most so many, the latest first
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
    },
    /// Forget the failures of an address, a network or a login, so that nobody waits for them any more
    Unban {
        /// `192.0.2.7`, `2001:db8::/32` or `alice@example.com`
        target: String,
    },
    /// Who logs in with which mechanism: CRAM-MD5 and DIGEST-MD5 need passwords stored in clear, PLAIN and LOGIN
    /// show the password to the server
    Mechanisms {
        /// Only who still uses CRAM-MD5, DIGEST-MD5, or PLAIN and LOGIN without keys for SCRAM
        #[arg(long)]
        weak: bool,
    },
}

/// The services that log users in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Service {
    /// Submission of mail
    Smtp,
    /// IMAP
    Imap,
    /// POP3
    Pop3,
}

impl Service {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }
}

/// Runs it.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Test {
            login,
            service,
            password,
        } => test(login, service, &password, session).await,
        Command::Failures { limit } => auth_reports::failures(limit, session).await,
        Command::Unban { target } => auth_reports::unban(&target, session).await,
        Command::Mechanisms { weak } => auth_reports::mechanisms(weak, session).await,
    }
}

async fn test(
    login: Address,
    service: Service,
    password: &PasswordArgs,
    session: &Session,
) -> Result<(), Failure> {
    let authd = session.authd()?;
    let password = password.read(false)?;
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let context = LoginContext {
        service: service.as_str().to_owned(),
        peer: here,
        local: here,
        session: new_session()?,
        tls: None,
        // An administrator at the host itself: no TLS, no delay.
        trusted: true,
    };
    // RFC 4616: no authorization identity, the login, the password.
    let mut response = Vec::from(format!("\0{login}\0").as_bytes());
    response.extend_from_slice(password.expose());
    let (step, _exchange) = authd.login(&context, "PLAIN", Some(Secret::new(response))).await;
    verdict(step, &login, session)
}

fn verdict(step: LoginStep, login: &Address, session: &Session) -> Result<(), Failure> {
    match step {
        LoginStep::Success(account) => {
            let path = session
                .config()?
                .general
                .virtual_mailbox_base
                .join(&account.maildir);
            let (path, login) = (clean(&path.display().to_string()), account.address.to_string());
            let value = json!({ "login": login, "maildir": path, "uid": account.uid, "gid": account.gid });
            let text = format!(
                "{login} is logged in; Maildir {path}, uid {}, gid {}",
                account.uid, account.gid
            );
            session.output.done(&value, &text);
            Ok(())
        }
        LoginStep::Denied { reason, .. } => Err(Failure::denied(
            format!("{login} is not let in: {}", clean(&reason)),
            "mailctl mailbox show tells whether it exists and is active; mailctl mailbox password sets the password",
        )),
        LoginStep::TemporaryFailure { reason } => Err(Failure::try_later(
            format!("nobody can tell now: {}", clean(&reason)),
            "look at authd's log (journalctl -u postrider-authd) and try again",
        )),
        LoginStep::Challenge(_) => Err(Failure::internal(
            "authd asked a question that PLAIN does not have",
        )),
    }
}

/// An id under which the attempt is found in the decision log.
pub(crate) fn new_session() -> Result<SessionId, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::internal(format!("no randomness: {error}")))?;
    let millis = jiff::Timestamp::now().as_millisecond();
    Ok(SessionId::new(
        u64::try_from(millis).unwrap_or(0),
        u128::from_le_bytes(random),
    ))
}
