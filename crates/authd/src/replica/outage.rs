//! Whether the database answers, as far as questions and probes have shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::directory::pages::Kind;

/// How the database is.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// Since when.
    pub since: Option<Instant>,
    /// Why it is thought to be away.
    pub reason: String,
    /// It lets questions wait: they are not sent to it any more until a probe was answered. Otherwise it
    /// refuses them at once, and each is sent to it first.
    pub waits: bool,
    /// Answers given from the copy since then.
    pub answers: u64,
}

/// The state, shared by all questions.
#[derive(Debug)]
pub struct Outage {
    trouble: Mutex<Option<Trouble>>,
    /// The question that failed last: the probe.
    failing: Mutex<Option<(Kind, String)>>,
    waits: watch::Sender<bool>,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            trouble: Mutex::default(),
            failing: Mutex::default(),
            waits: watch::channel(false).0,
        }
    }
}

impl Outage {
    /// What is known of the trouble; `None`: the database answers.
    pub fn trouble(&self) -> Option<Trouble> {
        self.lock().clone()
    }

    /// Whether questions are not to be sent to the database.
    pub fn waits(&self) -> bool {
        *self.waits.borrow()
    }

    /// Ready when questions are not to be sent to the database any more.
    pub async fn begins_to_wait(&self) {
        // The sender lives as long as we do.
        let _ = self.waits.subscribe().wait_for(|waits| *waits).await;
    }

    /// A question got no answer. True where that is news.
    pub fn failed(&self, kind: Kind, key: &str, reason: &str, waits: bool) -> bool {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = Some((kind, key.to_owned()));
        let mut trouble = self.lock();
        let new = trouble.is_none();
        let entry = trouble.get_or_insert_with(|| Trouble {
            since: Some(Instant::now()),
            ..Trouble::default()
        });
        reason.clone_into(&mut entry.reason);
        entry.waits |= waits;
        self.waits.send_replace(entry.waits);
        new
    }

    /// An answer was given from the copy.
    pub fn answered(&self) {
        if let Some(trouble) = self.lock().as_mut() {
            trouble.answers += 1;
        }
    }

    /// The question that a probe asks.
    pub fn probe(&self) -> Option<(Kind, String)> {
        self.failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The database answers a probe with an error, at once: questions may be sent to it.
    pub fn refuses(&self) {
        if let Some(trouble) = self.lock().as_mut() {
            trouble.waits = false;
        }
        self.waits.send_replace(false);
    }

    /// The database is back. Tells how long the trouble lasted and how many answers came from the copy.
    pub fn over(&self) -> Option<(Duration, u64)> {
        let trouble = self.lock().take();
        self.waits.send_replace(false);
        trouble.map(|trouble| {
            let lasted = trouble.since.map(|since| since.elapsed()).unwrap_or_default();
            (lasted, trouble.answers)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a task of the replica needs to end with it.
#[derive(Debug)]
pub struct Tasks(Mutex<Vec<tokio::task::AbortHandle>>);

impl Tasks {
    /// None yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    /// Runs one until it ends or all are ended.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task).abort_handle();
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(handle);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let tasks = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}
