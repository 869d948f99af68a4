//! One barrier that serves everybody who was ready before it began.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

use nix::errno::Errno;

/// Lets threads that need the same file or directory synced share the system call: whoever comes while one
/// is running waits for the next, and one of the waiters makes that for all of them. The lock is not held
/// across the call.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the newest round that has begun.
    begun: u64,
    /// Number of the newest round that has ended.
    ended: u64,
    /// Threads that wait for a turn: without any, nobody needs to be woken.
    waiting: usize,
    /// Rounds that failed, with their reason. A volume that fails is soon out of use, so this stays small.
    failed: BTreeMap<u64, Errno>,
}

impl Barrier {
    /// Returns when a sync that began after this call has ended, made by us (`sync`) or by another thread.
    pub(crate) fn pass(&self, sync: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What is running now may have begun before our change was made.
        let ours = state.begun + 1;
        while state.begun > state.ended && state.ended < ours {
            state.waiting += 1;
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        if state.ended >= ours {
            return match state.failed.range(ours..).next() {
                // A later round's failure counts too: it may have hidden ours.
                Some((_, errno)) => Err(*errno),
                None => Ok(()),
            };
        }
        state.begun += 1;
        let round = state.begun;
        drop(state);
        let result = sync();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = round;
        if let Err(errno) = result {
            state.failed.insert(round, errno);
            if state.failed.len() > 64 {
                state.failed.pop_first();
            }
        }
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.turn.notify_all();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Two that come while a sync runs are served by one more; what fails, fails for both.
    #[test]
    fn whoever_comes_during_a_sync_shares_the_next_one() {
        for second in [Ok(()), Err(Errno::EIO)] {
            let barrier = Barrier::default();
            let syncs = AtomicUsize::new(0);
            let (release, released) = mpsc::channel::<()>();
            let (started, start) = mpsc::channel::<()>();
            std::thread::scope(|scope| {
                let first = scope.spawn(|| {
                    barrier.pass(move || {
                        started.send(()).unwrap();
                        released.recv().unwrap();
                        Ok(())
                    })
                });
                start.recv().unwrap();
                let late = || {
                    barrier.pass(|| {
                        syncs.fetch_add(1, Ordering::SeqCst);
                        second
                    })
                };
                let others = [scope.spawn(late), scope.spawn(late)];
                while barrier.state.lock().unwrap().waiting < 2 {
                    std::thread::yield_now();
                }
                release.send(()).unwrap();
                assert_eq!(first.join().unwrap(), Ok(()));
                for other in others {
                    assert_eq!(other.join().unwrap(), second);
                }
            });
            assert_eq!(syncs.load(Ordering::SeqCst), 1);
        }
    }
}
