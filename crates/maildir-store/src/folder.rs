//! An open folder: one shared object per folder and process, with the view that all sessions see.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable::{Dir, FileKind, Pending, Stat};

use crate::account::AccountShared;
use crate::cache::Cache;
use crate::error::{Doing, StoreError};
use crate::folder_name::FolderName;
use crate::section::Section;
use crate::store::{FILE_MODE, Store, subdirectory};
use crate::uidlog::{Content, Entry, LOCK, UidLog};
use crate::view::{Message, View};

/// A folder of an account. All sessions of a process that have it open share this object, so what one
/// changes the others see at their next [`Folder::view`], and hear of through [`Folder::on_change`].
///
/// Methods block on the disk. None holds a lock while it waits for a sync (but for the rare rewriting of
/// the UID log).
pub struct Folder {
    pub(crate) account: Arc<AccountShared>,
    name: RwLock<FolderName>,
    pub(crate) dir: Dir,
    pub(crate) tmp: Dir,
    pub(crate) new: Dir,
    pub(crate) cur: Dir,
    state: Mutex<State>,
    shown: RwLock<Shown>,
    gone: AtomicBool,
    generation: AtomicU64,
    hooks: Arc<Mutex<Hooks>>,
    pub(crate) cache: Mutex<Cache>,
}

/// What the writers of this process work on, under the lock.
#[derive(Debug)]
pub(crate) struct State {
    log: UidLog,
    content: Content,
    /// Counts changes of the view.
    step: u64,
    /// Up to this step there are records that must be synced before they are shown.
    need_sync: u64,
    /// Up to this step everything is synced.
    synced: u64,
    seen: Seen,
}

/// How the directories looked when they were scanned; None: look again whatever they look like.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) new: Option<SystemTime>,
    pub(crate) cur: Option<SystemTime>,
}

#[derive(Debug)]
struct Shown {
    view: Arc<View>,
    step: u64,
}

type Hook = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Hooks {
    next: u64,
    list: Vec<(u64, Arc<Hook>)>,
}

/// Keeps a hook of [`Folder::on_change`] alive.
#[must_use = "dropping it ends the notifications"]
pub struct Registration {
    hooks: Arc<Mutex<Hooks>>,
    id: u64,
}

impl Folder {
    /// Opens the folder that lies in `dir`; a UID log is begun where none is.
    pub(crate) fn open(account: Arc<AccountShared>, name: FolderName, dir: Dir) -> Result<Self, StoreError> {
        let mut made = Vec::new();
        let mut sub = |name| -> Result<Dir, StoreError> {
            let (sub, promise) = subdirectory(&dir, name)?;
            made.extend(promise);
            Ok(sub)
        };
        let (tmp, new, cur) = (sub("tmp")?, sub("new")?, sub("cur")?);
        durable::wait_all(made).doing("make the folder durable")?;
        clean_tmp(&tmp, account.store.now());
        let (log, content) = {
            let _lock = dir.lock(LOCK, FILE_MODE).doing("lock the folder")?;
            load_or_create(&account, &dir)?
        };
        if is_fresh(&log, &account)? {
            log.file.sync().wait().doing("make the UID log durable")?;
        }
        log.keep_room();
        let view = Arc::clone(&content.view);
        let state = State {
            log,
            content,
            step: 0,
            need_sync: 0,
            synced: 0,
            seen: Seen::default(),
        };
        Ok(Self {
            account,
            name: RwLock::new(name),
            dir,
            tmp,
            new,
            cur,
            state: Mutex::new(state),
            shown: RwLock::new(Shown { view, step: 0 }),
            gone: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            hooks: Arc::default(),
            cache: Mutex::default(),
        })
    }

    /// Its name now (another session may rename it).
    pub fn name(&self) -> FolderName {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// UIDVALIDITY.
    pub fn uid_validity(&self) -> u32 {
        self.view().uid_validity
    }

    /// What was seen last; no disk is touched.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner).view)
    }

    /// Looks for what other programs changed, takes in new mail (which moves from `new/` to `cur/`), and
    /// returns the view: the same `Arc` as before where nothing changed. Costs a few `stat` calls then.
    pub fn refresh(&self) -> Result<Arc<View>, StoreError> {
        self.check_gone()?;
        if self.is_unchanged()? {
            return Ok(self.view());
        }
        match self.scan() {
            // What is known can be read, and removed, on a full disk too; new mail shows when there is room.
            Err(error) if error.is_full() => Ok(self.view()),
            result => result,
        }
    }

    /// The first UID that no read-write session was told about yet; all from it on are told now. For
    /// SELECT: messages with this UID or a higher one are \Recent in that session.
    pub fn take_recent(&self) -> Result<u32, StoreError> {
        let shown_next = self.view().uid_next;
        if self.peek_recent() >= shown_next {
            return Ok(shown_next);
        }
        let told = self.change(|section| {
            let first = section.content.recent;
            if first < shown_next {
                section.content.recent = shown_next;
                Entry::Recent(shown_next).push(&mut section.records);
            }
            Ok(first)
        });
        match told {
            Ok((first, _)) => Ok(first.min(shown_next)),
            // On a full disk it is told once more later.
            Err(error) if error.is_full() => Ok(self.peek_recent().min(shown_next)),
            Err(error) => Err(error),
        }
    }

    /// As [`Folder::take_recent`], telling nobody: for EXAMINE and STATUS.
    pub fn peek_recent(&self) -> u32 {
        self.state().content.recent
    }

    /// Opens a message. It is found again where another program renamed it;
    /// [`StoreError::Expunged`] when it is gone.
    pub fn open_message(&self, uid: u32) -> Result<(File, Stat), StoreError> {
        for attempt in 0..4 {
            let view = if attempt == 0 { self.view() } else { self.rescan()? };
            let message = view.get(uid).ok_or(StoreError::Expunged)?;
            match self.place(message).open_file_stat(message.file_name()) {
                Ok((_, stat)) if stat.uid != self.account.owner.uid => {
                    return Err(StoreError::Owner(format!(
                        "a message file belongs to uid {}",
                        stat.uid
                    )));
                }
                Ok(opened) => return Ok(opened),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error).doing("open the message"),
            }
        }
        Err(StoreError::Expunged)
    }

    /// The whole of a message as stored: lines end in LF, or as another program wrote them.
    pub fn read(&self, uid: u32) -> Result<Vec<u8>, StoreError> {
        let (mut file, stat) = self.open_message(uid)?;
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        file.read_to_end(&mut bytes).doing("read the message")?;
        Ok(bytes)
    }

    /// When the message arrived (INTERNALDATE): seconds since 1970, from the file's modification time.
    pub fn internal_date(&self, uid: u32) -> Result<i64, StoreError> {
        if let Some(known) = self.cached_date(uid) {
            return Ok(known);
        }
        self.open_message(uid).map(|(_, stat)| seconds_of(stat.modified))
    }

    /// Counts snapshots: another number than before means that [`Folder::view`] has news.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Has `hook` called after each change of the view, from the thread that made it; it must not block.
    pub fn on_change(&self, hook: Hook) -> Registration {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.next += 1;
        let id = hooks.next;
        hooks.list.push((id, Arc::new(hook)));
        Registration {
            hooks: Arc::clone(&self.hooks),
            id,
        }
    }

    /// Paths for inotify: `new/`, `cur/` and the folder itself (where the UID log lies). They go through
    /// this object's own handles, so they are right whatever the folder is renamed to, while it lives.
    /// What inotify says is a hint to call [`Folder::refresh`], never a reason not to.
    pub fn watch_paths(&self) -> Vec<PathBuf> {
        let path = |dir: &Dir| PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()));
        vec![path(&self.new), path(&self.cur), path(&self.dir)]
    }

    pub(crate) fn home(&self) -> &Store {
        &self.account.store
    }

    /// The directory in which a message lies.
    pub(crate) fn place(&self, message: &Message) -> &Dir {
        if message.is_new { &self.new } else { &self.cur }
    }

    /// Takes the new name after a rename.
    pub(crate) fn renamed(&self, name: FolderName) {
        *self.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// The folder was deleted in this process.
    pub(crate) fn vanish(&self) {
        self.gone.store(true, Ordering::Release);
        self.notify();
    }

    /// Looks again even where nothing seems to have changed.
    pub(crate) fn rescan(&self) -> Result<Arc<View>, StoreError> {
        self.check_gone()?;
        self.state().seen = Seen::default();
        self.scan()
    }

    fn scan(&self) -> Result<Arc<View>, StoreError> {
        let ((), view) = self.change(|section| {
            section.scan()?;
            Ok(())
        })?;
        Ok(view)
    }

    /// Runs `work` alone: no other thread and no other process changes the folder meanwhile, and what they
    /// changed before is known. Then the records are appended, made durable as needed with no lock held,
    /// and the new view is shown.
    pub(crate) fn change<R>(
        &self,
        work: impl FnOnce(&mut Section<'_>) -> Result<R, StoreError>,
    ) -> Result<(R, Arc<View>), StoreError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let lock = self.dir.lock(LOCK, FILE_MODE).doing("lock the folder")?;
        let known = Arc::clone(&state.content.view);
        let mut must_sync = self.catch_up(state)?;
        let before = state.content.clone();
        let mut section = Section {
            folder: self,
            content: &mut state.content,
            seen: &mut state.seen,
            records: Vec::new(),
            must_sync: false,
        };
        let worked = work(&mut section);
        let records = std::mem::take(&mut section.records);
        must_sync |= section.must_sync;
        // What was done on the disk is recorded even if a later step failed.
        let appended = if records.is_empty() {
            Ok(None)
        } else {
            state.log.file.append(&records).map(Some)
        };
        let pending = match appended {
            Ok(pending) => pending,
            Err(error) => {
                state.content = before;
                state.seen = Seen::default();
                return Err(error).doing("write the UID log");
            }
        };
        state.log.end += records.len() as u64;
        drop(lock);
        if !Arc::ptr_eq(&known, &state.content.view) {
            state.step += 1;
        }
        let (step, view) = (state.step, Arc::clone(&state.content.view));
        if must_sync {
            state.need_sync = step;
        }
        let wait = must_sync || state.need_sync > state.synced;
        let pending = pending.or_else(|| wait.then(|| state.log.file.sync()));
        drop(guard);
        self.settle(pending, wait, step)?;
        self.show(view, step);
        worked.map(|result| (result, self.view()))
    }

    /// Makes the records durable, now or within a second.
    fn settle(&self, pending: Option<Pending>, wait: bool, step: u64) -> Result<(), StoreError> {
        let Some(pending) = pending else { return Ok(()) };
        if !wait {
            return pending.later().doing("write the UID log");
        }
        let result = pending.wait();
        let mut state = self.state();
        match result {
            Ok(()) => state.synced = state.synced.max(step),
            // The file is of no more use; the next change writes a new one from what can be read.
            Err(_) => state.log.end = u64::MAX,
        }
        drop(state);
        result.doing("make the UID log durable")
    }

    /// Shows a view unless a newer one is shown already.
    fn show(&self, view: Arc<View>, step: u64) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if step <= shown.step {
            return;
        }
        *shown = Shown { view, step };
        drop(shown);
        self.notify();
    }

    fn notify(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        let hooks: Vec<Arc<Hook>> = {
            let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
            hooks.list.iter().map(|(_, hook)| Arc::clone(hook)).collect()
        };
        for hook in hooks {
            hook();
        }
    }

    /// Brings the content up to date with the log as other processes left it. Returns whether it must be
    /// synced before it is shown.
    fn catch_up(&self, state: &mut State) -> Result<bool, StoreError> {
        if state.log.is_current(&self.dir) {
            return state.log.catch_up(&mut state.content);
        }
        let (log, mut content) = load_or_create(&self.account, &self.dir)?;
        content.remember_places(&state.content.view);
        (state.log, state.content, state.seen) = (log, content, Seen::default());
        Ok(true)
    }

    /// Whether neither the directories nor the log changed since the last look.
    fn is_unchanged(&self) -> Result<bool, StoreError> {
        let state = self.state();
        let (Some(new), Some(cur)) = (state.seen.new, state.seen.cur) else {
            return Ok(false);
        };
        let doing = "look at the folder";
        if self.new.stat_self().doing(doing)?.modified != new
            || self.cur.stat_self().doing(doing)?.modified != cur
        {
            return Ok(false);
        }
        let log = self.dir.stat(crate::uidlog::LOG);
        Ok(log.is_ok_and(|stat| stat.id == state.log.file.id() && stat.size == state.log.end))
    }

    fn check_gone(&self) -> Result<(), StoreError> {
        if self.gone.load(Ordering::Acquire) {
            return Err(StoreError::Gone);
        }
        let name = self.name();
        if name.is_inbox() {
            return Ok(());
        }
        let here = |d: &std::ffi::OsString| {
            self.account
                .root
                .stat(d)
                .is_ok_and(|stat| stat.id == self.dir.id())
        };
        if name.directories().iter().any(here) {
            Ok(())
        } else {
            Err(StoreError::Gone)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.list.retain(|(id, _)| *id != self.id);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Content {
    /// Takes over where the files lie, which a log does not say, from what was known before it was read anew.
    fn remember_places(&mut self, old: &View) {
        for message in &mut Arc::make_mut(&mut self.view).messages {
            if let Some(known) = old.get(message.uid).filter(|k| k.base == message.base) {
                (message.is_new, message.odd_name) = (known.is_new, known.odd_name.clone());
            }
        }
    }
}

/// Removes what lies in `tmp/` for 36 hours (compat.md 4.2): nobody completes it any more.
fn clean_tmp(tmp: &Dir, now: SystemTime) {
    let old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > TMP_AGE);
    for entry in tmp.list().unwrap_or_default() {
        let garbage = tmp
            .stat(&entry.name)
            .is_ok_and(|stat| stat.kind == FileKind::File && old(stat.changed) && old(stat.modified));
        if garbage {
            let _ = tmp.discard(&entry.name);
        }
    }
}

/// Reads the log of a folder; where there is none that can be used, begins one with a new UIDVALIDITY. Under
/// the folder's lock.
fn load_or_create(account: &AccountShared, dir: &Dir) -> Result<(UidLog, Content), StoreError> {
    if let Some(loaded) = UidLog::load(dir)? {
        return Ok(loaded);
    }
    // The account file comes first: a UIDVALIDITY that was not recorded there could be given again.
    let uid_validity = account.next_uid_validity()?;
    UidLog::create(
        dir,
        uid_validity,
        i64::try_from(account.store.seconds()).unwrap_or(0),
    )
}

/// Whether the log changed so lately that its writer may have died before the sync. What is older has been
/// written back by the kernel long since.
fn is_fresh(log: &UidLog, account: &AccountShared) -> Result<bool, StoreError> {
    let modified = log.file.stat().doing("look at the UID log")?.modified;
    Ok(account
        .store
        .now()
        .duration_since(modified)
        .is_ok_and(|age| age < FRESH)
        || modified > account.store.now())
}

/// Seconds since 1970, also before.
pub(crate) fn seconds_of(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

/// After this a file in tmp/ is garbage.
const TMP_AGE: Duration = Duration::from_secs(36 * 3600);
/// A log changed less than this ago may hold records that were not synced.
const FRESH: Duration = Duration::from_secs(120);
