//! Promises that were put off: one thread keeps them within a second.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::disk::{Disk, Inner};
use crate::error::Error;
use crate::pending::Step;
use crate::probe::FileId;

/// What waits, one step per file or directory however often it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Lazy {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    steps: HashMap<FileId, Step>,
    /// A thread is on its way to keep them.
    working: bool,
}

impl Lazy {
    /// Keeps everything that waits, now.
    pub(crate) fn flush(&self, _disk: &Disk) -> Result<(), Error> {
        let steps = std::mem::take(&mut self.lock().steps);
        let mut first = Ok(());
        for result in steps.into_values().map(Step::run) {
            first = first.and(result);
        }
        self.wake.notify_all();
        first
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Has `step` run within a second, on a thread that lives only while there is work.
    pub(crate) fn put_off(&self, id: FileId, step: Step) {
        let lazy = &self.inner().lazy;
        let mut state = lazy.lock();
        state.steps.entry(id).or_insert(step);
        if state.working {
            return;
        }
        state.working = true;
        drop(state);
        let inner = std::sync::Arc::downgrade(self.inner());
        let spawned = std::thread::Builder::new()
            .name("durable-lazy".to_owned())
            .spawn(move || work(&inner));
        if spawned.is_err() {
            // No thread to be had: keep the promise here, late rather than never.
            lazy.lock().working = false;
            let _ = lazy.flush(self);
        }
    }
}

/// Rounds of pause and flush until nothing is left.
fn work(inner: &Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        let disk = Disk::from_inner(inner);
        let lazy = &disk.inner().lazy;
        let state = lazy.lock();
        // Flags come in bursts; a burst shares its syncs. A flush by somebody else ends the pause.
        let paused = lazy
            .wake
            .wait_timeout_while(state, PAUSE, |s| !s.steps.is_empty());
        drop(paused);
        // Errors were raised as alarms where they happened; nobody waits for this result.
        let _ = lazy.flush(&disk);
        let mut state = lazy.lock();
        if state.steps.is_empty() {
            state.working = false;
            return;
        }
    }
}

/// Well under the second that is allowed, so that the sync itself fits in.
const PAUSE: Duration = Duration::from_millis(400);
