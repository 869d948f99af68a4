//! Changing messages where they are: flags, keywords, removal.

use std::sync::Arc;

use crate::error::{Doing, StoreError};
use crate::flags::Flags;
use crate::folder::{Folder, Seen};
use crate::name;
use crate::section::Section;
use crate::view::View;

/// What happens to the flags that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagOp {
    /// They are set, others stay.
    Add,
    /// They are cleared, others stay.
    Remove,
    /// They are set, all others are cleared.
    Replace,
}

/// What a removal left.
#[derive(Debug, Clone)]
pub struct Expunged {
    /// The folder afterwards.
    pub view: Arc<View>,
    /// Messages whose file could not be removed; they are still there.
    pub failed: Vec<u32>,
}

impl Folder {
    /// Changes flags and keywords of messages; UIDs that do not exist are passed over. New keywords are
    /// introduced. The change is visible at once and durable within a second.
    ///
    /// The keyword `$Forwarded` is the flag [`Flags::PASSED`], which has a letter in the file name.
    pub fn store(
        &self,
        uids: &[u32],
        op: FlagOp,
        flags: Flags,
        keywords: &[&str],
    ) -> Result<Arc<View>, StoreError> {
        let (flags, keywords) = split_forwarded(flags, keywords);
        let ((), view) = self.change(|section| {
            let set = match op {
                FlagOp::Remove => section.known_keywords(&keywords),
                FlagOp::Add | FlagOp::Replace => section.keyword_set(&keywords)?,
            };
            for uid in uids {
                section.store_one(*uid, op, flags, set)?;
            }
            Ok(())
        })?;
        Ok(view)
    }

    /// Removes messages for good. The removal is visible at once; a power cut within a second may bring a
    /// message back, under a new UID.
    pub fn expunge(&self, uids: &[u32]) -> Result<Expunged, StoreError> {
        let (failed, view) = self.change(|section| {
            let (mut gone, mut failed) = (Vec::new(), Vec::new());
            let mut sorted = uids.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            for uid in sorted {
                if section.view().get(uid).is_none() {
                    continue;
                }
                match section.remove_file(uid) {
                    Ok(()) => gone.push(uid),
                    Err(_) => failed.push(uid),
                }
            }
            // Looking for one file may have shown that others are gone, so indexes are found only now.
            let indexes: Vec<usize> = gone.iter().filter_map(|uid| section.view().index(*uid)).collect();
            section.forget(&indexes);
            Ok(failed)
        })?;
        Ok(Expunged { view, failed })
    }
}

impl Section<'_> {
    /// The bits of keywords, new ones introduced.
    pub(crate) fn keyword_set(&mut self, keywords: &[&str]) -> Result<u64, StoreError> {
        keywords
            .iter()
            .try_fold(0, |set, name| Ok(set | self.keyword(name)?))
    }

    /// The bits of those keywords that exist.
    fn known_keywords(&self, keywords: &[&str]) -> u64 {
        keywords
            .iter()
            .filter_map(|name| self.view().keyword_bit(name))
            .fold(0, |set, bit| set | 1 << bit)
    }

    fn store_one(&mut self, uid: u32, op: FlagOp, flags: Flags, set: u64) -> Result<(), StoreError> {
        for _ in 0..3 {
            let Some(index) = self.view().index(uid) else {
                return Ok(());
            };
            let message = &self.view().messages[index];
            let (new_flags, new_set) = match op {
                FlagOp::Add => (message.flags | flags, message.keywords | set),
                FlagOp::Remove => (message.flags.without(flags), message.keywords & !set),
                FlagOp::Replace => (flags, set),
            };
            if (new_flags, new_set) == (message.flags, message.keywords) {
                return Ok(());
            }
            if new_flags == message.flags {
                self.update(index, |m| m.keywords = new_set);
                return Ok(());
            }
            let from = message.file_name();
            let to = name::change_flags(&from, new_flags);
            match self
                .folder
                .place(message)
                .rename(&from, &self.folder.cur, &to, false)
            {
                Ok(promise) => {
                    promise.later().doing("change the flags")?;
                    self.update(index, |m| {
                        m.seen_as(false, &to);
                        m.keywords = new_set;
                    });
                    return Ok(());
                }
                // Another program changed it meanwhile: see how it is called now.
                Err(error) if error.is_not_found() || error.is_exists() => self.scan()?,
                Err(error) => return Err(error).doing("change the flags"),
            }
        }
        Ok(())
    }

    fn remove_file(&mut self, uid: u32) -> Result<(), StoreError> {
        for _ in 0..3 {
            let Some(message) = self.view().get(uid) else {
                return Ok(());
            };
            match self.folder.place(message).remove(message.file_name()) {
                Ok(promise) => return promise.later().doing("remove the message"),
                Err(error) if error.is_not_found() => {
                    *self.seen = Seen::default();
                    self.scan()?;
                }
                Err(error) => return Err(error).doing("remove the message"),
            }
        }
        Err(StoreError::Expunged)
    }
}

/// Takes `$Forwarded` out of the keywords, because it has a letter of its own.
pub(crate) fn split_forwarded<'a>(flags: Flags, keywords: &[&'a str]) -> (Flags, Vec<&'a str>) {
    let is_forwarded = |k: &str| k.eq_ignore_ascii_case(FORWARDED);
    let passed = if keywords.iter().any(|k| is_forwarded(k)) {
        Flags::PASSED
    } else {
        Flags::NONE
    };
    (
        flags | passed,
        keywords.iter().copied().filter(|k| !is_forwarded(k)).collect(),
    )
}

/// The keyword of RFC 5788 that the letter P stands for.
pub(crate) const FORWARDED: &str = "$Forwarded";
