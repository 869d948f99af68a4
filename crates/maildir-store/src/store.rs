//! One process's entrance to the mail store.

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use durable::{Dir, Disk, FileId, Pending, wait_all};

use crate::account::{Account, AccountShared};
use crate::error::{Doing, StoreError};
use crate::folder::Folder;
use crate::mailbox::Mailbox;
use crate::name;

/// Who owns the files of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The mail store as one process sees it: where the shared views of its folders are found. Cheap to clone;
/// make one per process.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

type Now = Box<dyn Fn() -> SystemTime + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) disk: Disk,
    /// The host part of file names.
    pub(crate) host: String,
    now: Now,
    process: Owner,
    accounts: Mutex<HashMap<FileId, Weak<AccountShared>>>,
    folders: Mutex<HashMap<FileId, Weak<Folder>>>,
    /// Ring files that are being rewritten or appended to, by mailbox.
    pub(crate) rings: Mutex<()>,
}

impl Store {
    /// A store on `disk`; `host` stands in the names of new files.
    pub fn new(disk: Disk, host: &str) -> Self {
        Self::with_clock(disk, host, SystemTime::now)
    }

    /// As [`Store::new`] with another clock.
    pub fn with_clock(disk: Disk, host: &str, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let process = Owner {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        let inner = Inner {
            disk,
            host: name::host_part(host),
            now: Box::new(now),
            process,
            accounts: Mutex::default(),
            folders: Mutex::default(),
            rings: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The disk that everything goes through.
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Opens the account whose Maildir is `maildir` below `base` (a relative path of the mailbox's row),
    /// making what is missing as a first delivery would.
    pub fn open(&self, base: &Dir, maildir: &str, owner: Owner) -> Result<Account, StoreError> {
        let mailbox = self.mailbox(base, maildir, owner)?;
        let id = mailbox.root().id();
        let mut accounts = self.inner.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = accounts.get(&id).and_then(Weak::upgrade) {
            return Ok(Account { shared });
        }
        accounts.retain(|_, account| account.strong_count() > 0);
        let shared = Arc::new(AccountShared::new(self.clone(), mailbox.root().clone(), owner));
        accounts.insert(id, Arc::downgrade(&shared));
        Ok(Account { shared })
    }

    /// Opens the root of a Maildir for delivery only: nothing but `tmp/` and `new/` is looked at. Missing
    /// directories below `base` are made with mode 0700, and are durable when this returns.
    pub fn mailbox(&self, base: &Dir, maildir: &str, owner: Owner) -> Result<Mailbox, StoreError> {
        if owner != self.inner.process {
            return Err(StoreError::Owner(format!(
                "the mailbox belongs to uid {} gid {}, this process runs as uid {} gid {}",
                owner.uid, owner.gid, self.inner.process.uid, self.inner.process.gid
            )));
        }
        let path = Path::new(maildir);
        let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
        if !plain || path.components().next().is_none() {
            return Err(StoreError::BadPath(maildir.to_owned()));
        }
        let mut made = Vec::new();
        let root = match base.open_dir(path) {
            Ok(root) => root,
            Err(error) if error.is_not_found() => make_path(base, path, &mut made)?,
            Err(error) => return Err(error).doing("open the mailbox"),
        };
        let stat = root.stat_self().doing("look at the mailbox")?;
        if stat.uid != owner.uid {
            return Err(StoreError::Owner(format!(
                "its directory belongs to uid {}, not {}",
                stat.uid, owner.uid
            )));
        }
        let (new, promise) = subdirectory(&root, "new")?;
        made.extend(promise);
        let (tmp, promise) = subdirectory(&root, "tmp")?;
        if let Some(promise) = promise {
            // A new Maildir: other programs want all three.
            made.push(promise);
            made.extend(subdirectory(&root, "cur")?.1);
        }
        let is_made = !made.is_empty();
        wait_all(made).doing("make the mailbox durable")?;
        Ok(Mailbox::new(self.clone(), root, tmp, new, owner, is_made))
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> SystemTime {
        (self.inner.now)()
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }

    /// A base name that no other file has, nor will have.
    pub(crate) fn unique_name(&self) -> Result<String, StoreError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|e| std::io::Error::other(e.to_string()))
            .doing("get randomness for a file name")?;
        let now = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(name::unique(
            now.as_secs(),
            now.subsec_micros(),
            u64::from_le_bytes(random),
            &self.inner.host,
        ))
    }

    /// The shared view of a folder, made by `open` where no session has it.
    pub(crate) fn shared_folder(
        &self,
        id: FileId,
        open: impl FnOnce() -> Result<Folder, StoreError>,
    ) -> Result<Arc<Folder>, StoreError> {
        let lock = || self.inner.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = lock().get(&id).and_then(Weak::upgrade) {
            return Ok(folder);
        }
        // Opening may sync, so it happens outside the lock; of two that race, one view is thrown away.
        let opened = Arc::new(open()?);
        let mut folders = lock();
        if let Some(folder) = folders.get(&id).and_then(Weak::upgrade) {
            return Ok(folder);
        }
        folders.retain(|_, folder| folder.strong_count() > 0);
        folders.insert(id, Arc::downgrade(&opened));
        Ok(opened)
    }

    /// The shared view of a folder, where a session of this process has it open.
    pub(crate) fn open_folder(&self, id: FileId) -> Option<Arc<Folder>> {
        self.inner
            .folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .and_then(Weak::upgrade)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("host", &self.inner.host)
            .finish_non_exhaustive()
    }
}

/// Makes the directories of a relative path, as far as they are missing.
fn make_path(base: &Dir, path: &Path, made: &mut Vec<Pending>) -> Result<Dir, StoreError> {
    let mut dir = base.clone();
    for component in path.components() {
        let (next, promise) = dir
            .ensure_dir(component.as_os_str(), DIR_MODE)
            .doing("make the mailbox")?;
        made.push(promise);
        dir = next;
    }
    Ok(dir)
}

/// Opens one of tmp, new and cur, making it where it is missing.
pub(crate) fn subdirectory(root: &Dir, name: &str) -> Result<(Dir, Option<Pending>), StoreError> {
    match root.open_dir(name) {
        Ok(dir) => Ok((dir, None)),
        Err(error) if error.is_not_found() => {
            let (dir, promise) = root.ensure_dir(name, DIR_MODE).doing("make the mailbox")?;
            Ok((dir, Some(promise)))
        }
        Err(error) => Err(error).doing("open the mailbox"),
    }
}

/// Mode of every directory of a Maildir.
pub(crate) const DIR_MODE: u32 = 0o700;
/// Mode of every file of a Maildir.
pub(crate) const FILE_MODE: u32 = 0o600;
