//! The typed face of authd: directory, SASL and administration over gRPC on a Unix socket.
//!
//! Daemons see the plain types of [`directory`], [`sasl`] and [`admin`] and the clients in [`client`];
//! authd implements the service traits and hands them to [`server`]. Nobody outside this crate names
//! tonic or the generated code.

pub mod admin;
pub mod directory;
pub mod sasl;

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
        Self { reason: reason.into() }
    }
}

/// The role of the socket through which a client came; it decides which methods the client may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// smtpd: resolve, sender login, SASL.
    Smtpd,
    /// qmgr: resolve, route.
    Qmgr,
    /// deliver: mailbox lookup.
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
    pub const ALL: [Self; 6] =
        [Self::Smtpd, Self::Qmgr, Self::Deliver, Self::Imapd, Self::Pop3d, Self::Admin];

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
