//! What is known of files and volumes without opening them.

use std::ffi::OsString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Type;
use nix::sys::stat::{FileStat, SFlag};

use crate::probe::FileId;

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// FIFO, socket or device.
    Other,
}

/// One name of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// Its kind where the file system says so in the listing; None: ask [`Dir::stat`].
    pub kind: Option<FileKind>,
}

/// What is known of a file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Device and inode.
    pub id: FileId,
    /// Kind.
    pub kind: FileKind,
    /// Length in bytes.
    pub size: u64,
    /// Space set aside for it on the disk, in bytes.
    pub allocated: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Number of names.
    pub links: u64,
    /// Last change of the content.
    pub modified: SystemTime,
    /// Last change of the inode.
    pub changed: SystemTime,
}

/// Room on a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that we may still use.
    pub available: u64,
    /// Bytes in all.
    pub total: u64,
    /// Inodes that we may still use; None where the file system has no fixed number of them.
    pub inodes: Option<u64>,
}

impl Stat {
    pub(crate) fn from_raw(stat: &FileStat) -> Self {
        Self {
            id: id_of(stat),
            kind: FileKind::from_mode(stat.st_mode),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            links: stat.st_nlink,
            modified: time_of(stat.st_mtime, stat.st_mtime_nsec),
            changed: time_of(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl FileKind {
    fn from_mode(mode: u32) -> Self {
        match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFDIR => Self::Dir,
            SFlag::S_IFLNK => Self::Symlink,
            _ => Self::Other,
        }
    }

    pub(crate) fn from_type(kind: Type) -> Self {
        match kind {
            Type::File => Self::File,
            Type::Directory => Self::Dir,
            Type::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Dir => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Other => "a FIFO, socket or device",
        }
    }
}

pub(crate) fn id_of(stat: &FileStat) -> FileId {
    FileId {
        dev: stat.st_dev,
        ino: stat.st_ino,
    }
}

fn time_of(seconds: i64, nanos: i64) -> SystemTime {
    let nanos = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    let whole = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        UNIX_EPOCH - whole + nanos
    } else {
        UNIX_EPOCH + whole + nanos
    }
}
