//! Whether the database answers, as far as questions and probes have shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::directory::pages::Kind;

/// So many different rows that cannot be read, and none that can in between, are no odd rows any more: the tables are
/// not what they were.
const UNREADABLE: usize = 3;

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
    /// It answers, but with rows that cannot be read: that it has no row of a key is not believed then.
    pub unreadable: bool,
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
    /// Rows that could not be read since one could.
    odd: Mutex<Vec<(Kind, String)>>,
    /// Whether there are any, without the lock.
    any_odd: AtomicBool,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            trouble: Mutex::default(),
            failing: Mutex::default(),
            waits: watch::channel(false).0,
            odd: Mutex::default(),
            any_odd: AtomicBool::new(false),
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

    /// A row could not be read. True where there are so many that this is trouble, and that is news.
    pub fn odd(&self, kind: Kind, key: &str, reason: &str) -> bool {
        {
            let mut odd = self.odd.lock().unwrap_or_else(PoisonError::into_inner);
            if odd.len() < UNREADABLE && !odd.iter().any(|(of, name)| *of == kind && name == key) {
                odd.push((kind, key.to_owned()));
            }
            self.any_odd.store(true, Ordering::Release);
            if odd.len() < UNREADABLE {
                return false;
            }
        }
        let new = self.failed(kind, key, reason, false);
        if let Some(trouble) = self.lock().as_mut() {
            trouble.unreadable = true;
        }
        new
    }

    /// A row was read. True where that ends the trouble.
    pub fn read(&self) -> bool {
        if !self.any_odd.swap(false, Ordering::AcqRel) {
            return false;
        }
        self.odd.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.is_unreadable()
    }

    /// Whether the tables answer with rows that cannot be read.
    pub fn is_unreadable(&self) -> bool {
        self.lock().as_ref().is_some_and(|trouble| trouble.unreadable)
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

#[cfg(test)]
mod tests {
    //! When rows that cannot be read are the tables' trouble.

    use super::*;

    #[test]
    fn some_odd_rows_and_none_that_can_be_read() {
        let outage = Outage::default();
        assert!(!outage.odd(Kind::Mailbox, "a@d.test", "odd") && !outage.odd(Kind::Alias, "a@d.test", "odd"));
        // The same row again is one row.
        assert!(!outage.odd(Kind::Alias, "a@d.test", "odd") && !outage.is_unreadable());
        // One that can be read, and the count begins anew.
        assert!(!outage.read());
        assert!(!outage.odd(Kind::Domain, "d.test", "odd") && !outage.odd(Kind::Mailbox, "b@d.test", "odd"));
        assert!(outage.odd(Kind::Mailbox, "c@d.test", "odd"), "that is news");
        assert!(outage.is_unreadable() && !outage.waits());
        assert!(!outage.odd(Kind::Mailbox, "d@d.test", "odd"), "that is none");
        assert!(outage.read(), "it is over");
        assert!(outage.over().is_some() && !outage.is_unreadable());
    }
}
