//! The metadata cache of a folder: sizes, dates and imapd's parsed structure (docs/formats/cache.md).

use std::collections::HashMap;
use std::io::Read;
use std::sync::{MutexGuard, PoisonError};

use durable::AppendFile;

use crate::error::{Doing, StoreError};
use crate::folder::{Folder, seconds_of};
use crate::recfile::{self, Fields, HEADER};
use crate::store::FILE_MODE;
use crate::uidlog::LOCK;

/// What is known of a message without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Size with CRLF line ends (RFC822.SIZE, POP3).
    pub size: u64,
    /// INTERNALDATE: seconds since 1970.
    pub internal_date: i64,
    /// The caller's own encoding of envelope and structure; empty: not known.
    pub blob: Vec<u8>,
}

/// The index of the cache file, read when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    file: Option<AppendFile>,
    index: HashMap<u32, Slot>,
    /// Records in the file, also those of messages that are gone or known anew.
    records: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    size: u64,
    date: i64,
    /// Where the record's payload begins, and its length.
    at: u64,
    len: u32,
}

impl Folder {
    /// What the cache says of a message, with the blob.
    pub fn meta(&self, uid: u32) -> Option<Meta> {
        let (file, slot) = {
            let cache = self.cache_loaded();
            (cache.file.clone()?, *cache.index.get(&uid)?)
        };
        let mut record = vec![0; 9 + slot.len as usize];
        file.read_exact_at(&mut record, slot.at - 9).ok()?;
        // The checksum is looked at only here: blobs are big, and most are never asked for.
        let parsed = recfile::parse(&record);
        let (_, payload) = *parsed.records.first()?;
        let blob = payload.get(BLOB_AT..)?.to_vec();
        (Fields(payload).u32() == Some(uid)).then_some(Meta {
            size: slot.size,
            internal_date: slot.date,
            blob,
        })
    }

    /// Notes what was learned of messages. Not durable, and no error: it is only a cache.
    pub fn put_meta(&self, metas: &[(u32, Meta)]) {
        if metas.is_empty() {
            return;
        }
        let view = self.view();
        let mut cache = self.cache_loaded();
        let too_full = cache.records > 64 && cache.records > 2 * view.messages.len() + metas.len();
        // The lock keeps other processes from writing; a failure of any step costs only the cache.
        let Ok(_lock) = self.dir.lock(LOCK, FILE_MODE) else {
            return;
        };
        if cache.file.is_none() || too_full {
            cache.begin(self, view.uid_validity, too_full);
        }
        let Some(file) = cache.file.clone() else { return };
        let Ok(start) = file.len() else { return };
        let mut bytes = Vec::new();
        for (uid, meta) in metas {
            let at = start + bytes.len() as u64 + 9;
            let len = u32::try_from(BLOB_AT + meta.blob.len()).unwrap_or(u32::MAX);
            cache.index.insert(
                *uid,
                Slot {
                    size: meta.size,
                    date: meta.internal_date,
                    at,
                    len,
                },
            );
            push(&mut bytes, *uid, meta);
        }
        cache.records += metas.len();
        match file.append(&bytes) {
            Ok(promise) => promise.forget(),
            Err(_) => *cache = Cache::default(),
        }
    }

    /// The size of a message with CRLF line ends, where it is known without reading it.
    pub fn cached_size(&self, uid: u32) -> Option<u64> {
        self.cache_loaded().index.get(&uid).map(|slot| slot.size)
    }

    /// INTERNALDATE, where it is known without a look at the file.
    pub(crate) fn cached_date(&self, uid: u32) -> Option<i64> {
        self.cache_loaded().index.get(&uid).map(|slot| slot.date)
    }

    /// The size of a message with CRLF line ends (RFC822.SIZE): from the cache, or by reading it once.
    pub fn size(&self, uid: u32) -> Result<u64, StoreError> {
        if let Some(size) = self.cached_size(uid) {
            return Ok(size);
        }
        let meta = self.measure(uid)?;
        let size = meta.size;
        self.put_meta(&[(uid, meta)]);
        Ok(size)
    }

    /// UID and size with CRLF line ends of all messages, in order. Messages that vanish meanwhile are left
    /// out.
    pub fn sizes(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        let view = self.view();
        let mut sizes = Vec::with_capacity(view.messages.len());
        let mut learned = Vec::new();
        for message in &view.messages {
            let size = match self.cached_size(message.uid) {
                Some(size) => size,
                None => match self.measure(message.uid) {
                    Ok(meta) => {
                        let size = meta.size;
                        learned.push((message.uid, meta));
                        size
                    }
                    Err(StoreError::Expunged) => continue,
                    Err(error) => return Err(error),
                },
            };
            sizes.push((message.uid, size));
            if learned.len() >= 1_000 {
                self.put_meta(&learned);
                learned.clear();
            }
        }
        self.put_meta(&learned);
        Ok(sizes)
    }

    fn measure(&self, uid: u32) -> Result<Meta, StoreError> {
        let (mut file, stat) = self.open_message(uid)?;
        let (mut size, mut last) = (0u64, 0u8);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let got = file.read(&mut buffer).doing("read the message")?;
            if got == 0 {
                break;
            }
            let (added, end) = crlf_size(&buffer[..got], last);
            size += added;
            last = end;
        }
        Ok(Meta {
            size,
            internal_date: seconds_of(stat.modified),
            blob: Vec::new(),
        })
    }

    fn cache_loaded(&self) -> MutexGuard<'_, Cache> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.file.is_none() {
            cache.load(self);
        }
        cache
    }
}

impl Cache {
    /// Reads the index, without checksums: a blob is checked when it is read, and a wrong size in a torn
    /// record cannot be, because the record is cut at the end of the file.
    fn load(&mut self, folder: &Folder) {
        if folder.dir.stat(CACHE).is_err() {
            return;
        }
        let Ok(file) = folder.dir.open_append(CACHE, FILE_MODE) else {
            return;
        };
        let Ok(bytes) = file.read_from(0) else { return };
        let known = recfile::check_header(&bytes, MAGIC, VERSION).unwrap_or(false);
        let mut at = HEADER as usize;
        let parsed = recfile::parse(bytes.get(at..).unwrap_or(&[]));
        let ours = matches!(parsed.records.first(), Some((1, payload)) if Fields(payload).u32() == Some(folder.uid_validity()));
        if !known || !ours || parsed.damaged || parsed.valid + at != bytes.len() {
            let _ = folder.dir.discard(CACHE);
            return;
        }
        for (kind, payload) in &parsed.records {
            at += 9;
            let mut fields = Fields(payload);
            if let (2, Some(uid), Some(size), Some(date)) = (*kind, fields.u32(), fields.u64(), fields.i64())
            {
                let len = u32::try_from(payload.len()).unwrap_or(0);
                self.index.insert(
                    uid,
                    Slot {
                        size,
                        date,
                        at: at as u64,
                        len,
                    },
                );
                self.records += 1;
            }
            at += payload.len();
        }
        self.file = Some(file);
    }

    /// Puts a new file in place: empty, or with what is still of use. Under the folder's lock.
    fn begin(&mut self, folder: &Folder, uid_validity: u32, keep: bool) {
        let mut bytes = recfile::header(MAGIC, VERSION);
        recfile::push(&mut bytes, 1, &[&uid_validity.to_le_bytes()]);
        let mut index = HashMap::new();
        if let (true, Some(old)) = (keep, &self.file) {
            for message in &folder.view().messages {
                let Some(slot) = self.index.get(&message.uid) else {
                    continue;
                };
                let mut record = vec![0; 9 + slot.len as usize];
                if old.read_exact_at(&mut record, slot.at - 9).is_ok() {
                    let at = bytes.len() as u64 + 9;
                    bytes.extend_from_slice(&record);
                    index.insert(message.uid, Slot { at, ..*slot });
                }
            }
        }
        *self = Self {
            records: index.len(),
            index,
            file: None,
        };
        let written = folder
            .tmp
            .stage(format!("{CACHE}.{}", std::process::id()), FILE_MODE)
            .and_then(|mut staged| {
                staged.write_all(&bytes)?;
                staged.publish_volatile(&folder.dir, CACHE)
            });
        match written.and_then(|()| folder.dir.open_append(CACHE, FILE_MODE)) {
            Ok(file) => self.file = Some(file),
            Err(_) => *self = Self::default(),
        }
    }
}

/// How long `bytes` become when every line ends in CRLF; `last` is the byte before them.
fn crlf_size(bytes: &[u8], mut last: u8) -> (u64, u8) {
    let mut size = bytes.len() as u64;
    for byte in bytes {
        if *byte == b'\n' && last != b'\r' {
            size += 1;
        }
        last = *byte;
    }
    (size, last)
}

fn push(out: &mut Vec<u8>, uid: u32, meta: &Meta) {
    recfile::push(
        out,
        2,
        &[
            &uid.to_le_bytes(),
            &meta.size.to_le_bytes(),
            &meta.internal_date.to_le_bytes(),
            &meta.blob,
        ],
    );
}

/// The cache's file.
pub(crate) const CACHE: &str = "postrider-cache";
const MAGIC: [u8; 8] = *b"PR-META\n";
const VERSION: u32 = 1;
/// Where the blob begins in a payload.
const BLOB_AT: usize = 20;
