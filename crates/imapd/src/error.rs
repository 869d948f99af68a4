//! Why a command is refused or a session ends: what the client hears, apart from what the log gets.

use std::borrow::Cow;
use std::io;

use imap_proto::framing::Refusal;
use imap_proto::response::{Code, Response, Status, StatusResponse};
use maildir_store::StoreError;

/// The tagged response of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tagged {
    pub(crate) status: Status,
    pub(crate) code: Option<Code<'static>>,
    pub(crate) text: Cow<'static, str>,
}

impl Tagged {
    pub(crate) fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::Ok,
            code: None,
            text: text.into(),
        }
    }

    pub(crate) fn ok_code(code: Code<'static>, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::Ok,
            code: Some(code),
            text: text.into(),
        }
    }

    pub(crate) fn no(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::No,
            code: None,
            text: text.into(),
        }
    }

    pub(crate) fn no_code(code: Code<'static>, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::No,
            code: Some(code),
            text: text.into(),
        }
    }

    pub(crate) fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::Bad,
            code: None,
            text: text.into(),
        }
    }

    /// The text of compat.md 3.4 for trouble that is ours.
    pub(crate) fn unavailable() -> Self {
        Self::no_code(Code::Unavailable, "Temporary problem, please try again later")
    }

    pub(crate) fn encode(&self, tag: &str, out: &mut Vec<u8>) {
        let tag = (tag != "*").then_some(tag);
        let status = StatusResponse {
            tag,
            status: self.status,
            code: self.code.clone(),
            text: &self.text,
        };
        Response::Status(status).encode(out);
    }
}

/// What stops a command before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This is its answer.
    Refused(Tagged),
    /// This is its answer, and the last one.
    Last(Tagged, End),
    /// It was answered.
    Answered,
    /// The session is over.
    End(End),
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<Tagged> for Stop {
    fn from(tagged: Tagged) -> Self {
        Self::Refused(tagged)
    }
}

/// Work on the store that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFailure {
    /// The store said so.
    #[error("mail store")]
    Store(#[from] StoreError),
    /// The work was not finished.
    #[error("mail store")]
    Unfinished(#[from] daemon::BlockingError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        StoreFailure::Store(error).into()
    }
}

impl From<StoreFailure> for Stop {
    fn from(failure: StoreFailure) -> Self {
        let StoreFailure::Store(error) = &failure else {
            tracing::error!(error = %daemon::describe(&failure), "work on a mailbox was not finished");
            return Tagged::unavailable().into();
        };
        let tagged = match error {
            StoreError::NotFound => Tagged::no_code(Code::NonExistent, "Mailbox does not exist"),
            StoreError::Exists => Tagged::no_code(Code::AlreadyExists, "Mailbox exists already"),
            StoreError::BadName(_) => Tagged::no_code(Code::Cannot, "Invalid mailbox name"),
            StoreError::TooManyKeywords => Tagged::no_code(Code::Limit, "Too many keywords in this mailbox"),
            StoreError::Gone => return End::Deleted.into(),
            StoreError::Expunged => {
                Tagged::no_code(Code::ExpungeIssued, "Some of the messages no longer exist")
            }
            error if error.is_full() => Tagged::no_code(Code::OverQuota, "No space left for this message"),
            error => {
                tracing::warn!(error = %daemon::describe(error), "mail store");
                Tagged::unavailable()
            }
        };
        tagged.into()
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// LOGOUT.
    #[error("LOGOUT")]
    Logout,
    /// The client closed the connection.
    #[error("connection lost")]
    Lost,
    /// The client was silent too long, or did not log in in time.
    #[error("timeout")]
    Idle,
    /// The client does not read what we send.
    #[error("output timeout")]
    Stalled,
    /// The process is to stop.
    #[error("shutdown")]
    Shutdown,
    /// The client sent commands together with STARTTLS.
    #[error("commands after STARTTLS in clear")]
    Injection,
    /// What the client sends cannot be followed any more.
    #[error("{0}")]
    Framing(Refusal),
    /// Too many commands that are none.
    #[error("too many wrong commands")]
    Errors,
    /// Too many failed logins.
    #[error("too many failed logins")]
    Failures,
    /// Too many logins that nobody could judge.
    #[error("too many logins that could not be judged")]
    Undecided,
    /// The account is no longer what it was at the login.
    #[error("login no longer valid: {0}")]
    Revoked(String),
    /// The same, found while the client left unread what we sent: nothing can be said any more.
    #[error("login no longer valid: {0}")]
    Cut(String),
    /// The selected mailbox was deleted.
    #[error("mailbox deleted")]
    Deleted,
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    Tls,
    /// A message could not be read to its end, so that the response cannot be completed.
    #[error("message cannot be read")]
    Message(#[source] io::Error),
    /// The socket failed.
    #[error("connection lost")]
    Socket(#[from] io::Error),
}

impl End {
    /// Whether the client behaved in a way that is worth an event of its own.
    pub(crate) fn is_abuse(&self) -> bool {
        matches!(
            self,
            Self::Injection | Self::Framing(_) | Self::Errors | Self::Failures
        )
    }

    /// Code and text of `* BYE`; `None` where nobody would read it, or it was said already.
    pub(crate) fn bye(&self) -> Option<(Option<Code<'static>>, &'static str)> {
        let text = self.last_words()?;
        // RFC 5530: access is no longer permitted with what the client logged in with.
        let code = matches!(self, Self::Revoked(_)).then_some(Code::Expired);
        Some((code, text))
    }

    fn last_words(&self) -> Option<&'static str> {
        match self {
            Self::Revoked(_) => Some("Your account has changed, please log in again"),
            Self::Idle => Some("Disconnected for inactivity"),
            Self::Shutdown => Some("Server shutting down"),
            Self::Framing(Refusal::LineTooLong) => Some("Command line too long"),
            Self::Framing(_) => Some("Literal too big"),
            Self::Errors => Some("Too many invalid commands"),
            Self::Failures => Some("Too many failed logins"),
            Self::Undecided => Some("Temporary problem, please try again later"),
            Self::Deleted => Some("The selected mailbox was deleted"),
            // Commands that were sent together with STARTTLS are answered by nothing (RFC 3501 6.2.1).
            Self::Logout
            | Self::Lost
            | Self::Stalled
            | Self::Cut(_)
            | Self::Injection
            | Self::Tls
            | Self::Message(_)
            | Self::Socket(_) => None,
        }
    }
}
