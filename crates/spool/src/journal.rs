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
        self.append(id, &[])?.0.wait().map_err(WriteError::from)?;
        self.forget_unnamed(id);
        Ok(())
    }

    /// Appends records. With [`Safety::Durable`] they survive everything when this returns.
    pub fn append_journal(&self, id: MailId, records: &[Record], safety: Safety) -> Result<(), WriteError> {
        let (pending, _) = self.append(id, records)?;
        match safety {
            Safety::Durable => {
                pending.wait()?;
                self.forget_unnamed(id);
            }
            Safety::Soon => pending.later()?,
        }
        Ok(())
    }

    fn forget_unnamed(&self, id: MailId) {
        self.inner.stripes.forget(id);
    }

    /// Writes records at the end, without waiting for the disk.
    fn append(&self, id: MailId, records: &[Record]) -> Result<(Pending, u64), WriteError> {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(record::encode(record).map_err(|e| WriteError::Journal(e.into()))?);
        }
        let mut unnamed = self.inner.stripes.lock(id);
        let file = self.shard(id).open_append(journal_name(id), 0o640)?;
        let mut end = usable_end(&file, id)?;
        if end == 0 {
            file.reserve(STEP)?;
            // Written together with the first records.
            bytes.splice(..0, record::head(id));
            unnamed.insert(id);
        }
        if bytes.is_empty() {
            file.reserve(LOW)?;
            return Ok((
                if unnamed.contains(&id) {
                    self.shard(id).settle()
                } else {
                    Pending::kept()
                },
                end,
            ));
        }
        let mut pending = file.append(&bytes)?;
        end += bytes.len() as u64;
        // A journal that an earlier call made without waiting: its name is not durable yet.
        if unnamed.contains(&id) {
            pending = pending.and(self.shard(id).settle());
        }
        Ok((pending, end))
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
