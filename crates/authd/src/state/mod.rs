//! What authd itself remembers across a restart, in `state_dir/authd.sqlite`: failures and known networks,
//! keys for SCRAM, who uses which mechanism. Losing it loses no mail and locks nobody out.
//!
//! One thread owns the file. Writes are queued without waiting, and done in batches; a read waits for the
//! writes before it, but for the one of each login, which has a thread of its own.

mod tables;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::oneshot;

use self::tables::Prune;
pub use self::tables::{
    FAILURES, FailureRow, KNOWN, Rehashed, ScramRow, UsageRow, Write, failures, has_scram_keys, is_known,
    known_count, rehashed, scram_keys, secret, usage,
};

/// Commands that may wait for the thread; further writes are left out, further reads fail.
const QUEUE: usize = 8_192;
/// Logins remembered in memory.
const RECENT: usize = 20_000;
/// Most writes in one transaction.
const BATCH: usize = 512;
/// How long a write waits for others to share its transaction.
const GATHER: Duration = Duration::from_millis(100);
/// How long a statement waits for another program that looks at the file.
const BUSY: Duration = Duration::from_millis(500);
/// How often old rows are removed, in seconds.
const PRUNE: u64 = 3_600;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory or the file cannot be made.
    #[error("cannot make {path}")]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refuses it.
    #[error("cannot use {path}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The thread cannot be started.
    #[error("no thread for authd's own state")]
    Thread(#[source] io::Error),
}

/// A read that was not done.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too much waits already, or the process ends.
    #[error("authd's own state is busy")]
    Busy,
    /// SQLite refused.
    #[error("authd's own state cannot be read")]
    Sqlite(#[from] rusqlite::Error),
}

type Read = Box<dyn FnOnce(&Connection) + Send>;

enum Command {
    Write(Write),
    Read(Read),
    Stop,
}

/// The file, and the thread that owns it.
#[derive(Debug)]
pub struct State {
    commands: SyncSender<Command>,
    /// For a thread that only reads, so that nobody waits for a batch of writes.
    peeks: SyncSender<Read>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Whether the last write found the queue full.
    full: AtomicBool,
    /// Where accounts logged in of late, with the second: what may not be in the file yet, and most of what is asked.
    recent: Mutex<HashMap<(String, String), u64>>,
}

impl State {
    /// Opens the file, and makes it (mode 0600) where it does not exist. A damaged one is put aside. Blocks.
    pub fn open(path: &Path, now: u64) -> Result<Self, StateError> {
        let connection = match connect(path) {
            Err(StateError::Sqlite { source, .. }) if is_damaged(&source) => {
                put_aside(path, &source)?;
                connect(path)
            }
            other => other,
        }?;
        let reader = tables::connect_reader(path, BUSY).map_err(|source| StateError::Sqlite {
            path: path.to_owned(),
            source,
        })?;
        let (peeks, peeked) = sync_channel::<Read>(QUEUE);
        std::thread::Builder::new()
            .name("authd-peek".to_owned())
            .spawn(move || peeked.iter().for_each(|read| read(&reader)))
            .map_err(StateError::Thread)?;
        let (commands, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("authd-state".to_owned())
            .spawn(move || Worker::new(connection, now).run(&queue))
            .map_err(StateError::Thread)?;
        Ok(Self {
            commands,
            peeks,
            thread: Mutex::new(Some(thread)),
            full: AtomicBool::new(false),
            recent: Mutex::default(),
        })
    }

    /// Queues a write. It is left out where too much waits already: what is kept here is worth no delay.
    pub fn write(&self, write: Write) {
        if let Write::Success {
            account,
            network: Some(network),
            at,
            ..
        } = &write
        {
            let mut recent = self.recent();
            if recent.len() >= RECENT {
                recent.clear();
            }
            recent.insert((account.clone(), network.clone()), *at);
        }
        let full = self.commands.try_send(Command::Write(write)).is_err();
        if full && !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!("authd's own state cannot keep up: some failures and usage are not written down");
        } else if !full {
            self.full.store(false, Ordering::Relaxed);
        }
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<(String, String), u64>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an account logged in from a network within [`KNOWN`]. Trouble is a no. It does not wait for writes, which
    /// would cost each login a transaction.
    pub async fn is_known(&self, account: &str, network: &str, now: u64) -> bool {
        let key = (account.to_owned(), network.to_owned());
        let lately = self.recent().get(&key).copied();
        if lately.is_some_and(|at| now.saturating_sub(at) < KNOWN) {
            return true;
        }
        let work = move |db: &Connection| tables::is_known(db, &key.0, &key.1, now);
        let (read, waiting) = prepare(work);
        if self.peeks.try_send(read).is_err() {
            return false;
        }
        waiting.await.is_ok_and(|known| known.unwrap_or(false))
    }

    /// Reads, after the writes that were queued before.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (read, waiting) = prepare(work);
        self.commands
            .try_send(Command::Read(read))
            .map_err(|_| ReadError::Busy)?;
        Ok(waiting.await.map_err(|_| ReadError::Busy)??)
    }

    /// The same, blocking: for the start.
    pub fn read_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, waiting) = std::sync::mpsc::sync_channel(1);
        let read: Read = Box::new(move |connection| {
            let _ = answer.send(work(connection));
        });
        self.commands
            .send(Command::Read(read))
            .map_err(|_| ReadError::Busy)?;
        Ok(waiting.recv().map_err(|_| ReadError::Busy)??)
    }

    /// Writes what waits, and ends the thread. Blocks.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && self.commands.send(Command::Stop).is_ok()
        {
            let _ = thread.join();
        }
    }
}

/// A read for one of the threads, and where its answer comes.
fn prepare<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (Read, oneshot::Receiver<rusqlite::Result<T>>) {
    let (answer, waiting) = oneshot::channel();
    let read: Read = Box::new(move |connection| {
        let _ = answer.send(work(connection));
    });
    (read, waiting)
}

/// Opens the file and makes its tables.
fn connect(path: &Path) -> Result<Connection, StateError> {
    let create = |source| StateError::Create {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(create)?;
    }
    // Made here because SQLite would make it readable for others.
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(create)?;
    tables::connect(path, BUSY).map_err(|source| StateError::Sqlite {
        path: path.to_owned(),
        source,
    })
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Renames a damaged file, so that somebody may look at it and logins go on.
fn put_aside(path: &Path, why: &rusqlite::Error) -> Result<(), StateError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    tracing::error!(
        path = %path.display(),
        %why,
        "authd's own state is damaged: put aside as *.damaged, begun anew"
    );
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let _ = fs::remove_file(beside);
    }
    fs::rename(path, &aside).map_err(|source| StateError::Create {
        path: aside.into(),
        source,
    })
}

/// The thread's side.
struct Worker {
    connection: Connection,
    /// When old rows were removed last, in seconds since 1970.
    pruned: u64,
    /// What is left of removing them.
    pruning: Option<Prune>,
    /// Whether the last batch failed: said once.
    failing: bool,
}

impl Worker {
    fn new(connection: Connection, now: u64) -> Self {
        Self {
            connection,
            pruned: now,
            pruning: Some(Prune::new(now)),
            failing: false,
        }
    }

    fn run(mut self, queue: &Receiver<Command>) {
        let mut stop = false;
        while !stop {
            let mut writes = Vec::new();
            let mut read = None;
            let mut deadline = None;
            // Gather writes, until somebody wants to read.
            while read.is_none() && !stop && writes.len() < BATCH {
                let command = match deadline {
                    // Nobody waits: the time for what nobody waits for.
                    None if self.pruning.is_some() => queue.recv_timeout(Duration::ZERO),
                    None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    Some(deadline) => {
                        queue.recv_timeout(Instant::saturating_duration_since(&deadline, Instant::now()))
                    }
                };
                match command {
                    Ok(Command::Write(write)) => {
                        writes.push(write);
                        deadline = deadline.or_else(|| Some(Instant::now() + GATHER));
                    }
                    Ok(Command::Read(work)) => read = Some(work),
                    Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            self.write(&writes);
            if let Some(read) = read {
                read(&self.connection);
            }
            self.prune();
        }
    }

    fn write(&mut self, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        let result = (|| {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            for write in writes {
                tables::apply(&transaction, write)?;
            }
            transaction.commit()
        })();
        match result {
            Err(ref error) if !self.failing => {
                tracing::error!(%error, "authd's own state cannot be written; logins go on without");
            }
            Ok(()) if self.failing => tracing::info!("authd's own state is written again"),
            _ => {}
        }
        self.failing = result.is_err();
        let now = writes.iter().map(Write::at).max().unwrap_or(0);
        if now.saturating_sub(self.pruned) >= PRUNE {
            self.pruned = now;
            self.pruning = Some(Prune::new(now));
        }
    }

    /// Removes some of the old rows. Millions at once would make logins wait.
    fn prune(&mut self) {
        let Some(pruning) = &mut self.pruning else {
            return;
        };
        match pruning.slice(&self.connection) {
            Ok(true) => {}
            Ok(false) => self.pruning = None,
            Err(error) => {
                tracing::warn!(%error, "old rows of authd's own state were not removed");
                self.pruning = None;
            }
        }
    }
}
