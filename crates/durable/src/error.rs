//! What can go wrong on a disk, sorted by what the caller has to do about it.

use std::ffi::OsStr;
use std::io;

use nix::errno::Errno;

/// A failed operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused an operation other than a sync.
    #[error("{op} {name:?}")]
    Io {
        /// The operation, e.g. `open`.
        op: &'static str,
        /// The name it was about.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A sync failed: what was written may be lost although it can still be read. Final for that file.
    #[error("sync of {name:?} failed, its data may be lost")]
    Sync {
        /// The file or directory.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The volume had a sync error and has not passed its self-test since.
    #[error("the volume is suspect after a failed sync")]
    Suspect,
    /// A sync of this very file failed before; only a new file can take its place.
    #[error("{0:?} lost data in an earlier failed sync")]
    Poisoned(String),
    /// A name that is empty, `.`, `..`, or holds `/` or NUL.
    #[error("{0:?} is not a file name")]
    Name(String),
    /// A thing of the wrong kind stands under the name: a symbolic link, a FIFO, a file for a directory.
    #[error("{name:?} is {found}")]
    WrongKind {
        /// The name.
        name: String,
        /// What it is.
        found: &'static str,
    },
}

/// What an [`Error`] means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The name, or a directory on the way to it, does not exist.
    NotFound,
    /// The name is taken.
    Exists,
    /// The volume has no space or no inodes left.
    NoSpace,
    /// The owner's disk quota is used up (EDQUOT).
    Quota,
    /// Permissions.
    Denied,
    /// The volume is mounted read-only.
    ReadOnly,
    /// A symbolic link, a path that leaves its root, or a file of the wrong type: somebody plays games.
    Unsafe,
    /// A sync failed, or the file or its volume is known to be bad.
    Sync,
    /// Everything else.
    Other,
}

impl Error {
    /// Wraps the kernel's answer to `op` on `name`.
    pub fn io(op: &'static str, name: impl AsRef<OsStr>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            op,
            name: shown(name.as_ref()),
            source: source.into(),
        }
    }

    /// What it means.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sync { .. } | Self::Suspect | Self::Poisoned(_) => Kind::Sync,
            Self::Name(_) | Self::WrongKind { .. } => Kind::Unsafe,
            Self::Io { source, .. } => match source.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT) => Kind::NotFound,
                Some(Errno::EEXIST | Errno::ENOTEMPTY) => Kind::Exists,
                Some(Errno::ENOSPC) => Kind::NoSpace,
                Some(Errno::EDQUOT) => Kind::Quota,
                Some(Errno::EACCES | Errno::EPERM) => Kind::Denied,
                Some(Errno::EROFS) => Kind::ReadOnly,
                Some(Errno::ELOOP | Errno::EXDEV | Errno::ENOTDIR | Errno::EISDIR | Errno::ENXIO) => {
                    Kind::Unsafe
                }
                _ => Kind::Other,
            },
        }
    }

    /// Whether the name, or a directory on the way to it, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Kind::NotFound
    }

    /// Whether the name is taken.
    pub fn is_exists(&self) -> bool {
        self.kind() == Kind::Exists
    }
}

/// A name fit for a log line.
pub(crate) fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
