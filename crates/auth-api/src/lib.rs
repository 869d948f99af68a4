//! The typed face of authd: directory, SASL and administration over gRPC on a Unix socket.
//!
//! Daemons see the plain types of [`directory`], [`sasl`] and [`admin`] and ask through one cloned
//! [`client::Client`]:
//!
//! ```no_run
//! # async fn example(session: mail_types::SessionId, id: mail_types::MailId) -> Result<(), auth_api::Unavailable> {
//! use auth_api::{Trace, client::Client};
//! let authd = Client::connect("/run/postrider/authd/smtpd/sock"); // lazy, reconnects by itself
//! let recipient = mail_types::Address::parse("u@example.com").map_err(|e| auth_api::Unavailable::new(e.to_string()))?;
//! let resolution = authd.resolve(&recipient, Trace::message(session, id)).await?;
//! # Ok(()) }
//! ```
//!
//! A login is an exchange; the daemon carries bytes and knows no mechanism:
//!
//! ```ignore
//! let (mut step, mut exchange) = authd.login(context, "PLAIN", initial_response).await;
//! while let LoginStep::Challenge(bytes) = step {
//!     step = exchange.next(answer_of_the_peer(bytes).await).await;   // dropping `exchange` abandons it
//! }
//! ```
//!
//! authd implements the traits of [`server`] and hands them to [`server::serve`], once per role's socket.
//! Nobody outside this crate names tonic or the generated code. The code in `src/generated/` comes from
//! `proto/`; `tests/generated.rs` proves it fresh and says how to write it anew.
//!
//! Every call ends within [`CALL_TIMEOUT`] and is never dropped: a task of its own takes it to the answer
//! (h2 counts stream resets over the life of a connection and ends it after 1,024). Whatever goes wrong is
//! [`Unavailable`]: a temporary failure, never "unknown" and never "wrong password".

pub mod access;
pub mod admin;
pub mod client;
mod convert;
pub mod directory;
mod pb;
pub mod sasl;
pub mod server;

use std::time::Duration;

use mail_types::{MailId, SessionId};

/// How long authd works on one call or one step of an exchange.
pub const CALL_DEADLINE: Duration = Duration::from_secs(4);
/// How long a client waits for the answer to a call or step before it is [`Unavailable`].
pub const CALL_TIMEOUT: Duration = Duration::from_millis(4500);
/// The same for the calls of the Admin service, on both sides.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);
/// The same for the deletion of a domain, which may have a million rows.
pub const DELETE_DOMAIN_TIMEOUT: Duration = Duration::from_mins(5);
/// After this time without a response from the peer authd ends an exchange.
pub const EXCHANGE_IDLE: Duration = Duration::from_secs(60);
/// Most sessions in one `StillValid` call; [`client::Client::still_valid`] splits longer lists.
pub const MAX_SESSIONS: usize = 512;

/// The ids that travel with a question, for authd's decision log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace {
    /// The session that asks.
    pub session: Option<SessionId>,
    /// The message it is about.
    pub message: Option<MailId>,
}

impl Trace {
    /// A question of a session about a message.
    pub fn message(session: SessionId, message: MailId) -> Self {
        Self {
            session: Some(session),
            message: Some(message),
        }
    }
}

/// Why a question got no answer. It is always a temporary failure for whoever asked, never a refusal.
#[derive(Debug, Clone, thiserror::Error)]
#[error("authd: {reason}")]
pub struct Unavailable {
    /// What went wrong, for the log; never shown to a peer.
    pub reason: String,
}

impl Unavailable {
    /// Makes one from any description.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// The role of the socket through which a client came; it decides which methods the client may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// smtpd: resolve, sender login, access, SASL.
    Smtpd,
    /// qmgr: resolve, route.
    Qmgr,
    /// deliver: mailbox lookup, vacation.
    Deliver,
    /// imapd: SASL, mailbox lookup.
    Imapd,
    /// pop3d: SASL, mailbox lookup.
    Pop3d,
    /// mailctl: everything.
    Admin,
}

impl Role {
    /// All roles, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Smtpd,
        Self::Qmgr,
        Self::Deliver,
        Self::Imapd,
        Self::Pop3d,
        Self::Admin,
    ];

    /// The directory name of the role below `run/authd/`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtpd => "smtpd",
            Self::Qmgr => "qmgr",
            Self::Deliver => "deliver",
            Self::Imapd => "imapd",
            Self::Pop3d => "pop3d",
            Self::Admin => "admin",
        }
    }
}
