//! Filling the file: passes over the tables of the site, in pages, in the background.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::daemon::Clock;
use events::{About, Log};
use rusqlite::Connection;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::file::{self, File, SMALL};
use super::format::{self, Meta};
use super::{ReplicaError, Settings, rows};
use crate::directory::backend::{Backend, Questions};
use crate::directory::pages::{Kind, Listed, PageRequest};

/// Rows of a page.
const PAGE: usize = 1000;
/// Rows that may be unreadable; more are trouble with the tables, and what was read before is worth more.
const UNREADABLE: usize = 100;
/// A pass that failed is tried again after this time, or after `refresh_interval` where that is shorter.
const RETRY: Duration = Duration::from_secs(30);
/// `modified` is the time of the panel's host, in its zone: rows that seem older by this are read too.
const MARGIN: i64 = 26 * 60 * 60;

/// A domain that nobody has (RFC 2606), for the sake of being answered.
const NOBODY: &str = "replica.invalid";

/// How the last pass went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastPass {
    /// When it began, seconds since 1970.
    pub began: i64,
    /// How long it took.
    pub took: Duration,
    /// Whether it read everything.
    pub whole: bool,
    /// Rows that it read; where it read everything, those of the file.
    pub rows: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// What the passes have in common.
pub struct Refresher {
    /// The tables.
    pub live: Arc<dyn Backend>,
    /// The file.
    pub file: Arc<File>,
    /// How it is kept.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
    /// The decision log.
    pub events: Log,
    /// Ends the pause between two passes.
    pub wake: Notify,
    /// What is known of passes.
    pub state: Arc<Mutex<State>>,
    /// The number of the last request that was served by a pass.
    pub served: watch::Sender<u64>,
}

/// What is known of passes.
#[derive(Debug, Default)]
pub struct State {
    /// The last one.
    pub last: Option<LastPass>,
    /// When the next one begins.
    pub next: Option<Instant>,
    /// How often a pass was asked for.
    pub requests: u64,
    /// Everything is to be read.
    pub wanted: bool,
    /// While a pass runs: the rows that we changed ourselves since it began. It may have read them before.
    changed: Option<HashSet<(Kind, String)>>,
}

impl State {
    /// Remembers rows that are changed while a pass runs.
    pub fn changed(&mut self, rows: &[(Kind, &str)]) {
        if let Some(changed) = &mut self.changed {
            changed.extend(rows.iter().map(|(kind, name)| (*kind, (*name).to_owned())));
        }
    }
}

impl Refresher {
    /// Passes for ever.
    pub async fn run(self: Arc<Self>) {
        let mut pause = self.first_pause();
        loop {
            self.lock().next = Some(Instant::now() + pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
            }
            let failed = self.pass().await.error.is_some();
            let interval = self.settings.refresh_interval;
            pause = if failed { interval.min(RETRY) } else { interval };
        }
    }

    /// A file that is fresh enough is not read again at the start.
    fn first_pause(&self) -> Duration {
        let Some(meta) = self.file.current().map(|generation| generation.meta()) else {
            return Duration::ZERO;
        };
        if meta.origin != *self.file.origin() {
            return Duration::ZERO;
        }
        let age = u64::try_from(self.now().saturating_sub(meta.read_at)).unwrap_or_default();
        self.settings
            .refresh_interval
            .saturating_sub(Duration::from_secs(age))
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.unix_millis() / 1000).unwrap_or_default()
    }

    /// What is known of passes.
    pub fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One pass; what came of it is remembered and told.
    async fn pass(&self) -> LastPass {
        if self.file.current().is_none() {
            let file = self.file.clone();
            let _ = tokio::task::spawn_blocking(move || file.try_again()).await;
        }
        let (began, start) = (self.now(), Instant::now());
        // What is asked for from now on is for the next pass.
        let (request, wanted) = {
            let mut state = self.lock();
            state.changed = Some(HashSet::new());
            (state.requests, mem::take(&mut state.wanted))
        };
        let result = self.choose(wanted, began, start).await;
        let mut last = LastPass {
            began,
            took: start.elapsed(),
            ..LastPass::default()
        };
        match result {
            Ok((whole, rows)) => {
                (last.whole, last.rows) = (whole, rows);
                tracing::info!(whole, rows, took = ?last.took, "the replica is up to date");
                let kind = events::authd::Kind::ReplicaRefreshed {
                    whole,
                    rows,
                    took_ms: millis(last.took),
                };
                self.events.emit(About::process(), kind);
            }
            Err(error) => {
                let reason = ::daemon::describe(&error);
                tracing::warn!(reason, "the replica was not brought up to date");
                let kind = events::authd::Kind::ReplicaRefreshFailed {
                    reason: reason.clone(),
                };
                self.events.emit(About::process(), kind);
                last.error = Some(reason);
            }
        }
        let mut state = self.lock();
        state.changed = None;
        if last.error.is_some() {
            state.wanted |= wanted;
        }
        state.last = Some(last.clone());
        drop(state);
        self.served.send_replace(request);
        last
    }

    /// Reads everything, or what changed lately.
    async fn choose(&self, wanted: bool, began: i64, start: Instant) -> Result<(bool, u64), ReplicaError> {
        let questions = self.live.questions().await?;
        let recent = {
            let meta = self.file.current().map(|generation| generation.meta());
            let full = i64::try_from(self.settings.full_refresh_interval.as_secs()).unwrap_or(i64::MAX);
            meta.filter(|meta| {
                !wanted
                    && meta.all_rows() > SMALL
                    && meta.questions == questions
                    && meta.origin == *self.file.origin()
                    && (0..full).contains(&began.saturating_sub(meta.whole_at))
            })
        };
        if let Some(meta) = recent
            && let Some(rows) = self.recent(&meta, began, start).await?
        {
            return Ok((false, rows));
        }
        Ok((true, self.whole(questions, began, start).await?))
    }

    /// Reads the rows that changed since the last pass; `None` where the tables do not say which.
    async fn recent(&self, meta: &Meta, began: i64, start: Instant) -> Result<Option<u64>, ReplicaError> {
        let mut rows = 0;
        for kind in &meta.listed {
            let mut after: Option<String> = None;
            loop {
                let request = PageRequest {
                    kind: *kind,
                    after: after.as_deref(),
                    limit: PAGE,
                    changed_since: Some(meta.read_at.saturating_sub(MARGIN)),
                };
                let Some(page) = self.live.page(request).await? else {
                    return Ok(None);
                };
                rows += page.rows.len() as u64;
                let (file, state, kind) = (self.file.clone(), self.state.clone(), *kind);
                let put = move || {
                    file.change(|connection, _| {
                        let changed = changed_rows(&state);
                        // What cannot be read now leaves what was read before, and what we changed ourselves
                        // is newer.
                        let rows = page.rows.iter().filter(|(name, row)| {
                            !matches!(row, Listed::Unreadable) && !changed.contains(&(kind, name.clone()))
                        });
                        for (name, row) in rows {
                            rows::put(connection, kind, name, began, row)?;
                        }
                        Ok(())
                    })
                };
                tokio::task::spawn_blocking(put).await??;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let (file, took) = (self.file.clone(), start.elapsed());
        let max_size = self.settings.max_size;
        let finish = move || {
            file.change(|connection, meta| {
                if file::bytes(connection)? > max_size {
                    return Err(ReplicaError::TooBig(max_size));
                }
                meta.read_at = began;
                meta.took_ms = i64::try_from(millis(took)).unwrap_or(i64::MAX);
                Ok(())
            })
        };
        tokio::task::spawn_blocking(finish).await??;
        Ok(Some(rows))
    }

    /// Writes a new file with everything.
    async fn whole(&self, questions: Questions, began: i64, start: Instant) -> Result<u64, ReplicaError> {
        let mut new = New::create(self.file.making()).await?;
        let mut listed = Vec::new();
        let mut rows = 0;
        let mut unreadable: Vec<(Kind, String)> = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| asked(*kind, &questions)) {
            let mut after: Option<String> = None;
            loop {
                let request = PageRequest {
                    kind,
                    after: after.as_deref(),
                    limit: PAGE,
                    changed_since: None,
                };
                let Some(page) = self.live.page(request).await? else {
                    break;
                };
                rows += page.rows.len() as u64;
                if rows > self.settings.max_rows {
                    return Err(ReplicaError::TooManyRows(self.settings.max_rows));
                }
                after = page.next;
                let (back, odd, bytes) = new.put(kind, page.rows, began).await?;
                new = back;
                unreadable.extend(odd.into_iter().map(|name| (kind, name)));
                if unreadable.len() > UNREADABLE {
                    return Err(ReplicaError::Unreadable(UNREADABLE));
                }
                if bytes > self.settings.max_size {
                    return Err(ReplicaError::TooBig(self.settings.max_size));
                }
                if after.is_none() {
                    listed.push(kind);
                    break;
                }
            }
        }
        if listed.is_empty() {
            // Statements of the site are not asked by any of this, and "up to date" is to mean that the tables
            // answer.
            self.live.domain(NOBODY).await?;
        }
        let meta = Meta {
            origin: self.file.origin().clone(),
            questions,
            listed,
            read_at: began,
            whole_at: began,
            took_ms: i64::try_from(millis(start.elapsed())).unwrap_or(i64::MAX),
            rows: BTreeMap::new(),
            seen_at: 0,
        };
        Ok(rows + self.finish(new, meta, unreadable).await?)
    }

    /// Takes over what only the old file knows, and puts the new one in its place.
    async fn finish(
        &self,
        new: New,
        mut meta: Meta,
        unreadable: Vec<(Kind, String)>,
    ) -> Result<u64, ReplicaError> {
        let (file, state) = (self.file.clone(), self.state.clone());
        let max_age = i64::try_from(self.settings.max_age.as_secs()).unwrap_or(i64::MAX);
        let max_rows = self.settings.max_rows;
        let work = move || {
            let since = meta.read_at.saturating_sub(max_age);
            let New { connection, path } = new;
            file.replace(&path.0, |old| {
                let mut carried = 0;
                if let Some(old) = old {
                    meta.seen_at = old.meta().seen_at;
                    let others = Kind::ALL.into_iter().filter(|kind| !meta.listed.contains(kind));
                    let others: Vec<Kind> = others.collect();
                    carried = rows::carry(&connection, file.path(), &others, &unreadable, since, max_rows)
                        // The next pass does without, where it has to.
                        .and_then(|carried| {
                            rows::take_over(&connection, file.path(), &changed_rows(&state))?;
                            Ok(carried)
                        })
                        .inspect_err(|error| {
                            file.failed(old, error);
                        })?;
                }
                meta.rows = file::count(&connection)?;
                connection.pragma_update(Some("main"), "synchronous", "FULL")?;
                let transaction = connection.unchecked_transaction()?;
                format::set_meta(&transaction, &meta)?;
                transaction.commit()?;
                connection.close().map_err(|(_, error)| error)?;
                Ok(carried)
            })
        };
        tokio::task::spawn_blocking(work).await?
    }
}

/// A file in the making.
struct New {
    connection: Connection,
    path: Unfinished,
}

/// Removes the file where it is not wanted any more.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there any more where it took the place of the old one.
        let _ = fs::remove_file(&self.0);
    }
}

impl New {
    async fn create(path: PathBuf) -> Result<Self, ReplicaError> {
        let create = move || {
            if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
                make_directory(parent)?;
            }
            let connection = format::create(&path)?;
            let path = Unfinished(path);
            Ok(Self { connection, path })
        };
        tokio::task::spawn_blocking(create).await?
    }

    /// Puts rows in; tells those that are unreadable and the size. Of several rows of one key, which stand
    /// side by side, none can be read.
    async fn put(
        self,
        kind: Kind,
        page: Vec<(String, Listed)>,
        began: i64,
    ) -> Result<(Self, Vec<String>, u64), ReplicaError> {
        let put = move || {
            let transaction = self.connection.unchecked_transaction()?;
            let mut unreadable = Vec::new();
            let mut before: Option<String> = None;
            for (name, row) in page {
                let twice = before.as_ref() == Some(&name);
                let row = if twice { Listed::Unreadable } else { row };
                if matches!(row, Listed::Unreadable) {
                    unreadable.push(name.clone());
                }
                rows::put(&transaction, kind, &name, began, &row)?;
                before = Some(name);
            }
            transaction.commit()?;
            let bytes = file::bytes(&self.connection)?;
            Ok((self, unreadable, bytes))
        };
        tokio::task::spawn_blocking(put).await?
    }
}

fn make_directory(parent: &Path) -> Result<(), ReplicaError> {
    fs::create_dir_all(parent).map_err(|source| ReplicaError::Create {
        path: parent.to_owned(),
        source,
    })
}

/// The rows that we changed ourselves since the pass began.
fn changed_rows(state: &Mutex<State>) -> HashSet<(Kind, String)> {
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.changed.clone().unwrap_or_default()
}

/// Whether the rules ask for rows of this kind at all.
fn asked(kind: Kind, questions: &Questions) -> bool {
    match kind {
        Kind::Domain | Kind::Alias | Kind::Mailbox => true,
        Kind::AliasDomain => questions.alias_domain,
        Kind::Transport => questions.transport,
        Kind::Relocated => questions.relocated,
        Kind::SenderLogins => questions.sender_logins,
        Kind::LocalAlias => questions.local_alias,
        Kind::Access(table) => questions.access.contains(&table),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
