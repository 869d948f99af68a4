//! A file that is being written under a temporary name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use nix::sys::stat::fstat;

use crate::dir::{Dir, component};
use crate::disk::Disk;
use crate::error::Error;
use crate::pending::Pending;
use crate::probe::{FileId, Op};
use crate::stat::id_of;

/// A new file on its way. Dropped without [`Staged::publish`] it is removed again.
#[derive(Debug)]
pub struct Staged {
    /// None once it is published or given up.
    file: Option<File>,
    dir: Dir,
    name: OsString,
    /// Known from the start only where a probe wants it.
    id: Option<FileId>,
    written: u64,
    times_set: bool,
}

impl Staged {
    pub(crate) fn new(dir: Dir, name: &OsStr, file: File) -> Result<Self, Error> {
        let id = match dir.disk().probed() {
            false => None,
            true => Some(id_of(&fstat(&file).map_err(|e| Error::io("stat", name, e))?)),
        };
        Ok(Self {
            file: Some(file),
            dir,
            name: name.to_owned(),
            id,
            written: 0,
            times_set: false,
        })
    }

    /// Writes the next bytes. There is no buffer: pass big pieces. After an error the file is good for
    /// nothing but being dropped.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_io(bytes)
            .map_err(|e| Error::io("write", &self.name, e))
    }

    /// How many bytes were written.
    pub fn len(&self) -> u64 {
        self.written
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// The temporary name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// A second handle for reading back what was written.
    pub fn reader(&self) -> Result<File, Error> {
        self.dir.open_file(&self.name)
    }

    /// Sets the modification time, where it is not now (IMAP APPEND with a date). It becomes durable with
    /// the file.
    pub fn set_modified(&mut self, time: SystemTime) -> Result<(), Error> {
        let set = self.file()?.set_modified(time);
        set.map_err(|e| Error::io("set time of", &self.name, e))?;
        self.times_set = true;
        Ok(())
    }

    /// Gives the file its name in `dir`, where no file of that name may exist
    /// ([`crate::Kind::Exists`] from `wait`). When the promise is kept, the file is there, whole, and
    /// survives; when it fails, nothing is left of it.
    pub fn publish(self, dir: &Dir, name: impl AsRef<OsStr>) -> Pending {
        Pending::publish(self, dir.clone(), name.as_ref().to_owned(), false)
    }

    /// As [`Staged::publish`], but in the place of the file that may stand there: readers see the old one
    /// or the new one, whole.
    pub fn replace(self, dir: &Dir, name: impl AsRef<OsStr>) -> Pending {
        Pending::publish(self, dir.clone(), name.as_ref().to_owned(), true)
    }

    /// Gives a cache file its name, at once and without any barrier: after a power cut it may be missing,
    /// empty or torn, so what is in it must carry a checksum and be worthless.
    pub fn publish_volatile(mut self, dir: &Dir, name: impl AsRef<OsStr>) -> Result<(), Error> {
        self.dir.rename_now(&self.name, dir, name.as_ref(), true)?;
        self.file = None;
        Ok(())
    }

    /// Syncs, closes and renames; the new name is not durable yet.
    pub(crate) fn rename_into(mut self, dir: &Dir, name: &OsStr, replace: bool) -> Result<(), Error> {
        component(name)?;
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let result = self
            .settle(file)
            .and_then(|()| self.dir.rename_now(&self.name, dir, name, replace));
        if result.is_err() {
            // Best effort: what is left is garbage in a temporary directory.
            let _ = self.dir.unlink_now(&self.name);
        }
        result
    }

    fn settle(&self, file: File) -> Result<(), Error> {
        let disk: &Disk = self.dir.disk();
        let fd = OwnedFd::from(file);
        let id = match self.id {
            Some(id) => id,
            None => FileId {
                dev: self.dir.id().dev,
                ino: 0,
            },
        };
        if disk.any_poisoned() {
            // The inode number of a new file may have belonged to one that failed.
            let stat = fstat(&fd).map_err(|e| Error::io("stat", &self.name, e))?;
            disk.not_poisoned(id_of(&stat));
        }
        disk.sync_file(&fd, id, &self.name, self.times_set)?;
        nix::unistd::close(fd).map_err(|e| Error::io("close", &self.name, e))
    }

    fn write_io(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        match self.id {
            None => file.write_all(bytes)?,
            Some(id) => {
                let op = Op::Write {
                    file: id,
                    offset: self.written,
                    bytes,
                };
                self.dir.disk().before(&op)?;
                file.write_all(bytes)?;
                self.dir.disk().after(&op);
            }
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn file(&self) -> Result<&File, Error> {
        self.file
            .as_ref()
            .ok_or_else(|| Error::io("use", &self.name, io::Error::from(io::ErrorKind::BrokenPipe)))
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_io(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = self.dir.unlink_now(&self.name);
        }
    }
}
