//! Directory handles: everything below them is named by one component and reached without following links.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::append::AppendFile;
use crate::disk::Disk;
use crate::error::{Error, shown};
use crate::pending::Pending;
use crate::probe::{FileId, Op};
use crate::staged::Staged;
use crate::stat::{Entry, FileKind, Space, Stat, id_of};

/// An open directory. Cheap to clone; the directory may be renamed or removed under it.
#[derive(Clone, Debug)]
pub struct Dir {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Disk,
    fd: OwnedFd,
    id: FileId,
    /// What it was opened as, for messages only.
    label: OsString,
}

/// An exclusive lock on a lock file (flock); released when dropped, or when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Dir {
    pub(crate) fn from_fd(disk: Disk, fd: OwnedFd, label: &OsStr) -> Result<Self, Error> {
        let stat = fstat(&fd).map_err(|e| Error::io("stat", label, e))?;
        let shared = Shared {
            disk,
            fd,
            id: id_of(&stat),
            label: label.to_owned(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The disk it lies on.
    pub fn disk(&self) -> &Disk {
        &self.shared.disk
    }

    /// Device and inode.
    pub fn id(&self) -> FileId {
        self.shared.id
    }

    pub(crate) fn label(&self) -> &OsStr {
        &self.shared.label
    }

    /// Opens the directory at the relative `path` (one or more components). Nothing on the way may be a
    /// symbolic link or lead out of this directory (openat2 BENEATH, NO_SYMLINKS, NO_MAGICLINKS).
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let fd = self.open_beneath(path.as_os_str(), OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
        Self::from_fd(self.disk().clone(), fd, path.as_os_str())
    }

    /// Makes a directory and opens it. The promise covers its name here. Mode bits pass through the umask
    /// and are never changed afterwards, so that an inherited set-group-id bit stays.
    pub fn create_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<(Self, Pending), Error> {
        let name = component(name.as_ref())?;
        let make = |made| Op::MakeDir {
            dir: self.id(),
            name,
            made,
        };
        self.disk()
            .before(&make(None))
            .and_then(|()| mkdirat(&self.shared.fd, name, Mode::from_bits_truncate(mode)))
            .map_err(|e| Error::io("mkdir", name, e))?;
        let dir = self.open_dir(Path::new(name))?;
        self.disk().after(&make(Some(dir.id())));
        Ok((dir, Pending::entries(self)))
    }

    /// Opens a directory, making it where it is missing.
    pub fn ensure_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<(Self, Pending), Error> {
        let name = name.as_ref();
        match self.open_dir(Path::new(name)) {
            Ok(dir) => Ok((dir, Pending::kept())),
            Err(error) if error.is_not_found() => match self.create_dir(name, mode) {
                // Somebody else was faster, and may not have synced it yet.
                Err(error) if error.is_exists() => {
                    Ok((self.open_dir(Path::new(name))?, Pending::entries(self)))
                }
                made => made,
            },
            Err(error) => Err(error),
        }
    }

    /// Creates a file for writing under a name that nobody looks at, to be published when it is complete.
    /// The mode is set whatever the umask is. Refused while the volume is suspect.
    pub fn stage(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Staged, Error> {
        if self.disk().is_suspect(self) {
            return Err(Error::Suspect);
        }
        let name = component(name.as_ref())?;
        let file = self.create_file(name, mode)?;
        Staged::new(self.clone(), name, file)
    }

    /// Opens a journal for appending, creating it where it is missing (its name becomes durable with the
    /// first record).
    pub fn open_append(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<AppendFile, Error> {
        let name = component(name.as_ref())?;
        match self.open_beneath(name, OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_NONBLOCK, 0) {
            Ok(fd) => AppendFile::new(self.clone(), name, File::from(fd), false),
            Err(error) if error.is_not_found() => match self.create_file(name, mode) {
                Ok(file) => AppendFile::new(self.clone(), name, file, true),
                Err(error) if error.is_exists() => {
                    let fd =
                        self.open_beneath(name, OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_NONBLOCK, 0)?;
                    AppendFile::new(self.clone(), name, File::from(fd), true)
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file for reading. A link, a FIFO or a device under the name is an error and is not
    /// waited for.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> Result<File, Error> {
        self.open_checked(name.as_ref(), OFlag::O_RDONLY)
            .map(|(file, _)| file)
    }

    /// As [`Dir::open_file`], with what is known of the very file that was opened.
    pub fn open_file_stat(&self, name: impl AsRef<OsStr>) -> Result<(File, Stat), Error> {
        self.open_checked(name.as_ref(), OFlag::O_RDONLY)
    }

    /// The whole of a small file, at most `limit` bytes.
    pub fn read(&self, name: impl AsRef<OsStr>, limit: u64) -> Result<Vec<u8>, Error> {
        use std::io::Read;
        let name = name.as_ref();
        let mut bytes = Vec::new();
        let read = self.open_file(name)?.take(limit).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read", name, e))?;
        Ok(bytes)
    }

    /// What stands under a name; links are not followed.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> Result<Stat, Error> {
        let name = component(name.as_ref())?;
        let stat = fstatat(&self.shared.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        stat.map(|s| Stat::from_raw(&s))
            .map_err(|e| Error::io("stat", name, e))
    }

    /// What is known of the directory itself; a new mtime says that names came or went.
    pub fn stat_self(&self) -> Result<Stat, Error> {
        let stat = fstat(&self.shared.fd).map_err(|e| Error::io("stat", self.label(), e))?;
        Ok(Stat::from_raw(&stat))
    }

    /// All names but `.` and `..`, in the order of the file system. A name that is renamed meanwhile may
    /// be missing.
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        let failed = |e| Error::io("list", self.label(), e);
        let mut dir = nix::dir::Dir::openat(
            &self.shared.fd,
            ".",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed)?;
        let mut entries = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let kind = entry.file_type().map(FileKind::from_type);
                entries.push(Entry {
                    name: OsString::from_vec(name.to_vec()),
                    kind,
                });
            }
        }
        Ok(entries)
    }

    /// Moves a name, here or to another directory of the same volume. With `replace` it may take the place
    /// of another file; without, that is [`crate::Kind::Exists`]. The promise covers both directories.
    pub fn rename(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new_name: impl AsRef<OsStr>,
        replace: bool,
    ) -> Result<Pending, Error> {
        self.rename_now(name.as_ref(), to, new_name.as_ref(), replace)?;
        let mut pending = Pending::entries(to);
        if to.id() != self.id() {
            pending = pending.and(Pending::entries(self));
        }
        Ok(pending)
    }

    /// Gives a file another name, here or in another directory of the same volume. The promise covers the
    /// file's data and the new name.
    pub fn link(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new_name: impl AsRef<OsStr>,
    ) -> Result<Pending, Error> {
        let (name, new_name) = (component(name.as_ref())?, component(new_name.as_ref())?);
        if to.disk().is_suspect(to) {
            return Err(Error::Suspect);
        }
        let (file, stat) = self.open_checked(name, OFlag::O_RDONLY)?;
        let op = Op::Link {
            from: self.id(),
            from_name: name,
            to: to.id(),
            to_name: new_name,
        };
        self.disk()
            .before(&op)
            .and_then(|()| linkat(&self.shared.fd, name, &to.shared.fd, new_name, AtFlags::empty()))
            .map_err(|e| Error::io("link", new_name, e))?;
        self.disk().after(&op);
        Ok(Pending::file(to.disk(), file, stat.id, name).and(Pending::entries(to)))
    }

    /// Removes a file. Refused while the volume is suspect, because a removal there could outlive what it
    /// was to make place for.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> Result<Pending, Error> {
        if self.disk().is_suspect(self) {
            return Err(Error::Suspect);
        }
        self.unlink_now(name.as_ref())?;
        Ok(Pending::entries(self))
    }

    /// Removes a file that is garbage (a temporary file, a cache): nothing depends on the removal being
    /// durable.
    pub fn discard(&self, name: impl AsRef<OsStr>) -> Result<(), Error> {
        self.unlink_now(name.as_ref())
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: impl AsRef<OsStr>) -> Result<Pending, Error> {
        let name = component(name.as_ref())?;
        let op = Op::RemoveDir { dir: self.id(), name };
        self.disk()
            .before(&op)
            .and_then(|()| unlinkat(&self.shared.fd, name, UnlinkatFlags::RemoveDir))
            .map_err(|e| Error::io("rmdir", name, e))?;
        self.disk().after(&op);
        Ok(Pending::entries(self))
    }

    /// Promises that everything in this directory by name is durable: for names that another process made.
    pub fn settle(&self) -> Pending {
        Pending::entries(self)
    }

    /// Takes the exclusive lock `name` (a file that is never renamed or removed), waiting for it.
    pub fn lock(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Lock, Error> {
        let name = name.as_ref();
        let file = self.lock_file(name, mode)?;
        file.lock().map_err(|e| Error::io("lock", name, e))?;
        Ok(Lock { _file: file })
    }

    /// Takes the exclusive lock `name` if nobody has it.
    pub fn try_lock(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Option<Lock>, Error> {
        let name = name.as_ref();
        let file = self.lock_file(name, mode)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(e)) => Err(Error::io("lock", name, e)),
        }
    }

    /// How much room the volume has.
    pub fn space(&self) -> Result<Space, Error> {
        let stat = nix::sys::statvfs::fstatvfs(&self.shared.fd)
            .map_err(|e| Error::io("statvfs", self.label(), e))?;
        let unit = stat.fragment_size();
        // btrfs reports no inodes at all: unknown, not none.
        let inodes = (stat.files() > 0).then(|| stat.files_available());
        Ok(Space {
            available: stat.blocks_available().saturating_mul(unit),
            total: stat.blocks().saturating_mul(unit),
            inodes,
        })
    }

    pub(crate) fn rename_now(
        &self,
        name: &OsStr,
        to: &Self,
        new_name: &OsStr,
        replace: bool,
    ) -> Result<(), Error> {
        let (name, new_name) = (component(name)?, component(new_name)?);
        let flags = if replace {
            RenameFlags::empty()
        } else {
            RenameFlags::RENAME_NOREPLACE
        };
        let op = Op::Rename {
            from: self.id(),
            from_name: name,
            to: to.id(),
            to_name: new_name,
        };
        self.disk()
            .before(&op)
            .and_then(|()| renameat2(&self.shared.fd, name, &to.shared.fd, new_name, flags))
            .map_err(|e| Error::io("rename", new_name, e))?;
        self.disk().after(&op);
        Ok(())
    }

    pub(crate) fn unlink_now(&self, name: &OsStr) -> Result<(), Error> {
        let name = component(name)?;
        let op = Op::Unlink { dir: self.id(), name };
        self.disk()
            .before(&op)
            .and_then(|()| unlinkat(&self.shared.fd, name, UnlinkatFlags::NoRemoveDir))
            .map_err(|e| Error::io("unlink", name, e))?;
        self.disk().after(&op);
        Ok(())
    }

    fn create_file(&self, name: &OsStr, mode: u32) -> Result<File, Error> {
        let create = |file| Op::Create {
            dir: self.id(),
            name,
            file,
        };
        self.disk()
            .before(&create(None))
            .map_err(|e| Error::io("create", name, e))?;
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL;
        let fd = self.open_beneath(name, flags, mode)?;
        // A sane umask never takes bits from the owner, so only files that others may read need this.
        if mode & 0o077 != 0 {
            fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(|e| Error::io("chmod", name, e))?;
        }
        if self.disk().probed() {
            let stat = fstat(&fd).map_err(|e| Error::io("stat", name, e))?;
            self.disk().after(&create(Some(id_of(&stat))));
        }
        Ok(File::from(fd))
    }

    fn open_checked(&self, name: &OsStr, flags: OFlag) -> Result<(File, Stat), Error> {
        let fd = self.open_beneath(component(name)?, flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, 0)?;
        let stat = fstat(&fd).map_err(|e| Error::io("stat", name, e))?;
        let stat = Stat::from_raw(&stat);
        match stat.kind {
            FileKind::File => Ok((File::from(fd), stat)),
            other => Err(Error::WrongKind {
                name: shown(name),
                found: other.describe(),
            }),
        }
    }

    fn lock_file(&self, name: &OsStr, mode: u32) -> Result<File, Error> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NONBLOCK;
        self.open_beneath(component(name)?, flags, mode).map(File::from)
    }

    fn open_beneath(&self, path: &OsStr, flags: OFlag, mode: u32) -> Result<OwnedFd, Error> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(mode))
            .resolve(
                ResolveFlag::RESOLVE_BENEATH
                    | ResolveFlag::RESOLVE_NO_SYMLINKS
                    | ResolveFlag::RESOLVE_NO_MAGICLINKS,
            );
        loop {
            match openat2(&self.shared.fd, path, how) {
                // openat2(2): a rename elsewhere made the kernel unsure; the caller is to try again.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(Error::io("open", path, errno)),
                Ok(fd) => return Ok(fd),
            }
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}

/// Lets only one plain component through.
pub(crate) fn component(name: &OsStr) -> Result<&OsStr, Error> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(Error::Name(shown(name)));
    }
    Ok(name)
}
