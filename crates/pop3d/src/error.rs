//! Why a session ends, and what the log says about it.

use std::io;

/// Why a session ended before QUIT. The peer hears nothing of it (RFC 1939 3): the connection closes and
/// nothing is removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
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
    /// The account is no longer what it was at the login.
    #[error("login no longer valid: {0}")]
    Revoked(String),
    /// The client sent commands together with STLS.
    #[error("commands after STLS in clear")]
    Injection,
    /// The client sent a line without end.
    #[error("endless line")]
    EndlessLine,
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    Tls,
    /// The socket failed.
    #[error("connection failed")]
    Socket(#[source] io::Error),
    /// A message could not be read to its end, so that the reply cannot be completed.
    #[error("message cannot be read")]
    Message(#[source] io::Error),
}

/// A client that goes away without QUIT or close_notify is no fault of the socket.
impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Lost
            }
            _ => Self::Socket(error),
        }
    }
}

impl End {
    /// Whether the client behaved in a way that is worth an event of its own.
    pub(crate) fn is_abuse(&self) -> bool {
        matches!(self, Self::Injection | Self::EndlessLine)
    }
}
