//! The UID log: records, reading, compaction (docs/formats/uidlog.md).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use durable::{AppendFile, Dir};

use crate::error::{Doing, StoreError};
use crate::flags::Flags;
use crate::recfile::{self, Fields, HEADER};
use crate::store::FILE_MODE;
use crate::view::{Message, View};

/// An open log that was applied up to `end`.
#[derive(Debug)]
pub(crate) struct UidLog {
    pub(crate) file: AppendFile,
    pub(crate) end: u64,
}

/// What a log says.
#[derive(Debug, Default, Clone)]
pub(crate) struct Content {
    pub(crate) view: Arc<View>,
    /// UIDs from here on are recent.
    pub(crate) recent: u32,
    /// Records of types that we do not know.
    pub(crate) unknown: Vec<(u8, Vec<u8>)>,
    created: i64,
}

/// One record, to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry<'a> {
    Folder { uid_validity: u32, created: i64 },
    Assign(&'a Message),
    Flags(&'a Message),
    Expunge { uid: u32, modseq: u64 },
    Keyword { index: u8, name: &'a str },
    Next { uid_next: u32, highest_modseq: u64 },
    Recent(u32),
}

impl UidLog {
    /// Opens and reads the log of `folder`. None where there is none, or none that can be used (it is set
    /// aside then). Under the lock.
    pub(crate) fn load(folder: &Dir) -> Result<Option<(Self, Content)>, StoreError> {
        match folder.stat(LOG) {
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error).doing("open the UID log"),
        }
        let file = folder.open_append(LOG, FILE_MODE).doing("open the UID log")?;
        let bytes = file.read_from(0).doing("read the UID log")?;
        let mut content = Content::default();
        let known = recfile::check_header(&bytes, MAGIC, VERSION)?;
        let parsed = recfile::parse(bytes.get(HEADER as usize..).unwrap_or(&[]));
        if !known || !matches!(parsed.records.first(), Some((1, _))) || !content.apply(&parsed.records) {
            folder
                .rename(LOG, folder, DAMAGED, true)
                .doing("set the damaged UID log aside")?
                .forget();
            return Ok(None);
        }
        let mut log = Self {
            file,
            end: HEADER + parsed.valid as u64,
        };
        let live = content.encode();
        let bloated = log.end > COMPACT_FROM && log.end > 3 * live.len() as u64;
        if parsed.damaged || log.file.is_poisoned() || bloated {
            log = Self::write_new(folder, &live)?;
        } else if (bytes.len() as u64) > log.end {
            log.file
                .truncate(log.end)
                .doing("cut the torn tail of the UID log")?;
        }
        Ok(Some((log, content)))
    }

    /// Begins a log. Durable when it returns.
    pub(crate) fn create(folder: &Dir, uid_validity: u32, now: i64) -> Result<(Self, Content), StoreError> {
        let mut content = Content {
            created: now,
            recent: 1,
            ..Content::default()
        };
        content.view = Arc::new(View {
            uid_validity,
            uid_next: 1,
            ..View::default()
        });
        let log = Self::write_new(folder, &content.encode())?;
        Ok((log, content))
    }

    /// Puts a new file in the place of the log. This is the one sync that happens under the folder's lock:
    /// nobody may append to the old file meanwhile.
    fn write_new(folder: &Dir, bytes: &[u8]) -> Result<Self, StoreError> {
        let doing = "write a new UID log";
        let _ = folder.discard(LOG_NEW);
        let mut staged = folder.stage(LOG_NEW, FILE_MODE).doing(doing)?;
        staged.write_all(bytes).doing(doing)?;
        staged.replace(folder, LOG).wait().doing(doing)?;
        let file = folder.open_append(LOG, FILE_MODE).doing(doing)?;
        Ok(Self {
            file,
            end: bytes.len() as u64,
        })
    }

    /// Keeps room for the next records, so that removing mail from a full disk needs none. Best effort.
    pub(crate) fn keep_room(&self) {
        let scarce = |stat: durable::Stat| stat.allocated < stat.size + LEAST_ROOM;
        if self.file.stat().is_ok_and(scarce) {
            let _ = self.file.reserve(ROOM);
        }
    }

    /// Whether the name still stands for this file.
    pub(crate) fn is_current(&self, folder: &Dir) -> bool {
        folder
            .stat(LOG)
            .is_ok_and(|stat| stat.id == self.file.id() && stat.size >= self.end)
    }

    /// Applies what another process appended. Under the lock. Returns whether there was anything.
    pub(crate) fn catch_up(&mut self, content: &mut Content) -> Result<bool, StoreError> {
        let bytes = self.file.read_from(self.end).doing("read the UID log")?;
        let parsed = recfile::parse(&bytes);
        if parsed.valid > 0 && !content.apply(&parsed.records) {
            return Err(StoreError::Unusable(
                "the UID log holds records that make no sense".to_owned(),
            ));
        }
        self.end += parsed.valid as u64;
        if parsed.valid < bytes.len() {
            self.file
                .truncate(self.end)
                .doing("cut the torn tail of the UID log")?;
        }
        Ok(parsed.valid > 0)
    }
}

/// Reads a log for the offline check, changing nothing. None: this is no log that we can read.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Option<Inspected>, StoreError> {
    if !recfile::check_header(bytes, MAGIC, VERSION)? {
        return Ok(None);
    }
    let parsed = recfile::parse(&bytes[HEADER as usize..]);
    let mut content = Content::default();
    if !matches!(parsed.records.first(), Some((1, _))) || !content.apply(&parsed.records) {
        return Ok(None);
    }
    let torn = bytes.len() - HEADER as usize - parsed.valid;
    let mut last = 0;
    let ascending = parsed
        .records
        .iter()
        .filter(|(kind, _)| *kind == 2)
        .all(|(_, payload)| {
            let uid = Fields(payload).u32().unwrap_or(0);
            std::mem::replace(&mut last, uid) < uid
        });
    Ok(Some(Inspected {
        view: content.view,
        torn,
        damaged: parsed.damaged,
        ascending,
    }))
}

/// What [`inspect`] found.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) view: Arc<View>,
    /// Octets of a torn tail.
    pub(crate) torn: usize,
    /// Valid records stand behind damaged ones.
    pub(crate) damaged: bool,
    /// UIDs were given in ascending order.
    pub(crate) ascending: bool,
}

impl Content {
    /// Applies records in order. False where one makes no sense.
    fn apply(&mut self, records: &[recfile::Record<'_>]) -> bool {
        let mut expunged = Vec::new();
        let sound = records
            .iter()
            .all(|(kind, payload)| self.apply_one(*kind, payload, &mut expunged).is_some());
        if !expunged.is_empty() {
            expunged.sort_unstable();
            Arc::make_mut(&mut self.view)
                .messages
                .retain(|m| expunged.binary_search(&m.uid).is_err());
        }
        sound
    }

    fn apply_one(&mut self, kind: u8, payload: &[u8], expunged: &mut Vec<u32>) -> Option<()> {
        let mut fields = Fields(payload);
        let view = Arc::make_mut(&mut self.view);
        match kind {
            1 => {
                view.uid_validity = fields.u32()?;
                self.created = fields.i64()?;
                view.uid_next = view.uid_next.max(1);
                self.recent = self.recent.max(1);
            }
            2 => {
                let message = Message::read(&mut fields)?;
                view.highest_modseq = view.highest_modseq.max(message.modseq);
                view.uid_next = view.uid_next.max(message.uid.checked_add(1)?);
                match view.messages.binary_search_by_key(&message.uid, |m| m.uid) {
                    Ok(index) => view.messages[index] = message,
                    Err(index) => view.messages.insert(index, message),
                }
            }
            3 => {
                let (uid, modseq) = (fields.u32()?, fields.u64()?);
                let (flags, keywords) = (Flags::from_bits(fields.u8()?), fields.u64()?);
                view.highest_modseq = view.highest_modseq.max(modseq);
                if let Some(index) = view.index(uid) {
                    let message = &mut view.messages[index];
                    (message.flags, message.keywords, message.modseq) = (flags, keywords, modseq);
                }
            }
            4 => {
                let (uid, modseq) = (fields.u32()?, fields.u64()?);
                view.highest_modseq = view.highest_modseq.max(modseq);
                view.uid_next = view.uid_next.max(uid.checked_add(1)?);
                expunged.push(uid);
            }
            5 => {
                let index = usize::from(fields.u8()?);
                let name = std::str::from_utf8(fields.0).ok()?;
                if index >= MAX_KEYWORDS || index > view.keywords.len() {
                    return None;
                }
                view.keywords.truncate(index);
                view.keywords.push(name.to_owned());
            }
            6 => {
                view.uid_next = view.uid_next.max(fields.u32()?);
                view.highest_modseq = view.highest_modseq.max(fields.u64()?);
            }
            7 => self.recent = self.recent.max(fields.u32()?),
            _ => self.unknown.push((kind, payload.to_vec())),
        }
        Some(())
    }

    /// The whole content as a new file.
    fn encode(&self) -> Vec<u8> {
        let view = &self.view;
        let mut out = recfile::header(MAGIC, VERSION);
        Entry::Folder {
            uid_validity: view.uid_validity,
            created: self.created,
        }
        .push(&mut out);
        for (index, name) in view.keywords.iter().enumerate() {
            Entry::Keyword {
                index: index as u8,
                name,
            }
            .push(&mut out);
        }
        for message in &view.messages {
            Entry::Assign(message).push(&mut out);
        }
        Entry::Next {
            uid_next: view.uid_next,
            highest_modseq: view.highest_modseq,
        }
        .push(&mut out);
        Entry::Recent(self.recent).push(&mut out);
        for (kind, payload) in &self.unknown {
            recfile::push(&mut out, *kind, &[payload]);
        }
        out
    }
}

impl Entry<'_> {
    /// Appends the record to `out`.
    pub(crate) fn push(self, out: &mut Vec<u8>) {
        match self {
            Self::Folder {
                uid_validity,
                created,
            } => {
                recfile::push(out, 1, &[&uid_validity.to_le_bytes(), &created.to_le_bytes()]);
            }
            Self::Assign(m) => {
                let base = m.base.as_bytes();
                let len = u16::try_from(base.len()).unwrap_or(u16::MAX).to_le_bytes();
                let (uid, modseq, saved) =
                    (m.uid.to_le_bytes(), m.modseq.to_le_bytes(), m.saved.to_le_bytes());
                let keywords = m.keywords.to_le_bytes();
                recfile::push(
                    out,
                    2,
                    &[&uid, &modseq, &saved, &[m.flags.bits()], &keywords, &len, base],
                );
            }
            Self::Flags(m) => {
                let (uid, modseq, keywords) = (
                    m.uid.to_le_bytes(),
                    m.modseq.to_le_bytes(),
                    m.keywords.to_le_bytes(),
                );
                recfile::push(out, 3, &[&uid, &modseq, &[m.flags.bits()], &keywords]);
            }
            Self::Expunge { uid, modseq } => {
                recfile::push(out, 4, &[&uid.to_le_bytes(), &modseq.to_le_bytes()]);
            }
            Self::Keyword { index, name } => recfile::push(out, 5, &[&[index], name.as_bytes()]),
            Self::Next {
                uid_next,
                highest_modseq,
            } => {
                recfile::push(out, 6, &[&uid_next.to_le_bytes(), &highest_modseq.to_le_bytes()]);
            }
            Self::Recent(uid) => recfile::push(out, 7, &[&uid.to_le_bytes()]),
        }
    }
}

impl Message {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (uid, modseq, saved) = (fields.u32()?, fields.u64()?, fields.i64()?);
        let (flags, keywords) = (Flags::from_bits(fields.u8()?), fields.u64()?);
        let len = usize::from(fields.u16()?);
        let base = fields.bytes(len)?;
        let plain = uid > 0 && !base.is_empty() && !base.contains(&b'/') && !base.contains(&0);
        plain.then(|| Self {
            uid,
            flags,
            is_new: false,
            keywords,
            modseq,
            saved,
            base: Arc::from(OsStr::from_bytes(base)),
            odd_name: None,
        })
    }
}

/// Keywords of one folder at most.
pub(crate) const MAX_KEYWORDS: usize = 64;
/// The log's file.
pub(crate) const LOG: &str = "postrider-uidlog";
/// The lock beside it.
pub(crate) const LOCK: &str = "postrider-lock";
const LOG_NEW: &str = "postrider-uidlog.new";
const DAMAGED: &str = "postrider-uidlog.damaged";
const MAGIC: [u8; 8] = *b"PR-UIDL\n";
const VERSION: u32 = 1;
/// Room that is made for records, and when.
const ROOM: u64 = 8 << 10;
const LEAST_ROOM: u64 = 2 << 10;
/// Below this size compaction is not worth a barrier.
const COMPACT_FROM: u64 = 64 << 10;
