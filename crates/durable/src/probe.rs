//! The seam between this crate and the kernel, where tests watch and refuse operations.

use std::ffi::OsStr;
use std::fmt;
use std::io;

/// What tells one inode from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// One operation that changes a volume or makes a change durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// A file appears, empty. `file` is known only after the operation.
    Create {
        /// Directory.
        dir: FileId,
        /// Name in it.
        name: &'a OsStr,
        /// The new inode.
        file: Option<FileId>,
    },
    /// A directory appears. `made` is known only after the operation.
    MakeDir {
        /// Parent.
        dir: FileId,
        /// Name in it.
        name: &'a OsStr,
        /// The new inode.
        made: Option<FileId>,
    },
    /// Bytes are written.
    Write {
        /// File.
        file: FileId,
        /// Where they begin.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The length changes.
    Truncate {
        /// File.
        file: FileId,
        /// New length.
        len: u64,
    },
    /// A name moves; what stood under the new name is gone.
    Rename {
        /// Old directory.
        from: FileId,
        /// Old name.
        from_name: &'a OsStr,
        /// New directory.
        to: FileId,
        /// New name.
        to_name: &'a OsStr,
    },
    /// An inode gets another name.
    Link {
        /// Old directory.
        from: FileId,
        /// Old name.
        from_name: &'a OsStr,
        /// New directory.
        to: FileId,
        /// New name.
        to_name: &'a OsStr,
    },
    /// A file's name goes away.
    Unlink {
        /// Directory.
        dir: FileId,
        /// Name.
        name: &'a OsStr,
    },
    /// An empty directory goes away.
    RemoveDir {
        /// Parent.
        dir: FileId,
        /// Name.
        name: &'a OsStr,
    },
    /// A file's data becomes durable.
    SyncFile {
        /// File.
        file: FileId,
    },
    /// A directory's entries become durable.
    SyncDir {
        /// Directory.
        dir: FileId,
    },
}

/// Watches the operations of a [`crate::Disk`]; only tests have one.
pub trait Probe: Send + Sync + fmt::Debug {
    /// Called before the operation; an error takes its place and the operation does not happen.
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        let _ = op;
        Ok(())
    }

    /// Called after the operation succeeded.
    fn after(&self, op: &Op<'_>) {
        let _ = op;
    }
}
