//! What can go wrong with a mailbox, sorted by what the protocol has to say about it.

use durable::Kind;

use crate::folder_name::BadName;

/// A failed operation on an account or a folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No folder of that name.
    #[error("there is no folder of that name")]
    NotFound,
    /// The name is taken.
    #[error("a folder of that name exists")]
    Exists,
    /// The name cannot be that of a folder (or this cannot be done to INBOX).
    #[error("bad folder name")]
    BadName(#[from] BadName),
    /// A folder holds at most 64 different keywords.
    #[error("the folder has 64 keywords already")]
    TooManyKeywords,
    /// The folder was deleted or renamed by another session.
    #[error("the folder is gone")]
    Gone,
    /// The message was removed.
    #[error("the message is gone")]
    Expunged,
    /// The owner of the files is not the one of the account, or not one that this process can serve: a
    /// matter for the administrator (4.3.5), never for the sender.
    #[error("wrong owner: {0}")]
    Owner(String),
    /// The path of the mailbox's row cannot be used: a matter for the administrator (4.3.5).
    #[error("the path {0:?} is not one below the base directory")]
    BadPath(String),
    /// UIDs or UIDVALIDITY ran out, or a file of ours has a newer format than this program.
    #[error("{0}")]
    Unusable(String),
    /// The disk: no space, no permission, a failed sync. [`StoreError::kind`] tells which.
    #[error("{doing}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The failed operation.
        source: durable::Error,
    },
}

impl StoreError {
    /// What the disk said, where it was the disk.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Disk { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// The volume or the owner's disk quota is full.
    pub fn is_full(&self) -> bool {
        matches!(self.kind(), Some(Kind::NoSpace | Kind::Quota))
    }

    /// Whether trying again later may help although nobody changed anything.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Disk { .. } | Self::Owner(_) | Self::BadPath(_) | Self::Unusable(_)
        )
    }
}

/// Gives a disk error its context.
pub(crate) trait Doing<T> {
    /// Says what was being done.
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, durable::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Disk { doing, source })
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|e| StoreError::Disk {
            doing,
            source: durable::Error::io("read", "", e),
        })
    }
}
