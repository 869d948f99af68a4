//! IMAP APPEND: a message that comes from a client straight into a folder.

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable::Staged;

use crate::change::split_forwarded;
use crate::error::{Doing, StoreError};
use crate::flags::Flags;
use crate::folder::Folder;
use crate::name;
use crate::store::FILE_MODE;

/// A message on its way into a folder. Write it with LF line ends; dropped without
/// [`NewMessage::commit`] it is removed again.
#[derive(Debug)]
pub struct NewMessage {
    folder: Arc<Folder>,
    base: String,
    staged: Staged,
}

impl Folder {
    /// Begins a message.
    pub fn stage(self: &Arc<Self>) -> Result<NewMessage, StoreError> {
        let base = self.home().unique_name()?;
        let staged = self
            .tmp
            .stage(&base, FILE_MODE)
            .doing("create the message file")?;
        Ok(NewMessage {
            folder: Arc::clone(self),
            base,
            staged,
        })
    }
}

impl NewMessage {
    /// Puts the message into the folder, with its flags and keywords and its INTERNALDATE (seconds since
    /// 1970; None: now). File, directory and UID are durable when it returns (UIDVALIDITY, UID).
    pub fn commit(
        mut self,
        flags: Flags,
        keywords: &[&str],
        internal_date: Option<i64>,
    ) -> Result<(u32, u32), StoreError> {
        let (flags, keywords) = split_forwarded(flags, keywords);
        if let Some(date) = internal_date {
            self.staged
                .set_modified(time_of(date))
                .doing("set the message's date")?;
        }
        let base = OsString::from(format!("{},S={}", self.base, self.staged.len()));
        let file_name = name::with_flags(&base, flags);
        let since = self.folder.view().uid_next;
        self.staged
            .publish(&self.folder.cur, &file_name)
            .wait()
            .doing("make the message durable")?;
        let (uid, view) = self
            .folder
            .change(|section| {
                let set = section.keyword_set(&keywords)?;
                section.adopt(&base, &file_name, set, since)
            })
            .inspect_err(|_| {
                // No UID was promised, so the message is not there.
                let _ = self.folder.cur.discard(&file_name);
            })?;
        Ok((view.uid_validity, uid))
    }
}

impl Write for NewMessage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.staged.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.staged.flush()
    }
}

/// A time from seconds since 1970; what the system cannot express becomes 1970.
pub(crate) fn time_of(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}
