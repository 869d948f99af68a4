//! Folders that were in use a moment ago: who comes back (clients log in for one look, again and again) finds
//! the view still in memory instead of reading the UID log and the directories anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use maildir_store::Folder;
use tokio::time::Instant;

/// The folders, the one used last behind.
#[derive(Default)]
pub(crate) struct Warm(Mutex<VecDeque<(Instant, Arc<Folder>)>>);

impl Warm {
    /// Keeps a folder that is being left.
    pub(crate) fn keep(&self, folder: Arc<Folder>, now: Instant) {
        if folder.view().messages.len() > MOST_MESSAGES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(since, other)| now.duration_since(*since) < TIME && !Arc::ptr_eq(other, &folder));
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((now, folder));
    }

    /// Lets go of what nobody came back for.
    pub(crate) fn cool(&self, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(since, _)| now.duration_since(*since) < TIME);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Folders that are kept; each has a few file descriptors.
const MOST: usize = 64;
/// Larger ones cost too much memory (about 100 octets for each message).
const MOST_MESSAGES: usize = 50_000;
/// How long they are kept.
const TIME: Duration = Duration::from_secs(60);
