//! Why an operation on the spool failed.

use std::io;

use durable::Kind;
use mail_types::MailId;

/// A file that is not what it claims to be. It belongs in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged: {0}")]
pub struct Damage(pub String);

impl Damage {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Why a message or a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A message of this id is in the spool already. For ids that are computed this means: done before.
    #[error("message {0} is in the spool already")]
    Exists(MailId),
    /// No space, no inodes or a quota (452 4.3.1).
    #[error("the spool is full")]
    Full(#[source] durable::Error),
    /// Anything else, a failed sync too: nothing was accepted (451 4.3.0).
    #[error("cannot write to the spool")]
    Io(#[source] durable::Error),
    /// The envelope contradicts itself (an index twice, a header line without CRLF).
    #[error("the envelope is not valid: {0}")]
    Envelope(String),
    /// The journal cannot be continued.
    #[error("cannot continue the journal")]
    Journal(#[source] ReadError),
}

impl From<durable::Error> for WriteError {
    fn from(error: durable::Error) -> Self {
        match error.kind() {
            Kind::NoSpace | Kind::Quota => Self::Full(error),
            _ => Self::Io(error),
        }
    }
}

/// Why a message or a journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("no message {0} in the spool")]
    Missing(MailId),
    /// It has to go to quarantine.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The file system did not let us (permissions, too many open files); try again later.
    #[error("cannot read the spool")]
    Io(#[source] io::Error),
}

/// EIO means that the content is gone: the file is damaged. Everything else may pass.
impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged(Damage::new("shorter than it says")),
            _ if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => {
                Self::Damaged(Damage::new(error.to_string()))
            }
            _ => Self::Io(error),
        }
    }
}

impl From<durable::Error> for ReadError {
    fn from(error: durable::Error) -> Self {
        match error {
            durable::Error::Io { source, .. } => source.into(),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

/// Why the spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another instance of this daemon holds the lock.
    #[error("another {daemon} runs on this spool (process {pid})")]
    Locked {
        /// `smtpd` or `qmgr`.
        daemon: &'static str,
        /// What the lock file says.
        pid: String,
    },
    /// A directory is missing or cannot be used.
    #[error("cannot open the spool")]
    Disk(#[from] durable::Error),
}
