//! The mail store on Maildir++: delivery, folders, UID log, metadata cache and account file.
//!
//! The Maildir on disk is the truth; other programs may deliver into it and change it beside us. What a
//! Maildir cannot say (UIDs, keywords, MODSEQ, subscriptions) lies in files of ours, described in
//! `docs/formats/uidlog.md`, `cache.md` and `account.md`.
//!
//! Everything here is synchronous and knows no protocol: daemons call it off their async threads.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! # use maildir_store::{FlagOp, Flags, FolderName, Owner, Store};
//! # use std::io::Write;
//! let store = Store::new(durable::Disk::new(), "mx.example.com");          // one per process
//! let base = store.disk().open_root(place.path())?;                         // virtual_mailbox_base
//! # let owner = Owner { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
//!
//! // deliver: durable when it returns
//! let mailbox = store.mailbox(&base, "example.com/alice/", owner)?;
//! let key = "Q0Rz4567890abcdefghiRR0".parse()?;
//! mailbox.deliver(key, &[b"Return-Path: <>\n", b"Subject: hi\n\nhello\n"])?;
//!
//! // imapd, pop3d
//! let account = store.open(&base, "example.com/alice/", owner)?;
//! let inbox = account.folder(&FolderName::inbox())?;
//! let view = inbox.refresh()?;
//! let uid = view.messages[0].uid;
//! inbox.store(&[uid], FlagOp::Add, Flags::SEEN, &["$Label1"])?;
//! assert!(inbox.read(uid)?.ends_with(b"hello\n"));
//!
//! let mut message = inbox.stage()?;
//! message.write_all(b"Subject: draft\n\n")?;
//! let (_uid_validity, _uid) = message.commit(Flags::DRAFT, &[], None)?;
//! # Ok(()) }
//! ```
//!
//! [`Mailbox`] is what deliver needs of an account: `tmp/` to `new/`, one delivery key at most once.
//! [`Account`] is the whole: folders, subscriptions, the POP3 lock. [`Folder`] is one open folder, shared by
//! all sessions of the process; [`View`] is what it holds at one moment. [`check`] is the offline check of
//! `mailctl check maildir`.

mod account;
mod accountfile;
mod append;
mod cache;
mod change;
pub mod check;
mod error;
mod flags;
mod folder;
mod folder_name;
mod keys;
mod mailbox;
pub mod mutf7;
pub mod name;
mod recfile;
mod scan;
mod section;
mod store;
mod transfer;
mod uidlog;
mod view;

pub use account::Account;
pub use append::NewMessage;
pub use cache::Meta;
pub use change::{Expunged, FlagOp};
pub use error::StoreError;
pub use flags::Flags;
pub use folder::{Folder, Registration};
pub use folder_name::{BadName, FolderName};
pub use mailbox::{Delivered, Incoming, Mailbox};
pub use store::{Owner, Store};
pub use transfer::Transfer;
pub use view::{Message, View};

#[cfg(test)]
mod tests;
