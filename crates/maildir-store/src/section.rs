//! Changes to a folder while nobody else may change it: what is done, and the records that say so.

use std::ffi::OsStr;
use std::sync::Arc;

use crate::error::StoreError;
use crate::flags::Flags;
use crate::folder::{Folder, Seen};
use crate::uidlog::{Content, Entry, MAX_KEYWORDS};
use crate::view::{Message, View};

/// Changes that are being made to a folder, under its lock.
pub(crate) struct Section<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) content: &'a mut Content,
    pub(crate) seen: &'a mut Seen,
    /// Records to append.
    pub(crate) records: Vec<u8>,
    /// Whether they must be synced before anybody sees them.
    pub(crate) must_sync: bool,
}

impl Section<'_> {
    /// The messages as they are now.
    pub(crate) fn view(&self) -> &View {
        &self.content.view
    }

    /// The messages, for changes that need no record (where a file lies).
    pub(crate) fn view_mut(&mut self) -> &mut View {
        Arc::make_mut(&mut self.content.view)
    }

    /// Gives a file its UID.
    pub(crate) fn assign(
        &mut self,
        base: &OsStr,
        is_new: bool,
        file_name: &OsStr,
        keywords: u64,
    ) -> Result<u32, StoreError> {
        let modseq = self.next_modseq();
        let saved = i64::try_from(self.folder.home().seconds()).unwrap_or(i64::MAX);
        let view = Arc::make_mut(&mut self.content.view);
        let uid = view.uid_next;
        view.uid_next = uid
            .checked_add(1)
            .ok_or_else(|| StoreError::Unusable("the UIDs of the folder ran out".to_owned()))?;
        let mut message = Message {
            uid,
            flags: Flags::NONE,
            is_new,
            keywords,
            modseq,
            saved,
            base: Arc::from(base),
            odd_name: None,
        };
        message.seen_as(is_new, file_name);
        Entry::Assign(&message).push(&mut self.records);
        view.messages.push(message);
        self.must_sync = true;
        Ok(uid)
    }

    /// Records the flags and keywords that a message has now, after `edit`.
    pub(crate) fn update(&mut self, index: usize, edit: impl FnOnce(&mut Message)) {
        let modseq = self.next_modseq();
        let message = &mut self.view_mut().messages[index];
        edit(message);
        message.modseq = modseq;
        let message = &self.content.view.messages[index];
        Entry::Flags(message).push(&mut self.records);
    }

    /// Records that messages are gone (their files are already), by index in ascending order.
    pub(crate) fn forget(&mut self, indexes: &[usize]) {
        if indexes.is_empty() {
            return;
        }
        let modseq = self.next_modseq();
        for index in indexes {
            let uid = self.content.view.messages[*index].uid;
            Entry::Expunge { uid, modseq }.push(&mut self.records);
        }
        let mut index = 0;
        self.view_mut().messages.retain(|_| {
            let gone = indexes.binary_search(&index).is_ok();
            index += 1;
            !gone
        });
    }

    /// The bit of a keyword, which is introduced where it is new.
    pub(crate) fn keyword(&mut self, name: &str) -> Result<u64, StoreError> {
        if let Some(bit) = self.content.view.keyword_bit(name) {
            return Ok(1 << bit);
        }
        let index = self.content.view.keywords.len();
        if index >= MAX_KEYWORDS {
            return Err(StoreError::TooManyKeywords);
        }
        Entry::Keyword {
            index: index as u8,
            name,
        }
        .push(&mut self.records);
        self.view_mut().keywords.push(name.to_owned());
        Ok(1 << index)
    }

    fn next_modseq(&mut self) -> u64 {
        let view = self.view_mut();
        view.highest_modseq += 1;
        view.highest_modseq
    }
}
