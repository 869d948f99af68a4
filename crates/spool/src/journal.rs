//! The journal beside a message: what qmgr did with it. Only qmgr writes here.

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use durable::{AppendFile, Pending};
use mail_types::MailId;

use crate::error::{Damage, ReadError, WriteError};
use crate::layout::{SHARDS, Spool, journal_name, shard_index};
use crate::record::{self, MAX_PAYLOAD, Parsed, Record};

/// Space set aside when a journal is made, and again when less than [`LOW`] is left.
const STEP: u64 = 4096;
/// What has to be free in front of an attempt, for the records of its results.
const LOW: u64 = 1024;
/// The largest journal that is read.
const MAX_JOURNAL: u64 = 256 * MAX_PAYLOAD as u64;

/// One writer at a time per journal: the locks, and which journals have a name that is not durable yet.
#[derive(Debug)]
pub(crate) struct Stripes {
    stripes: Vec<Mutex<HashSet<MailId>>>,
}

impl Default for Stripes {
    fn default() -> Self {
        Self {
            stripes: SHARDS.chars().map(|_| Mutex::default()).collect(),
        }
    }
}

impl Stripes {
    /// Locks the journals of this message's shard. Never held across a sync.
    fn lock(&self, id: MailId) -> MutexGuard<'_, HashSet<MailId>> {
        self.stripes[shard_index(id)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, id: MailId) {
        self.lock(id).remove(&id);
    }
}

/// How safe a record has to be before the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// On the disk: results of remote deliveries, reports.
    Durable,
    /// Soon: deferrals, whose loss costs an early attempt.
    Soon,
}

impl Spool {
    /// Every record of a message's journal; none where there is no journal. A torn tail is not there: it
    /// was never relied on.
    pub fn read_journal(&self, id: MailId) -> Result<Vec<Record>, ReadError> {
        let file = match self.open_plain(id, &journal_name(id)) {
            Err(ReadError::Missing(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_JOURNAL + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_JOURNAL {
            return Err(Damage::new("a journal of more than 256 MiB").into());
        }
        Ok(record::parse(&bytes, id)?.records)
    }

    /// Makes the journal where it is missing and sets space aside in it, so that the records of the attempt
    /// that follows need none. To be called before each remote attempt.
    pub fn prepare_journal(&self, id: MailId) -> Result<(), WriteError> {
        self.append_journal(id, &[], Safety::Durable)
    }

    /// Appends records. With [`Safety::Durable`] they survive everything when this returns.
    pub fn append_journal(&self, id: MailId, records: &[Record], safety: Safety) -> Result<(), WriteError> {
        let pending = self.append(id, records)?;
        match safety {
            Safety::Durable => {
                pending.wait()?;
                self.inner.stripes.forget(id);
            }
            Safety::Soon => pending.later()?,
        }
        Ok(())
    }

    /// Writes records at the end, without waiting for the disk.
    fn append(&self, id: MailId, records: &[Record]) -> Result<Pending, WriteError> {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(record::encode(record).map_err(|e| WriteError::Journal(e.into()))?);
        }
        let mut unnamed = self.inner.stripes.lock(id);
        let file = self.shard(id).open_append(journal_name(id), 0o640)?;
        if file.is_poisoned() {
            return self.replace(id, &file, &bytes);
        }
        // A journal that an earlier call made without waiting: its name may not be durable yet. That of a
        // journal made now comes with its first write.
        let settle = unnamed.contains(&id);
        if usable_end(&file, id)? == 0 {
            file.reserve(STEP)?;
            // Written together with the first records.
            bytes.splice(..0, record::head(id));
            unnamed.insert(id);
        } else {
            file.reserve(LOW)?;
        }
        let mut pending = if bytes.is_empty() {
            Pending::kept()
        } else {
            file.append(&bytes)?
        };
        if settle {
            pending = pending.and(self.shard(id).settle());
        }
        Ok(pending)
    }

    /// A sync of the journal failed once: the kernel may have dropped what it shows. What can be read is
    /// written into a new file that takes its place (robustness.md 4.2).
    fn replace(&self, id: MailId, old: &AppendFile, bytes: &[u8]) -> Result<Pending, WriteError> {
        let readable = old.read_from(0)?;
        let end = record::parse(&readable, id)
            .map_err(|e| WriteError::Journal(e.into()))?
            .end;
        let mut staged = self.inner.temp.stage(journal_name(id), 0o640)?;
        if end == 0 {
            staged.write_all(&record::head(id))?;
        }
        staged.write_all(&readable[..end])?;
        staged.write_all(bytes)?;
        Ok(staged.replace(self.shard(id), journal_name(id)))
    }
}

/// The end of what can be read, a torn tail cut off; 0 for a journal that has no header yet.
fn usable_end(file: &AppendFile, id: MailId) -> Result<u64, WriteError> {
    let len = file.len()?;
    if len == 0 {
        return Ok(0);
    }
    if len > MAX_JOURNAL {
        return Err(WriteError::Journal(
            Damage::new("a journal that is too long").into(),
        ));
    }
    let bytes = file.read_from(0)?;
    let Parsed { end, torn, .. } = record::parse(&bytes, id).map_err(|e| WriteError::Journal(e.into()))?;
    if torn {
        file.truncate(end as u64)?;
    }
    Ok(end as u64)
}
