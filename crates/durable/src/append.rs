//! A journal: records are appended to its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::stat::fstat;

use crate::barrier::Barrier;
use crate::dir::Dir;
use crate::error::{Error, shown};
use crate::pending::Pending;
use crate::probe::{FileId, Op};
use crate::stat::{Stat, id_of};

/// An open journal. Cheap to clone. It keeps no lock: one writer at a time is the caller's rule (a mutex
/// in the process, [`Dir::lock`] between processes); promises of several records are kept together.
#[derive(Clone, Debug)]
pub struct AppendFile {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) file: File,
    pub(crate) dir: Dir,
    pub(crate) name: OsString,
    pub(crate) id: FileId,
    pub(crate) barrier: Barrier,
    /// Its name is not durable yet.
    pub(crate) unnamed: AtomicBool,
}

impl AppendFile {
    pub(crate) fn new(dir: Dir, name: &OsStr, file: File, created: bool) -> Result<Self, Error> {
        let stat = fstat(&file).map_err(|e| Error::io("stat", name, e))?;
        if Stat::from_raw(&stat).kind != crate::FileKind::File {
            return Err(Error::WrongKind {
                name: shown(name),
                found: "not a regular file",
            });
        }
        let id = id_of(&stat);
        if created {
            dir.disk().not_poisoned(id);
        }
        let shared = Shared {
            file,
            dir,
            name: name.to_owned(),
            id,
            barrier: Barrier::default(),
            unnamed: AtomicBool::new(created),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Device and inode; compare it with [`Dir::stat`] to learn that the journal was replaced.
    pub fn id(&self) -> FileId {
        self.shared.id
    }

    /// Its length now, whoever wrote.
    pub fn len(&self) -> Result<u64, Error> {
        self.stat().map(|s| s.size)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.len().map(|len| len == 0)
    }

    /// What is known of it.
    pub fn stat(&self) -> Result<Stat, Error> {
        let stat = fstat(&self.shared.file).map_err(|e| self.error("stat", e))?;
        Ok(Stat::from_raw(&stat))
    }

    /// Everything from `offset` to the end.
    pub fn read_from(&self, offset: u64) -> Result<Vec<u8>, Error> {
        let len = self.len()?.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            let got = self
                .shared
                .file
                .read_at(&mut bytes[filled..], offset + filled as u64);
            match got.map_err(|e| self.error("read", e))? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Exactly `buffer.len()` bytes at `offset`.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.shared
            .file
            .read_exact_at(buffer, offset)
            .map_err(|e| self.error("read", e))
    }

    /// Appends `record`, visible to every reader at once. When the promise is kept it survives. After an
    /// error nothing of it is left, as far as the disk allows; a torn record is the reader's to recognise.
    pub fn append(&self, record: &[u8]) -> Result<Pending, Error> {
        self.check()?;
        let offset = self.len()?;
        let op = Op::Write {
            file: self.shared.id,
            offset,
            bytes: record,
        };
        let disk = self.shared.dir.disk();
        let written = disk
            .before(&op)
            .map_err(std::io::Error::from)
            .and_then(|()| (&self.shared.file).write_all(record));
        if let Err(error) = written {
            let _ = self.shared.file.set_len(offset);
            return Err(self.error("append to", error));
        }
        disk.after(&op);
        Ok(self.sync())
    }

    /// Promises that everything in the journal now is durable, also what another process appended.
    pub fn sync(&self) -> Pending {
        Pending::append(self.clone())
    }

    /// Cuts a torn tail off. It becomes durable with the next record.
    pub fn truncate(&self, len: u64) -> Result<(), Error> {
        self.check()?;
        let op = Op::Truncate {
            file: self.shared.id,
            len,
        };
        let disk = self.shared.dir.disk();
        let cut = disk
            .before(&op)
            .map_err(std::io::Error::from)
            .and_then(|()| self.shared.file.set_len(len));
        cut.map_err(|e| self.error("truncate", e))?;
        disk.after(&op);
        Ok(())
    }

    /// Sets space aside for the next `bytes` bytes, so that appending them needs none. The length does not
    /// change. A file system that cannot do it is no error.
    pub fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let from = i64::try_from(self.len()?).unwrap_or(i64::MAX);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        match fallocate(
            &self.shared.file,
            FallocateFlags::FALLOC_FL_KEEP_SIZE,
            from,
            bytes,
        ) {
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => Ok(()),
            Err(errno) => Err(self.error("reserve space for", errno)),
        }
    }

    /// Refuses a journal that lost data: its content as read may not be what is on the disk, so its
    /// readable content has to be written into a new file that takes its place.
    fn check(&self) -> Result<(), Error> {
        if self.is_poisoned() {
            return Err(Error::Poisoned(shown(&self.shared.name)));
        }
        Ok(())
    }

    /// Whether a sync of it failed before; it takes no more records then.
    pub fn is_poisoned(&self) -> bool {
        self.shared.dir.disk().is_poisoned(self.shared.id)
    }

    /// The barrier behind [`AppendFile::sync`].
    pub(crate) fn sync_now(&self) -> Result<(), Error> {
        self.check()?;
        let shared = &*self.shared;
        let disk = shared.dir.disk();
        let op = Op::SyncFile { file: shared.id };
        let mut failure = None;
        let passed = shared.barrier.pass(|| {
            let synced = disk
                .before(&op)
                .and_then(|()| nix::unistd::fdatasync(&shared.file))
                .inspect(|()| disk.after(&op));
            synced.inspect_err(|errno| failure = Some(disk.file_sync_failed(shared.id, &shared.name, *errno)))
        });
        if let Err(errno) = passed {
            return Err(failure.unwrap_or_else(|| Error::Sync {
                name: shown(&shared.name),
                source: errno.into(),
            }));
        }
        if shared.unnamed.load(Ordering::Acquire) {
            disk.sync_dir(&shared.dir)?;
            shared.unnamed.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn error(&self, op: &'static str, source: impl Into<std::io::Error>) -> Error {
        Error::io(op, &self.shared.name, source)
    }
}
