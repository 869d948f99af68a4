//! Rows that were asked for, of tables that cannot be gone through: the users that are known go on being
//! known.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::daemon::Clock;
use mail_types::Secret;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::file::{self, File};
use super::format::Meta;
use super::{ReplicaError, Settings, rows};
use crate::directory::backend::{LoginRow, MailboxRow};
use crate::directory::pages::{Kind, Listed};

/// Answers that wait to be written; more are forgotten.
const QUEUE: usize = 4096;
/// Answers of one transaction.
const BATCH: usize = 512;
/// How long an answer waits for others.
const GATHER: Duration = Duration::from_secs(2);
/// An answer that has not changed is written again after this time, for its age.
const AGAIN: Duration = Duration::from_secs(60 * 60);
/// Answers that are remembered as written.
const REMEMBERED: usize = 65_536;

/// An answer of the tables.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A row.
    Row(Listed),
    /// A mailbox, of which the login is not known.
    Mailbox(MailboxRow),
    /// There is none.
    Nothing,
}

impl Seen {
    /// Everything of it, secrets too, for [`RandomState`].
    fn fingerprint(&self, hashes: &RandomState) -> u64 {
        let secrets: Vec<&[u8]> = match self {
            Self::Row(Listed::Mailbox(row)) => {
                let LoginRow {
                    password,
                    cleartext,
                    app_passwords,
                    ..
                } = &**row;
                let programs = app_passwords.iter().map(|program| program.password.expose());
                let own = cleartext.iter().map(Secret::expose);
                std::iter::once(password.expose())
                    .chain(own)
                    .chain(programs)
                    .collect()
            }
            _ => Vec::new(),
        };
        hashes.hash_one((format!("{self:?}"), secrets))
    }
}

/// An answer on its way.
pub type Answer = (Kind, String, Seen);

/// Takes answers.
pub struct Recorder {
    queue: mpsc::Sender<Answer>,
    written: Mutex<HashMap<(Kind, String), (u64, Instant)>>,
    hashes: RandomState,
}

impl Recorder {
    /// Takes answers; the other half writes them.
    pub fn new() -> (Self, mpsc::Receiver<Answer>) {
        let (queue, answers) = mpsc::channel(QUEUE);
        let recorder = Self {
            queue,
            written: Mutex::default(),
            hashes: RandomState::new(),
        };
        (recorder, answers)
    }

    /// Remembers an answer, where it is new and there is room.
    pub fn saw(&self, kind: Kind, key: &str, seen: Seen) {
        let key = (kind, key.to_owned());
        let print = seen.fingerprint(&self.hashes);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = written.get(&key);
        if known.is_some_and(|(known, at)| *known == print && at.elapsed() < AGAIN) {
            return;
        }
        if written.len() >= REMEMBERED {
            written.clear();
        }
        let (kind, name) = key.clone();
        if self.queue.try_send((kind, name, seen)).is_ok() {
            written.insert(key, (print, Instant::now()));
        }
    }
}

/// Writes answers for ever.
pub async fn write(file: Arc<File>, settings: Settings, clock: Clock, mut answers: mpsc::Receiver<Answer>) {
    while let Some(first) = answers.recv().await {
        let mut batch = vec![first];
        let full = tokio::time::sleep(GATHER);
        tokio::pin!(full);
        while batch.len() < BATCH {
            tokio::select! {
                more = answers.recv() => match more {
                    Some(answer) => batch.push(answer),
                    None => break,
                },
                () = &mut full => break,
            }
        }
        write_batch(&file, &settings, &clock, batch).await;
    }
}

/// Writes answers now; false where that did not succeed.
pub async fn write_batch(file: &Arc<File>, settings: &Settings, clock: &Clock, batch: Vec<Answer>) -> bool {
    let (file, max_size) = (file.clone(), settings.max_size);
    let now = i64::try_from(clock.unix_millis() / 1000).unwrap_or_default();
    let put = move || file.change(|connection, meta| put(connection, meta, &batch, now, max_size));
    match tokio::task::spawn_blocking(put).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => tracing::warn!(error = ::daemon::describe(&error), "writing the replica"),
        Err(error) => tracing::warn!(%error, "writing the replica"),
    }
    false
}

fn put(
    connection: &rusqlite::Connection,
    meta: &mut Meta,
    batch: &[Answer],
    now: i64,
    max_size: u64,
) -> Result<(), ReplicaError> {
    let room = file::bytes(connection)? < max_size;
    for (kind, name, seen) in batch {
        if room && !matches!(seen, Seen::Nothing) {
            meta.seen_at = now;
        }
        match seen {
            Seen::Row(row) if room => rows::put(connection, *kind, name, now, row)?,
            Seen::Mailbox(row) if room => rows::put_mailbox(connection, name, now, row)?,
            Seen::Nothing => rows::remove(connection, *kind, name)?,
            Seen::Row(_) | Seen::Mailbox(_) => {}
        }
    }
    Ok(())
}
