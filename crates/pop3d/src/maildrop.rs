//! The INBOX of an account as a maildrop: locked, counted once, read and emptied off the async threads.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::sync::Arc;

use auth_api::sasl::Account;
use maildir_store::{Folder, FolderName, Owner, Store, StoreError};
use pop3_proto::server::Maildrop;

/// The Maildirs of all accounts.
#[derive(Clone)]
pub struct Maildirs {
    /// The store of this process.
    pub store: Store,
    /// `virtual_mailbox_base`.
    pub base: durable::Dir,
}

/// The messages of one account as they were when the session began.
///
/// 16 octets for each message here and one in the session, so that a million messages are 17 MB; the names
/// of the files are the store's, shared by all sessions of the process.
#[derive(Debug)]
pub struct Snapshot {
    messages: Vec<(u32, u64)>,
    uid_validity: u32,
    /// Unique ids that another POP3 server gave before we took the Maildir over.
    taken_over: HashMap<u32, Box<str>>,
}

/// A maildrop that is ours until this is dropped.
pub struct Locked {
    login: String,
    folder: Arc<Folder>,
    /// The lock is on an open file: the kernel frees it with the process, whatever kills that.
    _lock: durable::Lock,
}

/// Why something about a maildrop failed.
#[derive(Debug, thiserror::Error)]
pub enum MaildropError {
    /// The store said so.
    #[error("mail store")]
    Store(#[from] StoreError),
    /// The work was not finished.
    #[error("mail store")]
    Unfinished(#[from] daemon::BlockingError),
}

impl MaildropError {
    /// Whether it may be gone at the next try.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Store(error) => error.is_temporary(),
            Self::Unfinished(_) => true,
        }
    }
}

/// Runs file work off the async threads: the one way from a session to the store.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, MaildropError> {
    Ok(daemon::blocking(work).await??)
}

impl Maildirs {
    /// Locks the maildrop of an account and counts it. None: another session has it. Blocks.
    pub fn open(&self, account: &Account) -> Result<Option<(Locked, Snapshot)>, StoreError> {
        let owner = Owner {
            uid: account.uid,
            gid: account.gid,
        };
        let maildir = self.store.open(&self.base, &account.maildir, owner)?;
        let Some(lock) = maildir.pop3_lock()? else {
            return Ok(None);
        };
        let folder = maildir.folder(&FolderName::inbox())?;
        let view = folder.refresh()?;
        let taken_over = view
            .messages
            .iter()
            .filter_map(|message| Some((message.uid, Box::from(message.uidl()?))))
            .collect();
        let snapshot = Snapshot {
            messages: folder.sizes()?,
            uid_validity: view.uid_validity,
            taken_over,
        };
        let login = account.address.to_string();
        Ok(Some((
            Locked {
                login,
                folder,
                _lock: lock,
            },
            snapshot,
        )))
    }
}

impl Locked {
    /// Whose it is.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Opens a message for reading. Blocks.
    pub fn message(&self, uid: u32) -> Result<File, StoreError> {
        self.folder.open_message(uid).map(|(file, _)| file)
    }

    /// Removes messages; true if all of them are gone. Blocks.
    pub fn remove(&self, uids: &[u32]) -> Result<bool, StoreError> {
        Ok(self.folder.expunge(uids)?.failed.is_empty())
    }
}

impl Snapshot {
    /// The UID of a message.
    pub fn uid(&self, index: usize) -> u32 {
        self.messages[index].0
    }
}

impl Maildrop for Snapshot {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn size(&self, index: usize) -> u64 {
        self.messages[index].1
    }

    /// What was taken over, or UID and UIDVALIDITY as 16 hex digits: Dovecot's default, so that a site that
    /// comes from there keeps its unique ids by keeping its UIDs (compat.md 4.5).
    fn write_uidl(&self, index: usize, out: &mut String) {
        let uid = self.uid(index);
        match self.taken_over.get(&uid) {
            Some(uidl) => out.push_str(uidl),
            // Writing to a String cannot fail.
            None => drop(write!(out, "{uid:08x}{:08x}", self.uid_validity)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_messages_fit_into_200_octets_each() {
        // P09: what a session keeps for itself, and what it holds while a client never reads the answer.
        let snapshot = Snapshot {
            messages: (1..=1_000_000).map(|uid| (uid, 1000)).collect(),
            uid_validity: 7,
            taken_over: HashMap::new(),
        };
        assert_eq!(std::mem::size_of_val(&snapshot.messages[..]), 16_000_000);
        let policy = pop3_proto::server::Policy::default();
        let (mut state, _) = pop3_proto::server::Authorization::new(policy).log_in(snapshot, 20);
        let step = state.handle(Ok(pop3_proto::Command::Uidl(None)));
        let pop3_proto::server::TransactionStep::Scan(mut scan) = step else {
            panic!("UIDL is a scan")
        };
        let mut out = Vec::new();
        let done = state.scan(&mut scan, crate::wire::PIECE, &mut out);
        assert!(!done && out.capacity() <= 4 * crate::wire::PIECE);
        assert!(out.starts_with(b"+OK 1000000 messages (1000000000 octets)\r\n1 0000000100000007\r\n"));
    }

    #[test]
    fn unique_ids_that_were_taken_over_stay() {
        let snapshot = Snapshot {
            messages: vec![(10, 1), (11, 1)],
            uid_validity: 0x5f00_0000,
            taken_over: HashMap::from([(10, "UID7-1234".into())]),
        };
        let mut ids = String::new();
        snapshot.write_uidl(0, &mut ids);
        ids.push(' ');
        snapshot.write_uidl(1, &mut ids);
        assert_eq!(ids, "UID7-1234 0000000b5f000000");
    }
}
