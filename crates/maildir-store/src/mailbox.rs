//! Delivery into a Maildir: tmp/ to new/ in the durable order, one delivery key at most once.

use durable::{Dir, FileKind, Staged};
use mail_types::DeliveryKey;

use crate::error::{Doing, StoreError};
use crate::folder_name::FolderName;
use crate::keys;
use crate::name;
use crate::store::{FILE_MODE, Owner, Store};

/// The root of a Maildir, open for delivery.
#[derive(Debug, Clone)]
pub struct Mailbox {
    store: Store,
    root: Dir,
    tmp: Dir,
    new: Dir,
    owner: Owner,
    is_made: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The message is durable in `new/` under this name.
    Stored {
        /// File name.
        name: String,
    },
    /// It was there already.
    Already,
}

impl Mailbox {
    pub(crate) fn new(store: Store, root: Dir, tmp: Dir, new: Dir, owner: Owner, is_made: bool) -> Self {
        Self {
            store,
            root,
            tmp,
            new,
            owner,
            is_made,
        }
    }

    /// Its root directory.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// The owner of its files.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether directories had to be made when it was opened.
    pub fn is_made(&self) -> bool {
        self.is_made
    }

    /// Whether new mail is refused here because a sync failed on this volume.
    pub fn is_suspect(&self) -> bool {
        self.store.disk().is_suspect(&self.root)
    }

    /// Stores a message, its lines ended by LF: `parts` one after the other. It is durable when this
    /// returns `Ok` (architecture.md section 5: write, sync, rename, sync of the directory); on error
    /// nothing is left. Blocks for two barriers.
    pub fn deliver(&self, key: DeliveryKey, parts: &[&[u8]]) -> Result<Delivered, StoreError> {
        let mut incoming = self.incoming(key)?;
        for part in parts {
            incoming.write(part)?;
        }
        incoming.finish()
    }

    /// Begins a message that comes in pieces.
    pub fn incoming(&self, key: DeliveryKey) -> Result<Incoming, StoreError> {
        // An earlier attempt that was killed may have left its file, so the temporary name is unique.
        let staged = self
            .tmp
            .stage(self.store.unique_name()?, FILE_MODE)
            .doing("create the message file")?;
        Ok(Incoming {
            mailbox: self.clone(),
            key,
            staged,
        })
    }

    /// Whether a message with this key was delivered here before: it lies in any folder, or its key is in
    /// the ring. Slow; to be asked only where the delivery may be repeated. Durable when found.
    pub fn has(&self, key: DeliveryKey) -> Result<bool, StoreError> {
        if self.find(&self.root, key)? || keys::contains(&self.root, key)? {
            return Ok(true);
        }
        for entry in self.root.list().doing("list the folders")? {
            let folder = matches!(entry.kind, None | Some(FileKind::Dir))
                && FolderName::of_directory(&entry.name).is_some();
            if folder {
                let found = self.root.open_dir(&entry.name).map(|dir| self.find(&dir, key));
                if found.unwrap_or(Ok(false))? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Looks in `new/` and `cur/`; what is found is made durable, because the attempt that put it there may
    /// have died before its directory sync.
    fn find(&self, folder: &Dir, key: DeliveryKey) -> Result<bool, StoreError> {
        for place in ["new", "cur"] {
            let Ok(dir) = folder.open_dir(place) else { continue };
            let entries = dir.list().doing("search for the message")?;
            if entries.iter().any(|e| name::has_key(&e.name, key)) {
                dir.settle().wait().doing("make the message durable")?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A message on its way into a mailbox. Dropped, it is removed again.
#[derive(Debug)]
pub struct Incoming {
    mailbox: Mailbox,
    key: DeliveryKey,
    staged: Staged,
}

impl Incoming {
    /// The next bytes, lines ended by LF.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.staged.write_all(bytes).doing("write the message")
    }

    /// A second handle for reading what was written so far.
    pub fn reader(&self) -> Result<std::fs::File, StoreError> {
        self.staged.reader().doing("read the message back")
    }

    /// The message is complete: makes it durable in `new/`.
    pub fn finish(self) -> Result<Delivered, StoreError> {
        let Mailbox { store, new, root, .. } = &self.mailbox;
        let base = name::delivered(store.seconds(), self.key, &store.inner.host, self.staged.len());
        match self.staged.publish(new, &base).wait() {
            Ok(()) => {}
            Err(error) if error.is_exists() => {
                // The same key in the same second: an attempt that was given up on has come through.
                new.settle().wait().doing("make the message durable")?;
                return Ok(Delivered::Already);
            }
            Err(error) => return Err(error).doing("make the message durable"),
        }
        // Only what is durable may stand in the ring. Losing an entry costs a second copy at worst, and
        // only where the user deletes the message before a repeated attempt: no reason to refuse it now.
        let _ = keys::remember(store, root, self.key);
        Ok(Delivered::Stored {
            name: base.to_string_lossy().into_owned(),
        })
    }
}
