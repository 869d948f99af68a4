//! IMAP COPY and MOVE between folders of one account.

use std::ffi::{OsStr, OsString};
use std::io::Read;

use crate::error::{Doing, StoreError};
use crate::folder::Folder;
use crate::name;
use crate::section::Section;
use crate::store::FILE_MODE;
use crate::view::View;

/// What came of COPY or MOVE, for COPYUID (RFC 4315).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// UIDVALIDITY of the target.
    pub uid_validity: u32,
    /// UID in the source and UID in the target, in the order asked for.
    pub pairs: Vec<(u32, u32)>,
}

/// A file that was put into the target's `cur/`.
struct Placed {
    uid: u32,
    base: OsString,
    file_name: OsString,
    keywords: Vec<String>,
    /// The directory and name it came from, for MOVE.
    from: Option<(bool, OsString)>,
}

impl Folder {
    /// Copies messages to another folder of the account (or this one): all of them, or none
    /// ([`StoreError::Expunged`] when one is gone). Copies are hard links, since messages never change;
    /// flags, keywords and INTERNALDATE go with them. Durable when it returns.
    pub fn copy_to(&self, uids: &[u32], target: &Self) -> Result<Transfer, StoreError> {
        let (since, mut placed) = (target.view().uid_next, Vec::new());
        let result = self
            .link_all(uids, target, &mut placed)
            .and_then(|()| target.adopt_all(&placed, since));
        if result.is_err() {
            for file in &placed {
                let _ = target.cur.discard(&file.file_name);
            }
        }
        result
    }

    /// Moves messages: one rename each, then the target's log, then the source's (architecture.md
    /// section 5). All of them or none. Durable when it returns, but for the source's record, which follows
    /// within a second.
    pub fn move_to(&self, uids: &[u32], target: &Self) -> Result<Transfer, StoreError> {
        let (since, mut placed) = (target.view().uid_next, Vec::new());
        let moved = self.rename_all(uids, target, &mut placed).and_then(|()| {
            let both = target.cur.settle().and(self.cur.settle()).and(self.new.settle());
            both.wait().doing("make the move durable")
        });
        let result = moved.and_then(|()| target.adopt_all(&placed, since));
        match result {
            Ok(transfer) => {
                self.change(|section| {
                    let mut indexes: Vec<usize> =
                        uids.iter().filter_map(|u| section.view().index(*u)).collect();
                    indexes.sort_unstable();
                    indexes.dedup();
                    section.forget(&indexes);
                    Ok(())
                })?;
                Ok(transfer)
            }
            Err(error) => {
                for file in &placed {
                    if let Some((is_new, name)) = &file.from {
                        let back = if *is_new { &self.new } else { &self.cur };
                        let _ = target
                            .cur
                            .rename(&file.file_name, back, name, false)
                            .map(durable::Pending::later);
                    }
                }
                Err(error)
            }
        }
    }

    fn link_all(&self, uids: &[u32], target: &Self, placed: &mut Vec<Placed>) -> Result<(), StoreError> {
        let mut promises = Vec::new();
        for uid in uids {
            let base = self.fresh_base(*uid)?;
            let (file, promise) = self.retry(*uid, |view, dir_is_new, from, flags| {
                let to = name::with_flags(&base, flags);
                let dir = if dir_is_new { &self.new } else { &self.cur };
                let linked = dir.link(from, &target.cur, &to);
                let promise = match linked {
                    Ok(promise) => promise,
                    Err(error) if error.is_not_found() => return Err(error),
                    // Too many links, or a file system without them.
                    Err(_) => self.copy_file(dir, from, target, &to)?,
                };
                let keywords = keywords_of(view, *uid);
                Ok((
                    Placed {
                        uid: *uid,
                        base: base.clone(),
                        file_name: to,
                        keywords,
                        from: None,
                    },
                    promise,
                ))
            })?;
            placed.push(file);
            promises.push(promise);
        }
        durable::wait_all(promises).doing("make the copies durable")
    }

    fn copy_file(
        &self,
        dir: &durable::Dir,
        from: &OsStr,
        target: &Self,
        to: &OsStr,
    ) -> Result<durable::Pending, durable::Error> {
        let (mut file, stat) = dir.open_file_stat(from)?;
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        file.read_to_end(&mut bytes)
            .map_err(|e| durable::Error::io("read", from, e))?;
        let mut staged = target.tmp.stage(name::parse(to).base, FILE_MODE)?;
        staged.write_all(&bytes)?;
        staged.set_modified(stat.modified)?;
        Ok(staged.publish(&target.cur, to))
    }

    fn rename_all(&self, uids: &[u32], target: &Self, placed: &mut Vec<Placed>) -> Result<(), StoreError> {
        for uid in uids {
            // The name stays, so that a repeated delivery still finds it; within one folder it must differ.
            let same_folder = self.dir.id() == target.dir.id();
            let spare = self.fresh_base(*uid)?;
            let file = self.retry(*uid, |view, is_new, from, flags| {
                let dir = if is_new { &self.new } else { &self.cur };
                let keywords = keywords_of(view, *uid);
                let place = |base: &OsStr| -> Result<Placed, durable::Error> {
                    let to = name::with_flags(base, flags);
                    dir.rename(from, &target.cur, &to, false)?.forget();
                    let from = Some((is_new, from.to_owned()));
                    Ok(Placed {
                        uid: *uid,
                        base: base.to_owned(),
                        file_name: to,
                        keywords: keywords.clone(),
                        from,
                    })
                };
                match place(if same_folder {
                    &spare
                } else {
                    name::parse(from).base
                }) {
                    Err(error) if error.is_exists() => place(&spare),
                    placed => placed,
                }
            })?;
            placed.push(file);
        }
        Ok(())
    }

    /// Runs `work` on a message's file; where another program renamed it meanwhile, once more on what it is
    /// called now.
    fn retry<R>(
        &self,
        uid: u32,
        mut work: impl FnMut(&View, bool, &OsStr, crate::flags::Flags) -> Result<R, durable::Error>,
    ) -> Result<R, StoreError> {
        for attempt in 0..3 {
            let view = if attempt == 0 { self.view() } else { self.rescan()? };
            let message = view.get(uid).ok_or(StoreError::Expunged)?;
            match work(&view, message.is_new, &message.file_name(), message.flags) {
                Err(error) if error.is_not_found() => {}
                result => return result.doing("transfer a message"),
            }
        }
        Err(StoreError::Expunged)
    }

    /// A new base name for a copy of a message.
    fn fresh_base(&self, uid: u32) -> Result<OsString, StoreError> {
        let view = self.view();
        let message = view.get(uid).ok_or(StoreError::Expunged)?;
        let size = std::str::from_utf8(message.base.as_encoded_bytes())
            .ok()
            .and_then(|b| b.rsplit_once(",S="));
        let unique = self.home().unique_name()?;
        Ok(match size {
            Some((_, size)) => format!("{unique},S={size}").into(),
            None => unique.into(),
        })
    }

    /// Gives the placed files their UIDs, which are durable when it returns.
    fn adopt_all(&self, placed: &[Placed], since: u32) -> Result<Transfer, StoreError> {
        let (pairs, view) = self.change(|section| {
            let mut pairs = Vec::new();
            for file in placed {
                let names: Vec<&str> = file.keywords.iter().map(String::as_str).collect();
                let set = section.keyword_set(&names)?;
                pairs.push((file.uid, section.adopt(&file.base, &file.file_name, set, since)?));
            }
            Ok(pairs)
        })?;
        Ok(Transfer {
            uid_validity: view.uid_validity,
            pairs,
        })
    }
}

impl Section<'_> {
    /// Takes a file that we put into `cur/` into the view; another session's scan may have been faster.
    /// `since` is the UIDNEXT from before the file was put there.
    pub(crate) fn adopt(
        &mut self,
        base: &OsStr,
        file_name: &OsStr,
        keywords: u64,
        since: u32,
    ) -> Result<u32, StoreError> {
        let first = self.view().messages.partition_point(|m| m.uid < since);
        let known = self.view().messages[first..]
            .iter()
            .position(|m| &*m.base == base);
        let Some(index) = known.map(|i| first + i) else {
            return self.assign(base, false, file_name, keywords);
        };
        let uid = self.view().messages[index].uid;
        if self.view().messages[index].keywords != keywords {
            self.update(index, |m| m.keywords = keywords);
        }
        // Whoever gave the UID may not have synced it yet, and we are about to promise it.
        self.must_sync = true;
        Ok(uid)
    }
}

fn keywords_of(view: &View, uid: u32) -> Vec<String> {
    let names = |m| view.keyword_names(m).map(str::to_owned).collect();
    view.get(uid).map(names).unwrap_or_default()
}
