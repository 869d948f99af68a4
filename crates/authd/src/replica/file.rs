//! The file in use: questions to it, small changes, and its replacement as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::Semaphore;

use super::format::{self, Meta};
use super::{Origin, ReplicaError};
use crate::directory::pages::Kind;

/// Up to so many rows everything is read each time, and counted when somebody asks.
pub const SMALL: u64 = 20_000;
/// Questions that are worked on at the same time.
const READERS: u32 = 4;
/// What follows the name of the file while it is being made.
const MAKING: &str = ".new-";
/// Numbers new files, those of the site before a reload too.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The file.
pub struct File {
    path: PathBuf,
    origin: Origin,
    current: RwLock<Option<Arc<Generation>>>,
    /// What lies at the path is damaged.
    damaged: AtomicBool,
    /// Held during small changes and replacements.
    writing: Mutex<()>,
}

/// One state of the file, as long as somebody asks it.
pub struct Generation {
    path: PathBuf,
    meta: RwLock<Meta>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// How big it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of the file.
    pub bytes: u64,
    /// Rows of each table that has any.
    pub rows: BTreeMap<&'static str, u64>,
}

impl File {
    /// Uses the file where it is there and holds the tables of `origin`. One that is damaged is removed, as
    /// is what an interrupted pass left. Blocks.
    pub fn open(path: &Path, origin: Origin) -> Self {
        remove_leftovers(path);
        let file = Self {
            path: path.to_owned(),
            origin,
            current: RwLock::new(None),
            damaged: AtomicBool::new(false),
            writing: Mutex::new(()),
        };
        if path.exists() {
            match file.load() {
                Ok(true) => {}
                Ok(false) => tracing::info!("the replica is of other tables and is made anew"),
                Err(error) if !error.is_damage() => {
                    let error = ::daemon::describe(&error);
                    tracing::warn!(error, "the replica cannot be opened now");
                }
                Err(error) => {
                    tracing::warn!(error = ::daemon::describe(&error), "the replica is made anew");
                    for leftover in [path.to_owned(), with_suffix(path, "-journal")] {
                        let _ = fs::remove_file(leftover);
                    }
                }
            }
        }
        file
    }

    /// Puts what lies at the path in use.
    fn load(&self) -> Result<bool, ReplicaError> {
        let connection = format::open(&self.path)?;
        let Some(meta) = format::meta(&connection)?.filter(|meta| meta.origin.tables == self.origin.tables)
        else {
            return Ok(false);
        };
        let generation = Generation {
            path: self.path.clone(),
            meta: RwLock::new(meta),
            idle: Mutex::new(vec![connection]),
            permits: Arc::new(Semaphore::new(READERS as usize)),
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(generation));
        self.damaged.store(false, Ordering::Relaxed);
        Ok(true)
    }

    /// Tries once more to use what could not be opened. Blocks.
    pub fn try_again(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.current().is_some() || self.damaged.load(Ordering::Relaxed) || !self.path.exists() {
            return;
        }
        if let Err(error) = self.load() {
            tracing::warn!(error = ::daemon::describe(&error), "the replica cannot be opened");
        }
    }

    /// The tables that it is to hold.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What is in use, if anything.
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The path of the file in use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a new file.
    pub fn making(&self) -> PathBuf {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        with_suffix(&self.path, &format!("{MAKING}{number}"))
    }

    /// Puts a new file in the place of the old one, once `finish` has taken over what only the old one has:
    /// no change gets lost between the two. Blocks.
    pub fn replace<T>(
        &self,
        new: &Path,
        finish: impl FnOnce(Option<&Arc<Generation>>) -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current();
        let finished = finish(old.as_ref())?;
        fs::rename(new, &self.path).map_err(ReplicaError::Replace)?;
        self.load()?;
        if let Some(old) = old {
            // Who still reads the old one would take the journal of a change to the new one for its own.
            let ended = old.permits.acquire_many(READERS);
            let _ = tokio::runtime::Handle::current().block_on(ended);
            old.permits.close();
        }
        Ok(finished)
    }

    /// Makes a small change to the file in use, all or nothing; nothing where there is none. Blocks.
    pub fn change(
        &self,
        work: impl FnOnce(&Connection, &mut Meta) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(generation) = self.current() else {
            return Ok(());
        };
        let changed = generation.change(work);
        if let Err(error) = &changed {
            self.failed(&generation, error);
        }
        changed
    }

    /// Stops using a state of the file where an error says that it is damaged; true where that is so.
    pub fn failed(&self, generation: &Arc<Generation>, error: &ReplicaError) -> bool {
        if !error.is_damage() {
            return false;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Not the one that took its place.
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, generation))
        {
            *current = None;
            self.damaged.store(true, Ordering::Relaxed);
        }
        true
    }
}

impl Generation {
    fn change(
        &self,
        work: impl FnOnce(&Connection, &mut Meta) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        let mut connection = format::open(&self.path)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let old = self.meta();
        let mut meta = old.clone();
        work(&transaction, &mut meta)?;
        if meta != old {
            format::set_meta(&transaction, &meta)?;
        }
        transaction.commit()?;
        *self.meta.write().unwrap_or_else(PoisonError::into_inner) = meta;
        Ok(())
    }

    /// What the file says about itself.
    pub fn meta(&self) -> Meta {
        self.meta.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When it was brought up to date, seconds since 1970.
    pub fn read_at(&self) -> i64 {
        self.meta.read().unwrap_or_else(PoisonError::into_inner).read_at
    }

    /// Whether it holds all rows of a kind.
    pub fn lists(&self, kind: Kind) -> bool {
        let meta = self.meta.read().unwrap_or_else(PoisonError::into_inner);
        meta.listed.contains(&kind)
    }

    /// Asks it, off the async threads.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, ReplicaError> + Send + 'static,
    ) -> Result<T, ReplicaError> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| ReplicaError::Replaced)?;
        let generation = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let lock = || generation.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => format::open(&generation.path)?,
            };
            let answer = work(&connection)?;
            lock().push(connection);
            Ok(answer)
        });
        asked.await?
    }

    /// How big it is. Few rows are counted; of many it is told how many there were when everything was read.
    pub async fn extent(self: &Arc<Self>) -> Result<Extent, ReplicaError> {
        let meta = self.meta();
        self.ask(move |connection| {
            let bytes = bytes(connection)?;
            let rows = match meta.all_rows() > SMALL {
                true => meta.rows,
                false => count(connection)?,
            };
            Ok(Extent { bytes, rows })
        })
        .await
    }
}

/// The rows of each table that has any. Reads all of it.
pub fn count(connection: &Connection) -> Result<BTreeMap<&'static str, u64>, ReplicaError> {
    let mut rows = BTreeMap::new();
    for table in format::tables() {
        let count: i64 = connection
            .prepare_cached(&format!("SELECT COUNT(*) FROM {table}"))?
            .query_row([], |row| row.get(0))?;
        if count > 0 {
            rows.insert(table, u64::try_from(count).unwrap_or_default());
        }
    }
    Ok(rows)
}

/// The bytes of a file, without those of changes that are not committed.
pub fn bytes(connection: &Connection) -> Result<u64, ReplicaError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = number("page_count")?.saturating_mul(number("page_size")?);
    Ok(u64::try_from(bytes).unwrap_or_default())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes what interrupted passes of an earlier process left.
fn remove_leftovers(path: &Path) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let begin = format!("{}{MAKING}", name.to_string_lossy());
    let list = || -> io::Result<()> {
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&begin) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    if let Err(error) = list() {
        tracing::debug!(%error, "looking for what an earlier pass left");
    }
}
