//! The way to the files: one wrapper that takes the work off the async threads, and the names of folders.

use auth_api::sasl::Account;
use imap_proto::name::WireName;
use imap_proto::response::Code;
use maildir_store::{Folder, FolderName, Owner, Store, StoreError};

use crate::config::Settings;
use crate::error::{StoreFailure, Tagged};

/// The Maildirs of all accounts.
#[derive(Clone)]
pub(crate) struct Maildirs {
    store: Store,
    base: durable::Dir,
}

impl Maildirs {
    /// Opens the directory below which all Maildirs lie.
    pub(crate) fn open(settings: &Settings) -> Result<Self, durable::Error> {
        let disk = durable::Disk::new();
        disk.on_alarm(crate::volume::tell);
        let base = disk.open_root(&settings.virtual_mailbox_base)?;
        Ok(Self {
            store: Store::new(disk, &settings.myhostname),
            base,
        })
    }

    /// Tests the volume where a sync failed on it. Blocks.
    pub(crate) fn test_if_suspect(&self) -> Result<(), durable::Error> {
        let disk = self.store.disk();
        if disk.is_suspect(&self.base) {
            disk.self_test(&self.base)
        } else {
            Ok(())
        }
    }

    /// Makes durable what was put off. Blocks.
    pub(crate) fn flush(&self) -> Result<(), durable::Error> {
        self.store.disk().flush()
    }

    /// Opens the Maildir of an account, made where it is missing. Blocks.
    pub(crate) fn account(&self, account: &Account) -> Result<maildir_store::Account, StoreError> {
        let owner = Owner {
            uid: account.uid,
            gid: account.gid,
        };
        self.store.open(&self.base, &account.maildir, owner)
    }
}

/// Runs file work off the async threads: the one way from a session to the store.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreFailure> {
    Ok(daemon::blocking(work).await??)
}

/// The first UID that is recent for a session, which takes them over unless it only reads. Where that cannot
/// be written down (a disk that is full or read-only) others will hear of them again. Blocks.
pub(crate) fn first_recent(folder: &Folder, read_only: bool) -> u32 {
    if read_only {
        return folder.peek_recent();
    }
    folder.take_recent().unwrap_or_else(|_| folder.peek_recent())
}

/// A folder by the name on the wire.
pub(crate) fn folder_name(wire: &WireName) -> Result<FolderName, Tagged> {
    let cannot = |text: String| Tagged::no_code(Code::Cannot, text);
    let name = wire.decode().map_err(|error| cannot(error.to_string()))?;
    FolderName::parse(&name).map_err(|_| cannot("Invalid mailbox name".to_owned()))
}
