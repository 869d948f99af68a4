//! An account: its folders, subscriptions and locks.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use durable::{Dir, FileKind, Lock, wait_all};

use crate::accountfile::{self, Change};
use crate::error::{Doing, StoreError};
use crate::folder::Folder;
use crate::folder_name::{BadName, FolderName};
use crate::store::{DIR_MODE, FILE_MODE, Owner, Store};
use crate::uidlog::UidLog;

/// The Maildir of one user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Account {
    pub(crate) shared: Arc<AccountShared>,
}

#[derive(Debug)]
pub(crate) struct AccountShared {
    pub(crate) store: Store,
    pub(crate) root: Dir,
    pub(crate) owner: Owner,
}

impl Account {
    /// The store it belongs to.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// All folders that exist, INBOX first, then by name. A level without a directory of its own is not
    /// among them.
    pub fn folders(&self) -> Result<Vec<FolderName>, StoreError> {
        let mut names = BTreeSet::new();
        let mut leftovers = false;
        for entry in self.root().list().doing("list the folders")? {
            if !matches!(entry.kind, None | Some(FileKind::Dir)) {
                continue;
            }
            leftovers |= is_hidden(&entry.name);
            if let Some(name) = FolderName::of_directory(&entry.name) {
                let is_dir = entry.kind.is_some() || self.root().open_dir(&entry.name).is_ok();
                if is_dir {
                    names.insert(name);
                }
            }
        }
        if leftovers {
            self.clean_up();
        }
        let mut folders = vec![FolderName::inbox()];
        folders.extend(names.into_iter().filter(|n| !n.is_inbox()));
        Ok(folders)
    }

    /// Whether a folder exists.
    pub fn exists(&self, name: &FolderName) -> Result<bool, StoreError> {
        match self.directory_of(name) {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a folder; all sessions of the process get the same object.
    pub fn folder(&self, name: &FolderName) -> Result<Arc<Folder>, StoreError> {
        let dir = if name.is_inbox() {
            self.root().clone()
        } else {
            self.directory_of(name)?.1
        };
        let id = dir.id();
        self.shared
            .store
            .shared_folder(id, || Folder::open(Arc::clone(&self.shared), name.clone(), dir))
    }

    /// Makes a folder (not its parents: those levels need none). Durable when it returns.
    pub fn create(&self, name: &FolderName) -> Result<(), StoreError> {
        let _lock = self.lock_folders()?;
        self.create_locked(name)
    }

    /// Removes a folder with everything in it; folders below it stay. Durable when it returns.
    pub fn delete(&self, name: &FolderName) -> Result<(), StoreError> {
        if name.is_inbox() {
            return Err(BadName.into());
        }
        let _lock = self.lock_folders()?;
        let (directory, dir) = self.directory_of(name)?;
        let hidden = self.hidden_name(DELETED)?;
        // Under the hidden name it is gone for everybody at once, whatever becomes of the removal.
        let doing = "delete the folder";
        self.root()
            .rename(&directory, self.root(), &hidden, false)
            .doing(doing)?
            .wait()
            .doing(doing)?;
        if let Some(open) = self.shared.store.open_folder(dir.id()) {
            open.vanish();
        }
        let _ = remove_tree(self.root(), &hidden);
        Ok(())
    }

    /// Renames a folder and all below it. INBOX stays, and its messages move to the new folder (RFC 3501
    /// 6.3.5). Subscriptions stay as they are. Durable when it returns.
    pub fn rename(&self, old: &FolderName, new: &FolderName) -> Result<(), StoreError> {
        if new.is_inbox() {
            return Err(StoreError::Exists);
        }
        let lock = self.lock_folders()?;
        if old.is_inbox() {
            self.create_locked(new)?;
            drop(lock);
            let inbox = self.folder(old)?;
            let uids: Vec<u32> = inbox.refresh()?.messages.iter().map(|m| m.uid).collect();
            return inbox.move_to(&uids, &*self.folder(new)?).map(drop);
        }
        if new == old || new.is_below(old) {
            return Err(BadName.into());
        }
        let mut moves = Vec::new();
        for name in self.folders()? {
            if &name == old || name.is_below(old) {
                let target = name.moved(old, new)?;
                if self.exists(&target)? {
                    return Err(StoreError::Exists);
                }
                moves.push((self.directory_of(&name)?, target));
            }
        }
        if moves.is_empty() {
            return Err(StoreError::NotFound);
        }
        self.rename_all(&moves)
    }

    /// The subscribed names, which need not exist.
    pub fn subscriptions(&self) -> Result<BTreeSet<FolderName>, StoreError> {
        accountfile::read(self.root()).map(|data| data.subscribed)
    }

    /// Subscribes a name, or ends its subscription. Durable when it returns.
    pub fn subscribe(&self, name: &FolderName, on: bool) -> Result<(), StoreError> {
        accountfile::change(self.root(), |data| {
            let change = if on {
                Change::Subscribe(name)
            } else {
                Change::Unsubscribe(name)
            };
            let records = if data.subscribed.contains(name) == on {
                Vec::new()
            } else {
                change.record()
            };
            Ok((records, ()))
        })
    }

    /// The lock of the one POP3 session that a maildrop may have (RFC 1939 section 4). None: another has
    /// it. It ends when it is dropped, and with the process, however that ends.
    pub fn pop3_lock(&self) -> Result<Option<Lock>, StoreError> {
        self.root()
            .try_lock(POP3_LOCK, FILE_MODE)
            .doing("lock the maildrop")
    }

    fn root(&self) -> &Dir {
        &self.shared.root
    }

    /// Creating, deleting and renaming exclude one another, between processes too.
    fn lock_folders(&self) -> Result<Lock, StoreError> {
        self.root()
            .lock(FOLDERS_LOCK, FILE_MODE)
            .doing("lock the list of folders")
    }

    fn create_locked(&self, name: &FolderName) -> Result<(), StoreError> {
        if self.exists(name)? {
            return Err(StoreError::Exists);
        }
        let doing = "create the folder";
        let uid_validity = self.shared.next_uid_validity()?;
        let hidden = self.hidden_name(MAKING)?;
        let built = self.build(&hidden, uid_validity).and_then(|()| {
            let renamed = self.root().rename(&hidden, self.root(), name.directory(), false);
            renamed.and_then(durable::Pending::wait).doing(doing)
        });
        if built.is_err() {
            let _ = remove_tree(self.root(), &hidden);
        }
        match built {
            Err(StoreError::Disk { source, .. }) if source.is_exists() => Err(StoreError::Exists),
            result => result,
        }
    }

    /// A whole folder under a hidden name, durable in itself.
    fn build(&self, hidden: &OsStr, uid_validity: u32) -> Result<(), StoreError> {
        let doing = "create the folder";
        let (dir, made) = self.root().create_dir(hidden, DIR_MODE).doing(doing)?;
        let mut promises = vec![made];
        for sub in ["tmp", "new", "cur"] {
            promises.push(dir.create_dir(sub, DIR_MODE).doing(doing)?.1);
        }
        // The mark by which Maildir++ programs know that this is not an account of its own.
        promises.push(
            dir.stage("maildirfolder.new", FILE_MODE)
                .doing(doing)?
                .publish(&dir, "maildirfolder"),
        );
        wait_all(promises).doing(doing)?;
        UidLog::create(
            &dir,
            uid_validity,
            i64::try_from(self.shared.store.seconds()).unwrap_or(0),
        )
        .map(drop)
    }

    fn rename_all(&self, moves: &[((OsString, Dir), FolderName)]) -> Result<(), StoreError> {
        let doing = "rename the folder";
        for (done, ((directory, _), target)) in moves.iter().enumerate() {
            match self
                .root()
                .rename(directory, self.root(), target.directory(), false)
            {
                Ok(promise) => promise.forget(),
                Err(error) => {
                    for ((directory, _), target) in &moves[..done] {
                        let back = self
                            .root()
                            .rename(target.directory(), self.root(), directory, false);
                        let _ = back.map(durable::Pending::forget);
                    }
                    return Err(error).doing(doing);
                }
            }
        }
        self.root().settle().wait().doing(doing)?;
        for ((_, dir), target) in moves {
            if let Some(open) = self.shared.store.open_folder(dir.id()) {
                open.renamed(target.clone());
            }
        }
        Ok(())
    }

    /// The directory of a folder, in whatever spelling it has.
    fn directory_of(&self, name: &FolderName) -> Result<(OsString, Dir), StoreError> {
        if name.is_inbox() {
            return Ok((OsString::from("."), self.root().clone()));
        }
        for directory in name.directories() {
            match self.root().open_dir(&directory) {
                Ok(dir) => return Ok((directory, dir)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error).doing("open the folder"),
            }
        }
        Err(StoreError::NotFound)
    }

    fn hidden_name(&self, prefix: &str) -> Result<OsString, StoreError> {
        Ok(format!("{prefix}{}", self.shared.store.unique_name()?).into())
    }

    /// Removes what a crash left of folders on their way in or out. Whoever makes such a directory holds
    /// the lock, so what is seen under it is nobody's.
    fn clean_up(&self) {
        let Ok(Some(_lock)) = self.root().try_lock(FOLDERS_LOCK, FILE_MODE) else {
            return;
        };
        for entry in self.root().list().unwrap_or_default() {
            if is_hidden(&entry.name) {
                let _ = remove_tree(self.root(), &entry.name);
            }
        }
    }
}

impl AccountShared {
    pub(crate) fn new(store: Store, root: Dir, owner: Owner) -> Self {
        Self { store, root, owner }
    }

    /// A UIDVALIDITY that no folder of this account had, nor will have. Durable when it returns.
    pub(crate) fn next_uid_validity(&self) -> Result<u32, StoreError> {
        let now = u32::try_from(self.store.seconds()).unwrap_or(1).max(1);
        accountfile::change(&self.root, |data| {
            let ran_out = || StoreError::Unusable("the UIDVALIDITY of the account ran out".to_owned());
            let next = data.uid_validity.checked_add(1).ok_or_else(ran_out)?.max(now);
            Ok((Change::UidValidity(next).record(), next))
        })
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(MAKING.as_bytes()) || name.as_bytes().starts_with(DELETED.as_bytes())
}

/// Removes a directory of ours: files, and directories two levels deep. Not durable; a crash leaves it to
/// [`Account::clean_up`].
fn remove_tree(parent: &Dir, name: &OsStr) -> Result<(), durable::Error> {
    fn remove(parent: &Dir, name: &OsStr, depth: usize) -> Result<(), durable::Error> {
        let dir = parent.open_dir(name)?;
        for entry in dir.list()? {
            let is_dir = match entry.kind {
                Some(kind) => kind == FileKind::Dir,
                None => dir.stat(&entry.name)?.kind == FileKind::Dir,
            };
            if !is_dir {
                dir.discard(&entry.name)?;
            } else if depth > 0 {
                remove(&dir, &entry.name, depth - 1)?;
            }
        }
        parent.remove_dir(name).map(durable::Pending::forget)
    }
    remove(parent, name, 3)
}

const MAKING: &str = "postrider-making-";
const DELETED: &str = "postrider-deleted-";
const FOLDERS_LOCK: &str = "postrider-folders-lock";
const POP3_LOCK: &str = "postrider-pop3-lock";
