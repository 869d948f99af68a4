//! The volume of the Maildirs: free space, and the self-test after a failed sync.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use durable::{Dir, Disk, Space};

/// Whether the volume takes new mail. Shared by all sessions.
#[derive(Debug)]
pub(crate) struct Volume {
    disk: Disk,
    /// Space ran low; cleared with some distance, so that the answer does not flutter.
    low: AtomicBool,
    /// The mail root as it was found lately with enough room.
    known: Mutex<Option<(Instant, PathBuf, Dir)>>,
}

impl Volume {
    pub(crate) fn new(disk: Disk) -> Self {
        Self {
            disk,
            low: AtomicBool::new(false),
            known: Mutex::default(),
        }
    }

    /// Whether a message may come, as far as that is known without a system call: there was room a moment
    /// ago, and no sync failed since.
    pub(crate) fn had_room(&self, mail_root: &Path, now: Instant) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|(when, path, root)| {
            let fresh = now.saturating_duration_since(*when) < CHECK_INTERVAL;
            fresh && path == mail_root && !self.disk.is_suspect(root)
        })
    }

    /// Whether a message may come: there is room (robustness.md section 3: twice the size limit, 5 % but
    /// not more than 1 GiB, 1,000 inodes), and the volume is not suspect. A volume that cannot be asked is
    /// left to the delivery, which says exactly what is wrong. Costs a few system calls.
    pub(crate) fn has_room(&self, mail_root: &Path, message_size_limit: u64, now: Instant) -> bool {
        let Ok(root) = self.disk.open_root(mail_root) else {
            return true;
        };
        if self.disk.is_suspect(&root) {
            return false;
        }
        let Ok(space) = root.space() else { return true };
        let low = is_low(&space, message_size_limit, self.low.load(Ordering::Relaxed));
        self.low.store(low, Ordering::Relaxed);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = (!low).then(|| (now, mail_root.to_owned(), root));
        !low
    }

    /// Tests the volume, where it is suspect or `always`. Blocks.
    pub(crate) fn test(&self, mail_root: &Path, always: bool) -> Result<(), durable::Error> {
        let root = self.disk.open_root(mail_root)?;
        if always || self.disk.is_suspect(&root) {
            self.disk.self_test(&root)
        } else {
            Ok(())
        }
    }
}

/// `was_low`: 10 % more is wanted before it counts as enough again.
fn is_low(space: &Space, message_size_limit: u64, was_low: bool) -> bool {
    let wanted = message_size_limit
        .saturating_mul(2)
        .max((space.total / 20).min(RESERVE));
    let margin = |value: u64| {
        if was_low {
            value.saturating_add(value / 10)
        } else {
            value
        }
    };
    space.available < margin(wanted) || space.inodes.is_some_and(|inodes| inodes < margin(INODES))
}

/// How often a suspect volume is tested.
pub(crate) const TEST_INTERVAL: Duration = Duration::from_secs(30);
/// How long an answer about free space holds.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// 5 % of a big disk is more than any mail server needs in reserve.
const RESERVE: u64 = 1 << 30;
const INODES: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_has_hysteresis() {
        let limit = 50 << 20;
        let space = |available, inodes| Space {
            available,
            total: 10 << 30,
            inodes,
        };
        assert!(is_low(&space(511 << 20, None), limit, false));
        assert!(!is_low(&space(513 << 20, None), limit, false));
        assert!(is_low(&space(513 << 20, None), limit, true));
        assert!(!is_low(&space(570 << 20, None), limit, true));
        assert!(is_low(&space(5 << 30, Some(999)), limit, false));
        assert!(!is_low(&space(5 << 30, Some(1_000)), limit, false));
    }
}
