//! One process's view of its volumes: shared barriers, lazy syncs, suspect volumes, the probe of tests.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::barrier::Barrier;
use crate::dir::Dir;
use crate::error::{Error, Kind, shown};
use crate::lazy::Lazy;
use crate::probe::{FileId, Op, Probe};
use crate::selftest;

/// The handle through which a process uses its disks. Cheap to clone; make one per process, so that
/// barriers are shared and a suspect volume is known to everybody.
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

/// Something that an operator has to hear about although no caller waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// A sync failed; the volume is suspect from now on.
    SyncFailed {
        /// Device number of the volume.
        dev: u64,
        /// The file or directory.
        name: String,
        /// The kernel's reason.
        reason: String,
    },
    /// The volume passed its self-test and is in use again.
    Recovered {
        /// Device number of the volume.
        dev: u64,
    },
}

type AlarmFn = Box<dyn Fn(&Alarm) + Send + Sync>;

pub(crate) struct Inner {
    probe: Option<Arc<dyn Probe>>,
    /// Barriers of directories that are being synced at this moment.
    dirs: Mutex<HashMap<FileId, Arc<Barrier>>>,
    /// Inodes whose sync failed; never synced again.
    poisoned: Mutex<HashSet<FileId>>,
    /// Device numbers of suspect volumes.
    suspects: RwLock<HashSet<u64>>,
    alarm: RwLock<Option<AlarmFn>>,
    pub(crate) lazy: Lazy,
}

impl Disk {
    /// The real disk.
    pub fn new() -> Self {
        Self::build(None)
    }

    /// A disk that asks `probe` before, and tells it after, each operation.
    pub fn with_probe(probe: Arc<dyn Probe>) -> Self {
        Self::build(Some(probe))
    }

    fn build(probe: Option<Arc<dyn Probe>>) -> Self {
        let inner = Inner {
            probe,
            dirs: Mutex::default(),
            poisoned: Mutex::default(),
            suspects: RwLock::default(),
            alarm: RwLock::default(),
            lazy: Lazy::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens a directory by a path from the configuration. Only here are symbolic links followed: the
    /// path belongs to the administrator.
    pub fn open_root(&self, path: &Path) -> Result<Dir, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|e| Error::io("open", path, e))?;
        Dir::from_fd(self.clone(), fd, path.as_os_str())
    }

    /// Whether new files are refused on the volume of `dir`.
    pub fn is_suspect(&self, dir: &Dir) -> bool {
        self.is_dev_suspect(dir.id().dev)
    }

    /// Writes, syncs and reads back a small file in `dir`; clears the suspicion of its volume if that
    /// works, and makes it suspect if the disk gives errors or other bytes. To be called at start and every
    /// 30 s while the volume is suspect (robustness.md 4.2).
    pub fn self_test(&self, dir: &Dir) -> Result<(), Error> {
        let dev = dir.id().dev;
        if let Err(error) = selftest::run(dir) {
            // A full disk or missing permission says nothing about what was written.
            if error.kind() == Kind::Other {
                self.inner
                    .suspects
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(dev);
            }
            return Err(error);
        }
        let cleared = self
            .inner
            .suspects
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&dev);
        if cleared {
            self.raise(&Alarm::Recovered { dev });
        }
        Ok(())
    }

    /// Sets who hears about failed syncs: the process's log. Only the last one set is called.
    pub fn on_alarm(&self, hear: impl Fn(&Alarm) + Send + Sync + 'static) {
        *self.inner.alarm.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hear));
    }

    /// Keeps every promise that was put off with [`crate::Pending::later`], now. For the end of a process
    /// and for tests.
    pub fn flush(&self) -> Result<(), Error> {
        self.inner.lazy.flush(self)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Whether ids and bytes of operations are wanted by anybody.
    pub(crate) fn probed(&self) -> bool {
        self.inner.probe.is_some()
    }

    pub(crate) fn before(&self, op: &Op<'_>) -> Result<(), Errno> {
        match &self.inner.probe {
            None => Ok(()),
            Some(probe) => probe
                .before(op)
                .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(5))),
        }
    }

    pub(crate) fn after(&self, op: &Op<'_>) {
        if let Some(probe) = &self.inner.probe {
            probe.after(op);
        }
    }

    pub(crate) fn is_dev_suspect(&self, dev: u64) -> bool {
        self.inner
            .suspects
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&dev)
    }

    pub(crate) fn is_poisoned(&self, id: FileId) -> bool {
        self.poisoned().contains(&id)
    }

    /// Makes the entries of a directory durable, together with everybody else who wants that now.
    pub(crate) fn sync_dir(&self, dir: &Dir) -> Result<(), Error> {
        let id = dir.id();
        let barrier = {
            let mut dirs = self.inner.dirs.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(dirs.entry(id).or_default())
        };
        let result = barrier.pass(|| {
            self.before(&Op::SyncDir { dir: id })?;
            nix::unistd::fsync(dir.as_fd())?;
            self.after(&Op::SyncDir { dir: id });
            Ok(())
        });
        {
            let mut dirs = self.inner.dirs.lock().unwrap_or_else(PoisonError::into_inner);
            // The map and we: nobody else waits for it.
            if Arc::strong_count(&barrier) == 2 {
                dirs.remove(&id);
            }
        }
        result.map_err(|errno| self.sync_failed(id, dir.label(), errno))
    }

    /// Makes the data of a file durable (and its times, where `full`).
    pub(crate) fn sync_file(&self, fd: &OwnedFd, id: FileId, name: &OsStr, full: bool) -> Result<(), Error> {
        let sync = || {
            self.before(&Op::SyncFile { file: id })?;
            if full {
                nix::unistd::fsync(fd.as_fd())?;
            } else {
                nix::unistd::fdatasync(fd.as_fd())?;
            }
            self.after(&Op::SyncFile { file: id });
            Ok(())
        };
        sync().map_err(|errno| self.file_sync_failed(id, name, errno))
    }

    /// Remembers that the sync of a file failed: its inode is never synced again.
    pub(crate) fn file_sync_failed(&self, id: FileId, name: &OsStr, errno: Errno) -> Error {
        self.poisoned().insert(id);
        self.sync_failed(id, name, errno)
    }

    /// Forgets an inode number that belongs to a new file now.
    pub(crate) fn not_poisoned(&self, id: FileId) {
        self.poisoned().remove(&id);
    }

    /// Whether any inode is poisoned.
    pub(crate) fn any_poisoned(&self) -> bool {
        !self.poisoned().is_empty()
    }

    /// Remembers that a sync failed: the volume is suspect, the operator told.
    fn sync_failed(&self, id: FileId, name: &OsStr, errno: Errno) -> Error {
        self.inner
            .suspects
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.dev);
        self.raise(&Alarm::SyncFailed {
            dev: id.dev,
            name: shown(name),
            reason: errno.desc().to_owned(),
        });
        Error::Sync {
            name: shown(name),
            source: errno.into(),
        }
    }

    fn raise(&self, alarm: &Alarm) {
        if let Some(hear) = &*self.inner.alarm.read().unwrap_or_else(PoisonError::into_inner) {
            hear(alarm);
        }
    }

    fn poisoned(&self) -> MutexGuard<'_, HashSet<FileId>> {
        self.inner.poisoned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}
