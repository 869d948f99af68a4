//! Reading the directories of a folder: what came, what went, what other programs changed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use durable::{Dir, FileKind};

use crate::error::{Doing, StoreError};
use crate::folder::Seen;
use crate::name;
use crate::section::Section;

/// A file of a message, as a listing showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    is_new: bool,
    name: OsString,
}

/// Base name to file.
type Listing = HashMap<OsString, Found>;

impl Section<'_> {
    /// Brings the view in line with the directories (architecture.md section 4).
    pub(crate) fn scan(&mut self) -> Result<(), StoreError> {
        let seen = self.look()?;
        let known_cur = seen.cur.is_some() && seen.cur == self.seen.cur;
        let quick = known_cur && self.scan_new()?;
        if !quick {
            self.scan_all()?;
        }
        self.take_in()?;
        *self.seen = seen;
        Ok(())
    }

    /// The directories' times before they are read; a time so young that a change in the same instant
    /// would not show counts as unknown.
    fn look(&self) -> Result<Seen, StoreError> {
        let now = self.folder.home().now();
        let time = |dir: &Dir| -> Result<Option<SystemTime>, StoreError> {
            let modified = dir.stat_self().doing("look at the folder")?.modified;
            Ok(now
                .duration_since(modified)
                .is_ok_and(|age| age >= YOUNG)
                .then_some(modified))
        };
        Ok(Seen {
            new: time(&self.folder.new)?,
            cur: time(&self.folder.cur)?,
        })
    }

    /// The common case: `cur/` did not change, only mail came into `new/`. False where that is not all.
    fn scan_new(&mut self) -> Result<bool, StoreError> {
        if self.view().messages.iter().any(|m| m.is_new) {
            return Ok(false);
        }
        let mut listing = Listing::new();
        self.list(true, &mut listing)?;
        if !listing.is_empty()
            && self
                .view()
                .messages
                .iter()
                .any(|m| listing.contains_key(&*m.base))
        {
            return Ok(false);
        }
        self.assign_all(listing)?;
        Ok(true)
    }

    fn scan_all(&mut self) -> Result<(), StoreError> {
        let mut found = self.list_all()?;
        if self.view().messages.iter().any(|m| !found.contains_key(&*m.base)) {
            // readdir may miss what is renamed meanwhile: only what two scans miss is gone.
            found.extend(self.list_all()?);
        }
        let mut gone = Vec::new();
        for index in 0..self.view().messages.len() {
            let message = &self.view().messages[index];
            let Some(file) = found.remove(&*message.base) else {
                gone.push(index);
                continue;
            };
            let flags = name::parse(&file.name).flags;
            if flags != message.flags {
                self.update(index, |m| m.seen_as(file.is_new, &file.name));
            } else if file.is_new != message.is_new || file.name != message.file_name() {
                self.view_mut().messages[index].seen_as(file.is_new, &file.name);
            }
        }
        self.forget(&gone);
        self.assign_all(found)
    }

    /// Gives UIDs to files that have none, in the order of their arrival.
    fn assign_all(&mut self, found: Listing) -> Result<(), StoreError> {
        let mut fresh: Vec<(OsString, Found)> = found.into_iter().collect();
        fresh.sort_by(|(a, _), (b, _)| name::arrival_order(a).cmp(&name::arrival_order(b)));
        for (base, file) in fresh {
            self.assign(&base, file.is_new, &file.name, 0)?;
        }
        Ok(())
    }

    /// Moves new mail from `new/` to `cur/`.
    fn take_in(&mut self) -> Result<(), StoreError> {
        for index in 0..self.view().messages.len() {
            let message = &self.view().messages[index];
            if !message.is_new {
                continue;
            }
            let from = message.file_name();
            let to = name::change_flags(&from, message.flags);
            match self.folder.new.rename(&from, &self.folder.cur, &to, false) {
                Ok(promise) => {
                    promise.later().doing("move new mail")?;
                    self.view_mut().messages[index].seen_as(false, &to);
                }
                // Somebody else moved it, or the name is taken: the next scan sees how things are.
                Err(error) if error.is_not_found() || error.is_exists() => {}
                // A full or read-only disk is no reason not to show the mail where it is.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn list_all(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::new();
        self.list(true, &mut listing)?;
        self.list(false, &mut listing)?;
        Ok(listing)
    }

    /// Reads one directory into `listing`. Of two files with one base name, one is renamed.
    fn list(&self, is_new: bool, listing: &mut Listing) -> Result<(), StoreError> {
        let dir = if is_new {
            &self.folder.new
        } else {
            &self.folder.cur
        };
        for entry in dir.list().doing("list the folder")? {
            let plain =
                matches!(entry.kind, None | Some(FileKind::File)) && !entry.name.as_bytes().starts_with(b".");
            if !plain {
                continue;
            }
            let base = name::parse(&entry.name).base;
            if base.is_empty() || base.len() > MAX_BASE {
                continue;
            }
            let base = base.to_owned();
            let mut file = Found {
                is_new,
                name: entry.name,
            };
            if let Some(other) = listing.remove(&base) {
                let Some((keeps, (loser_base, loser))) = self.part(&base, other, file)? else {
                    continue;
                };
                if let Some(loser) = loser {
                    listing.insert(loser_base, loser);
                }
                file = keeps;
            }
            listing.insert(base, file);
        }
        Ok(())
    }

    /// Two names with one base: which one keeps it, and what the other is called now (None: it is gone).
    #[allow(clippy::type_complexity, reason = "one use, named by its parts")]
    fn part(
        &self,
        base: &OsStr,
        a: Found,
        b: Found,
    ) -> Result<Option<(Found, (OsString, Option<Found>))>, StoreError> {
        let exists = |f: &Found| self.dir_of(f).stat(&f.name).is_ok();
        // Mostly it is one file that moved while we were reading.
        match (exists(&a), exists(&b)) {
            (false, false) => return Ok(None),
            (true, false) => return Ok(Some((a, (OsString::new(), None)))),
            (false, true) => return Ok(Some((b, (OsString::new(), None)))),
            (true, true) => {}
        }
        let last_seen = self
            .view()
            .messages
            .iter()
            .find(|m| &*m.base == base)
            .map(|m| m.flags);
        let a_keeps = last_seen == Some(name::parse(&a.name).flags) || (last_seen.is_none() && !a.is_new);
        let (keeps, loses) = if a_keeps { (a, b) } else { (b, a) };
        let new_base = OsString::from(self.folder.home().unique_name()?);
        let new_name = name::with_flags(&new_base, name::parse(&loses.name).flags);
        let moved = self
            .dir_of(&loses)
            .rename(&loses.name, &self.folder.cur, &new_name, false);
        match moved {
            Ok(promise) => promise.later().doing("rename a double file")?,
            Err(error) if error.is_not_found() => return Ok(Some((keeps, (OsString::new(), None)))),
            Err(error) => return Err(error).doing("rename a double file"),
        }
        Ok(Some((
            keeps,
            (
                new_base,
                Some(Found {
                    is_new: false,
                    name: new_name,
                }),
            ),
        )))
    }

    fn dir_of(&self, file: &Found) -> &Dir {
        if file.is_new {
            &self.folder.new
        } else {
            &self.folder.cur
        }
    }
}

/// A directory changed less than this ago is looked at again: its next change may carry the same time.
const YOUNG: Duration = Duration::from_secs(2);
/// Longer base names cannot get flags (255 bytes are what a file name may have).
const MAX_BASE: usize = 246;
