//! Hints that a folder changed: inotify for other processes, the store's own signal for other sessions here.
//! A hint is only the reason to look earlier; without any, IDLE looks from time to time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::Notify;

/// The watches of the process.
#[derive(Clone)]
pub(crate) struct Notifier(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// `None` where the system gives no inotify.
    watches: Option<Watches>,
    listeners: HashMap<WatchDescriptor, Vec<Weak<Notify>>>,
}

/// Some paths that are watched until this is dropped.
pub(crate) struct Watch {
    notifier: Notifier,
    descriptors: Vec<WatchDescriptor>,
    bell: Arc<Notify>,
    complete: bool,
}

impl Notifier {
    /// Starts watching. Where the system refuses, every [`Watch`] says that it is not reliable.
    pub(crate) fn start() -> Self {
        let notifier = Self(Arc::default());
        let stream = Inotify::init().and_then(|inotify| {
            let watches = inotify.watches();
            Ok((watches, inotify.into_event_stream(vec![0; 4096])?))
        });
        match stream {
            Ok((watches, events)) => {
                notifier.lock().watches = Some(watches);
                let weak = Arc::downgrade(&notifier.0);
                tokio::spawn(listen(weak, events));
            }
            Err(error) => tracing::warn!(%error, "no inotify: IDLE looks for new mail every few seconds"),
        }
        notifier
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches paths for one session.
    pub(crate) fn watch(&self, paths: &[PathBuf]) -> Watch {
        let bell = Arc::new(Notify::new());
        let mut descriptors = Vec::with_capacity(paths.len());
        let mut state = self.lock();
        for path in paths {
            let State {
                watches: Some(watches),
                listeners,
            } = &mut *state
            else {
                break;
            };
            match watches.add(path, MASK) {
                Ok(descriptor) => {
                    listeners
                        .entry(descriptor.clone())
                        .or_default()
                        .push(Arc::downgrade(&bell));
                    descriptors.push(descriptor);
                }
                Err(error) => tracing::debug!(%error, "a folder cannot be watched"),
            }
        }
        drop(state);
        let complete = descriptors.len() == paths.len();
        Watch {
            notifier: self.clone(),
            descriptors,
            bell,
            complete,
        }
    }
}

impl Watch {
    /// Waits for the next hint; one that came before counts.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// For others that have hints for the same session.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// How often to look although no hint came.
    pub(crate) fn look_interval(&self) -> Duration {
        if self.complete {
            Duration::from_secs(30)
        } else {
            Duration::from_secs(2)
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.notifier.lock();
        let State { watches, listeners } = &mut *state;
        for descriptor in self.descriptors.drain(..) {
            let Some(list) = listeners.get_mut(&descriptor) else {
                continue;
            };
            list.retain(|other| {
                other
                    .upgrade()
                    .is_some_and(|other| !Arc::ptr_eq(&other, &self.bell))
            });
            if list.is_empty() {
                listeners.remove(&descriptor);
                if let Some(watches) = watches {
                    // Fails where the directory is gone, and with it the watch.
                    let _ = watches.remove(descriptor);
                }
            }
        }
    }
}

/// Rings the bells until the process ends.
async fn listen(state: Weak<Mutex<State>>, events: inotify::EventStream<Vec<u8>>) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Some(state) = state.upgrade() else { return };
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) if !event.mask.contains(EventMask::Q_OVERFLOW) => {
                ring(state.listeners.get(&event.wd).into_iter().flatten());
            }
            // Something was lost: everybody looks.
            _ => ring(state.listeners.values().flatten()),
        }
    }
}

fn ring<'a>(bells: impl Iterator<Item = &'a Weak<Notify>>) {
    for bell in bells.filter_map(Weak::upgrade) {
        bell.notify_one();
    }
}

/// Messages that come, go or change their flags, and the log that other processes append to.
const MASK: WatchMask = WatchMask::CREATE
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::DELETE)
    .union(WatchMask::MODIFY)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_file_rings() {
        let dir = tempfile::tempdir().unwrap();
        let notifier = Notifier::start();
        let watch = notifier.watch(&[dir.path().to_owned()]);
        assert_eq!(watch.look_interval(), Duration::from_secs(30));
        std::fs::write(dir.path().join("x"), b"").unwrap();
        tokio::time::timeout(Duration::from_secs(10), watch.changed())
            .await
            .unwrap();
        drop(watch);
        assert!(notifier.lock().listeners.is_empty());
        let missing = notifier.watch(&[dir.path().join("missing")]);
        assert_eq!(missing.look_interval(), Duration::from_secs(2));
    }
}
